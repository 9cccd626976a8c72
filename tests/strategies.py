"""Hypothesis strategies for masks and fields: small enough to draw, nasty enough to matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.objects.split import SplitPixels

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CellField:
    """Planes of a canvas as the stitcher takes them; on background OD and landscape hold anything."""

    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    od: NDArray[np.uint8]
    landscape: NDArray[np.uint8]
    n_classes: int

    @property
    def planes(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        return self.classes, self.confidence, self.od, self.landscape


def empty(height: int, width: int) -> Mask:
    return np.zeros((height, width), np.bool_)


def full(height: int, width: int) -> Mask:
    return np.ones((height, width), np.bool_)


def ring(height: int, width: int) -> Mask:
    """One pixel thick, all the way round the canvas."""
    mask = full(height, width)
    mask[1:-1, 1:-1] = False
    return mask


def comb(height: int, width: int) -> Mask:
    """Teeth in every other column that join in the last row only."""
    mask = empty(height, width)
    mask[:, ::2] = True
    mask[-1] = True
    return mask


def checkerboard(height: int, width: int) -> Mask:
    """Pixels that touch at corners only: every one an object of its own."""
    y, x = np.indices((height, width))
    return np.asarray((y + x) % 2 == 0)


def diagonal_loop(height: int, width: int) -> Mask:
    """A frame broken at one corner, where its ends touch diagonally: a hole that reaches the outside in a point."""
    mask = empty(height, width)
    mask[0, 1:] = mask[-1, :] = mask[1:, 0] = mask[:, -1] = True
    return mask


def spiral(height: int, width: int) -> Mask:
    """One long arm winding inwards, two pixels of turn to turn."""
    y, x = np.indices((height, width))
    depth = np.minimum.reduce([y, x, height - 1 - y, width - 1 - x])
    mask = depth % 2 == 0
    for d in range(0, min(height, width) // 2, 2):
        if d + 2 < height - d and d + 1 < width:
            mask[d + 1, d] = False
            mask[d + 2, d : d + 2] = True
    return np.asarray(mask)


def two_discs(height: int, width: int) -> Mask:
    """Two touching nuclei side by side."""
    y, x = np.indices((height, width)) + 0.5
    r = min(height / 2, width / 4) + 0.4
    left = np.hypot(y - height / 2, x - width / 4) < r
    right = np.hypot(y - height / 2, x - 3 * width / 4) < r
    return np.asarray(left | right)


SHAPES = (empty, full, ring, comb, checkerboard, diagonal_loop, spiral, two_discs)


def blobs(height: int, width: int, seed: int, sigma: float, level: float) -> Mask:
    """Smooth random shapes with holes, necks and canvas contacts."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), sigma)
    return np.asarray(noise > level * noise.std())


@st.composite
def masks(draw: st.DrawFn, most: int = 24) -> Mask:
    """Arbitrary pixels, smooth blobs, noise of any density, and the named shapes."""
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    kind = draw(st.sampled_from(("pixels", "blobs", "noise", "shape")))
    if kind == "pixels":
        return draw(hnp.arrays(np.bool_, (min(height, 8), min(width, 8))))
    if kind == "shape":
        return draw(st.sampled_from(SHAPES))(height, width)
    seed = draw(st.integers(0, 2**16))
    if kind == "blobs":
        return blobs(height, width, seed, draw(st.floats(0.5, 3)), draw(st.floats(-1.5, 1)))
    return np.asarray(np.random.default_rng(seed).random((height, width)) < draw(st.floats(0.02, 0.98)))


def planes_of(mask: Mask, seed: int, n_classes: int = 3, quantised: bool = False) -> CellField:
    """Random classes, confidences (0 among them), optical densities and a landscape over a mask."""
    random = np.random.default_rng(seed)
    classes = random.integers(1, n_classes + 1, mask.shape, np.uint8) * mask
    confidence = random.integers(0, 256, mask.shape, np.uint8) * mask
    landscape = random.integers(0, 4 if quantised else 256, mask.shape, np.uint8)
    od = random.integers(0, 256, mask.shape, np.uint8)
    return CellField(classes.astype(np.uint8), confidence.astype(np.uint8), od, landscape, n_classes)


@st.composite
def cell_fields(draw: st.DrawFn, most: int = 24) -> CellField:
    """A field of several classes; landscapes from plateaus to noise."""
    return planes_of(
        draw(masks(most)), draw(st.integers(0, 2**16)), draw(st.integers(1, 3)), quantised=draw(st.booleans())
    )


@st.composite
def split_settings(draw: st.DrawFn) -> SplitPixels:
    """Every landscape, from splitting at the least dent to not at all, with and without filters and a size limit."""
    return SplitPixels(
        landscape=draw(st.sampled_from(("distance", "stored"))),
        smoothing_px=draw(st.sampled_from((0.0, 0.5, 0.8, 2.0))),
        persistence=draw(st.sampled_from((0.0, 0.3, 1.0, 20.0, 1e6))),
        relative_persistence=draw(st.sampled_from((0.0, 0.08, 0.3))),
        min_area_px=draw(st.sampled_from((0, 3))),
        min_confidence=draw(st.sampled_from((0.0, 0.4))),
        max_component_px=draw(st.sampled_from((12, 60, 10**6))),
    )
