"""Counts, areas and densities of one slide, and their CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from wsiparse.coords import Frame, um2_per_px
from wsiparse.types import ClassCount, ObjectTable, PromptSet, RecognitionGrid, SlideSummary

__all__ = ["ALL_CELLS", "COLUMNS", "LOW_SCORE", "counts_csv", "safe_cell", "summarise", "summary_rows"]

#: Name of the row that adds up every cell class.
ALL_CELLS = "All cells"

#: A median recognition score below this says that the masks do not look like the class they were asked for.
LOW_SCORE = 0.05

COLUMNS = (
    "slide",
    "class",
    "kind",
    "n",
    "area_um2",
    "mean_area_um2",
    "density_per_mm2",
    "analysed_mm2",
    "unreadable_mm2",
    "verdict",
    "recognition_score",
    "engine",
)


def summarise(
    layers: Iterable[tuple[ObjectTable, Frame]],
    prompts: PromptSet,
    *,
    slide: str,
    engine: str,
    analysed_mm2: float,
    unreadable_mm2: float = 0.0,
    recognition: Sequence[RecognitionGrid] = (),
) -> SlideSummary:
    """Count objects class by class, streaming.

    Parameters
    ----------
    layers : tables in any order and of any size, each with the frame its areas are measured in; class ids are prompt
        position + 1
    recognition : scores of tiles and prompts, where the engine gives any
    """
    n = np.zeros(len(prompts) + 1, np.int64)
    area_px = np.zeros(len(prompts) + 1, np.int64)
    unit = np.zeros(len(prompts) + 1)
    for table, frame in layers:
        n += np.bincount(table.class_id, minlength=len(n))
        np.add.at(area_px, table.class_id, table.area_px)
        unit[table.class_id] = um2_per_px(frame)
    medians = {p: grid.median(p) for grid in recognition for p in grid.positions}
    counts = tuple(
        ClassCount(
            p.class_name,
            p.kind,
            int(n[i + 1]),
            float(area_px[i + 1] * unit[i + 1]),
            _verdict(int(n[i + 1]), medians.get(i)),
            medians.get(i),
        )
        for i, p in enumerate(prompts)
    )
    return SlideSummary(slide, engine, analysed_mm2, unreadable_mm2, counts)


def _verdict(n: int, recognition: float | None) -> str:
    if n == 0:
        return "not found"
    return "low score" if recognition is not None and recognition < LOW_SCORE else "found"


def safe_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a leading = + - @, tab or return gets an apostrophe before it."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def summary_rows(summary: SlideSummary) -> list[list[str]]:
    """One row per prompt and, when there are several cell prompts, one for all cells; columns of `COLUMNS`."""
    counts = list(summary.counts)
    cells = [c for c in counts if c.kind == "cell"]
    if len(cells) > 1:
        counts.append(
            ClassCount(
                ALL_CELLS, "cell", summary.n_cells, sum(c.area_um2 for c in cells), _verdict(summary.n_cells, None)
            )
        )
    rows = []
    for c in counts:
        density = summary.density(c.n)
        rows.append(
            [
                safe_cell(summary.slide),
                safe_cell(c.class_name),
                c.kind,
                str(c.n),
                f"{c.area_um2:.1f}",
                f"{c.area_um2 / c.n:.1f}" if c.n else "",
                f"{density:.2f}" if density is not None else "",
                f"{summary.analysed_mm2:.6f}",
                f"{summary.unreadable_mm2:.6f}",
                c.verdict,
                f"{c.recognition:.4f}" if c.recognition is not None else "",
                safe_cell(summary.engine),
            ]
        )
    return rows


def counts_csv(summaries: Iterable[SlideSummary]) -> str:
    """The rows of all summaries under one header, CSV text with \\n line ends."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for summary in summaries:
        writer.writerows(summary_rows(summary))
    return out.getvalue()
