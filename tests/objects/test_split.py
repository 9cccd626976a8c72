"""Splitting: the kernels against SciPy, a max-tree and a heap, and what makes a component's result its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tests.reference import objects as reference
from tests.strategies import CellField, cell_fields, masks, split_settings, two_discs
from wsiparse.coords import Frame
from wsiparse.objects import kernels
from wsiparse.objects.runs import Runs, components
from wsiparse.objects.split import MIN_PERSISTENCE_PX, SplitPixels, smoothing_steps, split_cells, split_pixels
from wsiparse.types import SplitSettings

pytestmark = pytest.mark.kernels


def dense(runs: Runs, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values in slots back as an image."""
    out = np.zeros(shape, np.int64)
    for y, x0, x1, s in zip(runs.y, runs.x0, runs.x1, runs.src, strict=True):
        out[y, x0:x1] = values[s : s + x1 - x0]
    return out


def linked(mask: np.ndarray) -> tuple[Runs, int, tuple[np.ndarray, ...]]:
    runs = components(mask.view(np.uint8))
    slot = np.empty(len(runs.y), np.int64)
    slots = int(kernels.slot_starts(runs.x0, runs.x1, slot))
    runs = replace(runs, src=slot)
    up, down = np.zeros(slots, np.int32), np.zeros(slots, np.int32)
    stretches = [np.empty(2 * len(runs.y), np.int32) for _ in range(3)]
    n = kernels.link_slots(runs.y, runs.x0, runs.x1, runs.start, runs.src, up, down, *stretches)
    return runs, slots, tuple(s[:n] for s in stretches)


@given(masks())
def test_components_are_scipys_in_raster_order(mask: np.ndarray) -> None:
    runs = components(mask.view(np.uint8))
    labels = np.zeros(mask.shape, np.int32)
    kernels.paint_runs(runs.start, runs.y, runs.x0, runs.x1, np.arange(1, len(runs) + 1), labels)
    np.testing.assert_array_equal(labels, reference.components(mask)[0])


@given(masks(), st.sampled_from((2, 48)))
def test_distances_are_exact_within_each_component(mask: np.ndarray, short_run: int) -> None:
    runs, slots, stretches = linked(mask)
    column, squared = np.zeros(slots, np.int32), np.zeros(slots, np.int32)
    kernels.squared_distances(runs.x0, runs.x1, runs.src, *stretches, column, squared, short_run)
    np.testing.assert_array_equal(
        dense(runs, squared, mask.shape), reference.squared_distances(reference.components(mask)[0])
    )


@given(masks(), st.floats(0, 4))
def test_smoothing_equals_heat_flow_on_the_dense_image(mask: np.ndarray, sigma: float) -> None:
    runs, slots, stretches = linked(mask)
    values = np.zeros(slots, np.int32)
    random = np.random.default_rng(len(runs)).integers(0, 100_000, mask.shape)
    for y, x0, x1, s in zip(runs.y, runs.x0, runs.x1, runs.src, strict=True):
        values[s : s + x1 - x0] = random[y, x0:x1]
    kernels.diffuse(runs.x0, runs.x1, runs.src, *stretches, values, np.zeros_like(values), *smoothing_steps(sigma))
    labels = reference.components(mask)[0]
    expected = reference.smoothed(np.where(mask, random, 0), labels, sigma)
    np.testing.assert_array_equal(dense(runs, values, mask.shape), expected)


@given(masks())
def test_distance_to_background_is_distance_out_of_the_component(mask: np.ndarray) -> None:
    """What lets all components share one transform."""
    apart = reference.squared_distances(reference.components(mask)[0])
    np.testing.assert_array_equal(reference.squared_distances_at_once(mask), apart)


def test_the_smoothing_has_the_variance_it_says() -> None:
    spread = np.zeros((81, 81), np.int64)
    spread[40, 40] = 10**9
    for sigma in (0.8, 1.5, 3.0):
        flowed = reference.smoothed(spread, np.ones(spread.shape, np.int32), sigma)
        y = np.arange(81) - 40
        assert np.sqrt((flowed.sum(axis=1) * y**2).sum() / flowed.sum()) == pytest.approx(sigma, rel=0.01)


@given(cell_fields(), split_settings())
def test_instances_equal_those_of_max_tree_and_heap(field: CellField, settings: SplitPixels) -> None:
    mask = field.classes > 0
    found, n = split_cells(mask, field.landscape, settings)
    expected, m = reference.split_cells(mask, field.landscape, settings)
    assert n == m
    np.testing.assert_array_equal(found, expected)


@given(cell_fields(16), cell_fields(16), split_settings())
def test_a_component_does_not_see_what_lies_beside_it(a: CellField, b: CellField, settings: SplitPixels) -> None:
    """Two fields on one canvas, a free row between them, split as each does alone."""
    height, width = a.classes.shape[0] + 1 + b.classes.shape[0], 3 + max(a.classes.shape[1], b.classes.shape[1])
    mask, landscape = np.zeros((height, width), np.bool_), np.zeros((height, width), np.uint8)
    at = a.classes.shape[0] + 1
    for field, y, x in ((a, 0, 0), (b, at, 3)):
        h, w = field.classes.shape
        mask[y : y + h, x : x + w] = field.classes > 0
        landscape[y : y + h, x : x + w] = field.landscape
    labels, n = split_cells(mask, landscape, settings)
    first, n_first = split_cells(a.classes > 0, a.landscape, settings)
    second, n_second = split_cells(b.classes > 0, b.landscape, settings)
    np.testing.assert_array_equal(labels[: at - 1, : a.classes.shape[1]], first)
    np.testing.assert_array_equal(
        labels[at:, 3 : 3 + b.classes.shape[1]], np.where(second > 0, second + n_first, 0).astype(np.int32)
    )
    assert n == n_first + n_second


