from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tests.fixtures_slides import CMU_SMALL, OME_SMALL, TCGA_SMALL
from wsiparse.slides import open_slide, overview
from wsiparse.tiling import find_tissue, masks
from wsiparse.tiling.tissue import _smooth_and_bright, background_colour, otsu_threshold

MPP = 8.0
GLASS = (243, 241, 244)

#: OD per unit of stain for red, green, blue light, natural logarithm; Ruifrok and Johnston 2001 times a strength.
HEMATOXYLIN = np.array([0.650, 0.704, 0.286])
EOSIN = np.array([0.092, 0.954, 0.283])
DAB = np.array([0.268, 0.570, 0.776])

PENS = {"black": (28, 28, 32), "blue": (35, 60, 165), "green": (25, 125, 75), "red": (205, 30, 45)}

Mask = NDArray[np.bool_]


def clouds(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> NDArray[np.float64]:
    """Smooth noise with unit variance."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), scale, mode="wrap")
    return np.asarray(noise / noise.std())


@dataclass
class Scene:
    """A painted overview with its truth; light is attenuated layer by layer, then camera noise and JPEG are added."""

    light: NDArray[np.float64]
    tissue: Mask
    rng: np.random.Generator

    @classmethod
    def glass(cls, height: int = 260, width: int = 320, colour: tuple[int, int, int] = GLASS, seed: int = 0) -> Scene:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width]
        # lamps are a little uneven
        shade = 1 + 0.006 * np.cos(x / width * 3) * np.cos(y / height * 3)
        return cls(np.array(colour) * shade[..., None], np.zeros((height, width), np.bool_), rng)

    def stain(self, where: Mask, hematoxylin: float = 0.35, eosin: float = 0.45, dab: float = 0.0) -> Scene:
        shape = where.shape
        nuclei = np.clip(0.6 + 0.5 * clouds(self.rng, shape, 0.7) + 0.4 * clouds(self.rng, shape, 6), 0.05, None)
        stroma = np.clip(1 + 0.35 * clouds(self.rng, shape, 1.2), 0.2, None)
        density = nuclei[..., None] * (hematoxylin * HEMATOXYLIN + dab * DAB) + stroma[..., None] * eosin * EOSIN
        self.light = self.light * np.exp(-density * where[..., None])
        self.tissue |= where
        return self

    def ink(self, where: Mask, colour: tuple[int, int, int]) -> Scene:
        cover = ndimage.gaussian_filter(where.astype(np.float64), 0.8)[..., None]
        flow = 1 + 0.04 * clouds(self.rng, where.shape, 4)[..., None]
        passed = np.minimum(self.light, np.array(colour) * flow * self.light / 243)
        self.light = self.light * (1 - cover) + passed * cover
        return self

    def paint(self, where: Mask, colour: tuple[int, int, int]) -> Scene:
        self.light[where] = colour
        return self

    def picture(self, noise: float = 1.0, quality: int | None = 80) -> NDArray[np.uint8]:
        noisy = self.light + self.rng.normal(0, noise, self.light.shape)
        pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        if quality is None:
            return pixels
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))


def tissue_mask(picture: NDArray[np.uint8], mpp: float) -> Mask:
    """Cells in which objects are counted."""
    return find_tissue(picture, mpp).mask


def blob(shape: tuple[int, int], centre: tuple[float, float], radius: float, seed: int = 5) -> Mask:
    """An irregular round region; centre is x, y, px."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    wobble = clouds(np.random.default_rng(seed), shape, 9)
    return np.hypot(x - centre[0], y - centre[1]) < radius * (1 + 0.08 * wobble)


def stroke(shape: tuple[int, int], start: tuple[int, int], end: tuple[int, int], width: float) -> Mask:
    """A straight pen line; points are x, y, px."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    (ax, ay), (bx, by) = start, end
    length = max((bx - ax) ** 2 + (by - ay) ** 2, 1)  # squared; a point where it does not move
    along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1)
    return np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)) < width / 2


SHAPE = (260, 320)
BLOB = blob(SHAPE, (160, 130), 70)


def recall(found: Mask, truth: Mask) -> float:
    return float(found[truth].mean())


def strays(found: Mask, truth: Mask, within_px: int = 5) -> float:
    """Share of the non-tissue picture called tissue, apart from a seam around the tissue."""
    far = ~ndimage.binary_dilation(truth, iterations=within_px)
    return float(found[far].mean())


def test_ordinary_he_is_found_and_glass_is_not() -> None:
    scene = Scene.glass().stain(BLOB)
    found = tissue_mask(scene.picture(), MPP)
    assert recall(found, BLOB) > 0.97
    assert strays(found, BLOB) == 0


@pytest.mark.parametrize("quality", [None, 90, 60])
def test_a_stain_of_a_tenth_of_the_usual_density_is_found(quality: int | None) -> None:
    scene = Scene.glass().stain(BLOB, hematoxylin=0.035, eosin=0.045)
    found = tissue_mask(scene.picture(quality=quality), MPP)
    assert recall(found, BLOB) > 0.9
    assert strays(found, BLOB) == 0


@pytest.mark.parametrize("pen", PENS)
def test_pen_on_glass_is_not_tissue(pen: str) -> None:
    marks = stroke(SHAPE, (20, 30), (300, 20), 14) | stroke(SHAPE, (30, 240), (290, 250), 40)
    scene = Scene.glass().stain(BLOB).ink(marks, PENS[pen])
    found = tissue_mask(scene.picture(), MPP)
    assert found[marks].mean() < 0.02
    assert recall(found, BLOB) > 0.95
    assert strays(found, BLOB) < 0.002


@pytest.mark.parametrize("pen", PENS)
def test_pen_alone_on_an_empty_slide_gives_nothing(pen: str) -> None:
    marks = stroke(SHAPE, (20, 30), (300, 200), 30) | blob(SHAPE, (60, 200), 35)
    assert not tissue_mask(Scene.glass().ink(marks, PENS[pen]).picture(), MPP).any()


@pytest.mark.parametrize("pen", PENS)
def test_faint_tissue_beside_pen_is_kept(pen: str) -> None:
    marks = stroke(SHAPE, (20, 30), (300, 20), 20) | stroke(SHAPE, (20, 40), (30, 250), 20)
    scene = Scene.glass().stain(BLOB, hematoxylin=0.035, eosin=0.045).ink(marks, PENS[pen])
    found = tissue_mask(scene.picture(), MPP)
    assert recall(found, BLOB) > 0.85
    assert found[marks].mean() < 0.02
    assert strays(found, BLOB | marks) < 0.002


@pytest.mark.parametrize("pen", PENS)
def test_pen_over_tissue_costs_only_the_stroke(pen: str) -> None:
    mark = stroke(SHAPE, (100, 100), (220, 160), 14)
    found = tissue_mask(Scene.glass().stain(BLOB).ink(mark, PENS[pen]).picture(), MPP)
    away = BLOB & ~ndimage.binary_dilation(mark, iterations=8)
    assert recall(found, away) > 0.95
    if pen in ("black", "green"):
        # blue and red ink over dense stain have colours that dense stain alone can have
        assert found[mark].mean() < 0.3


@pytest.mark.parametrize("black", [(0, 0, 0), (12, 12, 14)])
def test_a_black_border_is_not_tissue(black: tuple[int, int, int]) -> None:
    border = np.ones(SHAPE, np.bool_)
    border[25:-30, 40:-20] = False
    found = tissue_mask(Scene.glass().stain(BLOB).paint(border, black).picture(), MPP)
    assert found[border].sum() == 0
    assert recall(found, BLOB) > 0.95
    assert strays(found, BLOB) == 0


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_thin_black_border_is_not_tissue_either(width: int) -> None:
    border = np.ones(SHAPE, np.bool_)
    border[width:-width, width:-width] = False
    found = tissue_mask(Scene.glass().stain(BLOB).paint(border, (0, 0, 0)).picture(), MPP)
    assert recall(found, BLOB) > 0.95
    assert strays(found, BLOB) == 0


@pytest.mark.parametrize(
    "colour", [(238, 229, 212), (226, 220, 236), (205, 203, 201), (255, 255, 255), (233, 216, 226)]
)
def test_a_tinted_background_is_not_tissue(colour: tuple[int, int, int]) -> None:
    scene = Scene.glass(colour=colour).stain(BLOB)
    found = tissue_mask(scene.picture(), MPP)
    assert recall(found, BLOB) > 0.95
    assert strays(found, BLOB) == 0


def test_white_filling_around_tinted_glass_does_not_make_the_glass_tissue() -> None:
    scene = Scene.glass(colour=(238, 232, 238)).stain(BLOB, hematoxylin=0.05, eosin=0.06)
    unscanned = np.ones(SHAPE, np.bool_)
    unscanned[30:230, 60:270] = False
    found = tissue_mask(scene.paint(unscanned, (255, 255, 255)).picture(noise=0.6), MPP)
    assert recall(found, BLOB & ~unscanned) > 0.9
    assert strays(found, BLOB & ~unscanned) < 0.002


def test_fat_is_tissue() -> None:
    rng = np.random.default_rng(3)
    # adipocytes of 70 um with thin walls: cells nearest to random centres, at 2 um per px, then averaged down
    fine = (SHAPE[0] * 4, SHAPE[1] * 4)
    centres = np.zeros(fine, np.bool_)
    centres[tuple((rng.random((9000, 2)) * fine).astype(int).T)] = True
    _, (row, column) = ndimage.distance_transform_edt(~centres, return_indices=True)
    owner = row * fine[1] + column
    walls = (owner != np.roll(owner, 1, 0)) | (owner != np.roll(owner, 1, 1))
    share = walls.reshape(SHAPE[0], 4, SHAPE[1], 4).mean(axis=(1, 3))
    lobule = blob(SHAPE, (160, 130), 80)
    scene = Scene.glass()
    scene.light *= np.exp(-(share * lobule)[..., None] * 0.5 * EOSIN)
    found = tissue_mask(scene.picture(), MPP)
    assert recall(found, lobule) > 0.85
    assert strays(found, lobule) == 0


def test_brown_immunohistochemistry_is_tissue() -> None:
    scene = Scene.glass().stain(BLOB, hematoxylin=0.25, eosin=0.0)
    scene.stain(blob(SHAPE, (150, 120), 35), hematoxylin=0.2, eosin=0.0, dab=1.6)
    found = tissue_mask(scene.picture(), MPP)
    assert recall(found, BLOB) > 0.95
    assert strays(found, BLOB) == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("noise", "quality"), [(0.0, None), (0.8, None), (1.5, 70), (2.5, 30)])
def test_an_empty_slide_gives_exactly_nothing(noise: float, quality: int | None, seed: int) -> None:
    assert not tissue_mask(Scene.glass(seed=seed).picture(noise, quality), MPP).any()


def test_dust_and_a_cover_glass_edge_on_an_empty_slide_give_nothing() -> None:
    scene = Scene.glass()
    dust = ndimage.binary_dilation(np.random.default_rng(1).random(SHAPE) < 0.0008, iterations=1)
    scene.light *= np.where(dust, 0.6, 1.0)[..., None]
    scene.light[:, 200:] *= 0.985
    assert not tissue_mask(scene.picture(), MPP).any()


@pytest.mark.parametrize("strength", [1.0, 0.5, 2.0])
def test_a_picture_full_of_tissue_is_nearly_all_tissue(strength: float) -> None:
    everywhere = np.ones(SHAPE, np.bool_)
    scene = Scene.glass().stain(everywhere, hematoxylin=0.35 * strength, eosin=0.45 * strength)
    assert tissue_mask(scene.picture(), MPP).mean() > 0.97


def test_dark_lymphoid_tissue_is_not_taken_for_pen() -> None:
    scene = Scene.glass().stain(BLOB, hematoxylin=1.6, eosin=0.3)
    assert recall(tissue_mask(scene.picture(), MPP), BLOB) > 0.97


def test_blood_is_not_taken_for_red_pen() -> None:
    scene = Scene.glass().stain(BLOB)
    pool = blob(SHAPE, (150, 130), 25)
    scene.light[pool] = (205, 88, 110) * (1 + 0.1 * clouds(scene.rng, SHAPE, 1)[pool, None])
    assert recall(tissue_mask(scene.picture(), MPP), pool) > 0.95


def test_a_gap_towards_the_picture_border_stays_glass() -> None:
    near_border = np.zeros(SHAPE, np.bool_)
    near_border[4:100, 50:200] = True
    found = tissue_mask(Scene.glass().stain(near_border).picture(), MPP)
    assert found[:3, 60:190].mean() < 0.4


@pytest.mark.parametrize(("height", "width"), [(12, 15), (25, 25), (2, 3), (3, 40)])
def test_slides_of_a_few_cells_are_judged_too(height: int, width: int) -> None:
    full = Scene.glass(height, width).stain(np.ones((height, width), np.bool_)).picture(quality=None)
    assert tissue_mask(full, MPP).mean() > 0.9
    assert not tissue_mask(Scene.glass(height, width).picture(quality=None), MPP).any()


@pytest.mark.parametrize("mpp", [2.0, 4.0, 16.0])
def test_other_scales_find_the_same_tissue(mpp: float) -> None:
    zoom = MPP / mpp
    shape = (round(SHAPE[0] * zoom), round(SHAPE[1] * zoom))
    where = blob(shape, (160 * zoom, 130 * zoom), 70 * zoom)
    # cells around tissue count, too, and are as wide as the scale is coarse: what is covered is looked at
    found = find_tissue(Scene.glass(*shape).stain(where).picture(), mpp).shares > 127
    assert recall(found, where) > 0.95
    assert strays(found, where, within_px=max(3, round(5 * zoom))) < 0.001


def test_a_few_dark_nuclei_at_a_fine_scale_are_not_punched_out_as_pen() -> None:
    scene = Scene.glass(300, 300).stain(np.ones((300, 300), np.bool_), hematoxylin=0.2)
    y, x = np.mgrid[0:300, 0:300]
    nuclei = np.hypot(x % 30 - 15, y % 30 - 15) < 5
    scene.light[nuclei] = (38, 40, 95)
    assert tissue_mask(scene.picture(), 1.5)[nuclei].all()


def test_the_background_colour_is_that_of_the_glass() -> None:
    colour, glass = background_colour(Scene.glass(colour=(238, 229, 212)).stain(BLOB).picture())
    np.testing.assert_allclose(colour, (238, 229, 212), atol=2)
    assert glass[BLOB].mean() < 0.01


@given(st.lists(st.floats(0, 1), min_size=5, max_size=40), st.floats(3, 9))
def test_otsu_separates_two_groups_wherever_they_lie(values: list[float], gap: float) -> None:
    low = np.array(values)
    high = low + gap
    threshold = otsu_threshold(np.concatenate([low, high]))
    assert low.max() <= threshold + 1e-9
    assert threshold <= high.min() + gap / 512 + 1e-9


def test_a_wrong_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        tissue_mask(np.zeros((4, 4, 3), np.float32), 8.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mpp"):
        tissue_mask(np.zeros((4, 4, 3), np.uint8), 0.0)


@pytest.mark.parametrize(
    ("path", "mpp", "least", "most"),
    [(CMU_SMALL, None, 0.3, 0.5), (TCGA_SMALL, 0.25, 0.55, 0.8), (OME_SMALL, None, 0.6, 0.85)],
)
def test_real_slides_are_neither_empty_nor_full(path: object, mpp: float | None, least: float, most: float) -> None:
    if not path.exists():  # type: ignore[attr-defined]
        pytest.skip("needs ../shared/data/slides, which is not here")
    with open_slide(str(path), slide_mpp=mpp) as slide:
        picture, frame = overview(slide, MPP)
    assert least < tissue_mask(picture, frame.mean_mpp).mean() < most


def variance_of_grey(picture: NDArray[np.uint8], y: int, x: int) -> Fraction:
    """Of the 3 x 3 neighbourhood of a pixel; the outermost pixels are repeated."""
    height, width = picture.shape[:2]
    rows = [min(max(y + k, 0), height - 1) for k in (-1, 0, 1)]
    columns = [min(max(x + k, 0), width - 1) for k in (-1, 0, 1)]
    grey = [Fraction(sum(picture[i, j].tolist()), 3) for i in rows for j in columns]
    mean = sum(grey) / 9
    return sum(((g - mean) ** 2 for g in grey), Fraction(0)) / 9


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)), elements=st.integers(175, 200)),
    st.integers(1, 12),
)
def test_even_glass_is_told_exactly(picture: NDArray[np.uint8], strip_px: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "_STRIP_PX", strip_px)
        found = _smooth_and_bright(picture)
    for y, x in np.ndindex(picture.shape[:2]):
        low, high = int(picture[y, x].min()), int(picture[y, x].max())
        glass = high - low <= (35 if low >= 185 else 15) and variance_of_grey(picture, y, x) <= 9
        assert found[y, x] == (low if glass else 0)
