"""The missing chunks of one slide computed: by threads of this process, or by the workers of a cluster."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

from wsiparse.machine import return_idle_memory
from wsiparse.parallel.dask import DaskExecutor, Executor, LocalExecutor
from wsiparse.parallel.threads import Waits
from wsiparse.run.chunk_status import ChunkStatus
from wsiparse.run.chunks import Chunk, fill_chunks
from wsiparse.run.engine import Engine
from wsiparse.run.state import SlideRun
from wsiparse.run.tiles import TileWork
from wsiparse.run.worker import FillTask, fill_on_worker

__all__ = ["MissingChunks", "SlideSource", "fill", "filling"]

log = logging.getLogger("wsiparse")


@dataclass(frozen=True, slots=True)
class SlideSource:
    """What workers must know to open the slide themselves.

    Parameters
    ----------
    source : where it is read
    slide_mpp, override_mpp : microns per level-0 px, where told
    image : of a file of several, where told
    run : identifies the run
    rank : of the slide in the run; earlier slides go first
    """

    source: Path
    slide_mpp: float | None
    override_mpp: float | None
    image: str | None
    run: str
    rank: int


@dataclass(frozen=True, slots=True)
class MissingChunks:
    """Chunks of a slide to compute.

    Parameters
    ----------
    slide_run : the slide
    engine : its networks
    executor : who recognises tiles
    chunks : with the number of their pass
    status : is told of each that is done, and knows whether they are still wanted
    source : for workers elsewhere
    """

    slide_run: SlideRun
    engine: Engine
    executor: Executor
    chunks: list[tuple[int, Chunk]]
    status: ChunkStatus
    source: SlideSource


def fill(missing: MissingChunks) -> None:
    """Have every missing chunk computed, announcing each; returns early when nobody wants them any more.

    Raises
    ------
    WsiparseError
        If a chunk cannot be computed or written.
    """
    waits = Waits()
    if isinstance(missing.executor, DaskExecutor):
        _fill_elsewhere(missing, missing.executor, waits)
    else:
        _fill_here(missing, missing.executor, waits)
    if missing.chunks:
        log.info("%s", waits)


@contextmanager
def filling(missing: MissingChunks) -> Iterator[None]:
    """The missing chunks are computed while the block runs, or before it by an executor that does one at a time.

    An error of theirs is raised where the chunks are awaited.
    """
    if isinstance(missing.executor, LocalExecutor) and not missing.executor.overlap:
        fill(missing)
        return_idle_memory()
        yield
        return

    def beside() -> None:
        try:
            fill(missing)
        except BaseException as err:  # noqa: BLE001  (raised again where the chunks are awaited)
            missing.status.fail(err)

    thread = threading.Thread(target=copy_context().run, args=(beside,), name="wsiparse-fill")
    thread.start()
    try:
        yield
    finally:
        missing.status.unwanted.set()
        thread.join()


def _fill_elsewhere(missing: MissingChunks, executor: DaskExecutor, waits: Waits) -> None:
    tasks = _tasks(missing)
    done = executor.unordered(fill_on_worker, tasks, priority=-missing.source.rank, stop=missing.status.unwanted)
    n = sum(len(task.chunk.indices) for task in tasks)
    with closing(done), missing.slide_run.progress.stage("recognise", n, "tiles") as stage:
        for task, filled in done:
            for tile in filled.lost:
                log.warning("tile %d unreadable: %s", tile.index, tile.reason)
            waits.add(filled.waited_s, filled.worked_s)
            missing.status.announce(task.chunk, filled.lost)
            stage.advance(len(task.chunk.indices))


def _fill_here(missing: MissingChunks, executor: LocalExecutor, waits: Waits) -> None:
    slide_run, unwanted = missing.slide_run, missing.status.unwanted
    readers = executor.workers if executor.overlap else 0
    how = TileWork(executor.workers, readers, slide_run.config.batch_size, slide_run.progress, waits)
    for k, scale_pass in enumerate(slide_run.prepared.passes):
        own = [chunk for of, chunk in missing.chunks if of == k]
        if not own:
            continue
        recognizer = missing.engine.recognizers.of(scale_pass.scale.spec)
        for chunk, lost in fill_chunks(slide_run.slide, scale_pass, recognizer, own, how, stop=unwanted.is_set):
            missing.status.announce(chunk, lost)
        if unwanted.is_set():
            return


def _tasks(missing: MissingChunks) -> list[FillTask]:
    slide_run, source = missing.slide_run, missing.source
    passes = slide_run.prepared.passes
    digests = [p.plan.digest() for p in passes]
    return [
        FillTask(
            source=source.source.absolute(),
            slide_mpp=source.slide_mpp,
            override_mpp=source.override_mpp,
            reader=slide_run.config.reader,
            image=source.image,
            scale=passes[k].scale,
            plan=slide_run.work / f"scale-{k}" / "plan.json",
            plan_digest=digests[k],
            chunk=chunk,
            batch=slide_run.config.batch_size,
            run=source.run,
        )
        for k, chunk in missing.chunks
    ]
