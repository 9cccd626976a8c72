#!/usr/bin/env python3
"""How well the engines without BiomedParse weights find annotated nuclei: one line per data set.

    python scripts/evaluate_embedded.py ROOT [--engine NAME|FOLDER] [--precision float32|bf16] [--sets ...]
        [--images NAME ...] [--slide-mpp UM]

ROOT holds one folder per data set with `<name>.png` or `<name>.jpg` and either `<name>.label.png` (uint16 instance
ids, 0 background) or `<name>.points.json` ([[x, y, class], ...]), and optionally `<name>.types.json` ({"id": class});
classes are 0 unlabelled, 1 other, 2 inflammatory, 3 epithelial, 4 connective. A .jpg is at 0.5 um/px, a .png at its
data set's scale. Every image goes the whole road of a slide: plan, overlapping tiles, field, split, stitch.

F1 counts centroids within 6 px at 0.5 um/px, matched one to one; the F1 of a class counts misses, false detections
and wrong classes, and leaves out found nuclei whose annotation has no class. Figures are pooled over all instances of
a set; a count is off by found / annotated - 1, pooled as well, and the mean of its size over the tiles is told too.
Of sets where not every nucleus is annotated, found nuclei without annotation are left out. CPU seconds are of
everything from plan to objects on one thread, per megapixel at 0.5 um/px: first of the image, then of the tiles with
their margins (small images are mostly margin; a slide is not). Images that shaped the engine's weights, which the
model's data.json names, are left out: such figures would say nothing. With `--interval` a second line gives 95 %
intervals of a bootstrap over the tiles of the set.
"""

from __future__ import annotations

import argparse
import hashlib
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
    MATCH_RADIUS_PX,
    Agreement,
    centroids_of,
    class_agreement,
    match_points,
    overlap_agreement,
    paint_objects,
    point_agreement,
)
from wsiparse.recognize.embedded.folder import FolderEngine
from wsiparse.recognize.registry import engine_of
from wsiparse.run.pipeline import Analysis, analyse
from wsiparse.slides.memory import MemorySlide

FIELD_MPP = 0.5
UNLABELLED, OTHER = 0, 1
CLASSES = {"epithelial": 3, "inflammatory": 2, "connective": 4}
SCALES = {"consep": 0.5, "crchisto": 1.1, "gbm40": 0.5, "tcga_lgg": 0.5}
PARTIAL = ("nucls", "nucls_points")  # sets in which not every nucleus is annotated


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over the tiles of a set; `tile_bias` is the sum of the sizes of the tiles' relative count errors."""

    nuclei: Agreement
    classes: dict[str, Agreement]
    outlined: bool
    tiles: int = 1
    tile_bias: float = 0.0
    cpu_s: float = 0.0
    image_mpx: float = 0.0
    tile_mpx: float = 0.0

    def __add__(self, other: Score) -> Score:
        names = {**self.classes, **other.classes}
        return Score(
            self.nuclei + other.nuclei,
            {n: self.classes.get(n, Agreement()) + other.classes.get(n, Agreement()) for n in names},
            self.outlined and other.outlined,
            self.tiles + other.tiles,
            self.tile_bias + other.tile_bias,
            self.cpu_s + other.cpu_s,
            self.image_mpx + other.image_mpx,
            self.tile_mpx + other.tile_mpx,
        )


def scale_of(path: Path) -> float:
    """Field px per image px: 1 for a .jpg, else the data set's, else by the magnification in the file name."""
    if path.suffix == ".jpg":
        return 1.0
    return SCALES.get(path.parent.name, 0.5 if "40x" in path.stem.lower() else 1.0)


def images_of(folder: Path) -> list[Path]:
    """Annotated images of a data set, by name."""
    found = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".jpg") and not p.name.endswith(".label.png"))
    return [p for p in found if label_file_of(p).exists() or beside(p, ".points.json").exists()]


def shaping_files(engine: str) -> dict[str, dict[str, str]]:
    """Files that shaped the weights of an engine: set -> name -> SHA-256; empty where its folder does not tell."""
    model = engine_of(engine)
    listed = model.folder / "data.json" if isinstance(model, FolderEngine) else None
    if listed is None or not listed.is_file():
        return {}
    return {
        one["set"]: {
            name: digest
            for name, digest in one["sha256"].items()
            if not any(name.startswith(f"{tile}.") for tile in one["held_out"])
        }
        for one in json.loads(listed.read_text(encoding="utf-8"))
    }


