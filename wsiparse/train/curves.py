"""How a training went, as a picture: loss and held-out figures over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_curves"]

#: Okabe & Ito 2008: told apart by colour-blind readers.
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")

_PANEL: Final = (760, 300)
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 200, 34, 36

Curve = Sequence[tuple[float, float]]


def _panel(draw: ImageDraw.ImageDraw, top: int, title: str, curves: Mapping[str, Curve], steps: int) -> None:
    """One panel: axes with round numbers, one line and one word for each curve."""
    font = ImageFont.load_default(13)
    x0, x1 = _LEFT, _PANEL[0] - _RIGHT
    y0, y1 = top + _TOP, top + _PANEL[1] - _BOTTOM
    values = [v for curve in curves.values() for _, v in curve]
    high = max(1.0, math.ceil(2 * max(values, default=0)) / 2)
    draw.text((x0, top + 8), title, "black", font)
    for k in range(5):
        y = y1 - (y1 - y0) * k / 4
        draw.line([(x0, y), (x1, y)], "#dddddd")
        draw.text((x0 - 8, y), f"{high * k / 4:.2f}", "black", font, anchor="rm")
        x = x0 + (x1 - x0) * k / 4
        draw.text((x, y1 + 6), f"{steps * k / 4:.0f}", "black", font, anchor="ma")
    for k, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[k % len(_COLOURS)]
        points = [(x0 + (x1 - x0) * s / steps, y1 - (y1 - y0) * max(v, 0) / high) for s, v in curve]
        if len(points) > 1:
            draw.line(points, colour, 2)
        for x, y in points[-1:]:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), colour)
        draw.text((x1 + 14, y0 + 18 * k), name, colour, font)


def draw_curves(log: Sequence[Mapping[str, Any]], steps: int) -> Image.Image:
    """Picture of a training.

    Parameters
    ----------
    log : entries with `step`, `losses` and, where they were taken, `figures`
    steps : steps of the whole training
    """
    losses: dict[str, list[tuple[float, float]]] = {}
    nuclei: dict[str, list[tuple[float, float]]] = {}
    classes: dict[str, list[tuple[float, float]]] = {}
    for entry in log:
        for name, value in entry["losses"].items():
            losses.setdefault(name, []).append((entry["step"], value))
        for name, figures in entry.get("figures", {}).items():
            for key, value in figures.items():
                if key == "f1":
                    nuclei.setdefault(name, []).append((entry["step"], value))
                elif key.endswith("_f1"):
                    classes.setdefault(f"{name} {key[:-3]}", []).append((entry["step"], value))
    panels = {"loss": losses, "held out: F1 of nuclei": nuclei, "held out: F1 of classes, end to end": classes}
    panels = {title: curves for title, curves in panels.items() if curves}
    image = Image.new("RGB", (_PANEL[0], max(1, len(panels)) * _PANEL[1]), "white")
    draw = ImageDraw.Draw(image)
    for k, (title, curves) in enumerate(panels.items()):
        _panel(draw, k * _PANEL[1], title, curves, steps)
    return image
