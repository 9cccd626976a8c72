"""Which folders are served, and that nothing outside them is ever read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsiparse.ask.facts import AskedResults, AskedSlide, plain
from wsiparse.ask.read import read_asked
from wsiparse.errors import OutputError
from wsiparse.names import unique_names
from wsiparse.results.find import find_results
from wsiparse.results.folder import COHORT, DONE, METADATA, REPORT, REPORT_FILES, TABLES, report_inputs_in

__all__ = ["Served", "ServedResults"]

#: Of a slide's folder: what is read of it, folders with all that is in them.
_OF_SLIDE: Final = (DONE, REPORT, *REPORT_FILES, "overlay.jpg")


@dataclass(frozen=True, slots=True)
class ServedResults:
    """A results folder that was named when the server was started.

    Parameters
    ----------
    name : what it is called
    root : absolute
    """

    name: str
    root: Path


class Served:
    """The named folders, by name; what was read is kept until a file changes.

    Parameters
    ----------
    results : results folders
    slides : folders with slides that a run may be planned for

    Raises
    ------
    OutputError
        If a folder is not there, or is no results folder.
    """

    def __init__(self, results: Sequence[Path], slides: Sequence[Path] = ()) -> None:
        roots = [Path(os.path.abspath(path)) for path in results]  # noqa: PTH100  (its name is what the user wrote)
        for root in roots:
            if find_results(root).one:
                raise OutputError(f"{root}: one slide's folder. Name the folder of the run that it lies in.")
        for folder in slides:
            if not folder.is_dir():
                raise OutputError(f"{folder}: no such folder. --slides names folders that hold slides.")
        names = unique_names([str(root) for root in roots], [root.name for root in roots], list(map(str, roots)))
        self.results = tuple(ServedResults(plain(name), root) for name, root in zip(names, roots, strict=True))
        self.slide_folders = tuple(folder.resolve() for folder in slides)
        self._kept: dict[Path, tuple[tuple[tuple[str, int, int], ...], AskedResults]] = {}
        self._lock = threading.Lock()

    def named(self, name: str) -> ServedResults:
        """The results folder of a name; "" where there is only one.

        Raises
        ------
        OutputError
            If there is none of this name, or several and no name.
        """
        found = [own for own in self.results if own.name == name or (not name and len(self.results) == 1)]
        if not found:
            known = ", ".join(own.name for own in self.results)
            raise OutputError(f"no results folder {plain(name)!r} is served. Served are: {known}.")
        return found[0]

    def read(self, own: ServedResults) -> AskedResults:
        """What is asked about, after every file that would be read was seen to lie in the folder.

        Raises
        ------
        OutputError
            If one leads out of it.
        """
        seen = tuple(_checked(own.root))
        with self._lock:
            kept = self._kept.get(own.root)
        if kept is not None and kept[0] == seen:
            return kept[1]
        asked = read_asked(own.root)
        with self._lock:
            self._kept[own.root] = seen, asked
        return asked

    def folder(self, own: ServedResults, slide: str) -> tuple[AskedSlide, Path]:
        """A slide by its name or id, and its folder.

        Raises
        ------
        OutputError
            If there is none.
        """
        for one in self.read(own).slides:
            if slide in (one.name, plain(one.name), one.id):
                return one, find_results(own.root).folder(one.id)
        raise OutputError(f"no slide {plain(slide)!r} in these results. List them.")


def _checked(root: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of every file that is read, none of which leads out of the folder."""
    home = root.resolve()
    beside = [root / "slides", *(root / name for name in (COHORT, METADATA, TABLES)), *sorted(root.glob("run-*.json"))]
    files = [path for folder in find_results(root).slides for path in _read_of(folder)]
    for path in (*beside, *files):
        if not path.exists() and not path.is_symlink():
            continue
        real = path.resolve()
        if not real.is_relative_to(home):
            raise OutputError(
                f"{plain(path)}: leads out of the results folder, so nothing of it is served. Put the files themselves "
                "there."
            )
        if real.is_file():
            status = real.stat()
            yield str(path), status.st_size, status.st_mtime_ns


def _read_of(folder: Path) -> Iterator[Path]:
    yield folder
    yield from (folder / name for name in _OF_SLIDE)
    yield folder / "objects.zarr" / "zarr.json"
    inputs = report_inputs_in(folder)
    yield inputs
    yield from sorted(inputs.rglob("*"))
