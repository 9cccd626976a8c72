"""Features of a slide's nuclei, read where they are: the same numbers as the engine that was taught sees."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.objects.scores import paint_objects
from wsiparse.recognize.base import mirror_outside
from wsiparse.recognize.strength import at_reference, byte_table
from wsiparse.recognize.taught.features import NAMES, REACH_PX, measure_features
from wsiparse.slides import Slide
from wsiparse.types import Box, ObjectTable

__all__ = ["features_of"]

#: Nuclei whose first pixel lies in one square are read together, px.
_SQUARE_PX: Final = 512


def features_of(slide: Slide, frame: Frame, table: ObjectTable, strength: float | None) -> NDArray[np.float64]:
    """Features of every row of a table.

    Parameters
    ----------
    slide : its pixels
    frame : of the table's coordinates
    table : nuclei, field px
    strength : of the slide's stain, as the engine that found them sees it

    Returns
    -------
    (N, F) float64, columns `wsiparse.recognize.taught.features.NAMES`

    Raises
    ------
    TileReadError
        If the slide cannot be read there.
    """
    out = np.zeros((len(table), len(NAMES)))
    bytes_at = byte_table(strength)
    place = table.first_px // _SQUARE_PX
    _, group = np.unique(place, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group.ravel()[order])) + 1) if len(order) else []:
        some = table.take(rows)
        low = some.coords.min(axis=0) - REACH_PX - 1
        high = some.coords.max(axis=0) + REACH_PX + 1
        box = Box(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))
        image = mirror_outside(slide.read(box, frame), box, frame.size)
        labels = paint_objects(_moved(some, low), (box.width, box.height))
        out[rows] = measure_features(labels, len(some), np.ascontiguousarray(at_reference(image, bytes_at)))
    return out


def _moved(table: ObjectTable, origin: NDArray[np.int32]) -> ObjectTable:
    return ObjectTable(
        coords=table.coords - origin.astype(np.int32),
        ring_offsets=table.ring_offsets,
        polygon_offsets=table.polygon_offsets,
        class_id=table.class_id,
        score=table.score,
        area_px=table.area_px,
        centroid=table.centroid,
        first_px=table.first_px,
        class_share=table.class_share,
    )
