"""What a file says about itself before any slide library sees it: that it is there, and which file it is.

Slide libraries answer a missing file, a folder, an empty file and a text file with one and the same message. The checks
here come first and name the trouble.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsiparse.errors import SlideNotFoundError, UnsupportedSlideError
from wsiparse.slides.dicom import file_series

__all__ = ["FileState", "check_file", "expanded", "file_fingerprint", "hash_sampled", "picture_kind"]

#: Bytes hashed at the head and at the tail, and in each of the blocks spread between them.
_END_BYTES: Final = 1 << 20
_BLOCK_BYTES: Final = 1 << 16
_BLOCKS: Final = 16

_PICTURES: Final = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"BM", "bmp"))


def expanded(path: str | Path) -> Path:
    """A path as people write it, with ``~`` replaced; unlike with pathlib, a home that nobody has is no error."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def check_file(path: Path) -> None:
    """Make sure there is a non-empty regular file that may be read.

    Raises
    ------
    SlideNotFoundError
        If the path does not exist or may not be read.
    UnsupportedSlideError
        If it is a folder, not a regular file, or empty.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnsupportedSlideError(f"{path}: is a folder, not a slide file. Give the slide file inside it.")
        if not stat.S_ISREG(status.st_mode):
            raise UnsupportedSlideError(f"{path}: is not a regular file. Give a slide file on disk.")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise SlideNotFoundError(f"{path}: no such file. Check the path and that the drive is mounted.") from None
    except PermissionError:
        raise SlideNotFoundError(f"{path}: no permission to read it. Ask its owner, or run chmod +r on it.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise SlideNotFoundError(f"{path}: cannot be opened ({error}). Check the path and the drive.") from error
    if status.st_size == 0:
        raise UnsupportedSlideError(f"{path}: is empty (0 bytes). The copy probably failed: copy the slide again.")


def picture_kind(path: Path) -> str:
    """ "png", "jpeg" or "bmp" by the first bytes of a file, "" for anything else.

    A MIRAX slide's own file is a JPEG picture of its label and no slide by itself.
    """
    if path.suffix.lower() == ".mrxs":
        return ""
    with path.open("rb") as file:
        head = file.read(8)
    return next((name for magic, name in _PICTURES if head.startswith(magic)), "")


def file_fingerprint(path: Path) -> str:
    """Identity of a slide file by content, cheap for any size: sha256 hex of its size, ends and 16 spread blocks.

    Neither path nor modification time enter, so a moved or copied slide keeps its fingerprint. A MIRAX slide is its
    companion folder, a DICOM slide its series: the files are hashed in name order, by the same rule.

    Raises
    ------
    SlideNotFoundError
        If a file cannot be read.
    """
    digest = hashlib.sha256(b"wsiparse slide 1")
    files = [path]
    if path.suffix.lower() == ".mrxs" and path.with_suffix("").is_dir():
        files += sorted((p for p in path.with_suffix("").iterdir() if p.is_file()), key=lambda p: p.name)
    elif series := file_series(path):
        files = sorted((p for p in path.parent.iterdir() if file_series(p) == series), key=lambda p: p.name)
    for file in files:
        try:
            hash_sampled(digest, file)
        except OSError as error:
            raise SlideNotFoundError(f"{file}: cannot be read ({error}). Check the drive and permissions.") from error
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells cheaply that a file may have changed: `take` says it now.

    Parameters
    ----------
    facts : device, inode, size and time of the last change; empty where there is no such file
    """

    facts: tuple[int, ...]

    @classmethod
    def take(cls, path: Path) -> FileState:
        """The state of a path at this moment."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return cls(())
        return cls((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


def hash_sampled(digest: hashlib._Hash, file: Path) -> None:
    """Add a file's size, ends and 16 spread blocks to a hash; `OSError` if it cannot be read."""
    with file.open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        digest.update(struct.pack("<Q", size))
        for start, count in _sampled_spans(size):
            handle.seek(start)
            digest.update(handle.read(count))


def _sampled_spans(size: int) -> Iterator[tuple[int, int]]:
    if size <= 2 * _END_BYTES + _BLOCKS * _BLOCK_BYTES:
        yield 0, size
        return
    yield 0, _END_BYTES
    between = size - 2 * _END_BYTES - _BLOCK_BYTES
    for k in range(_BLOCKS):
        yield _END_BYTES + between * k // (_BLOCKS - 1), _BLOCK_BYTES
    yield size - _END_BYTES, _END_BYTES
