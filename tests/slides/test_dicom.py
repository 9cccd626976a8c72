"""DICOM whole-slide images through OpenSlide: any file of a series is the slide, a folder gives each series once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures_slides import halved, textured
from tests.slides.dicoms import write_dicom
from wsiparse.coords import Frame
from wsiparse.errors import SlideError, UnsupportedSlideError
from wsiparse.slides import find_slides, open_slide, require_mpp
from wsiparse.slides.size import slide_bytes
from wsiparse.types import Box

PICTURE = textured(200, 300, seed=9)
OVER = Frame((300, 200), (1, 1), (0.5, 0.5))
WHOLE = Box(0, 0, 300, 200)


@pytest.mark.parametrize("jpeg", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_any_file_of_a_series_is_the_slide(tmp_path: Path, which: int, jpeg: bool) -> None:
    paths = write_dicom(tmp_path, PICTURE, jpeg=jpeg)
    with open_slide(paths[which]) as slide:
        assert (slide.reader, slide.vendor, slide.objective) == ("openslide", "dicom", 20)
        assert slide.level_sizes == ((300, 200), (150, 100))
        assert require_mpp(slide) == pytest.approx((0.5, 0.5))
        got = slide.read(WHOLE, OVER).astype(int)
        half = slide.read(Box(0, 0, 150, 100), Frame((150, 100), (2, 2), (1, 1))).astype(int)
    assert np.abs(got - PICTURE).mean() <= (6 if jpeg else 0)
    assert np.abs(half - halved(PICTURE, 2)).mean() <= (6 if jpeg else 0)


def test_a_folder_gives_each_series_once_and_a_folder_of_two_is_no_slide(tmp_path: Path) -> None:
    first = write_dicom(tmp_path, PICTURE)
    second = write_dicom(tmp_path, PICTURE, series=2, stem="other")
    (tmp_path / "unknown.dcm").write_bytes(b"no DICOM")
    assert find_slides([tmp_path]) == [first[0], second[0], tmp_path / "unknown.dcm"]
    assert find_slides([first[1]]) == [first[1]]
    with pytest.raises(UnsupportedSlideError, match=r"holds 2 DICOM series\. Give one file of a series"):
        open_slide(tmp_path)
    assert slide_bytes(first[0]) == sum(path.stat().st_size for path in first)


def test_the_fingerprint_is_the_series(tmp_path: Path) -> None:
    prints = []
    for name, picture in (("a", PICTURE), ("b", PICTURE), ("c", PICTURE[:, ::-1].copy())):
        for path in write_dicom(tmp_path / name, picture):
            with open_slide(path) as slide:
                prints.append(slide.fingerprint)
    assert len(set(prints[:4])) == 1
    assert prints[4] == prints[5] != prints[0]


def test_a_level_that_changes_while_another_file_names_the_slide_is_found_out(tmp_path: Path) -> None:
    paths = write_dicom(tmp_path, PICTURE)
    with open_slide(paths[1]) as slide:
        slide.check_unchanged()
        (write_dicom(tmp_path / "other", PICTURE[:, ::-1].copy())[0]).replace(paths[0])
        with pytest.raises(SlideError, match="changed while it was read"):
            slide.check_unchanged()


def test_info_tells_a_dicom_folder(wsiparse: Callable, tmp_path: Path) -> None:
    write_dicom(tmp_path / "slides", PICTURE)
    said = wsiparse("info", tmp_path / "slides")
    assert said.code == 0, said.err
    assert "dicom (read by openslide)" in said.out
    assert "2: 300 x 200, 150 x 100" in said.out
