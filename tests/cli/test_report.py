from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.report.slides_made import Content, tumour_slide, write_slide
from tests.report.test_slide_report import square


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for k, name in enumerate(("a", "b")):
        points = np.random.default_rng(k).uniform(20, 980, (50, 2))
        write_slide(tmp_path / "r", name, Content(square(), {1: points}))
    return tmp_path / "r"


def region(name: str, edge: float) -> str:
    ring = [[0, 0], [edge, 0], [edge, edge], [0, edge], [0, 0]]
    return json.dumps(
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": name}},
        }
    )


def test_a_folder_of_regions_divides_each_slide_by_its_own(results: Path, wsiparse: Callable, tmp_path: Path) -> None:
    (tmp_path / "roi").mkdir()
    (tmp_path / "roi" / "a.geojson").write_text(region("Tumor", 1000), encoding="utf-8")
    said = wsiparse("report", results, "--roi", tmp_path / "roi")
    assert said.code == 0
    lines = {line.partition(":")[0]: line for line in said.out.splitlines()}
    assert "compartments: Tumor, other tissue" in lines["a"]
    assert "no regions were given for this slide" in lines["b"]


def test_one_file_of_regions_for_several_slides_is_refused(results: Path, wsiparse: Callable, tmp_path: Path) -> None:
    (tmp_path / "x.geojson").write_text(region("Tumor", 1000), encoding="utf-8")
    said = wsiparse("report", results, "--roi", tmp_path / "x.geojson")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "one file of regions, but several slides" in said.err
    assert "no such folder" in wsiparse("report", results, "--roi", tmp_path / "absent").err


def test_a_slide_whose_report_cannot_be_made_costs_only_itself(results: Path, wsiparse: Callable) -> None:
    first, second = sorted((results / "slides").iterdir())
    (second / "report_inputs" / "report_inputs.json").write_text("{", encoding="utf-8")
    said = wsiparse("report", results)
    assert said.code == 3
    assert "objects on" in said.out
    assert "report_inputs: damaged" in said.err
    assert (first / "report.json").exists()


def test_metadata_options_need_metadata(results: Path, wsiparse: Callable) -> None:
    assert wsiparse("report", results, "--group", "arm").code == 2


def test_rows_without_a_slide_are_told(results: Path, wsiparse: Callable, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("slide,group\na,x\nb,y\nc,y\n", encoding="utf-8")
    said = wsiparse("report", results, "--metadata", tmp_path / "m.csv", "--cohort-only")
    assert said.code == 0
    assert "no slide 'c' in these results" in said.err
    assert "2 slide(s), 0 without results" in said.out


def test_nothing_finished_is_one_line(wsiparse: Callable, tmp_path: Path) -> None:
    said = wsiparse("report", tmp_path / "absent")
    assert (said.code, said.err.count("\n")) == (1, 1)


def test_slides_none_of_which_is_finished_are_told(results: Path, wsiparse: Callable) -> None:
    for folder in (results / "slides").iterdir():
        (folder / "DONE.json").unlink()
    said = wsiparse("report", results)
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert "no slide is finished yet" in said.err


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium (Debian package chromium)")
def test_pages_are_printed(wsiparse: Callable, tmp_path: Path) -> None:
    write_slide(tmp_path / "r", "one", tumour_slide(2.4, 2.4, 5))
    said = wsiparse("report", tmp_path / "r", "--pdf")
    assert said.code == 0, said.err
    printed = list((tmp_path / "r").rglob("report.pdf"))
    assert len(printed) == 2
    assert all(path.read_bytes().startswith(b"%PDF") for path in printed)


def test_without_a_browser_the_remedy_is_told(
    results: Path, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    said = wsiparse("report", results, "--pdf")
    assert said.code == 1
    assert "apt-get install chromium" in said.err


def test_a_slide_whose_report_is_damaged_is_missing_in_the_tables_and_told_by_everyone(
    results: Path, wsiparse: Callable
) -> None:
    first, second = sorted((results / "slides").iterdir())
    text = (second / "report.json").read_text(encoding="utf-8")
    (second / "report.json").write_text(text.replace('"n": 50', '"n": 51', 1), encoding="utf-8")
    told = (
        "notice: not in the tables, for their results or their report are damaged or of another version: b. `wsiparse "
        "verify` says what to do.\n"
    )
    said = wsiparse("report", results, "--cohort-only")
    assert (said.code, said.err) == (3, told)
    said = wsiparse("merge", results)
    assert (said.code, said.err) == (3, told)
    assert {line.partition(",")[0] for line in (results / "summary.csv").read_text().splitlines()} == {"slide", "a"}
    assert "1 slide is not done or without a report" in (results / "report.html").read_text(encoding="utf-8")
    (first / "report.json").unlink()
    assert wsiparse("report", results, "--cohort-only").code == 3
    assert len((results / "summary.csv").read_text().splitlines()) == 1
    assert wsiparse("report", results).code == 0
    said = wsiparse("report", results, "--cohort-only")
    assert (said.code, said.err) == (0, "")
    record = (first / "DONE.json").read_text(encoding="utf-8")
    (first / "DONE.json").write_text(record.replace('"n": 50', '"n": 49', 1), encoding="utf-8")
    for options in ((), ("--cohort-only",)):
        said = wsiparse("report", results, *options)
        assert (said.code, said.err) == (3, told.replace(": b.", f": {first.name}."))


def test_a_workbook_and_a_scored_column_are_made_when_asked_for(
    results: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    pytest.importorskip("xlsxwriter", reason="needs the extra xlsx")
    table = tmp_path / "t.csv"
    table.write_text("slide,pathologist\na,10\nb,20\n", encoding="utf-8")
    assert wsiparse("report", results, "--cohort-only").code == 0
    assert not (results / "summary.xlsx").exists()
    said = wsiparse("report", results, "--cohort-only", "--xlsx", "--metadata", table, "--score", "Pathologist")
    assert said.code == 0
    assert str(results / "summary.xlsx") in said.out
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "Measured against <bdi>pathologist</bdi>" in page
    assert "summary.xlsx" in json.loads((results / "tables.json").read_text(encoding="utf-8"))["files"]
    first = (results / "summary.xlsx").read_bytes()
    # once there it is made anew with the others, and the score is remembered
    assert wsiparse("report", results, "--cohort-only").code == 0
    assert (results / "summary.xlsx").read_bytes() == first
    assert wsiparse("verify", results).code == 0
    assert wsiparse("report", results, "--score", "x").code == 2
    wrong = wsiparse("report", results, "--metadata", table, "--score", "x")
    assert (wrong.code, wrong.err.count("\n")) == (1, 1)
    assert "no column 'x'" in wrong.err
