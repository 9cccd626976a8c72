from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter, minimum_filter

from tests.fixtures_slides import CMU_SMALL, OME_SMALL, TCGA_SMALL, halved, textured
from tests.slides.picture import PICTURE, scaled
from tests.slides.tiled import (
    PLAIN,
    SUBSAMPLINGS,
    kept_bytes,
    set_tag,
    write_jpeg2000_tiff,
    write_jpeg_tiff,
    write_plain_tiff,
)
from wsiparse.coords import Frame
from wsiparse.errors import UnsupportedSlideError
from wsiparse.slides import Slide, direct, open_slide, overview
from wsiparse.slides.direct import DirectSlide
from wsiparse.slides.resample import level_steps
from wsiparse.types import Box


def assert_same(path: Path, reference: str = "openslide", boxes: int = 12) -> None:
    """The direct reader is chosen, says what the reference says, and gives its pixels at every level and between."""
    rng = np.random.default_rng(0)
    with open_slide(path, slide_mpp=0.5) as ours, open_slide(path, slide_mpp=0.5, reader=reference) as theirs:
        assert ours.reader == "direct"
        for fact in ("level_sizes", "vendor", "mpp", "mpp_source", "objective", "bounds", "background", "fingerprint"):
            assert getattr(ours, fact) == getattr(theirs, fact), fact
        for width, height in ours.level_sizes:
            step = round(ours.size[0] / width)
            frame = Frame((width, height), (step, step), (step / 2, step / 2))
            whole = Box(0, 0, width, height)
            np.testing.assert_array_equal(ours.read(whole, frame), theirs.read(whole, frame))
        for downsample in rng.choice([1, 1.5, 2, 2.7, 3, 4, 8], boxes):
            frame = Frame((1, 1), (downsample,) * 2, (1, 1))
            x, y = rng.integers(-30, 300, 2)
            box = Box(int(x), int(y), *(int(n) for n in rng.integers(1, 220, 2)))
            np.testing.assert_array_equal(ours.read(box, frame), theirs.read(box, frame))


@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_jpeg_pixels_are_openslides_whatever_the_chroma(tmp_path: Path, subsampling: str, tables: bool) -> None:
    assert_same(write_jpeg_tiff(tmp_path / "a.svs", PICTURE, subsampling=subsampling, tables=tables))


@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("aperio", [False, True])
def test_jpeg_samples_may_be_rgb(tmp_path: Path, tables: bool, aperio: bool) -> None:
    assert_same(write_jpeg_tiff(tmp_path / "a.tif", PICTURE, rgb=True, tables=tables, aperio=aperio))


@pytest.mark.parametrize(
    ("bigtiff", "byteorder", "reference"),
    [(True, "<", "openslide"), (True, ">", "openslide"), (False, ">", "tiffslide")],  # OpenSlide knows no classic ">"
)
def test_every_dialect_of_tiff_is_the_same_slide(tmp_path: Path, bigtiff: bool, byteorder: str, reference: str) -> None:
    path = write_jpeg_tiff(tmp_path / "a.svs", PICTURE, bigtiff=bigtiff, byteorder=byteorder, tables=True)
    assert_same(path, reference)


@pytest.mark.parametrize("tile", [(16, 16), (48, 80), (240, 128), (528, 352)])
def test_tiles_of_any_size_cover_the_slide(tmp_path: Path, tile: tuple[int, int]) -> None:
    assert_same(write_jpeg_tiff(tmp_path / "a.svs", PICTURE, tile=tile, subsampling="420"))


@pytest.mark.parametrize("coding", [c for c in PLAIN if c != "webp"])
@pytest.mark.parametrize("aperio", [False, True])
def test_other_codings_give_openslides_pixels(tmp_path: Path, coding: str, aperio: bool) -> None:
    assert_same(write_plain_tiff(tmp_path / "a.tif", PICTURE, coding, aperio=aperio))


def test_webp_tiles_that_openslide_cannot_decode_give_tiffslides_pixels(tmp_path: Path) -> None:
    assert_same(write_plain_tiff(tmp_path / "a.tif", PICTURE, "webp", aperio=False), "tiffslide")


@pytest.mark.parametrize("level", [0, 38])
def test_jpeg_2000_tiles_give_openslides_pixels(tmp_path: Path, level: int) -> None:
    assert_same(write_jpeg2000_tiff(tmp_path / "a.svs", PICTURE, level=level))


@pytest.mark.parametrize("coding", PLAIN)
def test_an_ome_tiff_gives_tiffslides_pixels(tmp_path: Path, coding: str) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        options = {"photometric": "rgb", "tile": (64, 64), **PLAIN[coding]}
        writer.write(PICTURE, subifds=1, metadata={"axes": "YXS"}, **options)
        writer.write(halved(PICTURE, 2), subfiletype=1, **options)
    assert_same(path, "tiffslide")


