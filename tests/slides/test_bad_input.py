from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.fixtures_slides import CMU_SMALL, textured, write_svs
from wsiparse.coords import Frame
from wsiparse.errors import MissingMppError, SlideError, SlideNotFoundError, TileReadError, UnsupportedSlideError
from wsiparse.slides import open_slide, overview, require_mpp
from wsiparse.slides.files import file_fingerprint
from wsiparse.slides.metadata import MppClaim, checked_mpp, parse_colour, pick_mpp, tiff_claim
from wsiparse.slides.tiff import tiff_skeleton
from wsiparse.types import Box

PICTURE = textured(200, 300)


def refusal(path: Path, kind: type[SlideError] = UnsupportedSlideError, reader: str = "auto") -> str:
    with pytest.raises(kind) as caught:
        open_slide(path, reader=reader)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    assert text.endswith((".", "--pyramid."))
    return text


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.svs", SlideNotFoundError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "locked.svs", PICTURE)
    path.chmod(0)
    assert "no permission" in refusal(path, SlideNotFoundError)


def test_a_folder_an_empty_file_and_a_socket_are_named(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    empty = tmp_path / "empty.svs"
    empty.touch()
    assert "empty (0 bytes)" in refusal(empty)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.svs"))
        assert "not a regular file" in refusal(tmp_path / "s.svs")


def test_a_name_no_file_system_knows_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SlideNotFoundError):
        open_slide(tmp_path / ("x" * 5000 + ".svs"))
    with pytest.raises(SlideNotFoundError):
        open_slide("nul\0byte.svs")


@pytest.mark.parametrize("reader", ["auto", "direct", "openslide", "tiffslide"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"slide,mpp\na.svs,0.25\n", "it is a text file"),
        (b"II*\0\x08\0\0\0", "truncated"),
        (b"II*\0", "truncated"),
        (b"II*\0\0\0\0\0", "it has no directory"),
        (b"MM\0*\0\0\0\x08\0\0", "truncated"),
        (b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0", "truncated"),
        (b"PK\x03\x04" + bytes(100), "it is a ZIP archive"),
        (bytes(range(256)) * 4, "no known slide format"),
    ],
)
def test_a_file_that_is_no_slide_is_told_apart(tmp_path: Path, content: bytes, words: str, reader: str) -> None:
    path = tmp_path / "bad.svs"
    path.write_bytes(content)
    assert words in refusal(path, reader=reader)


@pytest.mark.parametrize(("format_", "words"), [("PNG", "it is a PNG image"), ("JPEG", "it is a JPEG image")])
@pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
def test_an_ordinary_picture_is_no_slide_for_a_slide_library(
    tmp_path: Path, format_: str, words: str, reader: str
) -> None:
    path = tmp_path / "photo.svs"
    Image.fromarray(PICTURE).save(path, format_)
    text = refusal(path, reader=reader)
    assert words in text
    assert "vips tiffsave" in text


@pytest.mark.parametrize("reader", ["auto", "direct", "openslide", "tiffslide"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.9999])
def test_a_truncated_slide_is_refused_at_any_length(tmp_path: Path, share: float, reader: str) -> None:
    whole = write_svs(tmp_path / "whole.svs", PICTURE).read_bytes()
    path = tmp_path / "cut.svs"
    path.write_bytes(whole[: int(len(whole) * share)])
    refusal(path, reader=reader)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_tiff_is_truncated_exactly_when_bytes_are_missing_that_it_refers_to(tmp_path: Path, bigtiff: bool) -> None:
    path = write_svs(tmp_path / "whole.svs", PICTURE, bigtiff=bigtiff)
    whole = path.read_bytes()
    skeleton = tiff_skeleton(path)
    assert skeleton is not None
    assert skeleton.end <= len(whole)
    path.write_bytes(whole[: skeleton.end])
    with open_slide(path) as slide:
        assert slide.size == (300, 200)
    path.write_bytes(whole[: skeleton.end - 1])
    assert "truncated" in refusal(path)
    path.write_bytes(whole + b"appended by a courier")
    open_slide(path).close()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_real_slide_is_refused(tmp_path: Path, share: float) -> None:
    if not CMU_SMALL.exists():
        pytest.skip("needs ../shared/data/slides, which is not here")
    whole = CMU_SMALL.read_bytes()
    path = tmp_path / "cut.svs"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated" in refusal(path)


