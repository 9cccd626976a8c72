"""How the analysed tissue is divided for a report, and what the page says of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from wsiparse.choices import Division
from wsiparse.report.stats.cell_compartments import auto_compartments
from wsiparse.report.stats.compartments import TUMOUR, Compartments, Inside, region_compartments
from wsiparse.report.stats.rows import ALL_TISSUE
from wsiparse.report.stats.source import REST, ReportSettings, Source

__all__ = ["described", "divided", "inside_of"]

#: More classes of regions are no compartments: each has its rows, bars and a share of the map.
_MOST_CLASSES: Final = 1000
#: What a region without a class is called.
_NO_CLASS: Final = "unclassified"
#: Colours of compartments (Okabe and Ito 2008): tumour, margins, stroma; then further regions.
_COLOURS: Final = ("#cc79a7", "#e69f00", "#f0e442", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#999999")


def divided(source: Source, settings: ReportSettings) -> tuple[Compartments | None, Division, str]:
    """The partition, how it was made, and why not as asked."""
    whole = auto_compartments(np.zeros((0, 2)), np.zeros((0, 2)), source.tissue)
    if whole is None:
        return None, "none", "no tissue was analysed"
    whole = replace(whole, names=(ALL_TISSUE,), method="All analysed tissue together.", reason="", tumour=(), stroma=())
    if settings.compartments == "none":
        return whole, "none", ""
    if settings.compartments == "roi":
        if not source.regions:
            return whole, "none", "no regions were given for this slide"
        named = [(name or _NO_CLASS, shape) for name, shape in source.regions]
        n = len({name for name, _ in named})
        if n > _MOST_CLASSES:
            why = f"the regions have {n} classes and names, compartments are made of at most {_MOST_CLASSES}"
            return whole, "none", why
        tumour, stroma = ([name for name, m in source.meanings.items() if m == kind] for kind in ("tumour", "stroma"))
        return region_compartments(named, source.tissue, tumour=tumour, stroma=stroma, rest=REST), "roi", ""
    lacking = [
        word
        for word, role in (("neoplastic or epithelial", "tumour"), ("connective tissue", "connective"))
        if role not in {source.roles[k] for k in source.prompts.of_kind("cell")}
    ]
    if lacking:
        return whole, "none", f"no class of {' and of '.join(lacking)} cells was asked for"
    found = auto_compartments(
        source.points("tumour"),
        source.points("connective"),
        source.tissue,
        margin_um=settings.margin_um,
        inside=source.cells_of,
    )
    assert found is not None
    if found.reason:
        return whole, "none", f"no border between {source.cells_of} and stroma was found: {found.reason}"
    return found, "auto", ""


def inside_of(used: Division, source: Source) -> Inside:
    """What the tumour compartments are: drawn ones are tumour, those of cells what the cells are of."""
    return source.cells_of if used == "auto" else TUMOUR


def described(compartments: Compartments | None, used: Division, reason: str, source: Source) -> dict[str, Any]:
    """The division as report.json holds it: how it was made, and names, areas and colours of the compartments."""
    if compartments is None:
        names, areas, tumour, stroma = [ALL_TISSUE], [source.tissue.area_mm2], [], []
    else:
        names, areas = list(compartments.names), list(compartments.area_mm2)
        tumour, stroma = list(compartments.tumour), list(compartments.stroma)
    return {
        "used": used,
        "method": compartments.method if compartments is not None else "",
        "reason": reason,
        "parameters": dict(compartments.parameters) if compartments is not None and used == "auto" else {},
        "names": names,
        "area_mm2": areas,
        "inside": inside_of(used, source),
        "tumour": tumour,
        "stroma": stroma,
        "colours": _colours(names, tumour),
    }


def _colours(names: Sequence[str], tumour: Sequence[int]) -> list[str]:
    """Tumour is always the first colour, stroma always blue; the others follow in order."""
    own = dict.fromkeys(tumour[:1], _COLOURS[0]) | {k: _COLOURS[3] for k, name in enumerate(names) if name == "stroma"}
    rest = iter([c for c in _COLOURS if c not in own.values()] * (1 + len(names) // 6))
    return [own[k] if k in own else next(rest) for k in range(len(names))]
