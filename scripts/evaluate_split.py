#!/usr/bin/env python3
"""How well touching nuclei are told apart when the mask is perfect.

    python scripts/evaluate_split.py ../shared/data/annotated [--tiles 10] [--sets consep,cpm15,gbm40,tcga_lgg]

Takes the union of all hand-drawn instances of a tile as the mask, splits it by its shape alone, with one setting in
microns for all sets (the defaults of `SplitSettings`), at the tiles' own resolution, and compares the instances with
the drawn ones. One line per set: F1 at IoU > .5, PQ, AJI, instances found and drawn, and CPU seconds of splitting.
A tile is ``NAME.label.png`` (instance ids); the first tiles by name are used.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from wsiparse.coords import Frame
from wsiparse.objects.scores import Agreement, overlap_agreement
from wsiparse.objects.split import split_cells, split_pixels
from wsiparse.types import SplitSettings

#: Microns per pixel of a data set's tiles; cpm15 mixes two magnifications and says so in the names.
MPP = {"consep": 0.25, "gbm40": 0.25, "tcga_lgg": 0.25, "cpm15": 0.5, "dsb2018_colour": 0.5}


def mpp_of(path: Path) -> float:
    return 0.25 if "40x" in path.name else MPP.get(path.parent.name, 0.5)


def score(folder: Path, tiles: int, settings: SplitSettings) -> tuple[Agreement, float]:
    """Sums over the first tiles of a folder, and CPU seconds."""
    total, spent = Agreement(), 0.0
    for path in sorted(folder.glob("*.label.png"), key=lambda p: p.name)[:tiles]:
        truth = np.asarray(Image.open(path)).astype(np.int32)
        mpp = mpp_of(path)
        frame = Frame((truth.shape[1], truth.shape[0]), (1.0, 1.0), (mpp, mpp))
        mask = truth > 0
        began = time.process_time()
        found, _ = split_cells(mask, None, split_pixels(settings, frame))
        spent += time.process_time() - began
        total += overlap_agreement(truth, found)
    return total, spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of data sets")
    parser.add_argument("--tiles", type=int, default=10)
    parser.add_argument("--sets", default="consep,cpm15,gbm40,tcga_lgg")
    given = parser.parse_args()
    split_cells(np.eye(8, dtype=np.bool_), None, split_pixels(SplitSettings(), Frame((8, 8), (1.0, 1.0), (0.5, 0.5))))
    missing = 0
    for name in given.sets.split(","):
        total, spent = score(given.folder / name, given.tiles, SplitSettings())
        if not total.truth:
            print(f"{name}: no *.label.png in {given.folder / name}", file=sys.stderr)
            missing += 1
            continue
        print(
            f"{name} F1 {total.overlap_f1:.3f} PQ {total.pq:.3f} AJI {total.aji:.3f} "
            f"found {total.found} of {total.truth} CPU-s {spent:.3f}"
        )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
