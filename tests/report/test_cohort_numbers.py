"""The tables over all slides, against pandas and SciPy, and the metadata that joins them."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from scipy import stats

from tests.report.slides_made import Content, write_slide
from tests.report.test_slide_report import Page, square
from wsiparse.cohort_report import read_metadata, write_cohort_report
from wsiparse.errors import ConfigError, OutputError, SlideNotFoundError, UnsupportedSlideError


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve slides of six patients; slide k has 20 (k + 1) immune cells on 1 mm2."""
    folder = tmp_path_factory.mktemp("cohort")
    random = np.random.default_rng(0)
    for k in range(12):
        points = random.uniform(20, 980, (20 * (k + 1), 2))
        write_slide(folder, f"slide {k:02d}", Content(square(), {1: points, 2: random.uniform(20, 980, (30, 2))}))
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = ["Slide;Patient;Response;note"]
    lines += [f"slide {k:02d}.svs;P{k // 2};{'yes' if k >= 6 else 'no'};=1+1" for k in range(11)]
    lines += ["elsewhere.svs;P9;yes;"]
    path = tmp_path / "patients.csv"
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    return path


def test_the_summary_has_a_row_for_each_slide_class_and_compartment(results: Path, table: Path) -> None:
    cohort = write_cohort_report(results, read_metadata(table, group="response"))
    assert cohort is not None
    frame = pandas.read_csv(results / "summary.csv", keep_default_na=False)
    assert len(frame) == 12 * 7 == len(cohort["rows"])
    assert set(frame["compartment"]) == {"all tissue"}, "no border between even cells"
    own = frame[frame["class"] == "Inflammatory"].set_index("slide")
    for k in range(12):
        assert own.loc[f"slide {k:02d}", "n"] == 20 * (k + 1)
        assert float(own.loc[f"slide {k:02d}", "density_per_mm2"]) == pytest.approx(20 * (k + 1), abs=0.01)
    assert own.loc["slide 03", "Patient"] == "P1"
    assert own.loc["slide 03", "note"] == "'=1+1", "no cell of a spreadsheet runs"
    assert own.loc["slide 11", "Patient"] == "", "slide 11 is not in the table"
    assert cohort["metadata"]["unmatched_slides"] == ["slide 11"]
    assert cohort["metadata"]["unmatched_rows"] == ["elsewhere.svs"]


def test_groups_are_compared_by_patient(results: Path, table: Path) -> None:
    cohort = write_cohort_report(results, read_metadata(table, group="Response"))
    assert cohort is not None
    [found] = [g for g in cohort["groups"] if g["class"] == "Inflammatory"]
    density = {f"P{p}": np.mean([20 * (k + 1) for k in range(11) if k // 2 == p]) for p in range(6)}
    no, yes = [density[f"P{p}"] for p in range(3)], [density[f"P{p}"] for p in range(3, 6)]
    assert found["test"] == "Mann-Whitney"
    assert found["p"] == pytest.approx(stats.mannwhitneyu(no, yes, method="exact").pvalue)
    assert {g["group"]: g["median_per_mm2"] for g in found["groups"]} == {
        "no": pytest.approx(np.median(no)),
        "yes": pytest.approx(np.median(yes)),
    }
    assert {p["patient"]: p["per_mm2"] for p in found["patients"]} == pytest.approx(density)
    [pair] = found["pairs"]
    assert pair["cliffs_delta"] == 1.0
    ratio = (sum(20 * (k + 1) for k in range(6, 11)) / 5) / (sum(20 * (k + 1) for k in range(6)) / 6)
    assert pair["rate_ratio"]["ratio"] == pytest.approx(ratio)


def test_slides_are_ranked_and_odd_ones_flagged(results: Path) -> None:
    cohort = write_cohort_report(results)
    assert cohort is not None
    [ranked] = [r for r in cohort["ranking"] if r["class"] == "Inflammatory"]
    assert [e["slide"] for e in ranked["entries"]] == [f"slide {k:02d}" for k in range(11, -1, -1)]
    assert all(slide["flags"] == [] for slide in cohort["slides"]), "1 mm2 is enough"
    assert cohort["groups"] == []
    assert cohort["metadata"] is None


def test_failed_and_missing_slides_are_listed(wsiparse: Any, demo_slide: Path, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "good.svs").write_bytes(demo_slide.read_bytes())
    (tmp_path / "slides" / "torn.svs").write_bytes(demo_slide.read_bytes()[:3000])
    assert wsiparse("run", tmp_path / "slides", "-o", tmp_path / "r").code == 3
    cohort = write_cohort_report(tmp_path / "r")
    assert cohort is not None
    states = {slide["name"]: slide["state"] for slide in cohort["slides"]}
    assert states == {"good": "done", "torn": "failed"}
    [why] = [slide["detail"] for slide in cohort["slides"] if slide["state"] == "failed"]
    assert "torn.svs" in why
    page = Page((tmp_path / "r" / "report.html").read_text(encoding="utf-8"))
    assert re.sub(r"\s+", " ", why) in page.text


def test_no_results_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no results folder"):
        write_cohort_report(tmp_path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_metadata_of_any_spreadsheet_is_read(delimiter: str, tmp_path: Path) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows(
        [
            ["image", "Case_ID", "arm", "x"],
            ["a b.svs", " 7 ", "A", 'with "quotes"\nand lines'],
            ["", "8", "B", ""],
        ]
    )
    path = tmp_path / "m.csv"
    path.write_text(out.getvalue(), encoding="utf-8")
    got = read_metadata(path)
    assert (got.patient, got.group, got.columns) == ("Case_ID", "arm", ("Case_ID", "arm", "x"))
    assert [(row.line, row.slide, row.values) for row in got.rows] == [
        (2, "a b.svs", {"Case_ID": "7", "arm": "A", "x": 'with "quotes"\nand lines'})
    ]
    assert got.notices == ("m.csv: 1 row(s) name no slide, the first in line 4",)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("who,group\na,b\n", {}, "no column 'slide'"),
        ("", {}, "is empty"),
        ("\n", {}, "no column 'slide' .found nothing"),
        ("slide,group\na,b\n", {"patient": "whom"}, "no column 'whom'. Its columns are group"),
        ("slide,group\na,b\n", {"group": "arm"}, "no column 'arm'"),
    ],
)
def test_metadata_that_cannot_be_used_is_one_line(
    text: str, options: dict[str, str], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((ConfigError, UnsupportedSlideError), match=words) as caught:
        read_metadata(path, **options)
    assert "\n" not in str(caught.value)


def test_metadata_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SlideNotFoundError, match="no such file"):
        read_metadata(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes(b"slide,\xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_metadata(tmp_path / "m.csv")


def test_the_table_of_a_run_is_metadata_too(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("slide,mpp,roi,patient\na.svs,0.25,a.geojson,P1\n", encoding="utf-8")
    got = read_metadata(tmp_path / "m.csv")
    assert got.columns == ("patient",)
    assert [(row.slide, row.values) for row in got.rows] == [("a.svs", {"patient": "P1"})]
