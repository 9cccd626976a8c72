"""The same slide by several schedulers: wall time, CPU time, memory of all processes, and whether the bytes agree.

python -m tests.benchmarks.run_schedulers slide.svs --scheduler serial --scheduler "local -n 2" -- --engine embedded
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


def measured(arguments: list[str]) -> tuple[float, float, int, int]:
    """Wall seconds, CPU seconds of all processes, peak memory of the largest and of all together, bytes."""
    began = time.monotonic()
    process = subprocess.Popen(command(*arguments), env=environment(), stdout=subprocess.DEVNULL)
    tree = psutil.Process(process.pid)
    cpu: dict[int, float] = {}
    largest = together = 0
    while process.poll() is None:
        sizes = []
        try:
            for member in [tree, *tree.children(recursive=True)]:
                times = member.cpu_times()
                cpu[member.pid] = times.user + times.system
                sizes.append(member.memory_full_info().pss)
        except psutil.NoSuchProcess:
            pass
        largest, together = max([largest, *sizes]), max(together, sum(sizes))
        time.sleep(1.0)  # asking for memory holds the processes up
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}")
    return time.monotonic() - began, sum(cpu.values()), largest, together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("--scheduler", action="append", required=True, help='such as "local -n 2"; repeatable')
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


if __name__ == "__main__":
    main()
