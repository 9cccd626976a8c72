"""The user's own tissue (`--tissue`) through the whole program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_regions import feature, report_of, write
from wsiparse.slides.synthetic import paint_he, write_svs

RUN = ("--engine", "classical", "--no-labels")
UM2 = 0.25e-6  # mm2 of a px


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    write_svs(folder / "a.svs", paint_he(256, 256, seed=7).image)
    return folder


def test_drawn_tissue_is_what_is_analysed_exactly(slides: Path, wsiparse: Callable, tmp_path: Path) -> None:
    tissue = write(tmp_path / "t.geojson", feature((31, 17, 200, 230)), feature((90, 90, 110, 120), "Ignore*"))
    area = (169 * 213 - 20 * 30) * UM2
    planned = wsiparse("plan", slides, "--engine", "classical", "--tissue", tissue, "--json")
    assert json.loads(planned.out)[0]["analysed_mm2"] == pytest.approx(area, rel=1e-9)
    said = wsiparse("run", slides, "-o", tmp_path / "r", *RUN, "--tissue", tissue)
    assert said.code == 0, said.err
    report = report_of(tmp_path / "r", "a")
    assert report["area"]["analysed_mm2"] == pytest.approx(area, rel=1e-9)
    assert report["area"]["tissue_mm2"] == pytest.approx(area, rel=1e-9)
    assert report["settings"]["tissue"] == "t.geojson"
    assert report["area"]["objects_outside"] == 0
    assert any("drawn in t.geojson" in line for line in report["limits"]["sentences"])
    (done,) = (tmp_path / "r" / "slides").glob("a__*/DONE.json")
    assert json.loads(done.read_text())["settings"]["drawn tissue"] == report["settings"]["tissue_sha256"][:12]
    # the report made again knows the tissue, too
    assert wsiparse("report", tmp_path / "r", "--seed", "3").code == 0
    assert report_of(tmp_path / "r", "a")["area"] == report["area"]
    # another file is another result
    other = write(tmp_path / "u.geojson", feature((31, 17, 200, 231)))
    refused = wsiparse("run", slides, "-o", tmp_path / "r", *RUN, "--tissue", other)
    assert refused.code != 0
    assert "drawn tissue" in refused.err


def test_regions_are_cut_to_drawn_tissue(slides: Path, wsiparse: Callable, tmp_path: Path) -> None:
    tissue = write(tmp_path / "t.geojson", feature((0, 0, 128, 256)))
    roi = write(tmp_path / "r.geojson", feature((64, 0, 256, 256), "Tumor"), feature((64, 0, 80, 256), "Artefact"))
    said = wsiparse("run", slides, "-o", tmp_path / "r", *RUN, "--tissue", tissue, "--roi", roi)
    assert said.code == 0, said.err
    area = report_of(tmp_path / "r", "a")["area"]
    assert area["analysed_mm2"] == pytest.approx(48 * 256 * UM2, rel=1e-9)
    assert area["tissue_mm2"] == pytest.approx(128 * 256 * UM2, rel=1e-9)
    assert area["outside_roi_mm2"] == pytest.approx(64 * 256 * UM2, rel=1e-9)
    assert area["drawn_out_mm2"] == pytest.approx(16 * 256 * UM2, rel=1e-9)


def test_wrong_tissue_is_one_line(slides: Path, wsiparse: Callable, tmp_path: Path) -> None:
    tissue = write(tmp_path / "t.geojson", feature((0, 0, 64, 64)))
    beside = write(tmp_path / "r.geojson", feature((128, 128, 256, 256)))
    off = write(tmp_path / "off.geojson", feature((1000, 1000, 1200, 1200)))
    for given, told in (
        (("--tissue", tissue, "--roi", beside), "lies outside all regions"),
        (("--tissue", off), "outside the slide"),
        (("--tissue", tmp_path / "none.geojson"), "no such"),
        (("--tissue", tissue, "--whole-slide"), "give one of them"),
    ):
        said = wsiparse("run", slides, "-o", tmp_path / "r", *RUN, *given)
        assert said.code == 1
        assert told in said.err
        assert not list((tmp_path / "r").glob("slides/*/DONE.json"))
