from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures_slides import textured, write_svs
from wsiparse.coords import Frame
from wsiparse.errors import TileReadError
from wsiparse.slides import open_slide
from wsiparse.slides.codestream import claimed_size, jpeg_frames
from wsiparse.slides.tilecodecs import TileDataError, TileFormat, decode_tile
from wsiparse.types import Box

ENCODERS = {
    "jpeg": lambda a: imagecodecs.jpeg8_encode(a, level=80),
    "progressive": lambda a: imagecodecs.jpeg8_encode(a, level=80, optimize=True),
    "codestream": lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k"),
    "jp2": lambda a: imagecodecs.jpeg2k_encode(a, codecformat="jp2"),
    "webp": lambda a: imagecodecs.webp_encode(a, level=80),
    "webp lossless": lambda a: imagecodecs.webp_encode(a, lossless=True),
    "webp with alpha": lambda a: imagecodecs.webp_encode(np.dstack([a, a[..., 0]]), level=80),
}


@pytest.mark.parametrize("kind", ENCODERS)
@settings(max_examples=15)
@given(width=st.integers(16, 300), height=st.integers(16, 300))
def test_the_size_a_stream_claims_is_the_pictures(kind: str, width: int, height: int) -> None:
    data = ENCODERS[kind](textured(height, width))
    assert claimed_size(data) == (width, height)
    assert claimed_size(data[:4096]) == (width, height)


def with_preview(jpeg: bytes, preview: bytes, segment: bytes = b"\xff\xe1") -> bytes:
    """A JPEG with another one in a segment before its own header, as cameras and scanners write thumbnails."""
    return jpeg[:2] + segment + (len(preview) + 2).to_bytes(2) + preview + jpeg[2:]


@pytest.mark.parametrize("preview_px", [16, 160])
def test_a_preview_in_a_jpeg_is_not_its_frame(preview_px: int) -> None:
    """Whether it is smaller or larger than the picture, for every reader of JPEG headers."""
    picture, small = textured(64, 64), textured(preview_px, preview_px)
    plain = imagecodecs.jpeg8_encode(picture, level=90)
    data = with_preview(plain, imagecodecs.jpeg8_encode(small, level=50))
    assert claimed_size(data) == (64, 64)
    assert jpeg_frames(data) == [(64, 64, 3)]
    stored = TileFormat("jpeg", (64, 64))
    got, expected = np.empty((64, 64, 3), np.uint8), np.empty((64, 64, 3), np.uint8)
    decode_tile(data, stored, got)
    decode_tile(plain, stored, expected)
    np.testing.assert_array_equal(got, expected)


def test_a_second_frame_is_seen_by_every_reader_of_jpeg_headers() -> None:
    """A decoder might believe either; the larger one must not decide how much memory is taken."""
    plain = imagecodecs.jpeg8_encode(textured(64, 64), level=90)
    at = plain.index(b"\xff\xc0")
    frame = plain[at : at + 2 + int.from_bytes(plain[at + 2 : at + 4])]
    huge = frame[:5] + b"\xff\xff\xff\xff" + frame[9:]
    for data in (plain[:at] + huge + plain[at:], plain[:at] + frame + huge + plain[at + len(frame) :]):
        assert sorted(jpeg_frames(data)) == [(64, 64, 3), (65535, 65535, 3)]
        assert claimed_size(data) == (65535, 65535)
        with pytest.raises(TileDataError, match="65535 x 65535 px with 3 samples, the tile of 64 x 64"):
            decode_tile(data, TileFormat("jpeg", (64, 64)), np.empty((64, 64, 3), np.uint8))


@given(
    head=st.sampled_from([b"", b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"RIFF0000WEBPVP8X", b"0000jP  "]),
    rest=st.binary(),
)
def test_no_bytes_are_more_than_unknown(head: bytes, rest: bytes) -> None:
    claim = claimed_size(head + rest)
    assert claim is None or min(claim) >= 0


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp"])
def test_a_tile_that_claims_to_be_larger_is_unreadable_and_costs_no_memory(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.tif"
    if compression == "jpeg":
        write_svs(path, textured(200, 300), steps=(1,))
    else:
        tifffile.imwrite(path, textured(200, 300), tile=(64, 64), photometric="rgb", compression=compression)
    with open_slide(path, slide_mpp=0.5, reader="tiffslide") as slide:
        over = Frame((300, 200), (1, 1), (0.5, 0.5))
        before = slide.read(Box(64, 0, 236, 200), over)
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    tile = bytes(data[start : start + count])
    for at in range(min(count, 1000)):  # the height, wherever this codec writes it
        changed = tile[:at] + b"\x3f\xff" + tile[at + 2 :]
        claim = claimed_size(changed)
        if claim is not None and max(claim) > 10_000:
            break
    else:
        pytest.fail("no such place")
    data[start : start + count] = changed
    path.write_bytes(data)
    with open_slide(path, slide_mpp=0.5, reader="tiffslide") as slide:
        with pytest.raises(TileReadError, match="a tile of 64 x 64 px claims"):
            slide.read(Box(0, 0, 9, 9), over)
        np.testing.assert_array_equal(slide.read(Box(64, 0, 236, 200), over), before)
