"""What a slide's page shows, made of its numbers: tables, charts, sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from wsiparse.report.pages.answers import answers
from wsiparse.report.pages.charts import Bar, Bins, bars, histogram
from wsiparse.report.pages.curves import Curve, cumulative, curves
from wsiparse.report.pages.limits import warned
from wsiparse.report.pages.page_parts import (
    COUNT_FIELDS,
    count_columns,
    file_stem,
    ramp_legend,
    safe_colour,
    setting_facts,
    shown,
)
from wsiparse.report.pages.picture import Picture
from wsiparse.report.pages.structures_parts import structures_parts
from wsiparse.report.pages.table import Table
from wsiparse.report.pages.words import count, interval, listed, micro, significant, times
from wsiparse.report.stats.summary import NO_CELLS

__all__ = ["slide_parts"]

Numbers = Mapping[str, Any]

ALL_TISSUE = "all tissue"

#: Verdicts of a class of which there is none.
_ABSENT = ("not found", NO_CELLS)

#: What lies beside the page, and one folder up.
FILES = (
    ("../../report.html", "all slides"),
    ("../../summary.csv", "summary.csv"),
    ("counts.csv", "counts.csv"),
    ("overlay.jpg", "overlay.jpg"),
    ("density.png", "density.png"),
    ("report.json", "report.json"),
)


@dataclass(frozen=True, slots=True)
class Key:
    """A key figure: what it is, the number, its unit, and lines of explanation."""

    label: str
    value: str
    unit: str
    lines: Sequence[str]
    colour: str = ""


def slide_parts(numbers: Numbers, pictures: Mapping[str, Picture]) -> dict[str, Any]:
    """Everything the template asks for besides the numbers themselves."""
    colours = {c["name"]: safe_colour(c["colour"]) for c in numbers["classes"]}
    return {
        "keys_": _keys(numbers, colours),
        "answers": answers(numbers, _first_rows(numbers)),
        "verdicts": _verdicts(numbers, colours),
        "overview": shown(
            pictures, "overview", "overview of the slide with the outline of the analysed area", missing="the overview "
            "was not stored with the results",
        ),
        "map": _map(numbers, pictures),
        "legend": _legend(numbers),
        "counts": _counts(numbers, colours),
        "density": _density(numbers),
        "maps": _maps(numbers, pictures),
        "pairs": _pairs(numbers),
        "structures": structures_parts(numbers, pictures),
        "distances": _distances(numbers),
        "spots": _spots(numbers, pictures),
        "distributions": _distributions(numbers, colours),
        "thresholds": _thresholds(numbers),
        "excluded": _excluded(numbers["area"]) + _absent(numbers["slide"]),
        "facts": _facts(numbers),
        "scale_notices": [text.replace(" um", " µm") for text in numbers["slide"].get("mpp_notices", ())],
        "factors": [(name, f) for name, f in numbers["uncertainty"]["cluster_factor"].items() if f is not None],
        "files": FILES,
        "dates": _dates(numbers),
        "warnings": numbers["limits"]["warnings"],
        "sentences": numbers["limits"]["sentences"],
        "drawn": _drawn(numbers),
    }  # fmt: skip


def _row(numbers: Numbers, name: str, compartment: str = ALL_TISSUE) -> Numbers | None:
    return next((r for r in numbers["rows"] if r["class"] == name and r["compartment"] == compartment), None)


def _first_rows(numbers: Numbers) -> list[Numbers]:
    """Rows over all tissue that people ask for first: of immune cells, else of all cells."""
    immune = [r for name in numbers["immune"]["classes"] if (r := _row(numbers, name)) is not None]
    cells = [c["name"] for c in numbers["classes"] if c["kind"] == "cell"]
    return immune or [r for name in ["All cells", *cells[:1]] if (r := _row(numbers, name)) is not None][:1]


def _keys(numbers: Numbers, colours: Mapping[str, str]) -> list[Key]:
    """The answer first: immune cells, or else all cells; tumour against stroma; what was analysed and what was not."""
    keys = [_density_key(row, colours, doubtful=warned(numbers)) for row in _first_rows(numbers)]
    infiltrate = numbers["immune"]["infiltrate"]
    if infiltrate is not None:
        keys.extend(_where(infiltrate))
    area = numbers["area"]
    label = "Analysed area" if area["whole_slide"] else "Analysed tissue"
    keys.append(Key(label, significant(area["analysed_mm2"]), "mm²", [_analysed(area)]))
    parts = _excluded(area)
    total = sum(mm2 for _, mm2, left_out in parts if left_out)
    lines = [f"{significant(mm2)} {name}" for name, mm2, left_out in parts if left_out and mm2 > 0]
    keys.append(Key("Excluded tissue", significant(total), "mm²", lines or ["nothing was left out"]))
    return keys


def _dates(numbers: Numbers) -> str:
    """When the slide was analysed and its report made."""
    dates = numbers["dates"]
    told = f"analysed on {dates['analysed']}"
    return told if dates["report"] == dates["analysed"] else f"{told}, report of {dates['report']}"


def _drawn(numbers: Numbers) -> str:
    """Names of the drawn regions on the overview, in words."""
    parts = []
    for one in numbers["regions"]:
        n = f" ({count(one['n'])})" if one["n"] > 1 else ""
        parts.append(f"{one['class'] or 'unclassified'}{n}{', dashed: left out' if one['left_out'] else ''}")
    return "; ".join(parts)


def _density_key(row: Numbers, colours: Mapping[str, str], *, doubtful: bool) -> Key:
    if row["density_per_mm2"] is None:
        lines = ["no tissue was analysed"]
    elif row["density_low"] is None:
        lines = [f"no interval: {micro(row['density_note'])}"]
    else:
        lines = [f"95 % interval {interval(row['density_low'], row['density_high'])}"]
    absent = row["verdict"] in _ABSENT
    lines.append("looked for and not found" if absent else f"{count(row['n'])} counted")
    if absent and doubtful:
        lines.append("no finding: see the warnings above")
    return Key(row["class"], significant(row["density_per_mm2"]), "per mm²", lines, colours.get(row["class"], ""))


def _where(infiltrate: Numbers) -> list[Key]:
    difference, inside = infiltrate["difference"], infiltrate["inside"]
    if difference["low"] is not None:
        line = f"{inside} less stroma {significant(difference['estimate'])} per mm²"
        lines = [f"{line} (interval {interval(difference['low'], difference['high'])})"]
    else:
        lines = [f"no interval of the difference: {micro(difference['note'])}"] if difference["note"] else []
    out = []
    for label, name in ((f"Immune cells in {inside}", "tumour"), ("Immune cells in stroma", "stroma")):
        about = [f"{count(infiltrate[f'n_{name}'])} on {significant(infiltrate[f'{name}_mm2'])} mm²"]
        about += lines if name == "tumour" else [f"stroma here: {micro(listed(infiltrate['stroma']))}"]
        out.append(Key(label, significant(infiltrate[f"{name}_per_mm2"]), "per mm²", about))
    return out


def _analysed(area: Numbers) -> str:
    if area["analysed_mm2"] <= 0:
        return "no tissue was analysed, so there are no densities"
    if area["whole_slide"]:
        part = "of the region of interest" if area["outside_roi_mm2"] > 0 else "of the slide"
        return f"everything {part}, glass included: densities are per mm² of slide, not of tissue"
    return f"of {significant(area['tissue_mm2'])} mm² of tissue"


def _excluded(area: Numbers) -> list[tuple[str, float, bool]]:
    """(what, mm2, whether it is tissue) of everything that was left out."""
    unreadable = "unreadable"
    if area["unreadable_tiles"]:
        unreadable += f" ({times(area['unreadable_tiles'], 'tile', 'tiles')})"
    return [
        ("outside the region of interest", area["outside_roi_mm2"], True),
        ("in regions drawn to be left out", area["drawn_out_mm2"], True),
        (unreadable, area["unreadable_mm2"], True),
        *_spoilt(area),
        ("pen, ink or black: not counted as tissue", area["artefact_mm2"], False),
    ]


def _spoilt(area: Numbers) -> list[tuple[str, float, bool]]:
    """Artefacts: together what is left out, and each kind."""
    out = [a for a in area["artefacts"] if a["left_out"]]
    kinds = ", ".join(f"{a['name']} {significant(a['mm2'])}" for a in out if a["mm2"] > 0)
    kept = [(f"{a['name']}: counted all the same", a["mm2"], False) for a in area["artefacts"] if not a["left_out"]]
    return [(f"artefacts ({kinds})" if kinds else "artefacts", area["spoilt_mm2"], True)] * bool(out) + kept


def _absent(slide: Numbers) -> list[tuple[str, float, bool]]:
    """The part of the slide that its file does not have: nothing is known of it."""
    mm2 = float(slide.get("missing_mm2", 0.0))
    return [("not in the file: missing tiles, shown as background", mm2, False)] if mm2 > 0 else []


def _verdicts(numbers: Numbers, colours: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = [(c, _row(numbers, c["name"])) for c in numbers["classes"]]
    return [
        {
            "name": c["name"],
            "colour": colours[c["name"]],
            "verdict": r["verdict"],
            "n": r["n"],
            "prompt": c["prompt"],
            "doubt": "no finding: see the warnings above" if r["verdict"] in _ABSENT and warned(numbers) else "",
        }
        for c, r in rows
        if r is not None
    ]


def _legend(numbers: Numbers) -> list[dict[str, Any]]:
    found = numbers["compartments"]
    total = numbers["area"]["analysed_mm2"]
    return [
        {"name": name, "colour": safe_colour(colour), "mm2": mm2, "percent": 100 * mm2 / total if total > 0 else None}
        for name, colour, mm2 in zip(found["names"], found["colours"], found["area_mm2"], strict=True)
    ]


def _map(numbers: Numbers, pictures: Mapping[str, Picture]) -> Any:
    names = numbers["compartments"]["names"]
    return shown(
        pictures, "compartments", f"map of {micro(listed(names))} over the overview in grey",
        missing="the tissue is one compartment" if len(names) < 2 else "the compartment map was not made",
    )  # fmt: skip


def _counts(numbers: Numbers, colours: Mapping[str, str]) -> Table:
    rows = numbers["rows"]
    return Table(
        key="counts-table",
        caption="Every class in every compartment",
        columns=count_columns(rows, slide=False),
        fields=COUNT_FIELDS,
        rows=rows,
        filters=[("compartment", "Compartment", "choice")],
        file_name=f"{file_stem(numbers['slide']['name'])}-counts.csv",
        colours=colours,
    )


def _density(numbers: Numbers) -> Markup | None:
    """Bars of every class in every compartment; None where there is one compartment only."""
    found = numbers["compartments"]
    if len(found["names"]) < 2:
        return None
    of = dict(zip(found["names"], map(safe_colour, found["colours"]), strict=True))
    names = list(dict.fromkeys(r["class"] for r in numbers["rows"]))
    entries = [
        Bar(
            micro(r["compartment"]), r["density_per_mm2"], r["density_low"], r["density_high"], r["n"],
            colour=of[r["compartment"]], heading=name,
        )
        for name in names
        for r in numbers["rows"]
        if r["class"] == name and r["compartment"] in of
    ]  # fmt: skip
    return bars(entries, title="Density by compartment", label="per mm²", key="density-chart")


def _maps(numbers: Numbers, pictures: Mapping[str, Picture]) -> list[dict[str, Any]]:
    out = []
    for k, one in enumerate(numbers["maps"]):
        legend = ramp_legend(numbers["ramp"], one["top_per_mm2"], key=f"ramp-{k}") if one["top_per_mm2"] > 0 else ""
        alt = f"density map of {one['class']}"
        picture = shown(pictures, one["picture"], alt, missing="there is nothing to draw", ramp=legend)
        out.append({"class": one["class"], "shown": picture, "numbers": one})
    return out


def _pairs(numbers: Numbers) -> list[dict[str, Any]]:
    out = []
    for k, pair in enumerate(numbers["immune"]["mixing"]):
        cross = pair["cross_k"]
        known = any(v is not None for v in cross["l_um"])

        def less(values: Sequence[float | None], radius: Sequence[float]) -> list[float | None]:
            return [None if v is None else v - r for v, r in zip(values, radius, strict=True)]

        series = [
            Curve(f"{pair['first']} around {pair['second']}", less(cross["l_um"], cross["radius_um"])),
            Curve("all cells together", less(cross["all_l_um"], cross["radius_um"])),
        ]
        svg = (
            curves(
                cross["radius_um"], series, title=f"Cross-L of {pair['first']} and {pair['second']}",
                x_label="distance r, µm", y_label="L(r) \N{MINUS SIGN} r, µm", key=f"cross-{k}",
            )
            if known
            else None
        )  # fmt: skip
        columns = ("radius_um", "k_um2", "poisson_um2", "l_um", "all_l_um")
        out.append({**pair, "svg": svg, "lines": list(zip(*(cross[c] for c in columns), strict=True))})
    return out


def _distances(numbers: Numbers) -> Markup | None:
    found = numbers["immune"]["distances"]
    if not found or not found["n"] or not found["histogram"]:
        return None
    shape = found["histogram"]
    if not sum(shape["counts"]) + shape["above"]:
        return None
    signed = found["to"] == "tumour border"
    # marks lie on the curve: of signed distances, the share at or below one is what its quantile says
    marks = (
        [(q["um"], q["share"]) for q in found["quantiles"]]
        if signed
        else [(w["um"], w["share"]) for w in found["within"]]
    )
    title = "Distance to the border of the tumour" if signed else f"Distance to the {found['to']}"
    return cumulative(
        shape["edges_um"], shape["counts"], shape["above"], marks, title=title,
        x_label="distance, µm (negative: inside the tumour)" if signed else "distance, µm",
        y_label="immune cells at or below, %" if signed else "immune cells within, %", key="distance-chart",
    )  # fmt: skip


def _spots(numbers: Numbers, pictures: Mapping[str, Picture]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Squares to show under their titles: hot-spots, then dense squares that are none."""
    found = numbers["immune"]["hot_spots"]
    spots = found["spots"] if found else []
    every = [
        {
            **spot,
            "shown": shown(pictures, spot["picture"], f"square {spot['rank']} at full resolution, cells outlined",
                           missing="the slide could not be read here"),
        }
        for spot in spots
    ]  # fmt: skip
    hot, others = [s for s in every if s["hot"]], [s for s in every if not s["hot"]]
    title = "Densest squares, for a look" if found and found["reason"] else "Dense squares that are no hot-spots"
    return [(name, chosen) for name, chosen in (("", hot), (title, others)) if chosen]


