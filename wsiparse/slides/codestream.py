"""How large a compressed tile says it is, from its first bytes.

Decoders allocate what the tile claims before they look at its data, so one wrong byte in a tile of kilobytes can ask
for gigabytes. Who knows how large the tile must be compares first.

Sources: JPEG (ITU-T T.81, B.2.2), JPEG 2000 (ITU-T T.800, A.5.1), WebP (RFC 9649, sections 2.4 to 2.7; RFC 6386, 9.1).
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["claimed_size", "jpeg_frames"]

#: Frames that say a size: all SOF markers but DHT, JPG and DAC, which lie among them.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_SCAN, _STOP = 0xDA, 0xD9


def claimed_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) px that a JPEG, JPEG 2000 or WebP stream claims; None for any other, or where it does not say.

    Parameters
    ----------
    data : the stream, or as much of its beginning as there is
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:4] == b"\xff\x4f\xff\x51":
            return _jpeg2000(data, 4)
        if data[4:8] == b"jP  ":
            at = data.find(b"\xff\x4f\xff\x51")
            return _jpeg2000(data, at + 4) if at >= 0 else None
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except (IndexError, struct.error):  # the bytes end here
        return None
    return None


def jpeg_frames(data: bytes) -> list[tuple[int, int, int]]:
    """(width, height, samples) of every frame header of a JPEG before its first scan; none where there is none.

    A sound JPEG has one. A preview lies inside a segment, which is passed over as a whole.

    Parameters
    ----------
    data : the stream, or as much of its beginning as there is
    """
    frames: list[tuple[int, int, int]] = []
    at = data.find(b"\xff", 2) if data[:2] == b"\xff\xd8" else -1
    while 0 <= at < len(data) - 9:
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width, samples = struct.unpack_from(">HHB", data, at + 5)
            frames.append((width, height, samples))
        if marker in (_SCAN, _STOP):  # entropy-coded data follow, in which a marker cannot stand by chance
            break
        # a fill byte or a stray one: look on from the next
        step = 1 if marker in (0xFF, 0x00) else 2 if marker in _ALONE else 2 + int.from_bytes(data[at + 2 : at + 4])
        at = data.find(b"\xff", at + step)
    return frames


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """The largest of all frames: a second one would be believed as well."""
    frames = jpeg_frames(data)
    return (max(w for w, _, _ in frames), max(h for _, h, _ in frames)) if frames else None


def _jpeg2000(data: bytes, at: int) -> tuple[int, int]:
    """`at` : first byte of the SIZ segment's length."""
    x1, y1, x0, y0 = struct.unpack_from(">IIII", data, at + 4)
    return max(0, x1 - x0), max(0, y1 - y0)


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
