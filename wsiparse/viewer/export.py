"""The viewer as a folder of files that any browser opens, from a disk or a web server, without this program.

index.html                          the page, script and style inside
slide/<level>/<column>_<row>.jpg    0 is the coarsest level
class/<id>/<level>/<column>_<row>.png
class/empty.gif                     stands for every tile without objects
LICENSE-OpenSeadragon.txt           of the library inside the page
wsiparse-view.json                  says that the folder may be replaced by the next export
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from wsiparse.atomic import output_errors, publish_folder, remove_dead
from wsiparse.errors import OutputError
from wsiparse.machine import own_version
from wsiparse.viewer.overlay import EMPTY_TILE
from wsiparse.viewer.pages import LICENCE, export_page, static_file
from wsiparse.viewer.source import ViewedSlide
from wsiparse.viewer.view import View

__all__ = ["MAX_PX", "ExportedView", "export_view", "tile_counts"]

#: Longest edge of the finest picture by default, px: about a gigapixel, 2500 tiles.
MAX_PX: Final = 25_000

_MARK: Final = "wsiparse-view.json"

#: Tiles handed to the threads at a time, so that those waiting to be made stay few.
_BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class ExportedView:
    """What an export came to: files, their bytes, and the scale of its finest picture, um per px."""

    files: int
    size: int
    finest_um: float


@dataclass(frozen=True, slots=True)
class _Tile:
    """A file to be made: its place below the folder and how."""

    place: str
    make: Callable[[], bytes]


def finest_level(size: tuple[int, int], max_px: int) -> int:
    """Exponent of the finest level whose longest edge is at most `max_px`.

    Raises
    ------
    ValueError
        If `max_px` < 1.
    """
    if max_px < 1:
        raise ValueError(f"max_px must be >= 1, got {max_px}")
    exponent = 0
    while (max(size) - 1 >> exponent) + 1 > max_px:
        exponent += 1
    return exponent


def open_view(shown: ViewedSlide, max_px: int) -> View:
    """The slide as an export shows it: the picture no larger than `max_px`, the overlay one level finer."""
    return View(shown, finest_level(shown.size, max_px), finer=1)


def tile_counts(view: View) -> tuple[int, int]:
    """(tiles of the slide, tiles of the overlay that have objects)."""
    pyramid = view.pyramid
    columns_rows = [pyramid.grid(pyramid.exponent(level)) for level in range(pyramid.levels)]
    slide = sum(columns * rows for columns, rows in columns_rows) if view.shown.slide is not None else 0
    return slide, sum(1 for _ in _overlay_tiles(view))


def export_view(view: View, folder: Path, progress: Callable[[int], object] | None = None) -> ExportedView:
    """Write the viewer of a slide.

    Parameters
    ----------
    view : see `open_view`
    folder : to make; an earlier export of this slide is replaced, anything else in the way is an error
    progress : called with the number of tiles written since the last call

    Raises
    ------
    OutputError
        If the folder holds anything else or another slide's export, cannot be written to, or objects or labels are
        damaged.
    """
    _check_target(folder, view.shown.folder.name)
    finest_um = view.shown.mpp[0] * 2.0**view.pyramid.finest
    notes = []
    if view.pyramid.finest > 0 and view.shown.slide is not None:
        notes.append(f"This copy goes down to {finest_um:.3g} µm per pixel; the slide itself is finer.")
    page = export_page(view.facts(notes))
    files = size = 0
    with output_errors(folder):
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    remove_dead(folder.absolute().parent)
    with publish_folder(folder) as own:
        fixed = {
            "index.html": page,
            "class/empty.gif": EMPTY_TILE,
            "LICENSE-OpenSeadragon.txt": static_file(LICENCE),
            _MARK: json.dumps(
                {"wsiparse": own_version(), "slide": view.shown.name, "slide_id": view.shown.folder.name}
            ).encode()
            + b"\n",
        }
        for place, body in fixed.items():
            size += _write(own, _Tile(place, partial(bytes, body)))
            files += 1
        tiles = _all_tiles(view)
        # slides and zlib let go of the interpreter: two threads are nearly twice as fast
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            while batch := list(islice(tiles, _BATCH)):
                size += sum(pool.map(lambda tile: _write(own, tile), batch))
                files += len(batch)
                if progress is not None:
                    progress(len(batch))
    return ExportedView(files, size, finest_um)


def _check_target(folder: Path, slide_id: str) -> None:
    with output_errors(folder):
        if not folder.exists() and not folder.is_symlink():
            return
        if folder.is_dir() and not folder.is_symlink() and ((folder / _MARK).is_file() or not any(folder.iterdir())):
            other = _slide_of(folder / _MARK)
            if other in ("", slide_id):
                return
            raise OutputError(f"{folder}: holds the viewer of another slide, {other}; choose a new folder.")
    raise OutputError(f"{folder}: exists and is no earlier export of the viewer; choose a new folder.")


def _slide_of(mark: Path) -> str:
    """The id of the slide that an export shows, "" where it does not say."""
    try:
        return str(json.loads(mark.read_text(encoding="utf-8"))["slide_id"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def _write(folder: Path, tile: _Tile) -> int:
    path, body = folder / tile.place, tile.make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return len(body)


def _all_tiles(view: View) -> Iterator[_Tile]:
    if view.shown.slide is not None:
        for level in range(view.pyramid.levels):
            for column, row in view.pyramid.tiles(view.pyramid.exponent(level)):
                place = (level, column, row)
                yield _Tile(f"slide/{level}/{column}_{row}.jpg", partial(view.slide_tile, *place))
    for class_id, level, column, row in _overlay_tiles(view):
        make = partial(view.overlay_tile, class_id, level, column, row)
        yield _Tile(f"class/{class_id}/{level}/{column}_{row}.png", make)


def _overlay_tiles(view: View) -> Iterator[tuple[int, int, int, int]]:
    """(class id, level, column, row), the classes of a level row by row, so that outlines are read once."""
    pyramid = view.overlay_pyramid
    for level in range(pyramid.levels):
        exponent = pyramid.exponent(level)
        for column, row in pyramid.tiles(exponent):
            for class_id in view.occupied:
                if view.has_objects(class_id, exponent, column, row):
                    yield class_id, level, column, row
