from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from wsiparse.errors import RoiError
from wsiparse.results.region_files import Matched, match_regions, named


def folder_of(tmp_path: Path, *names: str) -> Path:
    roi = tmp_path / "rois"
    roi.mkdir()
    for name in names:
        (roi / name).write_text("{}", encoding="utf-8")
    return roi


def match(roi: Path, *slides: str | Path) -> Matched:
    return match_regions(roi, [named(Path(s) if "://" not in str(s) else s) for s in slides])


NFC = unicodedata.normalize("NFC", "Müller_é")


@pytest.mark.parametrize(
    ("slide", "file"),
    [
        ("s/plain.svs", "plain.geojson"),
        ("s/plain.svs", "plain.svs.geojson"),
        ("s/plain.svs", "plain_annotations.geojson"),
        ("s/plain.svs", "plain.svs - Annotations.geojson"),
        ("s/plain.svs", "plain-regions.geojson.gz"),
        ("s/plain.svs", "plain.zip"),
        ("s/plain.svs", "plain.geojson.zip"),
        ("s/plain.svs", "plain.json"),
        ("s/plain.svs", "PLAIN.GeoJSON"),
        ("s/Caps.SVS", "caps.geojson"),
        ("s/two  words.svs", "two words.geojson"),
        (f"s/{unicodedata.normalize('NFD', NFC)}.tif", f"{NFC}.geojson"),
        (f"s/{NFC}.tif", unicodedata.normalize("NFD", NFC) + "_ROI.geojson"),
        ("s/pyr.ome.tif", "pyr.geojson"),
        ("s/pyr.ome.tif", "pyr.ome.geojson"),
        ("s/pyr.ome.tif", "pyr.ome.tif.geojson"),
        ("s/a_annotations.svs", "a_annotations.geojson"),
        ("https://host/dir/plain%20one.svs?sig=1", "plain one.geojson"),
    ],
)
def test_a_region_file_is_found_by_the_names_people_give(slide: str, file: str, tmp_path: Path) -> None:
    roi = folder_of(tmp_path, file, "._" + file, "notes.txt")
    found = match(roi, slide, "s/other.svs")
    assert found.files == (roi / file, None)
    assert found.unused == ()
    assert [one.file for one in found.lacking] == ["other.svs"]


def test_the_name_of_the_results_folder_tells_slides_of_one_name_apart(tmp_path: Path) -> None:
    first, second = (named(Path(p)) for p in ("p1/HE.tif", "p2/HE.tif"))
    roi = folder_of(tmp_path, f"{first.folder}.geojson", f"{second.folder}_annotations.geojson")
    found = match(roi, "p1/HE.tif", "p2/HE.tif")
    assert [file.name if file else None for file in found.files] == [
        f"{first.folder}.geojson",
        f"{second.folder}_annotations.geojson",
    ]


def test_a_folder_of_regions_may_have_the_folders_of_the_slides(tmp_path: Path) -> None:
    roi = tmp_path / "rois"
    for file in ("p1/HE.geojson", "P2/HE_annotations.geojson", "p3/HE.geojson", "p1/notes.json", ".old/HE.geojson"):
        (roi / file).parent.mkdir(parents=True, exist_ok=True)
        (roi / file).touch()
    found = match(roi, "s/p1/HE.tif", "s/p2/HE.tif", "s/p4/HE.tif")
    assert found.files == (roi / "p1" / "HE.geojson", roi / "P2" / "HE_annotations.geojson", None)
    assert found.unused == (roi / "p3" / "HE.geojson",)  # of another patient, though only one slide is left
    with pytest.raises(RoiError, match="named as two slides"):
        match(roi, "a/p1/HE.tif", "b/p1/HE.tif")
    (roi / "HE.geojson").touch()  # what lies in the folder itself goes before
    assert match(roi, "s/p1/HE.tif").files == (roi / "HE.geojson",)


