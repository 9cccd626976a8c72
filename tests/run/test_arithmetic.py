"""What computes the network is part of what results are called by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recognize.models import write_model
from wsiparse.recognize import arithmetic
from wsiparse.slides.synthetic import paint_he, write_svs

SHARD = ("--shard", "1/1", "--shard-by", "tiles")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a slide and a model, on a machine without OpenVINO and bf16."""
    write_svs(tmp_path / "s.svs", paint_he(300, 260, seed=5).image)
    write_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(arithmetic, "openvino_version", lambda: "")
    monkeypatch.setattr(arithmetic, "bf16_units", lambda: "")
    return tmp_path


@pytest.fixture
def run(place: Path, wsiparse: Callable) -> Callable:
    assert place.is_dir()
    return lambda *options: wsiparse("run", "s.svs", "-o", "r", "--engine", "model", "--device", "cpu", *options)


def record() -> dict[str, object]:
    [path] = Path("r").glob("slides/*/DONE.json")
    settings: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))["settings"]
    return settings


def test_results_tell_what_computed_them(run: Callable) -> None:
    assert run().code == 0
    assert (record()["runtime"], record()["precision"]) == (arithmetic.torch_version(), "float32")


def test_an_unfinished_run_of_other_arithmetic_is_told_and_not_gone_on_from(
    run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*SHARD).code == 0
    assert "not gone on from" not in run(*SHARD).err
    monkeypatch.setattr(arithmetic, "bf16_units", lambda: "AMX")
    said = run()
    assert said.code == 0
    assert "an unfinished run is not gone on from: precision float32 there, bf16 now" in said.err
    assert record()["precision"] == "bf16"


def test_it_is_gone_on_from_where_its_arithmetic_is_asked_for(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(*SHARD).code == 0
    monkeypatch.setattr(arithmetic, "bf16_units", lambda: "AMX")
    said = run("--precision", "float32")
    assert said.code == 0
    assert "not gone on from" not in said.err
    assert record()["precision"] == "float32"


def test_a_merge_needs_no_machine_like_the_one_that_computed(
    run: Callable, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--runtime", "torch", *SHARD).code == 0
    monkeypatch.setattr(arithmetic, "torch_version", lambda: "torch 1.0")
    monkeypatch.setattr(arithmetic, "bf16_units", lambda: "AMX")
    assert wsiparse("merge", "r").code == 0
    assert record()["precision"] == "float32"
    assert record()["runtime"] != "torch 1.0"


def test_finished_results_of_what_auto_was_elsewhere_are_done(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run().code == 0
    monkeypatch.setattr(arithmetic, "bf16_units", lambda: "AMX")
    assert "already done" in run().out
    said = run("--precision", "bf16")
    assert said.code == 1
    assert "precision float32 there, bf16 now" in said.err


def test_a_runtime_that_is_not_there_is_one_line(run: Callable) -> None:
    said = run("--runtime", "openvino")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "pip install openvino" in said.err


def test_a_merge_names_the_parts_of_other_arithmetic(
    run: Callable, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share of each arithmetic: neither is whole, and what is missing is not lost but of the other one."""
    tiles = ("--tile-size", "192", "--block-size", "192", "--overlap", "160", "--shard-by", "tiles", "--whole-slide")
    assert run("--precision", "float32", *tiles, "--shard", "1/2").code == 0
    monkeypatch.setattr(arithmetic, "bf16_units", lambda: "AMX")
    said = run("--precision", "bf16", *tiles, "--shard", "2/2")
    assert said.code == 0
    assert "need the same --runtime, --precision and --device" in said.err
    merged = wsiparse("merge", "r")
    assert merged.code == 3
    assert "are missing" in merged.err
    assert "precision float32 there, bf16 now" in merged.err
