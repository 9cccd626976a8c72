"""The report's charts as inline SVG. Pure.

Drawn here because a plotting library costs a second a slide and a second of import, and embeds pictures of letters
where a page can have letters. Every mark carries the numbers it was drawn from (data-value, data-low, data-high,
data-n, data-x), unrounded, so that what is drawn can be compared with what was given.

Charts hold without colour: each series has its own marker and dash, each bar its own label, counts beyond an axis
their own hatching. Colours are "#rrggbb".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from wsiparse.report.pages.axes import HEIGHT, WIDE, WIDTH, whole_name, x_axis, y_axis
from wsiparse.report.pages.svg import INK, Axis, Element, add, chart, exact, markup, shortened, tick_text
from wsiparse.report.pages.words import count, significant

__all__ = ["Bar", "Bins", "bars", "histogram"]


_PLAIN = "#6f95bd"


def _hatching(root: Element, key: str) -> str:
    """A pattern of slanted lines; returns what to fill with."""
    pattern = add(root, "pattern", id=f"{key}-hatch", width=5, height=5, patternUnits="userSpaceOnUse")
    pattern.set("patternTransform", "rotate(45)")
    add(pattern, "line", x1=0, y1=0, x2=0, y2=5, stroke=INK, stroke_width=2)
    return f"url(#{key}-hatch)"


@dataclass(frozen=True, slots=True)
class Bins:
    """How often values fall between edges.

    Parameters
    ----------
    edges : (k + 1,) increasing; unevenly spaced ones get bars of even width
    counts : (k,) objects of each bin
    above : how many values lie above the last edge
    median : of the values; marked with a dashed line where it lies inside the edges

    Raises
    ------
    ValueError
        If `edges` do not increase or are not one more than `counts`.
    """

    edges: Sequence[float]
    counts: Sequence[int]
    above: int
    median: float | None

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1 or any(a >= b for a, b in pairwise(self.edges)):
            n = len(self.counts)
            raise ValueError(f"{n} bins need {n + 1} increasing edges, got {list(self.edges)}")


def histogram(bins: Bins, *, title: str, label: str, unit: str = "", colour: str = _PLAIN, key: str) -> Markup:
    """A bar for each bin, values above the last edge in a hatched bar of their own.

    Parameters
    ----------
    bins : what is drawn
    title : of the chart
    label, unit : of the values
    colour : of the bars
    key : of the chart, unique in its page
    """
    edges, counts, above, median = bins.edges, bins.counts, bins.above, bins.median
    unit_text = f" {unit}" if unit else ""
    middle = "" if median is None else f", median {significant(median)}{unit_text}"
    about = f"{count(sum(counts) + above)} objects{middle}; {count(above)} above {tick_text(edges[-1])}{unit_text}."
    root = chart(WIDTH, HEIGHT, title=title, about=about, key=key)
    left, right, bottom = 58.0, WIDTH - (56.0 if above else 14.0), HEIGHT - 42.0
    even = max(b - a for a, b in pairwise(edges)) < 1.01 * (edges[-1] - edges[0]) / len(counts)
    places = list(edges) if even else [float(k) for k in range(len(edges))]
    axis = Axis(places[0], places[-1], left, right)
    ticks = (
        [t for t in Axis.of(edges, 0, 1)[1] if edges[0] <= t <= edges[-1]] if even else places[:: -(-len(places) // 6)]
    )
    height, y_ticks = Axis.of([0, max(1, *counts, above)], bottom, 24.0, 5)
    y_axis(root, height, [t for t in y_ticks if t == int(t)], left, right, "objects")
    for low, high, x0, x1, n in zip(edges, edges[1:], places, places[1:], counts, strict=False):
        top = height.px(n)
        box = {"x": axis.px(x0), "y": top, "width": axis.px(x1) - axis.px(x0), "height": bottom - top}
        _bin(root, box, f"{tick_text(low)} to {tick_text(high)}{unit_text}", n, (low, high), colour)
    if above:
        top = height.px(above)
        box = {"x": right + 12, "y": top, "width": 24, "height": bottom - top}
        _bin(root, box, f"above {tick_text(edges[-1])}{unit_text}", above, (edges[-1], None), _hatching(root, key))
        add(root, "text", f"> {tick_text(edges[-1])}", x=right + 24, y=bottom + 15, class_="tick", text_anchor="middle")
    x_axis(root, axis, [], bottom, 24.0, f"{label}, {unit}" if unit else label)
    for tick in ticks:
        name = tick_text(tick if even else edges[int(tick)])
        add(root, "line", x1=axis.px(tick), x2=axis.px(tick), y1=bottom, y2=bottom + 4, stroke=INK)
        if not above or axis.px(tick) < right - 8 or not even:
            add(root, "text", name, x=axis.px(tick), y=bottom + 15, class_="tick", text_anchor="middle")
    if median is not None and edges[0] <= median <= edges[-1]:
        _median(root, axis.px(_between(median, edges, places)), median, bottom, f"{significant(median)}{unit_text}")
    return markup(root)


def _bin(root: Element, box: dict[str, float], name: str, n: int, ends: tuple[float, float | None], fill: str) -> None:
    data = {"data_low": exact(ends[0]), "data_high": exact(ends[1]), "data_n": str(n), "data_value": str(n)}
    bar = add(root, "rect", class_="mark bin", fill=fill, stroke=INK, stroke_width=0.75, **box, **data)
    add(bar, "title", f"{name}: {count(n)}")


def _between(value: float, edges: Sequence[float], places: Sequence[float]) -> float:
    for a, b, p, q in zip(edges, edges[1:], places, places[1:], strict=False):
        if value <= b:
            return p + (value - a) / (b - a) * (q - p)
    return places[-1]


def _median(root: Element, x: float, median: float, bottom: float, text: str) -> None:
    add(root, "line", x1=x, x2=x, y1=18, y2=bottom, stroke=INK, stroke_width=1.5, stroke_dasharray="5 3",
        class_="mark median", data_value=exact(median))  # fmt: skip
    # on the side where there is room
    anchor, shift = ("start", 4) if x < WIDTH * 0.6 else ("end", -4)
    add(root, "text", f"median {text}", x=x + shift, y=16, class_="note", text_anchor=anchor)


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval: `n` is what it was counted from, `href` where its label leads ("" for nowhere)."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    href: str = ""
    colour: str = _PLAIN
    heading: str = ""


def bars(
    entries: Sequence[Bar], *, title: str, label: str, key: str, top: float | None = None, wide: bool = True
) -> Markup:
    """Horizontal bars from 0 with whiskers, a line each, the number at the right.

    Parameters
    ----------
    title : of the chart
    key : of the chart, unique in its page
    wide : a wider chart, with more room for names
    entries : top to bottom; a heading that differs from the one before gets a line of its own; None has no bar
    label : of the axis, with its unit
    top : the axis holds this value too, so that several charts share a scale
    """
    root, place, row = _bars_frame(entries, title=title, label=label, key=key, top=top, wide=wide)
    heading = ""
    y = 8.0
    for entry in entries:
        if entry.heading and entry.heading != heading:
            add(root, "text", shortened(entry.heading, WIDE / 2, 13), x=2, y=y + 15, class_="heading")
            y += row
            heading = entry.heading
        _bar(root, entry, place, y, row)
        y += row
    return markup(root)


def _bars_frame(
    entries: Sequence[Bar], *, title: str, label: str, key: str, top: float | None, wide: bool
) -> tuple[Element, Axis, float]:
    row = 21.0
    headings = sum(
        1 for a, b in zip([Bar("", None), *entries], entries, strict=False) if b.heading and b.heading != a.heading
    )
    height = 8 + row * (len(entries) + headings) + 44
    width = WIDE if wide else WIDTH
    known = [v for e in entries for v in (e.value, e.high) if v is not None]
    about = f"{len(entries)} bars" + (f", the longest {significant(max(known))}." if known else ", none with a value.")
    linked = any(e.href for e in entries)
    root = chart(width, height, title=title, about=about, key=key, linked=linked)
    left, right = (196.0, width - 170.0) if wide else (112.0, width - 136.0)
    axis, ticks = Axis.of([0.0, *known, *([top] if top is not None else [])], left, right)
    x_axis(root, axis, ticks, height - 40, 4.0, label)
    return root, axis, row


def _bar(root: Element, entry: Bar, axis: Axis, y: float, row: float) -> None:
    data = {
        "data_value": exact(entry.value),
        "data_low": exact(entry.low),
        "data_high": exact(entry.high),
        "data_n": "" if entry.n is None else str(entry.n),
        "data_label": entry.label,
    }
    mark = add(root, "g", class_="mark bar", **data)
    middle = y + row / 2
    holder = add(mark, "a", href=entry.href) if entry.href else mark
    name = add(holder, "text", shortened(entry.label, axis.start - 14), x=axis.start - 8, y=middle + 4,
               text_anchor="end", class_="name")  # fmt: skip
    whole_name(name, entry.label)
    text = significant(entry.value)
    if entry.value is not None:
        add(mark, "rect", x=axis.start, y=y + 4, width=axis.px(entry.value) - axis.start, height=row - 8,
            fill=entry.colour, stroke=INK, stroke_width=0.75)  # fmt: skip
    if entry.low is not None and entry.high is not None:
        x0, x1 = axis.px(entry.low), axis.px(entry.high)
        path = f"M{x0:.2f} {middle - 4:.2f}v8M{x0:.2f} {middle:.2f}H{x1:.2f}M{x1:.2f} {middle - 4:.2f}v8"
        # white below ink: seen over any colour of bar
        add(mark, "path", d=path, stroke="#ffffff", stroke_width=4, fill="none")
        add(mark, "path", d=path, stroke=INK, stroke_width=1.5, fill="none", class_="whisker")
        text += f" ({significant(entry.low)} to {significant(entry.high)})"
    add(mark, "text", text, x=axis.end + 10, y=middle + 4, class_="value")
