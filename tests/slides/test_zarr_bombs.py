"""Chunks that claim more than they may become are one unreadable region each, at no cost in memory."""

from __future__ import annotations

import bz2
import json
import lzma
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ShardingCodec, ZstdCodec

from tests.fixtures_slides import textured
from tests.slides.zarrs import write_ome_zarr
from wsiparse.coords import Frame
from wsiparse.errors import TileReadError, UnsupportedSlideError
from wsiparse.slides import open_slide
from wsiparse.types import Box

PICTURE = textured(100, 200)
WHOLE = Frame((200, 100), (1, 1), (0.5, 0.5))
FIRST = Box(0, 0, 64, 64)
SECOND = Box(64, 0, 64, 64)
HUGE = 3 << 30

#: More memory than the process has before it reads a bomb, bytes.
ALLOWED = 512 << 20


def blosc(_: bytes) -> bytes:
    """A header that claims 2 GB."""
    return bytes([2, 1, 0x13, 1]) + struct.pack("<III", (1 << 31) - 17, 1 << 20, 4096) + bytes(4080)


def zstd(_: bytes) -> bytes:
    return b"\x28\xb5\x2f\xfd" + bytes([0xE0]) + struct.pack("<Q", HUGE) + bytes(200)


def lz4(_: bytes) -> bytes:
    return struct.pack("<I", (1 << 31) - 1) + bytes(200)


def zstd_unsaid(_: bytes) -> bytes:
    """Streams need not say how large they become: 256 MB from some kilobytes."""
    coded: bytes = imagecodecs.zstd_encode(bytes(256 << 20), level=1)
    flags = coded[4]
    width = (1 if flags & 0x20 else 0, 2, 4, 8)[flags >> 6]
    # without size and single segment: a window of 2^27 instead
    return coded[:4] + bytes([flags & 0x1F, (27 - 10) << 3]) + coded[5 + width + (0 if flags & 0x20 else 1) :]


def zeros(make: Callable[[], Any], count: int) -> bytes:
    packer, block = make(), bytes(1 << 20)
    return b"".join([packer.compress(block) for _ in range(count)]) + bytes(packer.flush())


def gzip(_: bytes) -> bytes:
    return zeros(lambda: zlib.compressobj(9, zlib.DEFLATED, 31), 120)


def zlibbed(_: bytes) -> bytes:
    return zeros(lambda: zlib.compressobj(9), 120)


BOMBS: dict[str, tuple[str, dict[str, Any], Callable[[bytes], bytes]]] = {
    "v3 blosc": ("0.5", {"compressors": BloscCodec()}, blosc),
    "v3 zstd": ("0.5", {"compressors": ZstdCodec()}, zstd),
    "v3 zstd that says nothing": ("0.5", {"compressors": ZstdCodec()}, zstd_unsaid),
    "v3 gzip": ("0.5", {"compressors": GzipCodec()}, gzip),
    "v2 blosc": ("0.4", {"compressors": numcodecs.Blosc()}, blosc),
    "v2 zstd": ("0.4", {"compressors": numcodecs.Zstd()}, zstd),
    "v2 lz4": ("0.4", {"compressors": numcodecs.LZ4()}, lz4),
    "v2 zlib": ("0.4", {"compressors": numcodecs.Zlib()}, zlibbed),
    "v2 bz2": ("0.4", {"compressors": numcodecs.BZ2()}, lambda _: zeros(bz2.BZ2Compressor, 48)),
    "v2 lzma": ("0.4", {"compressors": numcodecs.LZMA()}, lambda _: zeros(lzma.LZMACompressor, 48)),
}


def first_chunk(folder: Path, version: str) -> Path:
    return folder / "0" / ("c/0/0/0" if version == "0.5" else "0.0.0")


def bomb(folder: Path, kind: str) -> Path:
    version, options, make = BOMBS[kind]
    write_ome_zarr(folder, PICTURE, version=version, steps=(1,), **options)
    chunk = first_chunk(folder, version)
    chunk.write_bytes(make(chunk.read_bytes()))
    return folder


