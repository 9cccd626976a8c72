"""The embedded engine, which is the model folder that ships with the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.embedded.folder import FolderEngine

__all__ = ["MODEL", "TITLE", "embedded_engine"]

#: What outputs say, whatever the card of the folder that ships is called.
TITLE: Final = "embedded network, not BiomedParse"

#: The folder of the weights that ship, and their card.
MODEL: Final = Path(__file__).with_name("model")


class _Embedded(FolderEngine):
    """The network that ships with the package."""

    automatic = True
    remedy = "Reinstall wsiparse."


@cache
def embedded_engine() -> DeclaredEngine:
    """The engine of the folder that ships.

    Raises
    ------
    WeightsError
        If it is absent from the installed package, or damaged.
    """
    return _Embedded(MODEL, "embedded", TITLE)
