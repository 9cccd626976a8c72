"""Damaged and hostile tiles, read directly: each costs itself."""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from tests.slides.picture import HEIGHT, PICTURE, WIDTH, scaled
from tests.slides.tiled import (
    jpeg,
    set_tag,
    tile_place,
    write_jpeg2000_tiff,
    write_jpeg_tiff,
    write_plain_tiff,
)
from wsiparse.coords import Frame
from wsiparse.errors import TileReadError
from wsiparse.slides import Slide, direct, open_slide
from wsiparse.types import Box


def damaged(tmp_path: Path, index: int = 10, **options: object) -> tuple[Path, int, int, np.ndarray]:
    """A slide, the place of one of its tiles (9 in a row), and its pixels while it was whole."""
    path = write_jpeg_tiff(tmp_path / "d.svs", PICTURE, **options)  # type: ignore[arg-type]
    with open_slide(path) as slide:
        whole = slide.read(Box(0, 0, WIDTH, HEIGHT), scaled(1))
    return path, *tile_place(path, index), whole


def assert_only_this_tile_is_lost(path: Path, whole: np.ndarray, reason: str) -> None:
    with open_slide(path, reader="direct") as slide:
        for _ in range(2):
            with pytest.raises(TileReadError, match=reason) as caught:
                slide.read(Box(100, 100, 50, 50), scaled(1))
            assert str(caught.value).startswith("d.svs: cannot decode level 0, x 100-150, y 100-150 (tile in column 1,")
            assert "\n" not in str(caught.value)
            np.testing.assert_array_equal(slide.read(Box(128, 0, 300, 300), scaled(1)), whole[:300, 128:428])


@pytest.mark.parametrize(
    ("at", "content", "reason"),
    [
        (0.0, b"\0" * 40, "does not start like a JPEG"),
        (0.0, b"\xff\xd8\xff\xd9", "it has no JPEG frame header"),
        (0.0, b"\xff\xd8" + b"\xff" * 60, "it has no JPEG frame header"),
        (0.7, b"\0" * 10_000, "breaks off before its end"),
    ],
)
def test_a_damaged_tile_costs_only_itself(tmp_path: Path, at: float, content: bytes, reason: str) -> None:
    path, offset, count, whole = damaged(tmp_path)
    start = int(count * at)
    with path.open("r+b") as file:
        file.seek(offset + start)
        file.write(content[: count - start])
    assert_only_this_tile_is_lost(path, whole, reason)


@pytest.mark.parametrize("threads", [1, 3])
def test_of_several_damaged_tiles_the_first_is_told(tmp_path: Path, threads: int) -> None:
    path, *_ = damaged(tmp_path)
    for index in (30, 12, 10, 11):
        offset, count = tile_place(path, index)
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(bytes(count))
    with open_slide(path, reader="direct", threads=threads) as slide, ThreadPoolExecutor(4) as pool:
        told = pool.map(lambda _: fault_of(slide, Box(0, 0, WIDTH, HEIGHT)), range(8))
        assert all("(tile in column 1, row 1: it does not start like a JPEG)" in text for text in told)


def fault_of(slide: Slide, box: Box) -> str:
    with pytest.raises(TileReadError) as caught:
        slide.read(box, scaled(1))
    return str(caught.value)


def test_tiles_beside_each_other_in_the_file_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, offset, count, whole = damaged(tmp_path)
    reads: list[tuple[int, int]] = []
    broken = range(0)
    real = os.pread

    def pread(fd: int, n: int, at: int) -> bytes:
        reads.append((at, n))
        if at < broken.stop and broken.start < at + n:
            raise OSError(5, "Input/output error")
        return real(fd, n, at)

    monkeypatch.setattr(os, "pread", pread)
    with open_slide(path, reader="direct") as slide:
        reads.clear()
        np.testing.assert_array_equal(slide.read(Box(0, 64, WIDTH, 64), scaled(1)), whole[64:128])
        assert len(reads) == 1
        assert sum(n for _, n in reads) < sum(tile_place(path, k)[1] for k in range(9, 18)) + 9 * 4096
    broken = range(offset + 1, offset + count)
    with open_slide(path, reader="direct") as slide:
        assert "(tile in column 1, row 1: Input/output error)" in fault_of(slide, Box(0, 64, WIDTH, 64))
        np.testing.assert_array_equal(slide.read(Box(0, 64, 64, 64), scaled(1)), whole[64:128, :64])
        np.testing.assert_array_equal(slide.read(Box(128, 0, 300, 300), scaled(1)), whole[:300, 128:428])


