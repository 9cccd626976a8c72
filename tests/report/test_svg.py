from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wsiparse.report.pages.svg import Axis, add, chart, markup, round_ticks, shortened

ends = st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-6)


@given(ends, ends, st.integers(3, 12))
def test_ticks_are_round_and_hold_the_values(low: float, high: float, most: int) -> None:
    low, high = sorted((low, high))
    assume(high - low > 1e-6 * max(abs(low), abs(high)))
    ticks = round_ticks(low, high, most)
    assert 2 <= len(ticks) <= most
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6
    slack = 1e-6 * steps[0]
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    # no whole step is wasted at either end
    assert ticks[0] > low - steps[0] - slack
    assert ticks[-1] < high + steps[0] + slack


def test_ticks_of_small_numbers_have_no_noise() -> None:
    assert round_ticks(0, 0.3, 5) == [0.0, 0.1, 0.2, 0.3]
    assert round_ticks(0, 0) == round_ticks(0, 1) == round_ticks(0, 1e-308)


@given(ends)
def test_ticks_of_one_value_reach_from_nought(value: float) -> None:
    ticks = round_ticks(value, value)
    assert 0.0 in ticks
    slack = 1e-6 * abs(value)
    assert ticks[0] - slack <= value <= ticks[-1] + slack


@pytest.mark.parametrize("pair", [(1.0, 0.0), (math.nan, 1.0), (0.0, math.inf)])
def test_ticks_need_an_interval(pair: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="ticks need"):
        round_ticks(*pair)


def test_an_axis_is_straight() -> None:
    axis, ticks = Axis.of([0.0, 87.0], 100.0, 300.0)
    assert (ticks[0], ticks[-1]) == (0.0, 100.0)
    assert [axis.px(v) for v in (0, 50, 100)] == [100, 200, 300]


@given(st.text(max_size=80), st.floats(20, 400))
def test_shortened_words_begin_as_before(text: str, width: float) -> None:
    flat = " ".join(text.split())
    short = shortened(text, width)
    assert short == flat or (short.endswith("…") and flat.startswith(short[:-1]))


def test_names_in_a_chart_are_text() -> None:
    nasty = "</text></svg><script>alert(1)</script>\"'&]]>"
    root = chart(10, 10, title=nasty, about=nasty, key="k")
    add(root, "text", nasty, data_label=nasty)
    text = markup(root)
    read = ET.fromstring(text)
    assert [e.tag for e in read.iter()] == ["svg", "title", "desc", "text"]
    assert {e.text for e in read} == {nasty}
    assert read[2].get("data-label") == nasty
    assert "<script" not in text
