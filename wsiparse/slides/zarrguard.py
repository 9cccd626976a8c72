"""A store of Zarr chunks that looks at what a chunk claims before a codec may allocate it.

The headers of Blosc, LZ4 and Zstandard say how large the content is, and codecs believe them: one file of some bytes
asks for gigabytes. Deflate, bzip2 and LZMA say nothing but grow a thousandfold and more. Here nothing passes that would
become larger than its chunk.

Sources: Blosc chunk format (c-blosc, README_CHUNK_FORMAT), Zstandard (RFC 8878, 3.1.1), numcodecs (LZ4 begins with the
size, 4 bytes), Zarr 3 sharding codec (zarr-specs, "sharding-indexed" 1.0).
"""

from __future__ import annotations

import bz2
import lzma
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from wsiparse.errors import UnsupportedSlideError

__all__ = ["Claim", "GuardedStore", "claim_of"]

#: More than what a chunk may become is let through unlooked at where the most it could become is no more than this.
_HARMLESS_BYTES: Final = 1 << 26
#: Deflate reaches 1032 (zlib's technical notes).
_DEFLATE: Final = 1032
_PIECE_BYTES: Final = 1 << 20

_METADATA: Final = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
_PACKED: Final = ("blosc", "gzip", "zlib", "zstd", "lz4", "bz2", "lzma")
#: More chunks than a shard has: its index is read whole.
_MOST_INNER: Final = 1 << 22


