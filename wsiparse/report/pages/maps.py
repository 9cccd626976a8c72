"""Pictures of a report over the small overview: analysed area, compartments, densities, hot spots with outlines. Pure.

Maps are bare rasters; the page adds scale bars, legends and captions. `density_sheet` is the picture for people who
want one file: it carries its own.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsiparse.coords import Frame
from wsiparse.report.pages.lettering import Font, font_of, text_width, write
from wsiparse.report.pages.picture import Picture, bar_length_um, length_text
from wsiparse.report.stats.density import DensityGrid
from wsiparse.report.stats.regions_drawn import DrawnRegion, draw_regions
from wsiparse.types import Box, ObjectTable, PromptSet

__all__ = [
    "RAMP",
    "MapBackground",
    "compartment_map",
    "density_map",
    "density_sheet",
    "overview_map",
    "spot_picture",
    "top_of",
]

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Light to dark through yellow, red and violet: lightness falls evenly, so that it reads in grey too.
RAMP: Final = ("#fff9e0", "#fddc8b", "#f9ae5b", "#ec7853", "#cf4a5f", "#a12c6e", "#6c1d6b", "#3a1253", "#150a2e")
#: Longest edge of a map, px.
_MAP_PX: Final = 900
_SHARE_OF_COLOUR: Final = 0.78


@dataclass(frozen=True, eq=False)
class MapBackground:
    """The overview at the size of a map.

    Parameters
    ----------
    grey : (h, w, 3) uint8, pale and without colour, so that colours laid over it read true
    picture : (h, w, 3) uint8, as scanned
    analysed : (h, w) bool
    um_per_px : (x, y)
    """

    grey: Pixels
    picture: Pixels
    analysed: Mask
    um_per_px: tuple[float, float]

    @classmethod
    def of(
        cls, picture: Pixels, analysed: Mask, overview: Frame, slide_um: tuple[float, float] | None = None
    ) -> MapBackground:
        """Shrink a picture of the slide to at most `_MAP_PX`, with its analysed cells; small ones stay as they are.

        Parameters
        ----------
        picture : (H, W, 3) uint8, of any scale
        analysed : (h, w) bool, cells of the overview
        overview : frame of the cells
        slide_um : what `picture` shows, (width, height), um; None where it has the overview's pixels
        """
        h, w = analysed.shape
        shown = slide_um or (overview.mpp[0] * w, overview.mpp[1] * h)
        factor = max(1.0, max(picture.shape[:2]) / _MAP_PX)
        size = max(1, round(picture.shape[1] / factor)), max(1, round(picture.shape[0] / factor))
        small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
        um = shown[0] / size[0], shown[1] / size[1]
        if slide_um is None:
            cells = Image.fromarray(analysed.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
            inside: Mask = np.asarray(cells) >= 128
        else:
            row, column = (
                np.minimum(((np.arange(n) + 0.5) * step / cell).astype(np.int64), count - 1)
                for n, step, cell, count in zip(size[::-1], um[::-1], overview.mpp[::-1], (h, w), strict=True)
            )
            inside = analysed[row[:, None], column]
        grey = 110 + small.astype(np.float32).mean(axis=2) * (145 / 255)
        return cls(np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2), small, inside, um)

    def centres_um(self) -> tuple[Floats, Floats]:
        """x (w,) and y (h,) of the pixels' centres, float64, um."""
        h, w = self.analysed.shape
        x, y = (np.arange(n, dtype=np.float64) + 0.5 for n in (w, h))
        return x * self.um_per_px[0], y * self.um_per_px[1]


def overview_map(ground: MapBackground, regions: Sequence[DrawnRegion] = ()) -> Picture:
    """The slide with the border of what was analysed, and the regions that were drawn, in um."""
    out = ground.picture.copy()
    inside = ground.analysed
    beside = np.zeros_like(inside)
    for axis in (0, 1):
        for step in (1, -1):
            beside |= ~np.roll(inside, step, axis)
    out[inside & beside] = (0, 90, 160)
    image = Image.fromarray(out)
    draw_regions(image, regions, [1 / step for step in ground.um_per_px])
    return _jpeg(np.asarray(image), ground.um_per_px[0])


def compartment_map(
    ground: MapBackground, labels: NDArray[np.unsignedinteger], overview: Frame, colours: Sequence[str]
) -> Picture:
    """Compartments in their colours over the grey overview.

    Parameters
    ----------
    labels : (h, w) uint8 or uint16 over the overview, position in `colours` + 1, 0 for none
    """
    xs, ys = ground.centres_um()
    row = np.minimum((ys / overview.mpp[1]).astype(np.int64), labels.shape[0] - 1)
    column = np.minimum((xs / overview.mpp[0]).astype(np.int64), labels.shape[1] - 1)
    here = labels[row[:, None], column]
    table = np.array([(0, 0, 0), *(_rgb(c) for c in colours)], np.float32)
    return _jpeg(_laid_over(ground.grey, table[here], here > 0, 0.62), ground.um_per_px[0])


def top_of(grid: DensityGrid | None, k: int) -> tuple[float, float]:
    """Density at the dark end of a class's ramp (a round number), and the highest one; per mm^2, (1, 0) for none."""
    if grid is None or not grid.filled.any():
        return 1.0, 0.0
    values = grid.per_mm2[k][grid.filled]
    highest = float(values.max())
    if highest <= 0:
        return 1.0, 0.0
    wanted = max(float(np.quantile(values, 0.99)), highest / 4)
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(m * power for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if m * power >= wanted * (1 - 1e-9)), highest


def density_map(ground: MapBackground, grid: DensityGrid | None, k: int, top: float) -> Picture:
    """Density of one class in the colours of `RAMP`, 0 to `top` per mm^2, over the analysed part of the overview."""
    return _jpeg(_density_pixels(ground, grid, k, top), ground.um_per_px[0])


