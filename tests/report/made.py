"""Numbers of slides and cohorts as the report's pages get them, made without running anything."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from wsiparse.report.pages.picture import Picture
from wsiparse.report.stats.studies import CountedSlide, study_rows

__all__ = ["cohort", "numbers", "pictures", "thumbnails"]

CLASSES = (
    ("Inflammatory", "cell", "#2e7dd1", "immune"),
    ("Neoplastic", "cell", "#d1452e", "tumour"),
    ("Connective", "cell", "#3f9a52", "connective"),
    ("Epithelial", "cell", "#e0a326", "tumour"),
    ("Gland", "region", "#8656b8", "other"),
)
COMPARTMENTS = ("tumour", "margin 0-100 um", "margin 100-500 um", "stroma")
COLOURS = ("#c2410c", "#f59e0b", "#fde68a", "#93c5fd")
RAMP = ["#fff7ec", "#fee8c8", "#fdd49e", "#fdbb84", "#fc8d59", "#ef6548", "#d7301f", "#990000"]
ENGINE = "embedded network, not BiomedParse"


def _encoded(image: Image.Image, um_per_px: float, kind: str = "PNG") -> Picture:
    out = io.BytesIO()
    image.save(out, kind, quality=80)
    mime: Any = "image/png" if kind == "PNG" else "image/jpeg"
    return Picture(out.getvalue(), mime, image.width, image.height, um_per_px)


def _tissue(width: int, height: int, seed: int) -> Image.Image:
    """Something pink on white."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(width, height)
    inside = ((x - 0.5 * width / max(width, height)) / 0.42) ** 2 + ((y - 0.36) / 0.3) ** 2
    wave = inside + 0.12 * np.sin(11 * x + seed) * np.cos(9 * y) < 1
    grain = random.normal(0, 7, (height, width, 1))
    pixels = np.where(wave[..., None], np.array([218, 158, 196.0]) + grain, 247.0)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def pictures(classes: int = len(CLASSES), spots: int = 8) -> dict[str, Picture]:
    """One of every kind a slide's page can have."""
    overview = _tissue(700, 520, 1)
    draw = ImageDraw.Draw(overview)
    draw.ellipse((130, 110, 560, 410), outline="#1d2126", width=2)
    made = {"overview": _encoded(overview, 16.0, "JPEG"), "compartments": _encoded(_tissue(700, 520, 2), 16.0)}
    for k in range(classes):
        made[f"density/{k}"] = _encoded(_tissue(700, 520, 3 + k), 16.0)
    for rank in range(1, spots + 1):
        made[f"spot/{rank}"] = _encoded(_tissue(500, 500, 20 + rank), 0.5, "JPEG")
    return made


def _rows(
    random: np.random.Generator, compartments: Sequence[str], area: Sequence[float], classes: Sequence[Any]
) -> list[dict[str, Any]]:
    rows = []
    cells = [c for c in classes if c[1] == "cell"]
    everywhere = ("all tissue", *(() if compartments == ("all tissue",) else compartments))
    areas = (sum(area), *area) if len(everywhere) > 1 else tuple(area)
    for place, mm2 in zip(everywhere, areas, strict=True):
        n = {c[0]: int(random.poisson(max(mm2, 0) * random.uniform(40, 2500))) for c in classes}
        for name, kind, *_ in classes:
            rows.append(_row(name, kind, place, n[name], mm2, sum(n[c[0]] for c in cells) if kind == "cell" else None))
        if len(cells) > 1:
            total = sum(n[c[0]] for c in cells)
            rows.append({**_row("All cells", "cell", place, total, mm2, total), "verdict": ""})
    return rows


def _row(name: str, kind: str, place: str, n: int, mm2: float, cells: int | None) -> dict[str, Any]:
    density = n / mm2 if mm2 > 0 else None
    known = density is not None and mm2 > 0.05
    share = 100 * n / cells if cells else None
    return {
        "class": name,
        "kind": kind,
        "compartment": place,
        "n": n,
        "compartment_mm2": mm2,
        "density_per_mm2": density,
        "density_low": density * 0.871 if known and density is not None else None,
        "density_high": density * 1.153 if known and density is not None else None,
        "density_note": "" if known else "fewer than 8 blocks of tissue",
        "object_area_um2": n * 41.37,
        "mean_area_um2": 41.37 if n else None,
        "area_percent": n * 41.37 / (mm2 * 1e4) if mm2 > 0 else None,
        "share_percent": share,
        "share_low": share * 0.93 if share is not None and known else None,
        "share_high": min(100.0, share * 1.06) if share is not None and known else None,
        "share_note": "" if known else "fewer than 8 blocks of tissue",
        "verdict": "found" if n else "not found",
        "recognition_score": None,
    }


