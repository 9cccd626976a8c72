"""One slide ready to be looked at: its facts for the page and its tiles by address."""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.types import MAX_PROMPTS, PromptKind
from wsiparse.viewer.index import HOTSPOT_UM, ObjectIndex
from wsiparse.viewer.labelmaps import LabelMaps, find_labels
from wsiparse.viewer.overlay import OverlayTiles, occupied_tiles
from wsiparse.viewer.picture import SlideTiles
from wsiparse.viewer.pyramid import OVERLAP_PX, TILE_PX, TilePyramid, finest_overlay
from wsiparse.viewer.source import Shown
from wsiparse.write.spool import KINDS

__all__ = ["View"]

#: Squares listed for a class.
_HOTSPOTS: Final = 10

#: Key of the squares of all cells in the page's facts; classes have theirs by id.
_ALL: Final = str(MAX_PROMPTS + 1)

#: The slide may be magnified until a px of the screen shows this many um.
_CLOSEST_UM: Final = 0.06


class View:
    """What the page shows of one slide.

    Parameters
    ----------
    shown : the results
    finest : exponent of the finest level of the slide's tiles, see `TilePyramid`
    finer : levels that the overlay may go further, as far as outlines gain from it

    Raises
    ------
    OutputError
        If objects or labels are damaged, or there are no labels.
    """

    def __init__(self, shown: Shown, finest: int = 0, finer: int = 3) -> None:
        self.shown = shown
        self.pyramid = TilePyramid(shown.size, finest)
        self.overlay_pyramid = TilePyramid(shown.size, max(finest_overlay(shown.mpp[0]), finest - finer))
        reader = shown.reader
        labels = LabelMaps(find_labels(shown.folder), reader)
        self._indexes: dict[PromptKind, ObjectIndex] = {kind: ObjectIndex(reader, kind) for kind in KINDS}
        self._overlay = OverlayTiles(reader, self._indexes, labels, self.overlay_pyramid, shown.mpp[0])
        self._picture = SlideTiles(shown.slide, self.pyramid, shown.mpp) if shown.slide is not None else None
        #: Class id -> (rows, columns) of the tiles of level 0 where objects are; only classes that have any.
        self.occupied: dict[int, NDArray[np.bool_]] = {
            class_id: occupied_tiles(self._indexes[prompt.kind], class_id, self.overlay_pyramid)
            for class_id, prompt in enumerate(reader.prompts, 1)
            if np.any(self._indexes[prompt.kind].class_id == class_id)
        }

    def slide_tile(self, level: int, column: int, row: int) -> bytes:
        """A JPEG; level 0 is the coarsest.

        Raises
        ------
        ValueError
            If there is no such tile, or no slide.
        """
        if self._picture is None:
            raise ValueError("there is no slide")
        return self._picture.jpeg(self.pyramid.exponent(level), column, row)

    def overlay_tile(self, class_id: int, level: int, column: int, row: int) -> bytes:
        """A PNG; level 0 is the coarsest.

        Parameters
        ----------
        class_id : position in the prompts + 1
        level : of the pyramid
        column, row : of the tile

        Raises
        ------
        ValueError
            If there is no such class or tile.
        OutputError
            If objects or labels are damaged.
        """
        return self._overlay.png(class_id, self.overlay_pyramid.exponent(level), column, row)

    def has_objects(self, class_id: int, exponent: int, column: int, row: int) -> bool:
        """May a tile of the overlay show anything? The page asks the same of its own copy of `occupied`.

        Parameters
        ----------
        class_id : position in the prompts + 1
        exponent, column, row : of the tile, see `TilePyramid`
        """
        tiles = self.occupied.get(class_id)
        if tiles is None:
            return False
        if exponent <= 0:
            return bool(tiles[row >> -exponent, column >> -exponent])
        rows, columns = (slice(n << exponent, (n + 1) << exponent) for n in (row, column))
        return bool(tiles[rows, columns].any())

    def facts(self, notes: list[str]) -> dict[str, Any]:
        """Everything the page says, JSON values.

        Parameters
        ----------
        notes : lines for whoever looks
        """
        shown, summary = self.shown, self.shown.summary
        classes = []
        for class_id, (count, prompt) in enumerate(zip(summary.counts, shown.reader.prompts, strict=True), 1):
            tiles = self.occupied.get(class_id)
            classes.append(
                {
                    "id": class_id,
                    "name": prompt.class_name,
                    "kind": prompt.kind,
                    "colour": prompt.colour,
                    "n": count.n,
                    "density": summary.density(count.n),
                    "area_mm2": count.area_um2 / 1e6,
                    "verdict": count.verdict,
                    "occupied": None if tiles is None else base64.b64encode(np.packbits(tiles).tobytes()).decode(),
                }
            )
        width, height = shown.size
        return {
            "name": shown.name,
            "engine": summary.engine,
            "size": [width, height],
            "mpp": list(shown.mpp),
            "closest_um": _CLOSEST_UM,
            "analysed_mm2": summary.analysed_mm2,
            "tile": TILE_PX,
            "overlap": OVERLAP_PX,
            "picture": None if shown.slide is None else _levels(self.pyramid),
            "overlay": _levels(self.overlay_pyramid),
            "tiles": list(self.overlay_pyramid.grid(0)),
            "classes": classes,
            "n_cells": summary.n_cells,
            "cell_density": summary.density(summary.n_cells),
            "hotspots": {"edge_um": HOTSPOT_UM, "all": _ALL, "squares": self._hotspots()},
            "notes": self._notes() + notes,
        }

    def _notes(self) -> list[str]:
        summary, unreadable = self.shown.summary, self.shown.record["unreadable"]
        notes = []
        if self.shown.slide is None:
            notes.append("The slide file is not here: objects are drawn on white.")
        if unreadable:
            notes.append(
                f"{len(unreadable)} tile{'s' * (len(unreadable) != 1)} of the slide could not be read: "
                f"{summary.unreadable_mm2:.3g} mm² of tissue were not analysed."
            )
        return notes

    def _hotspots(self) -> dict[str, list[dict[str, float]]]:
        """The squares with most objects, of each class and of all cells, most first."""
        prompts = self.shown.reader.prompts
        out = {
            str(class_id): self._densest(self._indexes[prompts[class_id - 1].kind].squares[class_id])
            for class_id in self.occupied
        }
        cells = [class_id for class_id in self.occupied if prompts[class_id - 1].kind == "cell"]
        if len(cells) > 1:
            out[_ALL] = self._densest(self._indexes["cell"].squares.sum(axis=0))
        return out

    def _densest(self, squares: NDArray[np.int64]) -> list[dict[str, float]]:
        order = np.argsort(-squares, axis=None, kind="stable")[:_HOTSPOTS]
        (width, height), (mx, my) = self.shown.size, self.shown.mpp
        found = []
        for place in order[squares.ravel()[order] > 0].tolist():
            row, column = divmod(place, squares.shape[1])
            x, y = column * HOTSPOT_UM / mx, row * HOTSPOT_UM / my
            w, h = min(HOTSPOT_UM / mx, width - x), min(HOTSPOT_UM / my, height - y)
            n = int(squares[row, column])
            found.append({"x": x, "y": y, "width": w, "height": h, "n": n, "density": n / (w * mx * h * my * 1e-6)})
        return found


def _levels(pyramid: TilePyramid) -> dict[str, float]:
    """A pyramid as the page needs it; sizes are exact multiples, so that every level has the same shape."""
    width, height = (n * 2.0**-pyramid.finest for n in pyramid.size)
    return {"width": width, "height": height, "levels": pyramid.levels, "finest": pyramid.finest}
