from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.qupath.bench import STUBS, Bench, class_path, java
from wsiparse.cli.main import main


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The stand-ins, compiled."""
    jars = class_path()
    classes = tmp_path_factory.mktemp("classes")
    sources = sorted(map(str, STUBS.rglob("*.java")))
    command = [
        "javac",
        "-Xlint:all,-try",
        "-Werror",
        "-encoding",
        "UTF-8",
        "-d",
        str(classes),
        "-cp",
        os.pathsep.join(map(str, jars)),
    ]
    done = subprocess.run([*command, *sources], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    command = java(classes, jars, "run")
    # it ends by itself when its input does
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:
        yield Bench(classes, jars, process)


@pytest.fixture(scope="session")
def results(bench: Bench, demo_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the demo slide."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.raises(SystemExit) as stop:
        main(["run", str(demo_slide), "-o", str(folder), "--engine", "classical"])
    assert not stop.value.code
    return folder


@pytest.fixture(scope="session")
def slide_folder(results: Path) -> Path:
    (folder,) = (results / "slides").iterdir()
    return folder
