"""A chunk computed in a worker process: what is sent, what the worker keeps, and which chunks it refuses.

A worker opens the slide itself and loads the network once. A task is a few strings and tile indices; what comes back
names the tiles that could not be read.

Before it begins a chunk, a worker leaves a mark beside the part; it takes the mark away when the chunk is done. A mark
that is still there tells that the chunk was under way when a worker process ended (out of memory, a crash in a
library), as no count kept in a process could. A chunk that has ended `MAX_DEATHS` processes of a run is given up: its
tiles count as unreadable, and the slide goes on.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsiparse.atomic import output_error
from wsiparse.errors import OutputError, SlideError
from wsiparse.parallel.progress import Quiet
from wsiparse.parallel.threads import Waits
from wsiparse.run.chunks import Chunk, fill_chunks, give_up_chunk
from wsiparse.run.engine import Recognizers, Scale
from wsiparse.run.plan import Pass
from wsiparse.run.tiles import TileWork
from wsiparse.slides import Slide, open_slide
from wsiparse.tiling import TilePlan
from wsiparse.types import Unreadable

__all__ = ["MAX_DEATHS", "FillTask", "FilledChunk", "Workplace", "fill_on_worker"]

MAX_DEATHS: Final = 2

#: How a slide was opened: its file, pixel sizes, reader and image.
_Opened = tuple[Path, float | None, float | None, str, str | None]


@dataclass(frozen=True, slots=True)
class FillTask:
    """One chunk for a worker.

    Parameters
    ----------
    source : the slide's file, as the worker sees it
    slide_mpp, override_mpp, reader, image : how it is opened
    scale : prompts and engine of the pass
    plan : JSON file of the tile plan
    plan_digest : of that plan
    chunk : part to write and its tiles
    batch : tiles the network sees at once
    run : identifies the run, so that marks of older runs do not count
    """

    source: Path
    slide_mpp: float | None
    override_mpp: float | None
    reader: str
    image: str | None
    scale: Scale
    plan: Path
    plan_digest: str
    chunk: Chunk
    batch: int
    run: str


class Workplace:
    """What a worker process keeps from task to task: the networks, the last slides and their plans."""

    def __init__(self) -> None:
        self.recognizers = Recognizers()
        self._lock = threading.Lock()
        self._slides: OrderedDict[_Opened, tuple[Slide, list[int]]] = OrderedDict()
        self._plans: OrderedDict[str, TilePlan] = OrderedDict()

    @contextmanager
    def slide(self, task: FillTask) -> Iterator[Slide]:
        """The task's slide, open; the last two stay open."""
        key = (task.source, task.slide_mpp, task.override_mpp, task.reader, task.image)
        with self._lock:
            if key not in self._slides:
                slide = open_slide(
                    task.source,
                    slide_mpp=task.slide_mpp,
                    override_mpp=task.override_mpp,
                    reader=task.reader,
                    image=task.image,
                )
                self._slides[key] = (slide, [0])
            self._slides.move_to_end(key)
            slide, users = self._slides[key]
            users[0] += 1
            for old in [k for k, (_, n) in self._slides.items() if not n[0]][: max(0, len(self._slides) - 2)]:
                self._slides.pop(old)[0].close()
        try:
            yield slide
        finally:
            with self._lock:
                users[0] -= 1

    def plan(self, task: FillTask) -> TilePlan:
        """The task's tile plan; the last two are kept.

        Raises
        ------
        OutputError
            If the plan file is missing or is not the plan that was sent.
        """
        with self._lock:
            if task.plan_digest not in self._plans:
                try:
                    plan = TilePlan.from_json(task.plan.read_text(encoding="utf-8"))
                except OSError as err:
                    raise output_error(task.plan, err, "read") from err
                if plan.digest() != task.plan_digest:
                    raise OutputError(f"{task.plan}: is not the plan of this run. Run the same command again.")
                self._plans[task.plan_digest] = plan
                while len(self._plans) > 2:
                    self._plans.popitem(last=False)
            return self._plans[task.plan_digest]


@dataclass(frozen=True, slots=True)
class FilledChunk:
    """What a worker says about a chunk.

    Parameters
    ----------
    lost : its unreadable tiles
    waited_s, worked_s : thread-seconds spent waiting for pixels, and recognising
    """

    lost: list[Unreadable]
    waited_s: float = 0.0
    worked_s: float = 0.0


def fill_on_worker(place: Workplace, task: FillTask, threads: int) -> FilledChunk:
    """Compute and publish one chunk.

    Raises
    ------
    WsiparseError
        If the slide, the network or the results folder cannot be used from this worker.
    """
    try:
        return _fill(place, task, threads)
    except SlideError as err:
        raise type(err)(f"{err} (on worker {socket.gethostname()})") from err


def _fill(place: Workplace, task: FillTask, threads: int) -> FilledChunk:
    scale_pass = Pass(task.scale, place.plan(task))
    mark = task.chunk.part.with_suffix(".begun")
    deaths = _deaths(mark, task.run)
    if deaths >= MAX_DEATHS:
        reason = f"computing its chunk ended a worker process {deaths} times (out of memory, or a crash in a library)"
        lost = give_up_chunk(scale_pass, task.chunk, reason)
        mark.unlink(missing_ok=True)
        return FilledChunk(lost)
    try:
        mark.write_text(json.dumps({"run": task.run, "deaths": deaths + 1}), encoding="utf-8")
    except OSError as err:
        raise output_error(mark, err) from err
    waits = Waits()
    try:
        with place.slide(task) as slide:
            if slide.fingerprint != scale_pass.plan.fingerprint:
                raise SlideError(
                    f"{task.source}: is not the slide that was planned. Run it again when nobody writes to it."
                )
            filled = fill_chunks(
                slide,
                scale_pass,
                place.recognizers.of(scale_pass.scale.spec),
                [task.chunk],
                TileWork(threads, threads, task.batch, Quiet(), waits),
            )
            [(_, lost)] = filled
            return FilledChunk(lost, waits.waited_s, waits.worked_s)
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)


def _deaths(mark: Path, run: str) -> int:
    """How many processes of this run ended while they computed a chunk."""
    try:
        facts = json.loads(mark.read_text(encoding="utf-8"))
        return int(facts["deaths"]) if facts["run"] == run else 0
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return 0
