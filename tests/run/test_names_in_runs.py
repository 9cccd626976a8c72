"""Slides of one name through run, report, merge and status: tables tell them apart and keep what they know."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.slides_made import write_slide
from tests.report.test_slide_report import square
from wsiparse.errors import ConfigError
from wsiparse.report.cohort import read_metadata, write_cohort_report
from wsiparse.report.metadata import METADATA, keep_metadata, kept_metadata
from wsiparse.results.folder import slide_folder
from wsiparse.results.runlog import check_folders


def summary(results: Path) -> list[dict[str, str]]:
    with (results / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients with a slide HE.png each, run with the documented slides.csv."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("names")
    lines = ["slide,patient,group"]
    for k in (1, 2, 3):
        (root / f"p{k}").mkdir()
        pixels = np.random.default_rng(k).integers(120, 240, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"p{k}" / "HE.png", dpi=(50800, 50800))
        lines.append(f"p{k}/HE.png,P{k},{'AB'[k % 2]}")
    (root / "slides.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


RUN = ("--engine", "classical", "--whole-slide", "--no-labels")


@pytest.fixture
def ran(made: Path, wsiparse: Callable[..., Any]) -> Any:
    return wsiparse("run", made / "slides.csv", "-o", made / "r", *RUN)


def test_a_run_says_which_slide_each_line_is_about(ran: Any) -> None:
    assert ran.code == 0, ran.err
    assert [line.split(" ")[1] for line in ran.out.splitlines()[:-1]] == ["p1/HE.png:", "p2/HE.png:", "p3/HE.png:"]


def test_the_documented_table_gives_each_slide_its_own_patient(ran: Any, made: Path, wsiparse: Callable) -> None:
    said = wsiparse("report", made / "r", "--metadata", made / "slides.csv", "--cohort-only")
    assert (said.code, said.err) == (0, "")
    rows = summary(made / "r")
    assert {(r["slide"], r["path"], r["patient"], r["group"]) for r in rows} == {
        (f"p{k}/HE", str(made / f"p{k}" / "HE.png"), f"P{k}", "AB"[k % 2]) for k in (1, 2, 3)
    }
    assert {r["slide_id"] for r in rows} == {slide_folder(made, made / f"p{k}" / "HE.png").name for k in (1, 2, 3)}
    with (made / "r" / "slides" / rows[0]["slide_id"] / "counts.csv").open(newline="") as file:
        assert {row["slide_id"] for row in csv.DictReader(file)} == {rows[0]["slide_id"]}
    page = (made / "r" / "report.html").read_text(encoding="utf-8")
    assert all(f"p{k}/HE" in page for k in (1, 2, 3))


def test_running_and_merging_again_keep_the_table_and_say_so(ran: Any, made: Path, wsiparse: Callable) -> None:
    wsiparse("report", made / "r", "--metadata", made / "slides.csv", "--cohort-only")
    before = (made / "r" / "summary.csv").read_bytes()
    again = wsiparse("run", made / "slides.csv", "-o", made / "r", *RUN)
    assert again.code == 0
    assert "summary.csv has the columns of slides.csv again" in again.err
    assert (made / "r" / "summary.csv").read_bytes() == before
    merged = wsiparse("merge", made / "r")
    assert (made / "r" / "summary.csv").read_bytes() == before
    assert "summary.csv has the columns of slides.csv again" in merged.err
    with (made / "r" / "status.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["slide_id"], row["path"], row["name"]) for row in rows] == [
        (row["folder"], row["slide"], f"p{k}/HE") for k, row in enumerate(rows, 1)
    ]
    (made / "m.csv").write_text(f"slide,site\np1/HE.png,x\n{rows[1]['slide_id']},y\n", encoding="utf-8")
    other = wsiparse("report", made / "r", "--metadata", made / "m.csv", "--cohort-only")
    assert other.code == 0
    assert "no row for slide p3/HE" in other.err
    found = summary(made / "r")
    assert "patient" not in found[0]
    assert {(r["slide"], r["site"]) for r in found} == {("p1/HE", "x"), ("p2/HE", "y"), ("p3/HE", "")}


def test_a_table_that_cannot_be_joined_changes_nothing(ran: Any, made: Path, wsiparse: Callable) -> None:
    wsiparse("report", made / "r", "--metadata", made / "slides.csv", "--cohort-only")
    before = {path: path.read_bytes() for path in (made / "r").rglob("*") if path.is_file()}
    (made / "bad.csv").write_text("slide,patient\nHE.png,1\n", encoding="utf-8")
    said = wsiparse("report", made / "r", "--metadata", made / "bad.csv")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "line 2: 'HE.png' fits several slides: " in said.err
    assert {path: path.read_bytes() for path in (made / "r").rglob("*") if path.is_file()} == before


def test_status_tells_slides_apart(ran: Any, made: Path, wsiparse: Callable) -> None:
    assert [line.split()[1] for line in wsiparse("status", made / "r", "--all").out.splitlines()[:3]] == [
        "p1/HE:", "p2/HE:", "p3/HE:",
    ]  # fmt: skip
    told = json.loads(wsiparse("status", made / "r", "--json").out)
    assert [(s["name"], s["slide"]) for s in told] == [(f"p{k}/HE", str(made / f"p{k}" / "HE.png")) for k in (1, 2, 3)]


def test_a_kept_table_is_read_back_whole_and_damage_is_told(tmp_path: Path) -> None:
    write_slide(tmp_path, "HE.b", square_content())
    (tmp_path / "m.csv").write_text("slide,patient\nHE.b,007\n", encoding="utf-8")
    table = read_metadata(tmp_path / "m.csv")
    assert write_cohort_report(tmp_path, table) is not None
    assert kept_metadata(tmp_path) == table
    (tmp_path / METADATA).write_text("{", encoding="utf-8")
    cohort = write_cohort_report(tmp_path)
    assert cohort is not None
    assert "metadata.json: damaged" in cohort["notices"][0]
    assert cohort["metadata"] is None


def test_a_kept_row_that_fits_another_slide_too_by_now_is_told_and_given_to_none(tmp_path: Path) -> None:
    write_slide(tmp_path, "a", square_content())
    (tmp_path / "m.csv").write_text("slide,patient\na,1\n", encoding="utf-8")
    write_cohort_report(tmp_path, read_metadata(tmp_path / "m.csv"))
    write_slide(tmp_path, "A", square_content())
    cohort = write_cohort_report(tmp_path)
    assert cohort is not None
    assert [s["metadata"] for s in cohort["slides"]] == [{}, {"patient": "1"}], "its own spelling goes before"
    (tmp_path / "m.csv").write_text("slide,patient\na.svs,1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="fits several slides"):
        write_cohort_report(tmp_path, read_metadata(tmp_path / "m.csv"))
    keep_metadata(tmp_path, read_metadata(tmp_path / "m.csv"))
    cohort = write_cohort_report(tmp_path)
    assert cohort is not None
    assert [s["metadata"] for s in cohort["slides"]] == [{}, {}]
    assert "fits several slides" in cohort["metadata"]["notices"][0]


def square_content() -> Any:
    from tests.report.slides_made import Content

    return Content(square())


def test_slides_whose_folders_hash_alike_do_not_replace_each_other(tmp_path: Path) -> None:
    first, second = Path("/slides/p118833/HE.tif"), Path("/slides/p127729/HE.tif")
    assert slide_folder(tmp_path, first) == slide_folder(tmp_path, second), "32 bits of a hash are alike"
    told = check_folders(tmp_path, [first, second])
    assert list(told) == [second]
    assert str(first) in told[second]
    record = {"state": "finished", "host": "h", "pid": 1, "slides": []}
    record["slides"] = [{"path": str(p), "folder": slide_folder(tmp_path, p).name, "status": "done"} for p in [second]]
    (tmp_path / "run-1.json").write_text(json.dumps(record), encoding="utf-8")
    assert list(check_folders(tmp_path, [first, second])) == [first], "whoever was first keeps it"


@pytest.mark.parametrize("letter", ["x", "é", "片", "\U00020000"])
def test_a_folder_fits_any_file_system_however_long_the_name(letter: str, tmp_path: Path) -> None:
    longest = letter * (250 // len(letter.encode()))
    folder = slide_folder(tmp_path, tmp_path / f"{longest}.svs")
    folder.mkdir(parents=True)
    assert len(folder.name.encode()) <= 250
