"""Which chunks of a slide are on disk: told by whoever computes them, awaited by whoever makes objects of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from wsiparse.run.chunks import Chunk
from wsiparse.types import Box, TileGrid, Unreadable

__all__ = ["ChunkStatus"]

#: Seconds between looks at the signals of the process while waiting.
_LOOK_S = 0.5


class ChunkStatus:
    """Published chunks of all passes of a slide. Safe to use from several threads.

    Parameters
    ----------
    chunks : those of each pass
    """

    def __init__(self, chunks: Sequence[Sequence[Chunk]]) -> None:
        self.chunks = [list(own) for own in chunks]
        self._owner = [{i: chunk for chunk in own for i in chunk.indices} for own in self.chunks]
        self._lost: dict[Chunk, list[Unreadable]] = {}
        self._news = threading.Condition()
        self._failure: BaseException | None = None
        #: Set when nobody waits any more: whoever computes may stop.
        self.unwanted = threading.Event()

    def announce(self, chunk: Chunk, lost: list[Unreadable]) -> None:
        """A chunk is on disk, but for these tiles."""
        with self._news:
            self._lost[chunk] = lost
            self._news.notify_all()

    def fail(self, error: BaseException) -> None:
        """No more chunks will come; waiting raises `error`."""
        with self._news:
            self._failure = error
            self._news.notify_all()

    def wait(self, chunks: Iterable[Chunk]) -> None:
        """Return once all these chunks are on disk."""
        for chunk in chunks:
            with self._news:
                while chunk not in self._lost:
                    if self._failure is not None:
                        raise self._failure
                    self._news.wait(_LOOK_S)

    def wait_for_box(self, k: int, grid: TileGrid, box: Box) -> None:
        """Return once every kept tile of pass `k` that meets a box, field px, is on disk."""
        s = grid.stride
        rows = range(box.y // s, (box.y1 - 1) // s + 1)
        columns = range(box.x // s, (box.x1 - 1) // s + 1)
        owners = (self._owner[k].get(row * grid.columns + column) for row in rows for column in columns)
        self.wait(dict.fromkeys(chunk for chunk in owners if chunk is not None))

    def lost(self, k: int) -> list[Unreadable]:
        """Unreadable tiles of pass `k`, by index; waits for the whole pass."""
        self.wait(self.chunks[k])
        return sorted((u for chunk in self.chunks[k] for u in self._lost[chunk]), key=lambda u: u.index)
