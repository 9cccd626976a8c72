#!/usr/bin/env python3
"""Draw the picture at the top of the README from the results of one slide: outlines, densities, the hottest square.

docs/pictures/overview.jpg is made of CMU-1-Small-Region (OpenSlide's test data, CC0):

    wsiparse run CMU-1-Small-Region.svs -o results
    scripts/draw_readme_picture.py results/slides/CMU-1-Small-Region__* docs/pictures/overview.jpg
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from wsiparse.report.data import load
from wsiparse.report.pages.maps import RAMP, MapBackground, density_map, top_of
from wsiparse.report.pages.picture import bar_length_um
from wsiparse.report.stats.numbers import compute_report
from wsiparse.results.folder import report_inputs_in
from wsiparse.results.report_inputs import read_report_inputs
from wsiparse.store.read import ObjectsReader
from wsiparse.types import Box

PANEL, GAP, LINE = 480, 16, 24  # px
INK = "#24292f"

Panel = tuple[Image.Image, float, str]


def enlarged(box: Box, factor: float, size: tuple[int, int]) -> Box:
    """A box about the same centre, moved into the slide."""
    width, height = (min(round(n * factor), most) for n, most in zip((box.width, box.height), size, strict=True))
    x = min(max(0, box.x + (box.width - width) // 2), size[0] - width)
    y = min(max(0, box.y + (box.height - height) // 2), size[1] - height)
    return Box(x, y, width, height)


def panels(folder: Path) -> tuple[list[Panel], list[tuple[str, str]], str]:
    """The three pictures, each with its um per px and what it shows; name and colour of the classes; the caption."""
    inputs = read_report_inputs(report_inputs_in(folder))
    loaded = load(ObjectsReader(folder / "objects.zarr"), inputs)
    analysis = compute_report(loaded.source, loaded.settings, loaded.area, loaded.quality)
    done = json.loads((folder / "DONE.json").read_text(encoding="utf-8"))
    spot, mpp = inputs.squares[0].box, inputs.mpp[0]
    with Image.open(folder / "overlay.jpg") as image:
        overlay = image.convert("RGB")
    scale = overlay.width / inputs.size[0]

    def cut(box: Box) -> tuple[Image.Image, float]:
        corners = tuple(round(n * scale) for n in (box.x, box.y, box.x1, box.y1))
        part = overlay.crop(corners).resize((PANEL, PANEL), Image.Resampling.LANCZOS)
        return part, mpp * box.width / PANEL

    ground = MapBackground.of(inputs.picture, loaded.source.tissue.cells, inputs.overview)
    top, _ = top_of(analysis.grid, 0)
    picture = density_map(ground, analysis.grid, 0, top)
    with Image.open(io.BytesIO(picture.data)) as image:
        zoom = PANEL / max(image.size)
        density = image.convert("RGB").resize((round(image.width * zoom), PANEL), Image.Resampling.BICUBIC)
    name = loaded.source.prompts[0].class_name
    counts = ", ".join(f"{count['n']:,} {count['class_name']}" for count in done["summary"]["counts"])
    caption = f"{done['summary']['slide']} (OpenSlide test data, CC0): {counts}. {done['engine']}. Research use only."
    shown = [
        (*cut(enlarged(spot, 2.4, inputs.size)), "every object is an outline"),
        (_with_ramp(density, top), picture.um_per_px / zoom, f"{name} per mm2 of tissue"),
        (*cut(spot), f"where {name} is densest"),
    ]
    return shown, [(prompt.class_name, prompt.colour) for prompt in loaded.source.prompts], caption


def _with_ramp(image: Image.Image, top: float) -> Image.Image:
    """A map on a square panel with the colours of its densities."""
    panel = Image.new("RGB", (PANEL, PANEL), "white")
    panel.paste(image, (0, 0))
    draw, x, steps = ImageDraw.Draw(panel), image.width + 14, 120
    for k in range(steps):
        colour = RAMP[min(len(RAMP) - 1, k * len(RAMP) // steps)]
        draw.rectangle((x, 160 - k, x + 18, 160 - k), fill=colour)
    font = ImageFont.load_default(14)
    draw.text((x + 24, 34), f"{top:,.0f}", fill=INK, font=font)
    draw.text((x + 24, 152), "0", fill=INK, font=font)
    return panel


def _scale_bar(image: Image.Image, um_per_px: float) -> None:
    length = bar_length_um(image.width * um_per_px)
    draw, width = ImageDraw.Draw(image), round(length / um_per_px)
    text = f"{length:g} um"
    x1, y1 = image.width - 12, image.height - 12
    draw.rectangle((x1 - width - 8, y1 - 34, x1 + 6, y1 + 6), fill="white")
    draw.rectangle((x1 - width, y1 - 6, x1, y1), fill=INK)
    draw.text((x1 - width / 2, y1 - 30), text, fill=INK, font=ImageFont.load_default(15), anchor="ma")


def save(canvas: Image.Image, target: Path, quality: int = 80) -> None:
    """Write a JPEG and say how large it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(target, format="JPEG", quality=quality, optimize=True)
    print(f"{target}: {canvas.width} x {canvas.height} px, {target.stat().st_size / 1000:.0f} kB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a slide's results")
    parser.add_argument("target", type=Path, help="the JPEG to write")
    given = parser.parse_args()
    shown, classes, caption = panels(given.folder)
    canvas = Image.new("RGB", (3 * PANEL + 4 * GAP, PANEL + 2 * GAP + 3 * LINE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    x, y = GAP, canvas.height - 2 * LINE - 8
    for class_name, colour in classes:
        draw.rectangle((x, y + 4, x + 12, y + 16), fill=colour, outline=INK)
        draw.text((x + 18, y), class_name, fill=INK, font=font)
        x += 18 + int(draw.textlength(class_name, font)) + GAP
    for k, (image, um_per_px, text) in enumerate(shown):
        _scale_bar(image, um_per_px)
        x = GAP + k * (PANEL + GAP)
        canvas.paste(image, (x, GAP + LINE))
        draw.text((x, GAP // 2 + 4), text, fill=INK, font=font)
    draw.text((GAP, canvas.height - LINE - 4), caption, fill=INK, font=font)
    save(canvas, given.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
