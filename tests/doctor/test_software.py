"""Packages, readers, weights and the hub: as they should be, and not."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.doctor import software, weights
from wsiparse.doctor.check import Check
from wsiparse.doctor.software import check_packages, check_python, check_readers
from wsiparse.doctor.weights import check_embedded, check_hub, check_weights
from wsiparse.recognize.biomedparse.weights import FILES, MANIFEST
from wsiparse.recognize.embedded.engine import MODEL
from wsiparse.slides import libraries


def only(checks: Iterator[Check]) -> Check:
    [check] = checks
    return check


def test_the_versions_of_python_and_wsiparse_are_told() -> None:
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in check_python().found


def test_what_is_missing_or_too_old_is_told_with_the_command_that_mends_it() -> None:
    checks = list(check_packages(["numpy>=1.0", "no-such-package>=3", "click>=999", "isal>=9; extra == 'x'"]))
    assert [(check.state, check.todo) for check in checks] == [
        ("problem", "pip install -U 'no-such-package>=3'"),
        ("problem", "pip install -U 'click>=999'"),
    ]


def test_the_requirements_of_the_installation_are_read() -> None:
    needed = dict(software._needed(importlib.metadata.requires("wsiparse") or []))
    assert needed["numpy"] == "1.26"
    assert "pytest" not in needed


@given(a=st.lists(st.integers(0, 30), min_size=1, max_size=4), b=st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_versions_compare_as_numbers(a: list[int], b: list[int]) -> None:
    texts = [".".join(map(str, v)) for v in (a, b)]
    padded = [v + [0] * (4 - len(v)) for v in (a, b)]
    assert software._is_older(*texts) == (padded[0] < padded[1])


def test_each_reader_reads_a_slide_here(tmp_path: Path) -> None:
    checks = list(check_readers(tmp_path))
    assert [(check.name, check.state) for check in checks] == [
        ("openslide", "ok"),
        ("tiffslide", "ok"),
        ("imagecodecs", "ok"),
    ]
    assert "OpenSlide 4" in checks[0].found
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_cannot_be_loaded_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wsiparse.slides.openslide", raising=False)
    monkeypatch.setitem(sys.modules, "openslide", None)
    states = {check.name: check for check in check_readers(tmp_path)}
    assert states["openslide"].state == "problem"
    assert "openslide-bin" in states["openslide"].todo
    assert states["tiffslide"].state == "ok"


def test_a_reader_of_wrong_pixels_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wsiparse.slides.tiffslide import TiffSlideSlide

    real = TiffSlideSlide.read
    monkeypatch.setattr(TiffSlideSlide, "read", lambda self, box, frame: 255 - real(self, box, frame))
    states = {check.name: check for check in check_readers(tmp_path)}
    assert states["tiffslide"].state == "problem"
    assert "wrong pixels" in states["tiffslide"].found
    assert states["openslide"].state == "ok"


def test_an_old_openslide_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    old = libraries.ReaderFact("openslide", "1.4", "OpenSlide 3.4.1 from the system's library", "")
    monkeypatch.setattr(libraries, "reader_facts", lambda _: [old])
    check = only(check_readers())
    assert check.state == "note"
    assert "too old" in check.found


def test_a_full_folder_for_temporary_files_is_told_of_every_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("wsiparse.slides.synthetic.write_svs", full)
    checks = {check.name: check for check in check_readers(tmp_path)}
    assert checks["openslide"].state == checks["tiffslide"].state == "problem"
    assert os.strerror(errno.ENOSPC) in checks["openslide"].found


def test_the_embedded_weights_of_a_checkout_are_there() -> None:
    check = check_embedded()
    assert check.state == "ok"
    assert "SHA-256" in check.found


def test_embedded_weights_are_compared_with_the_installation_record(monkeypatch: pytest.MonkeyPatch) -> None:
    import base64

    content = (MODEL / weights.WEIGHTS).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    monkeypatch.setattr(weights, "_recorded", lambda: digest)
    assert check_embedded().found.endswith("as installed")
    monkeypatch.setattr(weights, "_recorded", lambda: "another")
    check = check_embedded()
    assert check.state == "problem"
    assert "Reinstall" in check.todo


def test_the_record_of_an_installation_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.PackagePath("wsiparse/recognize/embedded/model/weights.safetensors")
    entry.hash = importlib.metadata.FileHash("sha256=abc-_")
    monkeypatch.setattr(weights, "files", lambda _: [importlib.metadata.PackagePath("wsiparse/__init__.py"), entry])
    assert weights._recorded() == "abc-_"


@pytest.fixture
def biomedparse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pretended BiomedParse files with a manifest."""
    folder = tmp_path / "weights"
    folder.mkdir()
    entries = []
    for name, repository in FILES.items():
        (folder / name).write_bytes(name.encode())
        digest = hashlib.sha256(name.encode()).hexdigest()
        entries.append({"name": name, "repository": repository, "revision": "0", "sha256": digest, "size": len(name),
                        "licence": ""})  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": entries}), encoding="utf-8")
    monkeypatch.setenv("WSIPARSE_WEIGHTS", str(folder))
    return folder


