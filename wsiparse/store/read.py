"""objects.zarr read back, every checksum compared; its layout is told in `wsiparse.store.write`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.errors import OutputError
from wsiparse.store.sort import KINDS
from wsiparse.store.write import FORMAT, GROUPS, STORED, VERSION, decode_coords
from wsiparse.types import ObjectTable, Prompt, PromptKind, PromptSet, RecognitionGrid, TileGrid

__all__ = ["ObjectsReader"]

# Columns of a kind that are kept once they have been read and their checksums compared: every export of a small slide
# would otherwise pay for reading ten tiny arrays again.
_KEPT_BYTES: Final = 1 << 22


class _ColumnReader:
    """Row ranges of one array, reading each chunk once while they come in order."""

    def __init__(self, path: Path, array: zarr.Array[Any]) -> None:
        self._path = path
        self._array = array
        self._chunk = array.chunks[0]
        self._at = -1
        self._values: NDArray[Any] = np.empty(0)
        self._digest = hashlib.sha256()
        self._digested = 0

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows [start, stop) as a new array."""
        out = np.empty((stop - start, *self._array.shape[1:]), self._array.dtype)
        row = start
        while row < stop:
            number = row // self._chunk
            self._load(number)
            a, b = number * self._chunk, min((number + 1) * self._chunk, stop)
            out[row - start : b - start] = self._values[row - a : b - a]
            row = b
        return out

    def sha256(self) -> str | None:
        """Of everything read, if that was every chunk in order; else None."""
        return self._digest.hexdigest() if self._digested == -(-self._array.shape[0] // self._chunk) else None

    def _load(self, number: int) -> None:
        if number == self._at:
            return
        a = number * self._chunk
        self._values = _guarded_read(self._path, self._array, a, min(a + self._chunk, self._array.shape[0]))
        self._at = number
        if number == self._digested:
            self._digest.update(self._values.tobytes())
            self._digested += 1


def _guarded_read(path: Path, array: zarr.Array[Any], start: int, stop: int) -> NDArray[Any]:
    try:
        return np.asarray(array[start:stop])
    # What a codec raises on damaged bytes is its own affair: numcodecs has RuntimeError, the bytes codec ValueError.
    except (RuntimeError, ValueError, OSError) as error:
        raise _damaged(path, f"{array.name.strip('/')} rows {start}-{stop} cannot be decoded ({error})") from error


def _damaged(path: Path, what: str) -> OutputError:
    return OutputError(f"{path}: damaged: {what}. Run the slide again to make the objects anew.")


class ObjectsReader:
    """objects.zarr, read back.

    Parameters
    ----------
    path : the folder

    Attributes
    ----------
    path, attrs : the folder and its attributes (see `wsiparse.store.write`)
    frames : for each kind, the frame of its coordinates
    prompts : what class ids mean
    engine : the words every output carries
    slide : facts of the slide
    recognition : recognition scores of tiles and prompts, one grid a scale; empty for engines without any

    The tables it gives carry the recognition score of each object.

    Raises
    ------
    OutputError
        If it is missing, of another format or version, or a column, a chunk or a recognition grid is missing.

    Examples
    --------
    >>> import wsiparse
    >>> reader = wsiparse.ObjectsReader(next(Path("results/slides").iterdir()) / "objects.zarr")
    >>> sum(len(table) for table in reader.batches("cell")) == reader.count("cell")
    True
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise OutputError(f"{path}: no such folder; expected the objects.zarr of a finished slide.")
        try:
            self._root = zarr.open_group(path, mode="r")
        # zarr reports a missing, empty or garbled zarr.json in several ways, all of them one of these.
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise OutputError(f"{path}: not an objects.zarr ({error}).") from error
        self.attrs: dict[str, Any] = dict(self._root.attrs)
        if self.attrs.get("format") != FORMAT:
            raise OutputError(f"{path}: not an objects.zarr of wsiparse (format {self.attrs.get('format')!r}).")
        if self.attrs.get("version") != VERSION:
            raise OutputError(
                f"{path}: written in format version {self.attrs.get('version')!r}, this program reads {VERSION}. "
                "Use the wsiparse that wrote it, or run the slide again with --overwrite."
            )
        try:
            self.frames: dict[PromptKind, Frame] = {
                kind: Frame(**{key: tuple(value) for key, value in self.attrs["frames"][kind].items()})
                for kind in KINDS
            }
            self.prompts = PromptSet(tuple(Prompt(**item) for item in self.attrs["prompts"]))
            self.engine = str(self.attrs["engine"])
            self.slide: dict[str, Any] = dict(self.attrs["slide"])
            self._sums = {
                kind: {name: (int(column["length"]), str(column["sha256"])) for name, column in columns.items()}
                for kind, columns in ((kind, self.attrs["columns"][GROUPS[kind]]) for kind in KINDS)
            }
            grids = [(str(sums["scores"]), str(sums["statistics"])) for sums in self.attrs["recognition"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(path, f"attributes are incomplete ({error!r})") from error
        self._arrays = {kind: self._open_columns(kind) for kind in KINDS}
        self._kept: dict[PromptKind, dict[str, _ColumnReader]] = {}
        self.recognition = [self._read_grid(f"recognition/scale-{k}", *sums) for k, sums in enumerate(grids)]

    def _read_grid(self, name: str, *sums: str) -> RecognitionGrid:
        values = []
        try:
            group = self._root[name]
            attributes: dict[str, Any] = dict(group.attrs)
            canvas = (int(attributes["canvas"][0]), int(attributes["canvas"][1]))
            grid = TileGrid(canvas, int(attributes["tile_px"]), int(attributes["halo_px"]))
            positions = tuple(int(k) for k in attributes["prompts"])
            for column, expected in zip(("scores", "statistics"), sums, strict=True):
                array = self._root[f"{name}/{column}"]
                if not isinstance(array, zarr.Array):
                    raise TypeError(column)
                found = np.ascontiguousarray(array[...], "<f4")
                if hashlib.sha256(found.data.cast("B")).hexdigest() != expected:
                    raise _damaged(self.path, f"checksum of {name}/{column} differs")
                values.append(found)
            return RecognitionGrid(positions, grid, scores=values[0], statistics=values[1])
        # what zarr and its codecs raise on missing or damaged files is one of these
        except (OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise _damaged(self.path, f"{name} is missing or unreadable ({error!r})") from error

    def _open_columns(self, kind: PromptKind) -> dict[str, zarr.Array[Any]]:
        arrays: dict[str, zarr.Array[Any]] = {}
        rows = self._sums[kind].get("class_id", (0, ""))[0]
        for name, dtype, per, _ in STORED:
            column = f"{GROUPS[kind]}/{name}"
            try:
                array = self._root[column]
            except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise _damaged(self.path, f"column {column} is missing or unreadable") from error
            length = self._sums[kind].get(name, (-1, ""))[0]
            expected = {"object": rows, "object offset": rows + 1}.get(per, length)
            if not isinstance(array, zarr.Array) or array.dtype != dtype or not array.shape[0] == length == expected:
                raise _damaged(self.path, f"column {column} is not {expected} rows of {dtype}")
            if array.nchunks_initialized < array.nchunks:
                raise _damaged(self.path, f"column {column} lacks chunks: {array.nchunks - array.nchunks_initialized}")
            arrays[name] = array
        return arrays

    def count(self, kind: PromptKind) -> int:
        """Number of objects of one kind, "cell" or "region".

        Raises
        ------
        ValueError
            If `kind` is neither.
        """
        return int(self._columns(kind)["class_id"].shape[0])

    def batches(self, kind: PromptKind, rows: int = 1 << 15) -> Iterator[ObjectTable]:
        """All objects of one kind, in order, `rows` at a time.

        The checksums of all columns are compared when the last batch has been taken, so that whoever consumes
        everything (an export, say) knows at its end that it was given what was written.

        Raises
        ------
        ValueError
            If `kind` is neither "cell" nor "region" or `rows` < 1.
        OutputError
            On damage: at once if a chunk does not decode, at the end if a checksum differs.
        """
        if rows < 1:
            raise ValueError(f"rows must be >= 1, got {rows}")
        return self._batches(kind, self._readers(kind), rows)

    def table(self, kind: PromptKind, start: int = 0, stop: int | None = None) -> ObjectTable:
        """Objects [start, stop) of one kind as one table; all of them, with checksums compared, by default.

        Raises
        ------
        ValueError
            If the range does not lie in [0, count].
        OutputError
            On damage.
        """
        total = self.count(kind)
        end = total if stop is None else stop
        if not 0 <= start <= end <= total:
            raise ValueError(f"rows {start}-{end} of {total}")
        if (start, end) == (0, total) and total:
            return ObjectTable.concat(list(self.batches(kind, total)))
        return self._slice(self._readers(kind), start, end)

    def rows_between(self, kind: PromptKind, top: float, bottom: float) -> tuple[int, int]:
        """Rows [start, stop) whose first pixel's y lies in [top, bottom], field px: rows are in raster order.

        Raises
        ------
        ValueError
            If `kind` is neither "cell" nor "region".
        OutputError
            On damage.
        """
        first = self._readers(kind)["first_px"].read(0, self.count(kind))[:, 0]
        return int(np.searchsorted(first, top, "left")), int(np.searchsorted(first, bottom, "right"))

    def verify(self) -> None:
        """Read everything and compare every checksum.

        Raises
        ------
        OutputError
            Naming the first column that is damaged.
        """
        for kind in KINDS:
            self._kept.pop(kind, None)
            for _ in self.batches(kind):
                pass

    def _columns(self, kind: PromptKind) -> dict[str, zarr.Array[Any]]:
        if kind not in self._arrays:
            raise ValueError(f"kind {kind!r} is neither 'cell' nor 'region'")
        return self._arrays[kind]

    def _readers(self, kind: PromptKind) -> dict[str, _ColumnReader]:
        columns = self._columns(kind)
        return self._kept.get(kind) or {name: _ColumnReader(self.path, array) for name, array in columns.items()}

    def _batches(self, kind: PromptKind, readers: dict[str, _ColumnReader], rows: int) -> Iterator[ObjectTable]:
        total = self.count(kind)
        for start in range(0, total, rows):
            yield self._slice(readers, start, min(start + rows, total))
        for name, reader in readers.items():
            if not total:
                reader.read(0, self._arrays[kind][name].shape[0])
            if reader.sha256() != self._sums[kind][name][1]:
                raise _damaged(self.path, f"checksum of column {GROUPS[kind]}/{name} differs")
        arrays = self._arrays[kind].values()
        if sum(array.nbytes for array in arrays) <= _KEPT_BYTES and all(array.nchunks <= 1 for array in arrays):
            self._kept[kind] = readers

    def _slice(self, readers: dict[str, _ColumnReader], start: int, stop: int) -> ObjectTable:
        polygon_offsets = readers["polygon_offsets"].read(start, stop + 1)
        ring_offsets = readers["ring_offsets"].read(*self._span(polygon_offsets, 1))
        delta = readers["coords"].read(*self._span(ring_offsets, 0))
        first_px = readers["first_px"].read(start, stop)
        polygon_offsets -= polygon_offsets[0]
        ring_offsets -= ring_offsets[0]
        table = ObjectTable(
            coords=decode_coords(delta, ring_offsets, polygon_offsets, first_px),
            ring_offsets=ring_offsets,
            polygon_offsets=polygon_offsets,
            first_px=first_px,
            **{c.name: readers[c.name].read(start, stop) for c in STORED if c.per == "object" and c.name != "first_px"},
        )
        return self._judged(table)

    def _judged(self, table: ObjectTable) -> ObjectTable:
        """The table with recognition scores: every class is of one grid at most."""
        if not self.recognition or not len(table):
            return table
        found = np.full(len(table), np.nan, np.float32)
        for grid in self.recognition:
            scores = grid.of_objects(table)
            np.copyto(found, scores, where=np.isfinite(scores))
        return replace(table, recognition=found)

    def _span(self, offsets: NDArray[np.int64], extra: int) -> tuple[int, int]:
        """The range that offsets index; they are read from disk, so they are not trusted to ascend."""
        if offsets[0] < 0 or bool((np.diff(offsets) < 0).any()):
            raise _damaged(self.path, "offsets do not ascend")
        return int(offsets[0]), int(offsets[-1]) + extra
