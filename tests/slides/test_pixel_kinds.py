"""Pixels of every kind that TIFFs have: read exactly, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.fixtures_slides import RGB, SHARED, halved, textured
from wsiparse.coords import Frame
from wsiparse.errors import UnsupportedSlideError
from wsiparse.slides import Slide, missing_mm2, open_slide
from wsiparse.types import Box

PICTURE = textured(200, 300)
BRIGHT = np.maximum(PICTURE, 0).copy()
BRIGHT[:20, :20] = 255
TILES = {"tile": (64, 64), "metadata": None}


def pixels(slide: Slide) -> RGB:
    return slide.read(Box(0, 0, *slide.size), Frame(slide.size, (1, 1), (0.5, 0.5)))


def read(path: Path, reader: str = "auto") -> RGB:
    with open_slide(path, slide_mpp=0.5, reader=reader) as slide:
        return pixels(slide)


def refusal(path: Path) -> str:
    with pytest.raises(UnsupportedSlideError) as caught:
        open_slide(path, slide_mpp=0.5)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", ["tiles", "strips"])
@pytest.mark.parametrize("coding", [None, "deflate", "lzw"])
def test_colours_in_planes_are_colours(tmp_path: Path, layout: str, coding: str | None) -> None:
    path = tmp_path / "a.tif"
    options = {"tile": (64, 64)} if layout == "tiles" else {"rowsperstrip": 16}
    tifffile.imwrite(
        path, np.moveaxis(PICTURE, 2, 0), photometric="rgb", planarconfig="separate", compression=coding,
        predictor=coding is not None, metadata=None, **options,
    )  # fmt: skip
    for reader in ("auto", "tiffslide"):
        np.testing.assert_array_equal(read(path, reader), PICTURE)


def test_planes_of_an_ome_tiff_with_a_pyramid_are_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    options = {"photometric": "rgb", "planarconfig": "separate", "tile": (64, 64), "compression": "deflate"}
    with tifffile.TiffWriter(path) as writer:
        metadata = {"axes": "SYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        writer.write(np.moveaxis(PICTURE, 2, 0), subifds=1, metadata=metadata, **options)
        writer.write(np.moveaxis(halved(PICTURE, 2), 2, 0), subfiletype=1, **options)
    with open_slide(path) as slide:
        assert slide.mpp == (0.5, 0.5)
        assert slide.level_sizes == ((300, 200), (150, 100))
        np.testing.assert_array_equal(pixels(slide), PICTURE)
        half = Frame((150, 100), (2, 2), (1, 1))
        np.testing.assert_array_equal(slide.read(Box(0, 0, 150, 100), half), halved(PICTURE, 2))


def test_a_plane_that_lacks_a_tile_is_no_data(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.moveaxis(PICTURE, 2, 0), photometric="rgb", planarconfig="separate", **TILES)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        counts[20] = 0  # the first of the second plane
        tiff.pages[0].tags["TileByteCounts"].overwrite(counts)
    with open_slide(path, slide_mpp=0.5, reader="tiffslide") as slide:
        assert slide.missing_px == 64 * 64
        assert (pixels(slide)[:64, :64] == 255).all()
        np.testing.assert_array_equal(pixels(slide)[64:], PICTURE[64:])


def test_strips_that_are_missing_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PICTURE, photometric="rgb", rowsperstrip=50, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        counts[1] = 0
        tiff.pages[0].tags["StripByteCounts"].overwrite(counts)
    with open_slide(path, slide_mpp=0.5) as slide:
        assert slide.reader == "image"
        assert missing_mm2(slide) == pytest.approx(50 * 300 * 0.25e-6)
        assert (pixels(slide)[50:100] == 255).all()


@pytest.mark.parametrize("layout", ["tiles", "strips", "planes"])
def test_16_bit_colour_of_the_full_range_is_scaled_to_8(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "a.tif"
    deep = BRIGHT.astype(np.uint16) * 257
    options: dict[str, object] = {"metadata": None} if layout == "strips" else dict(TILES)
    if layout == "planes":
        deep, options = np.moveaxis(deep, 2, 0), options | {"planarconfig": "separate"}
    tifffile.imwrite(path, deep, photometric="rgb", **options)
    np.testing.assert_array_equal(read(path), BRIGHT)


@pytest.mark.parametrize(("bits", "top"), [(10, 1023), (12, 4095), (14, 16383)])
def test_16_bit_colour_is_scaled_by_the_bits_that_ome_declares(tmp_path: Path, bits: int, top: int) -> None:
    path = tmp_path / "a.ome.tif"
    deep = np.round(PICTURE / 255 * top).astype(np.uint16)
    tifffile.imwrite(path, deep, photometric="rgb", tile=(64, 64), metadata={"axes": "YXS", "SignificantBits": bits})
    assert np.abs(read(path).astype(int) - PICTURE).max() <= 1  # rounded twice


def test_a_max_sample_value_declares_the_range_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    deep = np.round(PICTURE / 255 * 4095).astype(np.uint16)
    tifffile.imwrite(path, deep, photometric="rgb", extratags=[(281, 3, 3, (4095, 4095, 4095), True)], **TILES)
    assert np.abs(read(path).astype(int) - PICTURE).max() <= 1


def test_a_range_that_no_pixel_reaches_is_not_believed(tmp_path: Path) -> None:
    """12 bits in 16, not declared: read by the full range, glass would be black."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, (BRIGHT.astype(np.uint16) * 16), photometric="rgb", **TILES)
    assert "none is brighter than 4080 of 65535, so which value is white is not certain" in refusal(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["plain", "ome", "strips"])
