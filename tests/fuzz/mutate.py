"""Spoiling a slide where it hurts: the numbers that say how large things are and where they lie, and any byte.

Every choice comes from a `random.Random`, which hypothesis can provide as well as a seed.
"""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any, Final, NamedTuple

from tests.fuzz.seeds import Files

__all__ = ["spoil"]

_TYPE_SIZE: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 12: 8, 13: 4, 16: 8, 18: 8}
_INTERESTING: Final = (
    0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 100, 127, 128, 255, 256, 257, 1000, 4096, 32767, 32768,
    33003, 34712, 50001, 65500, 65535, 65536, 10**6, 2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**40,
    2**62, 2**63 - 1, 2**64 - 1,
)  # fmt: skip


class Spot(NamedTuple):
    """A number in a file: where, how many bytes, in which order."""

    at: int
    size: int
    order: str


def spoil(rng: Random, files: Files) -> Files:
    """A copy of a slide with one to four things wrong."""
    spoilt = dict(files)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        name = rng.choice(sorted(spoilt))
        spoilt[name] = _spoil_file(rng, name, spoilt[name])
        if len(spoilt) > 2 and rng.random() < 0.03:
            del spoilt[rng.choice(sorted(spoilt))]
    return spoilt


def _spoil_file(rng: Random, name: str, data: bytes) -> bytes:
    if name.endswith((".json", ".zarray", ".zattrs", ".zgroup")) and rng.random() < 0.85:
        return _spoil_json(rng, data)
    roll = rng.random()
    if roll < 0.06:
        return data[: rng.randrange(len(data) + 1)]
    if roll < 0.10:
        at = rng.randrange(len(data) + 1)
        return data[:at] + data[rng.randrange(len(data) + 1) :]
    if roll < 0.30:
        return _spoil_bytes(rng, data)
    spots = [spot for spot in _spots(data) if spot.at + spot.size <= len(data)]
    if not spots:
        return _spoil_bytes(rng, data)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2))):
        spot = rng.choice(spots)
        old = int.from_bytes(out[spot.at : spot.at + spot.size], _long(spot.order))
        new = _number(rng, old, len(data), spots) % (1 << (8 * spot.size))
        out[spot.at : spot.at + spot.size] = new.to_bytes(spot.size, _long(spot.order))
    return _with_right_sums(bytes(out)) if data[:4] == b"\x89PNG" and rng.random() < 0.9 else bytes(out)


def _long(order: str) -> Any:
    return "little" if order == "<" else "big"


def _spoil_bytes(rng: Random, data: bytes) -> bytes:
    if not data:
        return b"\0"
    out = bytearray(data)
    start = rng.randrange(len(out))
    for k in range(rng.choice((1, 1, 2, 8, 40))):
        out[min(len(out) - 1, start + k)] = rng.choice((0, 255, rng.randrange(256)))
    return _with_right_sums(bytes(out)) if data[:4] == b"\x89PNG" and rng.random() < 0.9 else bytes(out)


def _number(rng: Random, old: int, length: int, spots: list[Spot]) -> int:
    return rng.choice(
        (
            rng.choice(_INTERESTING),
            rng.choice(_INTERESTING),
            old + rng.choice((-1, 1, -2, 2, 16, -16)),
            old * rng.choice((2, 3, 256, 65536)),
            old // 2,
            rng.randrange(length + 1),
            length - rng.randrange(64),
            8,
            rng.choice(spots).at,
        )
    )


def _spots(data: bytes) -> Iterator[Spot]:
    """The numbers of a TIFF, PNG, BMP or JPEG (also of those inside a TIFF) that say sizes and places."""
    if data[:4] in (b"II*\0", b"II+\0"):
        yield from _tiff_spots(data)
    elif data[:4] == b"\x89PNG":
        yield from (Spot(at, size, ">") for at, size in ((16, 4), (20, 4), (24, 1), (25, 1), (26, 1), (27, 1), (28, 1)))
        at = 8
        while at + 8 <= len(data):
            yield Spot(at, 4, ">")
            at += 12 + int.from_bytes(data[at : at + 4], "big")
    elif data[:2] == b"BM":
        yield from (Spot(at, 4, "<") for at in (2, 10, 14, 18, 22, 30, 34, 46, 50))
        yield from (Spot(at, 2, "<") for at in (26, 28))
    yield from _jpeg_spots(data)


