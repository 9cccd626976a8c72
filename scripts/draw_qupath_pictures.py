#!/usr/bin/env python3
"""Draw where to click in QuPath: small labelled diagrams (SVG) for qupath_scripts/README.md.

Drawings, not screenshots: they show menus and their order, which stay the same from QuPath 0.5 on, not how they look.

Example: scripts/draw_qupath_pictures.py qupath_scripts/pictures
"""

from __future__ import annotations

import argparse
import sys
from html import escape
from pathlib import Path

BAR = ("File", "Edit", "Tools", "View", "Objects", "TMA", "Measure", "Automate", "Analyze", "Classify", "Extensions")
ROW, LETTER = 22, 7.6  # height of a line, width of a letter, px
INK, FRAME, PAPER, MARK, PALE = "#24292f", "#8c959f", "#ffffff", "#0969da", "#ddf4ff"


class Drawing:
    """Boxes, words and numbered marks on a page."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, fill: str = PAPER, line: str = FRAME) -> None:
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" fill="{fill}" stroke="{line}"/>'
        )

    def words(
        self, x: float, y: float, text: str, *, colour: str = INK, bold: bool = False, code: bool = False
    ) -> None:
        weight = ' font-weight="bold"' if bold else ""
        family = ' font-family="monospace"' if code else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" fill="{colour}"{weight}{family}>{escape(text)}</text>')

    def mark(self, x: float, y: float, number: int) -> None:
        """A numbered dot: the order of clicks."""
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="9" fill="{MARK}"/>')
        self._parts.append(
            f'<text x="{x:g}" y="{y + 4:g}" fill="{PAPER}" font-weight="bold" text-anchor="middle">{number}</text>'
        )

    def arrow(self, x: float, y: float, to_x: float, to_y: float) -> None:
        self._parts.append(
            f'<path d="M{x:g} {y:g} L{to_x:g} {to_y:g}" stroke="{MARK}" stroke-width="2" marker-end="url(#tip)"/>'
        )

    def menu_bar(self, width: float, chosen: str, number: int) -> float:
        """QuPath's menu bar with one menu marked; returns where that menu starts."""
        self.box(0.5, 0.5, width - 1, ROW + 2, "#f6f8fa")
        x, found = 10.0, 10.0
        for name in BAR:
            if name == chosen:
                found = x
                self.box(x - 5, 2.5, len(name) * 8.3 + 10, ROW - 2, PALE, MARK)
                self.mark(x + len(name) * LETTER + 4, 25, number)
            self.words(x, 16, name, bold=name == chosen)
            x += len(name) * (8.3 if name == chosen else LETTER) + 12
        return found

    def menu(self, x: float, y: float, items: list[str], marks: dict[str, int], width: float | None = None) -> float:
        """A list of menu items, some of them marked; returns its right side. "-" is a line between items."""
        width = width or max(map(len, items)) * 8.3 + 44
        self.box(x, y, width, len(items) * ROW + 6)
        for k, item in enumerate(items):
            top = y + 3 + k * ROW
            if item == "-":
                self._parts.append(f'<path d="M{x + 6:g} {top + 11:g} h{width - 12:g}" stroke="#d0d7de"/>')
                continue
            if item in marks:
                self.box(x + 2, top, width - 4, ROW, PALE, MARK)
                self.mark(x + width - 14, top + 11, marks[item])
            grey = item in ("...", "…")
            self.words(x + 10, top + 15, item, bold=item in marks, colour=FRAME if grey else INK)
        return x + width

    def text(self) -> str:
        width, height = self._size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
            ' font-family="sans-serif" font-size="13">\n'
            f'<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
            f'<path d="M0 0 L6 3 L0 6 z" fill="{MARK}"/></marker></defs>\n'
            f'<rect width="{width}" height="{height}" fill="{PAPER}"/>\n' + "\n".join(self._parts) + "\n</svg>\n"
        )


def import_and_export() -> Drawing:
    """File > Import objects from file, File > Export objects as GeoJSON, and dragging."""
    page = Drawing(760, 230)
    x = page.menu_bar(760, "File", 1)
    items = ["Open...", "Save", "...", "Import objects from file", "Export objects as GeoJSON", "..."]
    page.menu(x - 5, 38, items, {"Import objects from file": 2}, 250)
    page.box(330, 50, 420, 170, "#fbeff7")
    page.words(480, 70, "the slide in the viewer", colour=FRAME)
    page.box(350, 120, 150, 26, PALE, MARK)
    page.words(360, 137, "cells.geojson.gz", code=True)
    page.arrow(510, 133, 590, 133)
    page.words(350, 175, "or drag the file from its folder onto the slide", bold=True)
    page.words(10, 222, "regions for --roi go out by Export", colour=FRAME)
    return page


