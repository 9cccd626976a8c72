"""Whether every number of an answer stands in the file that it names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["check_figures"]


def _at(content: Any, pointer: str) -> tuple[Any, Any]:
    """The value at a JSON pointer, and what holds it."""
    holder = None
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        holder, content = content, content[int(step) if isinstance(content, list) else step]
    return content, holder


def check_figures(results: Path, figures: list[dict[str, Any]]) -> None:
    """See that each stands in its file, with its hash, its engine, and an interval or the reason for none."""
    for figure in figures:
        raw = (results / figure["file"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == figure["sha256"], figure
        value, holder = _at(json.loads(raw), figure["key"])
        assert figure["value"] == value, figure
        assert type(figure["value"]) is type(value), figure
        assert figure["engine"]
        if figure["low"] is None:
            assert figure["high"] is None
            assert figure["note"], figure
        else:
            ends = [holder[key] for key in holder if key.endswith("low") or key.endswith("high")]
            assert figure["low"] in ends
            assert figure["high"] in ends
            assert figure["low"] <= figure["value"] <= figure["high"]
