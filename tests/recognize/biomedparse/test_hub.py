"""The hub's own library against a hub on the loopback address; nothing leaves this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.recognize.biomedparse.local_hub import COMMIT, CONTENT, LocalHub, git_sha1
from wsiparse.errors import WeightsError
from wsiparse.recognize.biomedparse.hub import is_disk_full
from wsiparse.recognize.biomedparse.weights import FILES, MANIFEST, verify

TOKEN = "hf_test"


@dataclass
class Fault:
    """What the hub on loopback does wrong: an answer for every address that contains `where`."""

    where: str = ""
    status: int = 0
    code: str = ""
    cut: bool = False
    page: bool = False
    wants_token: bool = False
    seen: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """The three addresses of the hub that a download uses."""

    def __init__(self, *arguments: object, fault: Fault) -> None:
        self.fault = fault
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.fault.seen.append(f"{self.command} {self.path}")
        fault = self.fault
        authorised = self.headers.get("authorization") == f"Bearer {TOKEN}"
        if fault.status and fault.where in self.path and not (fault.wants_token and authorised):
            self.answer(b"", {"X-Error-Code": fault.code, "X-Error-Message": "as the test wants"}, fault.status)
        elif fault.page and fault.where in self.path:
            self.answer(b"<html>Log in to the guest network</html>", {"Content-Type": "text/html"})
        elif self.path.startswith("/api/models/"):
            repository = "/".join(self.path.split("/")[3:5])
            self.answer(json.dumps(self.model(repository)).encode(), {"Content-Type": "application/json"})
        elif "/resolve/" in self.path:
            name = self.path.rpartition("/")[2]
            self.answer(CONTENT[name], {"ETag": f'"{git_sha1(CONTENT[name])}"', "X-Repo-Commit": COMMIT})
        else:
            self.answer(b"{}", {}, 404)

    def model(self, repository: str) -> dict[str, object]:
        siblings = []
        names = [name for name, owner in FILES.items() if owner == repository]
        for name, file in LocalHub().look_up(repository, "main", names).files.items():
            blob = {"rfilename": name, "size": file.size, "blobId": file.git_sha1 or "0" * 40}
            large = {"lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": 130}} if file.sha256 else {}
            siblings.append(blob | large)
        return {
            "_id": "0",
            "id": repository,
            "modelId": repository,
            "sha": COMMIT,
            "private": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "cardData": {"license": "cc-by-nc-sa-4.0"},
            "siblings": [{"rfilename": "README.md", "size": 3, "blobId": "1" * 40}, *siblings],
        }

    def answer(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            cut = self.fault.cut and "/resolve/" in self.path
            self.wfile.write(body[: len(body) // 2] if cut else body)


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def fault() -> Fault:
    return Fault()


@pytest.fixture
def fetch_from(fault: Fault, tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """`wsiparse weights fetch` in a process of its own, where the library reads its settings anew."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, fault=fault))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def call(*arguments: object, **environment: str) -> Result:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING")) and "proxy" not in k.lower()
        }
        settings = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "library"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }
        command = ["weights", "fetch", "--accept-licence", "--to", tmp_path / "weights", *arguments]
        code = f"from wsiparse.cli.main import main; main({[str(a) for a in command]})"
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env=kept | settings | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Result(ran.returncode, ran.stdout, ran.stderr)

    yield call
    server.shutdown()
    thread.join()
    server.server_close()


def lines(result: Result) -> list[str]:
    """What was said besides the files' names; never a traceback."""
    assert "Traceback" not in result.err
    return [line for line in result.err.splitlines() if line.startswith("error: ")]


