"""Whole pictures as slides: exact pixels, a stated bound, and one clear line for what is not one."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.fixtures_slides import textured
from wsiparse.coords import Frame
from wsiparse.errors import MissingMppError, UnsupportedSlideError
from wsiparse.slides import image as image_reader
from wsiparse.slides import open_slide, require_mpp
from wsiparse.types import Box

PICTURE = textured(150, 1030, seed=2)
OVER = Frame((1030, 150), (1, 1), (0.5, 0.5))
WHOLE = Box(0, 0, 1030, 150)


def pixels(path: Path) -> np.ndarray:
    with open_slide(path, slide_mpp=0.5) as slide:
        assert slide.reader == "image"
        width, height = slide.size
        return slide.read(Box(0, 0, width, height), Frame((width, height), (1, 1), (0.5, 0.5)))


def over_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint32)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


@pytest.mark.parametrize("bands", [1, 7000, 1 << 24])
@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("bmp", {}), ("jpg", {"quality": 95})])
def test_the_pixels_are_the_pictures(
    tmp_path: Path, suffix: str, options: dict, bands: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_reader, "_BAND_PX", bands)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PICTURE).save(path, **options)
    with Image.open(path) as stored:
        expected = np.asarray(stored.convert("RGB"))
    np.testing.assert_array_equal(pixels(path), expected)
    if suffix != "jpg":
        np.testing.assert_array_equal(pixels(path), PICTURE)


def test_grey_palette_and_alpha_become_rgb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (40, 50, 4)).astype(np.uint8)
    grey = rgba[..., 0]
    for name, array, expected in (
        ("L", grey, np.repeat(grey[..., None], 3, 2)),
        ("RGBA", rgba, over_white(rgba)),
        ("LA", rgba[..., [0, 3]], over_white(rgba[..., [0, 0, 0, 3]])),
    ):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(pixels(tmp_path / f"{name}.png"), expected)
    palette = Image.fromarray(rgba[..., :3]).quantize(16)
    palette.save(tmp_path / "P.png")
    np.testing.assert_array_equal(pixels(tmp_path / "P.png"), np.asarray(palette.convert("RGB")))
    palette.save(tmp_path / "hole.png", transparency=3)
    holed = np.asarray(palette.convert("RGB")).copy()
    holed[np.asarray(palette) == 3] = 255
    np.testing.assert_array_equal(pixels(tmp_path / "hole.png"), holed)


@pytest.mark.parametrize("rows", [1, 16, 150])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "jpeg"])
def test_a_tiff_of_strips_is_read_once_and_is_what_tiffslide_reads(
    tmp_path: Path, rows: int, compression: str | None
) -> None:
    path = tmp_path / "strips.tif"
    rows = max(rows, 8) if compression == "jpeg" else rows
    tifffile.imwrite(path, PICTURE, photometric="rgb", rowsperstrip=rows, compression=compression)
    with open_slide(path, slide_mpp=0.5, reader="tiffslide") as slide:
        expected = slide.read(WHOLE, OVER)
    np.testing.assert_array_equal(pixels(path), expected)
    if compression != "jpeg":
        np.testing.assert_array_equal(expected, PICTURE)


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(PICTURE).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(pixels(tmp_path / "turned.png"), PICTURE)


def test_a_believable_resolution_is_taken_and_that_of_a_screen_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path, dpi=(50800, 101600))
    with open_slide(path) as slide:
        assert require_mpp(slide) == pytest.approx((0.5, 0.25), rel=1e-4)
        assert slide.mpp_source == "metadata the image's resolution"
        assert (slide.vendor, slide.level_sizes) == ("png", ((1030, 150),))
    Image.fromarray(PICTURE).save(path, dpi=(72, 72))
    with open_slide(path) as slide, pytest.raises(MissingMppError, match="72 dpi of a screen"):
        require_mpp(slide)


def test_a_picture_pickles_by_opening_again_and_says_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    slide = open_slide(path, slide_mpp=0.3)
    with pickle.loads(pickle.dumps(slide)) as twin:
        assert twin.facts == slide.facts
        np.testing.assert_array_equal(twin.read(WHOLE, OVER), PICTURE)
    slide.close()
    with pytest.raises(ValueError, match=r"a\.png is closed"):
        slide.read(WHOLE, OVER)


def refusal(path: Path, reader: str = "auto") -> str:
    with pytest.raises(UnsupportedSlideError) as caught:  # a warning would be an error of its own
        open_slide(path, slide_mpp=0.5, reader=reader)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("array", "mode", "words"),
    [
        (np.zeros((9, 9), np.uint16), None, "16-bit pixels, only 8-bit RGB"),
        (np.zeros((9, 9), np.bool_), None, "1-bit pixels"),
    ],
)
def test_deeper_and_flatter_pictures_are_refused_with_the_reason(
    tmp_path: Path, array: np.ndarray, mode: str | None, words: str
) -> None:
    Image.fromarray(array).save(tmp_path / "a.png")
    assert words in refusal(tmp_path / "a.png")


def test_16_bit_colour_that_pillow_would_show_as_8_is_refused(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), np.full((9, 9, 3), 40000, np.uint16))
    assert "16-bit pixels" in refusal(tmp_path / "deep.png")
    Image.new("CMYK", (9, 9)).save(tmp_path / "print.jpg")
    assert "CMYK pixels" in refusal(tmp_path / "print.jpg")


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG that says what it likes about its size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(2**31 - 1, 1), (1, 2**31 - 1), (46341, 46341), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(*size, b"\0" * 100))
    text = refusal(path)
    assert f"claims {size[0]} x {size[1]} px" in text
    assert "more than" in text or "may have 2 GB" in text
    head = bytearray(b"BM" + struct.pack("<IHHIIiiHHIIiiII", 200, 0, 0, 54, 40, *size, 1, 24, 0, 0, 0, 0, 0, 0))
    (tmp_path / "bomb.bmp").write_bytes(head + bytes(100))
    assert "claims" in refusal(tmp_path / "bomb.bmp")


def test_a_picture_over_the_bound_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    monkeypatch.setattr(image_reader, "MOST_BYTES", PICTURE.size)
    np.testing.assert_array_equal(pixels(path), PICTURE)
    monkeypatch.setattr(image_reader, "MOST_BYTES", PICTURE.size - 1)
    monkeypatch.setattr(image_reader, "_rgb", lambda *_, **__: pytest.fail("decoded"))
    text = refusal(path)
    assert "claims 1030 x 150 px" in text
    assert "vips tiffsave" in text


def test_a_picture_past_pillows_own_limit_is_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice of it, and warns from it on
    monkeypatch.setattr(image_reader, "_BAND_PX", 1)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), PICTURE)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, share: float, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PICTURE).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert f"a.{suffix}: not readable as a slide (image: cannot be decoded" in refusal(path)


def test_the_picture_in_a_mirax_file_without_its_folder_is_not_taken_for_the_slide(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.mrxs", "JPEG")
    assert "of a MIRAX slide this is only the label. Put it beside its folder a" in refusal(tmp_path / "a.mrxs")


def test_a_large_strip_tiff_falls_back_to_tiffslide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, PICTURE, photometric="rgb", rowsperstrip=10)
    monkeypatch.setattr(image_reader, "MOST_BYTES", 1000)
    with open_slide(path, slide_mpp=0.5) as slide:
        assert slide.reader == "tiffslide"
        np.testing.assert_array_equal(slide.read(WHOLE, OVER), PICTURE)
