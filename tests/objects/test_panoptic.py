"""One answer per pixel: the kernels against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.reference import objects as reference
from wsiparse.objects.panoptic import combine_cells, quantise

pytestmark = pytest.mark.kernels

#: Ties and the rules' own levels are what could go wrong, so they come up often.
LEVELS = st.sampled_from([0.0, 0.1, 0.10000001, 0.3, 0.49999997, 0.5, 0.50000006, 0.7, 1.0]).map(np.float32)


def probabilities(most_prompts: int = 5) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(1, most_prompts), st.integers(0, 5), st.integers(1, 5))
    values = st.one_of(LEVELS, st.floats(0, 1, width=32))
    return shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=values))


@given(probabilities(), st.data())
def test_the_default_rule_equals_numpys_argmax(maps: np.ndarray, data: st.DataObject) -> None:
    thresholds = np.array(data.draw(st.lists(LEVELS, min_size=len(maps), max_size=len(maps))), np.float32)
    for got, wanted in zip(combine_cells(maps, thresholds), reference.combine_cells(maps, thresholds), strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == np.uint8


def test_long_images_are_handled_in_stretches() -> None:
    maps = np.random.default_rng(0).random((3, 7, 601), dtype=np.float32)
    thresholds = np.array([0.2, 0.5, 0.8], np.float32)
    for got, wanted in zip(combine_cells(maps, thresholds), reference.combine_cells(maps, thresholds), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_probability_at_its_threshold_does_not_count_and_ties_go_to_the_first() -> None:
    maps = np.array([[[0.5, 0.75, 0.6]], [[0.4, 0.75, 0.8]]], np.float32)
    winner, confidence = combine_cells(maps, np.array([0.5, 0.5], np.float32))
    assert winner.tolist() == [[0, 1, 2]]
    assert confidence.tolist() == [[0, 191, 204]]


def test_a_winner_never_has_confidence_0() -> None:
    winner, confidence = combine_cells(np.full((1, 1, 1), 0.001, np.float32), np.array([0.0005], np.float32))
    assert (winner.item(), confidence.item()) == (1, 1)


def test_nothing_above_the_levels_gives_background() -> None:
    maps = np.zeros((2, 3, 3), np.float32)
    assert not combine_cells(maps, np.array([0.5, 0.5], np.float32))[0].any()


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4), elements=st.floats(0, 1, width=32)))
def test_quantised_is_the_nearest_255th(maps: np.ndarray) -> None:
    np.testing.assert_array_equal(quantise(maps), np.floor(maps.astype(np.float64) * 255 + 0.5))


@pytest.mark.parametrize("value", [np.nan, -0.5, 1.5, np.inf, -np.inf])
def test_what_is_no_probability_is_refused(value: float) -> None:
    maps = np.full((2, 3, 4), 0.5, np.float32)
    maps[1, 2, 3] = value
    for call in (
        lambda: combine_cells(maps, np.zeros(2, np.float32)),
        lambda: quantise(maps),
    ):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            call()


def test_a_hair_above_1_counts_as_1() -> None:
    assert quantise(np.array([1.0000001, -1e-7], np.float32)).tolist() == [255, 0]


@pytest.mark.parametrize("maps", [np.zeros((2, 2), np.float32), np.zeros((1, 2, 2)), np.zeros((0, 2, 2), np.float32)])
def test_other_shapes_and_dtypes_are_refused(maps: np.ndarray) -> None:
    with pytest.raises(ValueError, match="probabilities must be"):
        combine_cells(maps, np.zeros(len(maps), np.float32))


def test_thresholds_must_be_one_a_prompt_and_finite() -> None:
    for thresholds in (np.zeros(3, np.float32), np.array([0.5, np.nan], np.float32)):
        with pytest.raises(ValueError, match="thresholds"):
            combine_cells(np.zeros((2, 2, 2), np.float32), thresholds)


def test_any_memory_layout_gives_the_same_winners() -> None:
    maps, half = np.random.default_rng(1).random((6, 8, 3), dtype=np.float32), np.full(6, 0.5, np.float32)
    moved = np.moveaxis(np.ascontiguousarray(np.moveaxis(maps, 2, 0)), 0, 2)
    for got, wanted in zip(combine_cells(moved, half), combine_cells(maps, half), strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(quantise(moved), quantise(maps))
