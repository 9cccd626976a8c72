"""The Python on the pages runs."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wsiparse
from tests.conftest import ROOT
from tests.docs.pages import PAGES, fences, name_of
from wsiparse.export import formats
from wsiparse.recognize import registry
from wsiparse.slides import MemorySlide
from wsiparse.slides.scale import GivenMpp
from wsiparse.slides.synthetic import paint_he

MOST_LINES = 40


def blocks(page: str) -> list[str]:
    return fences((ROOT / "docs" / page).read_text(encoding="utf-8"), "python")


def run(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "example", "exec"), names)
    return names


def test_all_python_on_the_pages_is_run_here() -> None:
    with_python = {name_of(page) for page in PAGES if fences(page.read_text(encoding="utf-8"), "python")}
    assert with_python == {"docs/python-api.md", "docs/extending.md"}


@pytest.mark.parametrize("text", blocks("python-api.md"), ids=["analyse", "recognise", "plan", "tables"])
def test_the_examples_of_the_api_run(text: str, place: Path) -> None:
    if "pandas" in text:
        pytest.importorskip("geopandas")
    assert len(text.splitlines()) <= 12
    run(text)


def test_the_first_example_finds_what_the_command_line_finds(
    place: Path, results: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    text = blocks("python-api.md")[0].replace('"nuclei"', '"inflammatory cells", "nuclei"')
    polygons = run(text)["polygons"]
    assert sorted(p.area for p in polygons) == sorted(p.area for p in wsiparse.read_objects(results()).polygons())


def test_every_public_name_is_on_the_page_and_no_other() -> None:
    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    table = page.partition("## Public names")[2]
    named = [name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == wsiparse.__all__


def test_the_examples_of_extending_are_short() -> None:
    assert [len(text.splitlines()) < MOST_LINES for text in blocks("extending.md")] == [True] * 3


def test_the_example_of_a_reader_gives_the_objects_of_the_same_pixels(tmp_path: Path) -> None:
    picture = paint_he(320, 256, seed=3).image
    np.save(tmp_path / "slide.npy", picture)
    config = wsiparse.RunConfig(engine="classical")
    with run(blocks("extending.md")[0])["NpySlide"](tmp_path / "slide.npy", GivenMpp(0.5)) as slide:
        found = wsiparse.analyse(slide, config)
        slide.check_unchanged()
    expected = wsiparse.analyse(MemorySlide(picture, 0.5), config)
    assert len(found.cells) > 0
    assert np.array_equal(found.cells.coords, expected.cells.coords)


def test_the_example_of_an_engine_recognises_whatever_the_tiling(monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(blocks("extending.md")[1])["ENGINE"]
    monkeypatch.setattr(
        registry, "_points", lambda: {"darkness": EntryPoint("darkness", "made:ENGINE", registry.GROUP)}
    )
    monkeypatch.setattr(registry, "_loaded", lambda point: made)
    slide = MemorySlide(paint_he(320, 256, seed=3).image, 0.5)
    tables = []
    for tile_size in (256, 512):
        config = wsiparse.RunConfig(engine="darkness", tile_size=tile_size)
        found = wsiparse.analyse(slide, config)
        assert found.prepared.title == "darkness, not BiomedParse"
        tables.append(found.cells)
    assert len(tables[0]) > 0
    assert np.array_equal(tables[0].coords, tables[1].coords)


def test_the_example_of_an_exporter_exports(place: Path, results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(blocks("extending.md")[2])["FORMAT"]
    monkeypatch.setattr(formats, "FORMATS", {**formats.FORMATS, "points": made})
    done = formats.export(results() / "objects.zarr", "points")
    table = wsiparse.read_objects(results())
    lines = [line.split("\t") for line in done.paths[0].read_text(encoding="utf-8").splitlines()]
    assert len(lines) == done.objects == len(table) > 0
    assert [line[2] for line in lines] == table["class"].tolist()
    assert np.allclose([float(line[0]) for line in lines], table["x_um"], atol=1e-3)
