#!/usr/bin/env python3
"""What an engine of ours does where nuclei are hard to find: pale, large, thin, out of focus; and where none are.

    python scripts/evaluate_failures.py ROOT [--engine NAME|FOLDER] [--bare SLIDE REGIONS.geojson] [--sets ...]

ROOT holds data sets as for `evaluate_embedded.py`; only those with outlines count. Every image goes the whole road of
a slide. One line a subject:

pale        the quarter of a set's nuclei that differ least from the 2 um around them: share found
large       nuclei above 100 um2: share found as one, cut (two or more centroids inside), missed
thin        nuclei whose minor axis is under 0.4 of the major: the same, and the mean share of their area that is found
blur N px   images under a Gaussian of N px at 0.5 um/px: centroid F1, and how far the count is off
ink         a stroke of a felt pen in six colours over every image: objects per mm2 of dense ink
bare        objects per mm2 inside the regions of a file, where there is no nucleus
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from evaluate_embedded import FIELD_MPP, images_of, label_file_of, scale_of, settings, shaping_files, unseen
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsiparse.config import RunConfig
from wsiparse.errors import WsiparseError
from wsiparse.objects.scores import Agreement, overlap_agreement, paint_objects
from wsiparse.run.pipeline import analyse
from wsiparse.slides import open_slide
from wsiparse.slides.memory import MemorySlide

LARGE_PX, THIN, RING_PX = 400, 0.4, 4
BLURS_PX = (0, 1, 2, 3)

#: Optical densities of felt pens, red, green, blue.
PENS = {
    "black": (1.2, 1.2, 1.2),
    "blue": (1.3, 0.8, 0.25),
    "green": (1.2, 0.45, 0.9),
    "red": (0.25, 1.2, 1.1),
    "violet": (0.8, 1.2, 0.35),
    "brown": (0.6, 0.9, 1.2),
}


@dataclass(frozen=True, slots=True)
class Nuclei:
    """The annotated nuclei of an image, a row each, and what was found of them."""

    area_px: NDArray[np.int64]
    axis_ratio: NDArray[np.float64]
    contrast: NDArray[np.float64]
    inside: NDArray[np.int64]
    covered: NDArray[np.float64]


def field_pixels(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """An image and its outlines at 0.5 um/px, (H, W, 3) and (H, W)."""
    image = Image.open(path).convert("RGB")
    scale = scale_of(path)
    size = (round(image.width * scale), round(image.height * scale))
    rgb = np.asarray(image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC))
    columns, rows = (
        np.minimum(((np.arange(n) + 0.5) / scale).astype(np.int64), limit - 1)
        for n, limit in zip(size, image.size, strict=True)
    )
    labels = np.asarray(Image.open(label_file_of(path))).astype(np.int32)
    return rgb, labels[np.ix_(rows, columns)]


def found_in(rgb: NDArray[np.uint8], config: RunConfig) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Objects of an image at 0.5 um/px: labels and centroids in px."""
    result = analyse(MemorySlide(rgb, FIELD_MPP), config)
    return paint_objects(result.cells, result.frames["cell"].size), result.cells.centroid


def nuclei_of(rgb: NDArray[np.uint8], labels: NDArray[np.int32], config: RunConfig) -> Nuclei:
    """Measure every annotated nucleus and what was found of it."""
    found, centroids = found_in(rgb, config)
    density = -np.log10((rgb.astype(np.float64).mean(axis=2) + 1) / 256)
    ids = np.unique(labels[labels > 0])
    x, y = (np.clip(centroids[:, k].astype(np.int64), 0, labels.shape[1 - k] - 1) for k in (0, 1))
    inside = np.bincount(labels[y, x], minlength=int(labels.max(initial=0)) + 1)
    rows = []
    boxes = ndimage.find_objects(labels)
    for i in ids:
        grown = tuple(slice(max(0, s.start - RING_PX), s.stop + RING_PX) for s in boxes[i - 1])
        mine = labels[grown] == i
        ring = ndimage.binary_dilation(mine, iterations=RING_PX) & (labels[grown] == 0)
        contrast = density[grown][mine].mean() - density[grown][ring].mean() if ring.any() else np.nan
        spread = np.linalg.eigvalsh(np.cov(np.array(np.nonzero(mine)), bias=True)) if mine.sum() > 2 else np.ones(2)
        overlap = np.bincount(found[grown][mine])
        covered = overlap[1:].max(initial=0) / mine.sum()
        rows.append((mine.sum(), np.sqrt(max(spread[0], 0) / max(spread[1], 1e-9)), contrast, inside[i], covered))
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Nuclei(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3].astype(np.int64), table[:, 4])


