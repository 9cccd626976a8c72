"""Tumour, its margin and stroma from the cells themselves: the division "auto". Microns. Pure.

Two kinds of place are told apart by how many tumour cells (neoplastic, epithelial) and how many connective cells
they hold. With densities (t_in, s_in) in tumour and (t_out, s_out) elsewhere, a place with counts (t, s) on area a
has the Poisson log likelihood ratio

    L = t log(t_in / t_out) + s log(s_in / s_out) - a (t_in + s_in - t_out - s_out)

It is taken per mask cell, smoothed with a Gaussian over tissue (normalised by the smoothed tissue, which corrects
for the edge), and compared with the middle between its two expected values, so that smoothing leaves a straight
border where it is. Densities and places are found in turn until they agree (classification EM: Celeux and Govaert,
Computational Statistics & Data Analysis 14, 315-332, 1992). The bandwidth is the smallest of 24, 32, 48, 64 and
96 um at which the two expected values lie 5.6 standard deviations of L's Poisson noise apart and two densities
explain the counts clearly better than one (likelihood ratio statistic at least 100 + 3 per mm2 of tissue; chance
extremes of even mixtures that pass the first test stayed below 60 on 8 and 36 mm2). If none does, or the findings
do not look like tumour against stroma, the whole tissue is one compartment and the reason is given. Pieces and
holes smaller than 0.01 mm2 are merged into what surrounds them.

Chosen by simulation over the sign and over Otsu's threshold of the log ratio of smoothed densities, which ask for
similar numbers of both kinds of cells and fail where stroma is sparse (``tests/benchmarks/run_coverage.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.report.stats.borders import distance_to, mask_border
from wsiparse.report.stats.compartments import (
    MARGIN_UM,
    STROMA,
    TUMOUR,
    Compartments,
    Floats,
    Inside,
    Mask,
    inside_words,
)
from wsiparse.report.stats.tissue import Tissue

__all__ = ["auto_compartments"]

_BANDWIDTHS_UM: Final = (24.0, 32.0, 48.0, 64.0, 96.0)
#: Half the distance of the two expected values of L, in standard deviations: 1 place in 400 goes wrong by chance.
_LEAST_SEPARATION: Final = 2.8
#: Least gain of two densities over one: 2 log likelihood ratio, constant and per mm^2 of tissue.
_LEAST_GAIN: Final = (100.0, 3.0)
_LEAST_PIECE_MM2: Final = 0.01
_ROUNDS: Final = 50


def auto_compartments(
    tumour_um: Floats,
    connective_um: Floats,
    tissue: Tissue,
    *,
    margin_um: Sequence[float] = MARGIN_UM,
    inside: Inside = TUMOUR,
) -> Compartments | None:
    """Tumour, margin bands and stroma from the cells; see the module's text.

    Parameters
    ----------
    tumour_um : (N, 2) float64, centroids of neoplastic and epithelial cells, x then y, um
    connective_um : (M, 2) float64, centroids of connective cells, x then y, um
    tissue : what was analysed
    margin_um : outer ends of the margin bands, ascending, um; may be empty
    inside : what the first points are cells of, and the compartment is called instead of "tumour"

    Returns
    -------
    Compartments named "tumour", "margin 0-100 um", "margin 100-500 um", "stroma" (what lies further out), or a single
    one of "tumour" / "stroma" with a reason; None when no tissue was analysed

    Raises
    ------
    ValueError
        If `margin_um` does not ascend from > 0.
    """
    found = _of_cells(tumour_um, connective_um, tissue, margin_um)
    if found is None:
        return None
    return replace(
        found,
        names=tuple(inside_words(name, inside) for name in found.names),
        method=inside_words(found.method, inside),
        reason=inside_words(found.reason, inside),
        parameters=MappingProxyType({inside_words(key, inside): value for key, value in found.parameters.items()}),
    )


def _of_cells(
    tumour_um: Floats, connective_um: Floats, tissue: Tissue, margin_um: Sequence[float]
) -> Compartments | None:
    """`auto_compartments` of tumour cells."""
    edges = tuple(float(e) for e in margin_um)
    if any(not (math.isfinite(b) and b > a) for a, b in zip((0.0, *edges), edges, strict=False)):
        raise ValueError(f"margin bands must end at ascending distances > 0 um, got {edges}")
    cells = tissue.cells
    if not cells.any():
        return None
    found = _separate(tumour_um, connective_um, tissue)
    parameters = {"least_piece_mm2": _LEAST_PIECE_MM2, **found.parameters}
    if found.tumour is None:
        name = TUMOUR if len(tumour_um) > len(connective_um) else STROMA
        labels = cells.astype(np.uint8)
        method = f"No border between tumour and stroma was found; all tissue is called {name}."
        of_tumour, of_stroma = ((0,), ()) if name == TUMOUR else ((), (0,))
        nothing = np.zeros((0, 2, 2))
        return Compartments(
            (name,),
            (tissue,),
            labels,
            of_tumour,
            of_stroma,
            method,
            MappingProxyType(parameters),
            found.reason,
            nothing,
            nothing,
        )
    inside = found.tumour
    names = [TUMOUR]
    labels = inside.astype(np.uint8)
    outside = cells & ~inside
    tumour_border, other_border = mask_border(inside, tissue.cell_um), mask_border(outside, tissue.cell_um)
    labels[outside] = _bands(inside, outside, tissue, tumour_border, edges)[outside] + 2
    start = 0.0
    for end in edges:
        names.append(f"margin {start:g}-{end:g} um")
        start = end
    names.append(STROMA)
    parts = tuple(tissue.only(labels == k + 1) for k in range(len(names)))
    method = (
        "Poisson likelihood ratio of tumour and connective cell counts, smoothed over "
        f"{found.parameters['bandwidth_um']:g} um, two densities found by classification EM; margin bands by distance "
        "from the tumour border."
    )
    return Compartments(
        tuple(names),
        parts,
        labels,
        (0,),
        tuple(range(1, len(names))),
        method,
        MappingProxyType(parameters),
        "",
        tumour_border,
        other_border,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    tumour: Mask | None
    parameters: Mapping[str, float]
    reason: str = ""


def _count(points_um: Floats, tissue: Tissue) -> NDArray[np.float32]:
    """(h, w) float32: points per mask cell; those off the mask's frame are left out."""
    row, column = tissue.cell_of(points_um)
    kept = (row >= 0) & (column >= 0)
    h, w = tissue.mask.shape
    counts = np.zeros(h * w, np.float32)
    where, n = np.unique(row[kept] * w + column[kept], return_counts=True)
    counts[where] = n
    return counts.reshape(h, w)


