"""Star-convex candidates: which are kept, and which pixels they get."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsiparse.recognize.exported.star import star_labels

pytestmark = pytest.mark.kernels


def inside(cy: float, cx: float, lengths: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels of a star, one by one: an odd number of edges crosses its row at its place or before."""
    angles = 2 * np.pi * np.arange(len(lengths)) / len(lengths)
    ys, xs = cy + lengths * np.sin(angles), cx + lengths * np.cos(angles)
    out = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            crossed = 0
            for k in range(len(ys)):
                y0, x0, y1, x1 = ys[k - 1], xs[k - 1], ys[k], xs[k]
                if (y0 <= y) != (y1 <= y):
                    crossed += x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x
            out[y, x] = crossed % 2
    return out


def slow_labels(probability: np.ndarray, rays: np.ndarray, cut: float, overlap: float, stride: int) -> np.ndarray:
    height, width = (side * stride for side in probability.shape)
    found = sorted((-probability[y, x], y, x) for y, x in np.argwhere(probability > cut))
    labels = np.zeros((height, width), np.int32)
    areas: list[int] = []
    for _, y, x in found:
        mask = inside(y * stride, x * stride, np.maximum(rays[:, y, x].astype(float), 0), height, width)
        shared = [(labels[mask] == k + 1).sum() / min(area, mask.sum() or 1) for k, area in enumerate(areas)]
        if mask.any() and all(share <= overlap for share in shared):
            areas.append(int(mask.sum()))
            labels[mask & (labels == 0)] = len(areas)
    return labels


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]), st.sampled_from([4, 8, 11]))
def test_compiled_painting_is_that_of_the_slow_way(seed: int, stride: int, n_rays: int) -> None:
    rng = np.random.default_rng(seed)
    probability = np.where(rng.random((9, 11)) < 0.12, rng.integers(1, 9, (9, 11)) / 9, 0).astype(np.float32)
    rays = rng.uniform(-0.5, 6, (n_rays, 9, 11)).astype(np.float32)
    labels, likely = star_labels(probability, rays, cut=0.3, overlap=0.4, stride=stride)
    expected = slow_labels(probability, rays, 0.3, 0.4, stride)
    np.testing.assert_array_equal(labels, expected)
    assert len(likely) >= labels.max()
    assert (np.diff(likely) <= 0).all()


def test_the_likelier_of_two_candidates_of_one_nucleus_is_kept() -> None:
    probability = np.zeros((60, 60), np.float32)
    rays = np.full((32, 60, 60), 10, np.float32)
    probability[20, 20], probability[22, 21], probability[20, 45] = 0.8, 0.9, 0.7
    labels, likely = star_labels(probability, rays, cut=0.5, overlap=0.4)
    assert likely.tolist() == [np.float32(0.9), np.float32(0.7)]
    assert labels[22, 21] == 1
    assert labels[20, 45] == 2
    areas = np.bincount(labels.ravel())[1:]
    polygon = 32 / 2 * 100 * np.sin(2 * np.pi / 32)
    np.testing.assert_allclose(areas, polygon, rtol=0.03)


def test_without_candidates_there_is_nothing() -> None:
    labels, likely = star_labels(np.zeros((8, 8), np.float32), np.ones((4, 8, 8), np.float32), cut=0.5, overlap=0.4)
    assert not labels.any()
    assert len(likely) == 0
