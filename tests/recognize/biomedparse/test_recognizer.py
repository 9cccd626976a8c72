from __future__ import annotations

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.reference.recipe import miniature, recipe_array
from wsiparse.choices import Mode
from wsiparse.errors import ConfigError, PromptError, WeightsError, WsiparseError
from wsiparse.recognize.biomedparse import recognizer as module
from wsiparse.recognize.biomedparse.checkpoint import expected_shapes, load_network, network_from_state
from wsiparse.recognize.biomedparse.config import NetworkConfig
from wsiparse.recognize.biomedparse.decoder import ImageEncoding
from wsiparse.recognize.biomedparse.engine import engine_info, find_checkpoint, sha256_of
from wsiparse.recognize.biomedparse.network import BiomedParseNetwork
from wsiparse.recognize.biomedparse.recognizer import BiomedParseRecognizer, backbone_dtype, load_recognizer
from wsiparse.recognize.biomedparse.tokenizer import ClipTokenizer
from wsiparse.recognize.score import mask_statistics
from wsiparse.types import Prompt, PromptSet, RecognizerSpec

CPU = torch.device("cpu")
PROMPTS = PromptSet(
    (
        Prompt("neoplastic cells", "Neoplastic"),
        Prompt("inflammatory cells", "Inflammatory"),
        Prompt("glandular structure", "Gland", kind="region"),
    )
)


def spec(prompts: PromptSet = PROMPTS, device: str = "cpu", precision: str = "auto") -> RecognizerSpec:
    return RecognizerSpec("biomedparse", prompts, device, precision)


def tiles(count: int, height: int = 16, width: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.fixture
def network(mini_state: dict[str, Tensor]) -> BiomedParseNetwork:
    return network_from_state(mini_state, miniature())


@pytest.fixture
def recognizer(network: BiomedParseNetwork, tokenizer: ClipTokenizer) -> BiomedParseRecognizer:
    return BiomedParseRecognizer(network, tokenizer, spec())


def test_a_batch_gives_probabilities_landscape_and_statistics(recognizer: BiomedParseRecognizer) -> None:
    images = tiles(2)
    found = recognizer(images)
    assert found.probabilities.shape == (2, 3, 16, 16)
    assert found.probabilities.dtype == np.float32
    assert 0 <= found.probabilities.min() < found.probabilities.max() <= 1
    assert found.landscape is not None
    assert found.statistics is not None
    cells = found.probabilities[:, :2].max(axis=1)
    np.testing.assert_allclose(found.landscape, cells * 255, atol=0.51)
    for b in range(2):
        np.testing.assert_array_equal(found.statistics[b], mask_statistics(found.probabilities[b], images[b]))


def test_a_tile_of_the_logits_size_is_not_interpolated(recognizer: BiomedParseRecognizer) -> None:
    images = tiles(1)
    logits = recognizer.logits(images)
    assert logits.shape == (1, 3, 16, 16)
    np.testing.assert_allclose(recognizer(images).probabilities, 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_a_tile_of_another_shape_gets_probabilities_at_its_own(recognizer: BiomedParseRecognizer) -> None:
    found = recognizer(tiles(1, 40, 23))
    assert found.probabilities.shape == (1, 3, 40, 23)
    assert recognizer.logits(tiles(1, 40, 23)).shape == (1, 3, 16, 16)


def test_there_is_no_landscape_without_cell_prompts(network: BiomedParseNetwork, tokenizer: ClipTokenizer) -> None:
    regions = PromptSet((Prompt("glandular structure", "Gland", kind="region"),))
    assert BiomedParseRecognizer(network, tokenizer, spec(regions))(tiles(1)).landscape is None


@pytest.mark.parametrize("mode", ["solo", "joint"])
def test_three_tiles_at_once_equal_three_single_tiles(
    network: BiomedParseNetwork, tokenizer: ClipTokenizer, mode: Mode
) -> None:
    recognizer = BiomedParseRecognizer(network, tokenizer, spec(), mode=mode, largest_batch=3)
    images = tiles(3, seed=5)
    together = recognizer(images).probabilities
    alone = np.concatenate([recognizer(images[i : i + 1]).probabilities for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_on_the_cpu_a_tile_does_not_depend_on_its_batch_at_all(recognizer: BiomedParseRecognizer) -> None:
    images = tiles(3, seed=6)
    np.testing.assert_array_equal(recognizer(images).probabilities[1:2], recognizer(images[1:2]).probabilities)


def test_threads_can_share_a_recognizer(recognizer: BiomedParseRecognizer) -> None:
    images = tiles(6, seed=7)
    wanted = recognizer(images).probabilities
    cores = torch.get_num_threads()
    with ThreadPoolExecutor(3, initializer=recognizer.limit_threads) as pool:
        found = list(pool.map(lambda k: recognizer(images[k : k + 1]).probabilities, range(6)))
    torch.set_num_threads(cores)
    np.testing.assert_allclose(np.concatenate(found), wanted, atol=2e-5)


def test_the_input_is_not_written_to(recognizer: BiomedParseRecognizer) -> None:
    images = tiles(1)
    images.flags.writeable = False
    before = images.copy()
    recognizer(images)
    np.testing.assert_array_equal(images, before)


def test_a_strided_view_gives_what_its_copy_gives(recognizer: BiomedParseRecognizer) -> None:
    view = tiles(1, 40, 40)[:, 3:35:2, 5:37:2]
    np.testing.assert_array_equal(recognizer(view).probabilities, recognizer(view.copy()).probabilities)


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 8, 8), np.uint8), np.zeros((1, 8, 8, 4), np.uint8), np.zeros((1, 8, 8, 3)), tiles(0)],
    ids=["three axes", "four channels", "float", "no tile"],
)
def test_anything_but_rgb_bytes_is_refused(recognizer: BiomedParseRecognizer, images: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"\(B, H, W, 3\) uint8"):
        recognizer(images)