def test_files_arrive_from_a_hub_at_the_commit_it_names(fetch_from: Callable[..., Result], tmp_path: Path) -> None:
    said = fetch_from()
    assert said.code == 0, said.err
    folder = tmp_path / "weights"
    assert {p.name for p in folder.iterdir()} == {*FILES, MANIFEST}
    checks = verify(folder)
    assert not any(check.fault for check in checks)
    assert {check.file.revision for check in checks} == {COMMIT}
    assert {check.file.licence for check in checks} == {"cc-by-nc-sa-4.0"}
    for name, data in CONTENT.items():
        assert (folder / name).read_bytes() == data
        assert str(folder / name) in said.out
    assert "--weights" in said.err


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Fault("/resolve/", 403, "GatedRepo"), ["conditions", "HF_TOKEN", "huggingface.co/microsoft/BiomedParse"]),
        (Fault("/resolve/", 401, "GatedRepo"), ["conditions", "HF_TOKEN"]),
        (Fault("/api/models/microsoft", 401, "RepoNotFound"), ["token", "401", "HF_TOKEN"]),
        (Fault("/api/models/microsoft", 403, ""), ["token", "403"]),
        (Fault("/api/models/microsoft", 404, "RepoNotFound"), ["not found", "microsoft/BiomedParse"]),
        (Fault("/api/models/microsoft", 404, "RevisionNotFound"), ["no revision 'main'", "--revision"]),
        (Fault("/resolve/", 404, "EntryNotFound"), ["404", "microsoft/BiomedParse"]),
        (Fault("/api/models/microsoft", 500, ""), ["500", "later"]),
        (Fault("/api/models/openai", 404, "RepoNotFound"), ["openai/clip-vit-base-patch32"]),
        (Fault("/api/models/", page=True), ["microsoft/BiomedParse", "HTTPS_PROXY", "Expecting value"]),
    ],
    ids=lambda value: f"{value.where} {value.status} {value.code}" if isinstance(value, Fault) else "",
)
def test_what_the_hub_refuses_is_one_line_with_what_to_do(
    wrong: Fault, words: list[str], fetch_from: Callable[..., Result], fault: Fault, tmp_path: Path
) -> None:
    fault.__dict__.update(wrong.__dict__)
    said = fetch_from()
    assert said.code == 1
    [line] = lines(said)
    for word in words:
        assert word in line
    assert not any((tmp_path / "weights").glob("*"))


def test_a_token_opens_a_gated_repository(fetch_from: Callable[..., Result], fault: Fault) -> None:
    fault.__dict__.update(Fault("/resolve/", 403, "GatedRepo", wants_token=True).__dict__)
    assert fetch_from().code == 1
    assert fetch_from(HF_TOKEN=TOKEN).code == 0


def test_a_connection_that_breaks_off_is_one_line_and_leaves_nothing(
    fetch_from: Callable[..., Result], fault: Fault, tmp_path: Path
) -> None:
    fault.cut = True
    said = fetch_from(HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert said.code == 1
    [line] = lines(said)
    assert "broke off" in line
    assert not any((tmp_path / "weights").iterdir())


def test_the_offline_switch_is_honoured(fetch_from: Callable[..., Result], fault: Fault, tmp_path: Path) -> None:
    said = fetch_from(HF_HUB_OFFLINE="1")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "HF_HUB_OFFLINE" in said.err
    assert fault.seen == []
    assert not (tmp_path / "weights").exists()


def test_a_hub_that_is_not_there_is_one_line(fetch_from: Callable[..., Result], tmp_path: Path) -> None:
    said = fetch_from(HF_ENDPOINT="http://127.0.0.1:9")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "http://127.0.0.1:9 cannot be reached" in said.err
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("endpoint", ["http://a:b:c", "127.0.0.1:9", "ftp://127.0.0.1:9"])
def test_an_endpoint_that_is_no_address_is_one_line(endpoint: str, fetch_from: Callable[..., Result]) -> None:
    said = fetch_from(HF_ENDPOINT=endpoint)
    assert said.code == 1
    [line] = lines(said)
    assert "HF_" in line


def test_a_full_disk_is_known_under_every_error_that_hides_it() -> None:
    assert is_disk_full(OSError(28, "x"))
    assert is_disk_full(RuntimeError("Data processing error: No space left on device (os error 28)"))
    hidden = RuntimeError("download failed")
    hidden.__cause__ = OSError(28, "x")
    assert is_disk_full(hidden)
    assert not is_disk_full(WeightsError("a disk"))