@pytest.mark.parametrize("neighbour", [(3_000, -2_000), (3_000, 1 << 40), (2_999, 10), (-5, 3), (1 << 62, 1 << 62)])
def test_a_tile_beside_a_false_claim_is_read_whole(tmp_path: Path, neighbour: tuple[int, int]) -> None:
    data = np.random.default_rng(0).bytes(5_000)
    (tmp_path / "a").write_bytes(data)
    with (tmp_path / "a").open("rb") as file:
        assert direct._read_run(file.fileno(), [(1_000, 2_000), neighbour])[:2_000] == data[1_000:3_000]


@pytest.mark.parametrize("run_bytes", [1, 3_000, 20_000])
@pytest.mark.parametrize("gap_bytes", [-1, 0, 4096])
def test_pixels_do_not_depend_on_what_is_read_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int, gap_bytes: int
) -> None:
    path, _, _, whole = damaged(tmp_path)
    # one tile elsewhere, and two that share their bytes
    with path.open("rb") as file:
        file.seek(tile_place(path, 12)[0])
        copy = file.read(tile_place(path, 12)[1])
    retarget(path, 12, *append(path, copy))
    retarget(path, 11, *tile_place(path, 10))
    expected = whole.copy()
    expected[64:128, 128:192] = whole[64:128, 64:128]
    monkeypatch.setattr(direct, "_RUN_BYTES", run_bytes)
    monkeypatch.setattr(direct, "_GAP_BYTES", gap_bytes)
    with open_slide(path, reader="direct") as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, WIDTH, HEIGHT), scaled(1)), expected)


@pytest.mark.parametrize("shape", [(64, 32), (32, 64), (128, 128), (16, 16)])
def test_a_jpeg_of_another_size_than_its_tile_is_an_error(tmp_path: Path, shape: tuple[int, int]) -> None:
    path, _, _, whole = damaged(tmp_path)
    other = jpeg(np.zeros((*shape, 3), np.uint8))
    offset, _ = append(path, other)
    retarget(path, 10, offset, len(other))
    assert_only_this_tile_is_lost(path, whole, "the JPEG is of .* the tile of 64 x 64 px with 3")


def test_a_jpeg_that_claims_a_gigapixel_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path, offset, count, whole = damaged(tmp_path)
    with path.open("rb") as file:
        file.seek(offset)
        data = bytearray(file.read(count))
    frame = data.index(b"\xff\xc0")
    data[frame + 1] = 0xC2  # progressive: libjpeg would hold all coefficients
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    assert_only_this_tile_is_lost(path, whole, "the JPEG is of 65500 x 65500 px")


def append(path: Path, data: bytes) -> tuple[int, int]:
    with path.open("ab") as file:
        offset = file.tell()
        file.write(data)
    return offset, len(data)


def retarget(path: Path, index: int, offset: int, count: int) -> None:
    with tifffile.TiffFile(path) as tiff:
        offsets, counts = (list(tiff.pages[0].tags[n].value) for n in ("TileOffsets", "TileByteCounts"))
    offsets[index], counts[index] = offset, count
    set_tag(path, "TileOffsets", offsets)
    set_tag(path, "TileByteCounts", counts)


def test_an_absurd_byte_count_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path, _, _, whole = damaged(tmp_path)
    offset, _ = append(path, bytes(1 << 20))
    retarget(path, 10, offset, 1 << 20)
    assert_only_this_tile_is_lost(path, whole, "claims 1048576 bytes for 12288 bytes of pixels")