def test_regions_may_lie_beside_the_slides_and_results_are_not_searched(tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "HE.geojson").touch()
    done = tmp_path / "r" / "slides" / "HE__0123abcd"
    done.mkdir(parents=True)
    for name in ("DONE.json", "cells.geojson.gz", "HE.geojson"):
        (done / name).touch()
    found = match(tmp_path, tmp_path / "p1" / "HE.tif", tmp_path / "p2" / "HE.tif")
    assert found == Matched((tmp_path / "p1" / "HE.geojson", tmp_path / "p2" / "HE.geojson"))


@pytest.mark.parametrize("file", ["a.b.geojson", "a_b.geojson", "annotations_a.geojson", "aa.geojson", ".geojson"])
def test_a_name_that_is_only_alike_is_no_match(file: str, tmp_path: Path) -> None:
    roi = folder_of(tmp_path, file, "x.geojson")
    found = match(roi, "a.svs", "x.svs")
    assert found.files == (None, roi / "x.geojson")


def test_what_could_be_meant_for_two_is_refused_with_both_names(tmp_path: Path) -> None:
    roi = folder_of(tmp_path, "HE.geojson")
    with pytest.raises(RoiError, match=r"named as two slides, .*p1.HE.tif and .*p2.HE.tif"):
        match(roi, "p1/HE.tif", "p2/HE.tif")
    assert match(roi, "p1/HE.ome.tif", "p2/HE.tif").files == (None, roi / "HE.geojson")


@pytest.mark.parametrize("other", ["a.svs.geojson", "a_annotations.geojson", "A.GEOJSON", "a.geojson.gz"])
def test_two_files_for_one_slide_are_refused_with_both_names(other: str, tmp_path: Path) -> None:
    roi = folder_of(tmp_path, "a.geojson", other)
    if len(list(roi.iterdir())) < 2:
        pytest.skip("this file system has one name for both")
    with pytest.raises(RoiError, match=r"two files of regions for a\.svs") as caught:
        match(roi, "a.svs")
    assert "a.geojson" in str(caught.value)
    assert other in str(caught.value)


def test_json_beside_geojson_is_something_else(tmp_path: Path) -> None:
    roi = folder_of(tmp_path, "a.json", "a.geojson", "b.geojson", "c.geojson")
    found = match(roi, "a.svs", "b.svs")
    assert found.files == (roi / "a.geojson", roi / "b.geojson")
    assert found.unused == (roi / "a.json", roi / "c.geojson")
    assert found.told("x") == ["2 files of regions belong to no slide: a.json, c.geojson"]


def test_one_file_is_for_one_slide_only(tmp_path: Path) -> None:
    roi = tmp_path / "a.geojson"
    roi.touch()
    assert match(roi, "b.svs").files == (roi,)
    with pytest.raises(RoiError, match="one file of regions, but several slides"):
        match(roi, "a.svs", "b.svs")
    slides, own = [named(Path(p)) for p in ("a.svs", "b.svs")], Path("own.geojson")
    assert match_regions(roi, slides, own=[own, None]).files == (own, roi)
    found = match_regions(roi, slides, own=[own, own])
    assert (found.files, found.unused) == ((own, own), (roi,))


def test_a_folder_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    roi = folder_of(tmp_path, "x.geojson", "y.geojson")
    with pytest.raises(
        RoiError, match=r"none of its 2 region files is named as a slide \(the first: x.geojson, a.svs\)"
    ):
        match(roi, "a.svs", "b.svs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RoiError, match="no file of regions in it"):
        match(tmp_path / "empty", "a.svs")
    with pytest.raises(RoiError, match="no such folder or file of regions"):
        match(tmp_path / "absent", "a.svs")


def test_slides_without_regions_are_told_by_name_up_to_a_number() -> None:
    lacking = tuple(named(Path(f"{k}.svs")) for k in range(11))
    (line,) = Matched((None,) * 11, (), lacking).told("all of it was analysed")
    assert line.startswith("11 slides have no file of regions, all of it was analysed: 0.svs, 1.svs, ")
    assert line.endswith("and 3 more")