def unseen(folder: Path, images: list[Path], shaping: dict[str, dict[str, str]]) -> list[Path]:
    """The images that shaped nothing; of the others a line is told.

    An image shaped the weights if its pixels are a file that did, or if it has the name of one in the set of that
    name and only another ending (the same tile at another scale).
    """
    read = {digest for files in shaping.values() for digest in files.values()}
    names = shaping.get(folder.name, {})
    stems = {Path(name).stem: Path(name).suffix for name in names if name.endswith((".jpg", ".png"))}
    kept = [
        image
        for image in images
        if hashlib.sha256(image.read_bytes()).hexdigest() not in read
        and stems.get(image.stem, image.suffix) == image.suffix
    ]
    if len(kept) < len(images):
        out = len(images) - len(kept)
        print(f"{folder.name}: {out} of {len(images)} images shaped these weights and are left out", file=sys.stderr)
    return kept


def beside(image: Path, ending: str) -> Path:
    """A file of an image's annotation; names may hold dots."""
    return image.with_name(image.stem + ending)


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
    return MemorySlide(rgb, mpp or FIELD_MPP * scale_of(path), name=path.stem)


def evaluate_tile(path: Path, config: RunConfig, mpp: float | None = None) -> Score:
    """Analyse one image and compare."""
    slide = slide_of(path, mpp)
    begin = time.process_time()
    result = analyse(slide, config)
    cpu_s = time.process_time() - begin
    nuclei, classes, outlined = compare(path, result)
    plan = result.prepared.passes[0].plan
    width, height = plan.frame.size
    return Score(
        nuclei,
        classes,
        outlined,
        1,
        abs(nuclei.found - nuclei.truth) / max(nuclei.truth, 1),
        cpu_s,
        width * height / 1e6,
        len(plan.kept) * plan.grid.tile**2 / 1e6,
    )


def asked_classes(result: Analysis) -> dict[int, int]:
    """Class id of a prompt -> class of the annotation; every other prompt is `OTHER`."""
    words = {k: prompt.text.casefold().split() for k, prompt in enumerate(result.prepared.prompts, start=1)}
    return {k: next((c for name, c in CLASSES.items() if name in text), OTHER) for k, text in words.items()}


def compare(path: Path, result: Analysis) -> tuple[Agreement, dict[str, Agreement], bool]:
    """Nuclei, the classes that were asked for where classes are annotated, and whether the annotation has outlines."""
    frame, table = result.frames["cell"], result.cells
    asked = asked_classes(result)
    found, found_class = table.centroid, np.array([asked[int(c)] for c in table.class_id], np.int64)
    labels = drawn_labels(path, frame) if label_file_of(path).exists() else None
    if labels is None:
        rows = np.array(json.loads(beside(path, ".points.json").read_text(encoding="utf-8")), np.float64).reshape(-1, 3)
        truth, truth_class = rows[:, :2] / frame.downsample, rows[:, 2].astype(np.int64)
    else:
        ids, truth = centroids_of(labels)
        types = types_of(path)
        truth_class = np.array([types.get(int(i), UNLABELLED) for i in ids], np.int64)
    if path.parent.name in PARTIAL:
        matched = match_points(truth, found, MATCH_RADIUS_PX)[1]
        found, found_class = found[matched], found_class[matched]
        nuclei = point_agreement(truth, found)
    elif labels is None:
        nuclei = point_agreement(truth, found)
    else:
        nuclei = overlap_agreement(labels, paint_objects(table, frame.size))
    classes = {
        name: class_agreement(truth, truth_class, found, found_class, wanted, unlabelled=UNLABELLED)
        for name, wanted in CLASSES.items()
        if wanted in asked.values() and truth_class.any()
    }
    return nuclei, classes, labels is not None and path.parent.name not in PARTIAL


def types_of(path: Path) -> dict[int, int]:
    """Classes of the outlined nuclei of an image, if it has any."""
    file = beside(path, ".types.json")
    if not file.exists():
        return {}
    return {int(k): int(v) for k, v in json.loads(file.read_text(encoding="utf-8")).items()}


