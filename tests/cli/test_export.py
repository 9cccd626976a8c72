from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.export.results import CELLS, REGIONS, finished_slide
from tests.test_atomic import names_in
from wsiparse.choices import ExportFormat, words
from wsiparse.export.formats import FORMATS


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("a__1", "b__2"):
        finished_slide(tmp_path / "results" / "slides" / name)
    return tmp_path / "results"


def damage(slide: Path) -> None:
    chunk = next(path for path in sorted((slide / "objects.zarr" / "cells" / "score").rglob("*")) if path.name == "0")
    chunk.write_bytes(chunk.read_bytes()[:-3])


def test_all_finished_slides_are_exported_in_all_formats_asked_for(results: Path, wsiparse: Callable) -> None:
    (results / "slides" / "c__00000003").mkdir()
    said = wsiparse("export", results, "--format", "csv", "-f", "geojson", "-f", "csv")
    assert said.code == 0
    for name in ("a__1", "b__2"):
        folder = results / "slides" / name / "exports"
        assert names_in(folder) == ["cells.geojson.gz", "objects.csv", "regions.geojson.gz"]
        assert f"{name}: csv: {len(CELLS) + len(REGIONS)} objects -> {folder / 'objects.csv'}\n" in said.out
    assert said.err == f"notice: {results / 'slides' / 'c__00000003'}: not finished, left out\n"


def test_files_go_where_they_are_wanted_under_the_slides_name(
    results: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    assert wsiparse("export", results / "slides" / "a__1", "-f", "csv", "-o", tmp_path / "out").code == 0
    assert (
        wsiparse("export", results / "slides" / "b__2" / "objects.zarr", "-f", "csv", "-o", tmp_path / "out").code == 0
    )
    assert names_in(tmp_path / "out") == ["a__1", "b__2"]
    assert not (results / "slides" / "a__1" / "exports").exists()


def test_options_reach_the_formats_that_have_them(results: Path, wsiparse: Callable) -> None:
    said = wsiparse(
        "export", results, "-f", "csv", "-f", "geojson", "--simplify", "--kind", "cell", "--coords", "level0"
    )
    assert said.code == 0
    folder = results / "slides" / "a__1" / "exports"
    assert names_in(folder) == ["cells.geojson.gz", "objects.csv"]
    assert b'"origin":[0,0]' in gzip.decompress((folder / "cells.geojson.gz").read_bytes())
    assert len((folder / "objects.csv").read_text(encoding="utf-8").splitlines()) == len(CELLS) + 1


def test_a_damaged_slide_costs_only_itself(results: Path, wsiparse: Callable) -> None:
    damage(results / "slides" / "a__1")
    said = wsiparse("export", results, "-f", "csv")
    assert said.code == 3
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert "a__1" in said.err
    assert not (results / "slides" / "a__1" / "exports").exists()
    assert names_in(results / "slides" / "b__2" / "exports") == ["objects.csv"]
    assert wsiparse("export", results / "slides" / "a__1", "-f", "csv").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-f", "xml"],
        ["-f", "csv", "--kind", "nucleus"],
        ["-f", "csv", "--simplify"],
        ["-f", "geojson", "--ngff", "0.4"],
        ["-f", "ome-zarr", "--kind", "cell"],
    ],
)
def test_wrong_usage(results: Path, wsiparse: Callable, arguments: list[str]) -> None:
    said = wsiparse("export", results, *arguments)
    assert said.code == 2
    assert said.err


def test_nothing_to_export_is_one_line(tmp_path: Path, wsiparse: Callable) -> None:
    said = wsiparse("export", tmp_path, "-f", "csv")
    assert said.code == 1
    assert said.err.startswith(f"error: {tmp_path}: no results folder")


def test_the_help_tells_every_format_and_where_files_go(wsiparse: Callable) -> None:
    assert tuple(FORMATS) == words(ExportFormat)
    said = wsiparse("export", "--help")
    assert said.code == 0
    for name in FORMATS:
        assert f"\n  {name} " in said.out
    assert "exports/" in said.out


def test_an_export_of_a_real_run_is_the_overlay_of_the_run(
    demo_slide: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    assert wsiparse("run", demo_slide, "-o", tmp_path, "--engine", "classical").code == 0
    (slide,) = (tmp_path / "slides").iterdir()
    done = (slide / "DONE.json").read_bytes()
    assert wsiparse("export", tmp_path, "-f", "geojson").code == 0
    assert (slide / "exports" / "cells.geojson.gz").read_bytes() == (slide / "cells.geojson.gz").read_bytes()
    assert wsiparse("run", demo_slide, "-o", tmp_path, "--engine", "classical").out.count("already done") == 1
    assert (slide / "DONE.json").read_bytes() == done
