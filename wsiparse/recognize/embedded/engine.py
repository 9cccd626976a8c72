"""The embedded engine, which is the model folder that ships with the package, and engines of other folders."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.embedded.folder import FolderEngine

__all__ = ["MODEL", "TITLE", "embedded_engine", "folder_engine"]

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


def folder_engine(path: Path) -> DeclaredEngine:
    """The engine of a model folder; what is wrong with its card is told here.

    Raises
    ------
    WeightsError
        As `FolderEngine`.
    """
    return FolderEngine(path)
