"""`run`, `plan` and `info` take a slides.csv; sharding, resuming and trying again work with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wsiparse.slides.synthetic import paint_he, write_svs


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A sheet of three slides: one with its own mpp, one with a region, one that only its metadata describe."""
    (tmp_path / "data").mkdir()
    picture = paint_he(320, 256, seed=3).image
    write_svs(tmp_path / "data" / "bare.svs", picture, mpp=None)
    write_svs(tmp_path / "data" / "part.svs", picture)
    write_svs(tmp_path / "data" / "whole.svs", picture)
    ring = [[0, 0], [160, 0], [160, 256], [0, 256], [0, 0]]
    left = {"type": "Polygon", "coordinates": [ring]}
    (tmp_path / "data" / "left.geojson").write_text(json.dumps(left), encoding="ascii")
    sheet = tmp_path / "data" / "slides.csv"
    sheet.write_text(
        "slide;mpp;roi;patient\nbare.svs;0.5;;1\npart.svs;;left.geojson;2\nwhole.svs;;;2\n", encoding="utf-8-sig"
    )
    return sheet


def plans(said: object) -> dict[str, dict]:
    assert said.code == 0, said.err  # type: ignore[attr-defined]
    return {Path(fact["slide"]).stem: fact for fact in json.loads(said.out)}  # type: ignore[attr-defined]


def test_plan_takes_mpp_and_region_of_each_row(wsiparse: Callable, cohort: Path) -> None:
    planned = plans(wsiparse("plan", cohort, "--json"))
    assert list(planned) == ["bare", "part", "whole"]
    assert planned["bare"]["analysed_mm2"] == planned["whole"]["analysed_mm2"]
    assert 0 < planned["part"]["analysed_mm2"] < 0.7 * planned["whole"]["analysed_mm2"]


def test_options_count_where_a_row_says_nothing(wsiparse: Callable, cohort: Path) -> None:
    right = cohort.parent / "rois"
    right.mkdir()
    text = (cohort.parent / "left.geojson").read_text(encoding="ascii")
    for name in ("bare", "part", "whole"):
        (right / f"{name}.geojson").write_text(text.replace("[0,", "[320,"), encoding="ascii")
    narrowed = plans(wsiparse("plan", cohort, "--json", "--roi", right))
    before = plans(wsiparse("plan", cohort, "--json"))
    assert narrowed["part"]["analysed_mm2"] == before["part"]["analysed_mm2"]
    assert narrowed["whole"]["analysed_mm2"] < before["whole"]["analysed_mm2"]


def test_the_mpp_of_a_row_and_of_the_option_fill_gaps_only(wsiparse: Callable, cohort: Path) -> None:
    (cohort.parent / "bare.svs").rename(cohort.parent / "other.svs")
    cohort.write_text("slide;mpp;roi\nother.svs;;\npart.svs;;left.geojson\nwhole.svs;0.25;\n", encoding="ascii")
    said = wsiparse("plan", cohort, "--json", "--slide-mpp", "1.0")
    planned = plans(said)
    ratio = planned["other"]["analysed_mm2"] / planned["whole"]["analysed_mm2"]
    assert ratio == pytest.approx(4, rel=0.2)  # 1.0 fills the gap of one slide, and no other is touched
    assert "whole.svs: 0.25 um per px (--slide-mpp, or column mpp) is NOT used" in said.err
    assert "part.svs: 1 um per px (--slide-mpp, or column mpp) is NOT used" in said.err
    assert "other.svs: 1 um per px does not fit the objective of 20x" in said.err  # it is what the row leaves open


def test_info_takes_the_mpp_of_a_row_and_says_so(wsiparse: Callable, cohort: Path) -> None:
    facts = plans(wsiparse("info", cohort, "--json"))
    assert facts["bare"]["mpp"] == [0.5, 0.5]
    assert facts["bare"]["mpp_source"] == "--slide-mpp, or column mpp"
    assert facts["whole"]["mpp_source"] == "metadata openslide.mpp-x"


def test_plan_and_info_look_at_slides_at_addresses(wsiparse: Callable, cohort: Path) -> None:
    cohort.write_text(f"slide,mpp\n{(cohort.parent / 'bare.svs').as_uri()},0.5\n", encoding="ascii")
    assert list(plans(wsiparse("plan", cohort, "--json"))) == ["bare"]
    assert plans(wsiparse("info", cohort, "--json"))["bare"]["tissue_mm2"] > 0


@pytest.mark.parametrize("row", ["absent.svs,0.5,", "whole.svs,,absent.geojson"])
def test_a_row_whose_slide_or_regions_are_not_there_costs_itself(row: str, wsiparse: Callable, cohort: Path) -> None:
    cohort.write_text(f"slide,mpp,roi\n{row}\nbare.svs,0.5,\n", encoding="ascii")
    results = cohort.parent / "results"
    said = wsiparse("run", cohort, "--engine", "classical", "-o", results)
    assert (said.code, said.out.count(": done:"), said.err.count("error:")) == (3, 1, 1)
    assert "slides.csv, line 2: no such" in said.err
    assert "1 done, 1 failed" in wsiparse("status", results).out


@pytest.mark.parametrize("verb", ["plan", "info"])
def test_a_wrong_sheet_is_one_line_before_anything_is_done(verb: str, wsiparse: Callable, cohort: Path) -> None:
    cohort.write_text("slide,mpp\nbare.svs,0.5\nabsent.svs,0.5\n", encoding="ascii")
    results = cohort.parent / "results"
    said = wsiparse(verb, cohort)
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "slides.csv, line 3: no such slide" in said.err
    assert not results.exists()


def summaries(results: Path) -> str:
    return (results / "summary.csv").read_text(encoding="utf-8")


def test_a_run_of_a_sheet_is_resumed_shared_and_tried_again(
    wsiparse: Callable, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", cohort, "--engine", "classical", "-o")
    whole = wsiparse(*run, tmp_path / "whole")
    assert whole.code == 0, whole.err
    assert whole.out.count(": done:") == 3
    # the same folders as by name, and nothing is done twice
    monkeypatch.chdir(cohort.parent)
    again = wsiparse("run", "whole.svs", "slides.csv", "--engine", "classical", "-o", tmp_path / "whole")
    assert (again.code, again.out.count(": already done")) == (0, 3)
    # shards of an array, merged
    told = [wsiparse(*run, tmp_path / "shards", "--shard", f"{k}/2") for k in (1, 2)]
    assert [said.code for said in told] == [0, 0]
    assert sum(said.out.count(": done:") for said in told) == 3
    assert wsiparse("merge", tmp_path / "shards").code == 0
    assert summaries(tmp_path / "shards") == summaries(tmp_path / "whole")
    # shards of tiles: a row's mpp and region are the merge's too
    for k in (1, 2):
        assert wsiparse(*run, tmp_path / "tiles", "--shard", f"{k}/2", "--shard-by", "tiles").code == 0
    assert wsiparse("merge", tmp_path / "tiles").code == 0
    assert summaries(tmp_path / "tiles") == summaries(tmp_path / "whole")
    # what failed is tried again
    good = cohort.parent / "good.svs"
    shutil.move(cohort.parent / "whole.svs", good)
    (cohort.parent / "whole.svs").write_bytes(np.arange(200, dtype=np.uint8).tobytes())
    assert wsiparse(*run, tmp_path / "torn").code == 3
    shutil.move(good, cohort.parent / "whole.svs")
    said = wsiparse(*run, tmp_path / "torn", "--retry-failed")
    assert (said.code, said.out.count("done:")) == (0, 1)
    assert summaries(tmp_path / "torn") == summaries(tmp_path / "whole")
