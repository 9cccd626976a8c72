from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save

from wsiparse.errors import ConfigError, WeightsError
from wsiparse.objects.scores import overlap_agreement
from wsiparse.objects.split import split_cells
from wsiparse.recognize.base import Recognizer, load_recognizer
from wsiparse.recognize.embedded import HALO_PX, STRIDE_PX, engine_info, network, weights_bytes
from wsiparse.recognize.embedded.network import NucleusNetwork, load_network, nucleus_maps, up_and_join
from wsiparse.recognize.embedded.recognizer import CUT, calibrated, landscape_of
from wsiparse.recognize.instances import in_tile_split
from wsiparse.types import Prompt, PromptSet, RecognizerSpec

BOTH = PromptSet((Prompt("inflammatory cells", "Inflammatory"), Prompt("nuclei", "Other")))
NUCLEI = PromptSet((Prompt("nuclei", "Nuclei"),))
INFLAMMATORY = PromptSet((Prompt("inflammatory cells", "Inflammatory"),))


@pytest.fixture(scope="module")
def vector() -> dict[str, NDArray[np.generic]]:
    """The test vector that came with the weights: image, maps after the sigmoid (float16), labels."""
    with files("wsiparse.recognize.embedded").joinpath("testvec.npz").open("rb") as file, np.load(file) as data:
        return {name: data[name] for name in data.files}


@pytest.fixture(scope="module")
def net() -> NucleusNetwork:
    return load_network()


@pytest.fixture(scope="module")
def both() -> Recognizer:
    return load_recognizer(RecognizerSpec("embedded", BOTH))


def image_of(vector: dict[str, NDArray[np.generic]]) -> NDArray[np.uint8]:
    return np.asarray(vector["im"], np.uint8)


def mosaic(vector: dict[str, NDArray[np.generic]], rows: int, columns: int) -> NDArray[np.uint8]:
    """The test image and its mirror images side by side, seamless."""
    image = image_of(vector)
    return np.pad(image, ((0, 128 * (rows - 1)), (0, 128 * (columns - 1)), (0, 0)), mode="symmetric")


def test_the_network_reproduces_its_test_vector(net: NucleusNetwork, vector: dict[str, NDArray[np.generic]]) -> None:
    maps = nucleus_maps(net, image_of(vector)[None])[0]
    # float16 of a value in [0.5, 1] is within 2.5e-4; the rest is the order of sums
    np.testing.assert_allclose(maps, np.asarray(vector["maps"], np.float32), atol=6e-4)


@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    layout=st.sampled_from([torch.channels_last, torch.contiguous_format]),
)
def test_enlarging_and_joining_in_one_pass_equals_interpolation_and_concatenation(
    sizes: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    b, c, d, h, w = sizes
    coarse = torch.arange(b * c * h * w, dtype=dtype).reshape(b, c, h, w).to(memory_format=layout)
    skip = -torch.arange(b * d * 4 * h * w, dtype=dtype).reshape(b, d, 2 * h, 2 * w).to(memory_format=layout)
    joined = up_and_join(coarse, skip)
    large = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="nearest")
    assert joined.dtype == dtype
    assert joined.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(joined, torch.cat([large, skip], dim=1))


def test_bf16_stays_close_to_float32(net: NucleusNetwork, vector: dict[str, NDArray[np.generic]]) -> None:
    image = image_of(vector)[None]
    difference = np.abs(nucleus_maps(load_network(dtype=torch.bfloat16), image) - nucleus_maps(net, image))
    assert difference.mean() < 2e-3
    assert difference.max() < 0.1


def test_nuclei_of_the_test_vector_are_found_as_labelled(vector: dict[str, NDArray[np.generic]]) -> None:
    result = load_recognizer(RecognizerSpec("embedded", NUCLEI))(image_of(vector)[None])
    assert result.landscape is not None
    labels, _ = split_cells(result.probabilities[0, 0] > 0.5, result.landscape[0], in_tile_split(engine_info()))
    assert overlap_agreement(np.asarray(vector["lab"], np.int32), labels).overlap_f1 > 0.8


def test_the_network_has_the_published_number_of_parameters(net: NucleusNetwork) -> None:
    assert sum(p.numel() for p in net.parameters()) == 682_860


def test_batches_and_odd_sizes_give_the_maps_of_single_padded_images(
    net: NucleusNetwork, vector: dict[str, NDArray[np.generic]]
) -> None:
    images = np.stack([image_of(vector)[:51, :70], image_of(vector)[60:111, 50:120]])
    maps = nucleus_maps(net, images)
    assert maps.shape == (2, 3, 51, 70)
    padded = np.pad(images[1], ((0, 13), (0, 10), (0, 0)), mode="reflect")
    np.testing.assert_allclose(maps[1], nucleus_maps(net, padded[None])[0, :, :51, :70], atol=1e-5)


