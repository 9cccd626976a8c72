from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.parallel.progress import OfSlide, Pace, Progress, Quiet, Stage


def test_what_came_before_the_first_step_is_no_measure_of_the_rest() -> None:
    pace = Pace(4)
    pace.note(55.0, 1)  # 55 s of compiling and waiting
    assert pace.left_s is None
    pace.note(60.0, 2)
    assert pace.left_s == pytest.approx(10.0)  # not 60


def test_the_rest_is_told_at_the_pace_of_the_last_two_minutes() -> None:
    pace = Pace(1000)
    for k in range(100):  # a step in 10 s while another stage is waited for
        pace.note(10.0 * k, k)
    for k in range(400):  # then two a second
        pace.note(990.0 + 0.5 * k, 100 + k)
    assert pace.per_s == pytest.approx(2.0, rel=0.01)
    assert pace.left_s == pytest.approx(250.0, rel=0.02)


@given(st.integers(1, 50), st.floats(0.1, 100), st.floats(0, 1000))
def test_an_even_pace_is_told_exactly(steps: int, each_s: float, before_s: float) -> None:
    pace = Pace(steps)
    for k in range(1, steps + 1):
        pace.note(before_s + k * each_s, k)
        if k > 1:
            assert pace.left_s == pytest.approx((steps - k) * each_s, rel=1e-6, abs=1e-6)


def test_steps_at_one_moment_tell_no_pace() -> None:
    pace = Pace(3)
    pace.note(1.0, 1)
    pace.note(1.0, 2)
    assert (pace.per_s, pace.left_s) == (None, None)


class Kept(Quiet):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.titles: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        self.titles.append(title)
        return super().stage(title, total, unit)


def test_stages_of_a_slide_carry_its_name() -> None:
    kept = Kept()
    of: Progress = OfSlide(kept, "a.svs")
    with of.stage("recognise", 3, "tiles") as stage:
        stage.advance()
    of.say("a line")
    long = OfSlide(kept, "x" * 100 + ".svs")
    with long.stage("recognise", 3, "tiles"):
        pass
    assert kept.titles[0] == "a.svs: recognise"
    assert len(kept.titles[1]) < 50
    assert kept.said == ["a line"]
