"""One slide ready to be looked at: its facts for the page and its tiles by address."""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.report.stats.regions_drawn import drawn_regions
from wsiparse.results.folder import report_inputs_in, report_record
from wsiparse.results.report_inputs import read_drawn
from wsiparse.store.sort import KINDS
from wsiparse.tiling import is_left_out
from wsiparse.types import MAX_PROMPTS, PromptKind
from wsiparse.viewer.index import ObjectIndex
from wsiparse.viewer.labelmaps import LabelMaps, find_labels
from wsiparse.viewer.overlay import OverlayTiles, occupied_tiles
from wsiparse.viewer.picture import SlideTiles
from wsiparse.viewer.pyramid import OVERLAP_PX, TILE_PX, TilePyramid, finest_overlay
from wsiparse.viewer.source import ViewedSlide

__all__ = ["View"]

#: Corners of regions closer than the slide's edge by this are one.
_REGION_STEPS: Final = 8000

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

    def __init__(self, shown: ViewedSlide, finest: int = 0, finer: int = 3) -> None:
        self.shown = shown
        report = report_record(shown.folder)
        # one that an older version made does not tell what the page shows
        self._report = report if report is not None and "dense_squares" in report else None
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
        level : level of the pyramid
        column, row : those of the tile

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
        exponent, column, row : those of the tile, see `TilePyramid`
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
            "hotspots": self._hotspots(),
            "regions": self._regions(),
            "limits": list(self._report["limits"]["sentences"]) if self._report is not None else [],
            "notes": self._notes() + notes,
        }

    def _notes(self) -> list[str]:
        summary, unreadable = self.shown.summary, self.shown.record["unreadable"]
        notes = []
        if self.shown.slide is None:
            notes.append("The slide file is not here: objects are drawn on white.")
        if self._report is None:
            notes.append(
                "Its report is missing, damaged or of an older version, so there are no hot-spots here: make it again "
                "with `wsiparse report`."
            )
        else:
            notes += self._report["limits"]["warnings"]
        if unreadable and not (self._report is not None and self._report["area"]["unreadable_tiles"]):
            notes.append(
                f"{len(unreadable)} tile{'s' * (len(unreadable) != 1)} of the slide could not be read: "
                f"{summary.unreadable_mm2:.3g} mm² of tissue were not analysed."
            )
        return notes

    def _hotspots(self) -> dict[str, Any]:
        """The squares of the slide's report: the page leads to the very squares that the report tells of."""
        squares: dict[str, list[dict[str, Any]]] = {}
        told: dict[str, Any] = {"all": _ALL, "edge_um": None, "rate": None, "squares": squares}
        for one in self._report["dense_squares"] if self._report is not None else ():
            if not one["spots"]:
                continue
            key = _ALL if one["position"] is None else str(one["position"] + 1)
            told |= {"edge_um": one["grid_um"], "rate": one["rate"]}
            squares[key] = [
                dict(zip(("x", "y", "width", "height"), spot["box"], strict=True))
                | {"n": spot["n"], "density": spot["density_per_mm2"], "hot": spot["hot"]}
                for spot in one["spots"]
            ]
        return told

    def _regions(self) -> list[dict[str, Any]]:
        """Drawn regions: name, whether left out, colour, and an SVG path in level-0 px."""
        drawn = drawn_regions(read_drawn(report_inputs_in(self.shown.folder)), is_left_out)
        # what is finer than a px of a large screen is not seen on the whole slide, and bytes are
        step = max(max(self.shown.size) / _REGION_STEPS, 0.5)
        return [
            {
                "name": region.class_name or "unclassified",
                "left_out": region.left_out,
                "colour": region.colour,
                "path": _path(shapely.simplify(region.geometry, step)),
            }
            for region in drawn
        ]


def _path(shape: BaseGeometry) -> str:
    """An SVG path of a polygon's rings, whole px."""
    rings = (shapely.get_coordinates(ring).round().astype(int) for ring in shapely.get_rings(shapely.get_parts(shape)))
    return "".join("M" + "L".join(f"{x} {y}" for x, y in ring[:-1].tolist()) + "Z" for ring in rings)


def _levels(pyramid: TilePyramid) -> dict[str, float]:
    """A pyramid as the page needs it; sizes are exact multiples, so that every level has the same shape."""
    width, height = (n * 2.0**-pyramid.finest for n in pyramid.size)
    return {"width": width, "height": height, "levels": pyramid.levels, "finest": pyramid.finest}
