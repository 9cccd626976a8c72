"""The rows of "what people hand over" that are about how a file is built, changes or is named.

No library may hang, fill the memory or end the process over them: each is opened in this process, under a limit.
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.fixtures_slides import halved, textured, write_svs
from tests.slides.hazards import HAZARDS, NOT_TEXT, PICTURE, make_hazard, pyramid_below
from wsiparse.coords import Frame
from wsiparse.errors import PlanError, SlideError, TileReadError, WsiparseError
from wsiparse.slides import find_slides, open_slide, overview, require_mpp, survey
from wsiparse.slides.base import READERS
from wsiparse.types import Box

OVER = Frame((300, 200), (1, 1), (0.5, 0.5))
WHOLE = Box(0, 0, 300, 200)


def use(path: Path, reader: str) -> str:
    """Open and look at all of a slide; what came of it."""
    try:
        with open_slide(path, slide_mpp=0.5, reader=reader) as slide:
            survey(slide, 8.0)
            slide.read(Box(0, 0, 64, 64), Frame(slide.size, (1, 1), (0.5, 0.5)))
    except WsiparseError as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("name", HAZARDS)
@pytest.mark.parametrize("reader", READERS)
def test_a_broken_slide_is_one_line_whatever_reads_it(tmp_path: Path, name: str, reader: str) -> None:
    path = make_hazard(tmp_path, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = use(path, reader)
    assert told != "read"
    assert "\n" not in told
    assert name in told
    if reader == "auto":
        assert HAZARDS[name][1] in told


@pytest.mark.parametrize("patience", [0, 3, 512])
def test_what_cannot_be_seen_of_a_slide_is_told_however_soon_one_gives_up(
    tmp_path: Path, patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_svs(tmp_path / "a.svs", textured(640, 640), steps=(1,))
    with tifffile.TiffFile(path) as tiff:
        starts = tiff.pages[0].dataoffsets
    with path.open("r+b") as file:
        for k in (0, 37):  # 10 tiles of 64 px in a row
            file.seek(starts[k])
            file.write(b"\0" * 40)
    monkeypatch.setattr("wsiparse.slides.overviews._MOST_FAILURES", patience)
    monkeypatch.setattr("wsiparse.slides.overviews._PIECE_PX", 320)
    with open_slide(path) as slide:
        seen = survey(slide, 0.5)
    assert seen.picture.shape[:2] == seen.lost.shape == (640, 640)
    assert seen.lost[:64, :64].all()
    assert seen.lost[192:256, 448:512].all()
    assert (seen.picture[seen.lost] == 255).all()
    assert not seen.lost[320:].any()
    if patience == 512:
        assert seen.lost.sum() <= 2 * 80 * 80
    if patience == 0:
        assert seen.lost[:320].all()


def test_a_slide_larger_than_glass_is_told_with_its_size(tmp_path: Path) -> None:
    path = make_hazard(tmp_path, "huge.tif")
    with open_slide(path, slide_mpp=0.5) as slide, pytest.raises(PlanError, match="524 x 524 mm"):
        overview(slide, 8.0)


def test_levels_below_an_image_are_checked_and_read(tmp_path: Path) -> None:
    path = pyramid_below(tmp_path / "a.ome.tif")
    with open_slide(path, reader="tiffslide") as slide:
        assert (slide.reader, slide.level_sizes) == ("tiffslide", ((300, 200), (150, 100)))
        assert require_mpp(slide) == (0.5, 0.5)
        np.testing.assert_array_equal(slide.read(WHOLE, OVER), PICTURE)
        half = slide.read(Box(0, 0, 150, 100), Frame((150, 100), (2, 2), (1, 1)))
        np.testing.assert_array_equal(half, PICTURE[::2, ::2])
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        level = tiff.series[0].levels[1].keyframe
        last = max(o + n for o, n in zip(level.dataoffsets, level.databytecounts, strict=True))
    if last < len(whole):
        path.write_bytes(whole[: last - 1])
    assert "truncated" in use(path, "auto")


@pytest.mark.parametrize("compression", ["jpeg2000", "webp", "jpegxl", "lzma", "lzw", "deflate", "zstd"])
def test_tiles_of_other_codecs_are_read_exactly(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.tif"
    lossless = {"webp": {"lossless": True}, "jpegxl": {"lossless": True}, "jpeg2000": {"reversible": True}}
    tifffile.imwrite(
        path,
        PICTURE,
        tile=(64, 64),
        photometric="rgb",
        compression=compression,
        compressionargs=lossless.get(compression),
        metadata=None,
    )
    with open_slide(path, slide_mpp=0.5) as slide:
        np.testing.assert_array_equal(slide.read(WHOLE, OVER), PICTURE)


def test_a_quptiff_like_stack_of_levels_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.qptiff"
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 2):
            level = PICTURE if step == 1 else halved(PICTURE, step)
            writer.write(level, photometric="rgb", rowsperstrip=16, metadata=None, subfiletype=int(step > 1))
    with open_slide(path, slide_mpp=0.5) as slide:
        np.testing.assert_array_equal(slide.read(WHOLE, OVER), PICTURE)


@pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
def test_damage_in_the_middle_of_a_tile_reaches_no_other(tmp_path: Path, reader: str) -> None:
    path = write_svs(tmp_path / "a.svs", PICTURE, steps=(1,))
    with open_slide(path, reader=reader) as slide:
        before = slide.read(WHOLE, OVER)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        start, count = page.dataoffsets[6], page.databytecounts[6]  # 5 tiles of 64 px in a row: x 64-128, y 64-128
    with path.open("r+b") as file:
        file.seek(start + count // 2)
        file.write(b"\xff\xd9" + b"\0" * (count // 4))
    with open_slide(path, reader=reader) as slide:
        for _ in range(2):
            # openslide tells; what tiffslide's codec makes of it is not told apart from a tile, but stays in the tile
            try:
                slide.read(Box(70, 70, 40, 40), OVER)
            except TileReadError as error:
                assert "x 70-110, y 70-110" in str(error)  # noqa: PT017
            np.testing.assert_array_equal(slide.read(Box(128, 0, 172, 200), OVER), before[:, 128:])


def test_a_slide_that_is_cut_while_it_is_read_loses_tiles_and_says_so(tmp_path: Path) -> None:
    for reader in ("openslide", "tiffslide"):
        path = write_svs(tmp_path / f"{reader}.svs", textured(900, 1200), steps=(1,), tile=256)
        with open_slide(path, reader=reader) as slide:
            os.truncate(path, 2000)
            over = Frame(slide.size, (1, 1), (0.5, 0.5))
            with pytest.raises(TileReadError):
                slide.read(Box(600, 600, 200, 200), over)
            with pytest.raises(SlideError, match="changed while it was read"):
                slide.check_unchanged()


@pytest.mark.parametrize("how", ["replaced", "written to"])
def test_a_slide_that_becomes_another_is_found_out(tmp_path: Path, how: str) -> None:
    path = write_svs(tmp_path / "a.svs", PICTURE, steps=(1,))
    other = write_svs(tmp_path / "b.svs", PICTURE[:, ::-1].copy(), steps=(1,))
    with open_slide(path) as slide:
        slide.check_unchanged()
        os.utime(path, (1, 1))
        slide.check_unchanged()
        other.replace(path) if how == "replaced" else path.write_bytes(other.read_bytes())
        with pytest.raises(SlideError, match=r"a\.svs: changed while it was read"):
            slide.check_unchanged()


@pytest.mark.parametrize("suffix", ["svs", "tif", "png"])
def test_a_name_that_is_not_text_is_a_name(tmp_path: Path, suffix: str) -> None:
    from PIL import Image

    path = tmp_path / NOT_TEXT.replace("svs", suffix)
    made = tmp_path / f"a.{suffix}"
    if suffix == "png":
        Image.fromarray(PICTURE).save(made)
    elif suffix == "tif":
        tifffile.imwrite(made, PICTURE, tile=(64, 64), photometric="rgb", compression="zstd")
    else:
        write_svs(made, PICTURE)
    try:
        shutil.move(made, path)
    except OSError:
        pytest.skip("this file system takes only names that are text")
    assert find_slides([tmp_path], extensions=[suffix]) == [path]
    with open_slide(path, slide_mpp=0.5) as slide:
        assert slide.name == "caf\\xe9"
        assert slide.read(Box(0, 0, 9, 9), OVER).shape == (9, 9, 3)


def test_a_name_of_two_lines_is_told_in_one(tmp_path: Path) -> None:
    path = tmp_path / "a\nb.svs"
    path.write_bytes(b"x")
    assert "a b.svs" in use(path, "auto")


def test_a_folder_lists_what_is_broken_and_no_folders(tmp_path: Path) -> None:
    (tmp_path / "folder.svs").mkdir()
    write_svs(tmp_path / "folder.svs" / "inside.svs", PICTURE)
    (tmp_path / "up").symlink_to(tmp_path)
    for name in ("dangling.svs", "link.svs", "pipe.svs"):
        make_hazard(tmp_path, name)
    found = find_slides([tmp_path], recursive=True)
    assert [path.name for path in found] == ["dangling.svs", "inside.svs", "link.svs", "pipe.svs"]
