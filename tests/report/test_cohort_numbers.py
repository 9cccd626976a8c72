"""The tables over all slides, against pandas and SciPy, and the metadata that joins them."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import shapely
from scipy import stats

from tests.report.slides_made import MPP, Content, write_slide
from tests.report.test_slide_report import Page, square
from wsiparse.errors import ConfigError, OutputError, SlideNotFoundError, UnsupportedSlideError
from wsiparse.report.cohort import read_metadata, write_cohort_report
from wsiparse.report.stats.joining import Metadata
from wsiparse.results.folder import own_hash


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
    (results / "metadata.json").unlink(missing_ok=True)
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


def read(folder: Path, text: str | bytes, name: str = "m.csv", **options: str) -> Metadata:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_metadata(folder / name, **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("first", ["", "sep=;\r\n"])
def test_a_table_as_excel_saves_it_is_read(encoding: str, first: str, tmp_path: Path) -> None:
    got = read(tmp_path, (f"{first}Slide Name;Patient ID;Dosis\r\nä b.svs ;007;0,5\r\n").encode(encoding))
    assert (got.patient, got.columns) == ("Patient ID", ("Patient ID", "Dosis"))
    assert [(r.line, r.slide, r.values) for r in got.rows] == [
        (3 if first else 2, "ä b.svs", {"Patient ID": "007", "Dosis": "0,5"})
    ]


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"])
def test_a_workbook_is_told_for_what_it_is(head: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is an Excel workbook\. Save the table as 'CSV UTF-8'"):
        read(tmp_path, head + bytes(100), "m.xlsx")


def test_columns_of_one_name_count_once_or_are_refused(tmp_path: Path) -> None:
    got = read(tmp_path, "slide,patient,Patient\na,1,1\n")
    assert (got.columns, got.rows[0].values) == (("patient",), {"patient": "1"})
    with pytest.raises(ConfigError, match="line 3: two columns are called 'Patient', and here they hold '2' and '3'"):
        read(tmp_path, "slide,patient,Patient\na,1,1\nb,2,3\n")
    with pytest.raises(ConfigError, match="two columns are called 'Slide'"):
        read(tmp_path, "slide,Slide\na,b\n")
    with pytest.raises(ConfigError, match="line 2: has 3 cells, the header 2"):
        read(tmp_path, "slide,dose\na,0,5\n")


def test_columns_that_are_called_as_ours_get_another_name(results: Path, tmp_path: Path) -> None:
    got = read(tmp_path, "slide,n,Path,group\nslide 03,99,x,A\n", group="N")
    assert (got.columns, got.group) == (("metadata_n", "metadata_Path", "group"), "metadata_n")
    write_cohort_report(results, got)
    with (results / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["slide"] == "slide 03" and row["class"] == "Inflammatory"]
    assert [(row["n"], row["metadata_n"]) for row in rows] == [("80", "99")]


def test_numbers_of_a_table_stay_numbers_and_formulas_do_not_run(results: Path, tmp_path: Path) -> None:
    lines = ["slide;dose;note", 'slide 03;-0,5;"=cmd|x!A1"', "slide 04;+1e3;-1+1", 'slide 05;007;"a;b ""c""\nd"']
    write_cohort_report(results, read(tmp_path, "\n".join(lines)))
    with (results / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["slide"]: (row["dose"], row["note"]) for row in csv.DictReader(file)}
    assert rows["slide 03"] == ("-0,5", "'=cmd|x!A1")
    assert rows["slide 04"] == ("+1e3", "'-1+1")
    assert rows["slide 05"] == ("007", 'a;b "c"\nd')


def comparison(results: Path, folder: Path, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    cohort = write_cohort_report(results, read(folder, text))
    assert cohort is not None
    [found] = [g for g in cohort["groups"] if g["class"] == "Inflammatory"] or [{}]
    return found, cohort["metadata"]


def test_patients_who_are_not_known_are_no_patient_together(results: Path, tmp_path: Path) -> None:
    words = ["NA", "n/a", "Unknown", "-", "nan", "none"]
    lines = [f"slide {k:02d},{word},x" for k, word in enumerate(words)]
    lines += [f"slide {k:02d},P{k},{'xy'[k % 2]}" for k in range(6, 12)]
    found, table = comparison(results, tmp_path, "\n".join(["slide,patient,group", *lines]))
    assert {p["patient"] for p in found["patients"]} == {f"P{k}" for k in range(6, 12)}
    assert "'NA', 'n/a', 'Unknown', '-', 'nan', 'none' is taken for not known, on 6 slide(s)" in table["notices"][0]
    assert "no patient for 6 slide(s), in no comparison" in table["notices"][-1]
    with (results / "summary.csv").open(newline="", encoding="utf-8") as file:
        assert {row["patient"] for row in csv.DictReader(file) if row["slide"] < "slide 06"} == {""}


def test_where_no_patient_is_named_every_slide_counts_as_one(results: Path, tmp_path: Path) -> None:
    lines = [f"slide {k:02d},NA,{'xy'[k % 2]}" for k in range(12)]
    for head in ("slide,patient,group", "slide,note,group"):
        found, table = comparison(results, tmp_path, "\n".join([head, *lines]))
        assert {p["patient"] for p in found["patients"]} == {f"slide {k:02d}" for k in range(12)}
        assert "every slide counts as a patient of its own" in table["notices"][-1]


def test_groups_that_differ_only_in_case_or_blanks_are_one(results: Path, tmp_path: Path) -> None:
    spelt = ["Responder", "responder", "RESPONDER\u00a0", "Responder"]
    lines = [f"slide {k:02d},{k},{spelt[k] if k < 4 else 'Non-responder'}" for k in range(8)]
    lines += ["slide 08,8,NA", "slide 09,9,", "slide 10,10,non-responder"]
    found, table = comparison(results, tmp_path, "\n".join(["slide,patient,group", *lines]))
    assert {g["group"]: g["n_patients"] for g in found["groups"]} == {"Responder": 4, "Non-responder": 5}
    told = "\n".join(table["notices"])
    assert "differ only in case or blanks: one group, 'Responder'" in told
    assert "group 'NA' is taken for not known, on 1 slide(s): slide 08" in told
    assert "no group for 2 slide(s), in no comparison: slide 08, slide 09" in told


def test_numbers_of_patients_stay_text_and_patients_in_two_spellings_are_one(results: Path, tmp_path: Path) -> None:
    names = ["007", "7", "7.0", "p 1", "P  1", "p 1"]
    lines = [f"slide {k:02d},{name},{'xxyyyy'[k]}" for k, name in enumerate(names)]
    found, table = comparison(results, tmp_path, "\n".join(["slide,patient,group", *lines]))
    assert {p["patient"]: p["slides"] for p in found["patients"]} == {"007": 1, "7": 1, "7.0": 1, "p 1": 3}
    told = "\n".join(table["notices"])
    assert "patients '007', '7', '7.0' are one number but not one text: kept apart" in told
    assert "one patient, 'p 1'" in told


def test_the_same_image_of_a_patient_counts_once(tmp_path: Path) -> None:
    for k, name in enumerate(("a", "b", "c", "d")):
        points = np.random.default_rng(k // 2).uniform(20, 980, (20 + 10 * (k // 2), 2))
        write_slide(tmp_path, name, Content(square(), {1: points}))
    for folder in (tmp_path / "slides").iterdir():
        record = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        record["slide"]["fingerprint"] = "same" if record["slide"]["name"] in "ab" else record["slide"]["name"]
        record["sha256"] = own_hash(record)
        (folder / "report.json").write_text(json.dumps(record), encoding="utf-8")
    found, _ = comparison(tmp_path, tmp_path, "slide,patient,group\na,1,x\nb,1,x\nc,2,y\nd,3,y\n")
    assert {p["patient"]: (p["slides"], p["n"]) for p in found["patients"]} == {
        "1": (1, 20),
        "2": (1, 30),
        "3": (1, 30),
    }
    cohort = write_cohort_report(tmp_path)
    assert cohort is not None
    assert cohort["notices"] == ["a, b hold the same image; in one patient it counts once"]
    assert [s["flags"] for s in cohort["slides"]] == [["same image as b"], ["same image as a"], [], []]


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


def test_a_slide_that_is_excluded_is_in_no_ranking_and_no_comparison_and_is_told(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "slides.csv"
    lines = ["slide,patient,group,Decision,reason"]
    lines += [f"slide {k:02d}.svs,P{k},{'ab'[k % 2]},{'Exclude' if k == 3 else 'include'},torn" for k in range(12)]
    path.write_text("\n".join(lines) + "\n")
    cohort = write_cohort_report(results, read_metadata(path))
    assert cohort is not None
    [ranked] = [r for r in cohort["ranking"] if r["class"] == "Inflammatory"]
    assert [e["slide"] for e in ranked["entries"]] == [f"slide {k:02d}" for k in range(11, -1, -1) if k != 3]
    [found] = [g for g in cohort["groups"] if g["class"] == "Inflammatory"]
    assert {p["patient"] for p in found["patients"]} == {f"P{k}" for k in range(12) if k != 3}
    assert [slide["flags"] for slide in cohort["slides"]] == [["excluded: torn"] if k == 3 else [] for k in range(12)]
    assert any("1 slide(s) excluded" in line and "slide 03 (torn)" in line for line in cohort["metadata"]["notices"])
    frame = pandas.read_csv(results / "summary.csv", keep_default_na=False)
    assert set(frame["Decision"][frame["slide"] == "slide 03"]) == {"Exclude"}


def test_a_decision_that_is_no_known_word_stops_the_report(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "slides.csv"
    path.write_text("slide,decision\nslide 03.svs,maybe\n")
    with pytest.raises(ConfigError, match=r"decision about slide 03 is 'maybe'. Write include or exclude"):
        write_cohort_report(results, read_metadata(path))


def test_the_table_of_quality_has_the_share_of_each_kind_of_artefact(tmp_path: Path) -> None:
    left = shapely.box(0, 0, 400 / MPP, 1000 / MPP)
    spoilt = (("out_of_focus", left, True), ("ink", shapely.MultiPolygon(), False))
    write_slide(tmp_path, "a", Content(square(), {1: np.full((30, 2), 500.0)}), found_artefacts=spoilt)
    cohort = write_cohort_report(tmp_path)
    assert cohort is not None
    [slide] = cohort["slides"]
    assert slide["artefacts_percent"] == {"out of focus": pytest.approx(40.0), "ink": 0.0}
    assert "artefacts" in slide["flags"]
    frame = pandas.read_csv(tmp_path / "summary.csv", keep_default_na=False)
    assert frame["out_of_focus_mm2"].tolist() == pytest.approx([0.4] * len(frame))
    assert frame["analysed_mm2"].tolist() == pytest.approx([0.6] * len(frame))
