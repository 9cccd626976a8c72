"""Results from elsewhere may say anything in their JSON: commands end with a line, never with a traceback."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILES = ["run-*.json", "slides/*/DONE.json", "slides/*/report.json", "slides/*/report_inputs/report_inputs.json"]
FILES += ["slides/*/objects.zarr/zarr.json", "slides/*/objects.zarr/cells/coords/zarr.json"]
FILES += ["slides/*/labels.ome.zarr/labels/cell_classes/zarr.json"]

ODD: list[Any] = [None, True, -1, 0, 1e308, 10**40, "", "../../x", [], {}, [[]], {"a": 1}, float("nan"), "\ud800"]


@pytest.fixture(scope="module")
def finished(demo_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from wsiparse.cli.main import main

    folder = tmp_path_factory.mktemp("odd") / "results"
    with pytest.raises(SystemExit) as stop:
        main(["run", str(demo_slide), "-o", str(folder), "--engine", "classical"])
    assert not stop.value.code
    return folder


def altered(value: Any, seed: int) -> Any:
    """A copy with another value, or none, at some place that the seed names."""
    value = copy.deepcopy(value)
    holder: Any = {"": value}
    key: Any = ""
    steps = seed
    while isinstance(holder[key], dict | list) and len(holder[key]) and (holder[key] is value or steps % 3):
        holder = holder[key]
        steps, place = divmod(steps, len(holder))
        key = list(holder)[place] if isinstance(holder, dict) else place
    if seed % 4 == 0:
        del holder[key]
    else:
        holder[key] = ODD[seed % len(ODD)]
    return value


@pytest.mark.parametrize("pattern", FILES)
def test_no_command_that_reads_results_ends_in_a_traceback(
    finished: Path, tmp_path: Path, wsiparse: Callable[..., Any], pattern: str
) -> None:
    copied = tmp_path / "results"
    shutil.copytree(finished, copied)
    (file,) = copied.glob(pattern)
    good = file.read_text(encoding="utf-8")
    texts = [json.dumps(altered(json.loads(good), 7919 * k)) for k in range(1, 13)]
    for text in [*texts, "[" * 100_000, "null", "7", "", good[:-9]]:
        file.write_text(text, encoding="utf-8")
        for command in ("status", "verify"):
            said = wsiparse(command, copied)
            assert said.code in (0, 1, 3), (text[:200], said.err)
    for k, text in enumerate([*texts[:4], "[" * 100_000]):
        file.write_text(text, encoding="utf-8")
        for words in (("report", copied), ("view", copied, "--export", tmp_path / f"page{k}"), ("merge", copied)):
            said = wsiparse(*words)
            assert said.code in (0, 1, 3), (words, text[:200], said.err)
