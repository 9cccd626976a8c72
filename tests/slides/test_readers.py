from __future__ import annotations

import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures_slides import CMU_SMALL, OME_SMALL, TCGA_SMALL, halved, textured, write_svs
from wsiparse.coords import Frame, frame_at
from wsiparse.errors import MissingMppError, TileReadError, UnsupportedSlideError
from wsiparse.slides import MemorySlide, Slide, open_slide, overview, overview_frame, require_mpp
from wsiparse.slides import openslide as openslide_reader
from wsiparse.slides.omexml import ome_images
from wsiparse.slides.pyramid import composite
from wsiparse.types import Box

PICTURE = textured(333, 517, seed=4)
READERS = ("direct", "openslide", "tiffslide")


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A three-level slide with exact pixels whose levels are 2.004 and 4.008 times smaller, by size."""
    folder = tmp_path_factory.mktemp("pyramid")
    return write_svs(folder / "pyramid.svs", PICTURE, steps=(1, 2, 4), compression=None)


def scaled(k: float) -> Frame:
    return Frame((int(517 / k), int(333 / k)), (k, k), (k / 2, k / 2))


@pytest.mark.parametrize("reader", READERS)
def test_the_facts_of_a_slide_are_read(pyramid: Path, reader: str) -> None:
    with open_slide(pyramid, reader=reader) as slide:
        assert isinstance(slide, Slide)
        assert slide.path == pyramid
        assert slide.name == "pyramid"
        assert slide.reader == reader
        assert slide.vendor == "aperio"
        assert slide.size == (517, 333)
        assert slide.level_sizes == ((517, 333), (258, 166), (129, 83))
        assert slide.mpp == (0.5, 0.5)
        told_by = "openslide" if reader == "direct" else reader
        assert slide.mpp_source == f"metadata {told_by}.mpp-x"
        assert slide.objective == 20
        assert slide.bounds == Box(0, 0, 517, 333)
        assert slide.background == (255, 255, 255)
        assert require_mpp(slide) == (0.5, 0.5)


def test_tiles_are_read_directly_and_tiffslide_takes_what_openslide_does_not_know(
    pyramid: Path, tmp_path: Path
) -> None:
    with open_slide(pyramid) as slide:
        assert slide.reader == "direct"
    odd = tmp_path / "odd.tif"
    tifffile.imwrite(odd, PICTURE, photometric="rgb", tile=(64, 64), compression="lzma")
    with open_slide(odd, slide_mpp=0.5) as slide:
        assert slide.reader == "tiffslide"
        np.testing.assert_array_equal(slide.read(Box(0, 0, 517, 333), scaled(1)), PICTURE)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_frame_at_the_scale_of_a_level_is_that_level_exactly(pyramid: Path, reader: str, step: int) -> None:
    with open_slide(pyramid, reader=reader) as slide:
        got = slide.read(Box(0, 0, 517 // step, 333 // step), scaled(step))
    np.testing.assert_array_equal(got, halved(PICTURE, step))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("downsample", [1.0, 2.0, 3.0, 4.0, 8.0, 1.37, 2.0005, 5.3, 0.5, 0.73])
@given(
    box=st.builds(Box, st.integers(-20, 300), st.integers(-20, 300), st.integers(1, 90), st.integers(1, 90)),
    data=st.data(),
)
def test_a_crop_of_a_read_is_a_read_of_the_crop(
    pyramid: Path, reader: str, downsample: float, box: Box, data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, box.width - 1)), data.draw(st.integers(0, box.height - 1))
    over = Frame((1, 1), (downsample, downsample * data.draw(st.sampled_from([1.0, 1.3]))), (1, 1))
    slide = opened(pyramid, reader)
    whole = slide.read(box, over)
    part = slide.read(Box(box.x + left, box.y + top, box.width - left, box.height - top), over)
    np.testing.assert_array_equal(whole[top:, left:], part)


_opened: dict[tuple[Path, str], Slide] = {}


def opened(path: Path, reader: str) -> Slide:
    """The same open slide for all examples of a property: opening takes longer than reading."""
    if (path, reader) not in _opened:
        _opened[path, reader] = open_slide(path, reader=reader)
    return _opened[path, reader]


@pytest.fixture(scope="module", autouse=True)
def _close_opened() -> object:
    yield
    for slide in _opened.values():
        slide.close()
    _opened.clear()


@pytest.mark.parametrize("blocks", [16, 50])
def test_levels_with_a_fractional_downsample_give_the_same_pixels_whatever_the_request(
    pyramid: Path, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openslide_reader, "_BLOCK_PX", blocks)
    level = halved(PICTURE, 2).astype(int)
    with open_slide(pyramid, reader="openslide") as slide:
        whole = slide.read(Box(0, 0, 258, 166), scaled(2)).astype(int)
        for box in (Box(33, 21, 80, 77), Box(130, 90, 128, 76), Box(250, 160, 1, 1)):
            part = slide.read(box, scaled(2))
            np.testing.assert_array_equal(part, whole[box.y : box.y1, box.x : box.x1])
    # OpenSlide shifts by at most half a level-0 px: a block's pixels lie between their neighbours'
    near = [np.roll(level, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    inner = (slice(1, -1), slice(1, -1))
    assert (whole >= np.min(near, axis=0) - 1)[inner].all()
    assert (whole <= np.max(near, axis=0) + 1)[inner].all()


@pytest.mark.parametrize("reader", READERS)
def test_a_box_past_the_slide_is_white_there(pyramid: Path, reader: str) -> None:
    with open_slide(pyramid, reader=reader) as slide:
        got = slide.read(Box(-10, -20, 30, 40), scaled(1))
        far = slide.read(Box(4000, 4000, 5, 5), scaled(2))
    assert (got[:20] == 255).all()
    assert (got[:, :10] == 255).all()
    np.testing.assert_array_equal(got[20:, 10:], PICTURE[:20, :20])
    assert (far == 255).all()


@pytest.mark.parametrize("reader", READERS)
def test_a_tile_that_was_never_scanned_is_white_not_black(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "sparse.tif"
    tifffile.imwrite(path, np.full((128, 192, 3), 90, np.uint8), tile=(64, 64), photometric="rgb", metadata=None)
    empty_tile(path, 4)
    with open_slide(path, slide_mpp=0.5, reader=reader) as slide:
        got = slide.read(Box(-5, 0, 210, 130), Frame((192, 128), (1, 1), (0.5, 0.5)))
        crop = slide.read(Box(100, 100, 50, 20), Frame((192, 128), (1, 1), (0.5, 0.5)))
    expected = np.full((130, 210, 3), 255, np.uint8)
    expected[:128, 5:197] = 90
    expected[64:128, 69:133] = 255
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(crop, expected[100:120, 105:155])


def empty_tile(path: Path, index: int) -> None:
    """Set offset and byte count of one tile to 0: how sparse files leave a tile out."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tiff.pages[0].tags[name]
            tag.overwrite([0 if k == index else v for k, v in enumerate(tag.value)])