@pytest.mark.parametrize(("aperio", "steps"), [(False, (1, 2, 4)), (True, (1,))])
def test_a_missing_tile_is_background_as_openslide_says(tmp_path: Path, aperio: bool, steps: tuple[int, ...]) -> None:
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE, missing=(0, 10, 53), aperio=aperio, steps=steps)
    assert_same(path)
    with open_slide(path, slide_mpp=0.5) as slide:
        assert (slide.read(Box(0, 0, 64, 64), scaled(1)) == slide.background).all()


@pytest.mark.parametrize("page", [0, 1])
def test_an_aperio_pyramid_that_lacks_tiles_is_left_to_openslide(tmp_path: Path, page: int) -> None:
    """OpenSlide shows what other levels say about such a place."""
    path = write_jpeg_tiff(tmp_path / "a.svs", PICTURE)
    for name in ("TileOffsets", "TileByteCounts"):
        with tifffile.TiffFile(path) as tiff:
            values = list(tiff.pages[page].tags[name].value)
        set_tag(path, name, [0 if k == 3 else v for k, v in enumerate(values)], page=page)
    with open_slide(path) as slide:
        assert slide.reader == "openslide"
    with pytest.raises(UnsupportedSlideError, match=rf"a\.svs: cannot be read directly \(level {page} lacks.*auto or"):
        open_slide(path, reader="direct")


def real(path: Path) -> Path:
    if not path.exists():
        pytest.skip("needs ../shared/data/slides, which is not here")
    return path


@pytest.mark.parametrize(
    ("path", "reference"), [(CMU_SMALL, "openslide"), (TCGA_SMALL, "openslide"), (OME_SMALL, "tiffslide")]
)
def test_real_slides_give_the_pixels_of_the_library(path: Path, reference: str) -> None:
    """TCGA's second level is 2221 px of 4443: OpenSlide interpolates there, except at its corner."""
    rng = np.random.default_rng(1)
    with open_slide(real(path), slide_mpp=0.5) as ours, open_slide(path, slide_mpp=0.5, reader=reference) as theirs:
        assert ours.reader == "direct"
        assert replace(ours.facts, reader=reference) == theirs.facts
        for k, (width, height) in enumerate(ours.level_sizes):
            step = level_steps(ours.level_sizes)[k]
            frame = Frame((width, height), step, step)
            whole = Box(0, 0, *(ours.size if k == 0 else (500, 400)))
            np.testing.assert_array_equal(ours.read(whole, frame), theirs.read(whole, frame))
        if len(ours.level_sizes) == 1:
            for downsample in (2, 3.3, 4):
                x, y, width, height = (int(n) for n in rng.integers(1, 300, 4))
                over = Frame((1, 1), (downsample,) * 2, (1, 1))
                box = Box(x, y, width, height)
                np.testing.assert_array_equal(ours.read(box, over), theirs.read(box, over))


def test_where_openslide_interpolates_the_difference_is_bounded() -> None:
    """TCGA's second level, all of it: as stored, which is what tiffslide gives; OpenSlide's is shifted by up to half a
    level-0 px, so it stays near and between the pixels around."""
    with (
        open_slide(real(TCGA_SMALL), slide_mpp=0.5) as ours,
        open_slide(TCGA_SMALL, slide_mpp=0.5, reader="tiffslide") as stored,
        open_slide(TCGA_SMALL, slide_mpp=0.5, reader="openslide") as shifted,
    ):
        width, height = ours.level_sizes[1]
        frame, whole = Frame((width, height), (2.0, 2.0), (1.0, 1.0)), Box(0, 0, width, height)
        pixels, same, other = (slide.read(whole, frame).astype(np.int16) for slide in (ours, stored, shifted))
    np.testing.assert_array_equal(pixels, same)
    difference = np.abs(pixels - other)
    assert difference.mean() < 2.1
    assert np.percentile(difference, 99) <= 17
    assert difference.max() <= 62
    low, high = (extreme(pixels, size=(3, 3, 1), mode="nearest") for extreme in (minimum_filter, maximum_filter))
    assert ((other < low - 1) | (other > high + 1)).mean() < 1e-4


