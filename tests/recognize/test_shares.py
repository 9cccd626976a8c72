"""Pixels of a nucleus dealt to prompts: kernels against slow twins, and what an object sums up in the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsiparse.objects.panoptic import quantise
from wsiparse.recognize.embedded.shares import ALL_NUCLEI, class_sums, deal_nuclei, prompt_of_pixels, wanted_shares


def scene(seed: int, n: int = 3, size: int = 12, classes: int = 3) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n + 1, (size, size)).astype(np.int32)
    foreground = rng.random((size, size), np.float32)
    maps = rng.random((classes, size, size), np.float32)
    return foreground, maps / maps.sum(0), labels


@pytest.mark.kernels
@given(st.integers(0, 1000))
def test_sums_equal_those_of_numpy(seed: int) -> None:
    foreground, maps, labels = scene(seed)
    expected = np.zeros((3, 3), np.int64)
    weight, shares = quantise(foreground).astype(np.int64), quantise(maps).astype(np.int64)
    for k in range(3):
        for c in range(3):
            expected[k, c] = (weight * shares[c])[labels == k + 1].sum()
    np.testing.assert_array_equal(class_sums(foreground, maps, labels, 3), expected)


def dealt_slowly(foreground: NDArray, labels: NDArray, wanted: NDArray) -> NDArray:
    out = np.full(labels.shape, -1, np.int16)
    weight = quantise(foreground)
    for k, row in enumerate(wanted.tolist(), 1):
        has, whole, seen = [0] * len(row), sum(row), 0
        for y, x in np.argwhere(labels == k) if whole else []:
            seen += int(weight[y, x])
            lacks = [want * seen - whole * own for want, own in zip(row, has, strict=True)]
            best = lacks.index(max(lacks))
            has[best] += int(weight[y, x])
            out[y, x] = best
    return out


@pytest.mark.kernels
@given(st.integers(0, 1000), st.lists(st.integers(0, 1 << 16), min_size=6, max_size=6))
def test_dealing_equals_the_slow_twin(seed: int, numbers: list[int]) -> None:
    foreground, _, labels = scene(seed, n=2)
    wanted = np.array(numbers, np.int64).reshape(2, 3) // 3
    np.testing.assert_array_equal(
        prompt_of_pixels(foreground, labels, wanted), dealt_slowly(foreground, labels, wanted)
    )


@given(st.integers(0, 1000))
def test_what_was_dealt_is_within_a_pixel_of_what_was_wanted(seed: int) -> None:
    foreground, maps, labels = scene(seed, n=2, size=20)
    wanted = wanted_shares(class_sums(foreground, maps, labels, 2), [0, 1, 2], 0.0, whole=False)
    prompt, weight = prompt_of_pixels(foreground, labels, wanted), quantise(foreground).astype(float)
    for k in range(2):
        inside = labels == k + 1
        got = np.array([weight[inside & (prompt == p)].sum() for p in range(3)])
        assert np.abs(got - wanted[k] / wanted[k].sum() * weight[inside].sum()).max() <= 2 * 255


def test_a_nucleus_goes_to_its_largest_class_and_the_others_get_their_shares() -> None:
    sums = np.array([[60, 30, 10], [10, 45, 45], [34, 33, 33], [0, 0, 0]])
    every = wanted_shares(sums, [0, 1, 2, ALL_NUCLEI], 0.4, whole=False) / (1 << 16)
    np.testing.assert_allclose(every[0], [0.6, 0.3, 0.1, 0], atol=1e-3)
    assert every[1].argmax() == 1, "the first of equals"
    np.testing.assert_allclose(every[2:], [[0, 0, 0, 1]] * 2, err_msg="no class is sure enough")
    some = wanted_shares(sums, [1, ALL_NUCLEI], 0.4, whole=False) / (1 << 16)
    np.testing.assert_allclose(some, [[1 / 3, 2 / 3], [0.5, 0.5], [0, 1], [0, 1]], atol=1e-3)
    one = wanted_shares(sums, [1], 0.4, whole=False) / (1 << 16)
    np.testing.assert_allclose(one, [[0], [1], [0], [0]])


@given(st.integers(0, 1000), st.permutations([0, 1, 2, ALL_NUCLEI]), st.integers(1, 4), st.floats(0, 0.6))
def test_which_nuclei_a_class_gets_does_not_depend_on_the_other_prompts(
    seed: int, order: list[int], asked: int, least: float
) -> None:
    sums = np.random.default_rng(seed).integers(0, 50, (9, 3))
    some = wanted_shares(sums, order[:asked], least, whole=True)
    every = wanted_shares(sums, [0, 1, 2, ALL_NUCLEI], least, whole=True)
    for p, k in enumerate(order[:asked]):
        if k != ALL_NUCLEI:
            np.testing.assert_array_equal(some[:, p] > 0, every[:, k] > 0)
    assert ((some > 0).sum(1) <= 1).all()


def test_nothing_to_deal() -> None:
    empty = np.zeros((4, 4), np.int32)
    wanted = wanted_shares(np.zeros((0, 3), np.int64), [0, ALL_NUCLEI], 0.4, whole=False)
    assert wanted.shape == (0, 2)
    assert (prompt_of_pixels(np.ones((4, 4), np.float32), empty, wanted) == -1).all()


def most_of(foreground: NDArray, labels: NDArray, prompt: NDArray, n: int, count: int) -> list[int]:
    """The prompt with most of each nucleus, -1 where it got no pixel."""
    weight = quantise(foreground).astype(np.int64)
    sums = [[weight[(labels == k) & (prompt == p)].sum() for p in range(count)] for k in range(1, n + 1)]
    return [row.index(max(row)) if max(row) else -1 for row in sums]


@given(
    st.integers(0, 10_000),
    st.permutations([0, 1, 2, ALL_NUCLEI]),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.36]),
    st.booleans(),
)
def test_the_class_of_a_nucleus_does_not_depend_on_what_else_is_asked_for(
    seed: int, order: list[int], asked: int, least: float, whole: bool
) -> None:
    foreground, maps, labels = scene(seed, n=8, size=24)
    sums = class_sums(foreground, maps, labels, 8)  # of noise: shares are nearly equal
    every = [0, 1, 2, ALL_NUCLEI]
    classes = most_of(foreground, labels, deal_nuclei(foreground, labels, sums, every, least, whole=False), 8, 4)
    some = order[:asked]
    found = most_of(foreground, labels, deal_nuclei(foreground, labels, sums, some, least, whole=whole), 8, asked)
    if set(some) >= {0, 1, 2} and not whole:
        return  # every class is asked for: the same pixels but for the order of equals
    other = some.index(ALL_NUCLEI) if ALL_NUCLEI in some else -1
    assert found == [some.index(every[k]) if every[k] in some else other for k in classes]


def test_every_class_together_is_dealt_as_its_shares_say() -> None:
    foreground, maps, labels = scene(3)
    sums = class_sums(foreground, maps, labels, 3)
    for asked in ([0, 1, 2], [0, 1, 2, ALL_NUCLEI], [2, ALL_NUCLEI, 0, 1]):
        np.testing.assert_array_equal(
            deal_nuclei(foreground, labels, sums, asked, 0.4, whole=False),
            prompt_of_pixels(foreground, labels, wanted_shares(sums, asked, 0.4, whole=False)),
        )
