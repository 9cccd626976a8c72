"""The tissue mask of a slide, in strips and on the whole picture at once: CPU time, memory, and whether they agree.

python -m tests.benchmarks.run_tissue slide.svs

Each runs in a process of its own. Memory is the peak, less what the process had before it held the overview; a second
line repeats the overview two by two, as a slide of twice the edge would have it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import scipy.ndimage  # noqa: F401  (its import is not what is measured)

from tests.tiling import whole_picture
from wsiparse.machine import peak_rss_bytes
from wsiparse.run.plan import OVERVIEW_MPP
from wsiparse.slides import open_slide, overview
from wsiparse.tiling import find_tissue


def one(path: Path, how: str, repeat: int) -> None:
    """Measure one way in this process, and print it as JSON."""
    before = peak_rss_bytes() or 0
    with open_slide(path) as slide:
        picture, frame = overview(slide, OVERVIEW_MPP)
    if repeat > 1:
        picture = np.tile(picture, (repeat, repeat, 1))
    began = time.process_time()
    found = {"strips": find_tissue, "whole": whole_picture.find_tissue}[how](picture, frame.mean_mpp)
    seconds = time.process_time() - began
    digest = hashlib.sha256(found.shares.tobytes() + np.packbits(found.artefacts).tobytes()).hexdigest()
    used = (peak_rss_bytes() or 0) - before
    print(json.dumps({"px": found.shares.size, "cpu_s": seconds, "mb": used / 1e6, "digest": digest}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("HOW", "REPEAT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.slide, given.one[0], int(given.one[1]))
        return
    for repeat in ("1", "2"):
        found = {}
        for how in ("whole", "strips"):
            command = [sys.executable, "-m", "tests.benchmarks.run_tissue", str(given.slide), "--one", how, repeat]
            found[how] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        ours, all_at_once = found["strips"], found["whole"]
        same = "same masks" if ours["digest"] == all_at_once["digest"] else "OTHER MASKS"
        print(
            f"{ours['px'] / 1e6:.1f} Mpx: strips {ours['cpu_s']:.1f} CPU-s, {ours['mb']:.0f} MB; at once "
            f"{all_at_once['cpu_s']:.1f} CPU-s, {all_at_once['mb']:.0f} MB; {same}",
            flush=True,
        )


if __name__ == "__main__":
    main()
