"""The report says what was measured, and no more: each number is right, or absent with its reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from tests.report.slides_made import MPP, PROMPTS, Content, tumour_slide, write_slide
from tests.report.test_slide_report import page_of, square
from wsiparse.recognize.base import limits_of
from wsiparse.report.cohort import write_cohort_report
from wsiparse.report.pages.limits import TISSUE_BIAS, TISSUE_RULE, limits
from wsiparse.report.slide import redo_slide_report
from wsiparse.store.read import ObjectsReader
from wsiparse.types import EngineLimits, Prompt, PromptSet, RecognizerSpec

BOTH = PromptSet((Prompt("inflammatory cells", "Inflammatory"), Prompt("nuclei", "Other nuclei")))
BY_RULE = limits_of(RecognizerSpec("classical", BOTH, calibration=(*(0.5,) * 7, 0.9)))


def numbers_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


def points(n: int, edge_um: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(30, edge_um - 30, (n, 2))


TUMOUR = shapely.box(200.0, 200.0, 900.0, 1500.0)
LEFT_OUT = shapely.box(1200.0, 300.0, 1500.0, 700.0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 mm of tissue with a tumour and a region to be left out drawn on it, analysed with that file, by the rule."""
    shapes = {"Tumor": TUMOUR, "Stroma": shapely.box(100.0, 100.0, 1800.0, 1800.0), "Ignore*": LEFT_OUT}
    px = {name: shapely.transform(shape, lambda xy: xy / MPP) for name, shape in shapes.items()}
    roi = shapely.difference(shapely.union(px["Tumor"], px["Stroma"]), px["Ignore*"])
    content = Content(square(2.0), {0: points(400, 2000, 1), 1: points(900, 2000, 2)})
    results = tmp_path_factory.mktemp("claims")
    return write_slide(results, "drawn", content, prompts=BOTH, regions=tuple(px.items()), roi=roi, limits=BY_RULE)


def test_distances_to_a_drawn_border_are_called_so_and_are_those_of_shapely(drawn: Path) -> None:
    found = numbers_of(drawn)["immune"]["distances"]
    assert found["to"] == "tumour border"
    table = immune_points(drawn)
    # inside, the border is that with other tissue; the tumour lies free in it
    signed = shapely.distance(TUMOUR.exterior, table) * np.where(shapely.contains(TUMOUR, table), -1, 1)
    assert found["n"] == len(signed)
    assert found["mean_um"] == pytest.approx(signed.mean(), abs=0.05)
    assert found["inside"] == pytest.approx((signed < 0).mean())
    for entry in found["quantiles"]:
        assert entry["um"] == pytest.approx(np.quantile(signed, entry["share"]), abs=0.05)
    for entry in found["within"]:
        assert entry["share"] == pytest.approx((np.abs(signed) <= entry["um"]).mean(), abs=2 / len(signed))
    text = page_of(drawn / "report.html").text
    assert "Distance to the border of the tumour" in text
    [method] = [m["text"] for m in numbers_of(drawn)["methods"] if m["title"] == "Distances"]  # tells both ways
    assert not re.search(r"nearest tumour cell|within \N{MINUS SIGN}", text.replace(method, ""))


def immune_points(folder: Path) -> np.ndarray:
    """Centres of the immune cells that count, um, as points, from the results themselves."""
    table = ObjectsReader(folder / "objects.zarr").table("cell")
    um = table.centroid[table.class_id == 1] * MPP
    inside = shapely.box(100.0, 100.0, 1800.0, 1800.0).difference(LEFT_OUT)
    return shapely.points(um[shapely.intersects_xy(inside, um[:, 0], um[:, 1])])


def test_what_the_run_s_own_file_leaves_out_is_told_apart_from_what_it_does_not_reach(drawn: Path) -> None:
    area = numbers_of(drawn)["area"]
    assert area["tissue_mm2"] == pytest.approx(4.0)
    assert area["outside_roi_mm2"] == pytest.approx(4.0 - 1.7**2)
    assert area["drawn_out_mm2"] == pytest.approx(LEFT_OUT.area * 1e-6)
    assert area["analysed_mm2"] == pytest.approx(1.7**2 - LEFT_OUT.area * 1e-6)
    text = page_of(drawn / "report.html").text
    assert "0.120 in regions drawn to be left out" in text
    assert "Ignore*, dashed: left out" in text


def test_a_rule_s_classes_are_no_close_calls_and_its_probability_is_that_of_a_nucleus(drawn: Path) -> None:
    numbers = numbers_of(drawn)
    for one in numbers["uncertainty"]["ambiguous"]:
        assert one["n_ambiguous"] is one["percent"] is None
        assert "one class outright" in one["reason"]
    text = page_of(drawn / "report.html").text
    assert "mean probability of a nucleus, not of its class" in text
    assert "3.9 times too many" in text


def test_a_band_that_does_not_move_is_absent_with_its_reason(tmp_path: Path) -> None:
    folder = write_slide(tmp_path, "two", Content(square(1.0), {1: np.array([[500.0, 500.0]])}))
    for band in numbers_of(folder)["uncertainty"]["threshold"]:
        if band["n"] == 0 or band["n_raised"] is None:
            assert band["reason"]
            assert band["n_raised"] is band["n_lowered_at_least"] is band["area_raised_most_um2"] is None


