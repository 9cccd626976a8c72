"""`wsiparse compare`: two results of the same slides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely

from wsiparse.errors import OutputError
from wsiparse.machine import own_version
from wsiparse.measure.figures import field_rows, figures_of
from wsiparse.measure.files import write_measured
from wsiparse.measure.matching import Area, FieldSums, Side, compare_sides
from wsiparse.measure.naming import codes_of, joined_classes, parse_pairs, prompt_classes
from wsiparse.measure.results import MeasuredSlide, measured_slides

__all__ = ["compare"]

#: Slides with more nuclei on one side are compared by centroids: outlines of millions do not fit into memory.
_MOST_OUTLINES: Final = 500_000

#: Analysed areas that differ by a larger share are said.
_SAME_AREA: Final = 0.01


def compare(first: Path, second: Path, out: Path, *, pairs: tuple[str, ...] = (), seed: int = 0) -> dict[str, Any]:
    """Compare, and write comparison.json, figures.csv, fields.csv and comparison.html; a field is a slide.

    Parameters
    ----------
    first, second : folders of runs, or of one slide in them
    out : folder, made where it is not there
    pairs : "CLASS OF FIRST=CLASS OF SECOND"
    seed : of the intervals

    Returns
    -------
    what comparison.json holds

    Raises
    ------
    OutputError, ConfigError
        If results cannot be used, a slide of one name is another slide in the other, none is in both, or a class that
        is named is on neither side.
    """
    (ours, notes), (theirs, more) = measured_slides(first), measured_slides(second)
    notes += more
    both = _paired(ours, theirs, notes)
    names = [[n for pair in both for n in prompt_classes(tuple(pair[side].reader.prompts)).values()] for side in (0, 1)]
    classes, places = joined_classes(names[1], names[0], parse_pairs(pairs))
    sums = [_of_slide(a, b, places, len(classes), notes) for a, b in both]
    if all(
        a.reader.slide["fingerprint"] == b.reader.slide["fingerprint"] and a.folder.samefile(b.folder) for a, b in both
    ):
        notes.append("both are the same folder")
    engines = dict.fromkeys(f"{a.reader.engine} against {b.reader.engine}" for a, b in both)
    numbers: dict[str, Any] = {
        "wsiparse": own_version(),
        "what": "comparison",
        "results": str(first),
        "truth": str(second),
        "engine": "; ".join(engines),
        "partial": False,
        "seed": seed,
        "slides": [a.name for a, _ in both],
        "mm2": float(sum(f.mm2 for f in sums)),
        "sides": ["in the first", "in the second"],
        "notes": notes,
        **figures_of(sums, classes, seed=seed),
        "fields": field_rows(sums, classes),
    }
    write_measured(out, numbers, "comparison", [])
    return numbers


def _paired(
    ours: list[MeasuredSlide], theirs: list[MeasuredSlide], notes: list[str]
) -> list[tuple[MeasuredSlide, MeasuredSlide]]:
    """The same slides, by fingerprint."""
    by_print = {slide.fingerprint: slide for slide in theirs}
    both = [(a, by_print[a.fingerprint]) for a in ours if a.fingerprint in by_print]
    paired = {a.fingerprint for a, _ in both}
    lone_a, lone_b = ([s for s in side if s.fingerprint not in paired] for side in (ours, theirs))
    other = {s.name: s for s in lone_b}
    for slide in lone_a:
        if slide.name in other:
            raise OutputError(
                f"{slide.name}: not the same slide in both ({slide.folder} and {other[slide.name].folder}): the files "
                "differ. Compare results of one file."
            )
    if not both:
        raise OutputError(
            f"no slide is in both: {', '.join(s.name for s in ours[:5])} against "
            f"{', '.join(s.name for s in theirs[:5])}. Compare two results of the same slides."
        )
    notes += [f"{s.name}: only in {s.folder.parent.parent}, left out" for s in (*lone_a, *lone_b)]
    return both


def _of_slide(
    a: MeasuredSlide, b: MeasuredSlide, places: dict[str, int], n_classes: int, notes: list[str]
) -> FieldSums:
    outlines = max(a.reader.count("cell"), b.reader.count("cell")) <= _MOST_OUTLINES
    sides = []
    for slide in (a, b):
        nuclei = slide.nuclei(outlines=outlines)
        ids = prompt_classes(tuple(slide.reader.prompts))
        sides.append(Side(nuclei.points, codes_of((ids[int(k)] for k in nuclei.class_id), places), nuclei.shapes))
    whole = Area("whole slide", shapely.box(0, 0, *(np.array(a.facts.size) * a.facts.mpp)))
    found = compare_sides(a.name, sides[0], sides[1], [whole], n_classes)[0]
    if abs(a.analysed_mm2 - b.analysed_mm2) > _SAME_AREA * max(a.analysed_mm2, b.analysed_mm2):
        notes.append(
            f"{a.name}: {a.analysed_mm2:.3g} mm2 were analysed in the first and {b.analysed_mm2:.3g} mm2 in the "
            "second; what only one looked at counts as a difference, and densities are per mm2 of the first"
        )
    return FieldSums(
        a.name, found.field, a.analysed_mm2, found.nuclei, found.classes, found.confusion, found.outlined,
        found.truth_rows, found.found_rows,
    )  # fmt: skip
