from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from wsiparse.report.stats.qc import SlideQuality, flag_slides, robust_z, slide_quality


def picture(seed: int, blur: float = 0.0, pale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    texture = random.normal(0, 25, (60, 70))
    if blur:
        texture = ndimage.gaussian_filter(texture, blur)
    image = np.clip(255 - pale * (np.array([60, 110, 50]) + texture[..., None]), 0, 255).astype(np.uint8)
    tissue = np.zeros((60, 70), np.bool_)
    tissue[5:50, 8:60] = True
    image[~tissue] = 255
    return image, tissue


def measure(seed: int, **how: float) -> SlideQuality:
    image, tissue = picture(seed, **how)
    return slide_quality(image, tissue, mpp=8.0, tissue_mm2=5.0)


def test_measures_equal_loops_over_pixels() -> None:
    image, tissue = picture(0)
    got = slide_quality(image, tissue, mpp=8.0, tissue_mm2=5.0)
    grey = image.astype(float).mean(axis=2)
    values, edges, squares, density = [], [], [], []
    for y in range(1, 59):
        for x in range(1, 69):
            if tissue[y - 1 : y + 2, x - 1 : x + 2].all():
                g = grey[y - 1 : y + 2, x - 1 : x + 2]
                values.append(g[1, 1])
                edges.append(g[0, 1] + g[2, 1] + g[1, 0] + g[1, 2] - 4 * g[1, 1])
                gx = (g[:, 2] - g[:, 0]) @ [1, 2, 1]
                gy = (g[2] - g[0]) @ [1, 2, 1]
                squares.append(gx**2 + gy**2)
    density = [[math.log(255 / max(int(v), 1)) for v in image[y, x]] for y, x in np.argwhere(tissue)]
    assert got.laplacian_variance == pytest.approx(np.var(edges) / np.var(values))
    assert got.tenengrad == pytest.approx(np.mean(squares) / np.var(values))
    assert got.mean_od == pytest.approx(tuple(np.mean(density, axis=0)))


def test_blur_lowers_sharpness_and_a_paler_stain_hardly_does() -> None:
    sharp, soft, pale = measure(1), measure(1, blur=2.0), measure(1, pale=0.6)
    for name in ("laplacian_variance", "tenengrad"):
        assert getattr(soft, name) < 0.7 * getattr(sharp, name)
        assert getattr(pale, name) == pytest.approx(getattr(sharp, name), rel=0.05)


def test_no_tissue_and_flat_tissue_have_sensible_measures() -> None:
    white = np.full((9, 9, 3), 255, np.uint8)
    none = slide_quality(white, np.zeros((9, 9), np.bool_), mpp=8.0, tissue_mm2=0.0)
    assert (none.laplacian_variance, none.tenengrad, none.mean_od) == (None, None, None)
    flat = slide_quality(white, np.ones((9, 9), np.bool_), mpp=8.0, tissue_mm2=0.1)
    assert (flat.laplacian_variance, flat.tenengrad, flat.mean_od) == (0.0, 0.0, (0.0, 0.0, 0.0))
    thin = np.zeros((9, 9), np.bool_)
    thin[4] = True
    assert slide_quality(white, thin, mpp=8.0, tissue_mm2=0.1).laplacian_variance is None
    with pytest.raises(ValueError, match="uint8"):
        slide_quality(white.astype(float), thin, mpp=8.0, tissue_mm2=0.1)
    with pytest.raises(ValueError, match="tissue must be bool"):
        slide_quality(white, thin[:5], mpp=8.0, tissue_mm2=0.1)


@given(st.lists(st.integers(-1000, 1000), min_size=8, max_size=30), st.integers(1, 9), st.integers(-50, 50))
def test_robust_z_ignores_scale_shift_and_order(values: list[int], scale: int, shift: int) -> None:
    got = robust_z([float(v) for v in values])
    moved = robust_z([float(scale * v + shift) for v in values])
    back = robust_z([float(v) for v in reversed(values)])
    if got[0] is None:
        assert moved[0] is None
        assert np.median(np.abs(np.array(values) - np.median(values))) == 0
        return
    assert moved == pytest.approx(got)
    assert list(reversed(back)) == got


def test_few_slides_or_missing_values_have_no_score() -> None:
    assert robust_z([1.0] * 3 + [2.0] * 4) == [None] * 7
    assert robust_z([1.0, None, *map(float, range(8))])[1] is None
    assert robust_z([5.0] * 20) == [None] * 20


def test_the_blurred_the_strange_and_the_small_slide_stand_out_and_no_other() -> None:
    slides = [measure(seed) for seed in range(12)]
    image, tissue = picture(20)
    strange = image.copy()
    strange[tissue, 0] = strange[tissue, 0] // 3
    slides[3] = measure(30, blur=2.5)
    slides[5] = slide_quality(strange, tissue, mpp=8.0, tissue_mm2=5.0)
    slides[7] = slide_quality(image, tissue, mpp=8.0, tissue_mm2=0.4)
    flags = flag_slides(slides)
    assert [k for k, f in enumerate(flags) if f.blurred] == [3]
    assert [k for k, f in enumerate(flags) if "red" in f.stain] == [5]
    assert [k for k, f in enumerate(flags) if f.low_tissue] == [7]
    assert sum(f.any for f in flags) <= 4
    assert [f.z for f in flag_slides(slides[::-1])] == [f.z for f in flags][::-1]
