"""Reports of a cohort and of one large slide: time, size, memory.

    python -m tests.benchmarks.run_report --slides 200
    python -m tests.benchmarks.run_report --cells 1000000

The slides are made without a run (objects.zarr and report_inputs/ with known cells); making them is not timed.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.report.patterns import irregular_tissue
from tests.report.slides_made import CONNECTIVE, INFLAMMATORY, NEOPLASTIC, Content, tumour_slide, write_slide
from wsiparse.machine import peak_rss_bytes
from wsiparse.report.cohort import read_metadata, write_cohort_report
from wsiparse.report.slide import redo_slide_report


def cohort(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    made = []
    for k in range(count):
        content = tumour_slide(1.8, 1.8, k % 12, immune=tuple(random.uniform(50, 900, 2)))
        made.append(write_slide(folder, f"slide {k:03d}", content, seed=k))
    groups = "\n".join(f"slide {k:03d},P{k // 2},{'AB'[k // 2 % 2]}" for k in range(count))
    (folder / "patients.csv").write_text(f"slide,patient,group\n{groups}\n", encoding="utf-8")
    start = time.process_time()
    for slide in made:
        redo_slide_report(slide, None, None)
    each = (time.process_time() - start) / count
    start = time.process_time()
    write_cohort_report(folder, read_metadata(folder / "patients.csv"))
    together = time.process_time() - start
    page, table = (size_mb(folder / name) for name in ("report.html", "summary.csv"))
    pages = np.mean([size_mb(slide / "report.html") for slide in made])
    print(f"{count} slides: {each:.2f} CPU-s and {pages:.2f} MB a slide's page")
    print(f"cohort: {together:.2f} CPU-s, page {page:.2f} MB, summary.csv {table:.2f} MB")


def size_mb(path: Path) -> float:
    return path.stat().st_size / 1e6


def large(folder: Path, cells: int) -> None:
    edge = math.sqrt(cells / 2400.0 / 0.7)
    tissue = irregular_tissue(edge, edge, 1)
    random = np.random.default_rng(1)
    shares = {NEOPLASTIC: 0.4, INFLAMMATORY: 0.2, CONNECTIVE: 0.4}
    points = {}
    for k, share in shares.items():
        spread = random.uniform(0, 1, (round(cells * share * 2.2), 2)) * tissue.slide_um
        left = spread[:, 0] < tissue.slide_um[0] / 2
        kept = tissue.contains(spread) & (random.random(len(spread)) < np.where(left == (k == NEOPLASTIC), 1.0, 0.1))
        points[k] = spread[kept]
    made = write_slide(folder, "large", Content(tissue, points))
    before, start = peak_rss_bytes() or 0, time.process_time()
    numbers = redo_slide_report(made, None, None)
    took = time.process_time() - start
    n = sum(band["n"] for band in numbers["uncertainty"]["threshold"])
    page, peak = size_mb(made / "report.html"), (peak_rss_bytes() or 0) / 1e6
    names = ", ".join(numbers["compartments"]["names"])
    print(f"{n:,} cells on {tissue.area_mm2:.0f} mm2 ({names}): {took:.1f} CPU-s, page {page:.2f} MB")
    print(f"peak memory {before / 1e6:.0f} MB before, {peak:.0f} MB after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=0)
    parser.add_argument("--cells", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="make the cohort here and leave it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.slides:
            cohort(given.keep or Path(folder) / "cohort", given.slides)
        if given.cells:
            large(Path(folder) / "large", given.cells)


if __name__ == "__main__":
    main()
