from __future__ import annotations

import numpy as np
import pytest

from wsiparse.coords import Frame
from wsiparse.names import safe_cell
from wsiparse.report.stats.summary import LOW_SCORE, NO_CELLS, NO_CELLS_MM2, nothing_told, summarise, verdict
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


def test_counts_and_areas_add_up_over_batches() -> None:
    batches = [table([1, 2, 1], [40, 60, 80]), table([], []), table([3, 1], [4000, 20])]
    got = summarise(((b, FRAME) for b in batches), PROMPTS, slide="s", engine="e", analysed_mm2=2.0)
    assert [(c.class_name, c.n, c.area_um2) for c in got.counts] == [("=A", 3, 35.0), ("B", 1, 15.0), ("C", 1, 1000.0)]
    assert got.n_cells == 4
    assert got.density(got.n_cells) == 2.0


def test_nothing_analysed_has_no_density_rather_than_an_infinite_one() -> None:
    assert summarise([], PROMPTS, slide="s", engine="e", analysed_mm2=0.0).density(0) is None


def test_verdicts() -> None:
    assert verdict(0, 0.9, mm2=1.0) == "not found"
    assert verdict(5, None, mm2=1.0) == verdict(5, LOW_SCORE, mm2=1.0) == "found"
    assert verdict(5, LOW_SCORE / 2, mm2=1.0) == "low score"
    assert verdict(0, None, mm2=1.0, nothing=True) == NO_CELLS
    assert verdict(0, None, mm2=0.0) == verdict(0, None, mm2=0.0, nothing=True) == "no tissue"


NUCLEI = PromptSet((Prompt("nuclei", "Nuclei"), Prompt("glands", "Glands", kind="region")))


def test_no_cell_on_much_tissue_is_no_finding_whatever_regions_there_are() -> None:
    layers = [(table([2], [400]), FRAME)]
    got = summarise(layers, NUCLEI, slide="s", engine="e", analysed_mm2=2 * NO_CELLS_MM2)
    assert [c.verdict for c in got.counts] == [NO_CELLS, "found"]
    small = summarise(layers, NUCLEI, slide="s", engine="e", analysed_mm2=NO_CELLS_MM2)
    assert [c.verdict for c in small.counts] == ["not found", "found"]


def test_what_is_told_of_no_cells_depends_on_whether_nuclei_were_asked_for() -> None:
    assert nothing_told(NUCLEI, 1, 5.0) == nothing_told(NUCLEI, 0, NO_CELLS_MM2) == ""
    assert "no finding" in nothing_told(NUCLEI, 0, 5.0)
    assert "Ask for them too" in nothing_told(PromptSet((Prompt("neoplastic cells", "Tumour"),)), 0, 5.0)
    glands = PromptSet((Prompt("glands", "Glands", kind="region"),))
    assert nothing_told(glands, 0, 5.0) == ""  # nobody looked for cells


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=1", "\uff1d1+1", "\uff201"])
def test_no_cell_starts_a_formula(text: str) -> None:
    assert safe_cell(text) == "'" + text
    assert safe_cell("a" + text) == "a" + text
