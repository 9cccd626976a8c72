"""Finished objects on disk, in order of arrival; sorted on the way out.

The stitcher finishes objects in an order that depends on which block arrived when. The spool takes them as they come,
one committed batch an `append`, in bounded memory, and hands them back in raster order of the first pixel whatever the
order they came in. The log is one file::

    header   magic, length, JSON of the frames and the prompts (a spool of another run is refused)
    record   fixed-size head (kind, sizes, rows of first pixels, checksums) and the columns, raw little-endian
    ...      a batch is one or more records, the last of them flagged

A batch is committed when its last record is in the file with matching checksums; `ObjectSpool` opens an existing log,
checks every record and cuts the file after the last committed batch.

Sorting out: each record is sorted by first pixel when it is written, and rows of first pixels are counted as they come.
The canvas is cut into horizontal bands of bounded size; a band takes one contiguous run of rows from each record that
meets it, and is sorted by itself.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.atomic import output_error, output_errors
from wsiparse.coords import Frame
from wsiparse.errors import OutputError
from wsiparse.store.records import Sizes, pack, row_bytes, unpack
from wsiparse.store.tables import raster_sorted, row_range
from wsiparse.types import ObjectTable, PromptKind, PromptSet, RecognitionGrid

__all__ = ["KINDS", "LOG_NAME", "ObjectSpool", "frames_to_json", "prompts_to_json"]

#: Row order of kinds wherever both are stored.
KINDS: Final[tuple[PromptKind, PromptKind]] = ("cell", "region")

LOG_NAME: Final = "objects.spool"
_NAME: Final = b"WSPOOL"
_VERSION: Final = b"2"
_MAGIC: Final = _NAME + _VERSION + b"\n"
_RECORD_MAGIC: Final = b"OBJS"
# magic, kind, last record of its batch, first and last row of first pixels, CRC-32 of the columns, sizes
_HEAD: Final = struct.Struct("<4sBBqqIqqqq")
_CRC: Final = struct.Struct("<I")
_HEAD_BYTES: Final = _HEAD.size + _CRC.size

#: A record is cut at about this size, a band at about this size: the memory of an append and of a sort.
_RECORD_BYTES: Final = 8 << 20
_BAND_BYTES: Final = 10 << 20

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


class ObjectSpool:
    """An append-only store of finished objects, in any order.

    Parameters
    ----------
    folder : where the log lies; made when absent. An existing log is continued after its last committed batch
    frames : for each kind, the frame of its objects' coordinates
    prompts : what class ids mean

    Attributes
    ----------
    batches : committed batches so far (the number of calls of `append`, those before a resume included)

    Raises
    ------
    OutputError
        If the folder cannot be written to, or holds the log of other frames or other prompts.
    """

    def __init__(self, folder: Path, *, frames: Mapping[PromptKind, Frame], prompts: PromptSet) -> None:
        self.path = folder / LOG_NAME
        self.frames = {kind: frames[kind] for kind in KINDS}
        self.prompts = prompts
        self._is_region = np.array([False] + [prompt.kind == "region" for prompt in prompts])
        self._index = {name: array("q") for name in _INDEX_FIELDS}
        self._batch_stops = array("q")  # file position after each batch
        self._batch_records = array("q")  # records up to the end of each batch
        self._bytes_at = {
            kind: np.zeros(self.frames[kind].size[1], np.int64) for kind in KINDS
        }  # bytes by row of the first pixel
        self._shares: dict[PromptKind, int] = {}
        header = json.dumps({"frames": frames_to_json(self.frames), "prompts": prompts_to_json(prompts)}).encode()
        self._header = _MAGIC + _CRC.pack(len(header)) + header
        with output_errors(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            # Unbuffered: after a full disk no half-written buffer may wait for the next call.
            self._file: FileIO = self.path.open("r+b", buffering=0)
            try:
                self._open()
            except BaseException:
                self._file.close()
                raise

    @property
    def batches(self) -> int:
        """Committed batches."""
        return len(self._batch_stops)

    def count(self, kind: PromptKind) -> int:
        """Committed objects of one kind."""
        return self._totals(kind)[0]

    def append(self, table: ObjectTable) -> int:
        """Commit the objects of `table` (cells and regions, any number, any order) as one batch.

        Returns
        -------
        The number of committed batches.

        Raises
        ------
        ValueError
            If a class id is not in the prompt set, a first pixel lies outside the frame, or the number of class
            shares differs from that of earlier batches.
        OutputError
            If the disk is full; the log then ends with the previous batch.
        """
        self._check(table)
        region = self._is_region[table.class_id]
        parts: list[tuple[PromptKind, ObjectTable]] = []
        for kind, chosen in zip(KINDS, (~region, region), strict=True):
            if chosen.any():
                part = table if chosen.all() else table.take(np.flatnonzero(chosen))
                parts += [(kind, piece) for piece in _cut(raster_sorted(part))]
        if not parts:
            parts = [("cell", ObjectTable())]
        try:
            self._file.seek(self._stop())
            for number, (kind, part) in enumerate(parts):
                self._write_record(kind, part, last=number == len(parts) - 1)
        except OSError as error:
            self._forget_open_records()
            with suppress(OSError):
                self._file.truncate(self._stop())
            raise output_error(self.path, error) from error
        self._commit(self._file.tell(), parts)
        return self.batches

    def truncate(self, batches: int) -> None:
        """Forget all but the first `batches` batches, to agree with a checkpoint taken then.

        Raises
        ------
        ValueError
            If there are fewer.
        OutputError
            If the log cannot be cut.
        """
        if not 0 <= batches <= self.batches:
            raise ValueError(f"cannot keep {batches} of {self.batches} batches")
        if batches < self.batches:
            with output_errors(self.path):
                self._file.truncate(self._batch_stops[batches - 1] if batches else len(self._header))
                self._open()

    def sync(self) -> None:
        """Force committed batches to the disk (they survive a killed process without this, but not a power cut)."""
        with output_errors(self.path):
            os.fsync(self._file.fileno())

    def sorted(self, kind: PromptKind) -> Iterator[ObjectTable]:
        """All objects of one kind in raster order of the first pixel, as tables of bounded size.

        Neither the order nor the cuts between tables depend on the order of arrival.
        """
        # Copies: a view would lock the index against `append`.
        index = {name: np.array(values, np.int64) for name, values in self._index.items()}
        right = (index["kind"] == KINDS.index(kind)) & (index["rows"] > 0)
        for y0, y1 in _bands(self._bytes_at[kind]):
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
        """Write everything committed so far as the folder `path` (objects.zarr); the spool stays as it is.

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

    def close(self) -> None:
        """Close the file; the log stays and can be opened again."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the log, and its folder if that is now empty."""
        self.close()
        with output_errors(self.path):
            self.path.unlink(missing_ok=True)
            if not any(self.path.parent.iterdir()):
                self.path.parent.rmdir()

    def __enter__(self) -> ObjectSpool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What follows is private.

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

    def _stop(self) -> int:
        return self._batch_stops[-1] if self._batch_stops else len(self._header)

    def _commit(self, stop: int, records: list[tuple[PromptKind, ObjectTable]]) -> None:
        """Count a batch whose records are in the file up to `stop`."""
        self._batch_stops.append(stop)
        self._batch_records.append(len(self._index["start"]))
        for kind, table in records:
            if len(table):
                y = table.first_px[:, 0]
                low, high = int(y.min()), int(y.max())
                weights = np.bincount(y - low, row_bytes(table), high - low + 1).astype(np.int64)
                self._bytes_at[kind][low : high + 1] += weights
                self._shares[kind] = table.class_share.shape[1]

    def _write_record(self, kind: PromptKind, table: ObjectTable, *, last: bool) -> None:
        buffers = pack(table)
        crc = 0
        for buffer in buffers:
            crc = zlib.crc32(buffer, crc)
        sizes, number = Sizes.of(table), KINDS.index(kind)
        first, end = (int(table.first_px[0, 0]), int(table.first_px[-1, 0])) if len(table) else (0, -1)
        head = _HEAD.pack(_RECORD_MAGIC, number, int(last), first, end, crc, *sizes)
        start = self._file.tell()
        for buffer in (memoryview(head + _CRC.pack(zlib.crc32(head))), *buffers):
            self._write(buffer)
        self._note(start + _HEAD_BYTES, number, first, end, *sizes)

    def _write(self, buffer: memoryview) -> None:
        while buffer:
            buffer = buffer[self._file.write(buffer) :]

    def _note(self, *values: int) -> None:
        for name, value in zip(_INDEX_FIELDS, values, strict=True):
            self._index[name].append(value)

    def _forget_open_records(self) -> None:
        keep = self._batch_records[-1] if self._batch_records else 0
        for values in self._index.values():
            del values[keep:]

    def _open(self) -> None:
        """Read the index from the log and cut the log after the last committed batch."""
        for values in (*self._index.values(), self._batch_stops, self._batch_records):
            del values[:]
        for kind in KINDS:
            self._bytes_at[kind][:] = 0
        self._shares.clear()
        self._file.seek(0, 2)
        size = self._file.tell()
        self._file.seek(0)
        found = self._file.read(len(self._header))
        if found != self._header:
            version = found[len(_NAME) : len(_MAGIC) - 1]
            if found.startswith(_NAME) and version.isdigit() and version != _VERSION:
                raise OutputError(
                    f"{self.path}: a log of format version {version.decode()}, this program reads "
                    f"{_VERSION.decode()}. Remove it and run again."
                )
            if not self._header.startswith(found):
                raise OutputError(
                    f"{self.path}: holds objects of another run (other prompts, scale or slide size). "
                    "Remove it or choose another results folder."
                )
            self._file.seek(0)
            self._write(memoryview(self._header))
        self._scan(size)
        self._forget_open_records()
        self._file.truncate(self._stop())

    def _scan(self, size: int) -> None:
        position = len(self._header)
        pending: list[tuple[PromptKind, ObjectTable]] = []
        while position + _HEAD_BYTES <= size:
            self._file.seek(position)
            head = self._file.read(_HEAD_BYTES)
            magic, number, last, first, end, crc, *counts = _HEAD.unpack_from(head)
            if magic != _RECORD_MAGIC or zlib.crc32(head[: _HEAD.size]) != _CRC.unpack_from(head, _HEAD.size)[0]:
                return
            position += _HEAD_BYTES
            sizes = Sizes(*counts)
            if position + sizes.payload > size:
                return
            payload = self._file.read(sizes.payload)
            if zlib.crc32(payload) != crc:
                return
            self._note(position, number, first, end, *sizes)
            pending.append((KINDS[number], unpack(payload, sizes)))
            position += sizes.payload
            if last:
                self._commit(position, pending)
                pending.clear()

    def _read(self, record: int, y0: int, y1: int) -> ObjectTable:
        """The rows of one record whose first pixel lies in rows [y0, y1) of the frame."""
        sizes = Sizes(*(self._index[name][record] for name in Sizes._fields))
        try:
            self._file.seek(self._index["start"][record])
            table = unpack(self._file.read(sizes.payload), sizes)
        except OSError as error:
            raise output_error(self.path, error, "read") from error
        a, b = (int(row) for row in np.searchsorted(table.first_px[:, 0], [y0, y1]))
        return row_range(table, a, b)


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
        yield row_range(table, start, stop)


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
