"""Component closure against merging polygons of overlapping tiles, on one field of touching nuclei.

    python -m tests.benchmarks.run_merge 300k

Prints CPU seconds of: exact objects through the stitcher; splitting and tracing overlapping tiles (1024 px, overlap
64) with no merge at all; and the STRtree + unary_union merge of those tiles' polygons; with the merge's errors against
the whole-canvas objects. The field's own time is not counted.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tests.benchmarks.nuclei_field import NUCLEI_PER_PATCH, PATCH_PX, NucleiField
from tests.benchmarks.tile_merging import (
    errors,
    merge_tables,
    objects_of_tile,
    overlapping_tiles,
    polygons_of,
    read,
)
from wsiparse.objects.split import SplitPixels
from wsiparse.stitch import Stitcher
from wsiparse.types import ObjectTable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nuclei", help="e.g. 20k, 300k")
    parser.add_argument("--block", type=int, default=2048)
    given = parser.parse_args()
    wanted = float(given.nuclei.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(given.nuclei[-1], 1.0)
    edge = int(np.ceil(np.sqrt(wanted / NUCLEI_PER_PATCH))) * PATCH_PX
    field, split = NucleiField((edge, edge)), SplitPixels()

    stitcher = Stitcher(field.size, given.block, 1, split)
    exact, digest_s, add_s = [], 0.0, 0.0
    for i in range(len(stitcher)):
        mask = read(field, stitcher.box(i))
        began = time.process_time()
        digest = stitcher.digest(i, mask, mask, mask)
        middle = time.process_time()
        exact.append(stitcher.add(digest))
        digest_s, add_s = digest_s + middle - began, add_s + time.process_time() - middle
    tiles, tiles_s = [], 0.0
    for box in overlapping_tiles(field.size):
        mask = read(field, box)
        began = time.process_time()
        tiles.append(objects_of_tile(mask, box, split))
        tiles_s += time.process_time() - began
    began = time.process_time()
    merged = merge_tables(tiles)
    merge_s = time.process_time() - began
    truth = ObjectTable.concat(exact)
    print(f"{field.count} nuclei, {len(truth)} objects, {sum(map(len, tiles))} in overlapping tiles")
    print(
        f"stitcher (blocks of {given.block} px): {digest_s + add_s:.2f} CPU-s = {digest_s:.2f} digest + {add_s:.2f} add"
    )
    print(
        f"overlapping tiles, split and traced: {tiles_s:.2f} CPU-s; stitcher / tiles {(digest_s + add_s) / tiles_s:.2f}"
    )
    print(f"STRtree + unary_union merge on top: {merge_s:.2f} CPU-s")
    print(f"  = {merge_s / (digest_s + add_s):.1f} x the whole of the stitcher, {merge_s / add_s:.0f} x its seams")
    once = tiles_s * len(truth) / sum(map(len, tiles))
    print(f"  = {merge_s / max(1e-9, digest_s + add_s - once):.0f} x what it costs beyond splitting every object once")
    lost, made_up = errors(merged, truth)
    print(
        f"merge: {lost} objects lost or changed, {made_up} that are none; stitcher: {errors(polygons_of(truth), truth)}"
    )


if __name__ == "__main__":
    main()
