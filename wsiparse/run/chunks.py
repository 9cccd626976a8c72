"""The field of a pass on disk: published chunk by chunk, so that an interrupted run goes on where it was.

Which tiles make a chunk depends on the plan alone. A chunk under way is put aside now and then, and when its run is
stopped: the next run begins with the tiles in it and publishes the same part.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from wsiparse.atomic import publish, sha256_file
from wsiparse.errors import OutputError
from wsiparse.field.store import PartReader, PartWriter
from wsiparse.field.tiles import FieldTile
from wsiparse.machine import return_idle_memory
from wsiparse.recognize.base import Recognizer
from wsiparse.results.folder import CHUNK_TILES, write_text
from wsiparse.run.plan import Pass
from wsiparse.run.tiles import TileWork, recognise
from wsiparse.slides import Slide
from wsiparse.types import Box, Unreadable

__all__ = ["SAVE_S", "Chunk", "chunks_of", "fill_chunks", "give_up_chunk"]


#: Seconds of work on a chunk after which it is put aside: the most that a killed process loses.
SAVE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of kept tiles that is published as one part, with a sidecar that proves it whole."""

    part: Path
    indices: tuple[int, ...]

    @property
    def sidecar(self) -> Path:
        """The file that tells the part's tiles, size and sha256."""
        return self.part.with_suffix(".json")

    @property
    def aside(self) -> Chunk:
        """Where the first tiles of it wait while it is under way; which of them, its sidecar tells."""
        part = self.part.with_name(self.part.name.replace("part-", "some-", 1))
        try:
            told = json.loads(part.with_suffix(".json").read_text(encoding="utf-8"))["tiles"]
            n = len(told)
        except (OSError, ValueError, KeyError, TypeError):
            n = 0
        return Chunk(part, self.indices[:n])

    def remove(self) -> None:
        """Remove part and sidecar; whether they can be is nobody's concern."""
        for path in (self.sidecar, self.part):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def unreadable(self) -> list[Unreadable] | None:
        """The tiles this published part lacks, or None when the part is absent or torn."""
        try:
            facts = json.loads(self.sidecar.read_text(encoding="utf-8"))
            if facts["tiles"] != list(self.indices) or facts["bytes"] != self.part.stat().st_size:
                return None
            if facts["sha256"] != sha256_file(self.part):
                return None
            return [Unreadable(u["index"], Box(**u["core"]), u["reason"]) for u in facts["unreadable"]]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None


def chunks_of(folder: Path, kept: Sequence[int]) -> list[Chunk]:
    """The kept tiles of a pass cut into chunks, with their parts in `folder`."""
    return [
        Chunk(folder / f"part-{k // CHUNK_TILES:06d}.zip", tuple(kept[k : k + CHUNK_TILES]))
        for k in range(0, len(kept), CHUNK_TILES)
    ]


def fill_chunks(
    slide: Slide,
    scale_pass: Pass,
    recognizer: Recognizer,
    chunks: Sequence[Chunk],
    how: TileWork,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[tuple[Chunk, list[Unreadable]]]:
    """Compute and publish chunks in order, yielding each with its unreadable tiles once it is on disk.

    The tiles of all chunks flow through the same threads without a pause at the end of a chunk, read by others ahead of
    them (see `wsiparse.run.tiles.recognise`). When `stop` says so, or an error ends the
    work, the chunk under way is put aside.

    Parameters
    ----------
    chunks : to compute, in this order
    how : on how many threads, and how many tiles at once
    stop : see above
    """
    n_regions = len(scale_pass.scale.spec.prompts.of_kind("region"))
    kept = {chunk: aside for chunk in chunks if (aside := chunk.aside).indices and aside.unreadable() == []}
    indices = [i for chunk in chunks for i in chunk.indices[len(kept[chunk].indices) if chunk in kept else 0 :]]
    found = recognise(slide, scale_pass, recognizer, indices, how)
    cores: list[FieldTile] = []  # beyond the chunk under way: batches do not end where chunks do
    lost: list[Unreadable] = []
    with closing(found):
        for chunk in chunks:
            mine, gone = set(chunk.indices), list[Unreadable]()
            part = PartWriter(scale_pass.plan.grid, n_regions, len(mine))
            if chunk in kept:
                _add_all(part, kept[chunk], scale_pass)
            saved = time.monotonic()
            try:
                while True:
                    for tile in [t for t in cores if t.index in mine]:
                        part.add(tile)
                    gone += [u for u in lost if u.index in mine]
                    cores = [t for t in cores if t.index not in mine]
                    lost = [u for u in lost if u.index not in mine]
                    if len(part) + len(gone) == len(mine):
                        break
                    if stop():
                        return
                    if time.monotonic() - saved >= SAVE_S:
                        _put_aside(chunk, part, gone)
                        saved = time.monotonic()
                    more_cores, more_lost = next(found)
                    cores += more_cores
                    lost += more_lost
            finally:
                if len(part) + len(gone) < len(mine):
                    with suppress(OutputError):  # of the error that led here
                        _put_aside(chunk, part, gone)
            _publish(chunk, part, gone)
            chunk.aside.remove()
            if len(mine) == CHUNK_TILES:  # or what lies idle between blocks in use grows with the tiles
                return_idle_memory()
            yield chunk, gone
        for _ in found:  # closes its stage
            raise AssertionError("more tiles came back than were asked for")


def give_up_chunk(scale_pass: Pass, chunk: Chunk, reason: str) -> list[Unreadable]:
    """Publish a chunk none of whose tiles could be computed; returns them."""
    gone = [Unreadable(i, scale_pass.plan.grid[i].core, reason) for i in chunk.indices]
    _publish(chunk, PartWriter(scale_pass.plan.grid, len(scale_pass.scale.spec.prompts.of_kind("region")), 0), gone)
    return gone


def _add_all(part: PartWriter, aside: Chunk, scale_pass: Pass) -> None:
    reader = PartReader(aside.part, scale_pass.plan.grid)
    try:
        for index in aside.indices:
            tile = reader.tile(index)
            assert tile is not None, "nothing is put aside of a chunk with unreadable tiles"
            part.add(tile)
    finally:
        reader.close()


def _put_aside(chunk: Chunk, part: PartWriter, lost: list[Unreadable]) -> None:
    """Keep what there is of a chunk under way.

    Not of one with unreadable tiles: its other tiles may have been read without their context.
    """
    aside = chunk.aside
    if lost:
        aside.remove()
    elif len(part) > len(aside.indices):
        _publish(Chunk(aside.part, chunk.indices[: len(part)]), part.so_far(), [])


def _publish(chunk: Chunk, part: PartWriter, lost: list[Unreadable]) -> None:
    with publish(chunk.part) as temporary:
        part.write(temporary)
        facts = {
            "tiles": list(chunk.indices),
            "bytes": temporary.stat().st_size,
            "sha256": sha256_file(temporary),
            "unreadable": [asdict(u) for u in lost],
        }
    write_text(chunk.sidecar, json.dumps(facts))
