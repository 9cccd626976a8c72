"""A Zarr folder to fill: on the disk, or in memory first where little will be in it.

Zarr makes an array on a disk in a dozen steps, each handed to another thread: 4.6 ms, and in memory 1.1. A slide of a
few cells has twenty arrays of a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import zarr
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

__all__ = ["filled_folder"]

#: Folders with fewer bytes of values are made in memory.
_IN_MEMORY_BYTES: Final = 1 << 22


@contextmanager
def filled_folder(folder: Path, value_bytes: int, *, zarr_format: Literal[2, 3] = 3) -> Iterator[zarr.Group]:
    """A new Zarr group; its files are in the folder when the block has ended well.

    Parameters
    ----------
    folder : an empty folder
    value_bytes : what the arrays will hold, uncompressed; little is made in memory, and the files are the same
    zarr_format : version of the metadata

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    if value_bytes > _IN_MEMORY_BYTES:
        yield zarr.open_group(folder, mode="w", zarr_format=zarr_format)
        return
    files: dict[str, Buffer] = {}
    yield zarr.open_group(MemoryStore(files), mode="w", zarr_format=zarr_format)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.to_bytes())
