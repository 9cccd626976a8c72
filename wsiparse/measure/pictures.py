"""Fields as pictures: what was missed, what was too much, what agrees."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsiparse.coords import frame_at
from wsiparse.measure.matching import MATCH_UM, Area, FieldSums, Side
from wsiparse.objects.scores import match_points
from wsiparse.report.pages.picture import Picture
from wsiparse.slides import Slide
from wsiparse.types import Box

__all__ = ["COLOURS", "PicturedField", "field_picture", "worst_fields"]

#: Outcome -> colour (Okabe and Ito) and words.
COLOURS: Final = {
    "agrees": ("#009e73", "on both sides"),
    "class": ("#cc79a7", "on both sides, of another class"),
    "missed": ("#0072b2", "annotated only"),
    "extra": ("#d55e00", "found only"),
}

#: Largest side of a picture, um, and its pixels, um.
_LARGEST_UM, _PIXEL_UM = 250.0, 0.35


@dataclass(frozen=True, eq=False)
class PicturedField:
    """A field that may be shown.

    Parameters
    ----------
    folder : results of its slide
    area : the field, um
    sums : of it
    truth, found : nuclei of the slide, um
    """

    folder: Path
    area: Area
    sums: FieldSums
    truth: Side
    found: Side

    @property
    def f1(self) -> float:
        """Of centroids; 1 without nuclei."""
        truth, found, pairs = self.sums.nuclei[:3]
        return float(2 * pairs / (truth + found)) if truth + found else 1.0

    @property
    def caption(self) -> str:
        """What stands below the picture."""
        truth, found, pairs = (int(n) for n in self.sums.nuclei[:3])
        return (
            f"{self.sums.slide}, {self.sums.field}: F1 {self.f1:.2f}, {truth} annotated, {found} found, {pairs} pairs, "
            f"{self.sums.mm2:.3g} mm2"
        )


def worst_fields(fields: Sequence[PicturedField], most: int) -> list[PicturedField]:
    """Those of the lowest F1 that are not perfect, worst first; of equals the first."""
    order = sorted(range(len(fields)), key=lambda k: (fields[k].f1, k))
    return [fields[k] for k in order if fields[k].f1 < 1][:most]


def field_picture(slide: Slide, field: PicturedField, mpp: tuple[float, float]) -> Picture:
    """A field, or of a large one the square with most errors, with both sides' nuclei by outcome.

    Parameters
    ----------
    slide : its pixels
    field : what is shown
    mpp : um per level-0 px
    """
    outcome_t, outcome_f = _outcomes(field)
    x0, y0, x1, y1 = _window(field, outcome_t, outcome_f)
    frame = frame_at(slide.size, mpp, max(_PIXEL_UM, *mpp))
    left, top = (int(np.floor(v / m)) for v, m in zip((x0, y0), frame.mpp, strict=True))
    width, height = (max(16, int(np.ceil((b - a) / m))) for a, b, m in ((x0, x1, frame.mpp[0]), (y0, y1, frame.mpp[1])))
    image = slide.read(Box(left, top, width, height), frame)
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    scale, origin = 1 / np.array(frame.mpp), np.array([left, top])
    border = shapely.get_coordinates(field.area.shape.boundary) * scale - origin
    draw.line([tuple(p) for p in border.tolist()], fill="#222222", width=2)
    for side, rows, outcomes in (
        (field.truth, field.sums.truth_rows, outcome_t),
        (field.found, field.sums.found_rows, outcome_f),
    ):
        for k, outcome in zip(rows.tolist(), outcomes, strict=True):
            if side is field.truth and outcome in ("agrees", "class"):
                continue  # the found one is drawn
            _draw(draw, side, k, COLOURS[outcome][0], scale, origin)
    out = io.BytesIO()
    canvas.save(out, format="JPEG", quality=86, subsampling=0)
    return Picture(out.getvalue(), "image/jpeg", canvas.width, canvas.height, float(frame.mpp[0]))


def _draw(
    draw: ImageDraw.ImageDraw, side: Side, k: int, colour: str, scale: NDArray[np.float64], origin: NDArray[np.int64]
) -> None:
    if side.shapes is not None:
        for ring in shapely.get_parts(shapely.boundary(side.shapes[k])):
            points = shapely.get_coordinates(ring) * scale - origin
            draw.line([tuple(p) for p in points.tolist()], fill=colour, width=2)
        return
    x, y = side.points[k] * scale - origin
    draw.line((x - 5, y, x + 5, y), fill=colour, width=2)
    draw.line((x, y - 5, x, y + 5), fill=colour, width=2)


def _outcomes(field: PicturedField) -> tuple[list[str], list[str]]:
    t, f = field.sums.truth_rows, field.sums.found_rows
    truth, found = ["missed"] * len(t), ["extra"] * len(f)
    left, right = match_points(field.truth.points[t], field.found.points[f], MATCH_UM)
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        one, other = field.truth.class_of[t[a]], field.found.class_of[f[b]]
        truth[a] = found[b] = "agrees" if one < 0 or one == other else "class"
    return truth, found


def _window(field: PicturedField, outcome_t: list[str], outcome_f: list[str]) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1), um."""
    x0, y0, x1, y1 = field.area.shape.bounds
    sides = (min(x1 - x0, _LARGEST_UM), min(y1 - y0, _LARGEST_UM))
    wrong = np.concatenate(
        [
            field.truth.points[field.sums.truth_rows][[o == "missed" for o in outcome_t]],
            field.found.points[field.sums.found_rows][[o == "extra" for o in outcome_f]],
        ]
    )
    if sides == (x1 - x0, y1 - y0) or not len(wrong):
        return x0, y0, x0 + sides[0], y0 + sides[1]
    places = np.floor((wrong - (x0, y0)) / sides).astype(np.int64)
    found, counts = np.unique(places, axis=0, return_counts=True)
    column, row = found[counts.argmax()]
    left, top = min(x0 + column * sides[0], x1 - sides[0]), min(y0 + row * sides[1], y1 - sides[1])
    return float(left), float(top), float(left + sides[0]), float(top + sides[1])
