"""The nouns: frozen, self-checking values that every part shares. NumPy only.

Arrays are row-major (y, x); points and sizes are x then y; "field px" is a pixel of the frame the network saw
(see `wsiparse.coords`). No function here reads or writes a file. All are imported from here.
"""

from wsiparse.types.boxes import Box, Tile, TileGrid, Unreadable
from wsiparse.types.counts import ClassCount, SlideSummary
from wsiparse.types.engines import (
    UNKNOWN_HALO,
    EngineInfo,
    EngineLimits,
    Recognition,
    RecognitionGrid,
    RecognizerSpec,
    SplitSettings,
)
from wsiparse.types.objects import COLUMNS, OBJECT_COLUMNS, OD_STEPS, Column, ObjectTable
from wsiparse.types.prompts import MAX_PROMPTS, Prompt, PromptKind, PromptSet

__all__ = [
    "COLUMNS",
    "MAX_PROMPTS",
    "OBJECT_COLUMNS",
    "OD_STEPS",
    "UNKNOWN_HALO",
    "Box",
    "ClassCount",
    "Column",
    "EngineInfo",
    "EngineLimits",
    "ObjectTable",
    "Prompt",
    "PromptKind",
    "PromptSet",
    "Recognition",
    "RecognitionGrid",
    "RecognizerSpec",
    "SlideSummary",
    "SplitSettings",
    "Tile",
    "TileGrid",
    "Unreadable",
]