def test_a_level_of_odd_size_gives_its_stored_pixels(tmp_path: Path) -> None:
    """517 -> 258 px: OpenSlide sees a downsample of 2.004 and shifts; tiffslide and the direct reader do not."""
    picture = textured(333, 517, seed=4)
    path = write_plain_tiff(tmp_path / "a.svs", picture, "deflate")
    with open_slide(path) as ours, open_slide(path, reader="openslide") as theirs:
        assert ours.reader == "direct"
        for step in (2, 4):
            box = Box(0, 0, 517 // step, 333 // step)
            got = ours.read(box, Frame((box.width, box.height), (step, step), (1, 1)))
            np.testing.assert_array_equal(got, halved(picture, step))
            corner = Box(0, 0, 40, 30)
            np.testing.assert_array_equal(
                got[:30, :40], theirs.read(corner, Frame((box.width, box.height), (step, step), (1, 1)))
            )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Slide, Slide]]:
    """One file through the direct reader and through OpenSlide: odd tiles, shared tables, a missing tile."""
    path = tmp_path_factory.mktemp("both") / "a.tif"
    write_jpeg_tiff(path, PICTURE, tile=(48, 32), tables=True, subsampling="422", missing=(17,), aperio=False)
    with (
        open_slide(path, slide_mpp=0.5, threads=3) as ours,
        open_slide(path, slide_mpp=0.5, reader="openslide") as theirs,
    ):
        yield ours, theirs


@given(
    box=st.builds(Box, st.integers(-40, 560), st.integers(-40, 380), st.integers(1, 200), st.integers(1, 200)),
    downsample=st.sampled_from([0.7, 1.0, 1.25, 2.0, 2.5, 3.0, 4.0, 6.0, 16.0]),
    stretch=st.sampled_from([1.0, 1.3]),
)
def test_any_box_of_any_frame_is_openslides(
    both: tuple[Slide, Slide], box: Box, downsample: float, stretch: float
) -> None:
    ours, theirs = both
    frame = Frame((1, 1), (downsample, downsample * stretch), (1, 1))
    np.testing.assert_array_equal(ours.read(box, frame), theirs.read(box, frame))


@pytest.mark.parametrize("threads", [1, 3])
def test_many_threads_get_the_same_pixels(tmp_path: Path, threads: int) -> None:
    path = write_jpeg_tiff(tmp_path / "a.svs", PICTURE, tile=(32, 32))
    rng = np.random.default_rng(3)
    boxes = [Box(*(int(v) for v in rng.integers(0, 400, 2)), 120, 90) for _ in range(40)]
    frames = [scaled(float(k)) for k in rng.choice([1, 2, 3, 4], 40)]
    with open_slide(path) as alone, open_slide(path, threads=threads) as shared, ThreadPoolExecutor(8) as pool:
        for got, box, frame in zip(pool.map(shared.read, boxes, frames), boxes, frames, strict=True):
            np.testing.assert_array_equal(got, alone.read(box, frame))


# --- how often tiles are decoded, and what that keeps


