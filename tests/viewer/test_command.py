from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.viewer.made import make, truth


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_serves_until_it_is_told_to_stop(library: None, made: Path, number: int, code: int) -> None:
    start = "from wsiparse.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", start, "view", str(made)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        url = re.fullmatch(r"made: (http://127\.0\.0\.1:\d+/[\w-]+/)\n", said)
        assert url is not None, said
        with urllib.request.urlopen(url[1], timeout=20) as page:
            assert b"exact test engine" in page.read()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("notice: without the slide's picture: no run-*.json says where the slide is (see --slide)\n")


def test_export_says_what_was_written(library: None, wsiparse: Callable, demo_slide: Path, tmp_path: Path) -> None:
    make(tmp_path / "results", truth((640, 512)), slide=demo_slide, name="A slide")
    said = wsiparse("view", tmp_path / "results", "--export", tmp_path / "page")
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(r"A slide: \d+ files, \d+\.\d MB, down to 0\.5 um per pixel -> .*page/index\.html\n", said.out)
    assert (tmp_path / "page" / "index.html").is_file()


def test_the_slide_may_be_elsewhere(library: None, wsiparse: Callable, demo_slide: Path, tmp_path: Path) -> None:
    make(tmp_path / "results", truth((640, 512)), slide=demo_slide)
    next((tmp_path / "results").glob("run-*.json")).unlink()
    assert wsiparse("view", tmp_path / "results", "--export", tmp_path / "a").err.startswith("notice: without")
    assert wsiparse("view", tmp_path / "results", "--export", tmp_path / "b", "--slide", demo_slide).err == ""
    assert not (tmp_path / "a" / "slide").exists()
    assert (tmp_path / "b" / "slide" / "0" / "0_0.jpg").is_file()


@pytest.mark.parametrize(
    "options", [("--max-px", "1000"), ("--export", "page", "--port", "8000"), ("--export", "page", "--open")]
)
def test_options_of_the_other_way_are_wrong_usage(wsiparse: Callable, made: Path, options: tuple[str, ...]) -> None:
    said = wsiparse("view", made, *options)
    assert said.code == 2
    assert "--export" in said.err


def test_a_folder_without_results_is_an_error_in_one_line(wsiparse: Callable, tmp_path: Path) -> None:
    said = wsiparse("view", tmp_path)
    assert said.code == 1
    assert said.err.startswith(f"error: {tmp_path}: no results folder")
    assert said.err.count("\n") == 1


def test_a_damaged_report_is_told_where_the_page_leaves_it_out(
    library: None, wsiparse: Callable, demo_slide: Path, tmp_path: Path
) -> None:
    folder = make(tmp_path / "results", truth((640, 512)), slide=demo_slide)
    (folder / "counts.csv").write_bytes((folder / "counts.csv").read_bytes() + b"\n")
    said = wsiparse("view", tmp_path / "results", "--export", tmp_path / "page")
    told = "notice: without hot-spots: the report is missing or damaged; `wsiparse report` makes it again\n"
    assert (said.code, said.err) == (0, told)
