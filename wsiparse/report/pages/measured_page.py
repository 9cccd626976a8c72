"""The page of an evaluation or a comparison: figures with intervals, confusion, limits, the worst fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from wsiparse.report.pages.page import render_page
from wsiparse.report.pages.page_parts import shown
from wsiparse.report.pages.picture import Picture
from wsiparse.report.pages.svg import INK, LINE, QUIET, Axis, add, chart, markup, tick_text
from wsiparse.report.pages.table import Column, Table
from wsiparse.report.pages.words import significant

__all__ = ["measured_page"]

Numbers = Mapping[str, Any]

_SECTIONS: Final[tuple[tuple[str, str], ...]] = (
    ("answer", "Key figures"),
    ("figures", "Figures"),
    ("confusion", "Confusion"),
    ("counts", "Counts"),
    ("worst", "Worst fields"),
    ("fields", "All fields"),
    ("methods", "Methods"),
)

#: Colours and words of outlines in pictures of fields, as `wsiparse.measure.pictures` draws them.
_LEGEND: Final = (
    ("#009e73", "on both sides"),
    ("#cc79a7", "on both sides, of another class"),
    ("#0072b2", "{} only"),
    ("#d55e00", "{} only"),
)

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640.0, 260.0, 70.0, 44.0


def measured_page(
    numbers: Numbers, figures: Sequence[tuple[str, str]], pictures: Sequence[tuple[str, Picture | None, str]]
) -> str:
    """A complete HTML document.

    Parameters
    ----------
    numbers : as written to evaluation.json or comparison.json
    figures : key and words of each figure, in order
    pictures : caption, picture or None, and why there is none, of the fields shown
    """
    one, other = numbers["sides"]
    title = f"{numbers['what'].capitalize()} of {numbers['results']}"
    parts = {
        "figures": [_figure_table(k, key, words, numbers) for k, (key, words) in enumerate(figures)],
        "keys": _keys(numbers),
        "limits": [_limits_of(numbers, row) for row in numbers["rows"]],
        "charts": [_bland_altman(k, numbers, row) for k, row in enumerate(numbers["rows"])],
        "fields": _field_table(numbers, [key for key, _ in figures]),
        "legend": [(colour, words.format((one, other)[k % 2])) for k, (colour, words) in enumerate(_LEGEND)],
        "pictures": [
            (shown({"field": picture} if picture else {}, "field", caption, missing=missing), caption)
            for caption, picture, missing in pictures
        ],
    }
    sections = [s for s in _SECTIONS if s[0] != "worst" or pictures or numbers["what"] == "evaluation"]
    return render_page("measured.html", f"{title} \N{EN DASH} wsiparse", tuple(sections), numbers=numbers, parts=parts)


def _keys(numbers: Numbers) -> list[tuple[str, str, str]]:
    """Class, F1 and its interval, of every row."""
    return [
        (row["class"], significant(row["f1"]["value"]) if row["f1"]["value"] is not None else "unknown",
         _interval(row["f1"]))
        for row in numbers["rows"]
    ]  # fmt: skip


def _interval(estimate: Numbers) -> str:
    if estimate["low"] is None:
        return f"no interval: {estimate['reason']}" if estimate["value"] is not None else estimate["reason"]
    return f"95 % interval {significant(estimate['low'])}-{significant(estimate['high'])}, {estimate['fields']} fields"


def _figure_table(k: int, key: str, words: str, numbers: Numbers) -> Table:
    rows = [
        {
            "class": row["class"],
            "annotated": row["annotated"],
            "found": row["found"],
            "value": row[key]["value"],
            "low": row[key]["low"],
            "high": row[key]["high"],
            "why": row[key]["reason"],
        }
        for row in numbers["rows"]
    ]
    one, other = numbers["sides"]
    columns = [
        Column("Class", "class"),
        Column(one.capitalize(), "annotated", "count"),
        Column(other.capitalize(), "found", "count"),
        Column(_title(words), "value", "number", note="why"),
        Column("95 % interval", "low", "interval", upper="high", note="why"),
    ]
    fields = ["class", "annotated", "found", "value", "low", "high", "why"]
    return Table(f"figure-{k}", _title(words), columns, fields, rows, file_name=f"{key}.csv")


def _title(words: str) -> str:
    return words[0].upper() + words[1:]


def _field_table(numbers: Numbers, figures: Sequence[str]) -> Table:
    columns = [
        Column("Slide", "slide"),
        Column("Field", "field"),
        Column("Class", "class"),
        Column("Area", "mm2", "number", unit="mm²"),
        Column(numbers["sides"][0].capitalize(), "annotated", "count"),
        Column(numbers["sides"][1].capitalize(), "found", "count"),
        *(Column(key, key, "number") for key in figures),
    ]
    keys = ["slide", "field", "class", "mm2", "annotated", "found", "pairs", *figures]
    filters = (("class", "Class", "choice"), ("slide", "Slide", "search"))
    return Table("all-fields", "Every field and class", columns, keys, numbers["fields"], filters, 50, "fields.csv")


def _limits_of(numbers: Numbers, row: Numbers) -> str:
    """Bland-Altman in words."""
    limits = row["limits"]
    if limits["mean"] is None:
        return f"{row['class']}: unknown ({limits['reason']})"
    one, other = numbers["sides"]
    text = f"{row['class']}: {other} less {one} {significant(limits['mean'])} per mm² on average"
    if limits["low"] is None:
        return f"{text}; no limits of agreement: {limits['reason']}"
    return (
        f"{text} (95 % interval {significant(limits['mean_low'])} to {significant(limits['mean_high'])}); limits of "
        f"agreement {significant(limits['low'])} to {significant(limits['high'])} per mm², {limits['fields']} fields"
    )


def _bland_altman(k: int, numbers: Numbers, row: Numbers) -> Markup | None:
    fields = [f for f in numbers["fields"] if f["class"] == row["class"]]
    if row["limits"]["mean"] is None or not fields:
        return None
    x = [(f["annotated"] + f["found"]) / 2 / f["mm2"] for f in fields]
    y = [(f["found"] - f["annotated"]) / f["mm2"] for f in fields]
    lines = [v for v in (row["limits"]["mean"], row["limits"]["low"], row["limits"]["high"]) if v is not None]
    about = "a point a field: mean of both densities against their difference; lines: mean and limits of agreement"
    root = chart(_WIDTH, _HEIGHT, title=f"Bland-Altman, {row['class']}", about=about, key=f"ba-{k}")
    across, x_ticks = Axis.of([0.0, *x], _LEFT, _WIDTH - 12)
    up, y_ticks = Axis.of([0.0, *y, *lines], _HEIGHT - _BOTTOM, 12.0)
    for tick in x_ticks:
        add(root, "text", tick_text(tick), x=across.px(tick), y=_HEIGHT - _BOTTOM + 16, text_anchor="middle",
            fill=QUIET, font_size="11")  # fmt: skip
    for tick in y_ticks:
        add(root, "line", x1=_LEFT, x2=_WIDTH - 12, y1=up.px(tick), y2=up.px(tick), stroke=LINE)
        add(root, "text", tick_text(tick), x=_LEFT - 6, y=up.px(tick) + 4, text_anchor="end", fill=QUIET,
            font_size="11")  # fmt: skip
    for value in lines:
        dash = "none" if value == row["limits"]["mean"] else "6 4"
        add(root, "line", x1=_LEFT, x2=_WIDTH - 12, y1=up.px(value), y2=up.px(value), stroke=INK, stroke_dasharray=dash)
    for a, b in zip(x, y, strict=True):
        add(root, "circle", cx=across.px(a), cy=up.px(b), r=3.5, fill="#0072b2", fill_opacity="0.7")
    label = f"mean density of {numbers['sides'][0]} and {numbers['sides'][1]}, per mm²; upwards their difference"
    add(root, "text", label, x=_LEFT, y=_HEIGHT - 8, fill=INK, font_size="12")
    return markup(root)