class Decodes:
    """Counts the tiles decoded by the direct reader."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real_decode = direct.decode_tile

        def counted(*args: object) -> object:
            self.count += 1
            return real_decode(*args)

        monkeypatch.setattr(direct, "decode_tile", counted)


def rows_of_boxes(size: int, edge: int, overlap: int) -> list[Box]:
    starts = range(0, size - overlap, edge - overlap)
    return [Box(x, y, edge, edge) for y in starts for x in starts]


@pytest.mark.parametrize(("step", "overlap"), [(1, 10), (1, 11), (2, 10), (2, 7), (3, 0)])
def test_boxes_row_by_row_decode_every_tile_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, overlap: int
) -> None:
    """Though only the tiles of one box, and the seam, are kept."""
    path = write_jpeg_tiff(tmp_path / "a.svs", textured(640, 640), tile=(32, 32), steps=(1,))
    decodes = Decodes(monkeypatch)
    with open_slide(path) as slide:
        assert isinstance(slide, DirectSlide)
        monkeypatch.setattr(direct, "_RECENT_BYTES", (90 * step // 32 + 2) ** 2 * 32 * 32 * 3)
        frame = Frame((640 // step,) * 2, (step, step), (1, 1))
        for box in rows_of_boxes(640 // step, 90, overlap):
            slide.read(box, frame)
    assert decodes.count == 400


def test_an_overview_decodes_every_tile_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jpeg_tiff(tmp_path / "a.svs", textured(1024, 1504), tile=(48, 48), steps=(1,))
    decodes = Decodes(monkeypatch)
    with open_slide(path) as slide, mock.patch("wsiparse.slides.overviews._PIECE_PX", 20):
        overview(slide, 3.1)
    assert decodes.count == 32 * 22


def test_what_is_kept_is_bounded_and_pixels_do_not_depend_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jpeg_tiff(tmp_path / "a.svs", textured(640, 640), tile=(32, 32), steps=(1,))
    tile, frame = 32 * 32 * 3, Frame((640, 640), (1, 1), (1, 1))
    with open_slide(path) as slide:
        expected = [slide.read(box, frame) for box in rows_of_boxes(640, 90, 10)]
    monkeypatch.setattr(direct, "_RECENT_BYTES", 3 * tile)
    with open_slide(path) as small:
        assert isinstance(small, DirectSlide)
        monkeypatch.setattr(small._cache, "_most_seam", 5 * tile)
        for box, pixels in zip(rows_of_boxes(640, 90, 10), expected, strict=True):
            np.testing.assert_array_equal(small.read(box, frame), pixels)
            assert kept_bytes(small._cache) <= 8 * tile


def test_alone_no_more_than_two_boxes_and_the_seam_are_kept(tmp_path: Path) -> None:
    path = write_jpeg_tiff(tmp_path / "a.svs", textured(640, 640), tile=(32, 32), steps=(1,))
    frame, row = Frame((640, 640), (1, 1), (1, 1)), 32 * 32 * 3 * 20
    with open_slide(path) as slide:
        assert isinstance(slide, DirectSlide)
        for box in rows_of_boxes(640, 90, 10):
            slide.read(box, frame)
            assert kept_bytes(slide._cache) <= 2 * 16 * 32 * 32 * 3 + 3 * row


# --- life of a slide


def open_descriptors() -> int:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    return sum(1 for _ in folder.iterdir())


def test_a_slide_frees_its_descriptor_and_says_that_it_is_closed(tmp_path: Path) -> None:
    path = write_jpeg_tiff(tmp_path / "a.svs", PICTURE)
    open_slide(path).close()  # libraries loaded
    before = open_descriptors()
    slide = open_slide(path)
    slide.read(Box(0, 0, 5, 5), scaled(1))
    assert open_descriptors() == before + 1
    slide.close()
    slide.close()
    assert open_descriptors() == before
    with pytest.raises(ValueError, match=r"a\.svs is closed"):
        slide.read(Box(0, 0, 5, 5), scaled(1))


def test_closing_waits_for_the_reads_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jpeg_tiff(tmp_path / "a.svs", PICTURE, steps=(1,))
    decoding, closed = threading.Event(), threading.Event()
    real_decode = direct.decode_tile

    def slow(*args: object) -> object:
        decoding.set()
        assert closed.wait(10)
        return real_decode(*args)

    with open_slide(path) as slide, ThreadPoolExecutor(1) as pool:
        expected = slide.read(Box(0, 0, 200, 200), scaled(1))
        monkeypatch.setattr(direct, "decode_tile", slow)
        late = open_slide(path)
        future = pool.submit(late.read, Box(0, 0, 200, 200), scaled(1))
        assert decoding.wait(10)
        late.close()
        closed.set()
        np.testing.assert_array_equal(future.result(), expected)


def test_a_pickled_slide_is_opened_again_unless_it_has_changed(tmp_path: Path) -> None:
    path = write_jpeg_tiff(tmp_path / "a.svs", PICTURE)
    with open_slide(path, slide_mpp=0.3, threads=2) as slide:
        frozen = pickle.dumps(slide)
        with pickle.loads(frozen) as twin:
            assert twin.facts == slide.facts
            np.testing.assert_array_equal(
                twin.read(Box(5, 5, 90, 90), scaled(1)), slide.read(Box(5, 5, 90, 90), scaled(1))
            )
    write_jpeg_tiff(path, PICTURE[::-1].copy())
    with pytest.raises(UnsupportedSlideError, match="has changed since it was opened"):
        pickle.loads(frozen)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"photometric": "rgb", "planarconfig": "separate"}, "separate planes"),
        ({"photometric": "minisblack"}, "samples per pixel"),
        ({"photometric": "rgb", "compression": "packbits"}, "has compression 32773"),
    ],
)
def test_what_is_not_plain_rgb_tiles_is_left_to_the_libraries(
    tmp_path: Path, options: dict[str, object], reason: str
) -> None:
    path = tmp_path / "a.tif"
    separate = options.get("planarconfig") == "separate"
    picture = PICTURE.transpose(2, 0, 1) if separate else PICTURE[..., 0] if "minis" in str(options) else PICTURE
    tifffile.imwrite(path, picture, tile=(64, 64), metadata=None, **options)
    with pytest.raises(UnsupportedSlideError, match=rf"cannot be read directly \(.*{reason}"):
        open_slide(path, slide_mpp=0.5, reader="direct")
    with open_slide(path, slide_mpp=0.5) as slide:
        assert slide.reader in ("openslide", "tiffslide")