def label_file_of(path: Path) -> Path:
    """Where an image's outlines are, if it has any."""
    return beside(path, ".label.png")


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

    classes = [
        f"{word} F1 {c.f1:.3f} (precision {c.precision:.3f} recall {c.recall:.3f} count {bias_of(c)})"
        for word, c in score.classes.items()
        if c.truth
    ]
    return (
        f"{name:<15} F1 {n.f1:.3f}  IoU>0.5 F1 {outlined(n.overlap_f1)}  PQ {outlined(n.pq)}  AJI {outlined(n.aji)}  "
        f"precision {n.precision:.3f}  recall {n.recall:.3f}  "
        f"count {bias_of(n)}, by tile {100 * score.tile_bias / score.tiles:.1f} %  "
        f"CPU-s/Mpx {score.cpu_s / score.image_mpx:.2f} of image {score.cpu_s / score.tile_mpx:.2f} of tiles  "
        f"{'  '.join(classes) or '-'}  [{tiles} tiles, {n.truth} annotated, {n.found} found]"
    )


def interval_line(name: str, scores: list[Score]) -> str:
    """Intervals of 95 %: tiles are drawn again with replacement, 1000 times."""
    rng = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {}
    for _ in range(1000):
        chosen = [scores[k] for k in rng.integers(len(scores), size=len(scores))]
        total = sum(chosen[1:], chosen[0])
        figures = {"F1": total.nuclei.f1} | ({"PQ": total.nuclei.pq} if total.outlined else {})
        figures |= {f"{word} F1": one.f1 for word, one in total.classes.items() if one.truth}
        for key, value in figures.items():
            drawn.setdefault(key, []).append(value)
    spans = [f"{key} {a:.3f} to {b:.3f}" for key, v in drawn.items() for a, b in [np.quantile(v, (0.025, 0.975))]]
    return f"{name:<15} 95 % interval  " + "  ".join(spans)


def bias_of(one: Agreement) -> str:
    """Found over annotated, minus 1."""
    return f"{100 * (one.found / one.truth - 1):+.1f} %" if one.truth else "-"


def warm_up(config: RunConfig) -> None:
    """Load the network and compile the kernels before any clock runs."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    analyse(MemorySlide(noise, FIELD_MPP), config)


def main() -> int:
    """Print one line per data set; 1 when nothing could be evaluated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with one folder per data set, or one such folder")
    parser.add_argument("--engine", default="embedded", help="name, or folder of a model")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="only these folders")
    parser.add_argument("--tiles", type=int, metavar="N", help="only the first N images of each set, by name")
    parser.add_argument("--images", nargs="+", metavar="NAME", help="only the images of these names")
    parser.add_argument("--slide-mpp", type=float, metavar="UM", help="um per px of all images, whatever their set")
    parser.add_argument("--interval", action="store_true", help="95 %% intervals over the tiles of each set too")
    parser.add_argument("--tile-size", type=int, default=448, metavar="PX", help="read box, so that seams are crossed")
    arguments = parser.parse_args()

    root: Path = arguments.root
    if not root.is_dir():
        print(f"{root}: no such folder. Give the folder of annotated data sets.", file=sys.stderr)
        return 1
    folders = [root] if images_of(root) else sorted(p for p in root.iterdir() if p.is_dir())
    folders = [p for p in folders if not arguments.sets or p.name in arguments.sets]
    chosen = {p: [i for i in images_of(p) if not arguments.images or i.stem in arguments.images] for p in folders}
    if not any(chosen.values()):
        print(f"{root}: no data set with annotated images found.", file=sys.stderr)
        return 1
    try:
        config = settings(arguments.engine, arguments.precision, arguments.tile_size)
        shaping = shaping_files(arguments.engine)
        chosen = {folder: unseen(folder, images, shaping)[: arguments.tiles] for folder, images in chosen.items()}
        warm_up(config)
        for folder, images in ((f, i) for f, i in chosen.items() if i):
            scores = [evaluate_tile(path, config, arguments.slide_mpp) for path in images]
            print(line_of(folder.name, len(images), sum(scores[1:], scores[0])), flush=True)
            if arguments.interval and len(scores) > 1:
                print(interval_line(folder.name, scores), flush=True)
    except (WsiparseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
