"""docs/accuracy.md: its floors are those of the tests, its figures what is measured, its pictures what is drawn."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.docs.pages import tables
from tests.objects.test_object_scripts import FLOORS as SPLIT_FLOORS
from tests.recognize.test_evaluate_embedded import FLOORS, evaluate, figure
from wsiparse.recognize.embedded.engine import MODEL

PAGE = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
FAILURES = ROOT / "docs" / "pictures" / "failures.jpg"


def table(*heads: str) -> list[dict[str, str]]:
    """The one table of the page with these columns."""
    (found,) = (rows for rows in tables(PAGE) if set(heads) <= rows[0].keys())
    return found


#: Name on the page -> folder.
FOLDERS = {row["set"]: row["folder"] for row in table("set", "folder", "licence") if row["folder"] != "-"}

#: Folder in the shared data -> name on the page.
NAMES = {
    **{f"data/annotated/{folder}": name for name, folder in FOLDERS.items()},
    **{"training/consep": "CoNSeP", "training/brca_m2c": "BRCA-M2C", "training/nuinsseg": "NuInsSeg"},
    "training/tnbc": "TNBC",
}
CLASSES = ("inflammatory", "epithelial", "connective")


def numbers(cell: str) -> tuple[float | None, ...]:
    """The figures of a cell like `.7 / - / .5`."""
    return tuple(None if part == "-" else float(part) for part in cell.split(" / "))


def leading(cell: str) -> float | None:
    """The figure a cell begins with."""
    return None if cell.startswith("-") else float(cell.split(maxsplit=1)[0].rstrip(","))


def measured_and_floors() -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Name on the page -> its figures and their floors."""
    made: dict[str, tuple[dict[str, float], dict[str, float]]] = {}
    for row in table("nuclei of", "centroid F1"):
        values = {"F1": leading(row["centroid F1"]), "PQ": leading(row["PQ"])}
        floors = dict(zip(values, numbers(row["F1 / PQ at least"]), strict=True))
        known = {word: value for word, value in values.items() if value is not None}
        made[row["nuclei of"]] = (known, {word: f for word, f in floors.items() if f is not None})
    for row in table("classes of", "F1 at least"):
        known, least = made[row["classes of"]]
        known |= {f"{word} F1": value for word in CLASSES if (value := leading(row[word])) is not None}
        floors = zip(CLASSES, numbers(row["F1 at least"]), strict=True)
        least |= {f"{word} F1": floor for word, floor in floors if floor is not None}
    return made


ON_PAGE = measured_and_floors()


def test_the_floors_of_the_network_are_those_that_its_test_holds() -> None:
    assert {NAMES[folder]: floors for folder, floors in FLOORS.items()} == {n: f for n, (_, f) in ON_PAGE.items()}


def test_the_data_that_shaped_the_weights_are_those_of_the_folder_that_ships() -> None:
    listed = json.loads((MODEL / "data.json").read_text(encoding="utf-8"))
    rows = table("set", "learned from", "notice")
    facts = {(one["tiles"], len(one["held_out"]), one["nuclei"], one["licence"]) for one in listed}
    shown = {
        (
            int(row["learned from"].split()[0]),
            0 if row["held out"] == "none" else int(re.findall(r"\d+", row["held out"])[0]),
            int(row["nuclei learned"].split()[0].replace(",", "")),
            row["licence"],
        )
        for row in rows
    }
    assert shown == facts
    assert len(rows) == len(listed)
    for one in listed:
        authors = one["notice"].split(", ", 1)[1]
        assert any(authors in row["notice"] for row in rows), authors


def test_the_floors_of_splitting_are_those_that_its_test_holds() -> None:
    assert {FOLDERS[row["set"]]: float(row["floor"]) for row in table("set", "floor")} == SPLIT_FLOORS


def test_no_figure_is_below_its_floor() -> None:
    for name, (known, floors) in ON_PAGE.items():
        assert all(known[word] >= floor for word, floor in floors.items()), name
    assert all(float(row["measured"]) >= float(row["floor"]) for row in table("set", "floor"))


@pytest.mark.nightly
@pytest.mark.parametrize("folder", FLOORS)
def test_the_figures_of_the_network_are_what_is_measured(shared: Path, folder: str) -> None:
    """Processors round differently; a change of the engine shows."""
    (line,) = evaluate(shared / folder)
    for word, value in ON_PAGE[NAMES[folder]][0].items():
        assert figure(line, word) == pytest.approx(value, abs=0.005), line


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
        for column, chosen in (("the eight tiles", ["--images", *names]), ("all 11", [])):
            (line,) = evaluate(root, "--slide-mpp", row["µm per pixel"], *chosen)
            found = (figure(line, "F1"), figure(line, "PQ"))
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