def _separate(tumour_um: Floats, connective_um: Floats, tissue: Tissue) -> _Found:
    """Which cells are tumour, or why that cannot be told."""
    cells, cell_um = tissue.cells, tissue.cell_um
    for name, points in (("tumour", tumour_um), ("connective", connective_um)):
        row, column = tissue.cell_of(points)
        if not cells[row, column][(row >= 0) & (column >= 0)].any():
            return _Found(None, {}, f"no {name} cells were found")
    t, s, area_um2 = _count(tumour_um, tissue), _count(connective_um, tissue), tissue.area_um2()
    area, best = area_um2[cells] * 1e-6, 0.0
    for bandwidth in _BANDWIDTHS_UM:
        tumour, rates, separation = _fit(t, s, area_um2, cells, cell_um, bandwidth)
        best = max(best, separation)
        if separation < _LEAST_SEPARATION:
            continue
        gain = _gain(t[cells].astype(np.float64), s[cells].astype(np.float64), area, tumour[cells])
        if gain < _LEAST_GAIN[0] + _LEAST_GAIN[1] * float(area.sum()):
            continue
        unlike = _unlike(rates)
        parameters = {
            "bandwidth_um": bandwidth,
            "separation_sd": 2 * separation,
            "likelihood_ratio": gain,
            "tumour_cells_per_mm2_inside": float(rates[0, 0]),
            "tumour_cells_per_mm2_outside": float(rates[0, 1]),
            "connective_cells_per_mm2_inside": float(rates[1, 0]),
            "connective_cells_per_mm2_outside": float(rates[1, 1]),
        }
        if unlike:
            return _Found(None, parameters, unlike)
        cleaned = _without_specks(tumour, cells, _LEAST_PIECE_MM2 / (cell_um[0] * cell_um[1] * 1e-6))
        if cleaned.any() and (cells & ~cleaned).any():
            return _Found(cleaned, parameters)
        return _Found(None, parameters, f"nothing but pieces below {_LEAST_PIECE_MM2:g} mm2")
    return _Found(
        None,
        {"separation_sd": 2 * best},
        "places with tumour cells and places with connective cells do not differ clearly",
    )


def _gain(t: Floats, s: Floats, area: Floats, inside: Mask) -> float:
    """Likelihood ratio statistic of two densities over one, both kinds of cells: 2 sum n log(rate / overall rate)."""
    out = 0.0
    for n in (t, s):
        overall = n.sum() / area.sum()
        for side in (inside, ~inside):
            held = float(n[side].sum())
            if held:
                out += 2 * held * math.log(held / float(area[side].sum()) / overall)
    return out


def _unlike(rates: Floats) -> str:
    """Why two densities are not those of tumour and stroma; "" if they may be."""
    (t_in, t_out), (s_in, _) = rates
    if t_in <= s_in:
        return "nowhere are tumour cells denser than connective cells"
    if t_out > t_in / 2:
        return "tumour cells are nearly as dense outside as inside"
    return ""


