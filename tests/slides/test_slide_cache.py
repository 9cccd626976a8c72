"""Slides on node-local disk: copies that are whole, gone afterwards, and never a reason to fail."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.slides.stage import WAIT_S, copied, slides_in, wait_for
from wsiparse.errors import OutputError
from wsiparse.slides import open_slide, slide_cache
from wsiparse.slides.slide_cache import SlideCache

# --- what is copied


def test_the_copy_has_the_bytes_and_the_name_of_the_slide(tmp_path: Path) -> None:
    [path] = slides_in(tmp_path / "far", 1, size=20 << 20)
    with SlideCache(tmp_path / "stage", [path]) as cache, cache.slide(0) as local:
        assert local.is_relative_to(tmp_path / "stage")
        assert local.name == path.name
        assert local.read_bytes() == path.read_bytes()


def test_nothing_is_left_when_all_is_done(tmp_path: Path) -> None:
    paths = slides_in(tmp_path / "far", 3)
    with SlideCache(tmp_path / "stage", paths) as cache:
        for k in range(3):
            with cache.slide(k):
                pass
    assert list((tmp_path / "stage").iterdir()) == []


def test_a_copy_is_gone_as_soon_as_its_slide_is_done(tmp_path: Path) -> None:
    paths = slides_in(tmp_path / "far", 2)
    with SlideCache(tmp_path / "stage", paths, ahead=0) as cache:
        with cache.slide(0) as local:
            assert local.exists()
        assert copied(tmp_path / "stage") == []


def test_nothing_is_left_after_an_exception(tmp_path: Path) -> None:
    paths = slides_in(tmp_path / "far", 3)
    with pytest.raises(KeyboardInterrupt), SlideCache(tmp_path / "stage", paths, ahead=2) as cache, cache.slide(0):
        raise KeyboardInterrupt
    assert list((tmp_path / "stage").iterdir()) == []


def test_the_next_slide_is_copied_while_one_is_worked_on(tmp_path: Path) -> None:
    paths = slides_in(tmp_path / "far", 4)
    with SlideCache(tmp_path / "stage", paths) as cache, cache.slide(0):
        wait_for(tmp_path / "stage", "slide1.svs")
        assert copied(tmp_path / "stage") == ["slide0.svs", "slide1.svs"]


def test_as_many_slides_are_copied_ahead_as_asked_for(tmp_path: Path) -> None:
    paths = slides_in(tmp_path / "far", 5)
    with SlideCache(tmp_path / "stage", paths, ahead=3) as cache, cache.slide(1):
        wait_for(tmp_path / "stage", "slide4.svs")
        assert copied(tmp_path / "stage") == [f"slide{k}.svs" for k in (1, 2, 3, 4)]


def test_copies_ahead_of_slides_that_were_skipped_are_dropped(tmp_path: Path) -> None:
    paths = slides_in(tmp_path / "far", 6)
    with SlideCache(tmp_path / "stage", paths, ahead=2) as cache:
        with cache.slide(0):
            wait_for(tmp_path / "stage", "slide2.svs")
        with cache.slide(3) as local:
            assert local.name == "slide3.svs"
            wait_for(tmp_path / "stage", "slide5.svs")
            assert copied(tmp_path / "stage") == ["slide3.svs", "slide4.svs", "slide5.svs"]


def test_slides_of_one_name_from_two_folders_do_not_mix(tmp_path: Path) -> None:
    paths = [tmp_path / side / "a.svs" for side in ("left", "right")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(path.parent.name, encoding="ascii")
    with SlideCache(tmp_path / "stage", paths) as cache:
        for k, side in enumerate(("left", "right")):
            with cache.slide(k) as local:
                assert local.read_text(encoding="ascii") == side


def test_a_real_slide_keeps_its_fingerprint_and_pixels(demo_slide: Path, tmp_path: Path) -> None:
    with SlideCache(tmp_path, [demo_slide]) as cache, cache.slide(0) as local:
        assert local != demo_slide
        with open_slide(local) as copy, open_slide(demo_slide) as slide:
            assert (copy.name, copy.fingerprint, copy.size) == (slide.name, slide.fingerprint, slide.size)


def test_without_a_stage_folder_paths_are_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    [path] = slides_in(tmp_path / "far", 1)
    with SlideCache(None, [path, path.as_uri()]) as cache:
        for k in range(2):
            with cache.slide(k) as local:
                assert local == path
    assert not (tmp_path / "tmp").exists()


def test_asking_for_a_slide_that_is_not_there_is_the_callers_error(tmp_path: Path) -> None:
    cache = SlideCache(tmp_path, slides_in(tmp_path / "far", 1))
    with pytest.raises(ValueError, match="with block"), cache.slide(0):
        pass
    with cache, pytest.raises(IndexError), cache.slide(1):
        pass
    with pytest.raises(ValueError, match="ahead"):
        SlideCache(tmp_path, [], ahead=-1)


# --- what goes wrong


def test_a_disk_without_room_is_one_line_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = slides_in(tmp_path / "far", 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10_000, 9_500, 1_500))
    with SlideCache(tmp_path / "stage", [path], margin_bytes=501) as cache, cache.slide(0) as local:
        assert local == path
    assert len(caplog.records) == 1
    assert "free in" in caplog.text
    with SlideCache(tmp_path / "stage", [path], margin_bytes=500) as cache, cache.slide(0) as local:
        assert local != path


def test_what_did_not_fit_ahead_is_copied_when_its_turn_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for one slide: each is copied, but only after the one before is gone."""
    paths = slides_in(tmp_path / "far", 3)

    def usage(_: Path) -> object:
        used = 1000 * len(copied(tmp_path / "stage"))
        return shutil._ntuple_diskusage(1500, used, 1500 - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with SlideCache(tmp_path / "stage", paths, margin_bytes=0) as cache:
        for k in range(3):
            with cache.slide(k) as local:
                assert local != paths[k]
                assert copied(tmp_path / "stage") == [paths[k].name]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    if shutil.which("mount") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root to mount a tiny file system")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a tiny file system: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_meanwhile_is_one_line_and_no_error(
    tiny_disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room looked enough when the copy began, and somebody else took it."""
    [path] = slides_in(tmp_path / "far", 1, size=2 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40))
    with SlideCache(tiny_disk, [path]) as cache:
        with cache.slide(0) as local:
            assert local == path
        assert copied(tiny_disk) == []
    assert len(caplog.records) == 1
    assert os.strerror(errno.ENOSPC) in caplog.text
    assert list(tiny_disk.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT])
def test_a_copy_that_fails_is_one_line_and_leaves_nothing(
    number: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = slides_in(tmp_path / "far", 1)

    def broken(source: Path, target: Path, stop: threading.Event) -> int:
        target.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(slide_cache, "_copy_file", broken)
    with SlideCache(tmp_path / "stage", [path]) as cache, cache.slide(0) as local:
        assert local == path
        assert copied(tmp_path / "stage") == []
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert os.strerror(number) in caplog.text


def test_a_slide_that_grows_while_it_is_copied_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = slides_in(tmp_path / "far", 1)
    real = slide_cache._copy_file

    def growing(source: Path, target: Path, stop: threading.Event) -> int:
        with source.open("ab") as file:
            file.write(b"more")
        return real(source, target, stop)

    monkeypatch.setattr(slide_cache, "_copy_file", growing)
    with SlideCache(tmp_path / "stage", [path]) as cache, cache.slide(0) as local:
        assert local == path
    assert "changed from 1000 to 1004 bytes" in caplog.text


def test_a_slide_that_is_missing_is_left_to_whoever_opens_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SlideCache(tmp_path / "stage", [tmp_path / "absent.svs", tmp_path]) as cache:
        for k, path in enumerate((tmp_path / "absent.svs", tmp_path)):
            with cache.slide(k) as local:
                assert local == path
    assert caplog.text == ""


def test_a_stage_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="cannot be copied there"),
        SlideCache(tmp_path / "file" / "x", [tmp_path / "a"]),
    ):
        pass


def test_the_end_does_not_wait_for_a_copy_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy ahead sees that nobody wants it any more, and removes itself."""
    paths = slides_in(tmp_path / "far", 2)
    began, went_on, real = threading.Event(), threading.Event(), slide_cache._copy_file

    def slow(source: Path, target: Path, stop: threading.Event) -> int:
        if source.name == "slide1.svs":
            began.set()
            assert stop.wait(WAIT_S)
            went_on.set()
        return real(source, target, stop)

    monkeypatch.setattr(slide_cache, "_copy_file", slow)
    with SlideCache(tmp_path / "stage", paths) as cache, cache.slide(0):
        assert began.wait(WAIT_S)
        assert not went_on.is_set()
    assert went_on.wait(WAIT_S)
    assert list((tmp_path / "stage").iterdir()) == []


# --- many threads


def test_threads_that_share_a_stager_each_read_their_own_slides(tmp_path: Path) -> None:
    paths = slides_in(tmp_path / "far", 40)
    with SlideCache(tmp_path / "stage", paths, ahead=3) as cache:

        def read(k: int) -> bytes:
            with cache.slide(k) as local:
                data = local.read_bytes()
                assert local.exists()
                assert local != paths[k]
                return data

        with ThreadPoolExecutor(6) as pool:
            got = list(pool.map(read, [*range(40), *range(39, -1, -1), *[7] * 20]))
    assert got == [bytes([k]) * 1000 for k in [*range(40), *range(39, -1, -1), *[7] * 20]]
    assert list((tmp_path / "stage").iterdir()) == []


def test_two_threads_with_one_slide_share_its_copy(tmp_path: Path) -> None:
    [path] = slides_in(tmp_path / "far", 1)
    both = threading.Barrier(2, timeout=WAIT_S)
    with SlideCache(tmp_path / "stage", [path]) as cache:

        def read(_: int) -> Path:
            with cache.slide(0) as local:
                both.wait()
                assert local.exists()
                both.wait()
                return local

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(read, range(2))
        assert first == second
        assert not first.exists()


@given(order=st.lists(st.integers(0, 7), max_size=12), ahead=st.integers(0, 3))
def test_any_order_of_asking_gives_every_slide_its_bytes(
    order: list[int], ahead: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    paths = slides_in(folder / "far", 8)
    with SlideCache(folder / "stage", paths, ahead=ahead) as cache:
        for k in order:
            with cache.slide(k) as local:
                assert local != paths[k]
                assert local.read_bytes() == paths[k].read_bytes()
    assert not (folder / "stage").exists() or list((folder / "stage").iterdir()) == []
