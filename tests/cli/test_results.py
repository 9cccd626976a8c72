"""RESULTS is one thing for every command: the folder of a run, or one slide's folder in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from wsiparse.cli.main import main
from wsiparse.errors import OutputError
from wsiparse.results.find import Results, find_results
from wsiparse.results.folder import REPORT_FILES
from wsiparse.slides.synthetic import paint_he, write_svs

COMMANDS = {
    "export": ("-f", "csv"),
    "verify": (),
    "report": (),
    "status": (),
    "merge": (),
    "view": ("--export", "page"),
    "ask": ("which", "slides"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("results")
    for name, seed in (("a", 5), ("b", 6)):
        write_svs(place / f"{name}.svs", paint_he(320, 256, seed=seed).image)
    with pytest.raises(SystemExit) as stop:
        main(["run", str(place / "a.svs"), str(place / "b.svs"), "-o", str(place / "r"), "--engine", "classical"])
    assert not stop.value.code
    return place / "r"


@pytest.fixture
def two(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made, tmp_path / "r"))


def slide_of(results: Path, stem: str) -> Path:
    [folder] = (results / "slides").glob(f"{stem}__*")
    return folder


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"view"}))
def test_a_folder_of_results_is_all_its_slides(command: str, two: Path, wsiparse: Callable) -> None:
    said = wsiparse(command, two, *COMMANDS[command])
    assert said.code == 0, said.err
    if command == "export":
        assert len(list(two.glob("slides/*/exports/objects.csv"))) == 2
    assert "2" in said.out or command == "export"


def test_view_shows_the_only_slide_of_a_folder_of_results_and_asks_where_there_are_two(
    two: Path, wsiparse: Callable
) -> None:
    said = wsiparse("view", two, *COMMANDS["view"])
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "2 slides; name one" in said.err
    shutil.rmtree(slide_of(two, "b"))
    said = wsiparse("view", two, *COMMANDS["view"])
    assert said.code == 0
    assert said.out.startswith("a: ")


@pytest.mark.parametrize("place", ["in its results", "taken out", "renamed", "as ."])
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_one_slides_folder_is_that_slide(
    command: str, place: str, two: Path, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = slide_of(two, "b")
    if place == "as .":
        monkeypatch.chdir(folder)
        folder = Path()
    elif place != "in its results":
        folder = Path(shutil.copytree(folder, two.parent / (folder.name if place == "taken out" else "mine")))
    out = ["--export", str(two.parent / "page")] if command == "view" else COMMANDS[command]
    said = wsiparse(command, folder, *out)
    if command == "merge" and place in ("taken out", "renamed"):
        assert (said.code, said.err.count("\n")) == (1, 1)
        assert "the folder of no run" in said.err
        return
    assert said.code == 0, said.err
    expected = {
        "export": f"{folder.absolute().name}: csv: ",
        "verify": "1 of 1 slides are as written",
        "report": " objects on ",
        "status": "1 slides: 1 done",
        "merge": "now 1 done",
        "view": "b: ",
        "ask": "1 slide(s)",
    }
    assert expected[command] in said.out


def test_the_report_of_one_slide_leaves_the_others_and_makes_the_tables_anew(two: Path, wsiparse: Callable) -> None:
    a, b = slide_of(two, "a"), slide_of(two, "b")
    tables = (two / "summary.csv").read_bytes()
    for path in (*(a / name for name in REPORT_FILES), two / "summary.csv", b / "counts.csv"):
        path.write_bytes(b"")
    said = wsiparse("report", b)
    assert said.code == 0
    assert (b / "counts.csv").stat().st_size
    assert (a / "counts.csv").stat().st_size == 0
    assert len((two / "summary.csv").read_bytes().splitlines()) < len(tables.splitlines())  # a has no report now
    assert wsiparse("report", two).code == 0
    assert (two / "summary.csv").read_bytes() == tables


def test_region_files_of_other_slides_are_not_told_of_where_one_is_asked_for(two: Path, wsiparse: Callable) -> None:
    square = {"type": "Polygon", "coordinates": [[[0, 0], [300, 0], [300, 200], [0, 200], [0, 0]]]}
    feature = {"type": "Feature", "geometry": square, "properties": {"classification": {"name": "Core"}}}
    drawn = two.parent / "drawn"
    drawn.mkdir()
    for stem in "ab":
        (drawn / f"{stem}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    said = wsiparse("report", slide_of(two, "b"), "--roi", drawn)
    assert said.code == 0
    assert "Core" in said.out
    assert "no slide" not in said.err
    assert json.loads((slide_of(two, "b") / "report.json").read_text())["settings"]["roi"] == "b.geojson"
    (drawn / "b.geojson").unlink()
    assert "1 slide has no file of regions" in wsiparse("report", slide_of(two, "b"), "--roi", drawn).err


def test_the_table_of_patients_is_about_a_whole_folder_of_results(two: Path, wsiparse: Callable) -> None:
    lone = Path(shutil.copytree(slide_of(two, "b"), two.parent / "mine"))
    said = wsiparse("report", lone, "--cohort-only")
    assert said.code == 2
    assert "lies in none" in said.err


@pytest.mark.parametrize("what", ["absent", "empty", "file"])
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_neither_is_one_clear_line(command: str, what: str, two: Path, wsiparse: Callable) -> None:
    given = two.parent / what
    if what == "empty":
        given.mkdir()
    elif what == "file":
        given.write_bytes(b"")
    said = wsiparse(command, given, *COMMANDS[command])
    why = {"absent": "no such folder", "empty": "no run and no slide is in it", "file": "it is a file"}[what]
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        f"error: {given}: no results folder ({why}). Give the folder of `wsiparse run -o`, or one slide's folder in "
        "it.\n"
    )


def test_a_run_whose_slides_have_no_folder_yet_is_a_results_folder(tmp_path: Path) -> None:
    (tmp_path / "run-1.json").write_text("{}")
    assert find_results(tmp_path) == Results(tmp_path, (), one=False)


def test_folders_of_people_in_slides_are_no_results(two: Path) -> None:
    """-o . puts results among the slides, and slides/ may be the user's own folder."""
    (two / "slides" / "patient 1").mkdir()
    (two / "slides" / "c.svs").write_bytes(b"")
    assert [f.name[:3] for f in find_results(two).slides] == ["a__", "b__"]
    with pytest.raises(OutputError, match="no results folder"):
        find_results(two / "slides" / "patient 1")
