"""What a cohort says for the next study: from rows of counts to tables, charts and words."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.report import made
from wsiparse.report.pages.page import cohort_page
from wsiparse.report.stats.rows import ALL_TISSUE
from wsiparse.report.stats.studies import PERCENT, STUDIES_COLUMNS, CountedSlide, scored, studies_csv, study_rows


def row(
    name: str, n: int, mm2: float = 10.0, compartment: str = ALL_TISSUE, error: float | None = None
) -> dict[str, Any]:
    density = n / mm2 if mm2 else None
    return {
        "class": name, "compartment": compartment, "n": n, "compartment_mm2": mm2, "density_per_mm2": density,
        "density_error": error,
    }  # fmt: skip


def cohort_of(counts: dict[str, list[int]], group: str = "") -> list[CountedSlide]:
    return [
        CountedSlide(patient, group, [row("Inflammatory", n, error=n / 100), row("Other", 50, compartment="stroma")])
        for patient, own in counts.items()
        for n in own
    ]


COUNTS = {"p1": [900, 1100], "p2": [400, 300], "p3": [2000, 2600], "p4": [700, 900], "p5": [1500, 1200]}


def test_rows_are_those_of_the_counts_by_hand() -> None:
    (own, other) = study_rows(cohort_of(COUNTS), ["Inflammatory"])
    y = np.log((np.array(list(COUNTS.values())) + 0.5) / 10)
    mss = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum() / 5
    msp = 2 * ((y.mean(axis=1) - y.mean()) ** 2).sum() / 4
    patient, slide, within = (msp - mss) / 2, mss - 0.01, 0.1**2
    assert own["mean_per_mm2"] == pytest.approx(math.exp(y.mean()))
    for key, variance in (("patients", patient), ("slides", slide), ("within", within)):
        assert own[f"cv_{key}_percent"] == pytest.approx(100 * math.sqrt(math.exp(variance) - 1)), key
    assert own["icc"] == pytest.approx(patient / (patient + mss))
    assert [(n["percent"], n["slides"]) for n in own["needed"]] == [(p, m) for p in PERCENT for m in (1, 2, 4)]
    assert (own["slides"], own["patients"], own["groups"]) == (10, 5, 1)
    assert other["class"] == "Other"
    assert other["cv_within_percent"] is None


def test_groups_do_not_count_as_variation_and_patients_in_several_are_left_out() -> None:
    shifted = {f"q{name}": [n * 20 for n in own] for name, own in COUNTS.items()}
    mixed = [CountedSlide("both", group, [row("Inflammatory", 10**6)]) for group in ("a", "b")]
    (own, *_) = study_rows([*cohort_of(COUNTS, "a"), *cohort_of(shifted, "b"), *mixed])
    (alone, *_) = study_rows(cohort_of(COUNTS, "a"))
    assert own["patients"] == 10
    assert own["cv_patients_percent"] == pytest.approx(alone["cv_patients_percent"], rel=0.01)


def test_the_csv_has_a_row_for_every_difference_and_one_where_there_is_none() -> None:
    rows = study_rows([*cohort_of(COUNTS), CountedSlide("p6", "", [row("=cmd()", 5)])])
    table = list(csv.DictReader(io.StringIO(studies_csv(rows))))
    assert tuple(table[0]) == STUDIES_COLUMNS
    own = [line for line in table if line["class"] == "Inflammatory"]
    assert len(own) == len(PERCENT) * 3
    assert [int(line["patients_needed"]) for line in own] == [n["n"] for n in rows[0]["needed"]]
    few = next(line for line in table if "cmd" in line["class"])
    assert few["class"] == "'=cmd()"
    assert few["patients_needed"] == ""
    assert "needed" in few["note"]


def test_without_tissue_there_is_no_density() -> None:
    rows = study_rows([CountedSlide(f"p{k}", "", [row("Inflammatory", 0, 0.0)]) for k in range(6)])
    assert rows[0]["slides"] == 0
    assert rows[0]["mean_per_mm2"] is None
    assert rows[0]["note"]


def panels(values: list[float | None]) -> list[list[dict[str, Any]]]:
    return [
        [] if v is None else [{"key": "stil_nuclei", "estimate": v}, {"key": "itil", "estimate": 9.0}] for v in values
    ]


def test_a_scored_column_is_held_against_what_was_measured() -> None:
    measured = [1.0, 4.0, 9.5, 2.0, 12.0, 20.0, None, 3.0]
    scores = ["5", "10 %", "20-30", "", "30", "60", "5", "lots"]
    found = scored([f"s{k}" for k in range(8)], panels(measured), scores, "sTIL")
    one, cells = found["measures"]
    assert cells["reason"] == "0 slide(s) with both, 5 are needed"
    assert [(p["slide"], p["measured"], p["scored"]) for p in one["pairs"]] == [
        ("s0", 1.0, 5.0), ("s1", 4.0, 10.0), ("s2", 9.5, 25.0), ("s4", 12.0, 30.0), ("s5", 20.0, 60.0),
    ]  # fmt: skip
    assert one["bland_altman"]["bias"] == pytest.approx(np.mean([-4, -6, -15.5, -18, -40]))
    assert one["concordance"]["spearman"] == pytest.approx(1.0)
    assert found["notices"] == [
        "column sTIL: no percentage, left out: s7 ('lots')", "column sTIL: no score for 1 slide(s)",
    ]  # fmt: skip
    few = scored(["a"], panels([1.0]), ["1"], "sTIL")["measures"][0]
    assert few["reason"] == "1 slide(s) with both, 5 are needed"
    assert few["bland_altman"] is None


def test_the_page_shows_the_tables_the_chart_and_the_words() -> None:
    cohort = made.cohort(12)
    random = np.random.default_rng(1)
    truth = random.uniform(2, 40, 12)
    found = scored([f"s{k}" for k in range(12)], panels((truth / 2).tolist()), [f"{v:.0f}" for v in truth], "sTIL <b>")
    cohort["studies"] = {"unit": "patient", "rows": study_rows(cohort_of(COUNTS)), "score": found}
    page = cohort_page(cohort, {})
    assert "variation-table" in page
    assert "needed-table" in page
    assert page.count('class="mark slide"') >= 12
    assert "not a pathologist" in page
    assert "sTIL &lt;b&gt;" in page
    b = found["measures"][0]["bland_altman"]
    assert f'data-value="{b["bias"]!r}"' in page
    assert stats.spearmanr(truth / 2, np.round(truth)).statistic > 0.99


def test_a_cohort_of_few_slides_says_what_is_missing() -> None:
    cohort = made.cohort(12)
    rows = study_rows(cohort_of({"p1": [5], "p2": [7]}))
    cohort["studies"] = {"unit": "slide", "rows": rows, "score": None}
    page = cohort_page(cohort, {})
    assert "needed-table" not in page
    assert "Not known: 2 slide(s)" in page
    assert "no patients are named" in page
