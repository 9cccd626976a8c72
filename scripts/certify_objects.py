#!/usr/bin/env python3
"""Run one class map through every way of computing its objects and compare the results.

    python -m scripts.certify_objects FIELD.npy [--classes cells|regions] [--blocks 333,512,777] [--orders 5]
                                                [--threads 1,2]

FIELD.npy is any (H, W) uint8 array, 0 background, 1..255 classes. Cells are split on the distance landscape with
confidence 255 and a made-up optical density that changes from pixel to pixel; for regions every class is a layer of its
own. One line per setting tells the number of objects, their area, and a SHA-256 over the set of their classes and
outlines. Exit code 1 when any two differ in these or in any column (mean OD among them), or when one differs from a
plain whole-canvas reference that shares no kernel with them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tests.reference.canonical import object_set_digest
from tests.reference.stitch import whole_canvas
from wsiparse.objects.split import SplitPixels
from wsiparse.stitch import Stitcher
from wsiparse.types import ObjectTable

Layers = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Setting:
    """One way to compute the objects."""

    block_px: int
    order: int
    threads: int

    def __str__(self) -> str:
        order = "raster order" if self.order == 0 else f"shuffle {self.order}"
        return f"block {self.block_px} px, {order}, {self.threads} thread{'s' * (self.threads > 1)}"


@dataclass(frozen=True)
class Outcome:
    """What one way gave."""

    objects: int
    area: int
    outlines: str
    columns: str

    def __str__(self) -> str:
        return f"{self.objects} objects, area {self.area} px, {self.outlines}"


def outcome_of(table: ObjectTable) -> Outcome:
    return Outcome(
        len(table), int(table.area_px.sum()), object_set_digest(table), object_set_digest(table, columns=True)
    )


def layers_of(field: NDArray[np.uint8], kind: Literal["cells", "regions"]) -> Layers:
    """Cells: the field itself. Regions: one layer per class that occurs."""
    if kind == "cells":
        return [field]
    present = [int(c) for c in np.unique(field) if c]
    return [np.where(field == c, field, 0).astype(np.uint8) for c in present] or [field]


def made_up_od(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Optical density of every pixel of a canvas, 0-241: neighbours differ, and so do rows, columns and blocks."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return ((x * 31 + y * 57 + (x * y) % 89) % 242).astype(np.uint8)


def stitched(
    layer: NDArray[np.uint8], od: NDArray[np.uint8], setting: Setting, split: SplitPixels | None, n_classes: int
) -> ObjectTable:
    """Objects of one layer under one setting."""
    height, width = layer.shape
    stitcher = Stitcher((width, height), setting.block_px, n_classes, split)
    random = np.random.default_rng(setting.order)
    order = np.arange(len(stitcher))
    if setting.order:
        random.shuffle(order)

    def digest(i: int):
        box = stitcher.box(i)
        part, dark = (plane[box.y : box.y1, box.x : box.x1] for plane in (layer, od))
        return i, (stitcher.digest(i, part, np.where(part > 0, 255, 0).astype(np.uint8), dark) if part.any() else None)

    tables = []
    with ThreadPoolExecutor(setting.threads) as pool:
        for i, found in pool.map(digest, order.tolist()):
            tables.append(stitcher.add_empty(i) if found is None else stitcher.add(found))
    if not stitcher.finished or stitcher.open_px:
        raise SystemExit(f"{setting}: {stitcher.open_px} px are still open after the last block")
    return ObjectTable.concat(tables)


def settings_of(shape: tuple[int, int], blocks: list[int], orders: int, threads: list[int]) -> Iterator[Setting]:
    yield Setting(max(shape), 0, 1)
    for block in blocks:
        for order in range(orders):
            for count in threads:
                yield Setting(block, order, count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("field", type=Path)
    parser.add_argument("--classes", choices=("cells", "regions"), default="cells")
    parser.add_argument("--blocks", default="333,512,777")
    parser.add_argument("--orders", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--max-component-px", type=int, default=SplitPixels().max_component_px)
    given = parser.parse_args()
    field = np.load(given.field, allow_pickle=False)
    if field.ndim != 2 or field.dtype != np.uint8 or not field.size:
        print(
            f"{given.field}: expected an (H, W) uint8 class map, found {field.shape} of {field.dtype}", file=sys.stderr
        )
        return 2
    split = SplitPixels(max_component_px=given.max_component_px) if given.classes == "cells" else None
    layers, od = layers_of(field, given.classes), made_up_od(field.shape)
    n_classes = max(1, int(field.max()))
    foreground = int((field > 0).sum())
    print(f"{given.field.name}: {field.shape[1]} x {field.shape[0]} px, {foreground} px foreground, {given.classes}")

    began = time.perf_counter()
    full = np.uint8(255)
    expected = outcome_of(
        ObjectTable.concat(
            [
                whole_canvas(layer, np.where(layer > 0, full, 0).astype(np.uint8), od, None, n_classes, split)
                for layer in layers
            ]
        )
    )
    print(f"{'whole-canvas reference':<60} {expected}  {time.perf_counter() - began:.2f} s")
    threads = [int(t) for t in given.threads.split(",")]
    blocks = [int(b) for b in given.blocks.split(",")]
    different = 0
    for setting in settings_of(field.shape, blocks, given.orders, threads):
        began = time.perf_counter()
        outcome = outcome_of(ObjectTable.concat([stitched(layer, od, setting, split, n_classes) for layer in layers]))
        verdict = "" if outcome == expected else "  DIFFERENT" + (" (columns)" if str(outcome) == str(expected) else "")
        different += outcome != expected
        print(f"{setting!s:<60} {outcome}  {time.perf_counter() - began:.2f} s{verdict}")
    if expected.area != foreground:
        print(f"area of all objects {expected.area} px is not the foreground {foreground} px")
        different += 1
    print("all the same" if not different else f"{different} settings differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
