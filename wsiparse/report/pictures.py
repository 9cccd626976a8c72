"""The pictures of a slide's report: maps, and squares of the slide with what was found on them."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsiparse.coords import Frame, to_um
from wsiparse.errors import OutputError, TileReadError
from wsiparse.report.data import ReportData
from wsiparse.report.pages.maps import MapBackground, compartment_map, density_map, overview_map, spot_picture, top_of
from wsiparse.report.pages.picture import Picture
from wsiparse.report.stats.numbers import ReportNumbers
from wsiparse.report.stats.spots import Spot
from wsiparse.results.folder import REPORT_INPUTS
from wsiparse.results.report_inputs import jpeg_bytes
from wsiparse.store.read import ObjectsReader
from wsiparse.types import Box, ObjectTable

__all__ = ["map_background", "report_maps", "spot_pictures", "square_images"]

log = logging.getLogger("wsiparse")

#: Objects that begin so far above a square may reach into it, um.
_REACH_UM: Final = 100.0


def square_images(boxes: Sequence[Box], read: Callable[[Box], NDArray[np.uint8]]) -> dict[str, bytes]:
    """JPEG of squares of the slide, by file name in report_inputs/; those that cannot be read are left out.

    Parameters
    ----------
    boxes : px of the frame that `read` reads
    read : pixels of a box, (box.height, box.width, 3) uint8
    """
    out = {}
    for k, box in enumerate(boxes, 1):
        try:
            out[f"spots/{k}.jpg"] = jpeg_bytes(read(box))
        except TileReadError as error:
            log.warning("no picture of a hot spot: %s", error)
    return out


def map_background(loaded: ReportData) -> MapBackground:
    """What the maps are drawn on: the slide's small picture, faded outside the analysed tissue."""
    inputs = loaded.inputs
    if inputs.view is None:
        return MapBackground.of(inputs.picture, loaded.source.tissue.cells, inputs.overview)
    size, mpp = inputs.size, inputs.mpp
    return MapBackground.of(
        _jpeg_pixels(inputs.view),
        loaded.source.tissue.cells,
        inputs.overview,
        slide_um=(size[0] * mpp[0], size[1] * mpp[1]),
    )


def report_maps(
    loaded: ReportData, analysis: ReportNumbers
) -> tuple[dict[str, Picture], list[dict[str, Any]], list[float]]:
    """Maps by key, what the page says of density maps, and the tops of their ramps."""
    ground, inputs = map_background(loaded), loaded.inputs
    described = analysis.numbers["compartments"]
    # a class has one colour in both pictures
    colours = dict(zip(described["names"], described["colours"], strict=True)) if described["used"] == "roi" else {}
    drawn = [replace(r, colour=colours.get(r.class_name or "unclassified", r.colour)) for r in loaded.drawn]
    pictures = {"overview": overview_map(ground, drawn)}
    if analysis.compartments is not None and described["used"] != "none":
        pictures["compartments"] = compartment_map(
            ground, analysis.compartments.labels, inputs.overview, described["colours"]
        )
    maps, tops = [], []
    for k, prompt in enumerate(loaded.source.prompts):
        top, highest = top_of(analysis.grid, k)
        tops.append(top)
        name = f"density/{k}"
        pictures[name] = density_map(ground, analysis.grid, k, top)
        maps.append(
            {
                "class": prompt.class_name,
                "picture": name,
                "top_per_mm2": top,
                "highest_per_mm2": highest,
                "grid_um": loaded.settings.grid_um,
            }
        )
    return pictures, maps, tops


def spot_pictures(
    loaded: ReportData, spots: Sequence[Spot], squares: Mapping[str, bytes], called: str = "spot"
) -> dict[str, Picture]:
    """Pictured squares among the spots, with outlines, by key: `called`, a stroke and the place in the list from 1."""
    file_of = {square.box: square.file for square in loaded.inputs.squares}
    out = {}
    for rank, spot in enumerate(spots, 1):
        data = squares.get(file_of.get(spot.box, ""))
        if data is None:
            continue
        pixels = _jpeg_pixels(data)
        near = [_cells_near(loaded.reader, spot)]
        out[f"{called}/{rank}"] = spot_picture(
            pixels, spot.box, near, loaded.source.prompts, float(np.mean(loaded.inputs.mpp))
        )
    return out


def _jpeg_pixels(data: bytes) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of a JPEG of report_inputs/.

    Raises
    ------
    OutputError
        If it is damaged.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise OutputError(
            f"a picture of {REPORT_INPUTS}/ is damaged ({error}). Run the slide again with --overwrite."
        ) from error


def _cells_near(reader: ObjectsReader, spot: Spot) -> tuple[ObjectTable, Frame]:
    """Cells that may reach into a square: rows are in raster order of the first pixel."""
    frame = reader.frames["cell"]
    y0, y1 = spot.corner_um[1] - _REACH_UM, spot.corner_um[1] + spot.size_um
    first, last = reader.rows_between("cell", y0 / frame.mpp[1], y1 / frame.mpp[1])
    table = reader.table("cell", first, last)
    x = to_um(table.centroid, frame)[:, 0]
    reach = spot.size_um + _REACH_UM
    return table.take(np.flatnonzero(np.abs(x - spot.corner_um[0] - spot.size_um / 2) <= reach)), frame
