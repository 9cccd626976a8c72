"""wsiparse: whole-slide pathology from words to counted, exact objects. Research use only.

Public names load their module on first use, so that importing the package stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsiparse.config import RunConfig, load_config
    from wsiparse.errors import WsiparseError
    from wsiparse.inmemory import analyse, recognise
    from wsiparse.pipeline import Analysis
    from wsiparse.slides import find_slides, open_slide
    from wsiparse.types import ObjectTable, Prompt, PromptSet, RecognizerSpec
    from wsiparse.write.objectframe import ObjectFrame, read_objects
    from wsiparse.write.objects_reader import ObjectsReader

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
    "Analysis": "pipeline",
    "ObjectFrame": "write.objectframe",
    "ObjectTable": "types",
    "ObjectsReader": "write.objects_reader",
    "Prompt": "types",
    "PromptSet": "types",
    "RecognizerSpec": "types",
    "RunConfig": "config",
    "WsiparseError": "errors",
    "analyse": "inmemory",
    "find_slides": "slides",
    "load_config": "config",
    "open_slide": "slides",
    "read_objects": "write.objectframe",
    "recognise": "inmemory",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"wsiparse.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'wsiparse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