def test_there_is_no_factor_without_an_interval(tmp_path: Path) -> None:
    folder = write_slide(tmp_path, "small", Content(square(1.0), {0: points(50, 1000, 3), 1: points(80, 1000, 4)}))
    assert set(numbers_of(folder)["uncertainty"]["cluster_factor"].values()) == {None}
    text = page_of(folder / "report.html").text
    assert "No class has an interval over all tissue" in text
    assert "by a factor" not in text
    large = write_slide(tmp_path, "large", tumour_slide(3.0, 2.0, 5))
    factors = numbers_of(large)["uncertainty"]["cluster_factor"]
    known = {row["class"] for row in numbers_of(large)["rows"]
             if row["compartment"] == "all tissue" and row["density_low"] is not None}  # fmt: skip
    assert {name for name, factor in factors.items() if factor is not None} == known - {"All cells"}
    assert all(1 <= factor <= 2**0.5 for factor in factors.values() if factor is not None)


def test_nothing_found_on_a_doubtful_slide_is_no_finding(tmp_path: Path) -> None:
    notice = "the pixel size contradicts the objective"
    doubtful, sound = (
        write_slide(tmp_path, name, Content(square(1.0), {1: points(50, 1000, 6)}), prompts=BOTH, slide_facts=facts)
        for name, facts in (("doubtful", {"mpp_notices": [notice]}), ("sound", {}))
    )
    text = page_of(doubtful / "report.html").text
    assert "no finding: see the warnings above" in text
    assert "Pixel size: the pixel size contradicts the objective." in text
    other = page_of(sound / "report.html").text
    assert "looked for and not found" in other
    assert "no finding" not in other
    assert "a result" not in text + other
    write_cohort_report(tmp_path)
    cohort = page_of(tmp_path / "report.html").text
    assert "doubtful: Pixel size: the pixel size contradicts the objective." in cohort
    assert "sound: Pixel" not in cohort


def test_squares_that_are_not_hot_stand_under_a_title_of_their_own(drawn: Path) -> None:
    text = page_of(drawn / "report.html").text
    found = numbers_of(drawn)["immune"]["hot_spots"]
    assert found["n_hot"] == 0
    assert "not hot" not in text
    assert "Dense squares that are no hot-spots" in text


def test_distances_say_what_was_not_asked_for(tmp_path: Path) -> None:
    folder = write_slide(tmp_path, "plain", Content(square(1.0), {0: points(50, 1000, 7)}), prompts=BOTH)
    found = numbers_of(folder)["immune"]["distances"]
    assert found["reason"] == "no tumour cells were asked for, and no tumour was drawn"
    asked = write_slide(tmp_path, "asked", Content(square(1.0), {1: points(50, 1000, 7)}), prompts=PROMPTS)
    assert numbers_of(asked)["immune"]["distances"]["reason"] == "no tumour cells were found"


def test_the_day_of_the_analysis_stays_when_the_report_is_redone(drawn: Path) -> None:
    before = numbers_of(drawn)["dates"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", before["analysed"])
    assert redo_slide_report(drawn, None, None)["dates"]["analysed"] == before["analysed"]
    assert f"analysed on {before['analysed']}" in page_of(drawn / "report.html").text


def test_the_page_leads_to_its_tables_its_picture_and_all_slides(drawn: Path) -> None:
    addresses = page_of(drawn / "report.html").addresses
    for name in ("../../report.html", "../../summary.csv", "counts.csv", "overlay.jpg", "density.png"):
        assert name in addresses


AREA = {"unreadable_tiles": 0, "unreadable_mm2": 0.0, "analysed_mm2": 2.0, "whole_slide": False, "whole_cells": False}
AREA["drawn_tissue"] = None


def test_limits_tell_unread_tiles_empty_slides_and_the_tissue_s_edge() -> None:
    plain = limits(AREA, {}, EngineLimits())
    assert plain == {"warnings": [], "sentences": [TISSUE_RULE]}
    assert limits(AREA | {"whole_cells": True}, {}, EngineLimits())["sentences"] == [TISSUE_BIAS]
    assert "drawn in t.geojson" in limits(AREA | {"drawn_tissue": "t.geojson"}, {}, EngineLimits())["sentences"][0]
    assert limits(AREA | {"whole_slide": True}, {}, EngineLimits())["sentences"] == []
    [lost] = limits(AREA | {"unreadable_tiles": 2, "unreadable_mm2": 0.31}, {}, EngineLimits())["warnings"]
    assert "2 tiles of the slide could not be read: 0.310 mm²" in lost
    assert limits(AREA | {"analysed_mm2": 0.0}, {}, EngineLimits())["warnings"] == ["No tissue was analysed."]


def test_an_engine_says_what_it_cannot_do_and_what_is_wrong_with_the_stain() -> None:
    assert BY_RULE.classes_by_rule
    assert BY_RULE.stain_strength == 0.9
    assert BY_RULE.warnings == ()
    assert len(BY_RULE.sentences) == 2
    [weak] = limits_of(RecognizerSpec("classical", BOTH, calibration=(*(0.5,) * 7, 0.2))).warnings
    assert "weakly" in weak
    [unknown] = limits_of(RecognizerSpec("classical", BOTH)).warnings
    assert "too little tissue" in unknown
    nuclei = limits_of(RecognizerSpec("classical", PromptSet((Prompt("nuclei", "Nuclei"),))))
    assert (nuclei.warnings, len(nuclei.sentences)) == ((), 1)
    assert limits_of(RecognizerSpec("biomedparse", BOTH)) == EngineLimits()
