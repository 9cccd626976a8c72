"""wsiparse: whole-slide pathology from words to counted, exact objects. Research use only.

Public names load their module on first use, so that importing the package stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsiparse.config import RunConfig, load_config
    from wsiparse.errors import WsiparseError
    from wsiparse.export.objectframe import ObjectFrame
    from wsiparse.export.reading import read_objects
    from wsiparse.run.inmemory import analyse, recognise
    from wsiparse.run.pipeline import Analysis
    from wsiparse.slides import find_slides, open_slide
    from wsiparse.store.read import ObjectsReader
    from wsiparse.types import ObjectTable, Prompt, PromptSet, RecognizerSpec

__all__ = [
    "Analysis",
    "ObjectFrame",
    "ObjectTable",
    "ObjectsReader",
    "Prompt",
    "PromptSet",
    "RecognizerSpec",
    "RunConfig",
    "WsiparseError",
    "analyse",
    "find_slides",
    "load_config",
    "open_slide",
    "read_objects",
    "recognise",
]

_HOMES = {
    "Analysis": "run.pipeline",
    "ObjectFrame": "export.objectframe",
    "ObjectTable": "types",
    "ObjectsReader": "store.read",
    "Prompt": "types",
    "PromptSet": "types",
    "RecognizerSpec": "types",
    "RunConfig": "config",
    "WsiparseError": "errors",
    "analyse": "run.inmemory",
    "find_slides": "slides",
    "load_config": "config",
    "open_slide": "slides",
    "read_objects": "export.reading",
    "recognise": "run.inmemory",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"wsiparse.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'wsiparse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
