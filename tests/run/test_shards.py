from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import ConfigError
from wsiparse.run.shards import (
    Shard,
    array_job,
    array_variables,
    imbalance,
    longest_first,
    shard_from_environment,
    shard_from_text,
)

SIZES = st.lists(st.integers(0, 10**12), max_size=60)


@given(SIZES, st.integers(1, 20))
def test_every_slide_is_in_exactly_one_shard(sizes: list[int], count: int) -> None:
    shares = longest_first(sizes, count)
    assert len(shares) == count
    assert sorted(i for share in shares for i in share) == list(range(len(sizes)))


@given(SIZES.filter(any), st.integers(1, 20))
def test_the_fullest_shard_keeps_within_grahams_bound(sizes: list[int], count: int) -> None:
    loads = [sum(sizes[i] for i in share) for share in longest_first(sizes, count)]
    # the last slide given to the fullest shard found every other at least as full (Graham 1969)
    assert max(loads) <= sum(sizes) / count + (1 - 1 / count) * max(sizes) + 1e-6 * max(sizes)
    at_least = max(*sizes, sum(sizes) / count)  # no split does better than this
    assert max(loads) <= 2 * at_least


def test_the_largest_go_first_and_to_different_shards() -> None:
    assert longest_first([1, 9, 3, 8], 2) == [[1, 0], [3, 2]]


def test_slides_of_unknown_size_are_spread_evenly() -> None:
    assert [len(share) for share in longest_first([0] * 10, 4)] == [3, 3, 2, 2]


@given(st.integers(0, 1000), st.integers(1, 40))
def test_shares_of_a_row_are_all_of_it_in_order_and_even(n: int, count: int) -> None:
    rows = [list(range(n))[Shard(i, count).of(n)] for i in range(1, count + 1)]
    assert [k for row in rows for k in row] == list(range(n))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


@given(st.text(max_size=10), st.integers(0, 300), st.integers(1, 40))
def test_shares_of_a_slide_are_all_of_its_parts_whichever_way_they_are_turned(name: str, n: int, count: int) -> None:
    parts = sorted(k for i in range(1, count + 1) for k in range(n)[Shard(i, count).of_slide(name).of(n)])
    assert parts == list(range(n))


def test_slides_of_one_part_go_to_different_shards() -> None:
    owners = {i for k in range(200) for i in range(1, 9) if range(1)[Shard(i, 8).of_slide(f"slide{k}").of(1)]}
    assert owners == set(range(1, 9))


def test_imbalance_is_the_largest_over_the_mean_and_the_idle_part() -> None:
    assert imbalance([4, 2, 2], [[0], [1], [2]]) == (1.5, pytest.approx(1 / 3))
    assert imbalance([], [[], []]) == (1.0, 0.0)


def test_a_shard_is_told_as_text() -> None:
    assert shard_from_text(" 3/64 ") == Shard(3, 64)
    assert str(Shard(3, 64)) == "3/64"


@pytest.mark.parametrize("text", ["", "3", "a/b", "0/4", "5/4", "1/0", "-1/4", "1.5/4"])
def test_a_shard_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="shard"):
        shard_from_text(text)


def slurm(i: int, low: int, high: int, step: int = 1, count: int | None = None) -> dict[str, str]:
    n = (high - low) // step + 1 if count is None else count
    values = {"ID": i, "MIN": low, "MAX": high, "STEP": step, "COUNT": n}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (slurm(0, 0, 63), (1, 64)),
        (slurm(64, 1, 64), (64, 64)),
        (slurm(20, 10, 30, 5), (3, 5)),
        (slurm(7, 7, 7), (1, 1)),
        ({"SGE_TASK_ID": "undefined"}, None),
        ({"SGE_TASK_ID": "4", "SGE_TASK_FIRST": "2", "SGE_TASK_LAST": "8", "SGE_TASK_STEPSIZE": "2"}, (2, 4)),
        ({"LSB_JOBINDEX": "0"}, None),
        ({"LSB_JOBINDEX": "3", "LSB_JOBINDEX_END": "9", "LSB_JOBINDEX_STEP": "1"}, (3, 9)),
        ({"PBS_ARRAY_INDEX": "5", "WSIPARSE_SHARD_COUNT": "8"}, (5, 8)),
        ({"PBS_ARRAYID": "8", "WSIPARSE_SHARD_COUNT": "8"}, (8, 8)),
        (slurm(3, 3, 3) | {"WSIPARSE_SHARD_COUNT": "64"}, (3, 64)),
        (slurm(7, 3, 7, 1, 2) | {"WSIPARSE_SHARD_COUNT": "8"}, (7, 8)),
        (slurm(0, 0, 7) | {"WSIPARSE_SHARD_COUNT": "8"}, (1, 8)),
    ],
)
def test_the_variables_of_every_batch_system_are_read(
    environment: dict[str, str], expected: tuple[int, int] | None
) -> None:
    shard = shard_from_environment(environment)
    assert (None if shard is None else (shard.index, shard.count)) == expected


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PBS_ARRAY_INDEX": "5"}, "WSIPARSE_SHARD_COUNT"),
        ({"PBS_ARRAY_INDEX": "5", "WSIPARSE_SHARD_COUNT": "x"}, "expected the number"),
        ({"PBS_ARRAY_INDEX": "9", "WSIPARSE_SHARD_COUNT": "8"}, "shard 9/8"),
        (slurm(1, 1, 9, 1, 3), "not evenly spaced"),
        (slurm(4, 1, 9, 2), "multiple of 2"),
    ],
)
def test_an_array_whose_shares_cannot_be_told_is_an_error_with_a_remedy(
    environment: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        shard_from_environment(environment)


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        ({"SGE_TASK_ID": "undefined", "LSB_JOBINDEX": "0", "PBS_ARRAY_INDEX": ""}, None),
        ({"WSIPARSE_SHARD_COUNT": "4", "SLURM_ARRAY_TASK_COUNT": "4"}, None),
        (slurm(1, 1, 9, 1, 3), "SLURM_ARRAY_TASK_ID"),
        ({"PBS_ARRAY_INDEX": "3"}, "PBS_ARRAY_INDEX"),
        ({"PBS_ARRAYID": "3"}, "PBS_ARRAYID"),
        ({"SGE_TASK_ID": "undefined", "LSB_JOBINDEX": "2"}, "LSB_JOBINDEX"),
    ],
)
def test_a_job_of_an_array_is_known_by_its_index(environment: dict[str, str], name: str | None) -> None:
    assert array_job(environment) == name


def test_the_variables_that_are_set_are_listed() -> None:
    assert array_variables({"SLURM_ARRAY_TASK_ID": "1", "HOME": "x", "SGE_TASK_ID": ""}) == {"SLURM_ARRAY_TASK_ID": "1"}
