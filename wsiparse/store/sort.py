"""Finished objects on disk, in order of arrival; sorted on the way out.

The stitcher finishes objects in an order that depends on which block arrived when. The sorter takes them as they come,
in bounded memory, and hands them back in raster order of the first pixel whatever the order they came in. They wait in
one file of records: the columns of a table, raw little-endian; what a record holds is kept in memory. The file is made
when the sorter is and goes with it: nobody reads it again.

Sorting out: each record is sorted by first pixel when it is written, and rows of first pixels are counted as they come.
The canvas is cut into horizontal bands of bounded size; a band takes one contiguous run of rows from each record that
meets it, and is sorted by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.atomic import output_error, output_errors
from wsiparse.coords import Frame
from wsiparse.store.records import Sizes, pack, row_bytes, unpack
from wsiparse.store.tables import raster_sorted
from wsiparse.types import ObjectTable, PromptKind, PromptSet, RecognitionGrid

__all__ = ["KINDS", "ObjectSorter", "frames_to_json", "prompts_to_json"]

#: Row order of kinds wherever both are stored.
KINDS: Final[tuple[PromptKind, PromptKind]] = ("cell", "region")

#: A record is cut at about this size, a band at about this size: the memory of an append and of a sort.
_RECORD_BYTES: Final = 8 << 20
_BAND_BYTES: Final = 10 << 20

#: Rows of a frame are counted one by one up to so many, else several together: a free frame has millions.
_MOST_ROWS: Final = 1 << 20

#: What is remembered of a record: where its columns begin, its kind, first and last row of first pixels, sizes.
_INDEX_FIELDS: Final = ("start", "kind", "first", "last", *Sizes._fields)


def frames_to_json(frames: Mapping[PromptKind, Frame]) -> dict[str, dict[str, object]]:
    """The frame of each kind as JSON values; ``Frame(**{k: tuple(v) ...})`` reads one back."""
    return {
        kind: {"size": list(f.size), "downsample": list(f.downsample), "mpp": list(f.mpp)} for kind, f in frames.items()
    }


def prompts_to_json(prompts: PromptSet) -> list[dict[str, object]]:
    """A prompt set as JSON values, in order; ``Prompt(**item)`` reads each back."""
    names = ("text", "class_name", "colour", "kind", "threshold", "input_mpp")
    return [{name: getattr(prompt, name) for name in names} for prompt in prompts]


class ObjectSorter:
    """Finished objects in, in any order; the same objects out, sorted.

    Use as a context manager: leaving it deletes the file.

    Parameters
    ----------
    path : file to be made; its folder too when absent
    frames : for each kind, the frame of its objects' coordinates
    prompts : what class ids mean

    Raises
    ------
    OutputError
        If the file cannot be made.
    """

    def __init__(self, path: Path, *, frames: Mapping[PromptKind, Frame], prompts: PromptSet) -> None:
        self.path = path
        self.frames = {kind: frames[kind] for kind in KINDS}
        self.prompts = prompts
        self._is_region = np.array([False] + [prompt.kind == "region" for prompt in prompts])
        self._index = {name: array("q") for name in _INDEX_FIELDS}
        heights = {kind: self.frames[kind].size[1] for kind in KINDS}
        self._shift = {
            kind: max(0, (height - 1).bit_length() - _MOST_ROWS.bit_length() + 1) for kind, height in heights.items()
        }
        # bytes by row of the first pixel, 2^shift rows together
        self._bytes_at = {kind: np.zeros((heights[kind] - 1 >> self._shift[kind]) + 1, np.int64) for kind in KINDS}
        self._shares: dict[PromptKind, int] = {}
        self._end = 0
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: FileIO = path.open("w+b", buffering=0)

    def __enter__(self) -> ObjectSorter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with output_errors(self.path):
            self.path.unlink(missing_ok=True)

    def count(self, kind: PromptKind) -> int:
        """Objects of one kind taken so far."""
        return self._totals(kind)[0]

    def append(self, table: ObjectTable) -> None:
        """Take the objects of `table` (cells and regions, any number, any order).

        Raises
        ------
        ValueError
            If a class id is not in the prompt set, a first pixel lies outside the frame, or the number of class
            shares differs from that of earlier tables. Nothing of the table is taken then.
        OutputError
            If the disk is full.
        """
        self._check(table)
        region = self._is_region[table.class_id]
        with output_errors(self.path):
            for kind, chosen in zip(KINDS, (~region, region), strict=True):
                if chosen.any():
                    part = table if chosen.all() else table.take(np.flatnonzero(chosen))
                    for piece in _cut(raster_sorted(part)):
                        self._write(kind, piece)

    def sorted(self, kind: PromptKind) -> Iterator[ObjectTable]:
        """All objects of one kind in raster order of the first pixel, as tables of bounded size.

        Neither the order nor the cuts between tables depend on the order of arrival.
        """
        # Copies: a view would lock the index against `append`.
        index = {name: np.array(values, np.int64) for name, values in self._index.items()}
        right = index["kind"] == KINDS.index(kind)
        for band in _bands(self._bytes_at[kind]):
            y0, y1 = (row << self._shift[kind] for row in band)
            meets = np.flatnonzero(right & (index["first"] < y1) & (index["last"] >= y0))
            yield raster_sorted(ObjectTable.concat([self._read(int(record), y0, y1) for record in meets]))

    def finish(
        self,
        path: Path,
        *,
        engine: str,
        slide: Mapping[str, object],
        recognition: Sequence[RecognitionGrid] = (),
    ) -> None:
        """Write everything taken so far as the folder `path` (objects.zarr).

        See `wsiparse.store.write.write_objects`, whose arguments these are.
        """
        from wsiparse.store.write import write_objects

        write_objects(
            path,
            {kind: self.sorted(kind) for kind in KINDS},
            {kind: self._totals(kind) for kind in KINDS},
            frames=self.frames,
            prompts=self.prompts,
            engine=engine,
            slide=slide,
            recognition=recognition,
        )

    def _check(self, table: ObjectTable) -> None:
        if not len(table):
            return
        if int(table.class_id.min()) < 1 or int(table.class_id.max()) > len(self.prompts):
            raise ValueError(f"class ids must be 1..{len(self.prompts)}, got {sorted(set(table.class_id.tolist()))}")
        region = self._is_region[table.class_id]
        for kind, rows in zip(KINDS, (~region, region), strict=True):
            present = bool(rows.any())
            if present:
                (y, x), (width, height) = table.first_px[rows].T, self.frames[kind].size
                if min(y.min(), x.min()) < 0 or x.max() >= width or y.max() >= height:
                    raise ValueError(f"first pixels reach outside the frame of {width} x {height} px")
            if present and self._shares.get(kind, table.class_share.shape[1]) != table.class_share.shape[1]:
                raise ValueError(
                    f"{kind} objects came with {self._shares[kind]} class shares before, "
                    f"now with {table.class_share.shape[1]}"
                )

    def _totals(self, kind: PromptKind) -> tuple[int, int, int, int]:
        """Rows, rings, vertices and class shares per row of one kind."""
        chosen = np.array(self._index["kind"], np.int64) == KINDS.index(kind)
        rows, rings, vertices = (
            int(np.array(self._index[name], np.int64)[chosen].sum()) for name in ("rows", "rings", "vertices")
        )
        return rows, rings, vertices, self._shares.get(kind, 0)

    def _write(self, kind: PromptKind, table: ObjectTable) -> None:
        """Put one record behind the last; it counts once it is whole."""
        start = self._file.seek(self._end)
        for buffer in pack(table):
            while buffer:
                buffer = buffer[self._file.write(buffer) :]
        self._end = self._file.tell()
        y = table.first_px[:, 0]
        low, high = int(y[0]), int(y[-1])
        for name, value in zip(_INDEX_FIELDS, (start, KINDS.index(kind), low, high, *Sizes.of(table)), strict=True):
            self._index[name].append(value)
        rows = y >> self._shift[kind]
        weights = np.bincount(rows - rows[0], row_bytes(table)).astype(np.int64)
        self._bytes_at[kind][rows[0] : rows[-1] + 1] += weights
        self._shares[kind] = table.class_share.shape[1]

    def _read(self, record: int, y0: int, y1: int) -> ObjectTable:
        """The rows of one record whose first pixel lies in rows [y0, y1) of the frame."""
        sizes = Sizes(*(self._index[name][record] for name in Sizes._fields))
        try:
            self._file.seek(self._index["start"][record])
            table = unpack(self._file.read(sizes.payload), sizes)
        except OSError as error:
            raise output_error(self.path, error, "read") from error
        a, b = (int(row) for row in np.searchsorted(table.first_px[:, 0], [y0, y1]))
        return table.rows(a, b)


def _cut(table: ObjectTable) -> Iterator[ObjectTable]:
    """Consecutive pieces of a table, each of about `_RECORD_BYTES` or a single row."""
    if not len(table):
        return
    piece = np.cumsum(row_bytes(table)) // _RECORD_BYTES
    if piece[-1] == piece[0]:
        yield table
        return
    cuts = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(table)]
    for start, stop in pairwise(cuts):
        yield table.rows(start, stop)


def _bands(weights: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Consecutive [y0, y1) that hold all the weight, each of at most `_BAND_BYTES` or a single row."""
    total = np.concatenate([[0], np.cumsum(weights)])
    y, height = 0, len(weights)
    while y < height and total[-1] > total[y]:
        y = int(np.searchsorted(total, total[y], side="right")) - 1  # skip rows without objects
        stop = int(np.searchsorted(total, total[y] + _BAND_BYTES, side="right")) - 1
        stop = max(stop, y + 1)
        yield y, stop
        y = stop
