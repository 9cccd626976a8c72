from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsiparse.errors import PromptError
from wsiparse.recognize.embedded.classes import ALL_NUCLEI, ClassRecognizer, batch_maps, class_of_text, share_by_class
from wsiparse.recognize.embedded.compact import CompactNetwork, NetworkShape
from wsiparse.recognize.embedded.cut import Cut, class_of_each, landscape_of
from wsiparse.types import EngineInfo, Prompt, PromptSet, SplitSettings

CLASSES = ("epithelial", "inflammatory", "connective")
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


@pytest.fixture(scope="module")
def network() -> CompactNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = CompactNetwork(NetworkShape((8, 8, 8, 8), 1, 3), norm=False)
    with torch.no_grad():
        made.head.weight *= 12  # far from 0.5, so that there are nuclei and background
    return made.requires_grad_(requires_grad=False).eval()


def images(count: int = 2, height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, height // 8, width // 8, 3))
    return np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("nuclei", ALL_NUCLEI),
        ("All nuclei", ALL_NUCLEI),
        ("epithelial cells", 0),
        ("Inflammatory-Cells.", 1),
        ("connective tissue cells", 2),
        ("mitoses", None),
    ],
)
def test_words_name_a_class(text: str, position: int | None) -> None:
    assert class_of_text(text, CLASSES) == position


def test_a_class_of_somebody_elses_network_is_asked_for_by_its_name() -> None:
    assert class_of_text("podocyte nuclei", ["podocyte"]) == 0
    assert class_of_text("inflammatory cells", ["podocyte"]) is None


def test_prompts_that_are_not_answered_are_refused_with_those_that_are(network: CompactNetwork) -> None:
    with pytest.raises(PromptError, match="answers only 'nuclei', 'epithelial cells', 'inflammatory cells'"):
        ClassRecognizer(network, INFO, CLASSES, asking("mitoses"))
    with pytest.raises(PromptError, match="asked for already"):
        ClassRecognizer(network, INFO, CLASSES, asking("epithelium", "epithelial cells"))


def test_every_nucleus_goes_to_one_prompt_and_all_prompts_together_are_all_nuclei(network: CompactNetwork) -> None:
    alone = ClassRecognizer(network, INFO, CLASSES, asking("nuclei"))
    together = alone.with_prompts(asking("inflammatory cells", "nuclei", "epithelial cells"))
    one, all_ = alone(images()), together(images())
    assert ((all_.probabilities > 0.5).sum(1) <= 1).all()
    np.testing.assert_array_equal(all_.probabilities.max(1) > 0.5, one.probabilities[:, 0] > 0.5)
    assert all_.landscape is not None
    assert one.landscape is not None
    np.testing.assert_array_equal(all_.landscape, one.landscape)
    assert (all_.probabilities > 0.5).any((0, 2, 3)).sum() >= 2, "more than one class is seen"


def test_a_class_asked_for_alone_gets_the_same_nuclei_as_among_others(network: CompactNetwork) -> None:
    among = ClassRecognizer(network, INFO, CLASSES, asking("connective tissue cells", "nuclei"))(images())
    alone = ClassRecognizer(network, INFO, CLASSES, asking("connective tissue cells"))(images())
    np.testing.assert_array_equal(alone.probabilities[:, 0], among.probabilities[:, 0])


def test_an_image_gives_the_same_numbers_whatever_the_rest_of_the_batch(network: CompactNetwork) -> None:
    recognizer = ClassRecognizer(network, INFO, CLASSES, asking("epithelial cells", "nuclei"))
    whole = recognizer(images())
    for k in range(2):
        np.testing.assert_allclose(recognizer(images()[k : k + 1]).probabilities[0], whole.probabilities[k], atol=1e-6)


def test_maps_of_sizes_that_are_no_multiples_are_those_of_the_mirrored_image(network: CompactNetwork) -> None:
    image = images(1, 48, 64)
    wide = np.pad(image, ((0, 0), (0, 0), (0, 16), (0, 0)), mode="symmetric")
    np.testing.assert_allclose(
        batch_maps(network, wide[:, :41, :70]), batch_maps(network, np.pad(
            wide[:, :41, :70], ((0, 0), (0, 7), (0, 10), (0, 0)), mode="symmetric"))[:, :, :41, :70], atol=1e-6
    )  # fmt: skip
    maps = batch_maps(network, image)
    np.testing.assert_allclose(maps[:, 3:].sum(1), 1, atol=1e-5)
    assert 0 <= maps.min() <= maps.max() <= 1


def test_the_class_is_that_of_the_largest_sum_and_the_first_of_equals() -> None:
    labels = np.array([[1, 1, 1, 2, 2, 0]], np.int32)
    maps = np.array([[[0.9, 0.2, 0.2, 0.5, 0.5, 1]], [[0.1, 0.8, 0.8, 0.5, 0.5, 0]]], np.float32)
    assert class_of_each(maps, labels, 2).tolist() == [1, 0]
    assert class_of_each(maps, np.zeros((1, 6), np.int32), 0).tolist() == []


def test_shares_without_classes_are_the_foreground() -> None:
    foreground = np.random.default_rng(0).random((4, 5), dtype=np.float32)
    np.testing.assert_array_equal(share_by_class(foreground, None, [ALL_NUCLEI])[0], foreground)


def test_the_landscape_is_high_in_centres_and_low_on_boundaries() -> None:
    maps = np.zeros((3, 9, 9), np.float32)
    maps[0], maps[1, 4, 4], maps[2, :, 0] = 1, 1, 1
    made = landscape_of(maps, Cut(centre_share=0.5, boundary_share=0.5, sigma_px=0.5))
    assert made[4, 4] == made.max()
    assert made[4, 0] == made.min() < made[4, 2]
    assert made.dtype == np.uint8
