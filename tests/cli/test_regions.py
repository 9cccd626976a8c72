"""Region files through the whole program: which slide they are for, what they mean, what is said of them."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.slides_made import Content, write_slide
from tests.report.test_slide_report import square
from wsiparse.slides.synthetic import paint_he, write_svs

RUN = ("--engine", "classical", "--whole-slide", "--no-labels")


def feature(box: tuple[float, float, float, float], name: str = "", **properties: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    told = {"classification": {"name": name}} if name else {}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", **told, **properties},
    }


def write(path: Path, *features: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def report_of(results: Path, slide: str) -> dict[str, Any]:
    (folder,) = (results / "slides").glob(f"{slide}__*")
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    write_svs(folder / "a.svs", paint_he(256, 256, seed=7).image)
    for name in ("b.svs", "c.svs"):
        shutil.copy(folder / "a.svs", folder / name)
    return folder


def test_a_folder_of_regions_serves_run_and_plan_as_it_serves_report(
    slides: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    roi = tmp_path / "rois"
    roi.mkdir()
    write(roi / "a.svs.geojson", feature((0, 0, 128, 128), "Tumor"))
    (roi / "B_annotations.geojson.gz").write_bytes(
        gzip.compress(write(tmp_path / "b", feature((0, 0, 256, 128), "Fat")).read_bytes())
    )
    write(roi / "z.geojson", feature((0, 0, 9, 9)))
    planned = wsiparse("plan", slides, "--engine", "classical", "--whole-slide", "--roi", roi, "--json")
    assert [round(fact["analysed_mm2"] * 4e6) for fact in json.loads(planned.out)] == [128 * 128, 256 * 128, 256 * 256]
    said = wsiparse("run", slides, "-o", tmp_path / "r", *RUN, "--roi", roi)
    assert said.code == 0, said.err
    for told in (planned.err, said.err):
        assert "1 file of regions belongs to no slide: z.geojson" in told
        assert "1 slide has no file of regions, all of it w" in told
        assert told.count("c.svs") >= 1
    assert "a.svs.geojson: classes of regions: tumour: Tumor" in said.err
    assert "classes of regions: neither: Fat" in said.err
    text = (tmp_path / "r" / "summary.csv").read_text(encoding="utf-8")
    rows = {(r["slide"], r["compartment"]): r for r in csv.DictReader(text.splitlines())}
    assert float(rows["a", "Tumor"]["compartment_mm2"]) == pytest.approx(128 * 128 * 0.25e-6, abs=1e-6)
    assert float(rows["c", "all tissue"]["compartment_mm2"]) == pytest.approx(256 * 256 * 0.25e-6, abs=1e-6)
    (log,) = (tmp_path / "r" / "slides").glob("c__*/log.txt")
    assert "no file of regions for it" in log.read_text(encoding="utf-8")
    (log,) = (tmp_path / "r" / "slides").glob("a__*/log.txt")
    assert "classes of regions: tumour: Tumor" in log.read_text(encoding="utf-8")
    assert report_of(tmp_path / "r", "a")["settings"]["roi"] == "a.svs.geojson"


def test_one_file_for_several_slides_is_refused_before_anything_is_written(
    slides: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    one = write(tmp_path / "a.geojson", feature((0, 0, 128, 128)))
    for command in (("run", slides, "-o", tmp_path / "r", *RUN), ("plan", slides)):
        said = wsiparse(*command, "--roi", one)
        assert (said.code, said.err.count("\n")) == (1, 1)
        assert "one file of regions, but several slides. Give a folder with <slide>.geojson for each." in said.err
    assert not (tmp_path / "r").exists()


def test_a_file_of_another_slide_costs_its_slide_only(slides: Path, wsiparse: Callable, tmp_path: Path) -> None:
    write(tmp_path / "far.geojson", feature((200, 200, 900, 900), "Tumor"))
    write(tmp_path / "edge.geojson", feature((128, 0, 300, 256), "Tumor"), feature((0, 0, 9, 9), objectType="cell"))
    sheet = tmp_path / "slides.csv"
    sheet.write_text(f"slide,roi\n{slides}/a.svs,far.geojson\n{slides}/b.svs,edge.geojson\n", encoding="utf-8")
    said = wsiparse("run", sheet, "-o", tmp_path / "r", *RUN)
    assert said.code == 3
    assert "far.geojson: mostly (99 %) outside the slide" in said.err
    assert "edge.geojson: 26 % of the regions' area lies off the slide" in said.err
    (log,) = (tmp_path / "r" / "slides").glob("b__*/log.txt")
    warned = [line for line in log.read_text(encoding="utf-8").splitlines() if "WARNING" in line]
    regions = [line for line in warned if "edge.geojson" in line]
    assert ["26 %" in line or "1 detection," in line for line in regions] == [True, True]
    notes = report_of(tmp_path / "r", "b")["region_notes"]
    assert len(notes) == 2
    (page,) = (tmp_path / "r" / "slides").glob("b__*/report.html")
    assert "of the regions&#39; area lies off the slide" in page.read_text(encoding="utf-8")
    assert "How the classes of regions are taken" in page.read_text(encoding="utf-8")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    points = np.random.default_rng(0).uniform(20, 980, (50, 2))
    write_slide(tmp_path / "r", "a", Content(square(), {1: points}))
    return tmp_path / "r"


@pytest.mark.parametrize(
    ("options", "tumour", "stroma"),
    [
        ((), ["Tumor"], []),
        (
            ("--stroma-class", "immune cells", "--stroma-class", "Other Tissue"),
            ["Tumor"],
            ["Immune cells", "other tissue"],
        ),
        (("--tumour-class", "Immune cells", "--stroma-class", "tumor"), ["Immune cells"], ["Tumor"]),
    ],
)
def test_a_class_is_tumour_or_stroma_by_its_name_or_when_told_so(
    results: Path, wsiparse: Callable, tmp_path: Path, options: tuple[str, ...], tumour: list[str], stroma: list[str]
) -> None:
    drawn = write(
        tmp_path / "d.geojson", feature((0, 0, 500, 1000), "Tumor"), feature((500, 0, 800, 900), "Immune cells")
    )
    said = wsiparse("report", results, "--roi", drawn, *options)
    assert said.code == 0, said.err
    found = report_of(results, "a")["compartments"]
    assert found["names"] == ["Immune cells", "Tumor", "other tissue"]
    assert [found["names"][k] for k in found["tumour"]] == tumour
    assert [found["names"][k] for k in found["stroma"]] == stroma
    assert found["classes_taken"] in said.err
    infiltrate = report_of(results, "a")["immune"]["infiltrate"]
    if infiltrate is not None:
        assert infiltrate["stroma"] == stroma


def test_a_name_cannot_be_asked_for_as_both(results: Path, wsiparse: Callable, tmp_path: Path) -> None:
    for command in (("report", results), ("run", "a.svs", "-o", tmp_path / "x"), ("plan", "a.svs")):
        said = wsiparse(*command, "--tumour-class", "Core", "--stroma-class", "core")
        assert (said.code, said.err.count("\n")) == (1, 1)
        assert "both name 'core'" in said.err


def test_more_names_than_a_byte_counts_are_compartments_and_too_many_are_none(
    results: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    def cores(n: int) -> list[dict[str, Any]]:
        return [
            feature((30 * (k % 33), 30 * (k // 33), 30 * (k % 33) + 25, 30 * (k // 33) + 25), name=f"Core {k}")
            for k in range(n)
        ]

    said = wsiparse("report", results, "--roi", write(tmp_path / "d.geojson", *cores(300)))
    assert said.code == 0, said.err
    found = report_of(results, "a")["compartments"]
    assert len(found["names"]) == 301
    assert found["area_mm2"][:300] == pytest.approx([625 * 0.25e-6] * 300)
    many = write(tmp_path / "d.geojson", *cores(1001))
    said = wsiparse("report", results, "--roi", many)
    assert said.code == 0, said.err
    found = report_of(results, "a")["compartments"]
    assert (found["used"], found["names"]) == ("none", ["all tissue"])
    assert found["reason"] == "the regions have 1001 classes and names, compartments are made of at most 1000"
    assert found["reason"] in said.out


def test_regions_in_microns_that_fit_are_told_by_run_and_report(wsiparse: Callable, tmp_path: Path) -> None:
    image = np.full((900, 1200, 3), 243, np.uint8)
    image[500:800, 700:1100] = (210, 150, 190)
    write_svs(tmp_path / "a.svs", image)
    px = write(tmp_path / "px.geojson", feature((740, 540, 1060, 760), "Tumor"))
    um = write(tmp_path / "um.geojson", feature((370, 270, 530, 380), "Tumor"))
    line = "the regions may be in microns: read as px, 0 % of their area is tissue; read as microns, 100 % would be"
    said = wsiparse("run", tmp_path / "a.svs", "-o", tmp_path / "r", "--roi", px, *RUN)
    assert said.code == 0
    assert "microns" not in said.err
    redone = wsiparse("report", tmp_path / "r", "--roi", um)
    assert redone.code == 0
    assert any(line in note for note in report_of(tmp_path / "r", "a")["region_notes"])
    for args in ((), ("--whole-slide",)):
        said = wsiparse("run", tmp_path / "a.svs", "-o", tmp_path / f"um{len(args)}", "--roi", um, *RUN[:2], *args)
        assert said.code == 0
        assert line in said.err
        (folder,) = (tmp_path / f"um{len(args)}" / "slides").iterdir()
        assert f"WARNING um.geojson: {line}" in (folder / "log.txt").read_text(encoding="utf-8")
        assert any(line in note for note in report_of(tmp_path / f"um{len(args)}", "a")["region_notes"])
