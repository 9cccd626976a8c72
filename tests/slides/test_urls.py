"""Slides at addresses: fetched whole, gone afterwards, and one line when they cannot be had."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.slides.stage import VMS, contents, copied, dicom, slides_in
from wsiparse.errors import SlideError, SlideNotFoundError
from wsiparse.slides import open_slide, slide_cache
from wsiparse.slides.slide_cache import SlideCache
from wsiparse.slides.urls import is_url, shown_url, url_name


def error_of(stage: Path, url: str) -> SlideError:
    """The error of a slide that cannot be had."""
    with SlideCache(stage, [url]) as cache:
        with pytest.raises(SlideError) as told, cache.slide(0):
            pass
        return told.value


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address and the folder of a web server on this machine."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    yield from serving(partial(Silent, directory=folder), folder)


def serving(handler: object, folder: Path) -> Iterator[tuple[str, Path]]:
    pytest.importorskip("aiohttp")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:  # type: ignore[arg-type]
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{web.server_address[1]}", folder
        web.shutdown()
        thread.join()


def test_a_slide_on_the_web_is_fetched_and_gone_afterwards(
    server: tuple[str, Path], demo_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    address, folder = server
    shutil.copy(demo_slide, folder / "my slide.svs")
    with SlideCache(None, [f"{address}/my%20slide.svs?token=0"]) as cache:
        with cache.slide(0) as local:
            assert local.name == "my slide.svs"
            assert local.read_bytes() == demo_slide.read_bytes()
            with open_slide(local) as slide:
                assert slide.size == (640, 512)
        assert copied(tmp_path / "tmp") == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_companions_on_the_web_travel_too(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    (folder / "a b").mkdir()
    (folder / "a b.mrxs").write_bytes(b"mrxs")
    for name in ("Slidedat.ini", "Data 0.dat"):
        (folder / "a b" / name).write_text(name, encoding="ascii")
    (folder / "v.vms").write_text(VMS, encoding="ascii")
    for name in ("scan.jpg", "scan with space.jpg"):
        (folder / name).write_text(name, encoding="ascii")
    (folder / "d").mkdir()
    for name, series in (("1.dcm", "1.2"), ("2.dcm", "1.2"), ("3.dcm", "1.3")):
        (folder / "d" / name).write_bytes(dicom(series))
    slides = [f"{address}/a%20b.mrxs", f"{address}/v.vms", f"{address}/d/1.dcm"]
    expected = [
        ["a b.mrxs", "a b/Data 0.dat", "a b/Slidedat.ini"],
        ["scan with space.jpg", "scan.jpg", "v.vms"],
        ["1.dcm", "2.dcm"],
    ]
    with SlideCache(tmp_path / "stage", slides) as cache:
        for k, names in enumerate(expected):
            with cache.slide(k) as local:
                assert contents(local.parent) == names


class Awkward(BaseHTTPRequestHandler):
    """Refuses, breaks off or never says how long it is, depending on the path."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path.startswith("/secret"):
            self.send_error(403)
            return
        if self.path.startswith("/broken"):
            self.send_error(500)
            return
        self.send_response(200)
        if self.path.startswith("/short"):
            self.send_header("Content-Length", "1000")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"x" * 600)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def awkward(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    yield from serving(Awkward, tmp_path)


@pytest.mark.parametrize(
    ("path", "words"),
    [("secret.svs", "no permission"), ("broken.svs", "500"), ("short.svs", "cannot be fetched")],
)
def test_a_server_that_refuses_or_breaks_off_is_one_line(
    path: str, words: str, awkward: tuple[str, Path], tmp_path: Path
) -> None:
    url = f"{awkward[0].replace('//', '//me:hunter2@')}/{path}?sig=hunter3"
    told = error_of(tmp_path / "stage", url)
    assert isinstance(told, SlideNotFoundError)
    assert words in str(told)
    assert "\n" not in str(told)
    assert "hunter" not in str(told)
    assert list((tmp_path / "stage").iterdir()) == []


def test_a_server_that_does_not_say_how_long_a_slide_is_still_gives_it(
    awkward: tuple[str, Path], tmp_path: Path
) -> None:
    with SlideCache(tmp_path / "stage", [f"{awkward[0]}/a.svs"]) as cache, cache.slide(0) as local:
        assert local.read_bytes() == b"x" * 600


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("{server}/absent.svs", "no such file"),
        ("http://127.0.0.1:9/a.svs", "cannot be fetched"),
        ("memory://nowhere/a.svs", "no such file"),
        ("gopher://host/a.svs", "gopher:// is no kind of address"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(
    url: str, words: str, server: tuple[str, Path], tmp_path: Path
) -> None:
    url = url.format(server=server[0])
    told = error_of(tmp_path / "stage", url)
    assert isinstance(told, SlideNotFoundError)
    assert str(told).startswith(url)
    assert words in str(told)
    assert "\n" not in str(told)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules[fsspec.get_filesystem_class.__module__]._registry, "s3", raising=False)
    assert "pip install s3fs" in str(error_of(tmp_path / "stage", "s3://bucket/a.svs"))


@pytest.fixture
def remembered() -> Iterator[str]:
    """The address of a folder in fsspec's memory."""
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe({"/case/a.svs": b"slide", "/case/b.mrxs": b"mrxs", "/case/b/Slidedat.ini": b"ini"})
    yield "memory://case"
    store.rm("/case", recursive=True)


def test_any_fsspec_address_will_do(remembered: str, tmp_path: Path) -> None:
    with SlideCache(tmp_path / "stage", [f"{remembered}/a.svs", f"{remembered}/b.mrxs"]) as cache:
        with cache.slide(0) as local:
            assert local.read_bytes() == b"slide"
        with cache.slide(1) as local:
            assert contents(local.parent) == ["b.mrxs", "b/Slidedat.ini"]


def test_an_address_that_does_not_fit_is_that_slides_error(
    remembered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    assert "Make room" in str(error_of(tmp_path / "stage", f"{remembered}/a.svs"))


def test_an_address_that_fails_once_ahead_is_tried_again(
    remembered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    real = slide_cache.download

    def flaky(filesystem: object, path: str, target: Path, stop: threading.Event) -> None:
        tries.append(target.name)
        if tries == ["a.svs", "b.mrxs"]:
            raise ConnectionResetError("reset")
        real(filesystem, path, target, stop)

    monkeypatch.setattr(slide_cache, "download", flaky)
    with SlideCache(tmp_path / "stage", [f"{remembered}/a.svs", f"{remembered}/b.mrxs"]) as cache:
        with cache.slide(0):
            pass
        with cache.slide(1) as local:
            assert local.read_bytes() == b"mrxs"
    assert tries == ["a.svs", "b.mrxs", "b.mrxs", "Slidedat.ini"]


def test_a_file_address_is_a_path(tmp_path: Path) -> None:
    [path] = slides_in(tmp_path / "far", 1)
    with SlideCache(tmp_path / "stage", [path.as_uri()]) as cache, cache.slide(0) as local:
        assert local.is_relative_to(tmp_path / "stage")
        assert local.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("text", ["a.svs", "/data/a.svs", "C:\\a.svs", "C://a.svs", "", "http:/a", "::", "//host/a"])
def test_paths_are_no_addresses(text: str) -> None:
    assert not is_url(text)


@given(st.text(max_size=30))
def test_the_name_of_an_address_is_always_a_plain_file_name(rest: str) -> None:
    for scheme in ("s3", "http", "zip", "memory"):
        url = f"{scheme}://{rest}"
        try:
            name = url_name(url)
        except ValueError:  # brackets that are no host: opening it says so
            continue
        assert name not in ("", ".", "..")
        assert not set(name) & set("/\\\0")


def test_nobody_is_shown_a_password() -> None:
    assert shown_url("zip://a.svs::https://me:pw@host/b.zip?sig=1") == "zip://a.svs::https://host/b.zip"