def stroke(rgb: NDArray[np.uint8], pen: str, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An image with a stroke of a pen, 30 um wide, uneven, and where the ink is dense."""
    rng = np.random.default_rng(seed)
    height, width = rgb.shape[:2]
    y, x = np.indices((height, width), dtype=np.float64)
    angle = rng.uniform(0, np.pi)
    across = (x - width / 2) * np.sin(angle) - (y - height / 2) * np.cos(angle)
    across = across + 6 * ndimage.gaussian_filter(rng.standard_normal((height, width)), 12) * 12
    cover = np.clip((30 - np.abs(across)) / 3 + 0.5, 0, 1)
    streaks = 1 + 0.25 * ndimage.gaussian_filter(rng.standard_normal((height, width)), 2) * 4
    density = cover[..., None] * np.clip(streaks, 0.5, 1.6)[..., None] * np.array(PENS[pen])
    painted = np.clip((rgb.astype(np.float64) + 1) * 10**-density - 1, 0, 255)
    return painted.astype(np.uint8), cover > 0.9


def share(of: NDArray[np.bool_]) -> str:
    """Percent of True, or a dash."""
    return f"{100 * of.mean():.1f} %" if of.size else "-"


def hard_nuclei(images: list[Path], config: RunConfig) -> Iterator[str]:
    """The lines about pale, large and thin nuclei of a set."""
    parts = [nuclei_of(*field_pixels(path), config) for path in images]
    area, ratio, contrast, inside, covered = (
        np.concatenate([getattr(p, name) for p in parts]) for name in Nuclei.__slots__
    )
    known = np.isfinite(contrast)
    pale = known & (contrast <= np.quantile(contrast[known], 0.25))
    yield f"pale    {pale.sum():5} nuclei: found {share(inside[pale] > 0)} (of all {share(inside > 0)})"
    for name, chosen in (("large", area > LARGE_PX), ("thin", ratio < THIN)):
        n = inside[chosen]
        text = f"{name:<7} {chosen.sum():5} nuclei: one {share(n == 1)}  cut {share(n > 1)}  missed {share(n == 0)}"
        yield text + (f"  area found {100 * covered[chosen].mean():.1f} %" if chosen.any() else "")


def blurred(images: list[Path], config: RunConfig) -> Iterator[str]:
    """The lines about images out of focus."""
    for sigma in BLURS_PX:
        total = Agreement()
        for path in images:
            rgb, labels = field_pixels(path)
            soft = ndimage.gaussian_filter(rgb, (sigma, sigma, 0)) if sigma else rgb
            total = total + overlap_agreement(labels, found_in(soft, config)[0])
        yield f"blur {sigma} px: F1 {total.f1:.3f}  count {100 * (total.found / max(total.truth, 1) - 1):+.1f} %"


def inked(images: list[Path], config: RunConfig) -> str:
    """The line about strokes of ink: objects whose centroid lies in dense ink."""
    counts, area = dict.fromkeys(PENS, 0), dict.fromkeys(PENS, 0.0)
    for number, path in enumerate(images):
        rgb = field_pixels(path)[0]
        for pen in PENS:
            painted, dense = stroke(rgb, pen, number)
            centroids = found_in(painted, config)[1].astype(np.int64)
            counts[pen] += int(dense[centroids[:, 1], centroids[:, 0]].sum())
            area[pen] += float(dense.sum()) * FIELD_MPP**2 / 1e6
    return "ink     " + "  ".join(f"{pen} {counts[pen] / area[pen]:.0f}" for pen in PENS) + " per mm2"


def bare(slide_path: Path, regions: Path, config: RunConfig) -> str:
    """The line about regions without nuclei."""
    features = json.loads(regions.read_text(encoding="utf-8"))["features"]
    shape = shapely.union_all([shapely.from_geojson(json.dumps(f["geometry"])) for f in features])
    with closing(open_slide(slide_path)) as slide:
        result = analyse(slide, config)
    downsample = np.array(result.frames["cell"].downsample)
    mm2 = shape.area / downsample.prod() * FIELD_MPP**2 / 1e6
    places = result.cells.centroid * downsample
    n = int(shapely.contains_xy(shape, places[:, 0], places[:, 1]).sum())
    return f"bare    {n} objects on {mm2:.3f} mm2: {n / mm2:.0f} per mm2"


def main() -> int:
    """Print the lines of each set; 1 when nothing could be evaluated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with one folder per data set")
    parser.add_argument("--engine", default="embedded", help="name, or folder of a model")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="only these folders")
    parser.add_argument("--tiles", type=int, metavar="N", help="only the first N images of each set, by name")
    parser.add_argument("--bare", nargs=2, type=Path, metavar=("SLIDE", "REGIONS"), help="GeoJSON in level-0 px")
    arguments = parser.parse_args()
    try:
        config = settings(arguments.engine, arguments.precision)
        shaping = shaping_files(arguments.engine)
        for folder in sorted(p for p in arguments.root.iterdir() if p.is_dir()):
            if arguments.sets and folder.name not in arguments.sets:
                continue
            outlined = [i for i in images_of(folder) if label_file_of(i).exists()]
            images = unseen(folder, outlined, shaping)[: arguments.tiles]
            if not images:
                continue
            for line in (*hard_nuclei(images, config), *blurred(images, config), inked(images, config)):
                print(f"{folder.name:<15} {line}", flush=True)
        if arguments.bare:
            print(f"{arguments.bare[0].stem:<15} {bare(*arguments.bare, config)}")
    except (WsiparseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
