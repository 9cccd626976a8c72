"""Spoilt slides: only pixels or an error of ours come out, within bounded time and memory, whatever the reader.

A short look; ``python -m tests.fuzz.run --minutes 10`` looks longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.bench import Bench, keep, kept, load
from tests.fuzz.mutate import spoil
from tests.fuzz.seeds import Files, make_seeds
from wsiparse.slides.base import READERS


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


def test_the_bench_sees_what_it_is_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fuzz import child

    with pytest.raises(ValueError, match="of shape"):
        child._read(lambda *_: child.np.zeros((3, 3), "u1"), child.Box(0, 0, 3, 3), None)  # type: ignore[arg-type]
    monkeypatch.setattr("tests.fuzz.bench.ROOT", Path("/"))  # where there is no such module, the process ends
    with Bench() as broken:
        [fault] = broken.show({"a.svs": b"x"}, 0)
    assert "the process ended: exit code 1" in fault


@pytest.mark.parametrize("path", kept(), ids=lambda path: path.name)
def test_what_once_made_a_reader_stumble_no_longer_does(bench: Bench, path: Path) -> None:
    for seed in range(3):
        assert bench.show(load(path), seed) == []


def test_kept_slides_come_back(tmp_path: Path, seeds: dict[str, Files]) -> None:
    for files in seeds.values():
        assert load(keep(files, tmp_path)) == files


@settings(max_examples=120)
@given(rng=st.randoms(use_true_random=False), data=st.data())
def test_spoilt_slides_are_pixels_or_errors_of_ours(
    bench: Bench, seeds: dict[str, Files], rng: Random, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(seeds)))
    assert bench.show(spoil(rng, seeds[name]), rng.randrange(1 << 30)) == []
