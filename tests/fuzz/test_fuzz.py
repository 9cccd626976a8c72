"""Spoilt slides: only pixels or an error of ours come out, within bounded time and memory, whatever the reader.

A short look; ``python -m tests.fuzz.run --minutes 10`` looks longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.bench import Bench, keep, kept, load
from tests.fuzz.mutate import spoil
from tests.fuzz.seeds import Files, make_seeds
from wsiparse.coords import Frame
from wsiparse.errors import WsiparseError
from wsiparse.slides.base import READERS
from wsiparse.types import Box


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def test_every_seed_is_read_by_some_reader_and_every_reader_reads_some(bench: Bench, seeds: dict[str, Files]) -> None:
    for name, files in seeds.items():
        before = dict(bench.outcomes)
        assert bench.show(files, 0) == [], name
        assert bench.outcomes["auto: read"] == before.get("auto: read", 0) + 1, name
    assert {f"{reader}: read" for reader in READERS} <= set(bench.outcomes)


@pytest.mark.parametrize(
    ("program", "end"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("import signal, time; signal.setitimer(signal.ITIMER_REAL, 0.1); time.sleep(60)", "SIGALRM"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_the_bench_sees_how_a_process_ends(program: str, end: str) -> None:
    with Bench(("-c", program)) as bench:
        [fault] = bench.show({"a.svs": b"x"}, 0)
    assert f"the process ended: {end}" in fault


def test_the_child_tells_what_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fuzz import child

    for error, words in ((KeyError("x"), "KeyError"), (WsiparseError("x (MemoryError)"), "MemoryError")):
        monkeypatch.setattr(child, "open_slide", raising(error))
        faults = child.answer(tmp_path, 0)["faults"]
        assert len(faults) == len(READERS)
        assert all(words in fault for fault in faults)
    monkeypatch.setattr(child, "open_slide", raising(WsiparseError("one line")))
    assert child.answer(tmp_path, 0) == {"faults": [], "outcomes": dict.fromkeys(READERS, "WsiparseError")}
    with pytest.raises(ValueError, match="of shape"):
        child._read(lambda *_: np.zeros((3, 3), np.uint8), Box(0, 0, 3, 3), Frame((3, 3), (1, 1), (1, 1)))
    monkeypatch.setattr(child, "MOST_BYTES", -1)
    assert "MiB of memory" in child.answer(tmp_path, 0)["faults"][0]


def raising(error: Exception) -> Callable[..., object]:
    def call(*_: object, **__: object) -> object:
        raise error

    return call


@pytest.mark.parametrize("path", kept(), ids=lambda path: path.name)
def test_what_once_made_a_reader_stumble_no_longer_does(bench: Bench, path: Path) -> None:
    for seed in range(3):
        assert bench.show(load(path), seed) == []


def test_kept_slides_come_back(tmp_path: Path, seeds: dict[str, Files]) -> None:
    for files in seeds.values():
        assert load(keep(files, tmp_path)) == files


# the gate looks at the same slides every time; the program beside it looks at new ones
@settings(max_examples=200, derandomize=True)
@given(rng=st.randoms(use_true_random=False), data=st.data())
def test_spoilt_slides_are_pixels_or_errors_of_ours(
    bench: Bench, seeds: dict[str, Files], rng: Random, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(seeds)))
    assert bench.show(spoil(rng, seeds[name]), rng.randrange(1 << 30)) == []
