#!/usr/bin/env python3
"""How well the engines without BiomedParse weights find annotated nuclei: one line per data set.

    python scripts/evaluate_embedded.py ROOT [--engine embedded|classical] [--precision float32|bf16] [--sets ...]
        [--images NAME ...] [--slide-mpp UM]

ROOT holds one folder per data set with `<name>.png` and either `<name>.label.png` (uint16 instance ids, 0 background)
or `<name>.points.json` ([[x, y, class], ...]), and optionally `<name>.types.json` ({"id": class}); class 2 is
inflammatory, 0 unlabelled. Every image goes the whole road of a slide: plan, overlapping tiles, field, split, stitch.

F1 counts centroids within 6 px at 0.5 um/px, matched one to one; the inflammatory F1 counts misses, false detections
and wrong classes, and leaves out found nuclei whose annotation has no class. Figures are pooled over all instances of
a set. CPU seconds are of everything from plan to objects on one thread, per megapixel at 0.5 um/px: first of the image,
then of the tiles with their margins (small images are mostly margin; a slide is not).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsiparse.config import RunConfig
from wsiparse.coords import Frame
from wsiparse.errors import WsiparseError
from wsiparse.objects.scores import (
    Agreement,
    centroids_of,
    class_agreement,
    overlap_agreement,
    paint_objects,
    point_agreement,
)
from wsiparse.run.pipeline import Analysis, analyse
from wsiparse.slides.memory import MemorySlide

FIELD_MPP = 0.5
INFLAMMATORY, UNLABELLED = 2, 0
SCALES = {"consep": 0.5, "crchisto": 1.1, "gbm40": 0.5, "tcga_lgg": 0.5}
PROMPT_CLASS = {1: INFLAMMATORY, 2: 1}  # class ids of the default prompts -> annotation classes


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over the tiles of a set."""

    nuclei: Agreement
    inflammatory: Agreement | None
    outlined: bool
    cpu_s: float = 0.0
    image_mpx: float = 0.0
    tile_mpx: float = 0.0

    def __add__(self, other: Score) -> Score:
        both = None
        if self.inflammatory is not None or other.inflammatory is not None:
            both = (self.inflammatory or Agreement()) + (other.inflammatory or Agreement())
        return Score(
            self.nuclei + other.nuclei,
            both,
            self.outlined and other.outlined,
            self.cpu_s + other.cpu_s,
            self.image_mpx + other.image_mpx,
            self.tile_mpx + other.tile_mpx,
        )


def scale_of(folder: str, name: str) -> float:
    """Field px per image px: the data set's, else by the magnification in the file name."""
    return SCALES.get(folder, 0.5 if "40x" in name.lower() else 1.0)


def images_of(folder: Path) -> list[Path]:
    """Annotated images of a data set, by name."""
    found = sorted(p for p in folder.glob("*.png") if not p.name.endswith(".label.png"))
    return [p for p in found if label_file_of(p).exists() or p.with_suffix(".points.json").exists()]


def settings(engine: str = "embedded", precision: str = "float32", tile_size: int = 448) -> RunConfig:
    """Of a run over a whole image on the processor; the tiles are small, so that seams are crossed."""
    return RunConfig(
        engine=engine,
        precision=precision,
        device="cpu",
        mpp=FIELD_MPP,
        tile_size=tile_size,
        whole_slide=True,
    )


def slide_of(path: Path, mpp: float | None = None) -> MemorySlide:
    """An image as a slide of `mpp` um per px, else of its data set's scale."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    return MemorySlide(rgb, mpp or FIELD_MPP * scale_of(path.parent.name, path.stem), name=path.stem)


def evaluate_tile(path: Path, config: RunConfig, mpp: float | None = None) -> Score:
    """Analyse one image and compare."""
    slide = slide_of(path, mpp)
    begin = time.process_time()
    result = analyse(slide, config)
    cpu_s = time.process_time() - begin
    nuclei, inflammatory, outlined = compare(path, result)
    plan = result.prepared.passes[0].plan
    width, height = plan.frame.size
    return Score(
        nuclei,
        inflammatory,
        outlined,
        cpu_s,
        width * height / 1e6,
        len(plan.kept) * plan.grid.tile**2 / 1e6,
    )


def compare(path: Path, result: Analysis) -> tuple[Agreement, Agreement | None, bool]:
    """Nuclei, inflammatory ones where classes are annotated, and whether the annotation has outlines."""
    frame, table = result.frames["cell"], result.cells
    found_class = np.array([PROMPT_CLASS[int(c)] for c in table.class_id], np.int64)
    types_file = path.with_suffix(".types.json")
    if not label_file_of(path).exists():
        rows = json.loads(path.with_suffix(".points.json").read_text(encoding="utf-8"))
        points = np.array(rows, np.float64).reshape(-1, 3)
        truth, truth_class = points[:, :2] / frame.downsample, points[:, 2].astype(np.int64)
        inflammatory = class_agreement(
            truth, truth_class, table.centroid, found_class, INFLAMMATORY, unlabelled=UNLABELLED
        )
        return point_agreement(truth, table.centroid), inflammatory, False
    labels = drawn_labels(path, frame)
    nuclei = overlap_agreement(labels, paint_objects(table, frame.size))
    if not types_file.exists():
        return nuclei, None, True
    types = {int(k): int(v) for k, v in json.loads(types_file.read_text(encoding="utf-8")).items()}
    ids, truth = centroids_of(labels)
    truth_class = np.array([types.get(int(i), UNLABELLED) for i in ids], np.int64)
    return nuclei, class_agreement(truth, truth_class, table.centroid, found_class, INFLAMMATORY), True


def label_file_of(path: Path) -> Path:
    """Where an image's outlines are, if it has any."""
    return path.with_suffix(".label.png")


