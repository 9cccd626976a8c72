from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from wsiparse.report.stats.distributions import binned


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
@example([1e-05, 1e-05])
def test_every_value_is_in_a_bin_or_above(values: list[float]) -> None:
    got = binned(np.array(values))
    edges = np.array(got["edges"])
    assert edges[0] == 0
    assert (np.diff(edges) > 0).all()
    assert sum(got["counts"]) + got["above"] == len(values)
    assert len(got["counts"]) == len(edges) - 1 <= 60
    assert got["above"] <= 0.01 * len(values) + 1


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=300))
@example([25.0, -5e-324])
def test_values_below_zero_have_bins_too(values: list[float]) -> None:
    got = binned(np.array(values), from_zero=False)
    assert got["edges"][0] <= min(values)
    assert sum(got["counts"]) + got["above"] == len(values)


def test_steps_are_round() -> None:
    step = np.diff(binned(np.linspace(0, 873.0, 1000))["edges"])
    assert np.allclose(step, 50.0)


def test_nothing_is_one_empty_bin() -> None:
    assert binned(np.zeros(0)) == {"edges": [0.0, 1.0], "counts": [0], "above": 0}
