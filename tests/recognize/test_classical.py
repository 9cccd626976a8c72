from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wsiparse.objects.scores import overlap_agreement
from wsiparse.objects.split import split_cells
from wsiparse.recognize.base import calibrate, load_recognizer
from wsiparse.recognize.classical import ClassicalRecognizer, calibration_of, engine_info
from wsiparse.recognize.instances import in_tile_split
from wsiparse.recognize.strength import at_reference, byte_table
from wsiparse.slides.synthetic import SyntheticField, paint_he
from wsiparse.types import Prompt, PromptSet, RecognizerSpec

BOTH = PromptSet((Prompt("inflammatory cells", "Inflammatory"), Prompt("nuclei", "Other")))
NUCLEI = PromptSet((Prompt("nuclei", "Nuclei"),))


@pytest.fixture(scope="module")
def field() -> SyntheticField:
    return paint_he(512, 480, seed=5)


def recognise(image: NDArray[np.uint8], prompts: PromptSet) -> NDArray[np.float32]:
    spec = calibrate(RecognizerSpec("classical", prompts), image[None], 0.0)
    return load_recognizer(spec)(image[None]).probabilities[0]


def test_painted_nuclei_are_found(field: SyntheticField) -> None:
    p = recognise(field.image, NUCLEI)[0]
    labels, _ = split_cells(p > 0.5, None, in_tile_split(engine_info()))
    result = overlap_agreement(field.labels, labels)
    assert result.f1 > 0.95
    assert result.pq > 0.7


def test_painted_inflammatory_nuclei_are_told_apart(field: SyntheticField) -> None:
    inflammatory, other = recognise(field.image, BOTH)
    assert not ((inflammatory > 0) & (other > 0)).any()
    n = len(field.inflammatory)
    area = np.bincount(field.labels.ravel(), minlength=n + 1)[1:]
    share = [np.bincount(field.labels.ravel(), (p > 0.5).ravel(), n + 1)[1:] / area for p in (inflammatory, other)]
    called = share[0] > share[1]
    # painted ones are 7 um wide, where the rule ends
    assert called[field.inflammatory].mean() > 0.6
    assert called[~field.inflammatory].mean() < 0.1


def test_a_broad_dark_band_and_strands_stay_empty() -> None:
    rng = np.random.default_rng(0)
    image = np.full((300, 300, 3), 243, np.uint8)
    image[:, 100:] = (214, 160, 196)
    image[:, 180:230] = (70, 30, 80)  # a band as dark as nuclei, 25 um wide
    for x in range(20, 90, 14):
        image[:, x : x + 4] = (80, 40, 90)  # strands in glass
    image = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    assert (recognise(image, NUCLEI)[0] > 0.5).mean() < 0.01


def test_cyan_ink_is_not_hematoxylin() -> None:
    yy, xx = np.mgrid[:128, :128]
    dots = ((yy % 32 - 16) ** 2 + (xx % 32 - 16) ** 2) < 36
    image = np.full((128, 128, 3), (225, 190, 215), np.uint8)
    image[dots] = (60, 150, 150)
    assert not (recognise(image, NUCLEI)[0] > 0.5).any()
    image[dots] = (80, 50, 120)
    assert (recognise(image, NUCLEI)[0] > 0.5).any()


def test_small_holes_of_vesicular_nuclei_are_filled() -> None:
    yy, xx = np.mgrid[:96, :96]
    radius = np.hypot(yy - 48, xx - 48)
    image = np.full((96, 96, 3), (225, 190, 215), np.uint8)
    image[radius < 9] = (80, 50, 120)
    image[radius < 3] = (215, 180, 210)
    assert recognise(image, NUCLEI)[0][48, 48] > 0.5


def test_a_core_does_not_depend_on_the_tiling(field: SyntheticField) -> None:
    spec = calibrate(RecognizerSpec("classical", BOTH), field.image[None], 0.0)
    engine = ClassicalRecognizer(spec)
    halo = engine.info.halo_px
    whole = engine(field.image[None]).probabilities[0]
    y, x, edge = 96, 130, 2 * halo + 150
    tile = engine(field.image[None, y : y + edge, x : x + edge]).probabilities[0]
    core = (slice(None), slice(halo, edge - halo), slice(halo, edge - halo))
    np.testing.assert_array_equal(tile[core], whole[:, y + halo : y + edge - halo, x + halo : x + edge - halo])


def test_calibration_is_seven_plain_numbers_and_survives_glass(field: SyntheticField) -> None:
    numbers = calibration_of(np.stack([field.image[:256, :256]] * 2))
    assert len(numbers) == 7
    assert all(type(v) is float for v in numbers)
    assert 0.12 <= numbers[6] <= 0.45
    assert len(calibration_of(np.full((1, 64, 64, 3), 250, np.uint8))) == 7


def test_a_known_strength_is_the_eighth_number_and_the_rest_is_of_the_slide_at_the_reference(
    field: SyntheticField,
) -> None:
    plain = calibration_of(field.image[None], 1.0)
    assert plain[7] == 1.0
    # at strength 1 the table changes the darkest pixels alone, which are cut off on every slide
    assert plain[:7] == calibration_of(at_reference(field.image[None], byte_table(1.0)))
    od = -np.log10((field.image.astype(np.float64) + 1) / 256)
    darker = np.clip(np.rint(256 * 10.0 ** (-1.3 * od) - 1), 0, 255).astype(np.uint8)
    np.testing.assert_allclose(calibration_of(darker[None], 1.3)[:7], plain[:7], atol=0.03)


def test_glass_without_calibration_is_empty() -> None:
    engine = ClassicalRecognizer(RecognizerSpec("classical", NUCLEI))
    result = engine(np.full((2, 64, 80, 3), 244, np.uint8))
    assert result.probabilities.shape == (2, 1, 64, 80)
    assert result.landscape is None
    assert not (result.probabilities > 0.5).any()


def test_a_calibration_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="7 numbers"):
        ClassicalRecognizer(RecognizerSpec("classical", NUCLEI, calibration=(1.0, 2.0)))
