"""Showing spoilt slides to a process of its own, and keeping those it stumbles over."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.conftest import ROOT
from tests.fuzz.seeds import Files, place

__all__ = ["CORPUS", "Bench", "keep", "kept", "load"]

#: Slides that once made a reader stumble, each shown to all of them again by a test.
CORPUS: Final = Path(__file__).parent / "corpus"


class Bench:
    """A child process that opens slides with every reader; started again when a slide ends it. A context manager.

    Parameters
    ----------
    program : what the child runs, arguments of the interpreter
    """

    def __init__(self, program: Sequence[str] = ("-m", "tests.fuzz.child")) -> None:
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="wsiparse-fuzz-"))
        self._said = (self._folder / "stderr").open("w+b")
        self._child: subprocess.Popen[str] | None = None
        self.outcomes: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._stop(self._child)
        self._said.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self, child: subprocess.Popen[str]) -> int:
        if child.stdin is not None and child.stdout is not None:
            with suppress(BrokenPipeError):
                child.stdin.close()
            child.stdout.close()
        self._child = None
        return child.wait()

    def show(self, files: Files, seed: int) -> list[str]:
        """What is wrong with how a slide is taken; [] when nothing is.

        Parameters
        ----------
        files : the slide
        seed : of the boxes that are read
        """
        folder = self._folder / "slide"
        folder.mkdir()
        try:
            path = place(files, folder)
            if self._child is None:
                self._child = subprocess.Popen(
                    [sys.executable, *self._program],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._said,
                    text=True,
                    cwd=ROOT,
                )
            child = self._child
            assert child.stdin is not None
            assert child.stdout is not None
            with suppress(BrokenPipeError):  # it ended: told below
                child.stdin.write(json.dumps({"path": str(path), "seed": seed}) + "\n")
                child.stdin.flush()
            line = child.stdout.readline()
            if not line:
                code = self._stop(child)
                return [f"the process ended: {_meaning(code)}; {self._last_words()}"]
            told = json.loads(line)
            for reader, outcome in told["outcomes"].items():
                key = f"{reader}: {outcome}"
                self.outcomes[key] = self.outcomes.get(key, 0) + 1
            return list(told["faults"])
        finally:
            shutil.rmtree(folder)

    def _last_words(self) -> str:
        self._said.seek(0)
        text = self._said.read()[-300:].decode("utf-8", "replace")
        self._said.truncate(0)
        return " ".join(text.split())


def _meaning(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def keep(files: Files, folder: Path = CORPUS) -> Path:
    """Keep a slide as one small file, named by its content: ``.zip`` for the files of a folder."""
    digest = hashlib.sha256(b"\0".join(name.encode() + b"\0" + data for name, data in sorted(files.items())))
    name = next(iter(files))
    folder.mkdir(exist_ok=True)
    if "/" not in name:
        path = folder / f"{digest.hexdigest()[:12]}.{name.partition('.')[2]}"
        path.write_bytes(files[name])
        return path
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(inside), data)
    path = folder / f"{digest.hexdigest()[:12]}.zip"
    path.write_bytes(out.getvalue())
    return path


def kept() -> list[Path]:
    """Every slide that was kept."""
    return sorted(p for p in CORPUS.iterdir() if p.suffix != ".md") if CORPUS.is_dir() else []


def load(path: Path) -> Files:
    """A kept slide's files."""
    if path.suffix != ".zip":
        return {f"a.{path.name.partition('.')[2]}": path.read_bytes()}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
