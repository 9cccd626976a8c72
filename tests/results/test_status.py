from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wsiparse.config import RunConfig
from wsiparse.results.runlog import RunLog, read_entries
from wsiparse.results.status import slide_statuses, tally, write_status
from wsiparse.results.verify import verify

CLASSICAL = ("--engine", "classical", "--whole-slide", "--tile-size", "128", "--overlap", "64")


@pytest.fixture
def folder(tmp_path: Path, demo_slide: Path) -> Path:
    """Three slides, one of them no slide."""
    (tmp_path / "slides").mkdir()
    for name in ("a", "b"):
        shutil.copy(demo_slide, tmp_path / "slides" / f"{name}.svs")
    (tmp_path / "slides" / "c.svs").write_text("no slide", encoding="ascii")
    return tmp_path


def states(results: Path) -> dict[str, str]:
    return {Path(s.slide).stem: s.state for s in slide_statuses(results)}


def test_done_failed_and_missing_slides_are_told_apart_with_reasons(wsiparse: Callable, folder: Path) -> None:
    results = folder / "r"
    said = wsiparse("run", folder / "slides", "-o", results, "--fail-fast", *CLASSICAL)
    assert said.code == 3
    assert states(results) == {"a": "done", "b": "done", "c": "failed"}
    told = wsiparse("status", results)
    assert told.code == 3
    assert "c.svs: " in told.out
    assert "not a slide" in told.out or "no reader" in told.out or "c.svs" in told.out
    assert told.out.splitlines()[-1] == "3 slides: 2 done, 1 failed"
    rows = json.loads(wsiparse("status", results, "--json").out)
    assert [row["state"] for row in rows] == ["done", "done", "failed"]


def test_slides_nobody_began_are_missing_and_parts_wait_for_the_merge(wsiparse: Callable, folder: Path) -> None:
    results = folder / "r"
    wsiparse("run", folder / "slides" / "a.svs", "-o", results, "--shard", "1/2", "--shard-by", "tiles", *CLASSICAL)
    [begun] = slide_statuses(results)
    assert begun.state == "stopped"
    assert begun.detail.startswith("0/1 parts") or begun.detail.startswith("1/2 parts")
    wsiparse("run", folder / "slides" / "a.svs", "-o", results, "--shard", "2/2", "--shard-by", "tiles", *CLASSICAL)
    assert states(results) == {"a": "parts done"}
    RunLog(results, [folder / "slides" / "b.svs"], RunConfig(), {}).close("stopped")
    assert states(results) == {"a": "parts done", "b": "missing"}
    said = wsiparse("merge", results)
    assert said.code == 3, "b is missing"
    assert states(results) == {"a": "done", "b": "missing"}
    with (results / "status.csv").open(encoding="utf-8", newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["done", "missing"]


def test_a_run_that_lives_is_running_and_a_dead_one_is_stopped(wsiparse: Callable, folder: Path) -> None:
    results, slide = folder / "r", folder / "slides" / "a.svs"
    wsiparse("run", slide, "-o", results, "--shard", "1/2", "--shard-by", "tiles", *CLASSICAL)
    run_log = RunLog(results, [slide], RunConfig(), {})
    [status] = slide_statuses(results)
    assert status.state == "running"
    assert "last sign of life" in status.detail
    record = json.loads(run_log.path.read_text(encoding="utf-8"))
    record["pid"] = 2**22 + 1  # no such process
    run_log.path.write_text(json.dumps(record), encoding="utf-8")
    assert states(results) == {"a": "stopped"}
    record["host"] = "elsewhere"  # cannot be asked: silence tells
    run_log.path.write_text(json.dumps(record), encoding="utf-8")
    assert states(results) == {"a": "running"}
    [work] = results.glob("slides/*/work-*")
    long_ago = time.time() - 7200
    for path in [work, *work.rglob("*")]:
        os.utime(path, (long_ago, long_ago))
    assert states(results) == {"a": "stopped"}


def test_a_foreign_or_torn_file_beside_the_runs_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "run-x.json").write_text("{", encoding="ascii")
    (tmp_path / "run-y.json").write_text("[]", encoding="ascii")
    assert read_entries(tmp_path) == []


@pytest.mark.parametrize("verb", ["status", "merge"])
def test_no_results_folder_is_one_line(verb: str, wsiparse: Callable, tmp_path: Path) -> None:
    said = wsiparse(verb, tmp_path / "none")
    assert said.code == 1
    assert "no results folder" in said.err
    assert said.err.count("\n") == 1


def test_cells_of_the_table_are_safe_for_spreadsheets(tmp_path: Path) -> None:
    run_log = RunLog(tmp_path, ["http://x/=1+1.svs"], RunConfig(), {})
    run_log.note("http://x/=1+1.svs", "failed", error="=cmd()")
    run_log.close("finished")
    write_status(tmp_path)
    assert ",'=cmd()" in (tmp_path / "status.csv").read_text(encoding="utf-8")
    assert tally(slide_statuses(tmp_path)) == {"failed": 1}


def test_parts_that_are_older_than_the_results_are_not_pending(
    wsiparse: Callable, demo_slide: Path, tmp_path: Path
) -> None:
    """Those of a slide that was damaged when it was first tried, say: its plan was another."""
    assert wsiparse("run", demo_slide, "-o", tmp_path / "r").code == 0
    [folder] = (tmp_path / "r" / "slides").iterdir()
    work = folder / "work-0123456789ab"
    work.mkdir()
    (work / "job.json").write_text(json.dumps({"digest": "0" * 64, "parts": [0]}), encoding="utf-8")
    old = (folder / "DONE.json").stat().st_mtime - 10
    os.utime(work, (old, old))
    assert [status.state for status in slide_statuses(tmp_path / "r")] == ["done"]
    new = old + 20
    os.utime(work, (new, new))
    assert [status.state for status in slide_statuses(tmp_path / "r")] != ["done"]


@pytest.mark.parametrize("change", ["version", "damage"])
def test_results_of_another_version_and_damaged_ones_are_not_called_stopped(
    change: str, wsiparse: Callable, folder: Path
) -> None:
    results = folder / "r"
    assert wsiparse("run", folder / "slides" / "a.svs", "-o", results, *CLASSICAL).code == 0
    (slide,) = (results / "slides").iterdir()
    record = json.loads((slide / "DONE.json").read_text(encoding="utf-8"))
    record |= {"format": 2, "wsiparse": "0.0.9"} if change == "version" else {"engine": "another"}
    (slide / "DONE.json").write_text(json.dumps(record), encoding="utf-8")
    (status,) = slide_statuses(results)
    assert status.state == ("other version" if change == "version" else "damaged")
    if change == "damage":
        [finding] = [one for one in next(iter(verify([slide]))).findings if one.path.name == "DONE.json"]
        for text in (status.detail, finding.text):
            assert "Run the slide again" in text
            assert "--overwrite" not in text
    if change == "version":
        assert "Run the slide again with --overwrite" in status.detail
        assert "results of another version of wsiparse (0.0.9, format 2; this is " in status.detail
    told = wsiparse("status", results)
    assert told.code == 3
    assert told.out.splitlines()[-1] == f"1 slides: 1 {status.state}"
    write_status(results)
    assert status.state in (results / "status.csv").read_text(encoding="utf-8")
    if change == "damage":
        assert wsiparse("run", folder / "slides" / "a.svs", "-o", results, *CLASSICAL).code == 0
        assert [one.state for one in slide_statuses(results)] == ["done"]