def _jpeg_spots(data: bytes) -> Iterator[Spot]:
    """Lengths of segments, and precision, height, width and components of frames, wherever a marker stands."""
    at = data.find(b"\xff")
    while at >= 0 and at + 20 < len(data):
        marker = data[at + 1]
        if marker in (0xC4, 0xDB, 0xDA, 0xDD, 0xE0, 0xEE) or 0xC0 <= marker <= 0xC2:
            yield Spot(at + 2, 2, ">")
            yield Spot(at + 1, 1, ">")
            if 0xC0 <= marker <= 0xC2:
                yield from (Spot(at + k, size, ">") for k, size in ((4, 1), (5, 2), (7, 2), (9, 1), (11, 1), (14, 1)))
            else:
                yield from (Spot(at + k, 1, ">") for k in range(4, 12))
        at = data.find(b"\xff", at + 1)


def _tiff_spots(data: bytes) -> Iterator[Spot]:
    """Everything in the header, the directories and the arrays they refer to."""
    big = data[2] == 43
    inline, counts, entry = (8, 8, 20) if big else (4, 2, 12)
    yield Spot(2, 2, "<")
    yield Spot(8 if big else 4, inline, "<")
    waiting, seen = [int.from_bytes(data[(at := 8 if big else 4) : at + inline], "little")], set()
    while waiting:
        offset = waiting.pop()
        if not offset or offset in seen or offset + counts > len(data):
            continue
        seen.add(offset)
        yield Spot(offset, counts, "<")
        number = int.from_bytes(data[offset : offset + counts], "little")
        at = offset + counts
        for _ in range(min(number, 100)):
            if at + entry > len(data):
                break
            tag, kind = struct.unpack_from("<HH", data, at)
            count = int.from_bytes(data[at + 4 : at + 4 + inline], "little")
            value = at + 4 + inline
            yield from (Spot(at, 2, "<"), Spot(at + 2, 2, "<"), Spot(at + 4, inline, "<"), Spot(value, inline, "<"))
            size = _TYPE_SIZE.get(kind, 1)
            where = value
            if count * size > inline:
                where = int.from_bytes(data[value : value + inline], "little")
                if size > 1:
                    yield from (Spot(where + size * k, size, "<") for k in range(min(count, 40)))
            if tag == 330:
                waiting += [int.from_bytes(data[where + size * k :][:size], "little") for k in range(count)]
            at += entry
        yield Spot(at, inline, "<")
        waiting.append(int.from_bytes(data[at : at + inline], "little"))


def _with_right_sums(data: bytes) -> bytes:
    """A PNG whose checksums are right, so that what is wrong inside is looked at."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        end = at + 8 + int.from_bytes(out[at : at + 4], "big")
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


_VALUES: Final = (
    None, True, "", "x", "..", "../a.zarr", "/", "0", "uint16", ">u1", "|u1", "uint8", "blosc", "gzip", "zstd", "bytes",
    "micrometer", "c", "tczyx", -1, -(2**63), 0.5, 1e308, [], {}, [[]], [0, 0, 0], [1, 1, 1], [2**31, 2**31, 3],
    {"name": "x"}, {"id": "zlib", "level": 1},
)  # fmt: skip


def _spoil_json(rng: Random, data: bytes) -> bytes:
    """JSON with a value, an entry or a name changed."""
    try:
        value = json.loads(data)
    except ValueError:
        return _spoil_bytes(rng, data)
    value = copy.deepcopy(value)
    holders: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            holders.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if isinstance(value, dict | list):
        walk(value)
    if not holders:
        return json.dumps(rng.choice(_VALUES)).encode()
    node, key = rng.choice(holders)
    roll = rng.random()
    if roll < 0.12:
        del node[key]
    elif roll < 0.2 and isinstance(node, list):
        node.extend([node[key]] * rng.choice((1, 2, 50)))
    elif isinstance(node[key], int) and roll < 0.8:
        node[key] = rng.choice(_INTERESTING)
    else:
        node[key] = rng.choice(_VALUES)
    return json.dumps(value).encode()