def _histogram(random: np.random.Generator, name: str, n: int) -> dict[str, Any]:
    areas = random.gamma(6, 7, n)
    scores = random.beta(8, 3, n) / 2 + 0.5
    edges = np.linspace(0, 100, 21)
    return {
        "class": name,
        "area": {
            "edges_um2": edges.tolist(),
            "counts": np.histogram(areas, edges)[0].tolist(),
            "above": int((areas > 100).sum()),
            "median_um2": float(np.median(areas)) if n else None,
        },
        "score": {
            "edges": np.linspace(0.5, 1, 21).tolist(),
            "counts": np.histogram(scores, np.linspace(0.5, 1, 21))[0].tolist(),
            "median": float(np.median(scores)) if n else None,
        },
    }


def _immune(random: np.random.Generator, rows: list[dict[str, Any]], spots: int) -> dict[str, Any]:
    by = {(r["class"], r["compartment"]): r for r in rows}
    tumour, stroma = by["Inflammatory", "tumour"], by["Inflammatory", "stroma"]
    radius = [10.0, 20.0, 30.0, 50.0, 75.0, 100.0]
    k = [np.pi * r * r * (1 + 0.6 * np.exp(-r / 40)) for r in radius]
    distances = random.gamma(1.4, 40, 900)
    edges = np.arange(0, 301, 10.0)
    near = (10.0, 20.0, 30.0, 50.0, 100.0)
    return {
        "classes": ["Inflammatory"],
        "reason": "",
        "infiltrate": {
            "inside": "tumour",
            "n_tumour": tumour["n"],
            "n_stroma": stroma["n"],
            "tumour_mm2": tumour["compartment_mm2"],
            "stroma_mm2": stroma["compartment_mm2"],
            "tumour_per_mm2": tumour["density_per_mm2"],
            "stroma_per_mm2": stroma["density_per_mm2"],
            "difference": {"estimate": -312.7, "low": -455.1, "high": -170.2, "note": ""},
            "stroma": ["margin 0-100 um", "margin 100-500 um", "stroma"],
        },
        "distances": {
            "to": "nearest tumour cell",
            "inside": None,
            "n": 900,
            "reason": "",
            "mean_um": float(distances.mean()),
            "quantiles": [{"share": q, "um": float(np.quantile(distances, q))} for q in (0.25, 0.5, 0.75)],
            "within": [{"um": r, "share": float((distances <= r).mean())} for r in near],
            "histogram": {
                "edges_um": edges.tolist(),
                "counts": np.histogram(distances, edges)[0].tolist(),
                "above": int((distances > 300).sum()),
            },
        },
        "panel": _panel(tumour, stroma),
        "structures": _structures(),
        "mixing": [
            {
                "first": "Inflammatory",
                "second": "Neoplastic",
                "morisita_horn": 0.4127,
                "grid_um": 250.0,
                "cross_k": {
                    "radius_um": radius,
                    "k_um2": k,
                    "poisson_um2": [np.pi * r * r for r in radius],
                    "l_um": [float(np.sqrt(v / np.pi)) for v in k],
                    "all_l_um": [r * 1.04 for r in radius],
                    "n_first": 900,
                    "n_second": 20000,
                    "thinned": True,
                    "reason": "",
                },
            }
        ],
        "hot_spots": {
            "class": "Inflammatory",
            "grid_um": 250.0,
            "rate": 0.05,
            "n_tested": 214,
            "n_hot": spots,
            "n_islands": 2,
            "n_slivers": 11,
            "reason": "",
            "spots": [
                {
                    "rank": rank,
                    "x_um": 1250.0 + 250 * rank,
                    "y_um": 3000.0 - 250 * rank,
                    "size_um": 250.0,
                    "box": [2500 + 500 * rank, 6000 - 500 * rank, 500, 500],
                    "n": 300 - 9 * rank,
                    "density_per_mm2": (300 - 9 * rank) / 0.0625,
                    "z": 6.4 - 0.3 * rank,
                    "q": 0.0001 * 2.2**rank,
                    "hot": True,
                    "picture": f"spot/{rank}",
                }
                for rank in range(1, spots + 1)
            ],
        },
    }


