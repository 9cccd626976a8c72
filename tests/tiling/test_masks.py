"""Strips say what the whole picture says, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from tests.tiling import whole_picture
from tests.tiling.test_tissue import PENS, Scene, blob, stroke
from wsiparse.coords import Frame
from wsiparse.tiling import AnalysisArea, find_tissue, masks
from wsiparse.tiling.tissue import background_colour

Mask = NDArray[np.bool_]

NOISE = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))

#: From one row a strip to all rows in one.
STRIP_PX = st.sampled_from([1, 7, 100, 900, 5000, 1 << 20])


@contextmanager
def strips_of(px: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "_STRIP_PX", px)
        yield


@st.composite
def pictures(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Tissue, pen, black borders and white filling on glass of many colours; JPEG or not."""
    height, width = draw(st.integers(8, 120)), draw(st.integers(8, 120))
    shape, seed = (height, width), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    glass = draw(st.sampled_from([(243, 241, 244), (255, 255, 255), (238, 229, 212), (190, 188, 190), (90, 80, 95)]))
    scene = Scene.glass(height, width, glass, seed)
    for _ in range(draw(st.integers(0, 3))):
        centre = (rng.uniform(0, width), rng.uniform(0, height))
        where = blob(shape, centre, rng.uniform(0, 0.5 * max(shape)), seed)
        scene.stain(where, rng.uniform(0, 0.6), rng.uniform(0, 0.6), draw(st.sampled_from([0.0, 1.0])))
    for pen in draw(st.sets(st.sampled_from(sorted(PENS)))):
        start, end = rng.integers(0, max(shape), (2, 2)).tolist()
        scene.ink(stroke(shape, start, [*end[:1], end[1] + 1], rng.uniform(1, 40)), PENS[pen])
    border = draw(st.sampled_from([None, (0, 0, 0), (12, 12, 14), (255, 255, 255)]))
    if border is not None:
        y, x = rng.integers(0, 9, 2)
        frame = np.ones(shape, np.bool_)
        frame[y : height - 2, x : width - 3] = False
        scene.paint(frame, border)
    return scene.picture(draw(st.sampled_from([0.0, 0.8, 2.5])), draw(st.sampled_from([None, 40, 80])))


@given(pictures() | NOISE, st.sampled_from([2.0, 7.9, 8.0, 16.3]), STRIP_PX)
@settings(max_examples=60)
def test_tissue_and_pen_are_those_of_the_whole_picture(picture: NDArray[np.uint8], mpp: float, strip_px: int) -> None:
    with strips_of(strip_px):
        found = find_tissue(picture, mpp)
    expected = whole_picture.find_tissue(picture, mpp)
    np.testing.assert_array_equal(found.artefacts, expected.artefacts)
    np.testing.assert_array_equal(found.shares, expected.shares)


@given(pictures() | NOISE, STRIP_PX)
@settings(max_examples=60)
def test_glass_and_its_colour_are_those_of_the_whole_picture(picture: NDArray[np.uint8], strip_px: int) -> None:
    with strips_of(strip_px):
        colour, glass = background_colour(picture)
    expected = whole_picture.background_colour(picture)
    assert colour.tolist() == expected[0].tolist()
    np.testing.assert_array_equal(glass, expected[1])


SHAPES = st.tuples(st.integers(1, 25), st.integers(1, 25))
MASKS = hnp.arrays(np.bool_, SHAPES, elements=st.booleans(), fill=st.booleans())


@given(MASKS, st.floats(0, 30), STRIP_PX)
def test_shapes_in_strips_are_those_of_the_whole_mask(mask: Mask, size: float, strip_px: int) -> None:
    with strips_of(strip_px):
        np.testing.assert_array_equal(masks.within(mask, size), whole_picture.dilated(mask, size))
        np.testing.assert_array_equal(masks.close_gaps(mask, size), whole_picture.closed(mask, size))
        np.testing.assert_array_equal(masks.drop_small(mask, size), whole_picture.drop_small(mask, size))
        np.testing.assert_array_equal(masks.fill_holes(mask, size), whole_picture.fill_holes(mask, size))


@given(MASKS, st.integers(0, 2**32 - 1), STRIP_PX)
def test_pieces_with_a_seed_are_those_of_the_whole_mask(mask: Mask, seed: int, strip_px: int) -> None:
    seeds = mask & (np.random.default_rng(seed).random(mask.shape) < 0.1)
    with strips_of(strip_px):
        np.testing.assert_array_equal(masks.connected(mask, seeds), whole_picture.connected(mask, seeds))


@given(MASKS, st.floats(0, 200), st.sampled_from([(8.0, 8.0), (8.0, 7.99), (4.1, 9.3)]), STRIP_PX)
def test_the_computed_cells_are_those_near_tissue(
    mask: Mask, margin: float, mpp: tuple[float, float], strip_px: int
) -> None:
    height, width = mask.shape
    frame = Frame((width, height), (16.0, 16.0), mpp)
    with strips_of(strip_px):
        found = AnalysisArea((16 * width, 16 * height), frame, mask, margin_um=margin).computed
    reach = margin + float(np.hypot(*mpp))
    far = ndimage.distance_transform_edt(~mask, sampling=mpp[::-1]) > reach
    np.testing.assert_array_equal(found, ~far if mask.any() else mask)


@given(SHAPES, st.integers(0, 40), STRIP_PX)
def test_strips_cover_every_row_once_with_their_context(shape: tuple[int, int], context: int, strip_px: int) -> None:
    with strips_of(strip_px):
        cut = list(masks.strips(shape, context))
    rows = np.arange(shape[0])
    assert np.concatenate([rows[s.rows] for s in cut]).tolist() == rows.tolist()
    for strip in cut:
        window = rows[strip.window]
        assert window[strip.inner].tolist() == rows[strip.rows].tolist()
        assert window[0] == max(0, strip.rows.start - context)
        assert window[-1] == min(shape[0], strip.rows.stop + context) - 1
