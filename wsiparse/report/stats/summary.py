"""Counts and areas of one slide, class by class: what a run tells at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from wsiparse.coords import Frame, um2_per_px
from wsiparse.types import ClassCount, ObjectTable, PromptSet, RecognitionGrid, SlideSummary

__all__ = ["ALL_CELLS", "LOW_SCORE", "summarise", "verdict"]

#: Name of the row that adds up every cell class.
ALL_CELLS = "All cells"

#: A median recognition score below this says that the masks do not look like the class they were asked for.
LOW_SCORE = 0.05


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
    slide : its name
    analysed_mm2, unreadable_mm2 : area that was analysed, and area lost to unreadable tiles
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
            verdict(int(n[i + 1]), medians.get(i)),
            medians.get(i),
        )
        for i, p in enumerate(prompts)
    )
    return SlideSummary(slide, engine, analysed_mm2, unreadable_mm2, counts)


def verdict(n: int, recognition: float | None) -> str:
    """What is said of a class: "not found", "low score" (the masks do not look like it) or "found"."""
    if n == 0:
        return "not found"
    return "low score" if recognition is not None and recognition < LOW_SCORE else "found"
