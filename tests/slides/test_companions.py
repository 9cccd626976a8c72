"""Slides of several files travel with all of them, or stay where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fixtures_slides import textured
from tests.slides.stage import VMS, contents, dicom
from tests.slides.zarrs import write_ome_zarr
from wsiparse.slides import find_slides, open_slide
from wsiparse.slides.files import file_fingerprint
from wsiparse.slides.size import slide_bytes
from wsiparse.slides.slide_cache import SlideCache


def test_a_mirax_slide_travels_with_its_folder(tmp_path: Path) -> None:
    far = tmp_path / "far"
    (far / "case 1" / "deeper").mkdir(parents=True)
    (far / "case 1.mrxs").write_bytes(b"mrxs")
    for name in ("Slidedat.ini", "Index.dat", "Data0000.dat", "deeper/more.dat"):
        (far / "case 1" / name).write_text(name, encoding="ascii")
    (far / "case 2.mrxs").write_bytes(b"another slide")
    with SlideCache(tmp_path / "stage", [far / "case 1.mrxs"]) as cache, cache.slide(0) as local:
        assert contents(local.parent) == [
            "case 1.mrxs",
            "case 1/Data0000.dat",
            "case 1/Index.dat",
            "case 1/Slidedat.ini",
            "case 1/deeper/more.dat",
        ]
        assert file_fingerprint(local) == file_fingerprint(far / "case 1.mrxs")


def test_a_mirax_slide_without_its_folder_is_read_in_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mrxs"
    path.write_bytes(b"mrxs")
    with SlideCache(tmp_path / "stage", [path]) as cache, cache.slide(0) as local:
        assert local == path
    assert "the folder a " in caplog.text


@pytest.mark.parametrize("suffix", ["vms", "VMU"])
def test_a_hamamatsu_slide_travels_with_the_files_it_names(suffix: str, tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    (far / f"a.{suffix}").write_text(VMS, encoding="ascii")
    for name in ("scan.jpg", "scan with space.jpg", "map.jpg", "scan.opt", "commented.jpg", "other.jpg"):
        (far / name).write_text(name, encoding="ascii")
    with SlideCache(tmp_path / "stage", [far / f"a.{suffix}"]) as cache, cache.slide(0) as local:
        assert contents(local.parent) == sorted(
            [f"a.{suffix}", "map.jpg", "scan with space.jpg", "scan.jpg", "scan.opt"]
        )


def test_a_slide_that_names_files_elsewhere_is_read_in_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "elsewhere.jpg").write_bytes(b"x")
    path = tmp_path / "far" / "a.vms"
    path.parent.mkdir()
    path.write_text("[Virtual Microscope Specimen]\nImageFile=../elsewhere.jpg\n", encoding="ascii")
    with SlideCache(tmp_path / "stage", [path]) as cache, cache.slide(0) as local:
        assert local == path
    assert "not in its own folder" in caplog.text


@pytest.mark.parametrize("explicit", [True, False])
def test_a_dicom_slide_travels_with_the_files_of_its_series(explicit: bool, tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    for name, series in (("a.dcm", "1.2.3.4"), ("b.dcm", "1.2.3.4"), ("c", "1.2.3.4"), ("other.dcm", "1.2.3.5")):
        (far / name).write_bytes(dicom(series, explicit=explicit))
    (far / "notes.txt").write_text("no DICOM", encoding="ascii")
    (far / "folder").mkdir()
    with SlideCache(tmp_path / "stage", [far / "a.dcm"]) as cache, cache.slide(0) as local:
        assert contents(local.parent) == ["a.dcm", "b.dcm", "c"]


@pytest.mark.parametrize("data", [dicom(None), dicom("1.2.3.4")[:150]], ids=["none", "cut off"])
def test_a_dicom_slide_of_unknown_series_is_read_in_place(
    data: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    with SlideCache(tmp_path / "stage", [path]) as cache, cache.slide(0) as local:
        assert local == path
    assert "does not name its series" in caplog.text


def test_an_ome_zarr_slide_travels_with_everything_in_its_folder(tmp_path: Path) -> None:
    far = write_ome_zarr(tmp_path / "far" / "a.ome.zarr", textured(70, 90), chunk=64)
    with SlideCache(tmp_path / "stage", [far]) as cache, cache.slide(0) as local:
        assert local.is_relative_to(tmp_path / "stage")
        assert contents(local) == contents(far)
        with open_slide(local) as copy, open_slide(far) as slide:
            assert copy.fingerprint == slide.fingerprint
    assert slide_bytes(far) == sum(path.stat().st_size for path in far.rglob("*") if path.is_file())


def test_an_ome_zarr_slide_at_an_address_is_fetched(tmp_path: Path) -> None:
    import fsspec

    far = write_ome_zarr(tmp_path / "far" / "a.zarr", textured(70, 90))
    store = fsspec.filesystem("memory")
    store.pipe({f"/case/a.zarr/{name}": (far / name).read_bytes() for name in contents(far)})
    try:
        with SlideCache(tmp_path / "stage", ["memory://case/a.zarr"]) as cache, cache.slide(0) as local:
            assert contents(local) == contents(far)
    finally:
        store.rm("/case", recursive=True)


@pytest.mark.parametrize("name", ["a.svs", "a.dcm", "plain", "a.mrxs"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "a.mrxs":
        path.write_bytes(b"mrxs")
        (tmp_path / "a").mkdir()
        os.mkfifo(tmp_path / "a" / "Data0000.dat")
    elif name == "a.dcm":
        path.write_bytes(dicom("1.2.3"))
        os.mkfifo(tmp_path / "b.dcm")
        (tmp_path / "c.dcm").symlink_to("b.dcm")
        (tmp_path / "d.dcm").symlink_to("nowhere")
    else:
        os.mkfifo(path)
    assert slide_bytes(path) == (path.stat().st_size if name == "a.dcm" else 0)
    assert find_slides([path, tmp_path] if path.suffix else [path])
    with SlideCache(tmp_path / "stage", [path]) as cache, cache.slide(0) as local:
        assert (local == path) == (name != "a.dcm")