def test_directories_in_a_loop_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop.tif"
    entry = struct.pack("<HHII", 256, 3, 1, 16)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 8))
    assert "loop" in refusal(path)


def test_an_absurd_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "absurd.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 65535) + bytes(100))
    assert "65535 entries" in refusal(path)


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        ("TileLength", 2**31, "claims tiles of 64 x 2147483648 px"),
        ("TileWidth", 0, "claims tiles of 0 x 64 px"),
        ("ImageWidth", 2**31, "claims 2147483648 x 200 px, which is 134217728 tiles, and has 20"),
    ],
)
def test_claims_that_do_not_fit_the_file_are_refused_before_anything_is_allocated(
    tmp_path: Path, tag: str, value: int, words: str
) -> None:
    path = write_svs(tmp_path / "bomb.svs", PICTURE, steps=(1,))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[tag].overwrite(value, dtype="I")
    with pytest.raises(UnsupportedSlideError, match=words):
        open_slide(path)


def test_a_property_name_that_is_not_text_does_not_matter(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", PICTURE, steps=(1,))
    path.write_bytes(path.read_bytes().replace(b"StripeWidth", b"Stripe\xffidth"))
    with open_slide(path, reader="openslide") as slide:
        assert slide.mpp == (0.5, 0.5)


@pytest.mark.parametrize("reader", ["auto", "direct", "openslide", "tiffslide"])
def test_no_damage_to_the_bytes_of_a_slide_is_more_than_a_slide_error(tmp_path: Path, reader: str) -> None:
    whole = bytearray(write_svs(tmp_path / "whole.svs", PICTURE).read_bytes())
    path = tmp_path / "hit.svs"
    rng = np.random.default_rng(1)
    outcomes = []
    for k in range(60):
        hit = bytearray(whole)
        # half of the damage in the head, where the first directory lies
        for _ in range(1 + k % 4):
            at = int(rng.integers(0, len(hit) if k % 2 else min(len(hit), 1000)))
            hit[at] = int(rng.integers(0, 256))
        path.write_bytes(hit)
        outcomes.append(use(path, reader))
    assert "read" in outcomes
    assert all("\n" not in outcome for outcome in outcomes)


def use(path: Path, reader: str) -> str:
    """Open and read a slide that may be damaged; what came of it."""
    try:
        with open_slide(path, slide_mpp=0.5, reader=reader) as slide:
            if slide.size[0] * slide.size[1] < 10**6:
                slide.read(Box(0, 0, 64, 64), Frame((64, 64), (1, 1), (0.5, 0.5)))
                overview(slide, 2.0)
    except (UnsupportedSlideError, TileReadError) as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("reader", ["direct", "openslide", "tiffslide"])
@pytest.mark.parametrize(
    ("mpp", "resolution", "words"),
    [
        (None, None, "found neither"),
        ("0", None, "= "),
        ("abc", None, "'abc', which is not a length"),
        ("0,25", None, "with a comma"),
        ("-0.25", None, "outside 0.05-20"),
        ("352.8", None, "outside 0.05-20"),
        ("nan", None, "nan"),
        (None, (72, 72), "352.778, the 72 dpi of a screen, outside 0.05-20"),
    ],
)
def test_a_pixel_size_that_cannot_be_believed_is_absent_and_told(
    tmp_path: Path, mpp: str | None, resolution: tuple[float, float] | None, words: str, reader: str
) -> None:
    path = write_svs(tmp_path / "a.svs", PICTURE, mpp=mpp, resolution=resolution, steps=(1,))
    with open_slide(path, reader=reader) as slide:
        assert slide.mpp is None
        with pytest.raises(MissingMppError) as caught:
            require_mpp(slide)
    text = str(caught.value)
    assert text.startswith("a.svs: no usable microns-per-pixel in the metadata (looked for ")
    assert words in text
    assert "--slide-mpp" in text
    assert "Its objective is 20x, for which 0.5 is a guess." in text
    assert "\n" not in text
    with open_slide(path, reader=reader, slide_mpp=0.25) as slide:
        assert require_mpp(slide) == (0.25, 0.25)


@pytest.mark.parametrize("reader", ["direct", "openslide", "tiffslide"])
def test_a_believable_tiff_resolution_is_used(tmp_path: Path, reader: str) -> None:
    path = write_svs(tmp_path / "a.svs", PICTURE, mpp=None, resolution=(50800, 101600), steps=(1,))
    with open_slide(path, reader=reader) as slide:
        assert require_mpp(slide) == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize("mpp", [0.0, -0.25, 0.01, 352.8, float("nan"), float("inf")])
def test_a_given_pixel_size_is_checked_too(tmp_path: Path, mpp: float) -> None:
    with pytest.raises(MissingMppError, match="--slide-mpp"):
        open_slide(write_svs(tmp_path / "a.svs", PICTURE, steps=(1,)), slide_mpp=mpp)


def test_numbers_in_metadata_are_taken_only_if_certain() -> None:
    assert [checked_mpp(v) for v in ("0.25", 0.25, " 0.5 ", 20, 0.05)] == [0.25, 0.25, 0.5, 20.0, 0.05]
    assert all(
        checked_mpp(v) is None for v in (None, "", "0,25", "abc", "nan", "inf", 0, -1, 0.049, 20.1, True, [], {})
    )
    claims = [MppClaim("a", "0.25", None), MppClaim("b", "0.5", "0.51")]
    assert pick_mpp(claims).value == (0.5, 0.51)
    assert pick_mpp(claims).source == "metadata b"
    assert "a = '0.25' x nothing" in pick_mpp(claims[:1]).source


def test_tiff_resolution_becomes_microns_per_pixel() -> None:
    assert tiff_claim("40000", 20000, "CENTIMETER").x == 0.25
    assert tiff_claim("40000", 20000, "CENTIMETER").y == 0.5
    assert tiff_claim(1, 1, "none").x is None
    assert tiff_claim(None, None, "inch").x is None
    assert tiff_claim(0, 0, "inch").x == "0 px per inch"


def test_colours_in_metadata_are_six_hexadecimal_digits() -> None:
    assert parse_colour("FFeedd") == (255, 238, 221)
    assert parse_colour("#010203") == (1, 2, 3)
    assert [parse_colour(v) for v in (None, "", "fff", "gggggg", "ffffffff")] == [None] * 5


def test_the_fingerprint_sees_the_companion_folder_of_a_mirax_slide(tmp_path: Path) -> None:
    slide = tmp_path / "case.mrxs"
    slide.write_bytes(b"same")
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "Data0001.dat").write_bytes(b"pixels")
    first = file_fingerprint(slide)
    assert file_fingerprint(slide) == first
    (tmp_path / "case" / "Data0001.dat").write_bytes(b"others")
    assert file_fingerprint(slide) != first


