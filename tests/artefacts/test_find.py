from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tests.artefacts.painted import PENS, blurred, drawn_over, halves, looked_at
from wsiparse.artefacts.focus import BANDS, CELL_PX, focus_sums
from wsiparse.artefacts.ink import ink_mask
from wsiparse.slides.synthetic import paint_he


@pytest.fixture(scope="module")
def slide():
    """A generated slide at 1 um per px, and its tissue in cells of 8 um."""
    painted = paint_he(1600, 1600, seed=5, nuclei_per_mm2=3000)
    rgb = halves(painted.image)
    stained = ndimage.gaussian_filter((243.0 - rgb.mean(axis=2)), 6) > 12
    return rgb, stained.reshape(100, 8, 100, 8).mean(axis=(1, 3)) > 0.5


def agreement(found, truth, where):
    hit = (found & truth & where).sum()
    return hit / (truth & where).sum(), hit / max((found & where).sum(), 1)


def big(tissue):
    return np.kron(tissue, np.ones((8, 8), bool))


@pytest.mark.parametrize("pen", PENS)
def test_a_stroke_of_any_colour_is_found_on_tissue(slide, pen):
    rgb, tissue = slide
    painted, truth = drawn_over(rgb, pen, 60.0, 1.0)
    found = looked_at(painted, tissue, ("ink",))["ink"]
    recall, precision = agreement(found, truth, big(tissue))
    assert recall >= 0.9
    assert precision >= 0.9


@pytest.mark.parametrize("sigma", [1.5, 2, 3, 6])
def test_what_is_out_of_focus_is_found(slide, sigma):
    rgb, tissue = slide
    painted, truth = blurred(rgb, sigma, 1.0, 220.0)
    found = looked_at(painted, tissue, ("out_of_focus",))["out_of_focus"]
    recall, precision = agreement(found, truth, big(tissue))
    assert recall >= 0.9
    assert precision >= 0.9


def test_a_clean_slide_has_no_artefacts(slide):
    rgb, tissue = slide
    for mask in looked_at(rgb, tissue, ("ink", "out_of_focus")).values():
        assert mask.sum() < 0.01 * big(tissue).sum()


@pytest.mark.parametrize("block_px", [112, 256, 2048])
def test_the_size_of_blocks_changes_nothing(slide, block_px):
    rgb, tissue = slide
    painted = drawn_over(blurred(rgb, 3, 1.0, 200.0)[0], "blue", 30.0, 1.0)[0][:777, :701]
    tissue = tissue[:98, :88]
    at_once = looked_at(painted, tissue, ("ink", "out_of_focus"))
    cut = looked_at(painted, tissue, ("ink", "out_of_focus"), block_px)
    for kind, mask in at_once.items():
        assert mask.any()
        np.testing.assert_array_equal(cut[kind], mask)


def test_energies_are_those_of_a_pyramid_made_step_by_step():
    density = np.random.default_rng(1).random((64, 48)).astype(np.float32)
    taps = np.exp(-0.5 * np.arange(-3, 4) ** 2.0)
    taps /= taps.sum()
    picture, sums = density.astype(np.float64), focus_sums(density)
    for k in range(BANDS):
        padded = np.pad(picture, 3, mode="edge")
        soft = sum(
            taps[i] * taps[j] * padded[i : i + picture.shape[0], j : j + picture.shape[1]]
            for i in range(7)
            for j in range(7)
        )
        energy = (picture - soft) ** 2 * 1e8 * 4**k
        side = CELL_PX >> k
        expected = energy.reshape(64 // CELL_PX, side, 48 // CELL_PX, side).sum(axis=(1, 3))
        np.testing.assert_allclose(sums[k], expected, rtol=1e-4, atol=256 * 4**k)
        picture = picture.reshape(picture.shape[0] // 2, 2, picture.shape[1] // 2, 2).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("what", "density"),
    [
        ("nuclei side by side", (0.65, 0.75, 0.3)),
        ("blood", (0.12, 0.75, 0.65)),
        ("mucin", (0.12, 0.10, 0.05)),
        ("DAB", (0.35, 0.5, 0.65)),
        ("eosin", (0.06, 0.7, 0.1)),
    ],
)
def test_an_even_sheet_of_a_stain_is_no_ink(what, density):
    sheet = np.broadcast_to(np.array(density, np.float32)[:, None, None], (3, 60, 60))
    assert not ink_mask(sheet, 2.0).any()


def test_grains_of_dark_pigment_are_no_ink():
    rng = np.random.default_rng(2)
    grains = ndimage.gaussian_filter((rng.random((120, 120)) < 0.06).astype(np.float32), 0.7)
    density = (
        np.array([0.2, 0.4, 0.2])[:, None, None] + grains / grains.max() * np.array([0.8, 1.0, 1.2])[:, None, None]
    )
    assert not ink_mask(density.astype(np.float32), 2.0).any()


def test_a_block_that_cannot_be_read_costs_only_itself(slide):
    from wsiparse.artefacts.find import Ground, find_artefacts
    from wsiparse.coords import Frame

    rgb, tissue = slide
    painted = drawn_over(rgb, "green", 60.0, 1.0)[0]
    ground = Ground(
        Frame((800, 800), (1.0, 1.0), (1.0, 1.0)),
        (800, 800),
        Frame((100, 100), (8.0, 8.0), (8.0, 8.0)),
        tissue,
        np.zeros_like(tissue),
        np.full(3, 243, np.float32),
    )
    whole = find_artefacts(lambda b: painted[b.y : b.y1, b.x : b.x1], ground, ("ink",), block_px=400).shapes["ink"]
    torn = find_artefacts(
        lambda b: painted[b.y : b.y1, b.x : b.x1] if b.x == 0 else None, ground, ("ink",), block_px=400
    ).shapes["ink"]
    assert 0 < torn.area < whole.area
    assert torn.difference(whole).area == 0
    assert torn.bounds[2] <= 400
