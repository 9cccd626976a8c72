"""Charts of lines and of points: curves, shares up to a value, a point for each patient or slide. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from markupsafe import Markup

from wsiparse.report.pages.axes import HEIGHT, WIDE, WIDTH, whole_name, x_axis, y_axis
from wsiparse.report.pages.svg import INK, QUIET, Axis, Element, add, chart, exact, markup, shortened, tick_text
from wsiparse.report.pages.words import count, significant

__all__ = ["Curve", "Strip", "ZRow", "cumulative", "curves", "strips", "z_scores"]


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
    height = HEIGHT + legend
    root = chart(WIDTH, height, title=title, about=about, key=key)
    left, right, bottom, top = 58.0, WIDTH - 14.0, height - 42.0, legend + 24
    across, x_ticks = Axis.of([0.0, *x], left, right)
    up, y_ticks = Axis.of([0.0, *known], bottom, top)
    for k, one in enumerate(series):
        y = 12 + 17 * k
        _stroke(root, [(left + 4, y - 4), (left + 40, y - 4)], k)
        _marker(root, left + 22, y - 4, k)
        add(root, "text", shortened(one.label, right - left - 50), x=left + 48, y=y, class_="note")
    label = add(root, "g", transform=f"translate(0 {legend:.0f})")
    add(label, "text", y_label, x=2, y=12, class_="axis")
    y_axis(root, up, y_ticks, left, right, "")
    x_axis(root, across, x_ticks, bottom, top, x_label)
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
    root = chart(WIDTH, HEIGHT, title=title, about=about, key=key)
    left, right, bottom, top = 58.0, WIDTH - 14.0, HEIGHT - 42.0, 24.0
    ticks = [t for t in Axis.of(edges, left, right)[1] if edges[0] <= t <= edges[-1]]
    across = Axis(edges[0], edges[-1], left, right)
    up = Axis(0.0, 100.0, bottom, top)
    y_axis(root, up, (0, 25, 50, 75, 100), left, right, y_label)
    x_axis(root, across, ticks, bottom, top, x_label)
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
    root = chart(WIDE, height, title=title, about=about, key=key)
    values = [v for g in groups for _, v, _ in g.points]
    axis, ticks = Axis.of([0.0, *values], 196.0, WIDE - 24.0)
    x_axis(root, axis, ticks, height - 40, 4.0, label)
    for k, group in enumerate(groups):
        top = 10 + lane * k
        middle = top + lane / 2
        name = add(root, "text", shortened(group.label, 182), x=188, y=middle - 1, text_anchor="end", class_="name")
        whole_name(name, group.label)
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
    root = chart(WIDE, height, title=title, about=f"{len(known)} scores, {beyond} beyond {limit:g}.", key=key)
    axis, ticks = Axis.of([-limit - 1, limit + 1, *known], 196.0, WIDE - 24.0, 10)
    x_axis(root, axis, ticks, height - 40, 4.0, label)
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
