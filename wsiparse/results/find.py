"""What people mean by RESULTS: the folder of a run, or one slide's folder in it. Decided here for every command."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsiparse.errors import OutputError
from wsiparse.results.folder import DONE
from wsiparse.slides.own_results import FOLDER_NAME

__all__ = ["Results", "find_results"]

_SLIDES: Final = "slides"
_OBJECTS: Final = "objects.zarr"


@dataclass(frozen=True, slots=True)
class Results:
    """Results that were found.

    Parameters
    ----------
    root : folder of the run, with its tables; None for a slide's folder that lies in no such folder
    slides : folders of slides, by name
    one : one slide's folder was asked for, which is the only one of `slides`
    """

    root: Path | None
    slides: tuple[Path, ...]
    one: bool

    def folder(self, name: str) -> Path:
        """The slide's folder of a name, whether it is there or not."""
        return self.slides[0] if self.root is None else self.root / _SLIDES / name


def find_results(path: Path) -> Results:
    """The slides of a results folder, or the one slide whose folder is given.

    Parameters
    ----------
    path : what ``wsiparse run -o`` was told, or a folder in its slides/

    Raises
    ------
    OutputError
        If it is neither, or cannot be looked into.
    """
    try:
        if (path / _SLIDES).is_dir():
            return Results(path, tuple(sorted(f for f in (path / _SLIDES).iterdir() if _is_slides(f))), one=False)
        if _is_slides(path):
            place = _full(path).parent
            folder = path if path.name not in ("", "..") else _full(path)  # the name is the slide's id
            return Results(place.parent if place.name == _SLIDES else None, (folder,), one=True)
        if path.is_dir() and any(path.glob("run-*.json")):
            return Results(path, (), one=False)
        why = "no run and no slide is in it" if path.is_dir() else "it is a file" if path.exists() else "no such folder"
    except OSError as error:
        raise OutputError(f"{path}: cannot be looked into ({error.strerror or error}). Ask its owner.") from error
    raise OutputError(
        f"{path}: no results folder ({why}). Give the folder of `wsiparse run -o`, or one slide's folder in it."
    )


def _is_slides(folder: Path) -> bool:
    """Whether a folder holds one slide's results, finished or not."""
    if not folder.is_dir():
        return False
    return bool(FOLDER_NAME.fullmatch(_full(folder).name)) or (folder / DONE).is_file() or (folder / _OBJECTS).is_dir()


def _full(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  (no symlink is followed)
