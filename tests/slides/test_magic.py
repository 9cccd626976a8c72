"""What is not a slide, or one that is not read, is told by name with a remedy; the library's own reason is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import openslide
import pytest

from tests.fixtures_slides import SHARED, textured
from tests.slides import dicoms
from tests.slides.dicoms import write_dicom
from wsiparse.coords import Frame
from wsiparse.errors import UnsupportedSlideError
from wsiparse.slides import find_slides, open_slide
from wsiparse.slides.size import slide_bytes
from wsiparse.types import Box

PICTURE = textured(300, 400)


def refusal(path: Path) -> str:
    with pytest.raises(UnsupportedSlideError) as caught:
        open_slide(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("a.czi", b"ZISRAWFILE" + bytes(500), ("openslide: ", "a Zeiss CZI file", "bioformats2raw")),
        ("a.lif", b"\x70\0\0\0\x10\0\0\0*", ("a Leica LIF file", "bioformats2raw")),
        ("a.oir", b"OLYMPUSRAWFORMAT", ("an Olympus OIR file", "bioformats2raw")),
        ("a.vsi", b"II*\0\x08\0\0\0\0\0\0\0\0\0", ("an Olympus VSI slide", "_a_")),
        ("frame_t.ets", b"SIS\0", ("part of an Olympus VSI slide",)),
        ("a.nd2", b"\xda\xce\xbe\x0a", ("a Nikon ND2 file", "raw2ometiff")),
        ("a.ims", b"\x89HDF\r\n\x1a\n", ("an HDF5 file",)),
        ("a.isyntax", b'<DataObject ObjectType="DPUfsImport">', ("a Philips iSyntax file", "Export it")),
        ("a.kfb", b"KFB\0", ("a KFBio file",)),
        ("a.mds", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ("Motic MDS",)),
        ("a.svslide", b"SQLite format 3\0", ("an SQLite database",)),
        ("a.jxr", b"II\xbc\x01", ("a JPEG XR image", "vips tiffsave")),
        ("a.jxl", b"\xff\x0a", ("a JPEG XL image",)),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", ("a bare JPEG 2000 image",)),
        ("a.j2k", b"\xff\x4f\xff\x51", ("a bare JPEG 2000 codestream",)),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8 ", ("a WebP image",)),
        ("a.zip", b"PK\x03\x04", ("a ZIP archive", "Unpack")),
        ("a.tar", b"a" * 257 + b"ustar", ("a tar archive",)),
        ("a.mrxs", b"\xff\xd8\xff\xe0", ("only the label", "folder a")),
        ("a.xml", b"<?xml version='1.0'?><a/>", ("an XML file",)),
    ],
)
def test_a_format_that_is_known_and_not_read_is_named_with_a_remedy(
    tmp_path: Path, name: str, head: bytes, words: tuple[str, ...]
) -> None:
    (tmp_path / name).write_bytes(head if head[:1] == b"<" else head.ljust(600, b"\0"))
    told = refusal(tmp_path / name)
    assert [word for word in words if word not in told] == []
    assert "no known slide format" not in told


def test_a_vms_tells_which_of_its_files_is_missing(tmp_path: Path) -> None:
    text = "[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\nNoJpegRows=1\nImageFile=i.jpg\nMapFile=m.jpg\n"
    (tmp_path / "a.vms").write_text(text, encoding="ascii")
    told = refusal(tmp_path / "a.vms")
    assert "m.jpg: No such file or directory" in told
    assert "Put it into their folder" in told


def test_openslides_own_reason_reaches_the_user(tmp_path: Path) -> None:
    first = write_dicom(tmp_path, PICTURE, steps=(1, 2), tile=128, series=3)[0]
    twin = first.read_bytes().replace(b"498.3.1\0", b"498.3.9\0").replace(b"498.3.1", b"498.3.9")
    (tmp_path / "again.dcm").write_bytes(twin)  # a second image of the same size in the series
    with pytest.raises(openslide.OpenSlideError) as own:
        openslide.OpenSlide(first)
    told = refusal(first)
    assert "unexpected image" in str(own.value)
    assert str(own.value) in told
    assert "it is a DICOM file" in told


def test_levels_of_another_image_type_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = dicoms._text
    monkeypatch.setattr(
        dicoms, "_text", lambda g, e, vr, text: write(g, e, vr, text.replace("DERIVED\\PRIMARY", "ORIGINAL\\PRIMARY"))
    )
    paths = write_dicom(tmp_path, PICTURE, steps=(1, 2), tile=128)
    with open_slide(paths[1]) as slide:
        assert slide.level_sizes == ((400, 300), (200, 150))


def test_a_dicom_series_without_endings_is_a_slide_and_so_is_its_folder(tmp_path: Path) -> None:
    written = write_dicom(tmp_path / "dcm", PICTURE, steps=(1, 2), tile=128)
    folder = tmp_path / "export"
    folder.mkdir()
    for k, path in enumerate(written):
        shutil.copy(path, folder / f"IM{k:04d}")
    shutil.copy(written[0], folder / "1.2.840.1")
    (folder / "1.2.840.1").unlink()
    (folder / "README").write_text("not DICOM", encoding="ascii")
    assert find_slides([folder]) == [folder / "IM0000"]
    whole = Frame((400, 300), (1, 1), (0.5, 0.5))
    with open_slide(folder) as slide, open_slide(written[0]) as named, open_slide(tmp_path / "dcm") as also:
        assert slide.level_sizes == named.level_sizes == ((400, 300), (200, 150))
        np.testing.assert_array_equal(slide.read(Box(0, 0, 400, 300), whole), named.read(Box(0, 0, 400, 300), whole))
        assert slide.fingerprint == also.fingerprint
        assert named.fingerprint == also.fingerprint
    assert slide_bytes(folder / "IM0000") == sum((folder / f"IM{k:04d}").stat().st_size for k in (0, 1))


def test_another_series_without_endings_is_another_slide(tmp_path: Path) -> None:
    for k in (1, 2):
        for n, path in enumerate(write_dicom(tmp_path / str(k), PICTURE, steps=(1, 2), tile=128, series=k)):
            (tmp_path / "all").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "all" / f"IM{k}{n}")
    assert [path.name for path in find_slides([tmp_path / "all"])] == ["IM10", "IM20"]
    assert "holds 2 DICOM series" in refusal(tmp_path / "all")


def test_the_folder_of_a_mirax_slide_is_that_slide(tmp_path: Path) -> None:
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide.mrxs").write_bytes(b"\xff\xd8\xff\xe0" + bytes(600))
    assert find_slides([tmp_path / "slide"]) == [tmp_path / "slide.mrxs"]
    assert str(tmp_path / "slide.mrxs") in refusal(tmp_path / "slide")


def test_a_folder_of_something_else_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x", encoding="ascii")
    assert "is a folder, not a slide file" in refusal(tmp_path)


def test_real_dicom_files_that_are_no_slides_are_told_apart() -> None:
    folder = SHARED / "data" / "slides_odd" / "dicom_wsi"
    if not folder.exists():
        pytest.skip("no real slides here")
    for name, words in {
        "seg_image_sm_dots.dcm": "it is a DICOM file with a segmentation, not a slide",
        "sm_annotations.dcm": "it is a DICOM file with annotations, not a slide",
        "sm_image_grayscale.dcm": "Attribute BitsAllocated value 16 != 8",
        "sm_image_jpegls.dcm": "Unsupported transfer syntax 1.2.840.10008.1.2.4.80",
        "test_wsi.dcm": "Found associated image as a concatenation member",
        "dcm_frame_6.j2k": "a bare JPEG 2000 codestream",
    }.items():
        assert words in refusal(folder / name)
