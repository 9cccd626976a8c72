from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.store.tables import PROMPTS, blobs, regions
from wsiparse.coords import Frame, frame_at
from wsiparse.report.pages.figures import draw_overlay
from wsiparse.types import ObjectTable

SIZE = (700, 500)
FIELD = frame_at(SIZE, (0.5, 0.5), 0.5)
CELLS, REGIONS = blobs(), regions()


def drawn(tables: list[ObjectTable], frame: Frame) -> NDArray[np.uint8]:
    picture = np.full((frame.size[1], frame.size[0], 3), 200, np.uint8)
    image = draw_overlay(picture, frame, ((table, FIELD) for table in tables), prompts=PROMPTS, caption=[("x", None)])
    assert image.size[0] == frame.size[0]
    return np.asarray(image)[: frame.size[1]]


def one_by_one(table: ObjectTable, frame: Frame) -> NDArray[np.uint8]:
    """Outlines vertex by vertex, then dots."""
    canvas = Image.new("RGB", frame.size, (200, 200, 200))
    draw = ImageDraw.Draw(canvas)
    scale = np.asarray(FIELD.downsample) / np.asarray(frame.downsample)
    dots: list[tuple[int, float, float]] = []
    for k in range(len(table)):
        first, last = table.polygon_offsets[k], table.polygon_offsets[k + 1]
        rings = [table.coords[table.ring_offsets[r] : table.ring_offsets[r + 1]] * scale for r in range(first, last)]
        if np.ptp(rings[0], axis=0).max() < 3:
            dots.append((int(table.class_id[k]), *(table.centroid[k] * scale)))
            continue
        for ring in rings:
            draw.line([(float(x), float(y)) for x, y in ring], fill=PROMPTS[int(table.class_id[k]) - 1].colour)
    for class_id, x, y in sorted(dots, key=lambda dot: dot[0]):
        draw.point((x, y), fill=PROMPTS[class_id - 1].colour)
    return np.asarray(canvas)


@given(st.floats(1, 12), st.sampled_from((CELLS, REGIONS)))
@settings(max_examples=15)
def test_outlines_and_dots_are_those_of_each_object_alone(scale: float, table: ObjectTable) -> None:
    frame = frame_at(SIZE, (0.5, 0.5), 0.5 * scale)
    np.testing.assert_array_equal(drawn([table], frame), one_by_one(table, frame))


def test_both_outlines_and_dots_are_among_the_examples() -> None:
    starts = CELLS.ring_offsets[CELLS.polygon_offsets[:-1]]
    extent = np.maximum.reduceat(CELLS.coords, starts) - np.minimum.reduceat(CELLS.coords, starts)
    assert 0 < (extent.max(axis=1) / 4 < 3).sum() < len(CELLS)


def test_nothing_to_draw_leaves_the_picture() -> None:
    none = CELLS.take(np.arange(0))
    np.testing.assert_array_equal(drawn([none], FIELD), np.full((SIZE[1], SIZE[0], 3), 200, np.uint8))