def _density_pixels(ground: MapBackground, grid: DensityGrid | None, k: int, top: float) -> Pixels:
    if grid is None:
        return ground.grey
    xs, ys = ground.centres_um()
    size = grid.squares.size_um
    column = np.floor((xs - grid.squares.origin_um[0]) / size).astype(np.int64)
    row = np.floor((ys - grid.squares.origin_um[1]) / size).astype(np.int64)
    rows, columns = grid.squares.shape
    on = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))
    at = np.clip(row, 0, rows - 1)[:, None], np.clip(column, 0, columns - 1)
    shown = on & grid.filled[at] & ground.analysed
    value = np.where(grid.filled, grid.per_mm2[k], 0.0)[at] / top
    return _laid_over(ground.grey, _ramp_colours(value), shown, _SHARE_OF_COLOUR)


def _ramp_colours(value: Floats) -> NDArray[np.float32]:
    """(..., 3) colours of values, 0 light to 1 dark; larger ones are dark too."""
    stops = np.array([_rgb(c) for c in RAMP], np.float32)
    place = np.clip(value, 0.0, 1.0) * (len(stops) - 1)
    low = np.minimum(place.astype(np.int64), len(stops) - 2)
    share = (place - low)[..., None].astype(np.float32)
    mixed: NDArray[np.float32] = stops[low] * (1 - share) + stops[low + 1] * share
    return mixed


def density_sheet(
    ground: MapBackground, grid: DensityGrid | None, names: Sequence[str], tops: Sequence[float], caption: str
) -> Image.Image:
    """density.png: a map for every class beside each other, with legends, scale bar and caption.

    Parameters
    ----------
    names, tops : those of the classes; see `top_of`
    """
    h, w = ground.analysed.shape
    font = font_of(13)
    pad, row = 14, 20
    cell_w, cell_h = max(w, 240) + pad, h + 3 * row + pad
    columns = min(len(names), max(1, 1600 // cell_w), 3)
    rows = -(-len(names) // columns)
    sheet = Image.new("RGB", (columns * cell_w + pad, rows * cell_h + pad + row), "white")
    draw = ImageDraw.Draw(sheet)
    for k, name in enumerate(names):
        x, y = pad + (k % columns) * cell_w, pad + (k // columns) * cell_h
        write(draw, (x, y), f"{_short(name, 40)}, per mm² of tissue", font)
        sheet.paste(Image.fromarray(_density_pixels(ground, grid, k, tops[k])), (x, y + row))
        _legend(draw, (x, y + row + h + 6), tops[k], font)
        _scale_bar(draw, (x + max(w, 240), y + row + h + 6), w, ground.um_per_px[0], font)
    write(draw, (pad, sheet.height - row), _short(caption, sheet.width // 7), font)
    return sheet


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _legend(draw: ImageDraw.ImageDraw, at: tuple[int, int], top: float, font: Font) -> None:
    x, y = at
    colours = _ramp_colours(np.linspace(0, 1, 120))
    for i, colour in enumerate(colours):
        draw.line((x + i, y, x + i, y + 9), fill=tuple(int(v) for v in colour))
    draw.rectangle((x - 1, y - 1, x + 120, y + 10), outline="black")
    write(draw, (x, y + 12), "0", font)
    label = f"{top:,.6g} and more"
    write(draw, (x + 120 - text_width(draw, label, font) / 2, y + 12), label, font)


def _scale_bar(
    draw: ImageDraw.ImageDraw,
    right: tuple[int, int],
    width: int,
    um_per_px: float,
    font: Font,
) -> None:
    length = bar_length_um(max(width, 50) * um_per_px)
    x, y = right
    bar = length / um_per_px
    draw.rectangle((x - bar, y, x, y + 3), fill="black")
    write(draw, (x, y + 8), length_text(length), font, right=True)


def spot_picture(
    image: Pixels, box: Box, tables: Sequence[tuple[ObjectTable, Frame]], prompts: PromptSet, mpp: float
) -> Picture:
    """A square at full resolution with the outlines of its objects in their colours.

    Parameters
    ----------
    image : (h, w, 3) uint8, the square
    box : what it shows, level-0 px
    tables : objects near it
    mpp : um per level-0 px
    """
    h, w = image.shape[:2]
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    scale = np.array([w / box.width, h / box.height])
    line = 2 if max(w, h) >= 300 else 1
    for table, frame in tables:
        points = (table.coords * np.asarray(frame.downsample) - (box.x, box.y)) * scale
        for k in range(len(table)):
            colour = prompts[int(table.class_id[k]) - 1].colour
            for r in range(int(table.polygon_offsets[k]), int(table.polygon_offsets[k + 1])):
                ring = points[table.ring_offsets[r] : table.ring_offsets[r + 1]]
                low, high = ring.min(axis=0), ring.max(axis=0)
                if (high < 0).any() or low[0] > w or low[1] > h:
                    continue
                draw.line(ring.ravel().tolist(), fill=colour, width=line)
    return _jpeg(np.asarray(canvas), mpp * box.width / w)


def _laid_over(ground: Pixels, colours: NDArray[np.float32], where: Mask, share: float) -> Pixels:
    mixed = ground * np.float32(1 - share) + colours * np.float32(share)
    return np.where(where[..., None], np.rint(mixed), ground).astype(np.uint8)


def _jpeg(pixels: Pixels, um_per_px: float) -> Picture:
    out = io.BytesIO()
    # no chroma subsampling: it would bleed the colours of squares and outlines
    Image.fromarray(pixels).save(out, format="JPEG", quality=86, subsampling=0)
    return Picture(out.getvalue(), "image/jpeg", pixels.shape[1], pixels.shape[0], um_per_px)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