def test_an_orientation_tag_turns_nothing_and_is_told(tmp_path: Path, orientation: int, kind: str) -> None:
    """As in Bio-Formats and QuPath; OpenSlide would turn every tile in its place."""
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    options: dict[str, object] = {} if kind == "strips" else {"tile": (64, 64)}
    metadata = {"axes": "YXS"} if kind == "ome" else None
    tags = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(path, PICTURE, photometric="rgb", extratags=tags, metadata=metadata, **options)
    with open_slide(path, slide_mpp=0.5) as slide:
        assert slide.size == (300, 200)
        np.testing.assert_array_equal(pixels(slide), PICTURE)
        assert [f"Orientation tag ({orientation}) is not applied" in note for note in slide.notes] == [True] * (
            orientation != 1
        )
        assert slide.reader == ("image" if kind == "strips" else "direct")


def test_openslide_alone_refuses_what_it_would_turn(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PICTURE, photometric="rgb", extratags=[(274, 3, 1, 3, True)], **TILES)
    with pytest.raises(UnsupportedSlideError, match="an Orientation tag of 3"):
        open_slide(path, slide_mpp=0.5, reader="openslide")


@pytest.mark.parametrize("layout", ["tiles", "strips"])
def test_a_palette_gives_its_colours(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "a.tif"
    numbers = (PICTURE[:, :, 0] // 4).astype(np.uint8)
    colours = np.random.default_rng(3).integers(0, 256, (3, 256)).astype(np.uint16)
    options = {"tile": (64, 64)} if layout == "tiles" else {}
    tifffile.imwrite(path, numbers, photometric="palette", colormap=colours * 257, metadata=None, **options)
    np.testing.assert_array_equal(read(path), colours.T[numbers].astype(np.uint8))


@pytest.mark.parametrize(
    ("array", "options", "words"),
    [
        (np.zeros((200, 300, 4), np.uint8), {"photometric": "separated"}, "separated, only RGB"),
        (np.zeros((200, 300, 3), np.int8), {"photometric": "rgb"}, "int8 pixels"),
        (np.zeros((200, 300, 3), np.uint32), {"photometric": "rgb"}, "uint32 pixels"),
        (np.zeros((200, 300, 3), np.float32), {"photometric": "rgb"}, "float32 pixels"),
        (np.zeros((200, 300), np.uint16), {"photometric": "minisblack"}, "uint16 pixels"),
        (np.zeros((200, 300, 3), np.uint8), {"photometric": "ycbcr"}, "ycbcr, only RGB"),
        (np.zeros((200, 300, 3), np.uint8), {"photometric": "cielab"}, "cielab, only RGB"),
        (np.zeros((3, 200, 300), np.uint8), {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}, "a stack of 3"),
    ],
)  # fmt: skip
def test_pixels_without_one_certain_meaning_are_refused(
    tmp_path: Path, array: np.ndarray, options: dict[str, object], words: str
) -> None:
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YXS" if array.ndim == 3 else "YX"}
    tifffile.imwrite(path, array, tile=(64, 64), **({"metadata": metadata} | options))
    assert words in refusal(path)


def test_the_ome_tiff_that_bio_formats_writes_is_read() -> None:
    folder = SHARED / "data" / "slides_odd" / "ome_tiff"
    if not folder.exists():
        pytest.skip("no real slides here")
    with open_slide(folder / "cells.ome.tif") as slide:
        assert (slide.size, slide.mpp) == ((93, 131), (0.25, 0.25))
        stored = tifffile.imread(folder / "cells.ome.tif")
        np.testing.assert_array_equal(pixels(slide), np.moveaxis(stored, 0, 2))


def test_a_missing_ending_or_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, photometric="rgb", **TILES)
    data = (tmp_path / "a.tif").read_bytes()
    for name in ("slide", "a.svs", "a.ndpi", "a.czi", "a.png", "a.dcm"):
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read(tmp_path / name), PICTURE)
