"""docs/accuracy.md: its floors are those of the tests, its figures what is measured, its pictures what is drawn."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.docs.pages import tables
from tests.objects.test_object_scripts import FLOORS as SPLIT_FLOORS
from tests.recognize.test_evaluate_embedded import FLOORS, evaluate, evaluated, figure

PAGE = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
FAILURES = ROOT / "docs" / "pictures" / "failures.jpg"


def table(*heads: str) -> list[dict[str, str]]:
    """The one table of the page with these columns."""
    (found,) = (rows for rows in tables(PAGE) if set(heads) <= rows[0].keys())
    return found


#: Name on the page -> folder.
FOLDERS = {row["set"]: row["folder"] for row in table("set", "folder", "licence") if row["folder"] != "-"}


def numbers(cell: str) -> tuple[float | None, ...]:
    """Centroid F1 / PQ / inflammatory F1; None where a set has no such figure."""
    found = [None if part == "-" else float(part) for part in cell.split(" / ")]
    return tuple(found + [None] * (3 - len(found)))


MEASURED = {FOLDERS[row["set"]]: numbers(row["embedded, float32"]) for row in table("set", "floor, float32")}


def test_the_floors_of_the_network_are_those_that_its_test_holds() -> None:
    assert {FOLDERS[row["set"]]: numbers(row["floor, float32"]) for row in table("floor, float32")} == FLOORS


def test_the_floors_of_splitting_are_those_that_its_test_holds() -> None:
    assert {FOLDERS[row["set"]]: float(row["floor"]) for row in table("set", "floor")} == SPLIT_FLOORS


def test_no_figure_is_below_its_floor() -> None:
    for name, floors in FLOORS.items():
        for value, floor in zip(MEASURED[name], floors, strict=True):
            assert (value is None) == (floor is None), name
            assert value is None or floor is None or value >= floor, name
    assert all(float(row["measured"]) >= float(row["floor"]) for row in table("set", "floor"))


@pytest.mark.nightly
@pytest.mark.parametrize("name", FLOORS)
def test_the_figures_of_the_network_are_what_is_measured(shared: Path, name: str) -> None:
    """Processors round differently; a change of the engine shows."""
    assert evaluated(shared / "data" / "annotated", name) == pytest.approx(MEASURED[name], abs=0.005)


def test_tiles_and_licences_are_those_of_the_data(shared: Path) -> None:
    annotated = shared / "data" / "annotated"
    (listed,) = (rows for rows in tables((shared / "data" / "README.md").read_text("utf-8")) if "set" in rows[0])
    licences = {row["set"]: row["licence"].split(";")[0] for row in listed}  # behind it: where else the tiles lie
    shown = [row for row in table("set", "folder", "licence") if row["folder"] != "-"]
    assert {row["folder"]: row["licence"] for row in shown} == licences
    for row in shown:
        folder = annotated / row["folder"]
        tiles = [*folder.glob("*.label.png"), *folder.glob("*.points.json")]
        assert row["tiles"].split()[0] == str(len(tiles)), folder


@pytest.mark.nightly
def test_another_scale_changes_the_failures_as_stated(shared: Path) -> None:
    root = shared / "data" / "annotated" / FOLDERS["DSB-2018 colour"]
    names = [row["tile"] for row in table("tile", "F1")]
    for row in table("µm per pixel"):
        for column, chosen in (("the eight tiles", ["--images", *names]), ("all 66", [])):
            (line,) = evaluate(root, "--slide-mpp", row["µm per pixel"], *chosen)
            found = (figure(line, "F1"), figure(line, "PQ"), None)
            assert found == pytest.approx(numbers(row[column]), abs=0.02), line


@pytest.mark.slow
def test_the_failures_on_the_page_are_those_in_the_picture(shared: Path, tmp_path: Path) -> None:
    """On another processor a nucleus more or less may be found, and the last tile change places with the next."""
    assert FAILURES.stat().st_size < 300_000
    drawn = tmp_path / "drawn.jpg"
    script = ROOT / "scripts" / "draw_failures.py"
    tiles = shared / "data" / "annotated" / FOLDERS["DSB-2018 colour"]
    run = subprocess.run([sys.executable, script, tiles, drawn], check=True, capture_output=True, text=True)
    with Image.open(FAILURES) as one, Image.open(drawn) as other:
        assert one.size == other.size
        assert max(one.size) <= 1600
    found = {name: float(f1) for name, f1 in re.findall(r"^(\w+)  F1 (\S+)", run.stdout, re.MULTILINE)}
    shown = {row["tile"]: float(row["F1"]) for row in table("tile", "F1")}
    both = found.keys() & shown.keys()
    assert len(found) == len(shown)
    assert len(both) >= len(shown) - 1
    assert all(abs(found[name] - shown[name]) <= 0.05 for name in both)
