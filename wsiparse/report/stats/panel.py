"""What readers of tumour-infiltrating lymphocytes look at, each number with its formula and interval. Pure.

After the international TIL working group: Salgado et al., Annals of Oncology 26, 259-271, 2015; Hendry et al., Advances
in Anatomic Pathology 24, 235-251 and 311-335, 2017; Amgad et al., npj Breast Cancer 6, 16, 2020. Research use: the
group's rules are about a pathologist's eye. What differs here is said beside each number, and above all:

- a reader judges by eye how much of the stroma mononuclear cells occupy, gaps between them and all. Nuclei alone fill
  far less than 100 % even where cells touch; both percentages here are proportional to the eye's only within one stain,
  scale and engine;
- cells are told apart by an engine, granulocytes and macrophages not always from lymphocytes;
- *stroma* is what the compartments say; necrosis, in-situ tumour and normal tissue count unless they are drawn out;
- the border is that of the compartments: of epithelium unless tumour is known, and then no *invasive* margin.

Intervals are those of `wsiparse.report.stats.bootstrap`; of the tumour-stroma ratio with blocks of 1 mm, for nests of
tumour are wider than clusters of cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from wsiparse.report.stats.bootstrap import BlockBootstrap, Interval, density_interval, resample, share_interval
from wsiparse.report.stats.compartments import TUMOUR, Compartments, Inside
from wsiparse.report.stats.hot_average import hot_average
from wsiparse.report.stats.marked import UNITS, Marks, area_blocks, marked_blocks, whole_units
from wsiparse.report.stats.rows import IntervalSettings, known
from wsiparse.report.stats.tissue import Tissue

__all__ = ["MARGIN_REACH_UM", "RIM_UM", "Infiltrated", "border_distance", "covered_um2", "panel_of"]

Floats = NDArray[np.float64]

#: Width of the rim of cytoplasm about a lymphocyte's nucleus, um: an assumption, for small lymphocytes have little.
RIM_UM: Final = 1.0
#: Centres further apart than this are not looked at for overlap, um: nuclei of up to 14 um and their rims.
_OVERLAP_UM: Final = 16.0
#: How far the margin reaches to either side of the border, um (Hendry et al. 2017: a zone 1 mm wide).
MARGIN_REACH_UM: Final = 500.0
#: Blocks of the tumour-stroma ratio, um.
_RATIO_BLOCK_UM: Final = 1000.0


@dataclass(frozen=True, eq=False)
class Infiltrated:
    """Immune cells and the tissue they lie in.

    Parameters
    ----------
    um : (N, 2) float64, centroids of the immune cells, x then y, um
    area_um2 : (N,) float64, areas of their nuclei; 0 where other programs gave points
    compartments : the partition of the tissue
    tissue : what was analysed
    inside : what the tumour compartments are called
    """

    um: Floats
    area_um2: Floats
    compartments: Compartments
    tissue: Tissue
    inside: Inside = TUMOUR


def covered_um2(um: Floats, area_um2: Floats, *, rim_um: float = RIM_UM) -> Floats:
    """Area that each cell covers with its cytoplasm, what two cells share counted half to each.

    A cell is a disc with the area of its nucleus and a rim, radius sqrt(area / pi) + rim; from it half of the overlap
    with every other disc is taken, but never more than the rim. Summed up this is the area of all discs together,
    short of places where three overlap.

    Parameters
    ----------
    um : (N, 2) float64, centroids, x then y, um
    area_um2 : (N,) float64, areas of nuclei, um^2
    rim_um : width of the rim, um

    Returns
    -------
    (N,) float64, um^2
    """
    order = np.lexsort((um[:, 0], um[:, 1]))
    points, nuclei = um[order], area_um2[order]
    radius = np.sqrt(nuclei / np.pi) + rim_um
    disc = np.pi * radius**2
    shared = np.zeros(len(points))
    if len(points) > 1:
        pairs = cKDTree(points).query_pairs(min(2 * float(radius.max()), _OVERLAP_UM), output_type="ndarray")
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        i, j = pairs.T
        lens = _lens(np.hypot(*(points[i] - points[j]).T), radius[i], radius[j])
        np.add.at(shared, i, lens / 2)
        np.add.at(shared, j, lens / 2)
    out = np.empty(len(points))
    out[order] = np.maximum(disc - shared, nuclei)
    return out


def _lens(distance: Floats, first: Floats, second: Floats) -> Floats:
    """Area that two discs share, of radii and distance of centres, all (N,) and of one unit."""
    small, large = np.minimum(first, second), np.maximum(first, second)
    d = np.clip(distance, large - small, large + small)
    d = np.where(d > 0, d, 1.0)  # equal discs on one another, which the next line tells
    inside = distance <= large - small
    a = np.arccos(np.clip((d**2 + small**2 - large**2) / (2 * d * small), -1, 1))
    b = np.arccos(np.clip((d**2 + large**2 - small**2) / (2 * d * large), -1, 1))
    lens = small**2 * (a - np.sin(2 * a) / 2) + large**2 * (b - np.sin(2 * b) / 2)
    return np.where(inside, np.pi * small**2, lens)


def border_distance(compartments: Compartments, tissue: Tissue) -> NDArray[np.float32]:
    """(h, w) float32: of each mask cell's centre to the border of tumour and other tissue, um, negative in tumour.

    Known to half a cell; NaN where nothing was analysed or there is no border. The edge of tissue
    is no border.
    """
    labels = compartments.labels
    inside = np.isin(labels, [k + 1 for k in compartments.tumour])
    outside = (labels > 0) & ~inside
    out = np.full(labels.shape, np.nan, np.float32)
    if not inside.any() or not outside.any():
        return out
    cx, cy = tissue.cell_um
    half = (cx + cy) / 4
    for kind, other, sign in ((outside, inside, 1.0), (inside, outside, -1.0)):
        apart = ndimage.distance_transform_edt(~other, sampling=(cy, cx))
        out[kind] = sign * (apart[kind] - half)
    return out


def panel_of(found: Infiltrated, settings: IntervalSettings) -> list[dict[str, Any]]:
    """The panel: a row for each number.

    Parameters
    ----------
    found : immune cells and their tissue
    settings : of the intervals

    Returns
    -------
    key, name, unit, estimate, low, high, formula, and note: why there is no number, or no interval; "" otherwise
    """
    parts = found.compartments
    rows = _stromal(found, settings) + _inside(found, settings) + _margin(found, settings)
    rows.append(_ratio(found, settings))
    rows += _hot(found, settings)
    for row in rows:
        if row["estimate"] is None and not row["note"]:
            row["note"] = "no tissue of this kind was analysed" if parts.tumour else "no tumour is known"
    return rows


def _row(key: str, name: str, unit: str, formula: str, found: Interval | None, *, scale: float = 1.0) -> dict[str, Any]:
    """A row of the panel; `scale` takes the interval's unit to the row's."""
    estimate, low, high = (
        (known(found.estimate), found.low, found.high) if found is not None else (None, None, None)
    )  # fmt: skip
    return {
        "key": key,
        "name": name,
        "unit": unit,
        "estimate": None if estimate is None else estimate * scale,
        "low": None if low is None else low * scale,
        "high": None if high is None else high * scale,
        "note": found.reason if found is not None else "",
        "formula": formula,
    }


def _drawn(blocks: Any, settings: IntervalSettings) -> BlockBootstrap | None:
    if blocks is None:
        return None
    return resample(blocks, seed=settings.seed, replicates=settings.replicates, level=settings.level)


def _stromal(found: Infiltrated, settings: IntervalSettings) -> list[dict[str, Any]]:
    """Stroma occupied by mononuclear cells: nuclei, and with cytoplasm."""
    parts = found.compartments
    names = (
        ("stil_nuclei", "Stroma occupied by immune cells (sTIL-like), nuclei",
         "100 x summed area of nuclei of immune cells with their centroid in stroma / area of stroma"),
        ("stil_cells", "Stroma occupied by immune cells (sTIL-like), with cytoplasm, an estimate",
         f"100 x area of discs of radius sqrt(area of the nucleus / pi) + {RIM_UM:g} um, what they share counted once, "
         "/ area of stroma; the rim is an assumption"),
    )  # fmt: skip
    if not parts.stroma:
        none = "no tissue is known to be stroma"
        return [{**_row(key, name, "%", formula, None), "note": none} for key, name, formula in names]
    if not found.area_um2.all():
        none = "cells are points without an area"
        return [{**_row(key, name, "%", formula, None), "note": none} for key, name, formula in names]
    chosen = np.isin(parts.of_points(found.um), parts.stroma)
    um, nuclei = found.um[chosen], found.area_um2[chosen]
    columns = [Marks(um, whole_units(area), 0) for area in (nuclei, covered_um2(um, nuclei))]
    boot = _drawn(marked_blocks(found.tissue, [parts.merged(parts.stroma)], columns, settings.block_um), settings)
    rows = []
    for k, (key, name, formula) in enumerate(names):
        interval = density_interval(boot, k) if boot is not None else None
        # units of 0.001 um^2 per mm^2 to per cent
        row = _row(key, name, "%", formula, interval, scale=100e-6 / UNITS)
        for end in ("estimate", "high"):
            row[end] = None if row[end] is None else min(row[end], 100.0)
        rows.append(row if row["estimate"] != 0 else row | {"note": "none found"})
    return rows


def _inside(found: Infiltrated, settings: IntervalSettings) -> list[dict[str, Any]]:
    """Immune cells among tumour cells."""
    parts, inside = found.compartments, found.inside
    short = "iTIL" if inside == TUMOUR else "intraepithelial"
    name = f"Immune cells in {inside} ({short})"
    formula = f"immune cells with their centroid in {inside} / its area"
    if not parts.tumour:
        return [{**_row("itil", name, "per mm2", formula, None), "note": f"no {inside} is known"}]
    um = found.um[np.isin(parts.of_points(found.um), parts.tumour)]
    blocks = marked_blocks(found.tissue, [parts.merged(parts.tumour)], [Marks(um, None, 0)], settings.block_um)
    boot = _drawn(blocks, settings)
    return [_row("itil", name, "per mm2", formula, density_interval(boot, 0) if boot is not None else None)]


def _margin(found: Infiltrated, settings: IntervalSettings) -> list[dict[str, Any]]:
    """Immune cells in a zone along the border, on either side."""
    margin = "Invasive margin" if found.inside == TUMOUR else "Border of epithelium"
    reach, where = MARGIN_REACH_UM, border_distance(found.compartments, found.tissue)
    row, column = found.tissue.cell_of(found.um)
    of_cell = where[row, column]
    rows = []
    for side, zone in (
        ("inside", (where < 0) & (where >= -reach)),
        ("outside", (where > 0) & (where <= reach)),
    ):  # fmt: skip
        name = f"{margin}, {side}: immune cells up to {reach:g} um from the border"
        formula = f"immune cells / tissue, {side}, on cells of the overview up to {reach:g} um from the border"
        key = f"margin_{side}"
        if not zone.any():
            rows.append({**_row(key, name, "per mm2", formula, None), "note": f"no border of {found.inside} is known"})
            continue
        chosen = (of_cell < 0) & (of_cell >= -reach) if side == "inside" else (of_cell > 0) & (of_cell <= reach)
        marks = [Marks(found.um[chosen], None, 0)]
        boot = _drawn(marked_blocks(found.tissue, [found.tissue.only(zone)], marks, settings.block_um), settings)
        rows.append(_row(key, name, "per mm2", formula, density_interval(boot, 0) if boot is not None else None))
    return rows


def _ratio(found: Infiltrated, settings: IntervalSettings) -> dict[str, Any]:
    """Share of stroma in tumour and stroma together."""
    parts, inside = found.compartments, found.inside
    word = "Tumour-stroma ratio" if inside == TUMOUR else "Epithelium-stroma ratio"
    name, formula = f"{word}: share of stroma", f"100 x area of stroma / area of {inside} and stroma"
    lacking = [what for what, some in ((inside, parts.tumour), ("stroma", parts.stroma)) if not some]
    if lacking:
        return {**_row("ratio", name, "%", formula, None), "note": f"no {' and no '.join(lacking)} is known"}
    both = [parts.merged(parts.tumour), parts.merged(parts.stroma)]
    boot = _drawn(area_blocks(found.tissue, both, _RATIO_BLOCK_UM), settings)
    interval = share_interval(boot, 1, [0, 1]) if boot is not None else None
    return _row("ratio", name, "%", formula, interval, scale=100.0)


def _hot(found: Infiltrated, settings: IntervalSettings) -> list[dict[str, Any]]:
    """Hot squares against all tissue."""
    hot = hot_average(found.um, found.tissue, settings)
    formula = (
        f"immune cells / tissue of the squares of {hot.grid_um:g} um that are the densest tenth of the tissue; which "
        "they are is decided on a random half of the cells, their density is twice that of the other half, so that "
        "choosing the densest does not raise it"
    )
    density = _row(
        "hot_average", "Hot-spot average: immune cells in the densest tenth", "per mm2", formula, hot.interval
    )
    name = "Hot-spot average over the density of all tissue"
    times = _row("hot_times", name, "times", "the above / immune cells per area of all tissue", None)
    note = hot.interval.reason if hot.times is None else "none is made for this number"
    return [density, times | {"estimate": known(hot.times), "note": note}]