def damage_tile(path: Path, index: int) -> None:
    """Overwrite the head of one compressed tile of level 0."""
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[index]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 40)


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_tile_costs_only_itself(tmp_path: Path, reader: str) -> None:
    path = write_svs(tmp_path / "damaged.svs", PICTURE, steps=(1, 4))
    with open_slide(path, reader=reader) as slide:
        before = slide.read(Box(0, 0, 517, 333), scaled(1))
    damage_tile(path, 10)  # 9 tiles of 64 px in a row: x 64-128, y 64-128
    with open_slide(path, reader=reader) as slide:
        for _ in range(2):
            with pytest.raises(TileReadError, match=r"damaged\.svs: cannot decode level 0, x 100-150, y 100-150"):
                slide.read(Box(100, 100, 50, 50), scaled(1))
            np.testing.assert_array_equal(slide.read(Box(200, 150, 100, 100), scaled(1)), before[150:250, 200:300])


@pytest.mark.parametrize("reader", READERS)
def test_an_overview_leaves_out_only_what_cannot_be_decoded(tmp_path: Path, reader: str) -> None:
    path = write_svs(tmp_path / "damaged.svs", textured(640, 640), steps=(1,))
    with open_slide(path, reader=reader) as slide:
        whole, _ = overview(slide, 1.0)
    damage_tile(path, 0)
    with open_slide(path, reader=reader) as slide:
        got, _ = overview(slide, 1.0)
    lost = (got != whole).any(axis=2)
    assert lost[:32, :32].all()
    assert (got[lost] == 255).all()
    assert not lost[48:].any()
    assert not lost[:, 48:].any()


