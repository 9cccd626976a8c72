"""What people get wrong: one clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wsiparse.slides.synthetic import write_svs

IMAGE = np.full((300, 400, 3), 200, np.uint8)


def bad_slide(folder: Path, what: str) -> list[object]:
    """Arguments for `run` with one thing wrong."""
    path = folder / "bad.svs"
    if what == "missing":
        return [path]
    if what == "empty folder":
        (folder / "none").mkdir()
        return [folder / "none"]
    if what == "zero bytes":
        path.touch()
    elif what == "text":
        path.write_text("not a slide at all\n" * 50, encoding="ascii")
    elif what == "truncated":
        write_svs(folder / "whole.svs", np.random.default_rng(0).integers(0, 255, (600, 800, 3)).astype(np.uint8))
        data = (folder / "whole.svs").read_bytes()
        (folder / "whole.svs").unlink()
        path.write_bytes(data[: len(data) // 2])
    elif what.startswith("mpp"):
        value = what.removeprefix("mpp ")
        write_svs(path, IMAGE, mpp=None if value == "none" else value)
    return [path]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", "bad.svs"),
        ("empty folder", "none"),
        ("zero bytes", "bad.svs"),
        ("text", "bad.svs"),
        ("truncated", "bad.svs"),
        ("mpp none", "--slide-mpp"),
        ("mpp 0", "--slide-mpp"),
        ("mpp abc", "--slide-mpp"),
        ("mpp 352.8", "--slide-mpp"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_slide_that_cannot_be_used_is_one_line_and_leaves_nothing(
    what: str, words: str, verb: str, wsiparse: Callable, tmp_path: Path
) -> None:
    arguments = bad_slide(tmp_path, what)
    before = sorted(tmp_path.rglob("*"))
    said = wsiparse(verb, *arguments, *(["-o", tmp_path / "results"] if verb == "run" else []))
    assert said.code == 1
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert words in said.err
    assert said.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_mpp_can_be_given(wsiparse: Callable, tmp_path: Path) -> None:
    [path] = bad_slide(tmp_path, "mpp none")
    assert wsiparse("run", path, "-o", tmp_path / "results", "--slide-mpp", "0.5").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", "glandular structure"], "weights"),
        (["--roi", "nowhere.geojson"], "nowhere.geojson"),
        (["--tile-size", "100"], "multiple of 16"),
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--mpp", "-1"], "mpp"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line_and_leaves_nothing(
    arguments: list[str], words: str, wsiparse: Callable, demo_slide: Path, tmp_path: Path
) -> None:
    said = wsiparse("run", demo_slide, "-o", tmp_path / "results", *arguments)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert words in said.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "JSON"),
        ('{"type":"FeatureCollection","features":[]}', "no "),
        ('{"type":"Polygon","coordinates":[[[9000,9000],[9100,9000],[9100,9100],[9000,9000]]]}', "outside"),
        ('{"type":"Point","coordinates":[1,1]}', "olygon"),
    ],
)
def test_a_roi_that_cannot_be_used_is_one_line_and_leaves_nothing(
    text: str, words: str, wsiparse: Callable, demo_slide: Path, tmp_path: Path
) -> None:
    roi = tmp_path / "roi.geojson"
    roi.write_text(text, encoding="utf-8")
    said = wsiparse("run", demo_slide, "-o", tmp_path / "results", "--roi", roi)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "roi.geojson" in said.err
    assert words in said.err
    assert not (tmp_path / "results").exists()


def test_results_that_cannot_be_written_are_one_line(wsiparse: Callable, demo_slide: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("here first", encoding="ascii")
    said = wsiparse("run", demo_slide, "-o", in_the_way / "results")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert in_the_way.read_text(encoding="ascii") == "here first"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_results_folder_without_permission_is_one_line(wsiparse: Callable, demo_slide: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    said = wsiparse("run", demo_slide, "-o", locked / "results")
    assert (said.code, said.err.count("\n")) == (1, 1)


def test_a_bad_slide_in_a_folder_does_not_stop_the_others(wsiparse: Callable, demo_slide: Path, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    (slides / "a_broken.svs").write_bytes(b"II*\x00 broken")
    (slides / "b_good.svs").write_bytes(demo_slide.read_bytes())
    said = wsiparse("run", slides, "-o", tmp_path / "results")
    assert said.code == 3
    assert "b_good.svs: done" in said.out
    assert "a_broken.svs" in said.err
    assert len(list((tmp_path / "results" / "slides").iterdir())) == 1
    assert (tmp_path / "results" / "summary.csv").read_text(encoding="utf-8").count("b_good") >= 1
