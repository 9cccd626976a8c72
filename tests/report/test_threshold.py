from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.report.stats.threshold import (
    AMBIGUOUS_LEAD,
    AmbiguousClass,
    ambiguous_counts,
    is_ambiguous,
    threshold_band,
)
from wsiparse.types import ObjectTable, Prompt, PromptSet

PROMPTS = PromptSet((Prompt("a", "A"), Prompt("b", "B", threshold=0.3), Prompt("g", "G", kind="region")))


def ambiguous_class(tables: list[ObjectTable], prompts: PromptSet) -> tuple[AmbiguousClass, ...]:
    ids, close, known = [np.zeros(0, np.uint8)], [np.zeros(0, np.bool_)], True
    for one in tables:
        some = one.class_share.shape[1] >= 2
        known &= some or not len(one)
        ids.append(one.class_id)
        close.append(is_ambiguous(one.class_share) if some else np.zeros(len(one), np.bool_))
    return ambiguous_counts(
        np.concatenate(ids), np.concatenate(close), prompts, lead=AMBIGUOUS_LEAD, shares_known=known
    )


def table(classes: list[int], scores: list[float], areas: list[int], shares: np.ndarray | None = None) -> ObjectTable:
    n = len(classes)
    return ObjectTable(
        coords=np.tile(np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], np.int32), (n, 1)),
        ring_offsets=np.arange(n + 1, dtype=np.int64) * 5,
        polygon_offsets=np.arange(n + 1, dtype=np.int64),
        class_id=np.array(classes, np.uint8),
        score=np.array(scores, np.float32),
        area_px=np.array(areas, np.int64),
        centroid=np.zeros((n, 2)),
        first_px=np.zeros((n, 2), np.int32),
        class_share=np.zeros((n, 0), np.float32) if shares is None else shares.astype(np.float32),
    )


def from_pixels(pixels: list[np.ndarray]) -> ObjectTable:
    """Class A objects from their pixels' grey levels (all above threshold)."""
    return table([1] * len(pixels), [float(p.mean() / 255) for p in pixels], [len(p) for p in pixels])


objects = st.lists(st.lists(st.integers(128, 255), min_size=1, max_size=20).map(np.array), min_size=0, max_size=12)


@given(objects, st.sampled_from((0.05, 0.1, 0.3)))
def test_bounds_hold_for_the_pixels_the_objects_were_made_of(pixels: list[np.ndarray], step: float) -> None:
    band = threshold_band([from_pixels(pixels)], PROMPTS, step=step)[0]
    top = (0.5 + step) * 255
    survive = sum(bool((p > top).any()) for p in pixels)
    left = sum(int((p > top).sum()) for p in pixels)
    assert band.n_raised <= survive <= band.n == len(pixels)
    assert band.area_raised_least_px <= left + 1e-9
    assert left <= band.area_raised_most_px + 1e-9
    assert band.area_raised_most_px <= band.area_px
    assert band.n_raised == sum(int(p.sum()) > (0.5 + step) * 255 * len(p) + 1e-6 for p in pixels)


@given(objects, st.integers(0, 99), st.integers(1, 5))
def test_order_and_batches_change_no_bit(pixels: list[np.ndarray], seed: int, batches: int) -> None:
    whole = from_pixels(pixels)
    order = np.random.default_rng(seed).permutation(len(pixels))
    parts = [whole.take(rows) for rows in np.array_split(order, batches)]
    assert threshold_band(parts, PROMPTS) == threshold_band([whole], PROMPTS)


@given(objects)
def test_a_larger_step_never_leaves_more(pixels: list[np.ndarray]) -> None:
    counts = [threshold_band([from_pixels(pixels)], PROMPTS, step=s)[0] for s in (0.05, 0.1, 0.2, 0.4, 0.6)]
    assert [b.n_raised for b in counts] == sorted((b.n_raised for b in counts), reverse=True)
    assert counts[-1].n_raised == counts[-1].area_raised_most_px == 0


def test_each_class_moves_from_its_own_threshold() -> None:
    got = threshold_band([table([1, 1, 2, 2, 3], [0.55, 0.7, 0.35, 0.45, 0.9], [4] * 5)], PROMPTS)
    assert [(b.class_name, b.n, b.n_raised) for b in got] == [("A", 2, 1), ("B", 2, 1), ("G", 1, 1)]


def test_the_band_downwards_says_that_it_is_a_lower_bound() -> None:
    band = threshold_band([table([1], [0.6], [4])], PROMPTS)[0]
    assert (band.n_lowered_at_least, band.lowered_known) == (1, False)


def test_ambiguity_is_a_lead_below_a_fifth() -> None:
    shares = np.array([[0.6, 0.4], [0.59, 0.41], [0.41, 0.59], [1.0, 0.0]])
    np.testing.assert_array_equal(is_ambiguous(shares.astype(np.float32)), [False, True, True, False])
    three = np.array([[0.45, 0.35, 0.2], [0.5, 0.25, 0.25]], np.float32)
    np.testing.assert_array_equal(is_ambiguous(three), [True, False])


@given(st.integers(0, 999), st.integers(2, 4))
def test_ambiguous_cells_equal_a_count_one_by_one(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    prompts = PromptSet(tuple(Prompt(f"p{k}", f"P{k}") for k in range(classes)))
    shares = random.dirichlet(np.ones(classes), 40).astype(np.float32)
    ids = (shares.argmax(axis=1) + 1).tolist()
    whole = table(ids, [0.8] * 40, [9] * 40, shares)
    got = ambiguous_class([whole.take(np.arange(10)), whole.take(np.arange(10, 40))], prompts)
    for k, entry in enumerate(got):
        want = 0
        for row, i in zip(shares.tolist(), ids, strict=True):
            top, second = sorted(row, reverse=True)[:2]
            want += i == k + 1 and top - second < 0.2 - 1e-6
        assert (entry.n, entry.n_ambiguous) == (ids.count(k + 1), want)


def test_one_class_or_no_shares_leave_ambiguity_unknown_with_a_reason() -> None:
    one = ambiguous_class([table([1], [0.9], [4])], PromptSet((Prompt("a", "A"),)))[0]
    assert (one.n_ambiguous, one.share, one.reason) == (None, None, "only one cell class was asked for")
    bare = ambiguous_class([table([1], [0.9], [4])], PROMPTS)[0]
    assert bare.reason == "no class shares were stored"
    empty = ambiguous_class([], PROMPTS)[0]
    assert (empty.n, empty.n_ambiguous, empty.share) == (0, 0, None)


def test_class_ids_beyond_the_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="class id 4"):
        threshold_band([table([4], [0.9], [4])], PROMPTS)
