from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsiparse import ObjectsReader
from wsiparse.coords import Frame
from wsiparse.errors import TileReadError
from wsiparse.slides.synthetic import paint_he, write_svs
from wsiparse.types import Box

#: Files of a slide that must not change by a byte whatever the settings that "change no result".
SAME = ("cells.geojson.gz", "centroids.geojson.gz", "overlay.jpg", "DONE.json")
REPORT = ("counts.csv", "density.png", "report.html", "report.json")


def hashes(results: Path) -> dict[str, str]:
    [folder] = (results / "slides").iterdir()
    files = [folder / name for name in (*SAME, *REPORT)] + sorted(
        p
        for zarr in ("objects.zarr", "labels.ome.zarr", "report_inputs")
        for p in (folder / zarr).rglob("*")
        if p.is_file()
    )
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_slide: Path) -> Path:
    from wsiparse.cli.main import main

    results = tmp_path_factory.mktemp("finished")
    with pytest.raises(SystemExit) as stop:
        main(["run", str(demo_slide), "-o", str(results), "-n", "1"])
    assert stop.value.code == 0
    return results


def test_a_run_writes_everything_a_slide_has(finished: Path) -> None:
    [folder] = (finished / "slides").iterdir()
    names = {p.name for p in folder.iterdir()}
    expected = {*SAME, *REPORT, "objects.zarr", "labels.ome.zarr", "report_inputs", "log.txt", "artefacts.geojson"}
    assert names == expected
    done = json.loads((folder / "DONE.json").read_text(encoding="utf-8"))
    for name, facts in done["files"].items():
        if (folder / name).is_file():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"]
    assert "not BiomedParse" in done["engine"]
    with Image.open(folder / "overlay.jpg") as picture:
        assert picture.size[0] == 640


def test_counts_objects_and_overlay_agree(finished: Path) -> None:
    [folder] = (finished / "slides").iterdir()
    features = json.loads(gzip.decompress((folder / "cells.geojson.gz").read_bytes()))["features"]
    done = json.loads((folder / "DONE.json").read_text(encoding="utf-8"))
    n = sum(c["n"] for c in done["summary"]["counts"])
    assert len(features) == n == len(ObjectsReader(folder / "objects.zarr").table("cell")) > 100
    assert f"All cells,cell,all tissue,{n}," in (folder / "counts.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("change", [["--block-size", "100"], ["--block-size", "2048"], ["-n", "3"]])
def test_block_size_and_workers_change_no_output_byte(
    change: list[str],
    finished: Path,
    wsiparse: Callable,
    demo_slide: Path,
    tmp_path: Path,
) -> None:
    assert wsiparse("run", demo_slide, "-o", tmp_path / "again", *change).code == 0
    assert hashes(tmp_path / "again") == hashes(finished)


def test_a_finished_slide_is_skipped_and_overwrite_does_it_again(
    wsiparse: Callable,
    demo_slide: Path,
    tmp_path: Path,
) -> None:
    first = wsiparse("run", demo_slide, "-o", tmp_path / "r")
    before = hashes(tmp_path / "r")
    again = wsiparse("run", demo_slide, "-o", tmp_path / "r")
    assert ": done:" in first.out
    assert "already done" in again.out
    assert ": done:" in wsiparse("run", demo_slide, "-o", tmp_path / "r", "--overwrite").out
    assert hashes(tmp_path / "r") == before


def test_a_finished_slide_with_a_damaged_file_is_done_again(
    wsiparse: Callable,
    demo_slide: Path,
    tmp_path: Path,
) -> None:
    wsiparse("run", demo_slide, "-o", tmp_path / "r")
    before = hashes(tmp_path / "r")
    [folder] = (tmp_path / "r" / "slides").iterdir()
    (folder / "cells.geojson.gz").write_text("cut", encoding="ascii")
    assert ": done:" in wsiparse("run", demo_slide, "-o", tmp_path / "r").out
    assert hashes(tmp_path / "r") == before


@pytest.mark.parametrize("name", REPORT)
def test_a_damaged_report_is_made_again_and_the_slide_is_not(
    name: str, wsiparse: Callable, demo_slide: Path, tmp_path: Path
) -> None:
    wsiparse("run", demo_slide, "-o", tmp_path / "r")
    before = hashes(tmp_path / "r")
    [folder] = (tmp_path / "r" / "slides").iterdir()
    (folder / name).write_text("cut", encoding="ascii")
    assert "already done" in wsiparse("run", demo_slide, "-o", tmp_path / "r").out
    assert hashes(tmp_path / "r") == before


def test_an_unreadable_tile_is_counted_told_and_makes_the_exit_code_3(
    wsiparse: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "torn.svs"
    write_svs(path, paint_he(1024, 600, seed=8).image)
    from wsiparse.slides.pyramid import PyramidSlide

    read = PyramidSlide.read

    def torn(self: PyramidSlide, box: Box, frame: Frame) -> np.ndarray:
        if frame.mean_mpp < 1 and box.x <= 500 < box.x1 and box.y <= 300 < box.y1:
            raise TileReadError("torn.svs: a corrupt JPEG tile")
        return read(self, box, frame)

    monkeypatch.setattr(PyramidSlide, "read", torn)
    said = wsiparse("run", path, "-o", tmp_path / "r", "--tile-size", "448")
    assert said.code == 3
    assert "1 UNREADABLE TILES" in said.out
    [folder] = (tmp_path / "r" / "slides").iterdir()
    done = json.loads((folder / "DONE.json").read_text(encoding="utf-8"))
    assert [u["reason"] for u in done["unreadable"]] == ["torn.svs: a corrupt JPEG tile"]
    assert done["summary"]["unreadable_mm2"] > 0
    assert done["summary"]["counts"][1]["n"] > 0
