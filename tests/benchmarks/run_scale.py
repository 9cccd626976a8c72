"""Objects of a slide-sized field of touching nuclei, end to end: split, trace, stitch, GeoJSON.

    python -m tests.benchmarks.run_scale 1.2M
    python -m tests.benchmarks.run_scale 5M --block 512 --no-geojson

The field is generated window by window and its time is not counted. Prints nuclei, objects, CPU seconds of each part,
cells per second and core, the largest carry, and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from tests.benchmarks.nuclei_field import NUCLEI_PER_PATCH, PATCH_PX, NucleiField
from wsiparse.objects.split import SplitPixels
from wsiparse.stitch import Stitcher


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nuclei", help="e.g. 300k, 1.2M, 5M")
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--order", choices=("raster", "random"), default="raster")
    given = parser.parse_args()
    wanted = float(given.nuclei.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(given.nuclei[-1], 1.0)
    edge = int(np.ceil(np.sqrt(wanted / NUCLEI_PER_PATCH))) * PATCH_PX
    field = NucleiField((edge, edge))
    split = SplitPixels()

    def run(canvas: int, most: int | None = None) -> tuple[Stitcher, dict[str, float]]:
        stitcher = Stitcher((canvas, canvas), given.block, 2, split)
        order = np.arange(len(stitcher))
        if given.order == "random":
            np.random.default_rng(0).shuffle(order)
        spent = dict.fromkeys(("digest", "add"), 0.0)
        carry = 0
        for i in order.tolist()[:most]:
            box = stitcher.box(i)
            mask = field.mask(box.x, box.y, box.width, box.height)
            confidence = mask * np.uint8(200)
            began = time.process_time()
            digest = stitcher.digest(i, mask, confidence)
            middle = time.process_time()
            stitcher.add(digest)
            after = time.process_time()
            spent["digest"] += middle - began
            spent["add"] += after - middle
            carry = max(carry, stitcher.carry_bytes)
        spent["carry MB"] = carry / 1e6
        return stitcher, spent

    run(4 * given.block)  # compile
    before = peak_mb()
    began = time.perf_counter()
    stitcher, spent = run(edge)
    cpu = spent["digest"] + spent["add"]
    print(f"{field.count} nuclei on {edge} x {edge} px, blocks of {given.block} px, {given.order} order")
    print(f"{stitcher.objects} objects, {spent['digest']:.1f} + {spent['add']:.1f} CPU-s (digest + add), ", end="")
    print(f"{stitcher.objects / cpu:.0f} cells/s/core; {time.perf_counter() - began:.0f} s with the generator")
    print(f"largest carry {spent['carry MB']:.1f} MB, peak memory {before:.0f} -> {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