def test_the_fingerprint_of_a_large_file_sees_its_size_head_middle_and_tail(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    content = bytearray(5 << 20)
    prints = set()
    for at in (None, 0, 1 << 20, len(content) // 2 + 20_000, len(content) - 1):
        changed = bytearray(content)
        if at is not None:
            changed[at] = 1
        path.write_bytes(changed)
        prints.add(file_fingerprint(path))
    path.write_bytes(content + b"\0")
    prints.add(file_fingerprint(path))
    assert len(prints) >= 5


def test_a_tiff_skeleton_tells_what_the_first_image_is(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((32, 32), np.float32), photometric="minisblack")
    skeleton = tiff_skeleton(path)
    assert skeleton is not None
    assert (skeleton.bits, skeleton.samples, skeleton.integer, skeleton.ome) == (32, 1, False, False)
    tifffile.imwrite(tmp_path / "b.ome.tif", PICTURE, photometric="rgb", byteorder=">", bigtiff=True)
    skeleton = tiff_skeleton(tmp_path / "b.ome.tif")
    assert skeleton is not None
    assert (skeleton.bits, skeleton.samples, skeleton.integer, skeleton.ome) == (8, 3, True, True)
    (tmp_path / "c.txt").write_text("no", encoding="ascii")
    assert tiff_skeleton(tmp_path / "c.txt") is None
