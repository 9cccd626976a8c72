"""The report's charts as inline SVG. Pure.

Drawn here because a plotting library costs a second a slide and a second of import, and embeds pictures of letters
where a page can have letters. Every mark carries the numbers it was drawn from (data-value, data-low, data-high,
data-n, data-x), unrounded, so that what is drawn can be compared with what was given.

Charts hold without colour: each series has its own marker and dash, each bar its own label, counts beyond an axis
their own hatching. Colours are "#rrggbb".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from markupsafe import Markup

from wsiparse.report.pages.svg import (
    INK,
    LINE,
    QUIET,
    Axis,
    Element,
    add,
    chart,
    exact,
    markup,
    shortened,
    tick_text,
)
from wsiparse.report.pages.words import count, significant

__all__ = ["Bar", "Bins", "Curve", "Strip", "ZRow", "bars", "cumulative", "curves", "histogram", "strips", "z_scores"]

_WIDTH, _HEIGHT = 440.0, 236.0
_WIDE = 720.0
_PLAIN = "#6f95bd"


def _x_axis(root: Element, axis: Axis, ticks: Sequence[float], y: float, top: float, label: str) -> None:
    """Ticks below `y`, faint lines up to `top`, the label in the middle."""
    for tick in ticks:
        x = axis.px(tick)
        add(root, "line", x1=x, x2=x, y1=top, y2=y, stroke=LINE)
        add(root, "text", tick_text(tick), x=x, y=y + 15, class_="tick", text_anchor="middle")
    add(root, "line", x1=axis.start, x2=axis.end, y1=y, y2=y, stroke=INK)
    add(root, "text", label, x=(axis.start + axis.end) / 2, y=y + 32, class_="axis", text_anchor="middle")


def _y_axis(root: Element, axis: Axis, ticks: Sequence[float], x: float, right: float, label: str) -> None:
    """Ticks left of `x`, faint lines to `right`, the label above."""
    for tick in ticks:
        y = axis.px(tick)
        add(root, "line", x1=x, x2=right, y1=y, y2=y, stroke=LINE)
        add(root, "text", tick_text(tick), x=x - 6, y=y + 4, class_="tick", text_anchor="end")
    add(root, "text", label, x=2, y=12, class_="axis")


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
    root = chart(_WIDTH, _HEIGHT, title=title, about=about, key=key)
    left, right, bottom = 58.0, _WIDTH - (56.0 if above else 14.0), _HEIGHT - 42.0
    even = max(b - a for a, b in pairwise(edges)) < 1.01 * (edges[-1] - edges[0]) / len(counts)
    places = list(edges) if even else [float(k) for k in range(len(edges))]
    axis = Axis(places[0], places[-1], left, right)
    ticks = (
        [t for t in Axis.of(edges, 0, 1)[1] if edges[0] <= t <= edges[-1]] if even else places[:: -(-len(places) // 6)]
    )
    height, y_ticks = Axis.of([0, max(1, *counts, above)], bottom, 24.0, 5)
    _y_axis(root, height, [t for t in y_ticks if t == int(t)], left, right, "objects")
    for low, high, x0, x1, n in zip(edges, edges[1:], places, places[1:], counts, strict=False):
        top = height.px(n)
        box = {"x": axis.px(x0), "y": top, "width": axis.px(x1) - axis.px(x0), "height": bottom - top}
        _bin(root, box, f"{tick_text(low)} to {tick_text(high)}{unit_text}", n, (low, high), colour)
    if above:
        top = height.px(above)
        box = {"x": right + 12, "y": top, "width": 24, "height": bottom - top}
        _bin(root, box, f"above {tick_text(edges[-1])}{unit_text}", above, (edges[-1], None), _hatching(root, key))
        add(root, "text", f"> {tick_text(edges[-1])}", x=right + 24, y=bottom + 15, class_="tick", text_anchor="middle")
    _x_axis(root, axis, [], bottom, 24.0, f"{label}, {unit}" if unit else label)
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
    anchor, shift = ("start", 4) if x < _WIDTH * 0.6 else ("end", -4)
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
            add(root, "text", shortened(entry.heading, _WIDE / 2, 13), x=2, y=y + 15, class_="heading")
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
    width = _WIDE if wide else _WIDTH
    known = [v for e in entries for v in (e.value, e.high) if v is not None]
    about = f"{len(entries)} bars" + (f", the longest {significant(max(known))}." if known else ", none with a value.")
    linked = any(e.href for e in entries)
    root = chart(width, height, title=title, about=about, key=key, linked=linked)
    left, right = (196.0, width - 170.0) if wide else (112.0, width - 136.0)
    axis, ticks = Axis.of([0.0, *known, *([top] if top is not None else [])], left, right)
    _x_axis(root, axis, ticks, height - 40, 4.0, label)
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
    _whole_name(name, entry.label)
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


def _whole_name(text: Element, name: str) -> None:
    """What a shortened name was, for whoever points at it."""
    if text.text != name:
        add(text, "title", name)


@dataclass(frozen=True, slots=True)
class Curve:
    """A series: `y` at each x, None where it is not known."""

    label: str
    y: Sequence[float | None]


#: Stroke, dash and marker of the first, the second and the third series.
_STYLES = (("#0b5cad", "none", "circle"), (INK, "6 4", "square"), ("#8a4b00", "2 3", "diamond"))


def curves(x: Sequence[float], series: Sequence[Curve], *, title: str, x_label: str, y_label: str, key: str) -> Markup:
    """Up to three series over common x, told apart by dash and marker.

    Parameters
    ----------
    x : common to all series
    series : top to bottom of the key
    title : of the chart
    x_label, y_label : of the axes, with their units
    key : of the chart, unique in its page

    Raises
    ------
    ValueError
        If there are more than three series, or one has not as many values as `x`.
    """
    if len(series) > len(_STYLES) or any(len(s.y) != len(x) for s in series):
        raise ValueError(f"at most {len(_STYLES)} series of {len(x)} values can be drawn")
    known = [v for s in series for v in s.y if v is not None]
    about = f"{' and '.join(s.label for s in series)}, over {tick_text(x[0])} to {tick_text(x[-1])}."
    legend = 17.0 * len(series)
    height = _HEIGHT + legend
    root = chart(_WIDTH, height, title=title, about=about, key=key)
    left, right, bottom, top = 58.0, _WIDTH - 14.0, height - 42.0, legend + 24
    across, x_ticks = Axis.of([0.0, *x], left, right)
    up, y_ticks = Axis.of([0.0, *known], bottom, top)
    for k, one in enumerate(series):
        y = 12 + 17 * k
        _stroke(root, [(left + 4, y - 4), (left + 40, y - 4)], k)
        _marker(root, left + 22, y - 4, k)
        add(root, "text", shortened(one.label, right - left - 50), x=left + 48, y=y, class_="note")
    label = add(root, "g", transform=f"translate(0 {legend:.0f})")
    add(label, "text", y_label, x=2, y=12, class_="axis")
    _y_axis(root, up, y_ticks, left, right, "")
    _x_axis(root, across, x_ticks, bottom, top, x_label)
    add(root, "line", x1=left, x2=right, y1=up.px(0), y2=up.px(0), stroke=QUIET)
    for k, one in enumerate(series):
        piece: list[tuple[float, float]] = []
        for at, value in zip(x, one.y, strict=True):
            if value is None:
                _stroke(root, piece, k)
                piece = []
                continue
            piece.append((across.px(at), up.px(value)))
        _stroke(root, piece, k)
        for at, value in zip(x, one.y, strict=True):
            if value is not None:
                data = {"data_x": exact(at), "data_value": exact(value), "data_series": one.label}
                _marker(root, across.px(at), up.px(value), k, **data)
    return markup(root)


def _stroke(root: Element, points: Sequence[tuple[float, float]], k: int) -> None:
    if len(points) > 1:
        colour, dash, _ = _STYLES[k]
        text = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
        add(root, "polyline", points=text, fill="none", stroke=colour, stroke_width=1.75, stroke_dasharray=dash)


def _marker(root: Element, x: float, y: float, k: int, **data: str) -> None:
    colour, _, shape = _STYLES[k]
    names = {"class_": "mark point", **data} if data else {}
    if shape == "circle":
        add(root, "circle", cx=x, cy=y, r=3.5, fill=colour, **names)
    elif shape == "square":
        add(root, "rect", x=x - 3.25, y=y - 3.25, width=6.5, height=6.5, fill="#ffffff", stroke=colour,
            stroke_width=1.5, **names)  # fmt: skip
    else:
        add(root, "path", d=f"M{x:.2f} {y - 4.5:.2f}l4.5 4.5l-4.5 4.5l-4.5 -4.5z", fill=colour, **names)


def cumulative(
    edges: Sequence[float],
    counts: Sequence[int],
    above: int,
    within: Sequence[tuple[float, float]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    key: str,
) -> Markup:
    """Share of values up to x, in percent: exact at every edge of a histogram, straight between.

    Parameters
    ----------
    title : of the chart
    x_label, y_label : of the axes, with their units
    key : of the chart, unique in its page
    edges, counts, above : as for `histogram`; at least one value
    within : (x, share 0-1) that get a marker and their percentage

    Raises
    ------
    ValueError
        If there is no value, or `edges` are not one more than `counts`.
    """
    total = sum(counts) + above
    if total < 1 or len(edges) != len(counts) + 1:
        raise ValueError(f"a curve needs a value and {len(counts) + 1} edges, got {total} and {len(edges)}")
    about = "; ".join(f"{significant(100 * share)} % up to {tick_text(x)}" for x, share in within) + "."
    root = chart(_WIDTH, _HEIGHT, title=title, about=about, key=key)
    left, right, bottom, top = 58.0, _WIDTH - 14.0, _HEIGHT - 42.0, 24.0
    ticks = [t for t in Axis.of(edges, left, right)[1] if edges[0] <= t <= edges[-1]]
    across = Axis(edges[0], edges[-1], left, right)
    up = Axis(0.0, 100.0, bottom, top)
    _y_axis(root, up, (0, 25, 50, 75, 100), left, right, y_label)
    _x_axis(root, across, ticks, bottom, top, x_label)
    shares = [100 * n / total for n in accumulate(counts, initial=0)]
    _stroke(root, [(across.px(x), up.px(s)) for x, s in zip(edges, shares, strict=True)], 0)
    for x, share in within:
        if edges[0] <= x <= edges[-1]:
            px, py = across.px(x), up.px(100 * share)
            _marker(root, px, py, 0, data_x=exact(x), data_value=exact(share))
            # below the curve, where it does not run
            add(root, "text", f"{significant(100 * share, 2)} %", x=min(px + 6, right - 34), y=min(py + 15, bottom - 3),
                class_="note")  # fmt: skip
    return markup(root)


@dataclass(frozen=True, slots=True)
class Strip:
    """A group: (name, value, count or None) of each patient, in a stable order, with its quartiles."""

    label: str
    points: Sequence[tuple[str, float, int | None]]
    lower: float | None = None
    median: float | None = None
    upper: float | None = None


def strips(groups: Sequence[Strip], *, title: str, label: str, key: str) -> Markup:
    """Every patient a point, quartiles as a box behind them, a lane a group."""
    lane = 54.0
    height = 10 + lane * len(groups) + 44
    about = "; ".join(f"{g.label}: {len(g.points)} patients, median {significant(g.median)}" for g in groups) + "."
    root = chart(_WIDE, height, title=title, about=about, key=key)
    values = [v for g in groups for _, v, _ in g.points]
    axis, ticks = Axis.of([0.0, *values], 196.0, _WIDE - 24.0)
    _x_axis(root, axis, ticks, height - 40, 4.0, label)
    for k, group in enumerate(groups):
        top = 10 + lane * k
        middle = top + lane / 2
        name = add(root, "text", shortened(group.label, 182), x=188, y=middle - 1, text_anchor="end", class_="name")
        _whole_name(name, group.label)
        n = f"{count(len(group.points))} patient{'' if len(group.points) == 1 else 's'}"
        add(root, "text", n, x=188, y=middle + 14, text_anchor="end", class_="tick")
        if group.median is not None and group.lower is not None and group.upper is not None:
            data = {"data_low": exact(group.lower), "data_value": exact(group.median), "data_high": exact(group.upper)}
            x0, x1, xm = axis.px(group.lower), axis.px(group.upper), axis.px(group.median)
            add(root, "rect", x=x0, y=top + 9, width=x1 - x0, height=lane - 18, fill="#eef1f4", stroke=QUIET,
                class_="mark box", data_label=group.label, **data)  # fmt: skip
            add(root, "line", x1=xm, x2=xm, y1=top + 6, y2=top + lane - 6, stroke=INK, stroke_width=2.5)
        for i, (patient, value, cells) in enumerate(group.points):
            # steps of the golden ratio fill the lane evenly whatever the number of points
            y = middle + ((i * 0.6180339887 + 0.5) % 1 - 0.5) * (lane - 28)
            data = {"data_label": patient, "data_value": exact(value), "data_n": "" if cells is None else str(cells)}
            dot = add(root, "circle", cx=axis.px(value), cy=y, r=4, fill="#0b5cad", fill_opacity="0.75",
                      stroke="#ffffff", stroke_width=0.75, class_="mark patient", **data)  # fmt: skip
            add(dot, "title", f"{patient}: {significant(value)}")
    return markup(root)


@dataclass(frozen=True, slots=True)
class ZRow:
    """A measure: (slide, z or None) of every slide."""

    label: str
    points: Sequence[tuple[str, float | None]] = field(default_factory=tuple)


def z_scores(rows: Sequence[ZRow], *, limit: float, title: str, label: str, key: str) -> Markup:
    """Every slide a point, those beyond +- limit as filled diamonds; a lane a measure.

    Parameters
    ----------
    rows : a lane each
    limit : what slides stand out by
    title : of the chart
    label : of the axis
    key : of the chart, unique in its page
    """
    lane = 30.0
    height = 10 + lane * len(rows) + 44
    known = [z for r in rows for _, z in r.points if z is not None]
    beyond = sum(abs(z) > limit for z in known)
    root = chart(_WIDE, height, title=title, about=f"{len(known)} scores, {beyond} beyond {limit:g}.", key=key)
    axis, ticks = Axis.of([-limit - 1, limit + 1, *known], 196.0, _WIDE - 24.0, 10)
    _x_axis(root, axis, ticks, height - 40, 4.0, label)
    for end in (-limit, limit):
        x = axis.px(end)
        add(root, "line", x1=x, x2=x, y1=4, y2=height - 40, stroke=INK, stroke_width=1.25, stroke_dasharray="5 3",
            class_="limit", data_value=exact(end))  # fmt: skip
    for k, row in enumerate(rows):
        middle = 10 + lane * (k + 0.5)
        add(root, "text", shortened(row.label, 182), x=188, y=middle + 4, text_anchor="end", class_="name")
        for i, (slide, z) in enumerate(row.points):
            if z is None:
                continue
            x, y = axis.px(z), middle + ((i * 0.6180339887 + 0.5) % 1 - 0.5) * (lane - 14)
            data = {"class_": "mark slide", "data_label": slide, "data_value": exact(z)}
            if abs(z) > limit:
                dot = add(root, "path", d=f"M{x:.2f} {y - 5:.2f}l5 5l-5 5l-5 -5z", fill="#a32222", **data)
                add(dot, "title", f"{slide}: {significant(z)}")
            else:
                add(root, "circle", cx=x, cy=y, r=3, fill="none", stroke=QUIET, stroke_width=1.25, **data)
    return markup(root)
