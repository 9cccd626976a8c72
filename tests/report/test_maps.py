from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tests.report.patterns import irregular_tissue
from wsiparse.coords import Frame
from wsiparse.report.pages.maps import (
    RAMP,
    MapBackground,
    compartment_map,
    density_map,
    density_sheet,
    overview_map,
    top_of,
)
from wsiparse.report.pages.picture import Picture
from wsiparse.report.stats.density import density_grid
from wsiparse.report.stats.tissue import Tissue

TISSUE = irregular_tissue(2.0, 1.6, 4)
FRAME = Frame((TISSUE.mask.shape[1], TISSUE.mask.shape[0]), (16.0, 16.0), (8.0, 8.0))


def ground(tissue: Tissue = TISSUE) -> MapBackground:
    picture = np.full((*tissue.mask.shape, 3), 200, np.uint8)
    return MapBackground.of(picture, tissue.mask, Frame(tissue.mask.shape[::-1], (16.0, 16.0), (8.0, 8.0)))


def pixels(picture: Picture) -> np.ndarray:
    with Image.open(io.BytesIO(picture.data)) as image:
        assert image.size == (picture.width, picture.height)
        return np.asarray(image.convert("RGB")).astype(int)


def luminance(colour: str) -> float:
    """Relative luminance of sRGB (IEC 61966-2-1)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_ramp_darkens_all_the_way_so_that_it_prints_in_grey() -> None:
    values = [luminance(c) for c in RAMP]
    assert values == sorted(values, reverse=True)
    lightness = [116 * v ** (1 / 3) - 16 if v > 0.008856 else 903.3 * v for v in values]
    steps = -np.diff(lightness)
    assert steps.min() > 0.5 * steps.mean(), "no two stops look alike"


def test_dense_squares_are_darker_and_the_rest_is_the_grey_slide() -> None:
    random = np.random.default_rng(0)
    xs, ys = random.uniform(0, 2000, 40_000), random.uniform(0, 1600, 40_000)
    points = np.stack([xs, ys], axis=1)[random.uniform(0, 2000, 40_000) < xs]
    points = points[TISSUE.contains(points)]
    grid = density_grid(points, np.zeros(len(points), np.int64), 1, TISSUE, 200.0)
    assert grid is not None
    top, highest = top_of(grid, 0)
    assert highest / 4 <= top
    got = pixels(density_map(ground(), grid, 0, top)).mean(axis=2)
    rows, columns = np.nonzero(grid.filled)
    dark, density = [], []
    for row, column in zip(rows, columns, strict=True):
        y, x = (int(v) for v in ((row + 0.5) * 25, (column + 0.5) * 25))
        y0, x0 = (round(o / 8) for o in grid.squares.origin_um[::-1])
        y, x = y + y0, x + x0
        if y < got.shape[0] and x < got.shape[1] and TISSUE.mask[y - 2 : y + 3, x - 2 : x + 3].all():
            dark.append(255 - got[y - 1 : y + 2, x - 1 : x + 2].mean())
            density.append(grid.per_mm2[0, row, column])
    assert len(dark) > 15
    assert np.corrcoef(np.argsort(np.argsort(dark)), np.argsort(np.argsort(density)))[0, 1] > 0.98
    outside = ~TISSUE.mask
    assert got[outside].std() < 4, "colours end with the tissue"


def test_the_top_of_a_ramp_is_round_and_not_above_all() -> None:
    assert top_of(None, 0) == (1.0, 0.0)
    empty = density_grid(np.zeros((0, 2)), np.zeros(0, np.int64), 1, TISSUE, 200.0)
    assert top_of(empty, 0) == (1.0, 0.0)


def test_compartments_have_their_colours() -> None:
    labels = np.zeros(TISSUE.mask.shape, np.uint8)
    labels[:, :100] = 1
    labels[:, 100:] = 2
    labels[~TISSUE.mask] = 0
    got = pixels(compartment_map(ground(), labels, FRAME, ["#ff0000", "#0000ff"]))
    left, right = (got[(labels == k) & TISSUE.mask] for k in (1, 2))
    assert np.median(left[:, 0] - left[:, 2]) > 100
    assert np.median(right[:, 2] - right[:, 0]) > 100


def test_the_overview_shows_the_border_of_what_was_analysed() -> None:
    got = pixels(overview_map(ground()))
    blue = got[:, :, 2] - got[:, :, 0] > 100
    assert blue.any()
    assert not blue[~ndimage.binary_dilation(TISSUE.mask, iterations=2)].any(), "no further out than JPEG blurs"


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3)])
def test_odd_slides_have_maps(shape: tuple[int, int]) -> None:
    tissue = Tissue(np.ones(shape, np.bool_), (8.0, 8.0), (shape[1] * 8.0, shape[0] * 8.0))
    grid = density_grid(np.array([[4.0, 4.0]]), np.zeros(1, np.int64), 1, tissue, 200.0)
    own = ground(tissue)
    top, _ = top_of(grid, 0)
    assert pixels(density_map(own, grid, 0, top)).shape[0] >= 1
    sheet = density_sheet(own, grid, ["a"], [top], "caption " * 40)
    assert sheet.width < 2000
