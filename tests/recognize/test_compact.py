from __future__ import annotations

import numpy as np
import pytest
import torch

from wsiparse.errors import WeightsError
from wsiparse.recognize.embedded.compact import CompactNetwork, NetworkShape, folded, load_compact, save_compact

SMALL = NetworkShape((8, 8, 16, 16), 2, 3)


def trained(shape: NetworkShape = SMALL) -> CompactNetwork:
    """A network with BatchNorm whose statistics and scales are not the initial ones."""
    generator = torch.Generator().manual_seed(3)
    network = CompactNetwork(shape, norm=True)
    for tensor in network.state_dict().values():
        if tensor.dtype.is_floating_point and tensor.ndim == 1:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.ndim > 1:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5)
    return network.requires_grad_(requires_grad=False).eval()


def image(height: int, width: int) -> torch.Tensor:
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_folding_the_norms_away_changes_no_answer() -> None:
    network = trained()
    plain = CompactNetwork(SMALL, norm=False)
    plain.load_state_dict(folded(network.state_dict()))
    with torch.inference_mode():
        torch.testing.assert_close(plain(image(64, 48)), network(image(64, 48)), atol=1e-4, rtol=1e-4)


def test_a_file_holds_half_precision_and_gives_the_network_back() -> None:
    network = trained()
    again = load_compact(save_compact(network))
    assert again.shape == SMALL
    with torch.inference_mode():
        expected = network(image(64, 64))
        torch.testing.assert_close(again(image(64, 64)), expected, atol=0.02 * float(expected.abs().max()), rtol=0.02)


@pytest.mark.parametrize("classes", [0, 1, 3])
def test_there_are_three_maps_and_one_for_each_class(classes: int) -> None:
    network = CompactNetwork(NetworkShape((8, 8, 16, 16), 1, classes), norm=True).eval()
    with torch.inference_mode():
        assert network(image(32, 48)).shape == (1, 3 + classes, 32, 48)


@pytest.mark.parametrize("deep", [1, 3])
def test_maps_do_not_depend_on_what_lies_beyond_the_reach_of_an_aligned_tile(deep: int) -> None:
    shape = NetworkShape((4, 4, 4, 4), deep, 3)
    network = trained(shape).double()
    for parameter in network.parameters():
        parameter.abs_()  # no ReLU is shut, so that every way is open
    reach = shape.reach_px
    whole = image(32, 3 * reach + 64).double().abs()
    whole[..., : reach + 16] *= 1000  # outside of both tiles, and the largest of any pool
    with torch.inference_mode():
        expected = network(whole)[..., 2 * reach : -reach]
        found = network(whole[..., reach:])[..., reach:-reach]
        nearer = network(whole[..., reach + 16 :])[..., reach - 16 : -reach]
    torch.testing.assert_close(found, expected, atol=0, rtol=1e-12)
    assert float((nearer / expected - 1).abs().max()) > 1e-6, "a smaller reach would do"


def test_the_operations_are_those_of_the_convolutions() -> None:
    shape = NetworkShape()
    network = CompactNetwork(shape, norm=False)
    counted = 0.0

    def count(module: torch.nn.Conv2d, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        counted += 2 * output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(image(64, 64))
    assert shape.flop_per_px() == pytest.approx(counted / 64**2)
    assert shape.flop_per_px() < 2.5 * 41_600


@pytest.mark.parametrize("content", [b"", b"\x10", save_compact(CompactNetwork(SMALL, norm=True))[:-7]])
def test_a_damaged_file_is_told_in_one_line(content: bytes) -> None:
    with pytest.raises(WeightsError, match=r"x\.safetensors: damaged weights") as error:
        load_compact(content, "x.safetensors")
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused() -> None:
    from safetensors.numpy import save

    with pytest.raises(WeightsError, match="another network"):
        load_compact(save({"a": np.zeros(3, np.float32)}))


def test_loading_leaves_the_random_generator_alone() -> None:
    content = save_compact(CompactNetwork(SMALL, norm=True))
    before = torch.random.get_rng_state()
    load_compact(content)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "shape", [((8, 8, 8), 3, 3), ((8, 8, 8, 0), 3, 3), ((8, 8, 8, 8), 0, 3), ((8, 8, 8, 8), 3, -1)]
)
def test_impossible_shapes_are_refused(shape: tuple) -> None:
    with pytest.raises(ValueError, match="no network has this shape"):
        NetworkShape(*shape)
