"""The miniature network in float64: rounding cannot move a threshold there, so equality is tight."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tests.recognize.biomedparse import reference
from tests.reference.recipe import miniature, recipe_weights
from wsiparse.choices import Mode
from wsiparse.recognize.biomedparse.checkpoint import expected_shapes, network_from_state
from wsiparse.recognize.biomedparse.config import NetworkConfig
from wsiparse.recognize.biomedparse.decoder import reduce_plane
from wsiparse.recognize.biomedparse.layers import sine_position
from wsiparse.recognize.biomedparse.matching import best_queries, similarity
from wsiparse.recognize.biomedparse.network import BiomedParseNetwork, to_probabilities
from wsiparse.recognize.biomedparse.text import TextEncoding
from wsiparse.recognize.biomedparse.tokenizer import END, START

PROMPTS = ([START, 320, END], [START, 5, 6, 7, END], [START, 1000, 2000, END])
TIGHT = 1e-10


def weights(seed: str) -> dict[str, Tensor]:
    return {key: torch.from_numpy(w).double() for key, w in recipe_weights(seed, expected_shapes(miniature())).items()}


@pytest.fixture(scope="module")
def network() -> BiomedParseNetwork:
    return network_from_state(weights("B"), miniature()).double()


def images(count: int, seed: int = 0, px: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, px, px), generator=generator).double()


def largest_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.parametrize("seed", ["A", "B", "C"])
def test_the_shared_encoding_equals_the_slow_network(seed: str) -> None:
    config, state, image = miniature(), weights(seed), images(2)
    network = network_from_state(state, config).double()
    encoding, text = network.encode_image(image), network.encode_text(PROMPTS)

    logits, matched, _ = reference.segment(state, config, image, PROMPTS)
    joint = network.decode(encoding, text, "joint")
    assert largest_difference(joint.logits, logits) < TIGHT
    assert torch.equal(joint.matched, matched)

    solo = network.decode(encoding, text)
    for p, prompt in enumerate(PROMPTS):
        logits, matched, _ = reference.segment(state, config, image, [prompt])
        assert largest_difference(solo.logits[:, p : p + 1], logits) < TIGHT
        assert torch.equal(solo.matched[:, p : p + 1], matched)


def test_the_miniature_meets_partly_and_fully_blocked_queries() -> None:
    """Otherwise the comparison with the slow network would say nothing about masking."""
    _, _, seen = reference.segment(weights("B"), miniature(), images(2), PROMPTS)
    rows = torch.cat([blocked.double().mean(dim=-1).flatten() for blocked in seen])
    assert (rows == 1).any()
    assert ((rows > 0) & (rows < 1)).any()


def test_a_larger_tile_than_the_configured_one_still_equals_the_slow_network() -> None:
    config, state, image = miniature(), weights("A"), images(1, px=96)
    network = network_from_state(state, config).double()
    logits, _, _ = reference.segment(state, config, image, PROMPTS[:2])
    found = network.decode(network.encode_image(image), network.encode_text(PROMPTS[:2]), "joint").logits
    assert found.shape == (1, 2, 24, 24)
    assert largest_difference(found, logits) < TIGHT


@pytest.mark.parametrize("mode", ["solo", "joint"])
def test_a_batch_of_three_tiles_equals_three_single_tiles(network: BiomedParseNetwork, mode: Mode) -> None:
    batch, text = images(3, seed=1), network.encode_text(PROMPTS)
    together = network.decode(network.encode_image(batch), text, mode)
    for i in range(3):
        alone = network.decode(network.encode_image(batch[i : i + 1]), text, mode)
        assert largest_difference(together.logits[i : i + 1], alone.logits) < TIGHT
        assert torch.equal(together.matched[i : i + 1], alone.matched)


def test_a_solo_mask_is_the_same_bits_whatever_other_prompts_run(network: BiomedParseNetwork) -> None:
    encoding = network.encode_image(images(1, seed=2))
    first = network.decode(encoding, network.encode_text(PROMPTS[:1])).logits
    for others in itertools.permutations(PROMPTS[1:]):
        logits = network.decode(encoding, network.encode_text([*others, PROMPTS[0]])).logits
        assert torch.equal(logits[:, -1:], first)


def test_joint_and_solo_agree_on_one_prompt_and_differ_on_several(network: BiomedParseNetwork) -> None:
    encoding = network.encode_image(images(1, seed=3))
    one, all_of_them = network.encode_text(PROMPTS[:1]), network.encode_text(PROMPTS)
    assert torch.equal(network.decode(encoding, one, "joint").logits, network.decode(encoding, one).logits)
    joint, solo = network.decode(encoding, all_of_them, "joint"), network.decode(encoding, all_of_them)
    assert largest_difference(joint.logits, solo.logits) > 1e-3


def test_the_order_of_joint_prompts_changes_rounding_only(network: BiomedParseNetwork) -> None:
    encoding = network.encode_image(images(1, seed=4))
    straight = network.decode(encoding, network.encode_text(PROMPTS), "joint").logits
    reverse = network.decode(encoding, network.encode_text(PROMPTS[::-1]), "joint").logits
    assert largest_difference(straight, reverse.flip(1)) < TIGHT


def test_decoding_does_not_change_the_encoding(network: BiomedParseNetwork) -> None:
    encoding, text = network.encode_image(images(1)), network.encode_text(PROMPTS)
    first = network.decode(encoding, text).logits.clone()
    network.decode(encoding, text, "joint")
    assert torch.equal(network.decode(encoding, text).logits, first)


def test_half_precision_touches_the_backbone_only(network: BiomedParseNetwork) -> None:
    single = network_from_state({key: w.float() for key, w in weights("B").items()}, miniature())
    image = images(1).float()
    full, half = single.encode_image(image), single.encode_image(image, torch.bfloat16)
    for tensor in (half.mask_features, *half.reduced, *itertools.chain(*half.memory)):
        assert tensor.dtype == torch.float32
    drift = (half.mask_features - full.mask_features).norm() / full.mask_features.norm()
    assert 1e-5 < drift < 0.1


def test_a_prompt_is_encoded_as_if_padded_to_the_full_context(network: BiomedParseNetwork) -> None:
    text = network.encode_text(PROMPTS)
    for p, prompt in enumerate(PROMPTS):
        padded = reference.text(weights("B"), miniature(), prompt)
        assert text.tokens[p].shape == (len(prompt), miniature().hidden_dim)
        assert largest_difference(text.tokens[p], padded) < TIGHT
        assert torch.equal(text.classes[p], text.tokens[p][-1])


@given(
    factor=st.sampled_from([2, 4, 6, 8]), blocks=st.tuples(st.integers(1, 5), st.integers(1, 5)), seed=st.integers(0)
)
def test_reducing_by_centre_pixels_is_bilinear_interpolation(factor: int, blocks: tuple[int, int], seed: int) -> None:
    size = blocks[0] * factor, blocks[1] * factor
    plane = torch.randn(2, *size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed % 2**63))
    wanted = functional.interpolate(plane.permute(0, 3, 1, 2), blocks, mode="bilinear", align_corners=False)
    assert largest_difference(reduce_plane(plane, factor).permute(0, 3, 1, 2), wanted) < 1e-12


def test_a_mask_drawn_on_reduced_features_is_the_reduced_mask() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 16, 16, 6, dtype=torch.float64, generator=generator)
    queries = torch.randn(1, 5, 6, dtype=torch.float64, generator=generator)
    full = torch.einsum("bqc,bhwc->bqhw", queries, features)
    wanted = functional.interpolate(full, (4, 4), mode="bilinear", align_corners=False)
    found = torch.einsum("bqc,bhwc->bqhw", queries, reduce_plane(features, 4))
    assert largest_difference(found, wanted) < 1e-12


def test_odd_reductions_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot reduce"):
        reduce_plane(torch.zeros(1, 9, 9, 1), 3)


def test_sine_positions_equal_the_formula_place_by_place() -> None:
    found = sine_position(3, 5, 8, torch.device("cpu"), torch.float64)
    assert found.shape == (15, 8)
    assert largest_difference(found, reference.sine(3, 5, 8)) < 1e-12


def test_sine_positions_are_computed_in_float32_under_half_precision() -> None:
    exact = sine_position(32, 32, 64, torch.device("cpu"), torch.float32)
    assert torch.equal(sine_position(32, 32, 64, torch.device("cpu"), torch.bfloat16), exact.to(torch.bfloat16))


def test_the_best_query_is_taken_per_prompt_even_if_another_prompt_has_it() -> None:
    captions = torch.tensor([[[1.0, 0.0], [0.9, 0.9], [0.0, -3.0]]])
    classes = torch.tensor([[5.0, 5.0], [0.1, 0.2]])
    scores = similarity(captions, classes, torch.tensor(2.0))
    assert best_queries(scores).tolist() == [[1, 1]]
    assert float(scores[0, 1, 0]) == pytest.approx(torch.tensor(2.0).exp().item(), rel=1e-6)


def test_the_similarity_scale_stops_at_one_hundred() -> None:
    vector = torch.ones(1, 1, 4)
    assert float(similarity(vector, vector[0], torch.tensor(9.0))) == pytest.approx(100, rel=1e-5)


def test_probabilities_are_the_sigmoid_of_interpolated_logits_not_the_reverse() -> None:
    logits = torch.tensor([[[[-8.0, 4.0]]]])
    wide = to_probabilities(logits, (1, 4))
    assert torch.allclose(wide, torch.tensor([[[[-8.0, -5.0, 1.0, 4.0]]]]).sigmoid())
    assert torch.equal(to_probabilities(logits, (1, 2)), logits.sigmoid())


@pytest.mark.parametrize("size", [(64, 70), (33, 64)])
def test_sides_that_are_no_multiple_of_32_are_refused(network: BiomedParseNetwork, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        network.encode_image(torch.zeros(1, 3, *size, dtype=torch.float64))


def test_an_unknown_mode_is_refused(network: BiomedParseNetwork) -> None:
    encoding, text = network.encode_image(images(1)), network.encode_text(PROMPTS[:1])
    with pytest.raises(ValueError, match="neither 'solo' nor 'joint'"):
        network.decode(encoding, text, "together")  # type: ignore[arg-type]


@pytest.mark.parametrize("prompts", [[], [[]], [[START] * 78]])
def test_prompts_without_tokens_or_with_too_many_are_refused(
    network: BiomedParseNetwork, prompts: list[list[int]]
) -> None:
    with pytest.raises(ValueError, match=r"no prompt|1 to 77 tokens"):
        network.encode_text(prompts)


def test_a_text_encoding_knows_its_number_of_prompts() -> None:
    assert len(TextEncoding((torch.zeros(3, 4), torch.zeros(2, 4)), torch.zeros(2, 4))) == 2


@pytest.mark.parametrize(
    "change",
    [{"input_px": 100}, {"heads": 3}, {"norm_groups": 7}, {"text_heads": 5}, {"focal_window": 2}],
    ids=lambda change: next(iter(change)),
)
def test_sizes_that_do_not_fit_together_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(NetworkConfig(), **change)  # type: ignore[arg-type]


def test_the_published_sizes_follow_from_the_defaults() -> None:
    config = NetworkConfig()
    assert config.stage_dims == (192, 384, 768, 1536)
