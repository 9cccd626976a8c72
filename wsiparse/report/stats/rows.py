"""The table of a report: a row for each class and compartment, with 95 % intervals. Pure."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.choices import ArtefactKind, words
from wsiparse.names import safe_cell
from wsiparse.report.stats.bootstrap import (
    BLOCK_UM,
    REPLICATES,
    BlockBootstrap,
    Interval,
    block_counts,
    density_interval,
    resample,
    share_interval,
)
from wsiparse.report.stats.objects import KINDS, ReportObjects
from wsiparse.report.stats.summary import ALL_CELLS, NO_CELLS, nothing_told, verdict
from wsiparse.report.stats.tissue import Tissue
from wsiparse.types import PromptSet

__all__ = [
    "ALL_TISSUE",
    "COLUMNS",
    "OVER_ALL",
    "CsvSlide",
    "IntervalSettings",
    "Resampled",
    "count_rows",
    "counts_csv",
    "known",
    "resampled",
    "rows_csv",
]

ALL_TISSUE: Final = "all tissue"

#: Columns of counts.csv and summary.csv: name, digits after the point (None for text and whole numbers).
_CSV: Final[tuple[tuple[str, int | None], ...]] = (
    ("class", None),
    ("kind", None),
    ("compartment", None),
    ("n", None),
    ("compartment_mm2", 6),
    ("density_per_mm2", 2),
    ("density_low", 2),
    ("density_high", 2),
    ("density_note", None),
    ("object_area_um2", 1),
    ("mean_area_um2", 1),
    ("area_percent", 4),
    ("share_percent", 2),
    ("share_low", 2),
    ("share_high", 2),
    ("share_note", None),
    ("verdict", None),
    ("recognition_score", 4),
)
COLUMNS: Final = (
    "slide", *(name for name, _ in _CSV), "analysed_mm2", "excluded_mm2", "unreadable_mm2",
    *(f"{kind}_mm2" for kind in words(ArtefactKind)), "engine", "slide_id",
)  # fmt: skip
#: Columns that only a table over several slides has, between the above and those of metadata.
OVER_ALL: Final = ("path",)

_NUMBER: Final = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class IntervalSettings:
    """Of the spatial block bootstrap; see `wsiparse.report.stats.bootstrap`."""

    seed: int = 0
    block_um: float = BLOCK_UM
    replicates: int = REPLICATES
    level: float = 0.95


@dataclass(frozen=True, eq=False)
class Resampled:
    """The bootstraps of one partition: of classes, and of all cells together.

    Parameters
    ----------
    parts : the compartments
    classes : column ``c * P + k`` is class k in part c; None when nothing was analysed
    cells : column c is all cells in part c
    """

    parts: tuple[Tissue, ...]
    classes: BlockBootstrap | None
    cells: BlockBootstrap | None


def resampled(
    objects: ReportObjects,
    n_classes: int,
    tissue: Tissue,
    parts: Sequence[Tissue],
    part_of: NDArray[np.integer],
    settings: IntervalSettings,
) -> Resampled:
    """Draw the blocks of a partition.

    Parameters
    ----------
    n_classes : number of prompts
    part_of : (N,) of an integer dtype, position of each object's part, negative for none
    """
    of_class = np.where(part_of >= 0, part_of * n_classes + objects.class_index, -1)
    of_cell = np.where(objects.is_cell, part_of, -1)
    found = []
    for column, per_part in ((of_class, n_classes), (of_cell, 1)):
        owner = [c for c in range(len(parts)) for _ in range(per_part)]
        blocks = block_counts(objects.um, column, tissue, parts, owner, block_um=settings.block_um)
        found.append(
            None
            if blocks is None
            else resample(blocks, seed=settings.seed, replicates=settings.replicates, level=settings.level)
        )
    return Resampled(tuple(parts), found[0], found[1])


def count_rows(
    objects: ReportObjects,
    prompts: PromptSet,
    boot: Resampled,
    part_of: NDArray[np.integer],
    names: Sequence[str],
    recognition: Mapping[int, float | None],
) -> list[dict[str, Any]]:
    """A row for each part and class, and one for all cells when there are several cell classes.

    Parameters
    ----------
    boot : of the same parts
    part_of : (N,) of an integer dtype, position of each object's part
    names : of the parts
    recognition : prompt position -> median recognition score
    """
    cells, n_prompts = prompts.of_kind("cell"), len(prompts)
    mm2 = sum(part.area_mm2 for part in boot.parts)
    nothing = bool(nothing_told(prompts, int(objects.is_cell.sum()), mm2))
    rows = []
    for c, name in enumerate(names):
        here = part_of == c
        for k, prompt in enumerate(prompts):
            chosen = here & objects.of([k])
            share = None
            if prompt.kind == "cell" and boot.classes is not None:
                share = share_interval(boot.classes, c * n_prompts + k, [c * n_prompts + j for j in cells])
            density = density_interval(boot.classes, c * n_prompts + k) if boot.classes is not None else None
            row = _row(objects, chosen, boot.parts[c].area_mm2, density, share)
            score = recognition.get(k)
            area, cell = boot.parts[c].area_mm2, prompt.kind == "cell"
            told = verdict(row["n"], score, mm2=area, nothing=nothing and cell)
            judged = {"verdict": told, "recognition_score": score}
            rows.append({"class": prompt.class_name, "kind": prompt.kind, "compartment": name} | row | judged)
        if len(cells) > 1:
            chosen = here & objects.is_cell
            density = density_interval(boot.cells, c) if boot.cells is not None else None
            row = _row(objects, chosen, boot.parts[c].area_mm2, density, None)
            if row["n"]:
                row |= {"share_percent": 100.0}
            judged = {"verdict": NO_CELLS if nothing else "", "recognition_score": None}
            rows.append({"class": ALL_CELLS, "kind": "cell", "compartment": name} | row | judged)
    return rows


def _row(
    objects: ReportObjects, chosen: NDArray[np.bool_], mm2: float, density: Interval | None, share: Interval | None
) -> dict[str, Any]:
    n = int(chosen.sum())
    # whole pixels first, kind by kind: the same bits for any order of objects
    cells = chosen & objects.is_cell
    px = {"cell": int(objects.area_px[cells].sum()), "region": int(objects.area_px[chosen & ~cells].sum())}
    area: float | None = sum(px[kind] * objects.um2_per_px[kind] for kind in KINDS)
    if n and not objects.area_px[chosen].all():
        area = None  # points of other programs have no area
    return {
        "n": n,
        "compartment_mm2": mm2,
        "density_per_mm2": n / mm2 if mm2 > 0 else None,
        "density_low": density.low if density else None,
        "density_high": density.high if density else None,
        "density_note": density.reason if density else "no tissue was analysed",
        "density_error": density.error if density else None,
        "object_area_um2": area,
        "mean_area_um2": area / n if n and area is not None else None,
        "area_percent": 100 * area * 1e-6 / mm2 if mm2 > 0 and area is not None else None,
        "share_percent": _percent(share.estimate) if share else None,
        "share_low": _percent(share.low) if share else None,
        "share_high": _percent(share.high) if share else None,
        "share_note": share.reason if share else "",
    }


def known(value: float | None) -> float | None:
    """A number as JSON has it: None for NaN and infinities."""
    return float(value) if value is not None and math.isfinite(value) else None


def _percent(share: float | None) -> float | None:
    found = known(share)
    return 100 * found if found is not None else None


@dataclass(frozen=True, slots=True)
class CsvSlide:
    """A slide on its way into a table.

    Parameters
    ----------
    numbers : of its report (see `wsiparse.report.stats.numbers`)
    name, id : what it is called, and the name of its results folder
    path : of the slide, "" where it is not known
    values : of the extra columns
    """

    numbers: Mapping[str, Any]
    name: str
    id: str
    path: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


def counts_csv(slide: CsvSlide) -> str:
    """The rows of one slide, CSV text with \\n line ends."""
    return _csv([slide], COLUMNS, lambda _: ())


def rows_csv(slides: Iterable[CsvSlide], extra: Sequence[str] = ()) -> str:
    """The rows of several slides under one header, CSV text with \\n line ends.

    Parameters
    ----------
    extra : names of further columns
    """
    header = (*COLUMNS, *OVER_ALL, *map(safe_cell, extra))
    return _csv(slides, header, lambda s: (safe_cell(s.path), *(_written(s.values.get(name, "")) for name in extra)))


def _written(text: str) -> str:
    """A value of a table as it was; a number stays one, whatever its sign and decimal mark, and runs nothing."""
    return text if _NUMBER.fullmatch(text) else safe_cell(text)


def _csv(slides: Iterable[CsvSlide], header: Sequence[str], more: Callable[[CsvSlide], Sequence[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for slide in slides:
        numbers, area = slide.numbers, slide.numbers["area"]
        excluded = area["tissue_mm2"] - area["analysed_mm2"]
        facts = [f"{v:.6f}" for v in (area["analysed_mm2"], max(excluded, 0.0), area["unreadable_mm2"])]
        # "" for a kind that was not looked for, and for results of an older version
        spoilt = {a["kind"]: f"{a['mm2']:.6f}" for a in area.get("artefacts", ())}
        facts += [spoilt.get(kind, "") for kind in words(ArtefactKind)]
        ends = [*facts, safe_cell(numbers["engine"]), safe_cell(slide.id), *more(slide)]
        for row in numbers["rows"]:
            writer.writerow([safe_cell(slide.name), *(_cell(row[n], d) for n, d in _CSV), *ends])
    return out.getvalue()


def _cell(value: str | int | float | None, digits: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return safe_cell(value)
    return str(value) if digits is None else f"{value:.{digits}f}"
