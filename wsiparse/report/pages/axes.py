"""Axes that the charts share, and their sizes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wsiparse.report.pages.svg import INK, LINE, Axis, Element, add, tick_text

__all__ = ["HEIGHT", "WIDE", "WIDTH", "whole_name", "x_axis", "y_axis"]

WIDTH, HEIGHT = 440.0, 236.0
WIDE = 720.0


def x_axis(root: Element, axis: Axis, ticks: Sequence[float], y: float, top: float, label: str) -> None:
    """Draw into `root`: ticks below `y`, faint lines up to `top`, the label in the middle."""
    for tick in ticks:
        x = axis.px(tick)
        add(root, "line", x1=x, x2=x, y1=top, y2=y, stroke=LINE)
        add(root, "text", tick_text(tick), x=x, y=y + 15, class_="tick", text_anchor="middle")
    add(root, "line", x1=axis.start, x2=axis.end, y1=y, y2=y, stroke=INK)
    add(root, "text", label, x=(axis.start + axis.end) / 2, y=y + 32, class_="axis", text_anchor="middle")


def y_axis(root: Element, axis: Axis, ticks: Sequence[float], x: float, right: float, label: str) -> None:
    """Draw into `root`: ticks left of `x`, faint lines to `right`, the label above."""
    for tick in ticks:
        y = axis.px(tick)
        add(root, "line", x1=x, x2=right, y1=y, y2=y, stroke=LINE)
        add(root, "text", tick_text(tick), x=x - 6, y=y + 4, class_="tick", text_anchor="end")
    add(root, "text", label, x=2, y=12, class_="axis")


def whole_name(text: Element, name: str) -> None:
    """What a shortened name was, for whoever points at it."""
    if text.text != name:
        add(text, "title", name)