class _SmallMemory:
    """Encodes at most so many tiles at once, as a GPU that runs out of memory would."""

    def __init__(self, network: BiomedParseNetwork, capacity: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.capacity = capacity
        self.batches: list[int] = []
        self._encode = network.encode_image
        monkeypatch.setattr(network, "encode_image", self)

    def __call__(self, image: Tensor, half: torch.dtype | None = None) -> ImageEncoding:
        self.batches.append(len(image))
        if len(image) > self.capacity:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return self._encode(image, half)


def test_out_of_memory_halves_the_batch_goes_on_and_says_so_once(
    network: BiomedParseNetwork,
    tokenizer: ClipTokenizer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recognizer = BiomedParseRecognizer(network, tokenizer, spec(), largest_batch=8)
    images = tiles(7, seed=9)
    wanted = recognizer(images).probabilities
    memory = _SmallMemory(network, 2, monkeypatch)
    with caplog.at_level(logging.WARNING):
        found = recognizer(images).probabilities
        recognizer(images[:4])
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert memory.batches == [7, 3, 1, 1, 1, 1, 1, 1, 1] + [1, 1, 1, 1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "7 tiles at once" in caplog.text


def test_out_of_memory_with_one_tile_says_what_to_do(
    network: BiomedParseNetwork, recognizer: BiomedParseRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _SmallMemory(network, 0, monkeypatch)
    with pytest.raises(WsiparseError, match="out of memory with a single tile"):
        recognizer(tiles(2))


@pytest.mark.parametrize(("precision", "message"), [("float32", "weights are damaged"), ("bf16", "overflows at")])
def test_masks_that_are_not_numbers_are_an_error(
    mini_state: dict[str, Tensor], tokenizer: ClipTokenizer, precision: str, message: str
) -> None:
    key = "backbone.norm3.bias"
    state = mini_state | {key: torch.full_like(mini_state[key], torch.nan)}
    recognizer = BiomedParseRecognizer(network_from_state(state, miniature()), tokenizer, spec(precision=precision))
    with pytest.raises(WsiparseError, match=message):
        recognizer(tiles(1))


def test_bfloat16_on_the_cpu_stays_close_to_float32(mini_state: dict[str, Tensor], tokenizer: ClipTokenizer) -> None:
    images = tiles(2, seed=2)
    full, half = (
        BiomedParseRecognizer(network_from_state(mini_state, miniature()), tokenizer, spec(precision=p)).logits(images)
        for p in ("float32", "bf16")
    )
    assert 0 < np.abs(full - half).mean() < 0.2 * full.std()


def test_automatic_precision_on_the_cpu_is_float32() -> None:
    assert backbone_dtype("auto", CPU) is None
    assert backbone_dtype("float32", CPU) is None
    assert backbone_dtype("bf16", CPU) is torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "wanted"),
    [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), torch.float16), ((6, 1), None)],
)
def test_automatic_precision_follows_the_gpus_generation(
    capability: tuple[int, int], wanted: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert backbone_dtype("auto", torch.device("cuda")) is wanted


@pytest.mark.parametrize(("precision", "message"), [("fp16", "needs a GPU"), ("half", "is not known")])
def test_a_precision_that_is_not_there_is_refused(precision: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backbone_dtype(precision, CPU)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(
    network: BiomedParseNetwork, tokenizer: ClipTokenizer, device: str
) -> None:
    with pytest.raises(ConfigError, match="device"):
        BiomedParseRecognizer(network, tokenizer, spec(device=device))


def test_an_unknown_mode_is_refused(network: BiomedParseNetwork, tokenizer: ClipTokenizer) -> None:
    with pytest.raises(ConfigError, match="prompt mode 'both'"):
        BiomedParseRecognizer(network, tokenizer, spec(), mode="both")  # type: ignore[arg-type]


def test_a_prompt_without_words_is_refused(network: BiomedParseNetwork, tokenizer: ClipTokenizer) -> None:
    with pytest.raises(PromptError, match="has no words"):
        BiomedParseRecognizer(network, tokenizer, spec(PromptSet((Prompt("<|endoftext|>", "Nothing"),))))


@pytest.fixture
def folder(tmp_path: Path, published: Path, mini_state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder whose checkpoint is the miniature's."""
    torch.save(mini_state, tmp_path / "biomedparse_v1.pt")
    shutil.copyfile(published / "tokenizer.json", tmp_path / "tokenizer.json")
    monkeypatch.setattr(module, "load_network", lambda path: load_network(path, miniature()))
    return tmp_path


@pytest.mark.parametrize("name", ["", "biomedparse_v1.pt"])
def test_a_recognizer_is_built_from_a_folder_or_its_checkpoint(
    folder: Path, name: str, recognizer: BiomedParseRecognizer
) -> None:
    built = load_recognizer(RecognizerSpec("biomedparse", PROMPTS, weights=str(folder / name)))
    assert built.info == engine_info(sha256_of(folder / "biomedparse_v1.pt"))
    assert len(built.info.weights_sha256) == 64
    np.testing.assert_array_equal(built(tiles(1)).probabilities, recognizer(tiles(1)).probabilities)


def test_a_folder_without_weights_or_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match="cannot read the tokenizer"):
        load_recognizer(RecognizerSpec("biomedparse", PROMPTS, weights=str(folder)))
    (folder / "biomedparse_v1.pt").unlink()
    with pytest.raises(WeightsError, match=r"no biomedparse_v1\.pt or"):
        find_checkpoint(folder)


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it imports its compiler
def test_a_compiled_backbone_gives_the_same_logits(
    mini_state: dict[str, Tensor], tokenizer: ClipTokenizer, recognizer: BiomedParseRecognizer
) -> None:
    compiled = BiomedParseRecognizer(
        network_from_state(mini_state, miniature()), tokenizer, spec(), compile_backbone=True
    )
    np.testing.assert_allclose(compiled.logits(tiles(2)), recognizer.logits(tiles(2)), atol=5e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestOnTheGpu:
    def test_the_miniature_equals_the_cpu(
        self, network: BiomedParseNetwork, mini_state: dict[str, Tensor], tokenizer: ClipTokenizer
    ) -> None:
        images = tiles(3)
        wanted = BiomedParseRecognizer(network, tokenizer, spec()).logits(images)
        on_gpu = BiomedParseRecognizer(
            network_from_state(mini_state, miniature()), tokenizer, spec(device="cuda", precision="float32")
        )
        np.testing.assert_allclose(on_gpu.logits(images), wanted, atol=5e-3)
        assert on_gpu(images).probabilities.shape == (3, 3, 16, 16)

    @pytest.mark.slow
    def test_the_whole_network_in_half_precision_keeps_its_masks(self, tokenizer: ClipTokenizer) -> None:
        shapes = expected_shapes(NetworkConfig())
        state = {key: torch.from_numpy(recipe_array("A", key, shape)) for key, shape in shapes.items()}
        coarse = tiles(2, 32, 32, seed=1).repeat(8, axis=1).repeat(8, axis=2)
        masks = {}
        for precision in ("float32", "auto"):
            recognizer = BiomedParseRecognizer(
                network_from_state(state), tokenizer, spec(device="cuda", precision=precision)
            )
            together = recognizer.logits(coarse)
            alone = np.concatenate([recognizer.logits(coarse[i : i + 1]) for i in range(2)])
            assert np.mean((together > 0) != (alone > 0)) < 0.02
            masks[precision] = together > 0
        assert np.mean(masks["float32"] != masks["auto"]) < 0.1