def drawn_labels(path: Path, frame: Frame) -> NDArray[np.int32]:
    """The annotated outlines of an image, (height, width) of the frame, instance ids."""
    return to_frame(np.asarray(Image.open(label_file_of(path))).astype(np.int32), frame.size, frame.downsample)


def to_frame(labels: NDArray[np.int32], size: tuple[int, int], downsample: tuple[float, float]) -> NDArray[np.int32]:
    """Labels at the nearest native pixel of each frame pixel's centre."""
    columns, rows = (
        np.minimum(((np.arange(n) + 0.5) * f).astype(np.int64), limit - 1)
        for n, f, limit in zip(size, downsample, labels.shape[::-1], strict=True)
    )
    return labels[np.ix_(rows, columns)]


def line_of(name: str, tiles: int, score: Score) -> str:
    """The line of one data set."""
    n = score.nuclei

    def outlined(value: float) -> str:
        return f"{value:.3f}" if score.outlined else "-"

    i = score.inflammatory
    inflammatory = (
        f"inflammatory F1 {i.f1:.3f} (precision {i.precision:.3f} recall {i.recall:.3f})" if i and i.truth else "-"
    )
    return (
        f"{name:<15} F1 {n.f1:.3f}  IoU>0.5 F1 {outlined(n.overlap_f1)}  PQ {outlined(n.pq)}  AJI {outlined(n.aji)}  "
        f"precision {n.precision:.3f}  recall {n.recall:.3f}  CPU-s/Mpx {score.cpu_s / score.image_mpx:.2f} of image "
        f"{score.cpu_s / score.tile_mpx:.2f} of tiles  {inflammatory}  "
        f"[{tiles} tiles, {n.truth} annotated, {n.found} found]"
    )


def warm_up(config: RunConfig) -> None:
    """Load the network and compile the kernels before any clock runs."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    analyse(MemorySlide(noise, FIELD_MPP), config)


def main() -> int:
    """Print one line per data set; 1 when nothing could be evaluated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with one folder per data set, or one such folder")
    parser.add_argument("--engine", choices=("embedded", "classical"), default="embedded")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="only these folders")
    parser.add_argument("--tiles", type=int, metavar="N", help="only the first N images of each set, by name")
    parser.add_argument("--images", nargs="+", metavar="NAME", help="only the images of these names")
    parser.add_argument("--slide-mpp", type=float, metavar="UM", help="um per px of all images, whatever their set")
    parser.add_argument("--tile-size", type=int, default=448, metavar="PX", help="read box, so that seams are crossed")
    arguments = parser.parse_args()

    config = settings(arguments.engine, arguments.precision, arguments.tile_size)
    root: Path = arguments.root
    if not root.is_dir():
        print(f"{root}: no such folder. Give the folder of annotated data sets.", file=sys.stderr)
        return 1
    folders = [root] if images_of(root) else sorted(p for p in root.iterdir() if p.is_dir())
    folders = [p for p in folders if not arguments.sets or p.name in arguments.sets]
    chosen = {p: [i for i in images_of(p) if not arguments.images or i.stem in arguments.images] for p in folders}
    chosen = {folder: images[: arguments.tiles] for folder, images in chosen.items() if images}
    if not chosen:
        print(f"{root}: no data set with annotated images found.", file=sys.stderr)
        return 1
    try:
        warm_up(config)
        for folder, images in chosen.items():
            scores = [evaluate_tile(path, config, arguments.slide_mpp) for path in images]
            print(line_of(folder.name, len(images), sum(scores[1:], scores[0])), flush=True)
    except (WsiparseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