def _structures() -> dict[str, Any]:
    radius = [5.0, 10.0, 20.0, 40.0, 100.0]
    bands = [(-200.0, -100.0), (-100.0, 0.0), (0.0, 100.0), (100.0, 200.0)]
    listed = [
        {"rank": k, "x_um": 900.0 * k, "y_um": 700.0, "mm2": 0.12 / k, "n": 1200 // k, "per_mm2": 10000.0,
         "apart_um": 31.0 * k, "candidate": "yes" if k < 3 else "no", "picture": f"aggregate/{k}" if k < 3 else None}
        for k in range(1, 6)
    ]  # fmt: skip
    return {
        "aggregates": {
            "n": 5, "n_candidates": 2, "per_mm2": 0.29, "area_mm2": 0.27, "listed": listed,
            "rule": {"smooth_um": 25.0, "least_per_mm2": 5000.0, "least_mm2": 0.01, "least_cells": 50,
                     "candidate_mm2": 0.05},
        },
        "nearest": {
            "radius_um": radius, "share": [0.01, 0.1, 0.4, 0.7, 0.95], "poisson": [0.02, 0.08, 0.3, 0.75, 0.99],
            "n": 900, "censored": 12, "reason": "",
        },
        "by_distance": [
            {"from_um": a, "to_um": b, "n": 90, "mm2": 1.0, "per_mm2": 300.0 + b, "low": 250.0 + b if b < 200 else None,
             "high": 350.0 + b if b < 200 else None, "note": "" if b < 200 else "too little tissue"}
            for a, b in bands
        ],
        "fields": [
            {"field_um": 250.0, "on_slide": 300, "per_mm2": 400.0, "of_ten": 0.14, "within": 0.2, "needed": 22,
             "mm2": 1.3, "reason": ""},
            {"field_um": 1000.0, "on_slide": 9, "per_mm2": None, "of_ten": None, "within": 0.2, "needed": None,
             "mm2": None, "reason": "9 fields at least half full of tissue, 20 are needed"},
        ],
    }  # fmt: skip


def _panel(tumour: dict[str, Any], stroma: dict[str, Any]) -> list[dict[str, Any]]:
    percent = stroma["area_percent"]
    row = {"low": None, "high": None, "note": "", "formula": "100 x area of nuclei / area of stroma"}
    return [
        {**row, "key": "stil_nuclei", "name": "Stroma occupied by immune cells, nuclei", "unit": "%",
         "estimate": percent, "low": percent * 0.8, "high": percent * 1.2},
        {**row, "key": "itil", "name": "Immune cells in tumour (iTIL)", "unit": "per mm2",
         "estimate": tumour["density_per_mm2"], "note": "too little tissue"},
        {**row, "key": "ratio", "name": "Tumour-stroma ratio", "unit": "%", "estimate": None, "note": "none known"},
    ]  # fmt: skip


def _nothing_immune(reason: str, classes: list[str] | None = None) -> dict[str, Any]:
    return {
        "classes": classes or [],
        "reason": reason,
        "infiltrate": None,
        "distances": {
            "to": "nearest tumour cell", "inside": None, "n": 0, "reason": reason, "mean_um": None, "quantiles": [],
            "within": [], "histogram": None,
        },
        "panel": [],
        "structures": None,
        "mixing": [],
        "hot_spots": {
            "class": "", "grid_um": 250.0, "rate": 0.05, "n_tested": 0, "n_hot": 0, "n_islands": 0, "n_slivers": 0,
            "reason": reason, "spots": [],
        },
    }  # fmt: skip


METHODS = [
    {
        "title": "Intervals",
        "text": "Squares of tissue are drawn with replacement; a density is recomputed 1,000 times.\n"
        "density = objects / tissue area",
        "source": "Davison and Hinkley, Bootstrap Methods and their Application, 1997",
    },
    {"title": "Hot-spots", "text": "Gi* over squares of 250 um.", "source": "Ord and Getis, 1995"},
]


