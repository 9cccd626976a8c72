"""Gzip files whose bytes depend on their content alone; the only isal import.

The header holds no time, name or system, and the compressor is fed in blocks of one fixed size, so that the same text
gives the same file however it was cut into pieces. ISA-L (the isal package) compresses ~20x faster than zlib; where it
is not installed zlib is used. Another library, version or processor family may compress to other bytes; the text in
them is the same.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import Final

from wsiparse.atomic import AtomicFile

__all__ = ["TextFile"]

_BLOCK: Final = 1 << 20
# magic, deflate, no flags, no time, no extra flags, unknown system (RFC 1952)
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def _library() -> tuple[ModuleType, int]:
    """The deflate library at hand and its level: ISA-L's 2 of 0-3, zlib's 6 of 0-9."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib, 6
    return isal_zlib, 2


class TextFile:
    """A file written front to back, compressed if its name ends in ``.gz``, published under a name chosen at the end.

    Parameters
    ----------
    path : the name it will most likely get

    Raises
    ------
    OutputError
        If the folder cannot be written to or, later, the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._file = AtomicFile(path)
        self._library, level = _library()
        self._deflate = None
        if path.suffix == ".gz":
            self._deflate = self._library.compressobj(level, zlib.DEFLATED, -15)
            self._file.write(_HEADER)
        self._pending = bytearray()
        self._crc = 0
        self.size = 0  #: bytes of text so far

    def write(self, text: bytes | bytearray | memoryview) -> None:
        """Append text."""
        self.size += len(text)
        self._pending += text
        if len(self._pending) >= _BLOCK:
            with memoryview(self._pending) as pending:
                whole = len(pending) // _BLOCK * _BLOCK
                for start in range(0, whole, _BLOCK):
                    self._put(pending[start : start + _BLOCK])
            del self._pending[:whole]

    def _put(self, block: bytes | bytearray | memoryview) -> None:
        if self._deflate is None:
            self._file.write(block)
            return
        self._crc = self._library.crc32(block, self._crc)
        self._file.write(self._deflate.compress(block))

    def commit(self, path: Path) -> Path:
        """Finish the file and publish it as `path`, in the same folder."""
        self._put(self._pending)
        self._pending.clear()
        if self._deflate is not None:
            self._file.write(self._deflate.flush())
            self._file.write(struct.pack("<II", self._crc, self.size & 0xFFFFFFFF))
        return self._file.commit(path)

    def discard(self) -> None:
        """Forget the file; harmless after `commit`."""
        self._file.discard()
