"""Numbers as JSON has them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["jsonable"]


def jsonable(value: Any) -> Any:
    """The same value with NaN and infinities as None, tuples as lists, at any depth.

    >>> jsonable({"p": float("nan"), "ends": (1.0, 2)})
    {'p': None, 'ends': [1.0, 2]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: jsonable(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(own) for own in value]
    return value
