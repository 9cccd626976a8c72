#!/usr/bin/env python3
"""Draw where the embedded network goes wrong: the annotated tiles of a data set that it finds worst, on one sheet.

Tiles are ranked by centroid F1, matched as scripts/evaluate_embedded.py does. Nuclei found, missed and false are
outlined in a colour each. docs/pictures/failures.jpg is made of colour tiles of BBBC038 / DSB-2018 (CC0); pictures of
other data sets may not be published without their owners' leave:

    scripts/draw_failures.py ../shared/data/annotated/dsb2018_colour docs/pictures/failures.jpg \\
        --source "BBBC038 / DSB-2018, CC0"
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from draw_readme_picture import GAP, INK, LINE, save
from evaluate_embedded import drawn_labels, images_of, label_file_of, settings, shaping_files, slide_of, unseen
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import uniform_filter1d
from skimage.measure import find_contours

from wsiparse.config import RunConfig
from wsiparse.errors import WsiparseError
from wsiparse.objects.scores import MATCH_RADIUS_PX, Agreement, centroids_of, match_points, paint_objects
from wsiparse.run.pipeline import analyse
from wsiparse.types import Box

TILES, COLUMNS, PANEL = 8, 3, 480  # the last place of the sheet is the legend's
CASING = "#000000"
CAPTION = "embedded network, not BiomedParse; research use only"
#: What an outline stands for: colour (Okabe and Ito 2008) and words.
RIGHT = ("#56b4e9", "found and right (as found)")
MISSED = ("#f0e442", "missed (as annotated)")
FALSE = ("#d55e00", "false (as found)")

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile beside its annotation.

    Parameters
    ----------
    name : of the image
    picture : (H, W, 3) uint8, frame px
    right, missed, false : (H, W) int32 instance ids, 0 is background: found ones that match an annotated nucleus,
        annotated ones that match none, found ones that match none
    score : counts
    """

    name: str
    picture: NDArray[np.uint8]
    right: Labels
    missed: Labels
    false: Labels
    score: Agreement

    @property
    def caption(self) -> str:
        s = self.score
        return f"{self.name}  F1 {s.f1:.2f}  missed {s.truth - s.pairs} of {s.truth}  false {s.found - s.pairs}"


def compared(path: Path, config: RunConfig) -> Tile:
    """Analyse one image and match what is found with what is annotated."""
    slide = slide_of(path)
    result = analyse(slide, config)
    frame = result.frames["cell"]
    truth, found = drawn_labels(path, frame), paint_objects(result.cells, frame.size)
    (truth_ids, truth_points), (found_ids, found_points) = centroids_of(truth), centroids_of(found)
    left, right = match_points(truth_points, found_points, MATCH_RADIUS_PX)
    matched = np.isin(found, found_ids[right])
    return Tile(
        path.stem,
        slide.read(Box(0, 0, *frame.size), frame),
        np.where(matched, found, 0),
        np.where(np.isin(truth, truth_ids[left]), 0, truth),
        np.where(matched, 0, found),
        Agreement(truth=len(truth_ids), found=len(found_ids), pairs=len(left)),
    )


def worst_of(tiles: list[Tile]) -> list[Tile]:
    """The tiles with the lowest F1, worst first, equal ones by name; without those that have no nucleus at all."""
    scored = [tile for tile in tiles if tile.score.truth or tile.score.found]
    return sorted(scored, key=lambda tile: (tile.score.f1, tile.name))[:TILES]


def outline(draw: ImageDraw.ImageDraw, labels: Labels, colour: str, zoom: float) -> None:
    """Draw around every instance, dark beneath so that the colour shows on any ground."""
    rings = []
    for k in np.unique(labels[labels > 0]):
        for ring in find_contours(np.pad(labels == k, 1).astype(np.float64), 0.5):
            smooth = uniform_filter1d(ring[:-1], 3, axis=0, mode="wrap")  # pixels have corners, nuclei have none
            rings.append([((x - 0.5) * zoom, (y - 0.5) * zoom) for y, x in (*smooth, smooth[0])])
    for ring in rings:
        draw.line(ring, fill=CASING, width=5, joint="curve")
    for ring in rings:
        draw.line(ring, fill=colour, width=3, joint="curve")


def panel_of(tile: Tile) -> Image.Image:
    """A tile with its outlines, enlarged to the width of a panel."""
    height, width = tile.picture.shape[:2]
    zoom = PANEL / width
    panel = Image.fromarray(tile.picture).resize((PANEL, round(height * zoom)), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(panel)
    for labels, (colour, _) in ((tile.false, FALSE), (tile.right, RIGHT), (tile.missed, MISSED)):
        outline(draw, labels, colour, zoom)
    return panel


def sheet(tiles: list[Tile], source: str) -> Image.Image:
    """Panels in rows, each under its caption, and the legend in the last place."""
    panels = [panel_of(tile) for tile in tiles]
    tallest = max(panel.height for panel in panels)
    row = LINE + tallest + GAP
    rows = len(tiles) // COLUMNS + 1
    canvas = Image.new("RGB", (COLUMNS * (PANEL + GAP) + GAP, rows * row + GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(18)
    for k, (tile, panel) in enumerate(zip(tiles, panels, strict=True)):
        x, y = GAP + k % COLUMNS * (PANEL + GAP), GAP // 2 + k // COLUMNS * row
        draw.text((x, y), tile.caption, fill=INK, font=font)
        canvas.paste(panel, (x, y + LINE + 4))
    x, y = GAP + len(tiles) % COLUMNS * (PANEL + GAP), GAP // 2 + (rows - 1) * row + LINE + 4
    for colour, words in (RIGHT, MISSED, FALSE):
        box = (x + 2, y + 2, x + 34, y + 26)
        draw.rectangle(box, outline=CASING, width=5)
        draw.rectangle([box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1], outline=colour, width=3)
        draw.text((x + 48, y + 2), words, fill=INK, font=font)
        y += 42
    for words in (f"matched: centroids within {MATCH_RADIUS_PX:g} px", f"tiles: {source}", CAPTION):
        y += 32
        draw.text((x, y), words, fill=INK, font=font)
    return canvas


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a data set: NAME.png and NAME.label.png (instance ids)")
    parser.add_argument("target", type=Path, help="the JPEG to write")
    parser.add_argument("--source", metavar="TEXT", help="whose tiles they are, and the licence (default: the folder)")
    given = parser.parse_args()
    images = [path for path in images_of(given.folder) if label_file_of(path).exists()]
    try:
        images = unseen(given.folder, images, shaping_files(settings().engine))
        worst = worst_of([compared(path, settings()) for path in images])
    except (WsiparseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if not worst:
        print(f"{given.folder}: no NAME.png with a NAME.label.png and nuclei found.", file=sys.stderr)
        return 1
    for tile in worst:
        print(tile.caption)
    save(sheet(worst, given.source or given.folder.resolve().name), given.target, quality=64)
    return 0


if __name__ == "__main__":
    sys.exit(main())
