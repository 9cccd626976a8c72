"""A wrong pixel size is told or stopped by the commands, and where a size comes from stands in every result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsiparse.slides.synthetic import paint_he, write_svs

PICTURE = paint_he(320, 256, seed=3).image
RUN = ("--engine", "classical", "--whole-slide", "-n", "1")


def records(results: Path) -> dict[str, dict]:
    return {
        path.parent.name.partition("__")[0]: json.loads(path.read_text(encoding="utf-8"))
        for path in results.glob("slides/*/DONE.json")
    }


def test_the_option_fills_the_gap_of_one_slide_only(wsiparse: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_svs(folder / "has.svs", PICTURE)
    write_svs(folder / "lacks.svs", PICTURE, mpp=None)
    said = wsiparse("run", folder, "-o", tmp_path / "r", *RUN, "--slide-mpp", "0.25")
    assert said.code == 0
    assert said.err.count("NOT used") == 1
    assert "has.svs: 0.25 um per px" in said.err
    found = records(tmp_path / "r")
    assert found["has"]["summary"]["analysed_mm2"] == pytest.approx(320 * 256 * 0.25e-6)
    assert found["lacks"]["summary"]["analysed_mm2"] == pytest.approx(320 * 256 * 0.0625e-6)


def test_a_replacement_is_told_on_the_screen_in_log_manifest_and_report(wsiparse: Callable, tmp_path: Path) -> None:
    slide = tmp_path / "has.svs"
    write_svs(slide, PICTURE)
    said = wsiparse("run", slide, "-o", tmp_path / "r", *RUN, "--override-mpp", "0.45")
    assert said.code == 0
    words = "0.45 um per px (--override-mpp, or column override_mpp) REPLACES the slide's own pixel size of 0.5 um"
    assert said.err.count(words) == 1
    (folder,) = (tmp_path / "r" / "slides").iterdir()
    assert words in (folder / "log.txt").read_text(encoding="utf-8")
    facts = records(tmp_path / "r")["has"]["slide"]
    assert facts["mpp"] == [0.45, 0.45]
    assert facts["mpp_source"] == "--override-mpp, or column override_mpp"
    assert words in facts["mpp_notices"][0]
    assert "REPLACES" in (folder / "report.html").read_text(encoding="utf-8")
    for verb in ("info", "plan"):
        again = wsiparse(verb, slide, "--override-mpp", "0.45")
        assert again.code == 0
        assert words in again.out + again.err


def test_a_sheet_replaces_slide_by_slide(wsiparse: Callable, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_svs(tmp_path / f"{name}.svs", PICTURE)
    sheet = tmp_path / "slides.csv"
    sheet.write_text("slide,mpp,override_mpp\na.svs,,0.45\nb.svs,0.45,\n", encoding="ascii")
    facts = {Path(f["slide"]).stem: f for f in json.loads(wsiparse("info", sheet, "--json").out)}
    assert (facts["a"]["mpp"], facts["b"]["mpp"]) == ([0.45, 0.45], [0.5, 0.5])
    said = wsiparse("run", sheet, "-o", tmp_path / "r", *RUN)
    assert said.code == 0
    assert {k: v["slide"]["mpp"] for k, v in records(tmp_path / "r").items()} == {"a": [0.45, 0.45], "b": [0.5, 0.5]}


@pytest.mark.parametrize("cell", ["20", "0,25", "0.00025", "nan", "-0.5", "40x"])
@pytest.mark.parametrize("column", ["mpp", "override_mpp"])
def test_a_wrong_cell_is_one_line(wsiparse: Callable, tmp_path: Path, column: str, cell: str) -> None:
    write_svs(tmp_path / "a.svs", PICTURE)
    sheet = tmp_path / "slides.csv"
    sheet.write_text(f"slide;{column}\na.svs;{cell}\n", encoding="ascii")
    said = wsiparse("plan", sheet)
    assert said.code == 1
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert f"slides.csv, line 2: {column}" in said.err
    assert cell != "20" or said.err.endswith(f"here perhaps {column} 0.5.\n")


@pytest.mark.parametrize("option", ["--slide-mpp", "--override-mpp"])
@pytest.mark.parametrize("verb", ["run", "plan", "info"])
def test_a_magnification_is_refused_once_with_its_pixel_size(
    wsiparse: Callable, tmp_path: Path, verb: str, option: str
) -> None:
    for name in ("a", "b"):
        write_svs(tmp_path / f"{name}.svs", PICTURE)
    where = ("-o", tmp_path / "r") if verb == "run" else ()
    said = wsiparse(verb, tmp_path / "a.svs", tmp_path / "b.svs", *where, option, "20")
    assert said.code == 1
    assert said.err.startswith(f"error: {option} 20 is a magnification, not a pixel size: 20x is about 0.5")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_configuration_holds_a_replacement_too(wsiparse: Callable, tmp_path: Path) -> None:
    slide = tmp_path / "a.svs"
    write_svs(slide, PICTURE)
    config = tmp_path / "c.yaml"
    config.write_text("engine: classical\noverride_mpp: 0.45\n", encoding="ascii")
    assert "REPLACES" in wsiparse("plan", slide, "--config", config).err
    config.write_text("engine: classical\noverride_mpp: 40\n", encoding="ascii")
    said = wsiparse("plan", slide, "--config", config)
    assert said.code == 1
    assert "is a magnification" in said.err


def test_slides_whose_metadata_cannot_be_are_stopped_and_the_rest_is_done(wsiparse: Callable, tmp_path: Path) -> None:
    """Ten and 2.54 times off beside an objective of 20x; nothing ends as "0 cells"."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for name, mpp in (("good", 0.5), ("tenth", 0.05), ("tenfold", 5.0), ("inch", 1.27), ("other", 0.25)):
        write_svs(folder / f"{name}.svs", PICTURE, mpp=mpp)
    said = wsiparse("run", folder, "-o", tmp_path / "r", *RUN)
    assert said.code == 3
    assert said.err.count("does not fit the objective of 20x") == 4
    assert said.err.count("error: ") == 3
    found = records(tmp_path / "r")
    assert sorted(found) == ["good", "other"]
    assert found["good"]["slide"]["mpp_notices"] == []
    assert "does not fit" in found["other"]["slide"]["mpp_notices"][0]


@pytest.mark.parametrize(("mpp", "code"), [(16.0, 1), (1.2, 1), (1.0, 0)])
def test_a_slide_too_coarse_for_the_network_is_refused(
    wsiparse: Callable, tmp_path: Path, mpp: float, code: int
) -> None:
    path = tmp_path / "thumbnail.tif"
    resolution = (1e4 / mpp, 1e4 / mpp)
    tifffile.imwrite(path, np.asarray(PICTURE), tile=(128, 128), photometric="rgb", resolution=resolution,
                     resolutionunit="CENTIMETER")  # fmt: skip
    said = wsiparse("run", path, "-o", tmp_path / "r", *RUN)
    assert said.code == code
    if code:
        assert f"enlarged {mpp / 0.5:g}-fold" in said.err
        assert "--override-mpp" in said.err
        assert not records(tmp_path / "r")
