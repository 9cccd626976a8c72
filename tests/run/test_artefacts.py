"""Artefacts on the whole road: what is left out, the same for any tiling, and read back from their file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import shapely

from tests.artefacts.painted import blurred, drawn_over
from tests.conftest import Said
from wsiparse.config import RunConfig
from wsiparse.run import plan
from wsiparse.run.engine import Engine
from wsiparse.run.pipeline import analyse
from wsiparse.slides import MemorySlide
from wsiparse.slides.synthetic import paint_he, write_svs

NUCLEI = RunConfig(engine="classical", prompts=("nuclei",))


@pytest.fixture(scope="module")
def spoilt() -> np.ndarray:
    """A generated slide at 0.5 um per px, its middle out of focus, a stroke of red over it."""
    clean = paint_he(1400, 1400, seed=5, nuclei_per_mm2=3000).image
    return drawn_over(blurred(clean, 3, 0.5, 160.0)[0], "red", 30.0, 0.5)[0]


def kept_area(result) -> float:
    return result.prepared.area_mm2


def test_what_is_spoilt_is_taken_from_the_area_and_from_the_counts(spoilt):
    out, kept = (analyse(MemorySlide(spoilt, 0.5), NUCLEI.updated({"keep_artefacts": k})) for k in (None, True))
    found = {a.kind: a for a in out.prepared.ground.artefacts}
    assert set(found) == {"ink", "out_of_focus"}
    assert all(a.left_out and a.geometry.area > 0 for a in found.values())
    assert [a.left_out for a in kept.prepared.ground.artefacts] == [False, False]
    shape = shapely.union_all([a.geometry for a in found.values()])
    spoilt_mm2 = kept_area(kept) - kept_area(out)
    # the disk and the stroke lie within the tissue
    assert spoilt_mm2 == pytest.approx(shape.area * 0.25e-6, rel=0.05)
    inside = shapely.contains_xy(shape, kept.cells.centroid)
    assert len(out.cells) == len(kept.cells) - inside.sum()
    assert inside.sum() > 0


def test_nothing_of_how_the_work_is_done_changes_them(spoilt):
    one = analyse(MemorySlide(spoilt, 0.5), NUCLEI)
    other = analyse(MemorySlide(spoilt, 0.5), NUCLEI.updated({"tile_size": 320, "num_workers": 3}), workers=3)
    for a, b in zip(one.prepared.ground.artefacts, other.prepared.ground.artefacts, strict=True):
        assert (a.kind, a.left_out) == (b.kind, b.left_out)
        assert a.geometry.wkb == b.geometry.wkb
    assert kept_area(one) == kept_area(other)
    np.testing.assert_array_equal(one.cells.centroid, other.cells.centroid)


def test_a_kind_that_is_off_is_not_looked_for_and_changes_the_digest(spoilt):
    digests = set()
    for use in ("exclude", "report", "off"):
        prepared = analyse(MemorySlide(spoilt, 0.5), NUCLEI.updated({"artefacts": {"ink": use}})).prepared
        digests.add(prepared.digest)
        assert ("ink" in {a.kind for a in prepared.ground.artefacts}) == (use != "off")
    assert len(digests) == 3


def test_focus_is_not_judged_where_pixels_are_too_large():
    clean = paint_he(600, 600, seed=5, mpp=0.8).image
    prepared = analyse(MemorySlide(clean, 0.8), NUCLEI).prepared
    assert [a.kind for a in prepared.ground.artefacts] == ["ink"]


def test_the_file_of_artefacts_leaves_out_the_same_when_it_is_the_region_of_interest(spoilt, tmp_path: Path, wsiparse):
    write_svs(tmp_path / "a.svs", spoilt, compression=None)
    options = ("--engine", "classical", "--prompt", "nuclei")
    first: Said = wsiparse("run", tmp_path / "a.svs", "-o", tmp_path / "one", *options)
    assert first.code == 0, first.err
    (one,) = (tmp_path / "one" / "slides").iterdir()
    drawn = one / "artefacts.geojson"
    names = {f["properties"]["name"] for f in json.loads(drawn.read_text())["features"]}
    assert names == {"Artefact: ink", "Artefact: out of focus"}
    again: Said = wsiparse(
        "run", tmp_path / "a.svs", "-o", tmp_path / "two", *options, "--keep-artefacts", "--roi", drawn
    )
    assert again.code == 0, again.err
    (two,) = (tmp_path / "two" / "slides").iterdir()
    a, b = (json.loads((folder / "report.json").read_text()) for folder in (one, two))
    assert a["area"]["analysed_mm2"] == pytest.approx(b["area"]["analysed_mm2"], rel=1e-9)
    assert a["rows"][0]["n"] == b["rows"][0]["n"] > 0
    assert a["area"]["spoilt_mm2"] == pytest.approx(b["area"]["drawn_out_mm2"] + b["area"]["outside_roi_mm2"], rel=1e-6)
    parts = [p["mm2"] for p in a["area"]["artefacts"]]
    assert re.search(r"of tissue are left out as out of focus and ink: see artefacts.geojson", first.err + first.out)
    assert "of tissue are left out as" not in again.err + again.out
    assert max(parts) <= a["area"]["spoilt_mm2"] <= sum(parts) + 1e-9
    page = (one / "report.html").read_text()
    assert "out of focus" in page
    assert "Artefact: ink" in page


def test_results_say_which_setting_differs(spoilt, tmp_path: Path, wsiparse):
    write_svs(tmp_path / "a.svs", spoilt[:600, :600], compression=None)
    options = ("--engine", "classical", "--prompt", "nuclei", "-o", tmp_path / "out")
    assert wsiparse("run", tmp_path / "a.svs", *options).code == 0
    said = wsiparse("run", tmp_path / "a.svs", *options, "--keep-artefacts")
    assert said.code in (1, 3)
    assert "artefacts" in said.err


def test_a_slide_of_which_nothing_is_sharp_has_no_area_and_ends_well(tmp_path: Path, wsiparse):
    soft = blurred(paint_he(600, 600, seed=5).image, 4, 0.5, 1000.0)[0]
    write_svs(tmp_path / "a.svs", soft, compression=None)
    said = wsiparse("run", tmp_path / "a.svs", "--engine", "classical", "--prompt", "nuclei", "-o", tmp_path / "out")
    assert said.code == 0, said.err
    (folder,) = (tmp_path / "out" / "slides").iterdir()
    area = json.loads((folder / "report.json").read_text())["area"]
    assert area["spoilt_mm2"] == pytest.approx(area["tissue_mm2"], rel=0.1)
    assert area["analysed_mm2"] == pytest.approx(area["tissue_mm2"] - area["spoilt_mm2"])


def test_glass_alone_has_no_artefacts():
    prepared = analyse(MemorySlide(np.full((400, 400, 3), 242, np.uint8), 0.5), NUCLEI).prepared
    assert [a.geometry.is_empty for a in prepared.ground.artefacts] == [True, True]


@pytest.mark.parametrize(("use", "inked"), [("exclude", False), ("off", True)])
def test_patches_that_the_stain_is_measured_on_lie_outside_of_artefacts(monkeypatch, use, inked):
    clean = paint_he(1100, 1100, seed=5, nuclei_per_mm2=3000).image
    drawn = drawn_over(clean, "violet", 60.0, 0.5)[0]
    seen = []
    monkeypatch.setattr(plan, "calibrate", lambda spec, sample, mm2: seen.append(sample) or spec)
    config = NUCLEI.updated({"artefacts": {"ink": use}})
    plan.prepare(MemorySlide(drawn, 0.5), config, Engine(config))
    (sample,) = seen
    assert len(sample) == plan.SAMPLE_PATCHES
    # red of violet ink on glass and tissue, mean around the middle
    middle = sample[:, 120:136, 120:136, 0].mean(axis=(1, 2))
    assert bool((middle < 60).any()) == inked
