"""Counts and areas of one slide, class by class: what a run tells at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from wsiparse.coords import Frame, um2_per_px
from wsiparse.recognize.words import means_nuclei
from wsiparse.types import ClassCount, ObjectTable, PromptSet, RecognitionGrid, SlideSummary

__all__ = ["ALL_CELLS", "LOW_SCORE", "NO_CELLS", "NO_CELLS_MM2", "NO_TISSUE", "nothing_told", "summarise", "verdict"]

#: Name of the row that adds up every cell class.
ALL_CELLS = "All cells"

#: A median recognition score below this says that the masks do not look like the class they were asked for.
LOW_SCORE = 0.05

#: Without any cell on more than this area a slide was hardly seen as it is: sparse tissue, such as fat, has a hundred
#: nuclei per mm^2, so that none at all on 0.1 mm^2 comes about once in 20,000 times (Poisson).
NO_CELLS_MM2 = 0.1

#: Verdict of every class of cells then.
NO_CELLS = "no cell at all"

#: Verdict where no tissue was analysed.
NO_TISSUE = "no tissue"


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
    nothing = bool(nothing_told(prompts, int(n[[i + 1 for i in prompts.of_kind("cell")]].sum()), analysed_mm2))
    counts = tuple(
        ClassCount(
            p.class_name,
            p.kind,
            int(n[i + 1]),
            float(area_px[i + 1] * unit[i + 1]),
            verdict(int(n[i + 1]), medians.get(i), mm2=analysed_mm2, nothing=nothing and p.kind == "cell"),
            medians.get(i),
        )
        for i, p in enumerate(prompts)
    )
    return SlideSummary(slide, engine, analysed_mm2, unreadable_mm2, counts)


def verdict(n: int, recognition: float | None, *, mm2: float, nothing: bool = False) -> str:
    """What is said of a class: "found", "low score" (the masks do not look like it), or why there is none of it.

    Parameters
    ----------
    n : objects of the class
    recognition : median recognition score, or None
    mm2 : analysed area in which it was looked for; without any, "no tissue"
    nothing : whether no cell of any class was found on much tissue, which is no finding: "no cell at all"
    """
    if n == 0 and mm2 <= 0:
        return NO_TISSUE
    if n == 0:
        return NO_CELLS if nothing else "not found"
    return "low score" if recognition is not None and recognition < LOW_SCORE else "found"


def nothing_told(prompts: PromptSet, n_cells: int, analysed_mm2: float) -> str:
    """A line on a slide without any cell on more than `NO_CELLS_MM2`, which is no finding; "" for all others.

    Parameters
    ----------
    n_cells : cells of all classes
    analysed_mm2 : area they were looked for on
    """
    asked = [prompts[k] for k in prompts.of_kind("cell")]
    if n_cells or not asked or analysed_mm2 <= NO_CELLS_MM2:
        return ""
    found = f"no cell at all was found on {analysed_mm2:.3g} mm2 ({', '.join(p.class_name for p in asked)})"
    if any(means_nuclei(prompt.text) for prompt in asked):
        return (
            f"{found}: that is no finding, for nearly all tissue has nuclei. Its stain, focus or pixel size may be "
            "none that this engine can see; look at overlay.jpg and try another --engine."
        )
    return (
        f"{found}, and nuclei of any kind were not asked for: it is not known whether this engine can see them on this "
        "slide. Ask for them too (--prompt nuclei, or another --engine that has it), and look at overlay.jpg."
    )