def test_a_passing_openslide_error_is_retried_once(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fails = openslide.OpenSlide.read_region, [True, False, True, True]

    def flaky(self: openslide.OpenSlide, *args: object) -> object:
        if fails and fails.pop(0):
            raise openslide.OpenSlideError("network hiccup")
        return real(self, *args)

    with open_slide(pyramid, reader="openslide") as slide:
        monkeypatch.setattr(openslide.OpenSlide, "read_region", flaky)
        np.testing.assert_array_equal(slide.read(Box(0, 0, 9, 9), scaled(1)), PICTURE[:9, :9])
        with pytest.raises(TileReadError, match="network hiccup"):
            slide.read(Box(0, 0, 9, 9), scaled(1))
        np.testing.assert_array_equal(slide.read(Box(0, 0, 9, 9), scaled(1)), PICTURE[:9, :9])


@pytest.mark.parametrize("reader", READERS)
def test_one_slide_serves_many_threads(pyramid: Path, reader: str) -> None:
    boxes = [Box(17 * k % 400, 29 * k % 250, 60, 60) for k in range(24)]
    with open_slide(pyramid, reader=reader) as slide, ThreadPoolExecutor(6) as pool:
        for box, got in zip(boxes, pool.map(lambda b: slide.read(b, scaled(1)), boxes), strict=True):
            np.testing.assert_array_equal(got, PICTURE[box.y : box.y1, box.x : box.x1])


@pytest.mark.parametrize("reader", READERS)
def test_an_error_in_one_thread_does_not_reach_another(tmp_path: Path, reader: str) -> None:
    path = write_svs(tmp_path / "damaged.svs", PICTURE, steps=(1,))
    damage_tile(path, 0)
    with open_slide(path, reader=reader) as slide:
        stop, seen = threading.Event(), []

        def spoil() -> None:
            while not stop.is_set():
                with pytest.raises(TileReadError):
                    slide.read(Box(0, 0, 10, 10), scaled(1))
                seen.append(1)

        spoiler = threading.Thread(target=spoil)
        spoiler.start()
        try:
            expected = slide.read(Box(100, 100, 80, 80), scaled(1))
            for _ in range(20):
                np.testing.assert_array_equal(slide.read(Box(100, 100, 80, 80), scaled(1)), expected)
        finally:
            stop.set()
            spoiler.join()
    assert seen


@pytest.mark.parametrize("reader", READERS)
def test_a_slide_pickles_by_opening_again(pyramid: Path, reader: str) -> None:
    with open_slide(pyramid, slide_mpp=0.3, reader=reader) as slide:
        with pickle.loads(pickle.dumps(slide)) as twin:
            assert twin.facts == slide.facts
            np.testing.assert_array_equal(twin.read(Box(5, 5, 9, 9), scaled(1)), PICTURE[5:14, 5:14])
        np.testing.assert_array_equal(slide.read(Box(5, 5, 9, 9), scaled(1)), PICTURE[5:14, 5:14])


@pytest.mark.parametrize("reader", READERS)
def test_a_closed_slide_says_so(pyramid: Path, reader: str) -> None:
    slide = open_slide(pyramid, reader=reader)
    slide.close()
    slide.close()
    with pytest.raises(ValueError, match=r"pyramid\.svs is closed"):
        slide.read(Box(0, 0, 5, 5), scaled(1))


def test_the_fingerprint_is_of_the_content_whoever_reads_it(pyramid: Path, tmp_path: Path) -> None:
    copy = tmp_path / "renamed.svs"
    shutil.copyfile(pyramid, copy)
    other = write_svs(tmp_path / "other.svs", textured(333, 517, seed=5), steps=(1, 2, 4), compression=None)
    prints = {}
    for name, path, reader in (
        ("openslide", pyramid, "openslide"),
        ("tiffslide", pyramid, "tiffslide"),
        ("copy", copy, "openslide"),
        ("other", other, "openslide"),
    ):
        with open_slide(path, reader=reader) as slide:
            prints[name] = slide.fingerprint
    assert prints["openslide"] == prints["tiffslide"] == prints["copy"] != prints["other"]
    assert len(prints["other"]) == 64


@pytest.mark.parametrize("reader", READERS)
def test_overview_covers_the_slide_to_its_last_pixel(pyramid: Path, reader: str) -> None:
    with open_slide(pyramid, reader=reader) as slide:
        picture, over = overview(slide, 8.0)
        assert over == overview_frame(slide, 8.0)
    assert over.downsample == (16, 16)
    assert over.size == (33, 21)  # 517 / 16 = 32.3
    assert picture.shape == (21, 33, 3)
    assert np.abs(picture[:20, :32].astype(int) - halved(PICTURE, 16)[:20, :32]).max() <= 2


@given(alpha=st.integers(0, 255), colour=st.integers(0, 255), background=st.tuples(*[st.integers(0, 255)] * 3))
def test_alpha_is_composited_over_the_background(alpha: int, colour: int, background: tuple[int, int, int]) -> None:
    pixels = np.full((2, 2, 4), colour, np.uint8)
    pixels[:, :, 3] = alpha
    exact = (colour * alpha + np.array(background) * (255 - alpha)) / 255
    assert np.abs(composite(pixels, background)[1, 1] - exact).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("samples", "extra"), [(4, "unassalpha"), (4, "assocalpha"), (4, "unspecified"), (1, None), (3, None)]
)
def test_tiffslide_turns_grey_and_alpha_into_rgb(tmp_path: Path, samples: int, extra: str | None) -> None:
    rng = np.random.default_rng(samples)
    stored = rng.integers(0, 256, (80, 96, samples)).astype(np.uint8)
    if extra == "assocalpha":
        stored[:, :, :3] = np.minimum(stored[:, :, :3], stored[:, :, 3:])
    path = tmp_path / "odd.tif"
    tifffile.imwrite(
        path,
        stored[:, :, 0] if samples == 1 else stored,
        tile=(32, 32),
        photometric="minisblack" if samples == 1 else "rgb",
        extrasamples=[extra] if extra else None,
    )
    with open_slide(path, slide_mpp=0.5, reader="tiffslide") as slide:
        got = slide.read(Box(0, 0, 96, 80), Frame((96, 80), (1, 1), (0.5, 0.5))).astype(int)
    alpha = stored[:, :, 3:].astype(int)
    expected = {
        "unassalpha": lambda: (stored[:, :, :3].astype(int) * alpha + 255 * (255 - alpha)) / 255,
        "assocalpha": lambda: stored[:, :, :3].astype(int) + 255 - alpha,
        "unspecified": lambda: stored[:, :, :3],
        None: lambda: np.broadcast_to(stored, (80, 96, 3)),
    }[extra]()
    assert np.abs(got - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("reader", ["auto", *READERS])
@pytest.mark.parametrize(
    ("array", "options", "words"),
    [
        (np.zeros((64, 64, 3), np.uint16), {"photometric": "rgb"}, "without a declared range|only 8-bit RGB"),
        (np.zeros((64, 64, 3), np.float32), {"photometric": "rgb"}, "only 8-bit RGB"),
        (np.zeros((64, 64), np.uint16), {"photometric": "minisblack"}, "only 8-bit RGB"),
        (np.zeros((64, 64, 3), np.int8), {"photometric": "rgb"}, "only 8-bit RGB"),
        (np.zeros((5, 64, 64), np.uint8), {"photometric": "minisblack", "metadata": {"axes": "CYX"}}, "only RGB"),
    ],
)
def test_pixels_that_are_not_8_bit_rgb_are_refused_with_the_reason(
    tmp_path: Path, array: np.ndarray, options: dict[str, object], words: str, reader: str
) -> None:
    path = tmp_path / "deep.ome.tif"
    tifffile.imwrite(path, array, tile=(32, 32), **options)
    with pytest.raises(UnsupportedSlideError, match=words) as caught:
        open_slide(path, slide_mpp=0.5, reader=reader)
    assert "\n" not in str(caught.value)
    assert "tiled 8-bit RGB" in str(caught.value)


@pytest.mark.parametrize("reader", ["auto", "tiffslide"])
def test_an_ome_tiff_has_its_physical_size(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "small.ome.tif"
    size = {"PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.00026, "PhysicalSizeYUnit": "mm"}
    tifffile.imwrite(path, PICTURE, tile=(64, 64), photometric="rgb", metadata={"axes": "YXS", **size})
    with open_slide(path, reader=reader) as slide:
        assert slide.reader == ("direct" if reader == "auto" else reader)
        assert slide.vendor == "ome-tiff"
        assert slide.mpp == pytest.approx((0.25, 0.26))
        assert slide.mpp_source == "metadata OME PhysicalSize"
        np.testing.assert_array_equal(slide.read(Box(3, 4, 50, 60), scaled(1)), PICTURE[4:64, 3:53])


OBJECTIVES = (
    '<Instrument ID="Instrument:0"><Objective ID="Objective:0" NominalMagnification="40.0"/>'
    '<Objective ID="Objective:1" NominalMagnification="20"/></Instrument>'
)


@pytest.mark.parametrize(
    ("instrument", "named", "expected"),
    [
        (OBJECTIVES, '<ObjectiveSettings ID="Objective:0"/>', 40.0),
        (OBJECTIVES, '<ObjectiveSettings ID="Objective:1"/>', 20.0),
        (OBJECTIVES, '<ObjectiveSettings ID="Objective:7"/>', None),
        (OBJECTIVES, "", None),  # two, and nothing says which
        (OBJECTIVES.replace("40.0", "20"), "", 20.0),
        (OBJECTIVES.replace("40.0", "0"), '<ObjectiveSettings ID="Objective:0"/>', None),
        ("", "", None),
    ],
)
def test_the_objective_of_ome_xml_is_that_of_its_image(instrument: str, named: str, expected: float | None) -> None:
    pixels = '<Pixels SizeX="96" SizeY="64" PhysicalSizeX="0.5" PhysicalSizeY="0.5"/>'
    namespace = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    (image,) = ome_images(f'<OME {namespace}>{instrument}<Image ID="Image:0">{named}{pixels}</Image></OME>')
    assert image.objective == expected


@pytest.mark.parametrize("reader", ["auto", "tiffslide"])
@pytest.mark.parametrize("told", [True, False])
def test_an_ome_tiff_without_pixel_size_is_guessed_by_its_objective_or_not_at_all(
    tmp_path: Path, reader: str, told: bool
) -> None:
    path = tmp_path / "small.ome.tif"
    instrument = OBJECTIVES.replace("40.0", "20") if told else ""
    height, width = PICTURE.shape[:2]
    xml = (
        f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{instrument}'
        f'<Image ID="Image:0"><Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeX="{width}" SizeY="{height}" SizeC="3" '
        'SizeZ="1" SizeT="1" Type="uint8"><Channel ID="Channel:0" SamplesPerPixel="3"/><TiffData/></Pixels></Image>'
        "</OME>"
    )
    tifffile.imwrite(path, PICTURE, tile=(64, 64), photometric="rgb", metadata=None, description=xml)
    with open_slide(path, reader=reader) as slide:
        assert slide.vendor == "ome-tiff"
        assert slide.objective == (20.0 if told else None)
        with pytest.raises(MissingMppError) as caught:
            require_mpp(slide)
    assert ("Its objective is 20x, for which 0.5 is a guess." in str(caught.value)) == told
    assert ("0.25" in str(caught.value) or "0.5" in str(caught.value)) == told


@pytest.mark.parametrize("tile", [None, (64, 64)], ids=["strips", "tiles"])
@pytest.mark.parametrize(
    ("unit", "per"), [("micron", 2.0), ("um", 2.0), ("\\u00B5m", 2.0), ("mm", 2000.0), ("nm", 0.002)]
)
def test_what_imagej_saved_has_the_unit_of_its_description(
    tmp_path: Path, unit: str, per: float, tile: tuple[int, int] | None
) -> None:
    path = tmp_path / "saved.tif"
    tifffile.imwrite(path, PICTURE, imagej=True, resolution=(per, per / 2), tile=tile, metadata={"unit": unit})
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.5, 1.0))
        assert slide.mpp_source == "metadata ImageJ unit"


@pytest.mark.parametrize("unit", ["pixel", "", "furlong"])
def test_imagej_without_a_unit_of_length_has_no_pixel_size(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "saved.tif"
    tifffile.imwrite(path, PICTURE, imagej=True, resolution=(2.0, 2.0), metadata={"unit": unit})
    with open_slide(path) as slide:
        assert slide.mpp is None


def real(path: Path) -> Path:
    if not path.exists():
        pytest.skip("needs ../shared/data/slides, which is not here")
    return path


def test_the_real_aperio_slide_gives_the_same_pixels_through_both_readers() -> None:
    with open_slide(real(CMU_SMALL), reader="openslide") as a, open_slide(CMU_SMALL, reader="tiffslide") as b:
        assert a.mpp == b.mpp == (0.499, 0.499)
        assert a.objective == b.objective == 20
        assert a.fingerprint == b.fingerprint
        over = frame_at(a.size, (0.499, 0.499), 1.0)
        box = Box(200, 300, 400, 300)
        np.testing.assert_array_equal(a.read(box, over), b.read(box, over))


def test_the_real_slide_without_mpp_says_so_and_takes_one() -> None:
    with open_slide(real(TCGA_SMALL)) as slide:
        assert slide.mpp is None
        with pytest.raises(MissingMppError, match=r"^tcga-cr-7395-01a-01-ts1\.svs: no usable .* --slide-mpp"):
            require_mpp(slide)
    with open_slide(TCGA_SMALL, slide_mpp=0.25) as slide:
        assert require_mpp(slide) == (0.25, 0.25)
        assert slide.mpp_source == "--slide-mpp, or column mpp"


def test_the_real_ome_tiff_that_openslide_rejects_is_read() -> None:
    with pytest.raises(UnsupportedSlideError):
        open_slide(real(OME_SMALL), reader="openslide")
    with open_slide(OME_SMALL) as slide:
        assert slide.reader == "direct"
        assert slide.size == (1380, 1484)
        assert slide.mpp == pytest.approx((0.5, 0.5), rel=1e-3)
        picture, _ = overview(slide, 8.0)
    # H&E: pink and blue, so green is darkest
    assert picture[:, :, 1].mean() < min(picture[:, :, 0].mean(), picture[:, :, 2].mean()) - 10


def test_a_slide_in_memory_has_the_same_interface() -> None:
    slide = MemorySlide(PICTURE, 0.5, name="case 7.b", objective=40.0)
    assert isinstance(slide, Slide)
    assert slide.name == "case 7.b"
    assert slide.reader == "memory"
    assert slide.size == (517, 333)
    assert slide.mpp == (0.5, 0.5)
    assert slide.objective == 40
    np.testing.assert_array_equal(slide.read(Box(0, 0, 258, 166), scaled(2)), halved(PICTURE, 2))
    twin = pickle.loads(pickle.dumps(slide))
    assert twin.facts == slide.facts
    assert MemorySlide(PICTURE.copy(), 0.5).fingerprint == slide.fingerprint
    assert MemorySlide(PICTURE[:, ::-1].copy(), 0.5).fingerprint != slide.fingerprint
    assert MemorySlide(PICTURE.reshape(517, 333, 3), 0.5).fingerprint != slide.fingerprint
    slide.close()


def test_a_slide_in_memory_checks_its_pixels_and_its_mpp() -> None:
    with pytest.raises(ValueError, match="uint8"):
        MemorySlide(PICTURE.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint8"):
        MemorySlide(PICTURE[:, :, 0])
    with pytest.raises(MissingMppError):
        require_mpp(MemorySlide(PICTURE))
    with pytest.raises(MissingMppError, match="352"):
        require_mpp(MemorySlide(PICTURE, 352.8))
    assert MemorySlide(PICTURE, (0.25, 0.26)).mpp == (0.25, 0.26)


def test_an_unknown_reader_is_a_callers_mistake(pyramid: Path) -> None:
    with pytest.raises(ValueError, match="bioformats"):
        open_slide(pyramid, reader="bioformats")


@pytest.mark.parametrize(
    ("found", "bounds"),
    [
        (("10", "20", "300", "200"), Box(10, 20, 300, 200)),
        (("10", "20", "3000", "2000"), Box(10, 20, 490, 380)),
        (("10", "20", "300", None), Box(0, 0, 500, 400)),
        (("10", "20", "300", "wide"), Box(0, 0, 500, 400)),
        (("10", "20", "0", "200"), Box(0, 0, 500, 400)),
        (("900", "20", "30", "20"), Box(0, 0, 500, 400)),
    ],
)
def test_bounds_count_when_all_four_parse_and_are_cut_to_the_slide(found: tuple[str | None, ...], bounds: Box) -> None:
    names = (f"openslide.bounds-{n}" for n in ("x", "y", "width", "height"))
    properties = {name: value for name, value in zip(names, found, strict=True) if value is not None}
    assert openslide_reader._bounds(properties, (500, 400)) == bounds
