"""OpenVINO against PyTorch: the same network, the same maps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.recognize.models import card_facts, random_network
from wsiparse.errors import ConfigError
from wsiparse.recognize.arithmetic import bf16_units, resolved
from wsiparse.recognize.card import ModelCard
from wsiparse.recognize.embedded.classes import batch_maps
from wsiparse.recognize.embedded.compact import CompactNetwork, NetworkShape, save_compact
from wsiparse.recognize.embedded.loading import network_for, tried_network
from wsiparse.recognize.embedded.openvino import OpenVinoMaps
from wsiparse.types import Prompt, PromptSet, RecognizerSpec

pytest.importorskip("openvino", reason="openvino is not installed")

#: Largest difference of float32 maps (0-1) to PyTorch's; 1.1e-6 is the largest seen with trained weights.
BOUND = 5e-6

SPEC = RecognizerSpec("any", PromptSet((Prompt("nuclei", "Nuclei"),)), "cpu")

needs_bf16 = pytest.mark.skipif(not bf16_units(), reason="the processor does not compute bf16")


def network_of(shape: NetworkShape) -> CompactNetwork:
    """Random weights, with logits as far from 0 as a trained network's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = CompactNetwork(shape, norm=False)
    with torch.no_grad():
        made.head.weight *= 12
        if made.coarse_head is not None:
            made.coarse_head.weight *= 5
    return made.requires_grad_(requires_grad=False).eval().to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def network() -> CompactNetwork:
    return network_of(NetworkShape((8, 16, 24, 32), 2, 3))


def pixels(height: int, width: int, count: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "shape",
    [
        NetworkShape((8, 16, 24, 32), 2, 3),
        NetworkShape((16, 16, 16, 16), 1, 1),
        NetworkShape((8, 12, 20, 28), 3, 5),
        NetworkShape((8, 8, 8, 8), 1, 0),
    ],
)
def test_float32_is_pytorchs_within_the_bound(shape: NetworkShape) -> None:
    ours, network = OpenVinoMaps(network_of(shape), "float32"), network_of(shape)
    for height, width in ((16, 16), (64, 96), (112, 48), (64, 96)):  # sizes vary, and come again
        images = pixels(height, width, 2, seed=height)
        expected = batch_maps(network, images)
        assert np.ptp(expected) > 0.5
        np.testing.assert_allclose(batch_maps(ours, images), expected, rtol=0, atol=BOUND)


def test_the_shipped_width_is_pytorchs_within_the_bound() -> None:
    network = network_of(NetworkShape())
    images = pixels(128, 160, seed=3)
    found = batch_maps(OpenVinoMaps(network, "float32"), images)
    np.testing.assert_allclose(found, batch_maps(network, images), rtol=0, atol=BOUND)


@needs_bf16
def test_bf16_is_computed_and_near(network: CompactNetwork) -> None:
    images = pixels(96, 96)
    exact = batch_maps(network, images)
    off = np.abs(batch_maps(OpenVinoMaps(network, "bf16"), images) - exact)
    assert off.max() > 1e-4, "float32 in the name of bf16"
    assert off.mean() < 0.01


def test_images_of_any_size_are_mirrored_as_for_pytorch(network: CompactNetwork) -> None:
    images = pixels(41, 70, 2)
    np.testing.assert_allclose(
        batch_maps(OpenVinoMaps(network, "float32"), images), batch_maps(network, images), rtol=0, atol=BOUND
    )


@pytest.mark.parametrize("precision", ["float32", pytest.param("bf16", marks=needs_bf16)])
def test_the_same_pixels_give_the_same_numbers_in_any_batch_and_any_size(
    precision: str, network: CompactNetwork
) -> None:
    ours, reach = OpenVinoMaps(network, precision), network.shape.reach_px
    images = pixels(336, 352, 3)
    together = batch_maps(ours, images)
    for k in range(3):
        np.testing.assert_array_equal(batch_maps(ours, images[k : k + 1])[0], together[k])
    part = batch_maps(ours, images[:1, 64:320, 32:])
    inner = np.s_[0, :, reach : 256 - reach, reach : 320 - reach]
    assert part[inner].size
    np.testing.assert_array_equal(part[inner], together[:1, :, 64:320, 32:][inner])


def test_every_thread_has_its_own(network: CompactNetwork) -> None:
    ours = OpenVinoMaps(network, "float32")
    images = pixels(64, 64, 12)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: batch_maps(ours, images[k : k + 1])[0], range(12)))
    np.testing.assert_array_equal(np.stack(found), batch_maps(ours, images))


def test_pixels_that_may_not_be_written_to_or_lie_apart_are_taken(network: CompactNetwork) -> None:
    ours, images = OpenVinoMaps(network, "float32"), pixels(64, 128)
    expected = ours(images[:, :, ::2].copy())
    apart = images[:, :, ::2]
    apart.flags.writeable = False
    np.testing.assert_array_equal(ours(apart), expected)


def test_a_spec_says_which_runtime_it_is() -> None:
    network = network_of(NetworkShape((8, 8, 8, 8), 1, 1))
    here = resolved(replace(SPEC, precision="float32", runtime="openvino"))
    assert isinstance(network_for(network, "cpu", here.precision, here.runtime), OpenVinoMaps)
    here = resolved(replace(SPEC, precision="bf16", runtime="torch"))
    by_torch = network_for(network, "cpu", here.precision, here.runtime)
    assert isinstance(by_torch, CompactNetwork)
    assert by_torch.head.weight.dtype == torch.bfloat16


def test_a_worker_with_another_version_refuses() -> None:
    content = save_compact(random_network(norm=True))
    card = ModelCard.model_validate(card_facts(content))
    with pytest.raises(ConfigError, match="begin anew"):
        tried_network(content, "weights", card, replace(SPEC, precision="float32", runtime="openvino 1999.1"))


def test_slides_that_differ_in_their_stain_share_the_network() -> None:
    content = save_compact(random_network(norm=True))
    card = ModelCard.model_validate(card_facts(content))
    spec = replace(SPEC, precision="float32", runtime="openvino")
    one, other = (tried_network(content, "w", card, replace(spec, calibration=(s,))) for s in (0.5, 0.7))
    assert one is other
    assert tried_network(content, "w", card, replace(spec, runtime="torch")) is not one
