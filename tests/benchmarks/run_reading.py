"""Reading all tissue of a slide from `big_slide`: CPU time of each reader against decoding every needed tile once.

    python -m tests.benchmarks.big_slide 40000 slide.svs
    python -m tests.benchmarks.run_reading slide.svs
    python -m tests.benchmarks.run_reading quarter.svs --mpp 0.5 --against openslide,tiffslide --sample 60

Boxes of 1024 px with 64 px overlap, row by row, of the scale asked for. The limit is to fetch each JPEG tile that they
touch with `os.pread` and to decode it once with imagecodecs, and nothing else. Every figure is of a process of its own,
the median of `--repeat` rounds in which all have their turn; CPU time is that of reading, without opening the slide and
compiling. Readers that are slow are measured on a sample of neighbouring boxes, and so are the direct reader and the
limit beside them.
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

import imagecodecs
import numpy as np
import tifffile

from tests.benchmarks.big_slide import TILE, tissue_tiles
from wsiparse.coords import Frame, frame_at
from wsiparse.schedule import map_ordered, peak_rss_bytes
from wsiparse.slides import Slide, open_slide, require_mpp
from wsiparse.types import Box

EDGE, OVERLAP = 1024, 64


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


def decode_once(path: Path, boxes: list[Box], frame: Frame, size: tuple[int, int], threads: int) -> tuple[float, float]:
    """The limit: CPU and wall seconds on some threads, and nothing is kept."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        offsets, counts, columns = page.dataoffsets, page.databytecounts, -(-page.imagewidth // TILE)
        tables = page.jpegtables
    needed = np.zeros((-(-size[1] // TILE), columns), np.bool_)
    for box in boxes:
        rows, across = touched(box, frame, size)
        needed[rows.start : rows.stop, across.start : across.stop] = True
    tiles = np.flatnonzero(needed).tolist()
    fd = os.open(path, os.O_RDONLY)

    def decode(some: list[int]) -> None:
        for k in some:
            imagecodecs.jpeg8_decode(
                os.pread(fd, counts[k], offsets[k]), tables=tables, colorspace="YCBCR", outcolorspace="RGB"
            )

    try:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in map_ordered(decode, [tiles[k : k + 16] for k in range(0, len(tiles), 16)], workers=threads):
            pass
        return time.process_time() - cpu, time.perf_counter() - wall
    finally:
        os.close(fd)


def read_all(slide: Slide, boxes: list[Box], frame: Frame, threads: int) -> tuple[float, float]:
    """CPU and wall seconds of reading boxes on some threads."""
    slide.read(Box(0, 0, 64, 64), frame)  # opened and compiled
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in map_ordered(lambda box: slide.read(box, frame).shape, boxes, workers=threads):
        pass
    return time.process_time() - cpu, time.perf_counter() - wall


def measure(path: Path, mpp: float | None, reader: str, threads: int, sample: int) -> dict[str, float]:
    """One figure, in this process."""
    with open_slide(path, reader="direct" if reader == "limit" else reader) as slide:
        own = require_mpp(slide)
        frame = frame_at(slide.size, own, mpp or own[0])
        boxes = tissue_boxes(slide.size, frame)
        if sample:
            first = max(0, (len(boxes) - sample) // 2)
            boxes = boxes[first : first + sample]
        if reader == "limit":
            cpu, wall = decode_once(path, boxes, frame, slide.size, threads)
        else:
            cpu, wall = read_all(slide, boxes, frame, threads)
    return {"boxes": len(boxes), "cpu": cpu, "wall": wall, "rss": peak_rss_bytes() or 0}


Runs = list[dict[str, float]]


def in_turn(given: argparse.Namespace, cases: list[tuple[str, int, int]]) -> list[Runs]:
    """Every case in turn and over again: a machine that others use is as fast for all cases of one round."""
    found: list[Runs] = [[] for _ in cases]
    for _ in range(given.repeat):
        for runs, (reader, threads, sample) in zip(found, cases, strict=True):
            arguments = ["--one", reader, "--threads", str(threads), "--sample", str(sample)]
            arguments += ["--mpp", str(given.mpp)] if given.mpp else []
            command = [sys.executable, "-m", "tests.benchmarks.run_reading", str(given.slide), *arguments]
            runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return found


def ratio(runs: Runs, others: Runs, key: str) -> str:
    """The median over the rounds, and the range."""
    values = [one[key] / other[key] for one, other in zip(runs, others, strict=True)]
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def cpu(runs: Runs) -> str:
    """The median of the rounds."""
    return f"{statistics.median(run['cpu'] for run in runs):7.2f} CPU-s"


def report(given: argparse.Namespace) -> None:
    """Print the whole slide first, then the sample with the slow readers."""
    cases = [(name, threads, 0) for threads in (1, given.threads) for name in ("limit", "direct")]
    limit, one, limit_many, many = in_turn(given, cases)
    most = [max(run["rss"] for run in runs) / 1e6 for runs in (one, many)]
    print(f"{given.slide}: all {one[0]['boxes']:.0f} boxes of tissue; median and range of {given.repeat} rounds")
    print(f"  limit     {cpu(limit)}")
    print(f"  direct    {cpu(one)} = {ratio(one, limit, 'cpu')} of the limit, {most[0]:.0f} MB")
    print(
        f"  {given.threads} threads {cpu(many)}, {ratio(one, many, 'wall')} times as fast, {most[1]:.0f} MB; "
        f"the limit {ratio(limit, limit_many, 'wall')} times"
    )
    slow = [name for name in given.against.split(",") if name]
    if not slow:
        return
    limit, direct, *others = in_turn(given, [(name, 1, given.sample) for name in ("limit", "direct", *slow)])
    print(f"a sample of {direct[0]['boxes']:.0f} of them")
    print(f"  limit     {cpu(limit)}")
    print(f"  direct    {cpu(direct)} = {ratio(direct, limit, 'cpu')} of the limit")
    for name, other in zip(slow, others, strict=True):
        print(f"  {name:<9} {cpu(other)} = {ratio(other, direct, 'cpu')} of direct")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpp", type=float, help="um per px to read at; level 0 without")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--against", default="openslide,tiffslide")
    parser.add_argument("--sample", type=int, default=60, help="boxes for the slow readers")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a figure, in the process that is to be measured
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.slide, given.mpp, given.one, given.threads, given.sample)))
    else:
        report(given)


if __name__ == "__main__":
    main()
