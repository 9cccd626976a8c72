from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.recognize.inflammatory import InflammatoryRule, find_inflammatory
from wsiparse.recognize.instances import RING_PX, Nuclei, measure_nuclei
from wsiparse.recognize.stain import OD_OF_BYTE, RUIFROK, hematoxylin_lut, through_lut


def slow_measure(labels: NDArray[np.int32], n: int, rgb: NDArray[np.uint8], p: NDArray[np.float32]) -> Nuclei:
    """The same figures with whole-image morphology, one instance at a time."""
    red = OD_OF_BYTE[rgb[..., 0]].astype(np.float64)
    hematoxylin = through_lut(rgb, hematoxylin_lut(RUIFROK)).astype(np.float64)
    window = np.ones((2 * RING_PX + 1,) * 2, bool)
    rows = []
    for k in range(1, n + 1):
        mine = labels == k
        y, x = np.nonzero(mine)
        spread = np.cov(np.stack([y, x]), bias=True).reshape(2, 2) + np.eye(2) / 12
        minor, major = 4 * np.sqrt(np.linalg.eigvalsh(spread))
        ring = ndimage.binary_dilation(mine, window) & (labels == 0)
        mean = hematoxylin[mine].mean()
        rows.append(
            (
                mine.sum(),
                minor / major,
                mine.sum() / (np.pi / 4 * major * minor),
                red[mine].mean(),
                red[mine].std() / red[mine].mean() if red[mine].mean() > 0 else 0.0,
                mean,
                hematoxylin[ring].mean() if ring.any() else mean,
                p[mine].astype(np.float64).mean(),
            )
        )
    return Nuclei(*np.array(rows, np.float64).reshape(n, 8).T)  # type: ignore[arg-type]


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 40))
def test_the_kernels_equal_whole_image_morphology(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    blobs, n = ndimage.label(rng.random((height, width)) < rng.choice([0.05, 0.4, 1.0]))
    labels = blobs.astype(np.int32)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    p = rng.random((height, width), dtype=np.float32)
    fast, slow = measure_nuclei(labels, n, rgb, p), slow_measure(labels, n, rgb, p)
    for name in Nuclei.__slots__:
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), atol=2e-6, err_msg=name)


def test_a_nucleus_measures_the_same_wherever_it_lies() -> None:
    rng = np.random.default_rng(3)
    patch = rng.integers(0, 256, (20, 25, 3), dtype=np.uint8)
    shape = np.zeros((20, 25), np.int32)
    shape[8:13, 7:16] = 1
    p = rng.random((20, 25), dtype=np.float32)
    results = []
    for y, x in ((0, 0), (300, 411)):
        rgb, labels, q = (
            np.zeros((330, 450, 3), np.uint8),
            np.zeros((330, 450), np.int32),
            np.zeros((330, 450), np.float32),
        )
        window = (slice(y, y + 20), slice(x, x + 25))
        rgb[window], labels[window], q[window] = patch, shape, p
        results.append(measure_nuclei(labels, 1, rgb, q))
    for name in Nuclei.__slots__:
        assert getattr(results[0], name).tolist() == getattr(results[1], name).tolist()


def test_no_nuclei_is_fine_and_wrong_input_is_refused() -> None:
    labels, rgb, p = np.zeros((4, 5), np.int32), np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.float32)
    assert len(measure_nuclei(labels, 0, rgb, p)) == 0
    with pytest.raises(ValueError, match="no pixel"):
        measure_nuclei(labels, 1, rgb, p)
    with pytest.raises(ValueError, match="outside"):
        measure_nuclei(labels + 2, 1, rgb, p)
    with pytest.raises(ValueError, match="shapes"):
        measure_nuclei(labels, 0, rgb[:3], p)
    with pytest.raises(ValueError, match="dtypes"):
        measure_nuclei(labels.astype(np.int64), 0, rgb, p)


def lymphocyte(**changes: float) -> Nuclei:
    """A textbook lymphocyte with some figures changed."""
    figures = {
        "area_px": 70,
        "axis_ratio": 0.85,
        "ellipse_fill": 0.97,
        "red_od": 0.5,
        "red_unevenness": 0.15,
        "hematoxylin": 0.7,
        "ring_hematoxylin": 0.2,
        "confidence": 0.95,
    }
    return Nuclei(**{k: np.array([v]) for k, v in (figures | changes).items()})  # type: ignore[arg-type]


def test_the_rule_takes_a_lymphocyte_and_every_limit_can_refuse_it() -> None:
    rule = InflammatoryRule(min_confidence=0.89)
    assert find_inflammatory(lymphocyte(), rule)[0]
    refused = [
        {"red_od": 0.2},
        {"hematoxylin": 0.45},
        {"ring_hematoxylin": 0.42, "hematoxylin": 1.2},
        {"red_unevenness": 0.6},
        {"area_px": 20},
        {"area_px": 200},
        {"axis_ratio": 0.3},
        {"confidence": 0.8},
    ]
    for change in refused:
        assert not find_inflammatory(lymphocyte(**change), rule)[0], change