def numbers(
    name: str = "CMU-1.svs",
    *,
    compartments: Sequence[str] = COMPARTMENTS,
    area: Sequence[float] = (4.21, 1.13, 3.377, 8.04),
    classes: Sequence[tuple[str, str, str, str]] = CLASSES,
    spots: int = 8,
    seed: int = 1,
) -> dict[str, Any]:
    """A slide's report. One compartment ("all tissue") leaves nothing to compare; areas of 0 leave no cell."""
    random = np.random.default_rng(seed)
    names = tuple(compartments)
    one = names == ("all tissue",)
    rows = _rows(random, names, area, classes)
    total = float(sum(area))
    whole = {r["class"]: r["n"] for r in rows if r["compartment"] == "all tissue"}
    cells = [c for c in classes if c[1] == "cell"]
    full = names == COMPARTMENTS and classes == CLASSES and min(area) > 0
    return {
        "format": 1,
        "wsiparse": "0.1.0",
        "slide": {
            "name": name, "fingerprint": "4f2a9c1e" * 4, "size": [46000, 32914], "mpp": [0.499, 0.499],
            "mpp_source": "aperio.MPP", "vendor": "aperio", "reader": "openslide",
        },
        "engine": ENGINE,
        "dates": {"analysed": "2026-03-01", "report": "2026-03-02"},
        "limits": {
            "warnings": ["3 tiles of the slide could not be read: 0.05 mm² are not in any number."] * bool(total),
            "sentences": ["The engine finds nuclei."],
        },
        "stain_strength": 0.93 if total else None,
        "classes_by_rule": True,
        "nucleus_probability": True,
        "regions": []
        if one
        else [{"class": "Ignore*", "left_out": True, "n": 2}, {"class": "Tumor", "left_out": False, "n": 1}],
        "dense_squares": [],
        "settings": {
            "compartments": "auto", "roi": None, "roi_sha256": None, "seed": 20240501, "block_um": 500.0,
            "replicates": 1000, "level": 0.95, "grid_um": 250.0, "false_discovery_rate": 0.05, "threshold_step": 0.1,
            "ambiguous_lead": 0.2, "margin_um": [100, 500],
        },
        "classes": [
            {"name": n, "kind": k, "colour": c, "prompt": f"{n.lower()} {k}s", "threshold": 0.5, "role": role}
            for n, k, c, role in classes
        ],
        "area": {
            "tissue_mm2": total + 1.91 if total else 0.0, "analysed_mm2": total,
            "outside_roi_mm2": 1.2 if total else 0.0, "drawn_out_mm2": 0.66 if total else 0.0,
            "unreadable_mm2": 0.05 if total else 0.0, "artefact_mm2": 0.42,
            "spoilt_mm2": 0.31 if total else 0.0,
            "artefacts": [
                {"kind": "out_of_focus", "name": "out of focus", "mm2": 0.31 if total else 0.0, "left_out": True},
                {"kind": "ink", "name": "ink", "mm2": 0.02, "left_out": False},
            ], "whole_slide": False, "whole_cells": False, "drawn_tissue": None,
            "unreadable_tiles": 3 if total else 0, "objects_outside": 17 if total else 0,
        },
        "region_notes": [],
        "compartments": {
            "classes_taken": "", "stroma": [] if one else [1, 2, 3],
            "used": "none" if one else "auto",
            "method": "All tissue is one compartment." if one else "Tumour from the cells: Poisson likelihood ratio.",
            "reason": "no tumour and connective cells were asked for" if one else "",
            "parameters": {} if one else {"bandwidth_um": 32.0, "least_piece_mm2": 0.01},
            "names": list(names), "area_mm2": list(area), "tumour": [] if one else [0], "inside": "tumour",
            "colours": list(COLOURS[: len(names)]),
        },
        "rows": rows,
        "uncertainty": {
            "threshold": [
                {
                    "class": n, "threshold": 0.5, "step": 0.1, "n": whole[n], "n_raised": int(whole[n] * 0.83),
                    "n_lowered_at_least": whole[n], "area_um2": whole[n] * 41.37,
                    "area_raised_least_um2": whole[n] * 20.1, "area_raised_most_um2": whole[n] * 39.9,
                    "reason": "",
                }
                for n, *_ in classes
            ],
            "ambiguous": [
                {
                    "class": c[0], "n": whole[c[0]],
                    "n_ambiguous": int(whole[c[0]] * 0.07) if len(cells) > 1 else None,
                    "percent": 7.0 if len(cells) > 1 and whole[c[0]] else None,
                    "reason": "" if len(cells) > 1 else "only one cell class was asked for",
                }
                for c in cells
            ],
            "intervals": "95 % intervals from a bootstrap of 500 um blocks of tissue.",
            "cluster_factor": {c[0]: 1.1 + 0.05 * i if total else None for i, c in enumerate(cells)},
            "effective_blocks": 61.4 if total else None,
        },
        "histograms": [_histogram(random, c[0], min(whole[c[0]], 4000)) for c in classes],
        "immune": _immune(random, rows, spots) if full else _nothing_immune("no immune class was asked for"),
        "quality": {
            "tissue_mm2": total, "mpp": 8.0, "laplacian_variance": 0.213 if total else None,
            "tenengrad": 1.72 if total else None, "mean_od": [0.28, 0.55, 0.21] if total else None,
        },
        "maps": [
            {"class": c[0], "picture": f"density/{k}", "top_per_mm2": 1500.0, "highest_per_mm2": 2113.2,
             "grid_um": 250.0}
            for k, c in enumerate(classes)
        ]
        if total
        else [],
        "ramp": RAMP,
        "methods": METHODS,
    }  # fmt: skip


