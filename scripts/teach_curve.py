#!/usr/bin/env python3
"""How far a few labelled tiles go: F1 of each class on the other tiles of a set, end to end.

    python scripts/teach_curve.py TILES [--engine NAME|FOLDER] [--counts 1 5 15] [--draws 6]

TILES holds `<name>.jpg` or `.png` at 0.5 um/px with `<name>.label.png` and `<name>.types.json`, as in
`evaluate_embedded.py`. The nuclei are the engine's; its own classes are not looked at. For each count, tiles are drawn
by chance (a single one among those with 15 nuclei of each class), a head as that of `wsiparse teach` learns their
nuclei, and all other tiles measure: misses, false detections and wrong classes count, nuclei without an annotated class
are left out. The last line is what perfect classes on these nuclei would have.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from evaluate_embedded import CLASSES, OTHER, UNLABELLED, drawn_labels, images_of, types_of
from numpy.typing import NDArray
from PIL import Image

from wsiparse.config import PromptConfig, RunConfig
from wsiparse.errors import WsiparseError
from wsiparse.objects.scores import MATCH_RADIUS_PX, centroids_of, match_points
from wsiparse.run.pipeline import analyse
from wsiparse.slides.memory import MemorySlide
from wsiparse.teach.crops import features_of
from wsiparse.teach.fit import fit_head

LEAST = 15


@dataclass(frozen=True, eq=False)
class Tile:
    """Features of found nuclei, their annotated class (-1 for no annotation), and all annotated classes."""

    features: NDArray[np.float64]
    classes: NDArray[np.int64]
    truth: NDArray[np.int64]


def tile_of(path: Path, engine: str) -> Tile:
    slide = MemorySlide(np.asarray(Image.open(path).convert("RGB")), 0.5, name=path.stem)
    prompts = (PromptConfig(text="nuclei", class_name="Nuclei"),)
    result = analyse(slide, RunConfig(engine=engine, device="cpu", prompts=prompts, whole_slide=True))
    frame = result.frames["cell"]
    ids, places = centroids_of(drawn_labels(path, frame))
    types = types_of(path)
    truth = np.array([types.get(int(i), UNLABELLED) for i in ids], np.int64)
    left, right = match_points(places, result.cells.centroid, MATCH_RADIUS_PX)
    classes = np.full(len(result.cells), -1, np.int64)
    classes[right] = truth[left]
    return Tile(features_of(slide, frame, result.cells, None), classes, truth)


def f1_of(tiles: list[Tile], said: list[NDArray[np.int64]]) -> dict[str, float]:
    out = {}
    for name, code in CLASSES.items():
        pairs = [((s == code) & (t.classes == code)).sum() for t, s in zip(tiles, said, strict=True)]
        found = [((s == code) & (t.classes != UNLABELLED)).sum() for t, s in zip(tiles, said, strict=True)]
        total = sum(found) + sum((t.truth == code).sum() for t in tiles)
        out[name] = 2 * float(sum(pairs)) / max(float(total), 1)
    return out


def learned(seen: list[Tile], others: list[Tile]) -> tuple[dict[str, float], int, float]:
    """F1 on the others, nuclei learned from, CPU seconds of learning."""
    features = np.concatenate([t.features[t.classes >= OTHER] for t in seen])
    codes, classes = np.unique(np.concatenate([t.classes[t.classes >= OTHER] for t in seen]), return_inverse=True)
    began = time.process_time()
    head = fit_head(features, classes.astype(np.int64), len(codes))
    spent = time.process_time() - began
    said = [codes[head.logits(t.features).argmax(axis=1)] for t in others]
    return f1_of(others, said), len(features), spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a set of annotated tiles")
    parser.add_argument("--engine", default="embedded", help="name, or folder of a model")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 5, 15])
    parser.add_argument("--draws", type=int, default=6)
    given = parser.parse_args()
    try:
        paths = [p for p in images_of(given.folder) if p.with_name(f"{p.stem}.types.json").exists()]
        tiles = [tile_of(path, given.engine) for path in paths]
    except (WsiparseError, OSError, json.JSONDecodeError) as error:
        print(error, file=sys.stderr)
        return 1
    if len(tiles) <= max(given.counts):
        print(f"{given.folder}: {len(tiles)} typed tiles, more than {max(given.counts)} needed", file=sys.stderr)
        return 1
    rich = [k for k, t in enumerate(tiles) if all((t.classes == code).sum() >= LEAST for code in CLASSES.values())]
    print("| labelled tiles | nuclei | " + " | ".join(CLASSES) + " | CPU-s |\n|---|---|" + "---|" * (len(CLASSES) + 1))
    for count in given.counts:
        rows = []
        for draw in range(given.draws):
            chosen = np.random.default_rng(draw).permutation(rich if count == 1 else len(tiles))[:count].tolist()
            rest = [t for k, t in enumerate(tiles) if k not in chosen]
            rows.append(learned([tiles[k] for k in chosen], rest))
        figures = " | ".join(f"{np.mean([r[0][name] for r in rows]):.3f}" for name in CLASSES)
        nuclei, spent = (np.mean([r[k] for r in rows]) for k in (1, 2))
        print(f"| {count} | {nuclei:.0f} | {figures} | {spent:.2f} |", flush=True)
    best = f1_of(tiles, [t.classes for t in tiles])
    print("| perfect classes | | " + " | ".join(f"{best[name]:.3f}" for name in CLASSES) + " | |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