def _fit(
    t: NDArray[np.float32],
    s: NDArray[np.float32],
    area_um2: Floats,
    cells: Mask,
    cell_um: tuple[float, float],
    bandwidth_um: float,
) -> tuple[Mask, Floats, float]:
    """Classification EM at one bandwidth.

    Returns
    -------
    (h, w) bool tumour cells; (2, 2) densities per mm^2, tumour / connective by inside / outside; half the distance of
    the score's expected values in standard deviations (0 when one side is empty)
    """
    sigma = (bandwidth_um / cell_um[1], bandwidth_um / cell_um[0])

    def smooth(plane: NDArray[np.floating]) -> Floats:
        """Of the cells, plane after plane: the overview of a large slide has tens of millions of them."""
        inside = np.where(cells, plane, np.float64(0))
        ndimage.gaussian_filter(inside, sigma, output=inside, mode="constant", truncate=4.0)
        values: Floats = inside[cells]
        return values

    t1, s1, a1 = t[cells].astype(np.float64), s[cells].astype(np.float64), area_um2[cells] * 1e-6
    smooth_a = smooth(area_um2) * 1e-6
    density_t, density_s = smooth(t) / smooth_a, smooth(s) / smooth_a
    del smooth_a
    # a density of 0 would make the ratio infinite: one cell in the whole tissue is the least
    least = 1.0 / a1.sum()
    total = np.array([t1.sum(), s1.sum()])
    # start: where tumour cells make up more than their share of the slide, weighed against the usual density
    usual = total / a1.sum()
    chosen = density_t / usual[0] > density_s / usual[1]
    rates, separation = np.zeros((2, 2)), 0.0
    for _ in range(_ROUNDS):
        inside = a1[chosen].sum()
        if inside == 0 or inside >= a1.sum() * (1 - 1e-12):
            return np.zeros_like(cells), rates, 0.0
        held = np.array([t1[chosen].sum(), s1[chosen].sum()])
        rates = np.maximum(np.stack([held / inside, (total - held) / (a1.sum() - inside)], axis=1), least)
        if rates[0, 0] * rates[1, 1] < rates[0, 1] * rates[1, 0]:
            rates = rates[:, ::-1]
        weight = np.log(rates[:, 0] / rates[:, 1])
        expected = weight @ rates - (rates[:, 0] - rates[:, 1]).sum()
        noise = np.sqrt((weight**2 @ rates).max() / (4 * math.pi * bandwidth_um**2 * 1e-6))
        separation = float((expected[0] - expected[1]) / 2 / noise) if noise > 0 else 0.0
        score = density_t * weight[0] + density_s * weight[1] - (rates[:, 0] - rates[:, 1]).sum()
        now = score > expected.mean()
        if (now == chosen).all():
            break
        chosen = now
    out = np.zeros_like(cells)
    out[cells] = chosen
    return out, rates, separation


def _bands(inside: Mask, outside: Mask, tissue: Tissue, border: Floats, edges: Sequence[float]) -> NDArray[np.int64]:
    """(h, w): band of each outside cell, by the exact distance of its centre to tumour."""
    cx, cy = tissue.cell_um
    between_centres = ndimage.distance_transform_edt(~inside, sampling=(cy, cx))
    band: NDArray[np.int64] = np.searchsorted(edges, between_centres, side="left").astype(np.int64)
    # the nearest tumour cell reaches up to half a diagonal closer than its centre: only there can the band differ
    doubtful = outside & (np.searchsorted(edges, between_centres - math.hypot(cx, cy) / 2, side="left") != band)
    rows, columns = np.nonzero(doubtful)
    xs, ys = tissue.centres_um()
    exact = distance_to(np.stack([xs[columns], ys[rows]], axis=1), border)
    band[rows, columns] = np.searchsorted(edges, exact, side="left")
    return band


def _without_specks(inside: Mask, cells: Mask, least_cells: float) -> Mask:
    """Small pieces of one kind that touch the other change sides, pieces of tumour first; the rest stays."""
    out = inside.copy()
    for value in (True, False):
        kind = cells & (out == value)
        labels, count = ndimage.label(kind)
        if not count:
            continue
        size = np.bincount(labels.ravel(), minlength=count + 1)
        small = size < least_cells
        small[0] = False
        if not value:
            # a small separate piece of tissue that holds no tumour is no hole in one
            touching = np.unique(labels[ndimage.binary_dilation(out) & kind])
            beside = np.zeros(count + 1, np.bool_)
            beside[touching] = True
            small &= beside
        out[small[labels]] = not value
    return out & cells