def test_maps_inside_the_halo_do_not_see_past_an_aligned_border(
    net: NucleusNetwork, vector: dict[str, NDArray[np.generic]]
) -> None:
    image = mosaic(vector, 2, 3)[:256, :384]
    border = 7 * STRIDE_PX
    other = image.copy()
    other[:, :border] = np.random.default_rng(0).integers(0, 256, (256, border, 3), dtype=np.uint8)
    first, second = nucleus_maps(net, np.stack([image, other]))
    inner = border + HALO_PX
    np.testing.assert_allclose(first[:, :, inner:], second[:, :, inner:], atol=1e-5)
    assert np.abs(first[:, :, border : border + 32] - second[:, :, border : border + 32]).max() > 0.01


def test_a_core_does_not_depend_on_the_tiling(both: Recognizer, vector: dict[str, NDArray[np.generic]]) -> None:
    image = mosaic(vector, 3, 4)
    whole = both(image[None])
    edge, y, x = 2 * HALO_PX + 96, 48, 160
    tile = both(image[None, y : y + edge, x : x + edge])
    core = slice(HALO_PX, edge - HALO_PX)
    rows, columns = slice(y + HALO_PX, y + edge - HALO_PX), slice(x + HALO_PX, x + edge - HALO_PX)
    assert whole.landscape is not None
    assert tile.landscape is not None
    np.testing.assert_allclose(
        tile.probabilities[0, :, core, core], whole.probabilities[0, :, rows, columns], atol=1e-4
    )
    apart = np.abs(tile.landscape[0, core, core].astype(int) - whole.landscape[0, rows, columns])
    assert apart.max() <= 1


def test_the_calibrated_scale_is_monotonic_and_keeps_means_above_the_cut() -> None:
    p = np.linspace(0, 1, 101, dtype=np.float32)
    scale = calibrated(p)
    assert scale.dtype == np.float32
    assert (np.diff(scale) > 0).all()
    np.testing.assert_allclose(calibrated(np.array([0, CUT, 1], np.float32)), [0, 0.5, 1], atol=1e-6)
    some = np.array([0.82, 0.9, 0.98], np.float32)
    assert calibrated(some).mean() == pytest.approx(calibrated(some.mean(keepdims=True))[0], abs=1e-6)


def test_the_landscape_is_high_in_nuclei_and_uses_all_grey_levels() -> None:
    centre = np.zeros((40, 40), np.float32)
    centre[15:25, 15:25] = 1
    landscape = landscape_of(centre, centre)
    assert landscape.dtype == np.uint8
    assert landscape[20, 20] == 255
    assert landscape[0, 0] == 0


def test_prompts_share_the_nuclei(both: Recognizer, vector: dict[str, NDArray[np.generic]]) -> None:
    image = image_of(vector)[None]
    inflammatory, other = both(image).probabilities[0]
    alone = load_recognizer(RecognizerSpec("embedded", NUCLEI))(image).probabilities[0, 0]
    only = load_recognizer(RecognizerSpec("embedded", INFLAMMATORY))(image).probabilities[0, 0]
    np.testing.assert_array_equal(inflammatory + other, alone)
    np.testing.assert_array_equal(only, inflammatory)
    assert (inflammatory > 0.5).any()
    assert (other > 0.5).any()
    assert not ((inflammatory > 0) & (other > 0)).any()


def test_a_nucleus_is_of_one_class_throughout(both: Recognizer, vector: dict[str, NDArray[np.generic]]) -> None:
    result = both(image_of(vector)[None])
    assert result.landscape is not None
    union = result.probabilities[0].max(axis=0) > 0.5
    labels, n = split_cells(union, result.landscape[0], in_tile_split(engine_info()))
    first = np.bincount(labels.ravel(), (result.probabilities[0, 0] > 0.5).ravel(), n + 1)[1:]
    assert np.isin(first / np.bincount(labels.ravel())[1:], (0, 1)).all()


def test_loading_leaves_the_random_generator_and_the_threads_alone() -> None:
    torch.manual_seed(1)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    load_recognizer(RecognizerSpec("embedded", NUCLEI))(np.zeros((1, 16, 16, 3), np.uint8))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_missing_weights_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsiparse.recognize.embedded.WEIGHTS", "absent.safetensors")
    with pytest.raises(WeightsError, match="Reinstall wsiparse"):
        weights_bytes()


@pytest.mark.parametrize("raw", [b"", b"not a safetensors file", save({"other": np.zeros(2, np.float32)})])
def test_damaged_or_foreign_weights_are_reported(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr(network, "weights_bytes", lambda: raw)
    with pytest.raises(WeightsError, match="Reinstall wsiparse"):
        load_network()


def test_a_device_that_is_not_there_is_reported() -> None:
    with pytest.raises(ConfigError, match="--device cpu"):
        load_recognizer(RecognizerSpec("embedded", NUCLEI, device="cuda:99"))


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(ConfigError, match="bf16"):
        load_recognizer(RecognizerSpec("embedded", NUCLEI, precision="fp16"))
