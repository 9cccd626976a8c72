"""Pictures of results: object outlines over the slide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsiparse.coords import Frame
from wsiparse.report.pages.lettering import font_of, write
from wsiparse.report.pages.picture import bar_length_um, length_text
from wsiparse.report.stats.regions_drawn import DrawnRegion, draw_regions
from wsiparse.types import ObjectTable, PromptSet

__all__ = ["draw_overlay"]

#: Outlines smaller than this on the picture are drawn as one dot.
_DOT_PX = 3.0


def _caption(draw: ImageDraw.ImageDraw, size: tuple[int, int], lines: list[tuple[str, str | None]], mpp: float) -> None:
    """Legend and scale bar on a white strip at the bottom."""
    width, height = size
    font_px = max(11, min(28, width // 70))
    font = font_of(font_px)
    pad, row = font_px // 2, int(font_px * 1.5)
    top = height - row * len(lines) - 2 * pad
    draw.rectangle((0, top, width, height), fill="white")
    for k, (text, colour) in enumerate(lines):
        y = top + pad + k * row
        if colour is not None:
            draw.rectangle((pad, y + 2, pad + font_px, y + 2 + font_px), fill=colour, outline="black")
        write(draw, (pad + (2 * font_px if colour is not None else 0), y), text, font)
    length_um = bar_length_um(width * mpp)
    bar, thick = length_um / mpp, max(2, font_px // 5)
    x1, y = width - pad, top + pad
    # the label below its bar: letters with a tail stay clear of it
    draw.rectangle((x1 - bar, y, x1, y + thick), fill="black")
    write(draw, (x1, y + thick + font_px // 4), length_text(length_um), font, right=True)


def _outlines(
    draw: ImageDraw.ImageDraw, table: ObjectTable, scale: NDArray[np.float64], colours: list[str], line_px: int
) -> None:
    """Objects that show at this scale as outlines, over them the others as dots, class by class."""
    points = table.coords * scale
    starts = table.ring_offsets[table.polygon_offsets[:-1]]
    extent = np.maximum.reduceat(points, starts) - np.minimum.reduceat(points, starts)
    small = extent.max(axis=1) < _DOT_PX
    for k in np.flatnonzero(~small).tolist():
        colour = colours[table.class_id[k] - 1]
        for r in range(table.polygon_offsets[k], table.polygon_offsets[k + 1]):
            ring = points[table.ring_offsets[r] : table.ring_offsets[r + 1]]
            draw.line(ring.ravel().tolist(), fill=colour, width=line_px)
    for class_id in np.unique(table.class_id[small]).tolist():
        dots = table.centroid[small & (table.class_id == class_id)] * scale
        draw.point(dots.ravel().tolist(), fill=colours[class_id - 1])


def draw_overlay(
    image: NDArray[np.uint8],
    image_frame: Frame,
    layers: Iterable[tuple[ObjectTable, Frame]],
    *,
    prompts: PromptSet,
    caption: list[tuple[str, str | None]],
    regions: Sequence[DrawnRegion] = (),
) -> Image.Image:
    """Outlines of all objects in their class colours over a picture of the slide.

    Parameters
    ----------
    image : (h, w, 3) uint8, the slide at `image_frame`
    image_frame : frame of the picture
    layers : objects, streamed, each table with the frame of its coordinates
    caption : (text, colour or None) lines of the legend, written on a strip below the picture
    regions : drawn ones, level-0 px: outlines under the objects, dashed and hatched where they are left out

    Returns
    -------
    Pillow image, (w, h + strip)
    """
    h, w = image.shape[:2]
    font_px = max(11, min(28, w // 70))
    strip = int(font_px * 1.5) * len(caption) + 2 * (font_px // 2)
    canvas = Image.new("RGB", (w, h + strip), "white")
    below = Image.fromarray(image)
    line_px = 2 if image_frame.mean_mpp <= 0.3 else 1
    draw_regions(below, regions, [1 / f for f in image_frame.downsample], width=2 * line_px)
    canvas.paste(below, (0, 0))
    draw = ImageDraw.Draw(canvas)
    colours = [prompt.colour for prompt in prompts]
    for table, frame in layers:
        if len(table):
            scale = np.asarray(frame.downsample) / np.asarray(image_frame.downsample)
            _outlines(draw, table, scale, colours, line_px)
    _caption(draw, canvas.size, caption, image_frame.mean_mpp)
    return canvas
