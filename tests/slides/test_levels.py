from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.slides.levels import choose_levels, whole_step

TILE = (256, 256)


@given(st.integers(1, 60_000), st.integers(1, 60_000), st.sampled_from([2, 3, 4, 8, 10, 16, 32, 64]), st.data())
def test_a_level_made_smaller_by_a_whole_number_has_that_step_however_it_was_rounded(
    width: int, height: int, step: int, data: st.DataObject
) -> None:
    rounding = st.integers(0, 1)
    reduced = tuple(max(1, n // step + data.draw(rounding)) for n in (width, height))
    found = whole_step((width, height), reduced)
    assert found is not None
    for n, m in zip((width, height), reduced, strict=True):
        assert abs(m - n / found) <= 1
    if min(reduced) > 2 * step:  # else several fit to within a pixel
        assert found == step


@pytest.mark.parametrize(
    ("full", "reduced"),
    [
        ((2400, 1600), (256, 256)),  # a macro picture
        ((2400, 1600), (160, 240)),  # turned
        ((2400, 1600), (750, 500)),  # 3.2 times smaller
        ((2400, 1600), (605, 400)),  # 5 px too wide
        ((2400, 1600), (600, 404)),
    ],
)
def test_what_was_not_made_smaller_by_one_whole_number_has_no_step(
    full: tuple[int, int], reduced: tuple[int, int]
) -> None:
    assert whole_step(full, reduced) is None


def test_a_slide_one_pixel_wide_has_levels() -> None:
    assert whole_step((1, 40_000), (1, 2_500)) == 16
    assert whole_step((40_000, 3), (10_000, 1)) == 4


def test_sizes_of_macros_and_odd_scales_are_told_and_left_out() -> None:
    sizes = [(2400, 1600), (600, 400), (256, 256), (750, 500)]
    choices, doubts = choose_levels(sizes, [TILE] * 4)
    assert [(choice.stored, choice.steps) for choice in choices] == [(0, (1,)), (1, (4,))]
    assert [(doubt.stored, doubt.reason) for doubt in doubts] == [
        (2, "is 9.375 times smaller than level 0 in x and 6.25 times in y"),
        (3, "is 3.2 times smaller than level 0, and levels are smaller by whole numbers"),
    ]


def test_levels_of_any_order_are_sorted_and_a_second_of_a_scale_is_left_out() -> None:
    sizes = [(4000, 3000), (250, 188), (1000, 750), (1000, 750), (4000, 3000)]
    choices, doubts = choose_levels(sizes, [TILE] * 5)
    assert [(choice.stored, choice.steps) for choice in choices] == [(0, (1,)), (2, (4,)), (1, (16,))]
    assert [(doubt.stored, doubt.reason) for doubt in doubts] == [
        (3, "repeats the scale of level 2"),
        (4, "repeats the scale of level 0"),
    ]


def test_what_is_larger_than_level_0_is_no_level() -> None:
    choices, doubts = choose_levels([(1000, 750), (4000, 3000), (500, 375)], [TILE] * 3)
    assert [choice.stored for choice in choices] == [0, 2]
    assert doubts[0].reason == "is larger than level 0"


def test_levels_of_whole_tiles_may_be_padded_on_one_axis_or_both() -> None:
    # a de-identified Philips file: level 0 is whole tiles too
    sizes = [(2560, 2048), (1536, 1024), (2560 // 2, 1024), (1000, 800)]
    choices, doubts = choose_levels(sizes, [(512, 512)] * 4)
    assert [(choice.stored, choice.steps) for choice in choices] == [(0, (1,)), (1, (2,))]
    assert [doubt.stored for doubt in doubts] == [2, 3]


def test_padding_that_hides_the_scale_leaves_several_or_none() -> None:
    several, _ = choose_levels([(5000, 4000), (1024, 1024)], [(512, 512)] * 2)
    assert several[1].steps == (5, 6, 7)
    none, doubts = choose_levels([(5000, 4000), (512, 512)], [(512, 512)] * 2)
    assert len(none) == 1
    assert doubts[0].stored == 1


def test_padding_is_only_believed_where_the_tiles_are_known() -> None:
    choices, doubts = choose_levels([(2560, 2048), (1536, 1024)], [None, None])
    assert len(choices) == 1
    assert doubts[0].stored == 1