READ_IN_LITTLE_MEMORY = f"""
    import resource, sys
    from pathlib import Path
    import imagecodecs, zarr
    from wsiparse.coords import Frame
    from wsiparse.errors import TileReadError
    from wsiparse.slides import open_slide
    from wsiparse.types import Box
    with open_slide(Path(sys.argv[1])) as slide:
        frame = Frame((200, 100), (1, 1), (0.5, 0.5))
        slide.read(Box(64, 0, 64, 64), frame)  # whatever is loaded on first use
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + {ALLOWED},) * 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            slide.read(Box(0, 0, 64, 64), frame)
            print("read")
        except TileReadError as error:
            print(error)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts memory as Linux does")
@pytest.mark.parametrize("kind", BOMBS)
def test_a_chunk_that_claims_gigabytes_costs_one_line_and_little_memory(tmp_path: Path, kind: str) -> None:
    folder = bomb(tmp_path / "a.zarr", kind)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READ_IN_LITTLE_MEMORY), str(folder)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told, grown_mb = done.stdout.splitlines()
    assert "cannot decode level 0, x 0-64, y 0-64" in told
    assert "MemoryError" not in told
    assert int(grown_mb) < 32


@pytest.mark.parametrize("kind", BOMBS)
def test_only_its_own_region_is_lost(tmp_path: Path, kind: str) -> None:
    with open_slide(bomb(tmp_path / "a.zarr", kind)) as slide:
        with pytest.raises(TileReadError):
            slide.read(FIRST, WHOLE)
        np.testing.assert_array_equal(slide.read(SECOND, WHOLE), PICTURE[:64, 64:128])


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize("whole", [True, False])
def test_chunks_of_a_shard_are_looked_at_one_by_one(tmp_path: Path, location: str, whole: bool) -> None:
    folder = tmp_path / "a.zarr"
    shards = ShardingCodec(chunk_shape=(1, 32, 32), codecs=[BytesCodec(), BloscCodec()], index_location=location)
    write_ome_zarr(folder, PICTURE, steps=(1,))
    array = zarr.create_array(
        folder / "0", shape=(3, 100, 200), dtype="uint8", chunks=(1, 64, 64), serializer=shards, compressors=None,
        filters=None, overwrite=True,
    )  # fmt: skip
    array[:] = PICTURE.transpose(2, 0, 1)
    chunk = first_chunk(folder, "0.5")
    data = bytearray(chunk.read_bytes())
    index = data[:64] if location == "start" else data[-68:-4]
    at = struct.unpack_from("<Q", index)[0]
    data[at + 4 : at + 8] = struct.pack("<I", (1 << 31) - 17)  # a Blosc header
    chunk.write_bytes(data)
    with open_slide(folder) as slide:
        with pytest.raises(TileReadError, match="a chunk of 1024 bytes claims 2147483631"):
            slide.read(FIRST if whole else Box(0, 0, 20, 20), WHOLE)
        np.testing.assert_array_equal(slide.read(SECOND, WHOLE), PICTURE[:64, 64:128])
        if not whole:
            np.testing.assert_array_equal(slide.read(Box(32, 0, 32, 32), WHOLE), PICTURE[:32, 32:64])


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": BloscCodec(cname="zstd")},
        {"compressors": ZstdCodec(checksum=True)},
        {"compressors": GzipCodec()},
        {"compressors": None},
        {"shards": (3, 64, 128)},
    ],
)
def test_what_claims_what_it_is_passes(tmp_path: Path, options: dict[str, Any]) -> None:
    with open_slide(write_ome_zarr(tmp_path / "a.zarr", PICTURE, steps=(1,), **options)) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 200, 100), WHOLE), PICTURE)


def test_chunks_that_are_packed_twice_are_refused(tmp_path: Path) -> None:
    folder = write_ome_zarr(
        tmp_path / "a.zarr", PICTURE, version="0.4", steps=(1,), filters=[numcodecs.Zlib()], compressors=None
    )
    with pytest.raises(UnsupportedSlideError, match="packed by zlib as a filter"):
        open_slide(folder)


def test_a_shard_that_claims_countless_chunks_is_refused(tmp_path: Path) -> None:
    folder = write_ome_zarr(tmp_path / "a.zarr", PICTURE, steps=(1,), shards=(3, 64, 128))
    path = folder / "0" / "zarr.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["shape"] = facts["chunk_grid"]["configuration"]["chunk_shape"] = [3, 1 << 16, 1 << 16]
    facts["codecs"][0]["configuration"]["chunk_shape"] = [1, 1, 1]
    path.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(UnsupportedSlideError, match="its shards claim 12884901888 chunks each"):
        open_slide(folder)
