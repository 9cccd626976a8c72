"""One compressed tile of a TIFF to RGB: which codings are understood, and what a damaged or hostile tile may cost.

A tile is decoded into memory of the size its TIFF states. What a tile's own header claims is compared with that before
a decoder sees it, because libjpeg and OpenJPEG allocate by the header (a progressive JPEG of some hundred bytes can ask
for 25 GB).

Codings after TIFF 6.0 (Adobe, 1992) sections 13, 14 and 22, TIFF Technical Note 2 (JPEG), and the numbers that libtiff
and Aperio registered later. JPEG 2000 SIZ: ITU-T T.800 annex A.5.1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wsiparse.slides.codestream import jpeg_frames

__all__ = ["CODINGS", "Coding", "TileDataError", "TileFormat", "decode_tile"]

Coding = Literal["none", "lzw", "deflate", "zstd", "jpeg", "webp", "jpeg2000"]

#: TIFF Compression numbers of the codings that are understood (33005: Aperio's JPEG 2000 without colour transform).
CODINGS: Final[Mapping[int, Coding]] = {
    1: "none", 5: "lzw", 7: "jpeg", 8: "deflate", 32946: "deflate", 33005: "jpeg2000", 50000: "zstd", 50001: "webp",
}  # fmt: skip

#: What the decoders raise on data they do not like; codec errors derive from RuntimeError.
_DECODER_ERRORS: Final = (LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError, struct.error)

_Decoder = Callable[["bytes", "TileFormat", "NDArray[np.uint8]"], None]

_START, _END = b"\xff\xd8", b"\xff\xd9"


class TileDataError(Exception):
    """The bytes of one tile are no picture of the tile's size; the text is the reason, without a full stop."""


@dataclass(frozen=True, slots=True)
class TileFormat:
    """How the tiles of a level are stored.

    Parameters
    ----------
    coding : compression
    size : (width, height) of a tile, px; edge tiles are stored whole
    colour : colour of JPEG samples: "RGB", "YCBCR", or None to let the JPEG's own markers decide
    tables : JPEG tables shared by all tiles (TIFF tag 347), b"" without any
    differences : samples are stored as differences to their left neighbour (TIFF predictor 2)
    """

    coding: Coding
    size: tuple[int, int]
    colour: Literal["RGB", "YCBCR"] | None = None
    tables: bytes = b""
    differences: bool = False

    @property
    def raw_bytes(self) -> int:
        """Bytes of a decoded tile."""
        return self.size[0] * self.size[1] * 3

    @property
    def most_bytes(self) -> int:
        """More than any coded tile has: coded noise is a little larger than the pixels."""
        return 2 * self.raw_bytes + (1 << 16)


def decode_tile(data: bytes, stored: TileFormat, out: NDArray[np.uint8]) -> None:
    """Decode one tile.

    Parameters
    ----------
    data : the bytes the TIFF places there
    stored : how tiles are stored, of the tile's level
    out : (height, width, 3) uint8, C-contiguous; written: RGB, or anything if the tile is damaged

    Raises
    ------
    TileDataError
        If the data are damaged or make another picture than the TIFF states.
    """
    try:
        _DECODERS[stored.coding](data, stored, out)
    except _DECODER_ERRORS as error:
        text = " ".join(str(error).split())[:200].rstrip(".")
        raise TileDataError(text or type(error).__name__) from error
    if stored.differences:
        np.cumsum(out, axis=1, dtype=np.uint8, out=out)  # modulo 256


def _jpeg(data: bytes, stored: TileFormat, out: NDArray[np.uint8]) -> None:
    if data[:2] != _START:
        raise TileDataError("it does not start like a JPEG")
    frames = jpeg_frames(data)
    if not frames:
        raise TileDataError("it has no JPEG frame header")
    for width, height, samples in frames:  # a second one might be believed as well
        if (width, height, samples) != (*stored.size, 3):
            raise TileDataError(
                f"the JPEG is of {width} x {height} px with {samples} samples, the tile of {stored.size[0]} x "
                f"{stored.size[1]} px with 3"
            )
    # the decoder fills what is missing with grey and says nothing
    if data.rfind(_END) < 0:
        raise TileDataError("the JPEG breaks off before its end")
    imagecodecs.jpeg8_decode(
        data, tables=stored.tables or None, colorspace=stored.colour, outcolorspace="RGB", out=out
    )  # fmt: skip


def _jpeg2000(data: bytes, stored: TileFormat, out: NDArray[np.uint8]) -> None:
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 42:
        raise TileDataError("it does not start like a JPEG 2000 codestream")
    x1, y1, x0, y0 = struct.unpack_from(">4I", data, 8)
    (samples,) = struct.unpack_from(">H", data, 40)
    if (x1 - x0, y1 - y0, samples) != (*stored.size, 3):
        raise TileDataError(
            f"the JPEG 2000 codestream is of {x1 - x0} x {y1 - y0} px with {samples} samples, the tile of "
            f"{stored.size[0]} x {stored.size[1]} px with 3"
        )
    if data.rfind(_END) < 0:
        raise TileDataError("the JPEG 2000 codestream breaks off before its end")
    pixels = imagecodecs.jpeg2k_decode(data, numthreads=1)
    if pixels.shape != out.shape or pixels.dtype != np.uint8:
        raise TileDataError(f"decoded to {pixels.dtype} {pixels.shape}, expected uint8 {out.shape}")
    out[:] = pixels


def _webp(data: bytes, stored: TileFormat, out: NDArray[np.uint8]) -> None:
    # the header is compared with the shape of `out` before anything is decoded
    imagecodecs.webp_decode(data, hasalpha=False, out=out)


def _bytes_with(decode: Callable[..., object]) -> _Decoder:
    """A decoder of plain samples; a buffer of the tile's size bounds what it may write."""

    def decoded(data: bytes, stored: TileFormat, out: NDArray[np.uint8]) -> None:
        got = decode(data, out=bytearray(stored.raw_bytes))
        _put(np.frombuffer(got, np.uint8), stored, out)  # type: ignore[call-overload]

    return decoded


def _put(samples: NDArray[np.uint8], stored: TileFormat, out: NDArray[np.uint8]) -> None:
    if len(samples) < stored.raw_bytes:
        raise TileDataError(f"it holds {len(samples)} of {stored.raw_bytes} bytes")
    out[:] = samples[: stored.raw_bytes].reshape(out.shape)


def _none(data: bytes, stored: TileFormat, out: NDArray[np.uint8]) -> None:
    _put(np.frombuffer(data, np.uint8), stored, out)


_DECODERS: Final[Mapping[Coding, _Decoder]] = {
    "none": _none,
    "lzw": _bytes_with(imagecodecs.lzw_decode),
    "deflate": _bytes_with(imagecodecs.zlib_decode),
    "zstd": _bytes_with(imagecodecs.zstd_decode),
    "jpeg": _jpeg,
    "webp": _webp,
    "jpeg2000": _jpeg2000,
}
