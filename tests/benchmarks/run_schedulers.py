"""The same slide by several schedulers: wall time, CPU time, memory of all processes, and whether the bytes agree.

    python -m tests.benchmarks.run_schedulers slide.svs --scheduler serial --scheduler "local -n 2" -- --engine embedded

Cores share caches, memory and clock, so two processes that know nothing of each other are not twice as fast as one.
`--beside N` tells what the machine allows: N serial runs at once, each with results of its own.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from tests.hpc.runs import command, digests, environment


def measured(*runs: list[str]) -> tuple[float, float, int, int]:
    """Wall seconds, CPU seconds of all processes, peak memory of the largest and of all together, bytes."""
    began = time.monotonic()
    started = [subprocess.Popen(command(*run), env=environment(), stdout=subprocess.DEVNULL) for run in runs]
    cpu: dict[int, float] = {}
    largest = together = 0
    while any(process.poll() is None for process in started):
        sizes = []
        for process in started:
            try:
                tree = psutil.Process(process.pid)
                for member in [tree, *tree.children(recursive=True)]:
                    times = member.cpu_times()
                    cpu[member.pid] = times.user + times.system
                    sizes.append(member.memory_full_info().pss)
            except psutil.NoSuchProcess:
                pass
        largest, together = max([largest, *sizes]), max(together, sum(sizes))
        time.sleep(1.0)  # asking for memory holds the processes up
    for process in started:
        if process.returncode:
            raise SystemExit(f"the run ended with {process.returncode}")
    return time.monotonic() - began, sum(cpu.values()), largest, together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("--scheduler", action="append", required=True, help='such as "local -n 2"; repeatable')
    parser.add_argument("--beside", type=int, default=0, metavar="N", help="also N serial runs at once")
    given, rest = parser.parse_known_args()
    options = [text for text in rest if text != "--"]  # passed on to wsiparse run
    first: dict[str, str] | None = None
    base = 0.0
    for scheduler in given.scheduler:
        folder = Path(tempfile.mkdtemp(prefix="schedulers-", dir=given.slide.parent))
        try:
            run = ["run", str(given.slide), "-o", str(folder), "--scheduler", *scheduler.split(), *options]
            wall, cpu, largest, together = measured(run)
            found = digests(folder)
        finally:
            shutil.rmtree(folder)
        same = "" if first is None else ("  same bytes" if found == first else "  OTHER BYTES")
        first, base = first or found, base or wall
        print(
            f"{scheduler:<16} {wall:8.1f} s wall  {cpu:8.1f} CPU-s  {base / wall:5.2f}x  "
            f"largest process {largest / 1e6:6.0f} MB, all {together / 1e6:6.0f} MB{same}",
            flush=True,
        )
    if given.beside:
        with tempfile.TemporaryDirectory(prefix="schedulers-", dir=given.slide.parent) as name:
            run = ["run", str(given.slide), "--scheduler", "serial", *options, "-o"]
            wall, cpu, *_ = measured(*([*run, f"{name}/{k}"] for k in range(given.beside)))
        print(
            f"{given.beside} serial at once {wall:8.1f} s wall  {cpu:8.1f} CPU-s  {given.beside * base / wall:5.2f}x "
            "the work of the first in its time: what the machine allows"
        )


if __name__ == "__main__":
    main()
