"""Landscapes of hover maps and of labels: the splitter finds the nuclei that were meant."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from wsiparse.objects.split import SplitPixels, split_cells
from wsiparse.recognize.exported.energy import LABEL_PERSISTENCE, hover_landscape, label_landscape

pytestmark = pytest.mark.kernels

SPLIT = SplitPixels(landscape="stored", smoothing_px=0, persistence=LABEL_PERSISTENCE)


def pieces(labels: np.ndarray) -> np.ndarray:
    """4-connected pieces of equal labels, numbered in raster order of their first pixel."""
    found = np.zeros(labels.shape, np.int32)
    for value in np.unique(labels[labels > 0]):
        parts, n = ndimage.label(labels == value)
        found[parts > 0] = parts[parts > 0] + found.max()
        assert n
    order = {v: k + 1 for k, v in enumerate(dict.fromkeys(found[found > 0].tolist()))}
    return np.array([order.get(v, 0) for v in found.ravel()], np.int32).reshape(labels.shape)


def slow_landscape(labels: np.ndarray) -> np.ndarray:
    """By erosions and dilations of each piece instead of queues."""
    parts = pieces(labels)
    out = np.zeros(labels.shape, np.uint8)
    for k in range(1, parts.max() + 1):
        mask = parts == k
        depth, left = np.zeros(labels.shape, int), mask
        while left.any():
            depth += left
            left = ndimage.binary_erosion(left)
        seed = np.unravel_index(depth.argmax(), depth.shape)
        way = np.full(labels.shape, -1)
        seen = np.zeros_like(mask)
        seen[seed] = True
        way[seed] = step = 0
        while (mask & (way < 0)).any():
            step += 1
            seen = ndimage.binary_dilation(seen, mask=mask)
            way[seen & (way < 0)] = step
        out[mask] = 4 + 123 * (step - way[mask]) // max(step, 1)
        rim = ndimage.binary_dilation((parts > 0) & ~mask) & mask
        rim[seed] = False
        out[rim] = 0
        tiers, seen = [], mask & ~rim
        while (ndimage.binary_dilation(seen, mask=mask) & ~seen).any():
            tiers.append(ndimage.binary_dilation(seen, mask=mask) & ~seen)
            seen = seen | tiers[-1]
        for upper, lower in reversed(list(itertools.pairwise(tiers))):
            for y, x in np.argwhere(lower):
                beside = [(y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)]
                at = next(
                    p for p in beside if min(p) >= 0 and p[0] < mask.shape[0] and p[1] < mask.shape[1] and upper[p]
                )
                out[at] = min(3, max(int(out[at]), int(out[y, x]) + 1))
        out[seed] = 255
    return out


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3))
def test_compiled_levels_are_those_of_the_slow_way(seed: int, height: int, width: int, labels: int) -> None:
    given_labels = np.random.default_rng(seed).integers(0, labels + 1, (height, width)).astype(np.int32)
    np.testing.assert_array_equal(label_landscape(given_labels), slow_landscape(given_labels))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_the_splitter_finds_touching_labels_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    centres = rng.uniform(8, 88, (14, 2))
    distance = np.hypot(y - centres[:, :1, None], x - centres[:, 1:, None])
    labels = np.where(distance.min(0) < 14, distance.argmin(0) + 1, 0).astype(np.int32)
    expected = pieces(labels)
    found, n = split_cells(labels > 0, label_landscape(labels), SPLIT)
    assert n == expected.max()
    # what is two pixels thin beside two others is no nucleus, and has no flood of its own
    strays = 0
    for k in range(1, expected.max() + 1):
        mask = expected == k
        if ndimage.binary_opening(mask, np.ones((3, 3))).sum() > 0.9 * mask.sum():
            strays += int(mask.sum() - np.bincount(found[mask]).max())
    assert strays <= 0.002 * (labels > 0).sum()


def test_a_dumbbell_is_one_nucleus_and_two_that_touch_are_two() -> None:
    labels = np.zeros((30, 60), np.int32)
    labels[5:25, 5:20] = labels[5:25, 40:55] = labels[13:17, 20:40] = 1
    assert split_cells(labels > 0, label_landscape(labels), SPLIT)[1] == 1
    labels[:, 30:] *= 2
    found, n = split_cells(labels > 0, label_landscape(labels), SPLIT)
    assert n == 2
    np.testing.assert_array_equal(found, labels)


def hover_maps(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Foreground, and where each pixel lies in its nucleus, as HoVer-Net learns it."""
    maps = np.zeros((3, *labels.shape), np.float32)
    for k in range(1, labels.max() + 1):
        y, x = np.nonzero(labels == k)
        for axis, at in ((1, x), (2, y)):
            away = at - at.mean()
            maps[axis, y, x] = np.where(away < 0, away / -away.min(), away / max(away.max(), 1e-9))
    maps[0] = labels > 0
    return maps[0], maps[1], maps[2]


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 135])
def test_two_touching_nuclei_are_split_where_the_maps_fall(angle: int) -> None:
    y, x = np.mgrid[:64, :64]
    dy, dx = np.sin(np.radians(angle)) * 10, np.cos(np.radians(angle)) * 10
    first, second = np.hypot(y - 32 - dy, x - 32 - dx), np.hypot(y - 32 + dy, x - 32 + dx)
    labels = np.where(np.minimum(first, second) < 12, 1 + (first < second), 0).astype(np.int32)
    landscape = hover_landscape(*hover_maps(labels), 1.0)
    found, n = split_cells(labels > 0, landscape, SplitPixels(landscape="stored", smoothing_px=0, persistence=30))
    assert n == 2
    agree = max((found == labels).sum(), (found == np.where(labels > 0, 3 - labels, 0)).sum()) / labels.size
    assert agree > 0.99


def test_a_pixel_of_the_hover_landscape_does_not_depend_on_the_rest_of_the_tile() -> None:
    rng = np.random.default_rng(2)
    maps = [rng.uniform(low, 1, (120, 120)).astype(np.float32) for low in (0, -1, -1)]
    whole = hover_landscape(*maps, 1.2)
    part = hover_landscape(*(m[20:100, 30:110] for m in maps), 1.2)
    np.testing.assert_array_equal(part[8:-8, 8:-8], whole[28:92, 38:102])