def _distributions(numbers: Numbers, colours: Mapping[str, str]) -> list[dict[str, Any]]:
    out = []
    of_nucleus = numbers["nucleus_probability"]
    for k, one in enumerate(numbers["histograms"]):
        area, score = one["area"], one["score"]
        sized, scored = sum(area["counts"]) + area["above"] > 0, sum(score["counts"]) > 0
        colour = colours.get(one["class"], safe_colour(""))
        both = []
        if sized:
            bins = Bins(area["edges_um2"], area["counts"], area["above"], area["median_um2"])
            title = f"Areas of {one['class']}"
            both.append(histogram(bins, title=title, label="area", unit="µm²", colour=colour, key=f"area-{k}"))
        if scored:
            of_what = "mean probability of a nucleus, not of its class" if of_nucleus else "mean probability"
            bins = Bins(score["edges"], score["counts"], 0, score["median"])
            title = f"Detection probabilities of {one['class']}"
            both.append(histogram(bins, title=title, label=of_what, colour=colour, key=f"score-{k}"))
        some = any(row["n"] for row in numbers["rows"] if row["class"] == one["class"])
        out.append({"class": one["class"], "charts": both, "points": some and not both})
    return out


def _thresholds(numbers: Numbers) -> list[dict[str, str]]:
    """How each count depends on the threshold, in words."""
    out = []
    for band in numbers["uncertainty"]["threshold"]:
        if band["reason"]:
            out.append({"class": band["class"], "n": "", "area": "", "reason": band["reason"]})
            continue
        here, up, down = (band["threshold"] + k * band["step"] for k in (0, 1, -1))
        words = [
            f"{count(band['n'])} at a threshold of {here:.3g}",
            f"at least {count(band['n_raised'])} at {up:.3g}" if up < 1 else f"none at {up:.3g}",
            f"at least {count(band['n_lowered_at_least'])} at {down:.3g}" if down > 0 else "no lower threshold",
        ]
        low, high = band["area_raised_least_um2"] / 1e6, band["area_raised_most_um2"] / 1e6
        area = (
            f"{significant(band['area_um2'] / 1e6)} mm² at {here:.3g}; "
            f"between {significant(low)} and {significant(high)} mm² at {up:.3g}"
        )
        out.append({"class": band["class"], "n": "; ".join(words), "area": area, "reason": ""})
    return out


