"""A folder of one good and many bad slides: the good one is done, each bad one is a line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile

from tests.slides.hazards import HAZARDS, NOT_TEXT, make_hazard
from wsiparse.run import slide
from wsiparse.slides.synthetic import paint_he, write_svs


@pytest.fixture
def folder(tmp_path: Path, demo_slide: Path) -> Path:
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in HAZARDS:
        make_hazard(slides, name)
    shutil.copy(demo_slide, slides / "good.svs")
    return slides


def test_one_good_slide_among_bad_ones_is_done(wsiparse: Callable, folder: Path, tmp_path: Path) -> None:
    said = wsiparse("run", folder, "-o", tmp_path / "results", "--engine", "classical", "--slide-mpp", "0.5", "-n", "1")
    assert said.code == 3
    assert said.out.count("\n") == 2
    assert "good.svs: done:" in said.out
    lines = [line for line in said.err.splitlines() if "error: " in line]
    assert len(lines) == len(HAZARDS)
    for name, (_, words) in HAZARDS.items():
        [line] = [line for line in lines if f"/{name}: " in line or f" {name}: " in line]
        assert words in line
    assert "good" in (tmp_path / "results" / "summary.csv").read_text(encoding="utf-8")
    assert len(list((tmp_path / "results" / "slides").iterdir())) == 1


@pytest.mark.parametrize("verb", ["info", "plan"])
def test_looking_at_such_a_folder_does_no_harm_either(verb: str, wsiparse: Callable, folder: Path) -> None:
    said = wsiparse(verb, folder, "--slide-mpp", "0.5")
    assert said.code == 3
    assert said.err.count("error: ") == len(HAZARDS)
    assert "good.svs" in said.out


def test_slides_whose_names_are_not_text_are_done_and_found_done(
    wsiparse: Callable, demo_slide: Path, tmp_path: Path
) -> None:
    try:
        shutil.copy(demo_slide, tmp_path / NOT_TEXT)
    except OSError:
        pytest.skip("this file system takes only names that are text")
    (tmp_path / NOT_TEXT.replace("caf", "bad")).write_bytes(b"x")
    run = ("run", tmp_path, "-o", tmp_path / "results", "--engine", "classical")
    said = wsiparse(*run)
    assert said.code == 3, said.err
    assert ": done:" in said.out
    assert said.err.count("error: ") == 1
    assert "already done" in wsiparse(*run).out
    assert wsiparse(*run, "--retry-failed").code == 1
    assert wsiparse("verify", tmp_path / "results").code == 0
    assert wsiparse("status", tmp_path / "results").code in (0, 3)
    assert "caf\\xe9" in (tmp_path / "results" / "summary.csv").read_text(encoding="utf-8")


def test_a_slide_that_is_away_for_a_while_loses_no_parts(
    wsiparse: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.svs"
    write_svs(path, paint_he(400, 300, seed=5).image)
    real = slide.assemble

    def meanwhile(*arguments: Any) -> Any:
        made = real(*arguments)
        path.rename(tmp_path / "away")
        return made

    monkeypatch.setattr(slide, "assemble", meanwhile)
    run = ("run", path, "--engine", "classical", "-o", tmp_path / "r")
    said = wsiparse(*run)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "a.svs: cannot be read" in said.err
    [folder] = (tmp_path / "r" / "slides").iterdir()
    [part] = folder.glob("work-*/scale-0/part-*.json")
    written = part.stat().st_mtime_ns
    assert not (folder / "DONE.json").exists()
    (tmp_path / "away").rename(path)

    def again(*arguments: Any) -> Any:
        assert part.stat().st_mtime_ns == written
        return real(*arguments)

    monkeypatch.setattr(slide, "assemble", again)
    assert wsiparse(*run).code == 0
    assert wsiparse("verify", tmp_path / "r").code == 0


def test_a_slide_that_changes_while_it_is_analysed_fails_and_leaves_nothing_to_go_on_from(
    wsiparse: Callable, demo_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.svs"
    write_svs(path, paint_he(400, 300, seed=5).image)
    real = slide.assemble

    def meanwhile(*arguments: Any) -> Any:
        made = real(*arguments)
        shutil.copyfile(demo_slide, path)
        return made

    monkeypatch.setattr(slide, "assemble", meanwhile)
    run = ("run", path, "--engine", "classical", "-o")
    said = wsiparse(*run, tmp_path / "r")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "a.svs: changed while it was read" in said.err
    [folder] = (tmp_path / "r" / "slides").iterdir()
    assert [p.name for p in folder.iterdir()] == ["log.txt"]
    monkeypatch.setattr(slide, "assemble", real)
    assert wsiparse(*run, tmp_path / "r").code == 0
    assert wsiparse(*run, tmp_path / "fresh").code == 0
    assert (folder / "DONE.json").read_bytes() == next((tmp_path / "fresh" / "slides").iterdir()).joinpath(
        "DONE.json"
    ).read_bytes()


def test_a_slide_of_which_half_did_not_arrive_is_done_for_the_other_half_and_says_so(
    wsiparse: Callable, tmp_path: Path
) -> None:
    path = tmp_path / "half.svs"
    write_svs(path, paint_he(640, 512, seed=7).image, tile=64, levels=1)
    with tifffile.TiffFile(path) as tiff:
        spans = list(zip(tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts, strict=True))
    data = bytearray(path.read_bytes())
    for start, count in spans[40:]:  # 10 tiles in a row, 8 rows
        data[start : start + count] = bytes(count)
    path.write_bytes(data)
    said = wsiparse("run", path, "-o", tmp_path / "r", "--engine", "classical", "--tile-size", "160", "--overlap", "32")
    assert said.code == 3, said.err
    assert "UNREADABLE TILES" in said.out
    [folder] = (tmp_path / "r" / "slides").iterdir()
    record = json.loads((folder / "DONE.json").read_text(encoding="utf-8"))
    assert record["unreadable"]
    assert all(tile["core"]["y"] + tile["core"]["height"] >= 256 for tile in record["unreadable"])
    assert sum(count["n"] for count in record["summary"]["counts"]) > 30