@given(masks(), split_settings())
def test_every_instance_is_4_connected_and_numbered_by_its_first_pixel(mask: np.ndarray, settings: SplitPixels) -> None:
    labels, n = split_cells(mask, np.zeros(mask.shape, np.uint8), settings)
    seen = labels.ravel()[labels.ravel() > 0]
    assert list(dict.fromkeys(seen.tolist())) == list(range(1, n + 1))
    assert all(ndimage.label(labels == i)[1] == 1 for i in range(1, n + 1))


def test_two_touching_discs_become_two_and_one_disc_stays_one() -> None:
    labels, n = split_cells(two_discs(20, 39), None, SplitPixels())
    assert n == 2
    assert np.bincount(labels.ravel())[1:].tolist() == pytest.approx([(labels > 0).sum() / 2] * 2, rel=0.03)
    assert split_cells(two_discs(20, 39)[:, :20], None, SplitPixels())[1] == 1


def test_a_neck_that_is_hardly_narrower_than_the_smaller_radius_is_no_cut() -> None:
    peanut = two_discs(40, 80)
    assert split_cells(peanut, None, SplitPixels(relative_persistence=0.08))[1] == 2
    assert split_cells(peanut, None, SplitPixels(relative_persistence=1.0))[1] == 1


def test_a_plateau_is_shared_by_distance_not_by_reading_order() -> None:
    """Two peaks on one flat row: the flood gives each its half."""
    landscape = np.full((1, 9), 10, np.uint8)
    landscape[0, [0, 8]] = 200
    labels, _ = split_cells(np.ones((1, 9), np.bool_), landscape, SplitPixels("stored", persistence=50))
    assert labels.tolist() == [[1, 1, 1, 1, 1, 2, 2, 2, 2]]


def test_components_above_the_size_limit_stay_whole() -> None:
    discs = two_discs(20, 39)
    assert split_cells(discs, None, SplitPixels(max_component_px=int(discs.sum()) - 1))[1] == 1
    assert split_cells(discs, None, SplitPixels(max_component_px=int(discs.sum())))[1] == 2


def test_microns_become_pixels_of_the_frame() -> None:
    frame = Frame((100, 100), (1.0, 1.0), (0.1, 0.1))
    settings = SplitSettings(smoothing_um=0.2, persistence=0.1, min_area_um2=4.0, min_confidence=0.3)
    found = split_pixels(settings, frame)
    assert (found.smoothing_px, found.persistence, found.min_area_px, found.min_confidence) == (
        pytest.approx(2.0),
        pytest.approx(1.0),
        400,
        0.3,
    )
    coarse = split_pixels(settings, Frame((10, 10), (1.0, 1.0), (1.0, 1.0)))
    assert coarse.persistence == MIN_PERSISTENCE_PX
    stored = split_pixels(SplitSettings(landscape="stored", persistence=12.0), frame)
    assert stored.persistence == 12.0


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1)])
@pytest.mark.parametrize("landscape", ["distance", "stored"])
def test_images_without_pixels_or_with_one_are_fine(shape: tuple[int, int], landscape: str) -> None:
    image = np.ones(shape, np.uint8)
    labels, n = split_cells(image, image, SplitPixels(landscape))  # type: ignore[arg-type]
    assert n == image.size
    assert labels.shape == shape


def test_any_memory_layout_gives_the_same_instances() -> None:
    discs = two_discs(20, 39)
    expected, _ = split_cells(discs, None, SplitPixels())
    for view in (np.asfortranarray(discs), np.repeat(discs, 2, axis=1)[:, ::2], discs[::-1, ::-1][::-1, ::-1]):
        np.testing.assert_array_equal(split_cells(view, None, SplitPixels())[0], expected)


@pytest.mark.parametrize(
    "foreground",
    [np.zeros((3, 3, 3), np.bool_), np.zeros(3, np.bool_), np.zeros((3, 3)), np.zeros((3, 3), np.int32), [[1, 0]]],
)
def test_other_foregrounds_are_refused(foreground: np.ndarray) -> None:
    with pytest.raises(ValueError, match="foreground must be"):
        split_cells(foreground, None, SplitPixels())


def test_an_edge_of_2_to_the_31_px_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2\^31"):
        split_cells(np.broadcast_to(np.uint8(0), (1, 2**31)), None, SplitPixels())


def test_a_landscape_must_be_there_and_fit() -> None:
    mask = np.ones((3, 3), np.bool_)
    with pytest.raises(ValueError, match="needs the recognizer's map"):
        split_cells(mask, None, SplitPixels("stored"))
    with pytest.raises(ValueError, match="does not match"):
        split_cells(mask, np.ones((3, 4), np.uint8), SplitPixels("stored"))
    with pytest.raises(ValueError, match="landscape must be"):
        split_cells(mask, np.ones((3, 3), np.float32), SplitPixels("stored"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"landscape": "hills"},
        {"smoothing_px": -1.0},
        {"smoothing_px": 65.0},
        {"persistence": float("nan")},
        {"min_confidence": 1.5},
        {"relative_persistence": 2.0},
        {"max_component_px": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"landscape|range|smoothing|max_component_px"):
        SplitPixels(**wrong)  # type: ignore[arg-type]