class _Stream(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What the chunks of an array may become.

    Parameters
    ----------
    packing : the codec outermost, "" for none; checksums around it are `trailer` bytes
    raw_bytes : bytes of a decoded chunk
    trailer : bytes of checksums behind it
    inner : chunks of a shard, 0 without shards
    index_bytes : bytes of a shard's index
    index_first : whether the index begins the shard
    """

    packing: str
    raw_bytes: int
    trailer: int = 0
    inner: int = 0
    index_bytes: int = 0
    index_first: bool = False

    def check(self, data: bytes) -> None:
        """See that an encoded chunk neither claims to be nor would become more than a chunk.

        Raises
        ------
        ValueError
            If it does.
        """
        data = data[: len(data) - self.trailer]
        size = _claimed(self.packing, data)
        if size is None and self.packing and self._may_grow(len(data)):
            size = _grown(self.packing, data, self.raw_bytes)
        if size is not None and size > self.raw_bytes:
            raise ValueError(f"a chunk of {self.raw_bytes} bytes claims {'more' if size < 0 else size}")

    def _may_grow(self, count: int) -> bool:
        return self.packing not in ("gzip", "zlib") or count * _DEFLATE > max(_HARMLESS_BYTES, 2 * self.raw_bytes)

    def check_shard(self, data: bytes) -> None:
        """The same for every chunk of a whole shard."""
        if len(data) < self.index_bytes:
            return  # zarr says so
        index = data[: self.index_bytes] if self.index_first else data[-self.index_bytes :]
        for start, count in struct.iter_unpack("<QQ", index[: 16 * self.inner]):
            if count < 1 << 63 and start + count <= len(data):
                self.check(data[start : start + count])


def _claimed(packing: str, data: bytes) -> int | None:
    """Bytes that the header says; None where there is none that tells."""
    if packing == "blosc" and len(data) >= 16:
        return int.from_bytes(data[4:8], "little")
    if packing == "lz4" and len(data) >= 4:
        return int.from_bytes(data[:4], "little")
    if packing == "zstd" and data[:4] == b"\x28\xb5\x2f\xfd" and len(data) > 4:
        flags = data[4]
        width = (1 if flags & 0x20 else 0, 2, 4, 8)[flags >> 6]
        at = 5 + (0 if flags & 0x20 else 1) + (0, 1, 2, 4)[flags & 3]
        if width and len(data) >= at + width:
            return int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)
    return None


def _grown(packing: str, data: bytes, most: int) -> int | None:
    """How large the content becomes, found by unpacking it without keeping it; stops past `most`."""
    if packing == "zstd":
        import imagecodecs

        return len(imagecodecs.zstd_decode(data, out=bytearray(most)))  # fails where there is more
    makers: dict[str, Callable[[], _Stream]] = {
        "gzip": lambda: zlib.decompressobj(31),
        "zlib": zlib.decompressobj,
        "bz2": bz2.BZ2Decompressor,
        "lzma": lzma.LZMADecompressor,
    }
    if packing not in makers:
        return None
    stream, total = makers[packing](), 0
    while total <= most and not stream.eof:
        piece = stream.decompress(data, _PIECE_BYTES)
        if not piece:
            break
        total += len(piece)
        data = getattr(stream, "unconsumed_tail", b"")
    return total


def claim_of(array: Any) -> Claim:
    """What the chunks of an opened array may become.

    Raises
    ------
    UnsupportedSlideError
        If they are packed more than once: the size in between has no bound.
    """
    raw = math.prod(array.chunks) * int(array.dtype.itemsize)
    if array.metadata.zarr_format == 2:
        filters = [str(f.codec_id) for f in array.metadata.filters or ()]
        packer = getattr(array.metadata.compressor, "codec_id", "")
        if any(name in _PACKED for name in filters):
            raise UnsupportedSlideError(f"its chunks are packed by {', '.join(filters)} as a filter")
        return Claim(str(packer), raw)
    codecs = tuple(array.metadata.codecs)
    shard = next((codec for codec in codecs if isinstance(codec, ShardingCodec)), None)
    if shard is None:
        return _packing(codecs, raw)
    if any(isinstance(codec, BloscCodec | GzipCodec | ZstdCodec) for codec in codecs):
        raise UnsupportedSlideError("its shards are packed as a whole")
    inner = math.prod(n // m for n, m in zip(array.shards, array.chunks, strict=True))
    if inner > _MOST_INNER:
        raise UnsupportedSlideError(f"its shards claim {inner} chunks each")
    inside = _packing(tuple(shard.codecs), raw)
    checks = sum(4 for codec in shard.index_codecs if isinstance(codec, Crc32cCodec))
    first = str(getattr(shard.index_location, "value", shard.index_location)) == "start"
    return Claim(inside.packing, raw, inside.trailer, inner, 16 * inner + checks, first)


def _packing(codecs: tuple[Any, ...], raw: int) -> Claim:
    packers = [c for c in codecs if isinstance(c, BloscCodec | GzipCodec | ZstdCodec)]
    if len(packers) > 1:
        raise UnsupportedSlideError("its chunks are packed more than once")
    trailer = sum(4 for c in codecs if isinstance(c, Crc32cCodec))
    names = {BloscCodec: "blosc", GzipCodec: "gzip", ZstdCodec: "zstd"}
    return Claim(next((names[type(c)] for c in packers), ""), raw, trailer)


class GuardedStore(WrapperStore[LocalStore]):
    """A folder's array whose chunks are looked at.

    Attributes
    ----------
    claim : what they may become; nothing is looked at while it is None
    """

    claim: Claim | None = None

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """A value, or part of it; `ValueError` if it is a chunk that claims too much."""
        value = await self._store.get(key, prototype, byte_range)
        if value is not None and self.claim is not None and key.rpartition("/")[2] not in _METADATA:
            if self.claim.inner and byte_range is None:
                self.claim.check_shard(value.to_bytes())
            elif not self._is_index(byte_range):
                self.claim.check(value.to_bytes())
        return value

    def _is_index(self, byte_range: ByteRequest | None) -> bool:
        if isinstance(byte_range, SuffixByteRequest):
            return True
        return (
            self.claim is not None
            and self.claim.index_first
            and isinstance(byte_range, RangeByteRequest)
            and byte_range.start == 0
        )
