"""Levels that are none: a whole slide in files of every kind, and what becomes of its overview."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from tests.fixtures_slides import CMU_SMALL, RGB, SHARED, TCGA_SMALL, aperio_description, halved, textured
from tests.slides.zarrs import write_ome_zarr
from wsiparse.coords import Frame, frame_at
from wsiparse.slides import Slide, missing_mm2, open_slide
from wsiparse.slides.agreement import TileBytes, compare_levels
from wsiparse.slides.soundness import missing_px
from wsiparse.types import Box

GLASS, TISSUE = (243, 243, 243), (200, 120, 160)


def slide_picture(width: int = 1200, height: int = 800) -> RGB:
    """Glass with one piece of tissue at the right, and noise."""
    picture = np.full((height, width, 3), GLASS, np.float64)
    tissue = picture[height // 8 : height - height // 8, width // 2 : width - width // 10]
    tissue[:] = textured(tissue.shape[0], tissue.shape[1]) * 0.5 + 70
    picture += np.random.default_rng(1).normal(0, 1, picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


PICTURE = slide_picture()


def macro(shape: tuple[int, ...]) -> RGB:
    """Another picture: tissue at the left, a label at the right."""
    picture = np.full(shape, GLASS, np.uint8)
    picture[shape[0] // 10 : shape[0] // 2, shape[1] // 10 : shape[1] // 3] = TISSUE
    picture[:, -shape[1] // 5 :] = 30
    return picture


def blank(shape: tuple[int, ...]) -> RGB:
    return np.full(shape, 255, np.uint8)


def write_tiff(path: Path, pages: list[RGB], *, aperio: bool = False, tile: int = 64, **options: object) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for k, page in enumerate(pages):
            writer.write(
                page,
                tile=(tile, tile),
                photometric="rgb",
                metadata=None,
                software=False,
                description=aperio_description((page.shape[1], page.shape[0])) if aperio else None,
                subfiletype=1 if k and not aperio else 0,
                resolution=(2e4, 2e4),
                resolutionunit="CENTIMETER",
                **options,
            )
            if aperio and k == 0:
                writer.write(halved(page, 8), photometric="rgb", metadata=None, software=False)
    return path


def coarse(slide: Slide) -> RGB:
    """The slide at 16 level-0 px per px, through whatever level is taken for it."""
    width, height = (n // 16 for n in slide.size)
    return slide.read(Box(0, 0, width, height), Frame((width, height), (16, 16), (8, 8)))


def write_zarr(path: Path, pages: list[RGB]) -> Path:
    write_ome_zarr(path, pages[0], steps=(1, 2, 4)[: len(pages)])
    for k, page in enumerate(pages[1:], 1):
        array = zarr.open_array(path / str(k), mode="r+")
        array[:] = page.transpose(2, 0, 1)
    return path


KINDS: dict[str, Callable[[Path, list[RGB]], Path]] = {
    "a.tif": write_tiff,
    "jpeg.tif": lambda p, pages: write_tiff(p, pages, compression="jpeg"),
    "a.svs": lambda p, pages: write_tiff(p, pages, aperio=True),
    "a.zarr": write_zarr,
}
READERS = {"a.tif": ("auto", "openslide", "tiffslide"), "a.svs": ("auto", "openslide", "tiffslide")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "other", [macro, blank, lambda shape: np.zeros(shape, np.uint8)], ids=["macro", "white", "black"]
)
def test_a_page_of_a_levels_size_that_shows_another_picture_is_left_out_and_named(
    tmp_path: Path, kind: str, other: Callable[[tuple[int, ...]], RGB]
) -> None:
    second, third = halved(PICTURE, 2), other(halved(PICTURE, 4).shape)
    path = KINDS[kind](tmp_path / kind, [PICTURE, second, third])
    whole = KINDS[kind](tmp_path / f"clean-{kind}", [PICTURE, second])
    for reader in READERS.get(kind, ("auto",)):
        with open_slide(path, slide_mpp=0.5, reader=reader) as slide, open_slide(whole, slide_mpp=0.5) as clean:
            assert slide.level_sizes == clean.level_sizes == ((1200, 800), (600, 400)), reader
            [note] = slide.notes
            assert note in (
                "Level 2 of 300 x 200 px is not used: it shows another picture than the levels before it.",
                # of black nothing is stored in a Zarr array
                "Level 2 of 300 x 200 px is not used: it lacks 20 tiles that level 0 has.",
            )
            assert clean.notes == ()
            if kind != "jpeg.tif":
                np.testing.assert_array_equal(coarse(slide), coarse(clean))
            with pickle.loads(pickle.dumps(slide)) as twin:
                assert (twin.level_sizes, twin.notes) == (slide.level_sizes, slide.notes)


@pytest.mark.parametrize("kind", ["a.tif", "a.svs"])
def test_a_macro_between_levels_or_of_another_aspect_is_left_out(tmp_path: Path, kind: str) -> None:
    pages = [PICTURE, macro((300, 300, 3)), halved(PICTURE, 4)]
    path = KINDS[kind](tmp_path / kind, pages)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((1200, 800), (300, 200))
        assert ["300 x 300 px is not used: it is 4 times smaller than level 0 in x and 2.667 times in y" in n
                for n in slide.notes] == [True]  # fmt: skip
        expected = halved(halved(PICTURE, 4), 4).astype(int)
        assert np.abs(coarse(slide).astype(int) - expected).max() <= 1


def test_padded_levels_are_used_with_their_true_extent(tmp_path: Path) -> None:
    """As a Philips file without its XML: every level is whole tiles, white past the slide."""
    tile, picture = 256, slide_picture(2500, 1100)

    def padded(level: RGB) -> RGB:
        return np.pad(level, ((0, -level.shape[0] % tile), (0, -level.shape[1] % tile), (0, 0)), constant_values=255)

    path = write_tiff(
        tmp_path / "a.tif", [padded(picture), *(padded(halved(picture, s)) for s in (2, 4, 8))], tile=tile
    )
    with open_slide(path) as slide:
        assert slide.size == (2560, 1280)
        # 4 times smaller is 625 x 275 px in 768 x 512: 3 would fit as well, but shows something else
        assert slide.level_sizes == ((2560, 1280), (1280, 640), (640, 320))
        assert [note.split(" px")[0] for note in slide.notes] == ["Level 3 of 512 x 256"]
        expected = halved(padded(picture), 16).astype(int)
        assert np.abs(coarse(slide).astype(int) - expected).max() <= 2


def test_a_level_that_lacks_tiles_which_level_0_has_is_left_out(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", [PICTURE, halved(PICTURE, 2), halved(PICTURE, 4)])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages[1].databytecounts)
        counts[7] = 0
        tiff.pages[1].tags["TileByteCounts"].overwrite(counts)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((1200, 800), (300, 200))
        assert slide.notes == ("Level 1 of 600 x 400 px is not used: it lacks 1 tiles that level 0 has.",)
        assert slide.missing_px == 0


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_that_the_file_does_not_have_are_counted(tmp_path: Path, kind: str) -> None:
    path = KINDS[kind](tmp_path / kind, [PICTURE])
    if kind == "a.zarr":
        (path / "0" / "c" / "1" / "0" / "0").unlink()
        (path / "0" / "c" / "0" / "12" / "18").unlink()  # 48 x 32 px at the corner
    else:
        with tifffile.TiffFile(path, mode="r+") as tiff:
            counts = list(tiff.pages[0].databytecounts)
            counts[0] = counts[-1] = 0
            tiff.pages[0].tags["TileByteCounts"].overwrite(counts)
    for reader in READERS.get(kind, ("auto",)):
        with open_slide(path, slide_mpp=0.5, reader=reader) as slide:
            assert slide.missing_px == 64 * 64 + 48 * 32, reader
            assert missing_mm2(slide) == pytest.approx(slide.missing_px * (0.125e-6 if kind == "a.zarr" else 0.25e-6))


def test_the_area_of_missing_tiles_is_cut_at_the_slides_edge() -> None:
    counts = np.array([[1, 0], [0, 0]])
    assert missing_px(TileBytes(counts, (64, 32)), (100, 40)) == 36 * 32 + 64 * 8 + 36 * 8


def test_an_openslide_slide_without_tile_tables_is_judged_too() -> None:
    paths = sorted((SHARED / "data" / "slides_odd" / "ndpi").glob("*.ndpi"))
    if not paths:
        pytest.skip("no real slides here")
    with open_slide(paths[0]) as slide:
        assert len(slide.level_sizes) == 7
        assert slide.notes == ()


@pytest.mark.parametrize("path", [CMU_SMALL, TCGA_SMALL], ids=lambda p: p.name)
def test_real_tissue_agrees_with_itself_and_with_nothing_else(path: Path) -> None:
    if not path.exists():
        pytest.skip("no real slides here")
    with open_slide(path, slide_mpp=None if path == CMU_SMALL else 0.5) as slide:
        width, height = slide.size
        full = slide.read(Box(0, 0, width, height), frame_at(slide.size, (1, 1), 1))

    def compared(level: RGB, ratio: int, fine: RGB = full) -> float:
        size = min(level.shape[1], fine.shape[1] // ratio), min(level.shape[0], fine.shape[0] // ratio)
        return compare_levels(
            lambda b: fine[b.y : b.y1, b.x : b.x1], lambda b: level[b.y : b.y1, b.x : b.x1], size, ratio
        ).disagreement

    for ratio in (2, 4, 16):
        level = halved(full, ratio)
        assert compared(level, ratio) == 0
        assert compared(np.ascontiguousarray(full[::ratio, ::ratio]), ratio) < 0.05  # every n-th pixel
        assert compared((level * 0.95).astype(np.uint8), ratio) < 0.1
        assert compared(np.full_like(level, 243), ratio) > 0.3
        assert compared(np.ascontiguousarray(level[:, ::-1]), ratio) > 0.3
        assert compared(halved(full, ratio + 1), ratio) > 0.15


def test_a_slide_of_nothing_but_glass_keeps_its_levels(tmp_path: Path) -> None:
    glass = np.clip(np.random.default_rng(0).normal(243, 1.5, (512, 512, 3)), 0, 255).astype(np.uint8)
    path = write_tiff(tmp_path / "a.tif", [glass, halved(glass, 2), halved(glass, 4)])
    with open_slide(path) as slide:
        assert len(slide.level_sizes) == 3
        assert slide.notes == ()


def test_a_small_piece_of_tissue_is_enough_to_tell_a_blank_level(tmp_path: Path) -> None:
    """Where tiles are compressed, each cell is looked at where it has most bytes."""
    picture = np.full((4096, 4096, 3), 243, np.uint8)
    picture[1500:1600, 2700:2800] = textured(100, 100)
    path = write_tiff(tmp_path / "a.tif", [picture, blank((1024, 1024, 3))], tile=128, compression="deflate")
    with open_slide(path) as slide:
        assert slide.level_sizes == ((4096, 4096),)


def test_a_level_that_cannot_be_decoded_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", [PICTURE, halved(PICTURE, 2)], compression="deflate")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        spans = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    data = bytearray(path.read_bytes())
    for start, count in spans:
        data[start : start + count] = bytes(count)
    path.write_bytes(data)
    with open_slide(path) as slide:
        assert len(slide.level_sizes) == 2


@pytest.mark.parametrize("bigtiff", [False, True])
def test_levels_below_an_image_may_be_chained_as_well_as_listed(tmp_path: Path, bigtiff: bool) -> None:
    """So tifffile writes them: a directory that is reached twice is no loop."""
    path = tmp_path / "a.ome.tif"
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        writer.write(PICTURE, subifds=3, metadata={"axes": "YXS"}, **options)
        for level in (halved(PICTURE, 2), halved(PICTURE, 4), macro((150, 150, 3))):
            writer.write(level, subfiletype=1, **options)
    with open_slide(path, slide_mpp=0.5) as slide:
        assert slide.reader == "direct"
        assert slide.level_sizes == ((1200, 800), (600, 400), (300, 200))
        assert [note.split(":")[0] for note in slide.notes] == ["Level 3 of 150 x 150 px is not used"]
