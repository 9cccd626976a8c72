"""Reports of slides with little or nothing on them, of hostile names, and redone without the slide."""

from __future__ import annotations

import csv
import hashlib
import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from tests.report.slides_made import MPP, PROMPTS, Content, tumour_slide, write_slide
from wsiparse.errors import OutputError
from wsiparse.report.cohort import write_cohort_report
from wsiparse.report.data import read_regions_file, roles_of
from wsiparse.report.slide import redo_slide_report
from wsiparse.report.stats.tissue import Tissue
from wsiparse.results.folder import report_record
from wsiparse.types import Prompt, PromptSet

FILES = ("counts.csv", "density.png", "report.html", "report.json")


def square(edge_mm: float = 1.0, *, tissue: bool = True) -> Tissue:
    cells = round(edge_mm * 125)
    return Tissue(np.full((cells, cells), tissue), (8.0, 8.0), (cells * 8.0, cells * 8.0))


def numbers_of(folder: Path) -> dict[str, Any]:
    found = report_record(folder)
    assert found is not None
    return found


def hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


class Page(HTMLParser):
    """The text of a page, its elements, and every address in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self._hidden = False
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden = tag in ("script", "style")
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


EMPTY = Content(square(tissue=False))
ONE_CELL = Content(square(), {1: np.array([[500.0, 500.0]])})
NO_CELLS = Content(square(3.0))
NEVER_FOUND = Content(square(2.0), {0: np.random.default_rng(0).uniform(50, 1950, (500, 2))})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (EMPTY, "0 mm"),
        (ONE_CELL, "1"),
        (NO_CELLS, "not found"),
        (NEVER_FOUND, "not found"),
    ],
    ids=["no tissue", "one cell", "no cells", "a class never found"],
)
def test_slides_with_little_on_them_have_a_sensible_page(content: Content, said: str, tmp_path: Path) -> None:
    folder = write_slide(tmp_path, "little", content)
    numbers = numbers_of(folder)
    page = page_of(folder / "report.html")
    assert said in page.text
    assert "Research use only" in page.text
    assert not re.search(r"\b(nan|inf|undefined)\b|\bNone\b(?! (was )?found)", page.text)
    counted = {row["class"]: row["n"] for row in numbers["rows"] if row["compartment"] == "all tissue"}
    assert counted == {
        **{p.class_name: len(content.points.get(k, [])) for k, p in enumerate(PROMPTS)},
        "All cells": sum(len(v) for k, v in content.points.items() if PROMPTS[k].kind == "cell"),
    }
    for row in numbers["rows"]:
        assert (row["density_per_mm2"] is None) == (row["compartment_mm2"] == 0)
    write_cohort_report(tmp_path)
    assert "little" in page_of(tmp_path / "report.html").text


def test_without_tumour_and_connective_classes_tissue_is_one_compartment(tmp_path: Path) -> None:
    prompts = PromptSet((Prompt("inflammatory cells", "Inflammatory"), Prompt("nuclei", "Other nuclei")))
    points = np.random.default_rng(1).uniform(50, 1950, (2, 300, 2))
    folder = write_slide(tmp_path, "embedded", Content(square(2.0), {0: points[0], 1: points[1]}), prompts=prompts)
    numbers = numbers_of(folder)
    assert numbers["compartments"]["used"] == "none"
    assert "no class of neoplastic or epithelial" in numbers["compartments"]["reason"]
    assert {row["compartment"] for row in numbers["rows"]} == {"all tissue"}
    assert numbers["immune"]["infiltrate"] is None
    assert [m["second"] for m in numbers["immune"]["mixing"]] == ["Other nuclei"]


def test_regions_that_miss_the_tissue_leave_everything_in_the_rest(tmp_path: Path) -> None:
    tissue = square(2.0)
    half = tissue.mask.copy()
    half[:, half.shape[1] // 2 :] = False
    content = Content(Tissue(half, tissue.cell_um, tissue.slide_um), {1: np.array([[200.0, 200.0], [300.0, 900.0]])})
    folder = write_slide(tmp_path, "half", content)
    path = tmp_path / "far.geojson"
    path.write_text(json.dumps(feature("Tumor", shapely.box(3000, 100, 3500, 900))), encoding="utf-8")
    numbers = redo_slide_report(folder, "roi", read_regions_file(path, (0, 0), (4000, 4000)))
    found = {r["compartment"]: r for r in numbers["rows"] if r["class"] == "Inflammatory"}
    assert (found["Tumor"]["n"], found["Tumor"]["compartment_mm2"], found["Tumor"]["density_per_mm2"]) == (0, 0.0, None)
    assert found["other tissue"]["n"] == 2
    assert not re.search(r"\bnan\b|\bNone\b(?! (was )?found)", page_of(folder / "report.html").text)


def feature(name: str, shape: Any) -> dict[str, Any]:
    """A GeoJSON feature of a class, geometry as given (level-0 px)."""
    return {
        "type": "Feature",
        "geometry": shapely.geometry.mapping(shape),
        "properties": {"classification": {"name": name}},
    }


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); //",
    "</script><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u202e\u05d0\u05d1 \u00e4\u00f6 \U0001f9ec " + "x" * 150,
    "=cmd|' /C calc'!A0",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_nothing_else(name: str, tmp_path: Path) -> None:
    same_length = "".join("n" if c != " " else c for c in name)  # long names are cut in charts, with a tooltip
    plain = write_slide(tmp_path / "plain", same_length, ONE_CELL)
    folder = write_slide(tmp_path / "hostile", name, ONE_CELL)
    path = tmp_path / "r.geojson"
    for own, text in ((plain, same_length), (folder, name)):
        path.write_text(json.dumps(feature(text, shapely.box(100, 100, 900, 900))), encoding="utf-8")
        redo_slide_report(own, "roi", read_regions_file(path, (0, 0), (4000, 4000)))
        write_cohort_report(own.parent.parent)
    for which in (Path("report.html"), folder.relative_to(tmp_path / "hostile") / "report.html"):
        other = Path("report.html") if len(which.parts) == 1 else plain.relative_to(tmp_path / "plain") / "report.html"
        ours, theirs = page_of(tmp_path / "hostile" / which), page_of(tmp_path / "plain" / other)
        assert name.strip() in html.unescape(ours.text) or re.sub(r"\s+", " ", name) in ours.text
        assert ours.tags == theirs.tags, "no element more than the same page of a plain name"
        for address in ours.addresses:
            beside = ("summary.csv", "studies.csv", "counts.csv", "overlay.jpg", "density.png", "report.json")
            assert address in beside or address.startswith(("data:image/", "#", "slides/", "../")), address
    with (folder / "counts.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            assert not line["slide"].startswith(("=", "+", "-", "@"))
            assert line["slide"].lstrip("'") == name.lstrip("'")


def test_a_report_redone_from_its_files_is_the_same(tmp_path: Path) -> None:
    folder = write_slide(tmp_path, "again", tumour_slide(2.4, 2.4, 5))
    before = hashes(folder)
    for path in FILES:
        (folder / path).unlink()
    redo_slide_report(folder, None, None)
    assert hashes(folder) == before
    redo_slide_report(folder, None, None, seed=1)
    assert hashes(folder)["report.json"] != before["report.json"]
    assert numbers_of(folder)["settings"]["seed"] == 1


def test_a_run_and_a_report_redone_give_the_same_bytes(wsiparse: Callable, demo_slide: Path, tmp_path: Path) -> None:
    assert wsiparse("run", demo_slide, "-o", tmp_path / "r").code == 0
    [folder] = (tmp_path / "r" / "slides").iterdir()
    before, cohort = hashes(folder), (tmp_path / "r" / "report.html").read_bytes()
    assert len(numbers_of(folder)["immune"]["hot_spots"]["spots"]) > 0
    assert all(spot["picture"] for spot in numbers_of(folder)["immune"]["hot_spots"]["spots"])
    demo_slide_gone = demo_slide.with_name("gone.svs")
    demo_slide.rename(demo_slide_gone)
    try:
        assert wsiparse("report", tmp_path / "r").code == 0
    finally:
        demo_slide_gone.rename(demo_slide)
    assert hashes(folder) == before
    assert (tmp_path / "r" / "report.html").read_bytes() == cohort


def test_regions_of_a_run_are_its_compartments_and_artefacts_are_left_out(
    wsiparse: Callable, demo_slide: Path, tmp_path: Path
) -> None:
    regions = [
        feature("Tumor", shapely.box(50, 50, 350, 400)),
        feature("Stroma", shapely.box(350, 50, 600, 400)),
        feature("Artefact", shapely.box(100, 100, 200, 200)),
    ]
    (tmp_path / "roi.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": regions}))
    assert wsiparse("run", demo_slide, "-o", tmp_path / "r", "--roi", tmp_path / "roi.geojson").code == 0
    [folder] = (tmp_path / "r" / "slides").iterdir()
    numbers = numbers_of(folder)
    assert numbers["compartments"]["used"] == "roi"
    assert numbers["compartments"]["names"] == ["Stroma", "Tumor"]
    assert sum(numbers["compartments"]["area_mm2"]) == pytest.approx(numbers["area"]["analysed_mm2"])
    area = numbers["area"]
    assert area["outside_roi_mm2"] > 0
    parts = (area[k] for k in ("analysed_mm2", "outside_roi_mm2", "drawn_out_mm2", "unreadable_mm2"))
    assert sum(parts) == pytest.approx(area["tissue_mm2"])
    done = json.loads((folder / "DONE.json").read_text(encoding="utf-8"))
    assert done["summary"]["analysed_mm2"] == pytest.approx(area["analysed_mm2"])


def test_unreadable_tiles_are_no_tissue_and_are_told(tmp_path: Path) -> None:
    core = (400.0, 400.0, 800.0, 1000.0)
    points = np.random.default_rng(2).uniform(50, 950, (400, 2))
    folder = write_slide(tmp_path, "torn", Content(square(), {1: points}), unreadable=[core], unreadable_facts=1)
    numbers = numbers_of(folder)
    lost_mm2 = (core[2] - core[0]) * (core[3] - core[1]) * MPP**2 * 1e-6
    assert numbers["area"]["unreadable_mm2"] == pytest.approx(lost_mm2)
    assert numbers["area"]["analysed_mm2"] == pytest.approx(1.0 - lost_mm2)
    assert numbers["area"]["unreadable_tiles"] == 1
    row = next(r for r in numbers["rows"] if r["class"] == "Inflammatory" and r["compartment"] == "all tissue")
    assert row["n"] + numbers["area"]["objects_outside"] == 400
    assert numbers["area"]["objects_outside"] > 0


def test_what_an_older_version_made_is_told_in_one_line(tmp_path: Path) -> None:
    folder = write_slide(tmp_path, "old", ONE_CELL)
    (folder / "report_inputs" / "tissue.png").unlink()
    with pytest.raises(OutputError, match=r"report_inputs: damaged: it is not what was written. Run the slide again"):
        redo_slide_report(folder, None, None)
    (folder / "report_inputs" / "tissue.png").write_bytes(b"no picture")
    with pytest.raises(OutputError, match=r"report_inputs: damaged: it is not what was written. Run the slide again"):
        redo_slide_report(folder, None, None)
    (folder / "DONE.json").unlink()
    with pytest.raises(OutputError, match="not finished"):
        redo_slide_report(folder, None, None)


def test_roles_are_those_of_trained_targets_in_any_words() -> None:
    words = ["lymphocytes", "tumor cells", "epithelial cells", "connective tissue cells", "nuclei", "dead cells"]
    prompts = PromptSet(tuple(Prompt(text, text) for text in words))
    assert roles_of(prompts) == ("immune", "tumour", "tumour", "connective", "other", "other")
