"""What the scheduler itself costs: chunks that need no work, handed to workers and back.

    python -m tests.benchmarks.run_overhead --workers 2 --chunks 2000

The pieces of work are those of a run (64 tiles each, path of the plan, engine's settings), and come back as those of a
run do; all that is left out is the work. Wall and CPU time of this process and of the scheduler in it, for each tile.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from wsiparse.config import RunConfig
from wsiparse.parallel.dask import DaskExecutor, open_executor
from wsiparse.results.folder import CHUNK_TILES
from wsiparse.run.chunks import chunks_of
from wsiparse.run.engine import Engine
from wsiparse.run.worker import FilledChunk, FillTask


def nothing(_: object, task: FillTask, __: int) -> FilledChunk:
    """What a worker gives back of a chunk without unreadable tiles."""
    del task
    return FilledChunk([])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunks", type=int, default=2000)
    given = parser.parse_args()
    scale = Engine(RunConfig(engine="embedded")).scales[0]
    folder = Path("work") / "scale-0"
    tasks = [
        FillTask(Path("slide.svs"), None, None, "auto", scale, folder / "plan.json", "0" * 64, chunk, 1, "run")
        for chunk in chunks_of(folder, range(given.chunks * CHUNK_TILES))
    ]
    with open_executor("local", given.workers, dict) as executor:
        assert isinstance(executor, DaskExecutor)
        for _ in executor.unordered(nothing, tasks[:50]):  # connections and imports
            pass
        wall, cpu = time.perf_counter(), time.process_time()
        done = sum(1 for _ in executor.unordered(nothing, tasks))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    tiles = done * CHUNK_TILES
    print(
        f"{done} chunks of {CHUNK_TILES} tiles, {given.workers} workers: {1e3 * wall / done:.2f} ms wall, "
        f"{1e3 * cpu / done:.2f} ms CPU a chunk; {1e6 * wall / tiles:.0f} and {1e6 * cpu / tiles:.0f} us a tile"
    )


if __name__ == "__main__":
    main()