def _slide(random: np.random.Generator, k: int, state: str) -> dict[str, Any]:
    done = state in ("done", "partly done")
    group = ("before", "after")[k % 2]
    quality = {
        "tissue_mm2": 10.0, "mpp": 8.0, "laplacian_variance": float(random.lognormal(-1.5, 0.2)),
        "tenengrad": float(random.lognormal(0.5, 0.2)), "mean_od": [0.28, 0.55, float(random.normal(0.21, 0.02))],
    }  # fmt: skip
    names = ("laplacian_variance", "tenengrad", "od_red", "od_green", "od_blue")
    z = {name: float(random.normal(0, 1.1)) if done else None for name in names}
    if done and k % 37 == 5:
        z["od_blue"] = 5.2
    return {
        "name": f"slide {k:03d}.svs", "folder": f"slide-{k:03d}", "path": f"/slides/slide {k:03d}.svs",
        "href": f"slide-{k:03d}/report.html" if done else None, "state": state,
        "detail": "" if state == "done" else "3 tiles could not be read" if done else "not a slide file",
        "tissue_mm2": 12.0 + k % 7 if done else None, "analysed_mm2": 11.0 + k % 7 if done else None,
        "unreadable_mm2": 0.0 if done else None, "artefacts_percent": {"out of focus": 1.5, "ink": 0.0} if done else {},
        "quality": quality if done else None,
        "flags": ["stain: blue"] if z["od_blue"] == 5.2 else [], "z": z,
        "metadata": {"patient": f"P{k // 2:03d}", "arm": group, "age": str(40 + k % 40)},
        "compartments_used": "auto" if done else "none",
    }  # fmt: skip


def _comparison(random: np.random.Generator, name: str, place: str, slides: list[dict[str, Any]]) -> dict[str, Any]:
    patients = []
    for k in range(0, len(slides), 2):
        mm2 = float(random.uniform(4, 30))
        rate = random.lognormal(6.2 if k % 4 else 6.6, 0.5)
        n = int(random.poisson(rate * mm2))
        group = "responder" if k % 4 else "non-responder"
        patients.append(
            {"patient": f"P{k // 2:03d}", "group": group, "n": n, "area_mm2": mm2, "per_mm2": n / mm2, "slides": 2}
        )
    groups = []
    for group in ("non-responder", "responder"):
        values = [p["per_mm2"] for p in patients if p["group"] == group]
        if values:
            low, middle, high = (float(v) for v in np.quantile(values, (0.25, 0.5, 0.75)))
            groups.append(
                {"group": group, "n_patients": len(values), "median_per_mm2": middle, "lower_quartile_per_mm2": low,
                 "upper_quartile_per_mm2": high}
            )  # fmt: skip
    pair = {
        "first": "non-responder", "second": "responder", "p": 0.0042, "p_holm": 0.0084, "cliffs_delta": -0.412,
        "rate_ratio": {"ratio": 0.68, "low": 0.51, "high": 0.9, "p": 0.007, "dispersion": 83.1},
    }  # fmt: skip
    enough = len(groups) == 2
    return {
        "class": name, "compartment": place, "test": "Mann-Whitney U, two-sided", "p": 0.0042 if enough else None,
        "reason": "" if enough else "fewer than two groups with patients", "groups": groups,
        "pairs": [pair] if enough else [], "mixed": ["P002"], "without_tissue": [], "patients": patients,
    }  # fmt: skip