def _strength(numbers: Numbers) -> str:
    strength = numbers["stain_strength"]
    if strength is not None:
        return f"{strength:.3g} (slides are seen at 1; 99th percentile of hematoxylin)"
    return "not known: the slide was seen as it is" if numbers["classes_by_rule"] else "not asked for by this engine"


def _facts(numbers: Numbers) -> list[tuple[str, str]]:
    """The manifest: what was asked for, and of what."""
    slide, settings = numbers["slide"], numbers["settings"]
    mpp = slide["mpp"]
    roi = settings["roi"]
    return [
        ("slide", slide["name"]),
        ("fingerprint", slide["fingerprint"]),
        ("size", f"{count(slide['size'][0])} x {count(slide['size'][1])} px"),
        ("resolution", f"{mpp[0]:.4g} x {mpp[1]:.4g} µm per px ({slide['mpp_source']})"),
        *(("resolution: notice", notice) for notice in slide.get("mpp_notices", ())),
        ("scanner's format", f"{slide['vendor']}, read by {slide['reader']}"),
        *(("file: note", note) for note in slide.get("notes", ())),
        ("engine", numbers["engine"]),
        ("wsiparse", str(numbers["wsiparse"])),
        ("analysed on (UTC)", numbers["dates"]["analysed"]),
        ("report made on (UTC)", numbers["dates"]["report"]),
        ("strength of the stain", _strength(numbers)),
        ("region of interest", f"{roi} (sha256 {settings['roi_sha256']})" if roi else "none"),
        *setting_facts(settings),
    ]
