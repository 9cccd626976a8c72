"""Which version of wsiparse this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

__all__ = ["own_version"]


@cache
def own_version() -> str:
    """The installed version, such as "0.1.0"; looked up once, since that reads the installation's files."""
    return version("wsiparse")
