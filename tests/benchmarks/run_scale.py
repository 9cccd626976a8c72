"""Objects of a slide-sized field of touching nuclei, end to end: split, trace, stitch, objects.zarr, GeoJSON.

    python -m tests.benchmarks.run_scale 1.2M
    python -m tests.benchmarks.run_scale 5M --block 1024 --order random --no-files

The field is generated window by window and its time is not counted. Prints nuclei, objects, CPU seconds of each part,
cells per second and core, the largest carry, and peak memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.nuclei_field import NUCLEI_PER_PATCH, PATCH_PX, NucleiField
from wsiparse.coords import Frame
from wsiparse.export.geojson import OverlayFacts, write_geojson
from wsiparse.machine import peak_rss_bytes
from wsiparse.objects.split import SplitPixels
from wsiparse.stitch import Stitcher
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.types import ObjectTable, Prompt, PromptSet

PROMPTS = PromptSet((Prompt("nuclei", "Nucleus"), Prompt("inflammatory cells", "Inflammatory")))


def peak_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    return (peak_rss_bytes() or 0) / 1e6


class Clock:
    """CPU seconds by part."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._last = time.process_time()

    def lap(self, part: str) -> None:
        now = time.process_time()
        self.spent[part] = self.spent.get(part, 0.0) + now - self._last
        self._last = now


def tables(
    field: NucleiField, stitcher: Stitcher, order: list[int], clock: Clock, carry: list[int]
) -> Iterator[ObjectTable]:
    for i in order:
        box = stitcher.box(i)
        mask = field.mask(box.x, box.y, box.width, box.height)
        confidence, od = mask * np.uint8(200), field.od(box.x, box.y, box.width, box.height)
        clock.lap("field")
        digest = stitcher.digest(i, mask, confidence, od)
        clock.lap("digest")
        table = stitcher.add(digest)
        clock.lap("add")
        carry[0] = max(carry[0], stitcher.carry_bytes)
        yield table
        clock.lap("sorter")


def run(edge: int, block_px: int, shuffled: bool, folder: Path | None) -> tuple[Stitcher, Clock, int]:
    field = NucleiField((edge, edge))
    stitcher = Stitcher((edge, edge), block_px, len(PROMPTS), SplitPixels())
    order = np.arange(len(stitcher))
    if shuffled:
        np.random.default_rng(0).shuffle(order)
    clock, carry = Clock(), [0]
    found = tables(field, stitcher, order.tolist(), clock, carry)
    if folder is None:
        for _ in found:
            pass
        return stitcher, clock, carry[0]
    frame = Frame((edge, edge), (2.0, 2.0), (0.5, 0.5))
    with ObjectSorter(folder / "unsorted", frames={"cell": frame, "region": frame}, prompts=PROMPTS) as sorter:
        for table in found:
            sorter.append(table)
        clock.lap("sorter")
        sorter.finish(folder / "objects.zarr", engine="synthetic", slide={})
    clock.lap("zarr")
    write_geojson(
        folder / "cells.geojson.gz",
        ObjectsReader(folder / "objects.zarr").batches("cell"),
        OverlayFacts(frame, PROMPTS, "synthetic", "synthetic"),
    )
    clock.lap("geojson")
    return stitcher, clock, carry[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nuclei", help="e.g. 300k, 1.2M, 5M")
    parser.add_argument("--block", type=int, default=1024)
    parser.add_argument("--order", choices=("raster", "random"), default="raster")
    parser.add_argument("--no-files", action="store_true", help="stop at the object tables")
    given = parser.parse_args()
    wanted = float(given.nuclei.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(given.nuclei[-1], 1.0)
    edge = int(np.ceil(np.sqrt(wanted / NUCLEI_PER_PATCH))) * PATCH_PX
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        run(2 * given.block, given.block, False, None if given.no_files else Path(first))  # compile
        before = peak_mb()
        stitcher, clock, carry = run(
            edge, given.block, given.order == "random", None if given.no_files else Path(second)
        )
    parts = {name: seconds for name, seconds in clock.spent.items() if name != "field"}
    cpu = sum(parts.values())
    print(
        f"{NucleiField((edge, edge)).count} nuclei on {edge} x {edge} px, blocks of {given.block}, {given.order} order"
    )
    print(" + ".join(f"{seconds:.1f} {name}" for name, seconds in parts.items()) + f" = {cpu:.1f} CPU-s")
    print(f"{stitcher.objects} objects, {stitcher.objects / cpu:.0f} cells/s/core, largest carry {carry / 1e6:.1f} MB")
    print(f"peak memory {before:.0f} -> {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
