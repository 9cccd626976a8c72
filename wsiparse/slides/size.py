"""How large a slide is on disk: what work on it is expected to cost, without opening it."""

from __future__ import annotations

from pathlib import Path

from wsiparse.slides.companions import Unclear, slide_files

__all__ = ["slide_bytes"]


def slide_bytes(path: Path) -> int:
    """Bytes of a slide file and its companions; 0 where that cannot be told, or where there is no such file."""
    from fsspec.implementations.local import LocalFileSystem

    try:
        files = slide_files(LocalFileSystem(), path.absolute().as_posix(), path.name)
    except (OSError, Unclear):
        return 0
    return sum(file.size or 0 for file in files)
