"""Small DICOM whole-slide images (PS3.3, A.32.8), written by hand: one file a level, tiles in full order."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np

from tests.fixtures_slides import RGB, halved
from tests.slides.stage import element

_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
_NATIVE, _JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
_ROOT = "1.2.826.0.1.3680043.8.498"


def write_dicom(
    folder: Path,
    image: RGB,
    *,
    mpp: float = 0.5,
    steps: Sequence[int] = (1, 2),
    tile: int = 64,
    jpeg: bool = False,
    series: int = 1,
    stem: str = "level",
) -> list[Path]:
    """Write (H, W, 3) uint8 as one series; returns its files, finest level first."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, step in enumerate(steps):
        level = image if step == 1 else halved(image, step)
        path = folder / f"{stem}{k}.dcm"
        path.write_bytes(_instance(level, mpp * step, tile, jpeg, f"{_ROOT}.{series}", f"{_ROOT}.{series}.{k + 1}", k))
        paths.append(path)
    return paths


def _instance(level: RGB, mpp: float, tile: int, jpeg: bool, series: str, uid: str, k: int) -> bytes:
    frames = _frames(level, tile)
    meta = _ui(0x0002, 0x0002, _WSI) + _ui(0x0002, 0x0003, uid) + _ui(0x0002, 0x0010, _JPEG if jpeg else _NATIVE)
    meta = element((0x0002, 0x0001), "OB", b"\0\1") + meta
    spacing = _text(0x0028, 0x0030, "DS", f"{mpp / 1000:g}\\{mpp / 1000:g}")
    kind = "ORIGINAL\\PRIMARY\\VOLUME\\NONE" if k == 0 else "DERIVED\\PRIMARY\\VOLUME\\RESAMPLED"
    data = (
        _text(0x0008, 0x0008, "CS", kind) + _ui(0x0008, 0x0016, _WSI) + _ui(0x0008, 0x0018, uid)
        + _text(0x0008, 0x0060, "CS", "SM") + _text(0x0008, 0x0070, "LO", "Nobody")
        + _ui(0x0020, 0x000D, f"{_ROOT}.9") + _ui(0x0020, 0x000E, series) + _text(0x0020, 0x0013, "IS", str(k + 1))
        + _text(0x0020, 0x9311, "CS", "TILED_FULL")
        + _us(0x0002, 3) + _text(0x0028, 0x0004, "CS", "YBR_FULL_422" if jpeg else "RGB") + _us(0x0006, 0)
        + _text(0x0028, 0x0008, "IS", str(len(frames))) + _us(0x0010, tile) + _us(0x0011, tile)
        + _us(0x0100, 8) + _us(0x0101, 8) + _us(0x0102, 7) + _us(0x0103, 0)
        + element((0x0048, 0x0006), "UL", struct.pack("<I", level.shape[1]))
        + element((0x0048, 0x0007), "UL", struct.pack("<I", level.shape[0]))
        + _sequence(0x0048, 0x0105, _text(0x0048, 0x0112, "DS", "20"))
        + _sequence(0x5200, 0x9229, _sequence(0x0028, 0x9110, spacing))
    )  # fmt: skip
    pixels = _encapsulated(frames) if jpeg else element((0x7FE0, 0x0010), "OB", b"".join(f.tobytes() for f in frames))
    head = element((0x0002, 0x0000), "UL", struct.pack("<I", len(meta)))
    return b"\0" * 128 + b"DICM" + head + meta + data + pixels


def _frames(level: RGB, tile: int) -> list[RGB]:
    """The tiles, row by row, padded with white."""
    height, width = level.shape[:2]
    rows, columns = -(-height // tile), -(-width // tile)
    padded = np.full((rows * tile, columns * tile, 3), 255, np.uint8)
    padded[:height, :width] = level
    return [
        np.ascontiguousarray(padded[r * tile : (r + 1) * tile, c * tile : (c + 1) * tile])
        for r in range(rows)
        for c in range(columns)
    ]


def _encapsulated(frames: list[RGB]) -> bytes:
    coded = [imagecodecs.jpeg8_encode(frame, level=95, subsampling="422") for frame in frames]
    coded = [data + b"\0" * (len(data) % 2) for data in coded]
    starts = np.cumsum([0, *(8 + len(data) for data in coded[:-1])]).astype("<u4").tobytes()
    head = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
    return head + _item(starts) + b"".join(map(_item, coded)) + b"\xfe\xff\xdd\xe0" + bytes(4)


def _item(data: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data


def _sequence(group: int, number: int, inside: bytes) -> bytes:
    return element((group, number), "SQ", _item(inside))


def _ui(group: int, number: int, uid: str) -> bytes:
    return element((group, number), "UI", uid.encode())


def _us(number: int, value: int) -> bytes:
    return element((0x0028, number), "US", struct.pack("<H", value))


def _text(group: int, number: int, kind: str, text: str) -> bytes:
    return element((group, number), kind, text.encode() + b" " * (len(text) % 2))
