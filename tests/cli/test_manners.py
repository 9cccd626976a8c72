"""Mistyped words get a suggestion, absurd settings one line, and a run of several slides a last line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wsiparse.slides.synthetic import paint_he, write_svs

RUN = ("--engine", "classical", "--whole-slide", "-n", "1")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("rnu", "run"), ("Run", "run"), ("reprot", "report"), ("verfy", "verify"), ("promts", "prompts")],
)
def test_a_mistyped_command_gets_a_suggestion(wsiparse: Callable, typed: str, meant: str) -> None:
    said = wsiparse(typed, "x")
    assert said.code == 2
    assert f"No such command '{typed}'. Did you mean '{meant}'?" in said.err


def test_a_word_like_no_command_gets_the_list(wsiparse: Callable) -> None:
    said = wsiparse("qqqq")
    assert said.code == 2
    assert "There are run, report" in said.err


def test_a_mistyped_option_gets_a_suggestion(wsiparse: Callable) -> None:
    said = wsiparse("run", "x", "-o", "y", "--promt", "nuclei")
    assert said.code == 2
    assert "--prompt" in said.err.splitlines()[-1]


@pytest.mark.parametrize(
    "given",
    [
        ("--tile-size", "1000000"), ("--tile-size", "-16"), ("--tile-size", "16384"), ("--tile-um", "1e9"),
        ("--tile-um", "nan"), ("--tile-um", "inf"), ("--overlap", "1000000"), ("--overlap", "-2"),
        ("--batch-size", "1000000"), ("--batch-size", "-1"), ("--batch-size", "4096"), ("--num-workers", "1000000"),
        ("--num-workers", "-1"), ("--block-size", "1000000"), ("--min-area-um2", "inf"), ("--min-recognition", "2"),
        ("--mpp", "nan"), ("--mpp", "1e9"), ("--mpp", "0.001"), ("--shard", "1/1000000000"), ("--slide-mpp", "nan"),
        ("--override-mpp", "1e9"),
    ],
    ids="=".join,
)  # fmt: skip
def test_an_absurd_setting_is_one_line(
    wsiparse: Callable, tmp_path: Path, given: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsiparse.run.plan.available_memory_bytes", lambda: 16_000_000_000)
    slide = tmp_path / "a.svs"
    write_svs(slide, paint_he(224, 192, seed=2).image)
    said = wsiparse("run", slide, "-o", tmp_path / "r", *RUN, *given)
    assert said.code == 1
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert not list(tmp_path.glob("r/slides/*/DONE.json"))


def test_several_slides_end_with_how_many_are_done_and_the_report(wsiparse: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    for k in range(2):
        write_svs(folder / f"{k}.svs", paint_he(224, 192, seed=k).image)
    (folder / "2.svs").write_bytes((folder / "0.svs").read_bytes()[:2000])
    said = wsiparse("run", folder, "-o", tmp_path / "r", *RUN)
    assert said.code == 3
    assert said.out.splitlines()[-1] == f"2 done, 1 failed; report: {tmp_path / 'r' / 'report.html'}"
    again = wsiparse("run", folder, "-o", tmp_path / "r", *RUN, "--fail-fast")
    assert again.out.splitlines()[-1].startswith("2 already done, 1 failed; report: ")
    shared = wsiparse("run", folder, "-o", tmp_path / "s", *RUN, "--shard", "1/1")
    assert shared.out.splitlines()[-1] == f"2 done, 1 failed; next: wsiparse merge {tmp_path / 's'}"
    one = wsiparse("run", folder / "0.svs", "-o", tmp_path / "r", *RUN)
    assert len(one.out.splitlines()) == 1
