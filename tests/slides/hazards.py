"""Broken slides of every kind, made small: what `test_robust` and the command line are shown."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import tifffile

from tests.fixtures_slides import textured, write_svs

PICTURE = textured(200, 300)


def _svs(path: Path) -> Path:
    return write_svs(path, PICTURE, steps=(1,))


def set_tag(path: Path, tag: str, value: object, page: int = 0, dtype: str = "I") -> None:
    """Overwrite a tag of a directory."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[page].tags[tag].overwrite(value, dtype=dtype)


def chain(path: Path, target: Callable[[int], int]) -> None:
    """Let the last directory of a TIFF be followed by another one, told the offset of the first."""
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[-1].offset
    data = bytearray(path.read_bytes())
    [count] = struct.unpack_from("<H", data, last)
    struct.pack_into("<I", data, last + 2 + 12 * count, target(first))
    path.write_bytes(data)


def pyramid_below(path: Path) -> Path:
    """An OME-TIFF whose second level hangs below the first."""
    options = {"tile": (64, 64), "photometric": "rgb", "compression": "deflate"}
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path) as writer:
        writer.write(PICTURE, subifds=1, metadata={"axes": "YXS", **size}, **options)
        writer.write(PICTURE[::2, ::2].copy(), subfiletype=1, metadata=None, **options)
    return path


def _loop_below(path: Path) -> None:
    pyramid_below(path)
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0].offset
    set_tag(path, "SubIFDs", first)


def _cut(path: Path) -> None:
    whole = _svs(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _strips_bomb(path: Path) -> None:
    tifffile.imwrite(path, PICTURE, photometric="rgb", metadata=None)
    set_tag(path, "ImageLength", 2**31 - 1)
    set_tag(path, "RowsPerStrip", 2**31 - 1)


def _too_large_for_glass(path: Path) -> None:
    """Every tile is there, none has content: 1 px in the file for 2^26 of the slide."""
    edge, tile = 1 << 20, 1 << 13
    n = (edge // tile) ** 2
    entries = [
        (256, 4, 1, edge), (257, 4, 1, edge), (258, 3, 3, None), (259, 3, 1, 1), (262, 3, 1, 2), (277, 3, 1, 3),
        (322, 4, 1, tile), (323, 4, 1, tile), (324, 4, n, None), (325, 4, n, None),
    ]  # fmt: skip
    at = 8 + 2 + 12 * len(entries) + 4
    where = {258: at, 324: at + 6, 325: at + 6 + 4 * n}
    table = b"".join(struct.pack("<HHII", t, k, c, v if v is not None else where[t]) for t, k, c, v in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 0)
    path.write_bytes(head + struct.pack("<3H", 8, 8, 8) + bytes(8 * n))


def _zeroed(path: Path) -> None:
    """A copy of which nothing but the directories arrived."""
    write_svs(path, textured(300, 400), steps=(1,), tile=16)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        spans = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    data = bytearray(path.read_bytes())
    for start, count in spans:
        data[start : start + count] = bytes(count)
    path.write_bytes(data)


#: File name -> what makes it, and a word of the one line that tells what is wrong.
HAZARDS: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "bomb.tif": (lambda p: (_svs(p), set_tag(p, "ImageWidth", 2**31)), "2147483648 x 200 px"),
    "bomb_strips.tif": (_strips_bomb, "claims strips of 300 x 2147483647 px"),
    "bomb_tile.svs": (lambda p: (_svs(p), set_tag(p, "TileLength", 2**31)), "claims tiles of 64 x 2147483648 px"),
    "large_tile.svs": (
        lambda p: (_svs(p), set_tag(p, "TileLength", 1 << 15), set_tag(p, "TileWidth", 1 << 12)),
        "claims tiles of 4096 x 32768 px",
    ),
    "cut.svs": (_cut, "truncated"),
    "dangling.svs": (lambda p: p.symlink_to("nowhere.svs"), "no such file"),
    "empty.svs": (lambda p: p.touch(), "empty (0 bytes)"),
    "far.tif": (lambda p: (_svs(p), set_tag(p, "TileOffsets", [2**32 - 2] * 20)), "truncated"),
    "few_tiles.svs": (lambda p: (_svs(p), set_tag(p, "TileOffsets", [300] * 7)), "is 20 tiles, and has 7"),
    "huge.tif": (_too_large_for_glass, "larger than any slide"),
    "link.svs": (lambda p: p.symlink_to(p.name), "link.svs: "),
    "loop.tif": (lambda p: (_svs(p), chain(p, lambda first: first)), "loop"),
    "loop_below.ome.tif": (_loop_below, "loop"),
    "no_tile.svs": (lambda p: (_svs(p), set_tag(p, "TileWidth", 0)), "claims tiles of 0 x 64 px"),
    "pipe.svs": (os.mkfifo, "not a regular file"),
    "text.svs": (lambda p: p.write_text("not a slide at all\n" * 50, encoding="ascii"), "text file"),
    "zeroed.svs": (_zeroed, "nothing of it can be decoded"),
}

#: Broken by name, not by content; None where the file system takes only text.
NOT_TEXT: Final = os.fsdecode(b"caf\xe9.svs")


def make_hazard(folder: Path, name: str) -> Path:
    """One broken slide in a folder."""
    HAZARDS[name][0](folder / name)
    return folder / name
