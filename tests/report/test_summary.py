from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from wsiparse.coords import Frame
from wsiparse.report.summary import ALL_CELLS, COLUMNS, counts_csv, safe_cell, summarise
from wsiparse.types import ObjectTable, Prompt, PromptSet

PROMPTS = PromptSet((Prompt("a", "=A"), Prompt("b", "B"), Prompt("c", "C", kind="region")))
FRAME = Frame((1000, 1000), (1.0, 1.0), (0.5, 0.5))


def table(classes: list[int], areas: list[int]) -> ObjectTable:
    n = len(classes)
    square = np.tile(np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], np.int32), (n, 1))
    return ObjectTable(
        coords=square,
        ring_offsets=np.arange(n + 1, dtype=np.int64) * 5,
        polygon_offsets=np.arange(n + 1, dtype=np.int64),
        class_id=np.array(classes, np.uint8),
        score=np.ones(n, np.float32),
        area_px=np.array(areas, np.int64),
        centroid=np.zeros((n, 2)),
        first_px=np.zeros((n, 2), np.int32),
        class_share=np.zeros((n, 0), np.float32),
    )


def rows(analysed: float = 2.0) -> list[dict[str, str]]:
    batches = [table([1, 2, 1], [40, 60, 80]), table([], []), table([3, 1], [4000, 20])]
    summary = summarise(((b, FRAME) for b in batches), PROMPTS, slide="s", engine="e", analysed_mm2=analysed)
    return list(csv.DictReader(io.StringIO(counts_csv([summary]))))


def test_counts_areas_and_densities_add_up_over_batches() -> None:
    got = {r["class"]: r for r in rows()}
    assert (got["'=A"]["n"], got["'=A"]["area_um2"], got["'=A"]["density_per_mm2"]) == ("3", "35.0", "1.50")
    assert (got["B"]["n"], got["C"]["n"], got["C"]["area_um2"]) == ("1", "1", "1000.0")


def test_the_total_row_counts_cells_but_not_regions() -> None:
    total = rows()[-1]
    assert (total["class"], total["n"], total["density_per_mm2"]) == (ALL_CELLS, "4", "2.00")


def test_nothing_analysed_has_no_density_rather_than_an_infinite_one() -> None:
    assert {r["density_per_mm2"] for r in rows(analysed=0.0)} == {""}


def test_the_header_is_the_documented_one() -> None:
    assert tuple(rows()[0]) == COLUMNS


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_starts_a_formula(text: str) -> None:
    assert safe_cell(text) == "'" + text
