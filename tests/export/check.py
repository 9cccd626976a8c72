"""The conformance checker as a module: ``scripts`` is no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_geojson.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_geojson", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = load()


def check(path: Path) -> Any:
    """The report on one file."""
    return MODULE.check(path)
