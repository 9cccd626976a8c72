from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

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


def test_hot_spots_are_the_squares_with_most_centroids(view: View, found: Truth) -> None:
    squares = view.facts([])["hotspots"]["squares"]
    assert sorted(squares) == ["1", "2", "256", "3", "4"]
    table = view.shown.reader.table("cell")
    spots = squares["1"]
    centres = table.centroid[table.class_id == 1] * found.frames["cell"].downsample
    counts = [s["n"] for s in spots]
    assert counts == sorted(counts, reverse=True)
    for spot in spots:
        inside = (centres >= (spot["x"], spot["y"])) & (centres < (spot["x"] + 500, spot["y"] + 500))
        assert spot["n"] == inside.all(axis=1).sum()
    # 750 um x 550 um: the last row of squares is 50 um high
    last = next(s for s in spots if s["y"] == 1000)
    assert last["height"] == pytest.approx(100)
    assert last["density"] == pytest.approx(last["n"] / (0.25 * 0.05))


def test_all_cells_are_the_sum_of_the_cell_classes(view: View) -> None:
    squares = view.facts([])["hotspots"]["squares"]
    assert sum(s["n"] for s in squares["256"]) == sum(s["n"] for k in ("1", "2") for s in squares[k])


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
    assert list(facts["hotspots"]["squares"]) == ["1"]
    assert len(facts["hotspots"]["squares"]["1"]) == 1