def test_good_weights_are_verified(biomedparse: Path) -> None:
    check = only(check_weights())
    assert (check.state, check.found) == ("ok", f"{biomedparse}, every file as fetched")


def test_damaged_weights_are_a_problem(biomedparse: Path) -> None:
    (biomedparse / next(iter(FILES))).write_bytes(b"x" * len(next(iter(FILES))))
    check = only(check_weights())
    assert check.state == "problem"
    assert "fetch --to" in check.todo


def test_weights_without_a_manifest_are_a_note(biomedparse: Path) -> None:
    (biomedparse / MANIFEST).unlink()
    assert only(check_weights()).state == "note"


def test_a_damaged_manifest_is_a_problem(biomedparse: Path) -> None:
    (biomedparse / MANIFEST).write_text("{", encoding="utf-8")
    assert only(check_weights()).state == "problem"


def test_no_weights_are_a_note_that_tells_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_WEIGHTS", str(tmp_path))
    check = only(check_weights())
    assert check.state == "note"
    assert "weights fetch" in check.todo


@pytest.fixture
def hub() -> Iterator[tuple[str, list[tuple[str, str]], list[int]]]:
    """Address of a hub, the requests it got, and the code it answers with."""
    asked: list[tuple[str, str]] = []
    code = [200]

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(("HEAD", self.path))
            self.send_response(code[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked, code
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("code", "state", "words"), [(200, "ok", "can be fetched"), (401, "note", "token"), (503, "note", "503")]
)
def test_the_hub_is_asked_for_the_head_of_the_weights(
    code: int, state: str, words: str, hub: tuple[str, list[tuple[str, str]], list[int]]
) -> None:
    address, asked, answer = hub
    answer[0] = code
    check = check_hub({"HF_ENDPOINT": address + "/"}, offline=False)
    assert check.state == state
    assert words in check.found
    assert asked == [("HEAD", "/microsoft/BiomedParse/resolve/main/biomedparse_v1.pt")]


def test_a_hub_that_cannot_be_reached_is_a_note() -> None:
    check = check_hub({"HF_ENDPOINT": "http://127.0.0.1:9"}, offline=False)
    assert check.state == "note"
    assert "cannot be reached" in check.found
    assert check_hub({"HF_ENDPOINT": "no address"}, offline=False).state == "note"


@pytest.mark.parametrize(("offline", "environment"), [(True, {}), (False, {"HF_HUB_OFFLINE": "1"})])
def test_offline_means_that_nobody_is_asked(
    offline: bool, environment: dict[str, str], hub: tuple[str, list[tuple[str, str]], list[int]]
) -> None:
    assert check_hub(environment | {"HF_ENDPOINT": hub[0]}, offline=offline).state == "ok"
    assert hub[1] == []