def cohort(
    slides: int = 24, *, failed: int = 2, grouped: bool = True, classes: Sequence[Any] = CLASSES, seed: int = 2
) -> dict[str, Any]:
    """A cohort of so many slides, some of them failed."""
    random = np.random.default_rng(seed)
    states = ["failed" if k < failed else "done" for k in range(slides)]
    listed = [_slide(random, k, state) for k, state in enumerate(states)]
    rows = [
        {"slide": s["name"], **row, "slide_id": s["folder"], "path": s["path"]}
        for s in listed
        if s["state"] == "done"
        for row in _rows(random, COMPARTMENTS, random.uniform(0.5, 9, len(COMPARTMENTS)).tolist(), classes)
    ]
    of = {s["name"]: s["href"] for s in listed}
    ranking = []
    for name in dict.fromkeys(r["class"] for r in rows):
        entries = [
            {"slide": r["slide"], "href": of[r["slide"]], "density": r["density_per_mm2"], "low": r["density_low"],
             "high": r["density_high"]}
            for r in rows
            if r["class"] == name and r["compartment"] == "all tissue"
        ]  # fmt: skip
        entries.sort(key=lambda e: (-e["density"], e["slide"]))
        ranking.append({"class": name, "compartment": "all tissue", "unit": "per mm2", "entries": entries})
    done = [s for s in listed if s["state"] == "done"]
    return {
        "format": 1,
        "wsiparse": "0.1.0",
        "results": "breast cohort",
        "date": "2026-03-02",
        "limits": {
            "warnings": [{"slide": s["name"], "href": s["href"], "text": "pixel size doubtful"} for s in listed[:2]],
            "sentences": ["The engine finds nuclei."],
        },
        "engine": [ENGINE],
        "settings": {"seed": 20240501, "block_um": 500.0, "margin_um": [100, 500]},
        "slides": listed,
        "rows": rows,
        "ranking": ranking,
        "metadata": {
            "file": "patients.csv", "columns": ["patient", "arm", "age"], "patient_column": "patient",
            "group_column": "arm", "unmatched_slides": ["slide 003.svs"], "unmatched_rows": ["slide 999.svs"],
            "notices": ["patients.csv: patient 'NA' is taken for not known, on 1 slide(s): slide 004.svs"],
        }
        if grouped
        else None,
        "without_report": [],
        "notices": ["slide 001.svs, slide 002.svs hold the same image; in one patient it counts once"],
        "groups": [
            _comparison(random, c[0], place, done) for c in classes[:3] for place in ("all tissue", "tumour")
        ]
        if grouped
        else [],
        "panel": [
            {"slide": s["name"], **row, "slide_id": s["folder"]}
            for s in done
            for row in _panel({"density_per_mm2": 300.0}, {"area_percent": 4.2})
        ],
        "studies": {"unit": "patient", "rows": _studies(random, rows), "score": None},
        "methods": METHODS,
    }  # fmt: skip


def _studies(random: np.random.Generator, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How densities vary, two slides a patient."""
    of: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        of.setdefault(row["slide"], []).append(row | {"density_error": float(random.uniform(0.05, 0.1)) * row["n"]})
    return study_rows([CountedSlide(f"P{k // 2:03d}", "", own) for k, own in enumerate(of.values())])


def thumbnails(made: dict[str, Any]) -> dict[str, Picture]:
    """A small picture of every slide that is done."""
    return {
        f"slide/{s['folder']}": _encoded(_tissue(110, 80, k), 100.0, "JPEG")
        for k, s in enumerate(made["slides"])
        if s["state"] == "done"
    }
