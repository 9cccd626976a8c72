"""Reading all tissue of a slide from `big_slide`: CPU time of each reader against decoding every needed tile once.

    python -m tests.benchmarks.big_slide 40000 slide.svs
    python -m tests.benchmarks.run_reading slide.svs
    python -m tests.benchmarks.run_reading quarter.svs --mpp 0.5 --against openslide,tiffslide --sample 60

Boxes of 1024 px with 64 px overlap, row by row, of the scale asked for. The limit is to fetch each JPEG tile that they
touch with `os.pread` and to decode it once with imagecodecs, and nothing else. A round is a process that goes through
the boxes some at a time, every reader and number of threads in turn: a machine that others use changes its speed by the
second, and so does it for all of them. Figures are of whole rounds, the median of `--repeat` of them; CPU time is that
of reading, without opening the slide and compiling. Readers that are slow are measured on a sample of neighbouring
boxes, and so are the direct reader and the limit beside them. Memory is that of processes which read with one reader.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from tests.benchmarks.big_slide import TILE, tissue_tiles
from wsiparse.coords import Frame, frame_at
from wsiparse.machine import peak_rss_bytes
from wsiparse.parallel.threads import map_ordered
from wsiparse.slides import open_slide, require_mpp
from wsiparse.types import Box

EDGE, OVERLAP = 1024, 64
#: Boxes that a reader reads before the next has its turn.
PIECE = 100


def tissue_boxes(size: tuple[int, int], frame: Frame) -> list[Box]:
    """The boxes that touch tissue, in raster order, px of the frame, past whose edge the last ones reach."""
    tissue = tissue_tiles(size[1] // TILE, size[0] // TILE)
    boxes = []
    for y in range(0, frame.size[1] - OVERLAP, EDGE - OVERLAP):
        for x in range(0, frame.size[0] - OVERLAP, EDGE - OVERLAP):
            rows, columns = touched(Box(x, y, EDGE, EDGE), frame, size)
            if tissue[rows.start : rows.stop, columns.start : columns.stop].any():
                boxes.append(Box(x, y, EDGE, EDGE))
    return boxes


def touched(box: Box, frame: Frame, size: tuple[int, int]) -> tuple[range, range]:
    """Rows and columns of level-0 tiles under a box."""
    (fx, fy), (width, height) = frame.downsample, size
    rows = range(int(box.y * fy) // TILE, -(-min(height, round(box.y1 * fy)) // TILE))
    return rows, range(int(box.x * fx) // TILE, -(-min(width, round(box.x1 * fx)) // TILE))


class Limit:
    """Fetches and decodes each tile of level 0 that boxes touch, and keeps nothing."""

    def __init__(self, path: Path, frame: Frame, size: tuple[int, int], threads: int) -> None:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            self.offsets, self.counts, self.tables = page.dataoffsets, page.databytecounts, page.jpegtables
        self.frame, self.size, self.threads = frame, size, threads
        self.done = np.zeros((-(-size[1] // TILE), -(-size[0] // TILE)), np.bool_)
        self.fd = os.open(path, os.O_RDONLY)

    def decode(self, tiles: list[int]) -> None:
        """Some tiles, by their number."""
        for k in tiles:
            imagecodecs.jpeg8_decode(
                os.pread(self.fd, self.counts[k], self.offsets[k]),
                tables=self.tables,
                colorspace="YCBCR",
                outcolorspace="RGB",
            )

    def __call__(self, boxes: list[Box]) -> None:
        needed = np.zeros_like(self.done)
        for box in boxes:
            rows, across = touched(box, self.frame, self.size)
            needed[rows.start : rows.stop, across.start : across.stop] = True
        tiles = np.flatnonzero(needed & ~self.done).tolist()
        self.done |= needed
        for _ in map_ordered(self.decode, [tiles[k : k + 16] for k in range(0, len(tiles), 16)], workers=self.threads):
            pass


class Reader:
    """Reads boxes with a slide of its own."""

    def __init__(self, path: Path, frame: Frame, name: str, threads: int) -> None:
        self.slide, self.frame, self.threads = open_slide(path, reader=name), frame, threads
        self.slide.read(Box(0, 0, 64, 64), frame)  # opened and compiled

    def __call__(self, boxes: list[Box]) -> None:
        for _ in map_ordered(lambda box: self.slide.read(box, self.frame).shape, boxes, workers=self.threads):
            pass


Case = tuple[str, int]


def measure(path: Path, mpp: float | None, cases: list[Case], sample: int) -> dict[str, float | list[list[float]]]:
    """CPU and wall seconds of each case, (name, threads), in this process; and how many boxes, and the peak memory."""
    with open_slide(path, reader="direct") as slide:
        own, size = require_mpp(slide), slide.size
    frame = frame_at(size, own, mpp or own[0])
    boxes = tissue_boxes(size, frame)
    if sample:
        first = max(0, (len(boxes) - sample) // 2)
        boxes = boxes[first : first + sample]
    readers = [
        Limit(path, frame, size, threads) if name == "limit" else Reader(path, frame, name, threads)
        for name, threads in cases
    ]
    spent = [[0.0, 0.0] for _ in cases]
    for start in range(0, len(boxes), PIECE):
        turn = start // PIECE % len(cases)  # nobody always comes after the same
        for k in [*range(turn, len(cases)), *range(turn)]:
            cpu, wall = time.process_time(), time.perf_counter()
            readers[k](boxes[start : start + PIECE])
            spent[k][0] += time.process_time() - cpu
            spent[k][1] += time.perf_counter() - wall
    return {"boxes": len(boxes), "spent": spent, "rss": peak_rss_bytes() or 0}


def rounds(given: argparse.Namespace, cases: list[Case], sample: int, repeat: int) -> list[dict[str, Any]]:
    """Some rounds, each in a process of its own."""
    arguments = ["--cases", ",".join(f"{name}:{threads}" for name, threads in cases), "--sample", str(sample)]
    arguments += ["--mpp", str(given.mpp)] if given.mpp else []
    command = [sys.executable, "-m", "tests.benchmarks.run_reading", str(given.slide), *arguments]
    return [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(repeat)
    ]


def ratio(found: list[dict[str, Any]], one: int, other: int, which: int) -> str:
    """Case `one` by case `other`, CPU (0) or wall time (1): the median over the rounds, and the range."""
    values = [round_["spent"][one][which] / round_["spent"][other][which] for round_ in found]
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def cpu(found: list[dict[str, Any]], case: int) -> str:
    """The median of the rounds."""
    return f"{statistics.median(round_['spent'][case][0] for round_ in found):7.2f} CPU-s"


def report(given: argparse.Namespace) -> None:
    """Print the whole slide first, then the sample with the slow readers."""
    many = given.threads
    found = rounds(given, [("limit", 1), ("direct", 1), ("limit", many), ("direct", many)], 0, given.repeat)
    most = [rounds(given, [("direct", threads)], 0, 1)[0]["rss"] / 1e6 for threads in (1, many)]
    print(f"{given.slide}: all {found[0]['boxes']} boxes of tissue; median and range of {given.repeat} rounds")
    print(f"  limit     {cpu(found, 0)}")
    print(f"  direct    {cpu(found, 1)} = {ratio(found, 1, 0, 0)} of the limit, {most[0]:.0f} MB")
    print(
        f"  {many} threads {cpu(found, 3)}, {ratio(found, 1, 3, 1)} times as fast, {most[1]:.0f} MB; "
        f"the limit {ratio(found, 0, 2, 1)} times"
    )
    slow = [name for name in given.against.split(",") if name]
    if not slow:
        return
    found = rounds(given, [(name, 1) for name in ("limit", "direct", *slow)], given.sample, given.repeat)
    print(f"a sample of {found[0]['boxes']} of them")
    print(f"  limit     {cpu(found, 0)}")
    print(f"  direct    {cpu(found, 1)} = {ratio(found, 1, 0, 0)} of the limit")
    for k, name in enumerate(slow, 2):
        print(f"  {name:<9} {cpu(found, k)} = {ratio(found, k, 1, 0)} of direct")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpp", type=float, help="um per px to read at; level 0 without")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--against", default="openslide,tiffslide")
    parser.add_argument("--sample", type=int, default=60, help="boxes for the slow readers")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cases", help=argparse.SUPPRESS)  # a round, in the process that is to be measured
    given = parser.parse_args()
    if given.cases:
        cases = [(name, int(threads)) for name, threads in (case.split(":") for case in given.cases.split(","))]
        print(json.dumps(measure(given.slide, given.mpp, cases, given.sample)))
    else:
        report(given)


if __name__ == "__main__":
    main()
