"""How strongly a slide is stained, and that counts do not depend on it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsiparse.config import RunConfig
from wsiparse.coords import Frame
from wsiparse.doctor.demo import painted_field
from wsiparse.recognize.base import calibrate, stain_of
from wsiparse.recognize.stain import OD_OF_BYTE
from wsiparse.recognize.strength import (
    CHECKED,
    DARKEST_OD,
    LEAST_TISSUE_MM2,
    REFERENCE,
    StainFacts,
    at_reference,
    byte_table,
    held,
    stain_strength,
)
from wsiparse.run.pipeline import analyse
from wsiparse.run.plan import SAMPLE_PX
from wsiparse.slides import open_slide
from wsiparse.slides.memory import MemorySlide
from wsiparse.types import Box, Prompt, PromptSet, RecognizerSpec

NUCLEI = PromptSet((Prompt("inflammatory cells", "Inflammatory"), Prompt("nuclei", "Other nuclei")))
FADES = (0.6, 0.8, 1.2, 1.5)

Image = NDArray[np.uint8]


def faded(rgb: Image, factor: float) -> Image:
    """Every byte's optical density times a factor, by the formula."""
    od = -np.log10((rgb.astype(np.float64) + 1) / 256) * factor
    return np.clip(np.rint(256 * 10.0**-od - 1), 0, 255).astype(np.uint8)


def patches(image: Image, n: int = 12, seed: int = 0) -> Image:
    """Squares of the middle of a picture, as a slide's sample."""
    height = image.shape[0]
    low, high = height // 4, 3 * height // 4 - SAMPLE_PX
    corners = np.random.default_rng(seed).integers(low, max(low + 1, high), (n, 2))
    return np.stack([image[y : y + SAMPLE_PX, x : x + SAMPLE_PX] for y, x in corners])


@pytest.fixture(scope="module")
def painted() -> Image:
    return painted_field(1400, 3).image


@pytest.mark.parametrize("factor", FADES)
def test_strength_grows_as_optical_density_does(painted: Image, factor: float) -> None:
    plain, other = stain_strength(patches(painted)), stain_strength(patches(faded(painted, factor)))
    assert plain is not None
    assert other == pytest.approx(factor * plain, rel=0.02)


def test_strength_is_that_of_the_darkest_nuclei(painted: Image) -> None:
    """Painted lymphocytes hold 0.95 of Ruifrok's vector, give or take 7 per cent, and are 5 per cent of the tissue."""
    assert stain_strength(patches(painted)) == pytest.approx(0.95, abs=0.1)


def test_some_patches_of_blood_or_glass_change_little(painted: Image) -> None:
    sample = patches(painted)
    plain = stain_strength(sample)
    assert plain is not None
    odd = sample.copy()
    odd[0] = (60, 10, 20)
    odd[1] = 244
    assert stain_strength(odd) == pytest.approx(plain, rel=0.03)


def test_glass_and_too_few_patches_tell_nothing(painted: Image) -> None:
    assert stain_strength(np.full((12, 64, 64, 3), 255, np.uint8)) is None
    assert stain_strength(patches(painted, 5)) is None
    assert stain_strength(np.zeros((0, 64, 64, 3), np.uint8)) is None


def test_bytes_at_the_reference_have_the_density_of_the_formula() -> None:
    table = byte_table(2.0)
    assert table is not None
    wanted = np.minimum(OD_OF_BYTE.astype(np.float64) * REFERENCE / 2.0, DARKEST_OD)
    # half a byte's rounding, in OD
    slack = 0.51 / (256 * 10.0**-wanted * np.log(10))
    assert (np.abs(OD_OF_BYTE[table] - wanted) <= slack + 1e-6).all()
    assert byte_table(None) is None
    same = byte_table(REFERENCE)
    assert same is not None
    darkest = round(256 * 10**-DARKEST_OD - 1)
    np.testing.assert_array_equal(same, np.maximum(np.arange(256), darkest))


def test_no_slide_shows_more_of_the_dark_than_the_strongest_can() -> None:
    """Black is the same at every strength that was checked, so that dark nuclei are as even on all of them."""
    tables = [byte_table(strength) for strength in (CHECKED[0], 1.0, 1.9, CHECKED[1])]
    assert len({int(table[0]) for table in tables if table is not None}) == 1


def test_unknown_strength_leaves_the_very_pixels() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    assert at_reference(image, None) is image


def test_beyond_what_was_checked_the_ends_hold() -> None:
    assert [held(v) for v in (0.1, 1.0, 9.0)] == [CHECKED[0], 1.0, CHECKED[1]]


@pytest.mark.parametrize("engine", ["embedded", "classical"])
def test_little_tissue_does_not_tell_the_stain(engine: str, painted: Image) -> None:
    spec, sample = RecognizerSpec(engine, NUCLEI), patches(painted)
    known, unknown = (calibrate(spec, sample, mm2) for mm2 in (LEAST_TISSUE_MM2, 0.9 * LEAST_TISSUE_MM2))
    strength = stain_strength(sample)
    assert stain_of(known) == StainFacts(strength)
    assert stain_of(unknown) == StainFacts(None)
    assert stain_of(RecognizerSpec("biomedparse", NUCLEI)) is None


def test_what_is_said_of_a_slide_s_stain() -> None:
    assert StainFacts(1.0).flag == ""
    assert "too little tissue" in StainFacts(None).flag
    assert "weakly" in StainFacts(0.3).flag
    assert "strongly" in StainFacts(3.4).flag


@cache
def counted(name: str, shared: Path | None, engine: str, factor: float) -> tuple[int, int]:
    """Inflammatory and all nuclei of a slide at a part of its optical density."""
    if name == "demo":
        image, mpp = painted_field(1400, 3).image, 0.5
    else:
        assert shared is not None
        with open_slide(shared / "data" / "slides" / "CMU-1-Small-Region.svs") as slide:
            assert slide.mpp is not None
            image, mpp = slide.read(Box(0, 0, *slide.size), Frame(slide.size, (1.0, 1.0), slide.mpp)), slide.mpp[0]
    found = analyse(MemorySlide(faded(image, factor), mpp, name=name), RunConfig(engine=engine, device="cpu"))
    n = np.bincount(found.cells.class_id, minlength=3)
    return int(n[1]), int(n[1:].sum())


@pytest.mark.parametrize("factor", [0.6, 1.5])
@pytest.mark.parametrize("engine", ["embedded", "classical"])
def test_a_painted_slide_counts_the_same_faded(engine: str, factor: float) -> None:
    plain, other = counted("demo", None, engine, 1.0), counted("demo", None, engine, factor)
    assert plain[0] > 80
    assert other == pytest.approx(plain, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("factor", FADES)
@pytest.mark.parametrize("engine", ["embedded", "classical"])
def test_a_real_slide_counts_the_same_faded(shared: Path, engine: str, factor: float) -> None:
    plain, other = counted("cmu", shared, engine, 1.0), counted("cmu", shared, engine, factor)
    assert other == pytest.approx(plain, rel=0.1)


def test_results_do_not_depend_on_the_tiling() -> None:
    slide = MemorySlide(painted_field(1400, 3).image, 0.5, name="demo")
    one, other = (analyse(slide, RunConfig(engine="classical", tile_size=size)).cells for size in (512, 928))
    np.testing.assert_array_equal(one.centroid, other.centroid)
    np.testing.assert_array_equal(one.class_id, other.class_id)
