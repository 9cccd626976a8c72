"""The Bland-Altman chart of two measurements, as inline SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from wsiparse.report.pages.axes import WIDE, x_axis, y_axis
from wsiparse.report.pages.svg import INK, Axis, add, chart, exact, markup
from wsiparse.report.pages.words import significant

__all__ = ["differences"]

_HEIGHT = 300.0


def differences(
    points: Sequence[tuple[str, float, float]],
    lines: Sequence[tuple[str, float]],
    *,
    title: str,
    labels: tuple[str, str],
    key: str,
) -> Markup:
    """Differences of two measurements over their means, a point a slide, with level lines.

    Parameters
    ----------
    points : (slide, mean, difference)
    lines : (what, difference) of each level line
    title : of the chart
    labels : of the axes, x and y, with their units
    key : of the chart, unique in its page
    """
    about = f"{len(points)} slides; " + ", ".join(f"{what} {significant(value)}" for what, value in lines) + "."
    root = chart(WIDE, _HEIGHT, title=title, about=about, key=key)
    left, right, bottom, top = 58.0, WIDE - 190.0, _HEIGHT - 42.0, 24.0
    across, x_ticks = Axis.of([0.0, *(x for _, x, _ in points)], left, right)
    up, y_ticks = Axis.of([0.0, *(y for _, _, y in points), *(y for _, y in lines)], bottom, top)
    y_axis(root, up, y_ticks, left, right, labels[1])
    x_axis(root, across, x_ticks, bottom, top, labels[0])
    for what, value in lines:
        y = up.px(value)
        add(root, "line", x1=left, x2=right, y1=y, y2=y, stroke=INK, stroke_width=1.25, stroke_dasharray="5 3",
            class_="limit", data_value=exact(value))  # fmt: skip
        add(root, "text", f"{what} {significant(value)}", x=right + 8, y=y + 4, class_="note")
    for slide, x, y in points:
        dot = add(root, "circle", cx=across.px(x), cy=up.px(y), r=4, fill="#0b5cad", fill_opacity="0.75",
                  stroke="#ffffff", stroke_width=0.75, class_="mark slide", data_label=slide, data_x=exact(x),
                  data_value=exact(y))  # fmt: skip
        add(dot, "title", f"{slide}: {significant(y)} at {significant(x)}")
    return markup(root)
