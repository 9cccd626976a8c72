from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.recognize.models import card_facts, random_network
from wsiparse.errors import PromptError
from wsiparse.recognize.card import ModelCard
from wsiparse.recognize.embedded.classes import ClassRecognizer, batch_maps
from wsiparse.recognize.embedded.compact import CompactNetwork
from wsiparse.recognize.embedded.cut import Cut, calibrated, class_of_each, landscape_of
from wsiparse.recognize.embedded.folder import answers_of
from wsiparse.types import EngineInfo, Prompt, PromptSet, SplitSettings

TEXTS = ("inflammatory cells", "epithelial cells", "connective tissue cells")
ANSWERS = answers_of(ModelCard.model_validate(card_facts(b"")))
INFO = EngineInfo(
    name="test",
    title="a test network",
    mpp=0.5,
    tile_px=64,
    halo_px=32,
    align_px=16,
    split=SplitSettings(landscape="stored", smoothing_um=0.0, persistence=7.0, min_area_um2=0.0),
)


def asking(*texts: str) -> PromptSet:
    return PromptSet(tuple(Prompt(text, text) for text in texts))


def recognizer(network: CompactNetwork, *texts: str, least_share: float = 0.0) -> ClassRecognizer:
    return ClassRecognizer(network, INFO, TEXTS, ANSWERS, asking(*texts), least_share=least_share)


@pytest.fixture(scope="module")
def network() -> CompactNetwork:
    return random_network()


def images(count: int = 2, height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, height // 8, width // 8, 3))
    return np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8)


def test_prompts_that_are_not_answered_are_refused_with_those_that_are(network: CompactNetwork) -> None:
    with pytest.raises(PromptError, match="answers only 'nuclei', 'inflammatory cells', 'epithelial cells' and"):
        recognizer(network, "mitoses")
    with pytest.raises(PromptError, match="ask for the same, 'epithelial cells'"):
        recognizer(network, "epithelium", "epithelial cells")


def test_every_nucleus_goes_to_prompts_and_all_prompts_together_are_all_nuclei(network: CompactNetwork) -> None:
    alone = recognizer(network, "nuclei")
    together = alone.with_prompts(asking("inflammatory cells", "nuclei", "epithelial cells"))
    one, all_ = alone(images()), together(images())
    assert ((all_.probabilities > 0.5).sum(1) <= 1).all()
    np.testing.assert_array_equal(all_.probabilities.max(1) > 0.5, one.probabilities[:, 0] > 0.5)
    assert all_.landscape is not None
    assert one.landscape is not None
    np.testing.assert_array_equal(all_.landscape, one.landscape)
    assert (all_.probabilities > 0.5).any((0, 2, 3)).sum() >= 2, "more than one class is seen"


def test_a_class_asked_for_alone_gets_whole_nuclei(network: CompactNetwork) -> None:
    alone = recognizer(network, "connective tissue cells")(images()).probabilities[:, 0]
    nuclei = recognizer(network, "nuclei")(images()).probabilities[:, 0]
    assert 0 < (alone > 0.5).sum() < (nuclei > 0.5).sum()
    np.testing.assert_array_equal(alone[alone > 0], nuclei[alone > 0])


def test_thresholds_of_their_own_give_every_nucleus_to_one_prompt_as_a_whole(network: CompactNetwork) -> None:
    prompts = PromptSet((Prompt("inflammatory cells", "a", threshold=0.6), Prompt("nuclei", "b")))
    given = recognizer(network, "nuclei").with_prompts(prompts)(images()).probabilities
    assert ((given > 0).sum(1) <= 1).all()


def test_nuclei_of_which_no_class_has_enough_are_other_nuclei(network: CompactNetwork) -> None:
    sure = recognizer(network, *TEXTS, "nuclei", least_share=0.0)(images()).probabilities > 0.5
    doubtful = recognizer(network, *TEXTS, "nuclei", least_share=0.99)(images()).probabilities > 0.5
    assert not sure[:, 3].any()
    np.testing.assert_array_equal(doubtful.any(1), sure.any(1))
    assert doubtful[:, 3].sum() > doubtful[:, :3].sum()


def test_an_image_gives_the_same_numbers_whatever_the_rest_of_the_batch(network: CompactNetwork) -> None:
    made = recognizer(network, "epithelial cells", "nuclei")
    whole = made(images())
    for k in range(2):
        np.testing.assert_allclose(made(images()[k : k + 1]).probabilities[0], whole.probabilities[k], atol=1e-5)


def test_maps_of_sizes_that_are_no_multiples_are_those_of_the_mirrored_image(network: CompactNetwork) -> None:
    image = images(1, 48, 64)
    wide = np.pad(image, ((0, 0), (0, 0), (0, 16), (0, 0)), mode="symmetric")
    np.testing.assert_allclose(
        batch_maps(network, wide[:, :41, :70]), batch_maps(network, np.pad(
            wide[:, :41, :70], ((0, 0), (0, 7), (0, 10), (0, 0)), mode="symmetric"))[:, :, :41, :70], atol=1e-5
    )  # fmt: skip
    maps = batch_maps(network, image)
    np.testing.assert_allclose(maps[:, 3:].sum(1), 1, atol=1e-5)
    assert 0 <= maps.min() <= maps.max() <= 1


def test_the_class_is_that_of_the_largest_sum_and_the_first_of_equals() -> None:
    labels = np.array([[1, 1, 1, 2, 2, 0]], np.int32)
    maps = np.array([[[0.9, 0.2, 0.2, 0.5, 0.5, 1]], [[0.1, 0.8, 0.8, 0.5, 0.5, 0]]], np.float32)
    assert class_of_each(maps, labels, 2).tolist() == [1, 0]
    assert class_of_each(maps, np.zeros((1, 6), np.int32), 0).tolist() == []


def test_the_cut_becomes_one_half_and_means_above_it_are_kept() -> None:
    p = np.array([0, 0.8, 0.9, 1], np.float32)
    np.testing.assert_allclose(calibrated(p, 0.8), [0, 0.5, 0.75, 1], atol=1e-5)
    assert calibrated(p, 0.5) is p
    assert Cut(foreground=0.8, min_foreground=0.9).min_confidence == pytest.approx(0.75)
    assert Cut(foreground=0.5, min_foreground=0.6).min_confidence == pytest.approx(0.6)
    assert Cut(foreground=0.5, min_foreground=0.4).min_confidence == 0


def test_the_landscape_is_high_in_centres_and_low_on_boundaries() -> None:
    maps = np.zeros((3, 9, 9), np.float32)
    maps[0], maps[1, 4, 4], maps[2, :, 0] = 1, 1, 1
    made = landscape_of(maps, Cut(centre_share=0.5, boundary_share=0.5, sigma_px=0.5))
    assert made[4, 4] == made.max()
    assert made[4, 0] == made.min() < made[4, 2]
    assert made.dtype == np.uint8