def scripts() -> Drawing:
    """Automate > Script editor; the settings of a script; Run and Run for project."""
    page = Drawing(760, 330)
    x = page.menu_bar(760, "Automate", 1)
    page.menu(x - 5, 38, ["Show workflow command history", "Script editor", "..."], {"Script editor": 2}, 256)
    page.box(0.5, 120.5, 759, 209, "#f6f8fa")
    page.words(10, 137, "Script editor", bold=True)
    page.words(10, 159, "File")
    page.mark(48, 154, 3)
    page.words(62, 159, "Open... import_overlay.groovy", colour=FRAME)
    page.box(296, 144, 36, 20, PALE, MARK)
    page.words(301, 159, "Run", bold=True)
    page.mark(345, 154, 5)
    page.box(10, 172, 270, 150)
    page.words(18, 194, "// ---- settings ----", colour=FRAME, code=True)
    page.box(14, 202, 262, 24, PALE, MARK)
    page.words(18, 219, "String RESULTS = '/data/results'", code=True)
    page.mark(272, 236, 4)
    page.words(18, 262, "where the results are", colour=FRAME)
    right = page.menu(296, 172, ["Run", "Run selected", "Run for project", "Run for project (without save)"], {}, 246)
    page.words(right + 10, 190, "this image, not saved yet", bold=True)
    page.words(right + 10, 234, "chosen images, saved", bold=True)
    page.words(right + 10, 256, "counts and exports only", bold=True)
    page.words(296, 300, "What a script did stands below it and in View > Show log.", colour=FRAME)
    return page


def classes() -> Drawing:
    """The class list: Populate from existing objects, toggling with the space bar."""
    page = Drawing(760, 230)
    page.box(0.5, 0.5, 300, 229, "#f6f8fa")
    for k, (name, width) in enumerate((("Project", 60), ("Image", 52), ("Annotations", 106))):
        left = 10 + (0, 66, 124)[k]
        chosen = name == "Annotations"
        page.box(left, 8, width, 22, PALE if chosen else PAPER, MARK if chosen else FRAME)
        page.words(left + 7, 24, name, bold=chosen)
    page.mark(246, 19, 1)
    page.box(10, 44, 280, 130)
    for k, (name, colour) in enumerate((("Inflammatory (423)", "#ffd60a"), ("Other nuclei (2564)", "#19e68c"))):
        page.box(18, 54 + k * 24, 14, 14, colour, INK)
        page.words(40, 66 + k * 24, name)
    page.words(18, 160, "space: show or hide the chosen class", colour=FRAME)
    page.words(10, 206, "Auto set", colour=FRAME)
    page.box(262, 188, 24, 24, PALE, MARK)
    page.words(271, 205, "\u22ee", bold=True)
    page.mark(250, 188, 2)
    right = page.menu(
        310,
        120,
        ["Add/Remove...", "Populate from existing objects", "Populate from image channels", "..."],
        {"Populate from existing objects": 3},
        270,
    )
    page.menu(right + 4, 142, ["All classes ...", "Base classes only"], {"All classes ...": 4}, 170)
    return page


def density() -> Drawing:
    """Measure > Show measurement maps, after density_grid.groovy."""
    page = Drawing(760, 230)
    x = page.menu_bar(760, "Measure", 1)
    page.menu(x - 5, 38, ["Show measurement maps", "..."], {"Show measurement maps": 2}, 240)
    page.box(10, 100, 280, 120, "#f6f8fa")
    page.words(20, 118, "Measurement maps", bold=True)
    for k, name in enumerate(("Detections", "Detections per mm^2", "Inflammatory per mm^2")):
        if k == 1:
            page.box(16, 126 + k * 22, 268, 21, PALE, MARK)
            page.mark(270, 137 + k * 22, 3)
        page.words(24, 141 + k * 22, name, bold=k == 1)
    page.words(20, 211, "filter by name, choose one", colour=FRAME)
    heat = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
    for row, line in enumerate(((0, 1, 1, 2, 1, 0), (1, 2, 4, 5, 3, 1), (1, 3, 5, 4, 2, 1), (0, 1, 2, 2, 1, 0))):
        for column, level in enumerate(line):
            page.box(580 + column * 26, 112 + row * 26, 26, 26, heat[level], heat[level])
    page.words(562, 100, "tiles coloured by density", colour=FRAME)
    return page


PICTURES = {"import_and_export": import_and_export, "scripts": scripts, "classes": classes, "density": density}


def main(arguments: list[str] | None = None) -> int:
    description, _, example = (__doc__ or "").partition("Example: ")
    parser = argparse.ArgumentParser(
        description=description, epilog=f"Example: {example}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the pictures go")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        (folder / f"{name}.svg").write_text(draw().text(), encoding="utf-8", newline="\n")
    print(f"{len(PICTURES)} pictures in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
