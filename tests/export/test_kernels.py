from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.reference import writing as reference
from tests.store.tables import PROMPTS, blobs, masks, table_of
from wsiparse.export.text_kernels import _put_decimal, centi_texts
from wsiparse.store.kernels import measure_shapes
from wsiparse.store.measure import measure
from wsiparse.types import ObjectTable


def shapes(table: ObjectTable) -> NDArray[np.float64]:
    return measure_shapes(table.coords, table.ring_offsets, table.polygon_offsets)


@given(masks())
def test_shapes_measured_on_outlines_equal_shapes_measured_on_pixels(mask: NDArray[np.bool_]) -> None:
    table = table_of(mask, origin=(70_000, 90_001))
    np.testing.assert_allclose(shapes(table), reference.measure_shapes(table), rtol=1e-9, atol=1e-7)


def test_shapes_of_larger_objects_with_holes_equal_the_reference() -> None:
    table = blobs(128, seed=3)
    assert np.diff(table.polygon_offsets).max() > 1
    np.testing.assert_allclose(shapes(table), reference.measure_shapes(table), rtol=1e-9, atol=1e-7)


def disc(radius: float, cx: float, cy: float) -> NDArray[np.bool_]:
    size = int(2 * radius) + 5
    y, x = np.mgrid[:size, :size]
    return np.hypot(x - size / 2 - cx, y - size / 2 - cy) <= radius


def test_perimeter_and_circularity_of_discs_are_unbiased() -> None:
    rng = np.random.default_rng(5)
    ratios, circularities = [], []
    for radius in (5.0, 8.0, 13.0, 21.0):
        for _ in range(8):
            (found,) = shapes(table_of(disc(radius, *rng.uniform(-0.5, 0.5, 2))))
            ratios.append(found[0] / (2 * math.pi * radius))
            circularities.append(found[1])
    assert abs(np.mean(ratios) - 1) < 0.01
    assert np.std(ratios) < 0.02
    assert np.mean(circularities) > 0.96


def test_perimeter_of_straight_edges_has_no_mean_error_over_orientations() -> None:
    lengths = []
    for angle in np.linspace(0, math.pi, 36, endpoint=False):
        y, x = np.mgrid[-45:46, -45:46]
        u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        (found,) = shapes(table_of((np.abs(u + 0.013) <= 30) & (np.abs(v + 0.017) <= 30)))
        lengths.append(found[0] / 240)
    assert abs(np.mean(lengths) - 1) < 0.015
    assert max(abs(np.array(lengths) - 1)) < 0.065


def test_a_bar_is_solid_and_elongated_and_a_ring_is_filled_for_solidity() -> None:
    bar = np.ones((3, 60), bool)
    ring = disc(12, 0, 0)
    ring[12:17, 12:17] = False
    (bar_shape,), (ring_shape,) = shapes(table_of(bar)), shapes(table_of(ring))
    assert bar_shape[2] == 1.0
    assert bar_shape[3] > 0.99
    assert ring_shape[2] > 0.9
    assert ring_shape[3] == pytest.approx(0, abs=0.05)


def test_measurements_are_in_microns_and_name_every_cell_class() -> None:
    table = blobs()
    found = measure(table, PROMPTS, 0.25)
    columns = dict(zip(found.names, found.values.T, strict=True))
    np.testing.assert_array_equal(columns["Area um^2"], table.area_px * 0.25)
    np.testing.assert_allclose(columns["Perimeter um"], shapes(table)[:, 0] * 0.5)
    assert found.names[-2:] == ('Share Nucleus "A"\\B', "Share Inflammatory")
    np.testing.assert_allclose(columns["Share Inflammatory"], table.class_share[:, 1])


def test_mean_od_is_a_measurement_and_recognition_is_one_where_any_object_has_a_score() -> None:
    table = blobs()
    scores = np.where(np.arange(len(table)) % 3 == 0, 0.25, np.nan).astype(np.float32)
    bare, judged = measure(table, PROMPTS, 0.25), measure(replace(table, recognition=scores), PROMPTS, 0.25)
    assert "Recognition score" not in bare.names
    np.testing.assert_array_equal(bare.values[:, bare.names.index("Mean OD")], table.mean_od)
    assert judged.names[5:8] == ("Mean OD", "Detection probability", "Recognition score")
    np.testing.assert_array_equal(judged.values[:, 7], scores)
    np.testing.assert_array_equal(np.delete(judged.values, 7, axis=1), bare.values)
    always = measure(table, PROMPTS, 0.25, judged=True)
    assert always.names == judged.names
    assert np.isnan(always.values[:, 7]).all()


@pytest.mark.parametrize("um2", [0.0, -1.0, math.nan, math.inf])
def test_measure_refuses_an_impossible_pixel_area(um2: float) -> None:
    with pytest.raises(ValueError, match="um2_per_px"):
        measure(blobs(), PROMPTS, um2)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=30))
def test_hundredths_become_the_shortest_decimal_text(centi: list[int]) -> None:
    values = np.array(centi, np.int64)
    texts, lengths = centi_texts(values, 24)
    for value, text, length in zip(centi, texts, lengths, strict=True):
        sign, (whole, rest) = "-" if value < 0 else "", divmod(abs(value), 100)
        expected = f"{sign}{whole}.{rest:02d}".rstrip("0").rstrip(".")
        assert text[:length].tobytes().decode() == expected


@given(st.floats(allow_nan=False, allow_infinity=False, width=64), st.integers(0, 6))
def test_numbers_are_rounded_to_their_decimals_without_trailing_zeros(value: float, decimals: int) -> None:
    out = np.zeros(64, np.uint8)
    text = out[: _put_decimal(out, 0, value, decimals)].tobytes().decode()
    if abs(value) < 9e18:
        assert float(text) == reference._number(value, decimals)
    assert not ("." in text and text.endswith(("0", ".")))
    assert len(text) <= 22
