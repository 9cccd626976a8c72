from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from tests.viewer.made import PROMPTS, Truth, make, truth
from wsiparse.viewer.source import find_shown
from wsiparse.viewer.view import View


def test_the_page_is_told_the_numbers_of_the_run(view: View) -> None:
    facts, summary = view.facts([]), view.shown.summary
    assert json.loads(json.dumps(facts)) == facts
    for told, count, prompt in zip(facts["classes"], summary.counts, PROMPTS, strict=True):
        assert (told["n"], told["density"], told["verdict"]) == (count.n, summary.density(count.n), count.verdict)
        assert (told["name"], told["colour"], told["kind"]) == (prompt.class_name, prompt.colour, prompt.kind)
    assert facts["classes"][4]["verdict"] == "not found"
    assert facts["n_cells"] == summary.n_cells
    assert facts["engine"] == "exact test engine"


def test_occupied_tiles_travel_as_bits(view: View) -> None:
    columns, rows = view.facts([])["tiles"]
    for told in view.facts([])["classes"]:
        if told["occupied"] is not None:
            bits = np.unpackbits(np.frombuffer(base64.b64decode(told["occupied"]), np.uint8))[: rows * columns]
            np.testing.assert_array_equal(bits.reshape(rows, columns), view.occupied[told["id"]])


def test_hot_spots_are_the_squares_of_the_report(view: View, found: Truth) -> None:
    """Of 200 um from the tissue's corner, which is the slide's here; counted anew from the centroids."""
    told = view.facts([])["hotspots"]
    squares = told["squares"]
    assert (told["edge_um"], told["rate"]) == (200.0, 0.05)
    assert sorted(squares) == ["1", "2", "256", "3", "4"]
    report = json.loads((view.shown.folder / "report.json").read_text(encoding="utf-8"))
    [own] = [one for one in report["dense_squares"] if one["position"] == 0]
    assert [[s["x"], s["y"], s["width"], s["height"]] for s in squares["1"]] == [s["box"] for s in own["spots"]]
    table = view.shown.reader.table("cell")
    centres = table.centroid[table.class_id == 1] * found.frames["cell"].downsample
    densities = [s["density"] for s in squares["1"]]
    assert densities == sorted(densities, reverse=True)
    for spot in squares["1"]:
        inside = (centres >= (spot["x"], spot["y"])) & (centres < (spot["x"] + 400, spot["y"] + 400))
        assert spot["n"] == inside.all(axis=1).sum()
        # 750 um x 550 um: squares at the far sides are cut
        mm2 = spot["width"] * spot["height"] * 0.25e-6
        assert spot["density"] == pytest.approx(spot["n"] / mm2)


def test_the_immune_class_leads_to_the_squares_that_the_report_pictures(view: View) -> None:
    report = json.loads((view.shown.folder / "report.json").read_text(encoding="utf-8"))
    pictured = report["immune"]["hot_spots"]
    assert pictured["class"] == "Inflammatory"
    squares = view.facts([])["hotspots"]["squares"]["2"]
    assert [[s["x"], s["y"], s["width"], s["height"]] for s in squares] == [s["box"] for s in pictured["spots"]]


def test_without_a_report_there_are_no_hot_spots_and_that_is_told(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200), report=False)
    facts = View(find_shown(folder)).facts([])
    assert facts["hotspots"]["squares"] == {}
    assert any("wsiparse report" in note for note in facts["notes"])


def test_drawn_regions_are_told_with_what_is_left_out(tmp_path: Path) -> None:
    regions = [("Tumor", shapely.box(10, 20, 110, 120)), ("Ignore*", shapely.box(200, 50, 260, 90))]
    folder = make(tmp_path, truth((300, 200)), size=(300, 200), regions=regions)
    told = view_facts(folder)["regions"]
    assert [(r["name"], r["left_out"]) for r in told] == [("Tumor", False), ("Ignore*", True)]
    corners = [tuple(map(int, p.split())) for p in told[0]["path"].strip("MZ").split("L")]
    assert sorted(corners) == [(10, 20), (10, 120), (110, 20), (110, 120)]


def view_facts(folder: Path) -> dict[str, Any]:
    return View(find_shown(folder)).facts([])


def test_notes_tell_of_a_missing_slide_and_unreadable_tiles(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200), unreadable=2)
    notes = View(find_shown(folder)).facts(["and this"])["notes"]
    assert [note[:14] for note in notes] == ["The slide file", "2 tiles of the", "and this"]


def test_without_a_slide_there_are_no_tiles_of_it(view: View) -> None:
    assert view.facts([])["picture"] is None
    with pytest.raises(ValueError, match="no slide"):
        view.slide_tile(0, 0, 0)


def test_no_path_of_this_machine_reaches_the_page(view: View, made: Path) -> None:
    assert str(made.parent) not in json.dumps(view.facts([]))


def test_a_class_that_was_not_found_has_no_hot_spots(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200), sparse=True), size=(300, 200))
    facts = View(find_shown(folder)).facts([])
    assert list(facts["hotspots"]["squares"]) == ["1", "256"]
    assert len(facts["hotspots"]["squares"]["1"]) == 1