def test_damaged_shared_tables_make_tiles_unreadable_and_nothing_worse(tmp_path: Path) -> None:
    path = write_jpeg_tiff(tmp_path / "d.svs", PICTURE, tables=True, steps=(1,))
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags["JPEGTables"]
        at, count = tag.valueoffset, tag.count
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\0" * count)
    with open_slide(path, reader="direct") as slide, pytest.raises(TileReadError, match="cannot decode level 0"):
        slide.read(Box(100, 100, 50, 50), scaled(1))


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_file_that_shrinks_while_it_is_read_loses_only_what_is_gone(tmp_path: Path, keep: float) -> None:
    path = write_jpeg_tiff(tmp_path / "d.svs", PICTURE, steps=(1,))
    last, count = tile_place(path, 53)
    with open_slide(path) as slide:
        whole = slide.read(Box(0, 0, WIDTH, HEIGHT), scaled(1))
    with open_slide(path) as slide:
        os.truncate(path, last + int(keep * count))
        with pytest.raises(TileReadError, match=rf"the file ends after {int(keep * count)} of {count} bytes"):
            slide.read(Box(500, 330, 20, 14), scaled(1))
        np.testing.assert_array_equal(slide.read(Box(0, 0, 512, 320), scaled(1)), whole[:320, :512])


@pytest.mark.parametrize("coding", ["deflate", "lzw", "zstd", "webp", "none"])
def test_a_tile_that_unpacks_to_another_size_is_an_error(tmp_path: Path, coding: str) -> None:
    path = write_plain_tiff(tmp_path / "d.tif", PICTURE, coding, aperio=False, steps=(1,))
    small = {
        "deflate": imagecodecs.zlib_encode(bytes(12287)),
        "lzw": imagecodecs.lzw_encode(bytes(12287)),
        "zstd": imagecodecs.zstd_encode(bytes(12287)),
        "webp": imagecodecs.webp_encode(np.zeros((32, 64, 3), np.uint8)),
        "none": bytes(12287),
    }[coding]
    offset, count = append(path, small)
    retarget(path, 10, offset, count)
    with open_slide(path, slide_mpp=0.5, reader="direct") as slide:
        with pytest.raises(TileReadError, match="tile in column 1, row 1"):
            slide.read(Box(100, 100, 50, 50), scaled(1))
        slide.read(Box(128, 0, 300, 300), scaled(1))


@pytest.mark.parametrize("coding", ["deflate", "zstd"])
def test_a_tile_that_unpacks_to_more_than_it_should_writes_no_further(tmp_path: Path, coding: str) -> None:
    path = write_plain_tiff(tmp_path / "d.tif", PICTURE, coding, aperio=False, steps=(1,))
    encode = imagecodecs.zlib_encode if coding == "deflate" else imagecodecs.zstd_encode
    offset, count = append(path, encode(bytes(10_000_000)))
    assert count < 2 * 12288
    retarget(path, 10, offset, count)
    with (
        open_slide(path, slide_mpp=0.5, reader="direct") as slide,
        pytest.raises(TileReadError, match="tile in column 1, row 1"),
    ):
        slide.read(Box(100, 100, 50, 50), scaled(1))


@pytest.mark.parametrize("kind", ["jpeg", "deflate", "lzw", "zstd", "webp", "jpeg2000"])
def test_no_damage_to_a_tile_is_more_than_a_tile_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "d.svs"
    if kind == "jpeg":
        write_jpeg_tiff(path, PICTURE[:64, :64], steps=(1,), tables=True)
    elif kind == "jpeg2000":
        write_jpeg2000_tiff(path, PICTURE[:64, :64], level=38)
    else:
        write_plain_tiff(path, PICTURE[:64, :64], kind, steps=(1,), aperio=False)
    offset, count = tile_place(path, 0)
    whole, rng, outcomes = path.read_bytes(), np.random.default_rng(7), []
    for k in range(150):
        hit = bytearray(whole)
        for _ in range(1 + k % 3):
            within = count if k % 2 else min(count, 40)
            hit[offset + int(rng.integers(0, within))] = int(rng.integers(0, 256))
        path.write_bytes(hit)
        outcomes.append(use(path))
    assert any(outcomes)
    assert all("\n" not in outcome for outcome in outcomes)


def use(path: Path) -> str:
    """Read the only tile of a slide; why it could not be read, or ""."""
    with open_slide(path, slide_mpp=0.5, reader="direct") as slide:
        try:
            assert slide.read(Box(0, 0, 64, 64), Frame((64, 64), (1, 1), (1, 1))).shape == (64, 64, 3)
        except TileReadError as error:
            return str(error)
    return ""
