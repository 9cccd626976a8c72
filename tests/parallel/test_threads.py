from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.config import RunConfig
from wsiparse.errors import TileReadError
from wsiparse.parallel.threads import Waits, map_ordered, read_ahead, timed
from wsiparse.run.pipeline import analyse
from wsiparse.slides.memory import MemorySlide
from wsiparse.slides.synthetic import paint_he


@given(
    n=st.integers(0, 30),
    readers=st.integers(0, 4),
    ahead=st.integers(1, 5),
    workers=st.integers(1, 4),
    seed=st.integers(),
)
def test_items_come_in_order_whoever_reads_them(n: int, readers: int, ahead: int, workers: int, seed: int) -> None:
    late = np.random.default_rng(abs(seed)).random(n) * 1e-3

    def read(k: int) -> int:
        time.sleep(late[k])
        return -k

    with read_ahead(read, range(n), readers=readers, ahead=ahead) as coming:
        found = list(map_ordered(lambda ready: ready() - 1, coming, workers=workers))
    assert found == [-k - 1 for k in range(n)]


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_reading_runs_ahead_by_so_many_items_and_no_further(ahead: int) -> None:
    begun: list[int] = []
    with read_ahead(begun.append, iter(range(100)), readers=3, ahead=ahead) as coming:
        for k, ready in enumerate(coming):
            ready()
            assert len(begun) <= k + 1 + ahead
            if k == 10:
                deadline = time.monotonic() + 10
                while len(begun) < k + 1 + ahead and time.monotonic() < deadline:
                    time.sleep(1e-3)
                assert sorted(begun) == list(range(k + 1 + ahead))  # without anybody asking for them
    assert sorted(begun) == list(range(100))


def test_without_readers_an_item_is_read_by_who_asks_when_it_asks() -> None:
    seen: list[tuple[int, int]] = []
    with read_ahead(lambda k: seen.append((k, threading.get_ident())), range(3), readers=0) as coming:
        first, second, _ = coming
        assert seen == []
        second()
        first()
    assert seen == [(1, threading.get_ident()), (0, threading.get_ident())]


@pytest.mark.parametrize("readers", [0, 2])
def test_an_error_of_reading_is_raised_at_its_item(readers: int) -> None:
    def read(k: int) -> int:
        if k == 3:
            raise OSError("the drive is gone")
        return k

    found: list[int] = []

    def run() -> None:
        with (
            read_ahead(read, range(9), readers=readers) as coming,
            closing(map_ordered(lambda ready: ready(), coming, workers=2)) as results,
        ):
            found.extend(results)

    with pytest.raises(OSError, match="drive is gone"):
        run()
    assert found == [0, 1, 2]


def test_leaving_early_ends_the_threads() -> None:
    before = threading.active_count()
    with read_ahead(lambda k: k, range(1000), readers=4) as coming:
        assert next(coming)() == 0
    assert threading.active_count() == before


def test_waiting_and_working_are_told_apart() -> None:
    waits = Waits()
    assert waits.share == 0
    done, waited_s, worked_s = timed(lambda: time.sleep(0.05) or 3, lambda k: time.sleep(0.02) or k + 1)
    assert done == 4
    assert waited_s >= 0.05
    assert worked_s >= 0.02
    waits.add(1.0, 2.0)
    waits.add(0.5, 0.5)
    assert (waits.waited_s, waits.worked_s, waits.share) == (1.5, 2.5, 0.375)
    assert str(waits) == "waited for tiles 37.5 % of the time (1.5 of 4.0 thread-seconds)"


class SlowSlide(MemorySlide):
    """Every read takes at least so long, and some fail."""

    def read(self, box, frame):  # type: ignore[no-untyped-def]
        if frame.mean_mpp < 1:
            time.sleep(0.01)
            if box.x <= 300 < box.x1 and box.y <= 300 < box.y1:
                raise TileReadError("slow.svs: a corrupt tile")
        return super().read(box, frame)


def test_reading_ahead_changes_no_object_and_loses_no_more_tiles() -> None:
    image = paint_he(700, 500, seed=5).image
    config = RunConfig(engine="classical", whole_slide=True, tile_size=128, overlap=32)
    alone, ahead = (analyse(SlowSlide(image, 0.5), config, workers=n) for n in (1, 4))
    assert alone.unreadable == ahead.unreadable
    assert alone.unreadable
    for name in ("coords", "class_id", "score", "mean_od"):
        np.testing.assert_array_equal(getattr(alone.cells, name), getattr(ahead.cells, name))


@pytest.mark.parametrize("scheduler", ["serial", "threads"])
def test_the_slides_log_tells_how_long_tiles_were_waited_for_and_what_the_stages_took(
    wsiparse, demo_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    from wsiparse.slides.pyramid import PyramidSlide

    real = PyramidSlide.read
    monkeypatch.setattr(PyramidSlide, "read", lambda *args: time.sleep(0.02) or real(*args))
    level = logging.getLogger("wsiparse").level
    said = wsiparse("run", demo_slide, "-o", tmp_path, "--engine", "classical", "--scheduler", scheduler, "-n", 1)
    assert said.code == 0, said.err
    [text] = tmp_path.glob("slides/*/log.txt")
    [told] = re.findall(
        r"waited for tiles ([\d.]+) % of the time \(([\d.]+) of ([\d.]+) thread-seconds\)", text.read_text()
    )
    assert 0 < float(told[0]) <= 100
    assert float(told[1]) <= float(told[2])
    [stages] = re.findall(r"objects took ([\d.]+) s, files and report ([\d.]+) s", text.read_text())
    [whole] = re.findall(r"done in ([\d.]+) s", text.read_text())
    assert sum(map(float, stages)) <= float(whole) + 0.2
    assert logging.getLogger("wsiparse").level == level


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_item_order_whatever_finishes_first(workers: int) -> None:
    def slow_first(k: int) -> int:
        time.sleep(0.002 * (k % 3))
        return k

    assert list(map_ordered(slow_first, range(20), workers=workers)) == list(range(20))


def test_only_a_bounded_number_of_items_is_under_way() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for k in range(100):
            taken = k + 1
            yield k

    results = map_ordered(lambda k: k, items(), workers=2)
    next(results)
    assert taken <= 4
    results.close()  # type: ignore[attr-defined]


def test_an_error_is_raised_at_its_place_and_later_items_are_dropped() -> None:
    begun = []

    def fails_at_three(k: int) -> int:
        begun.append(k)
        if k == 3:
            raise KeyError("three")
        return k

    results = map_ordered(fails_at_three, range(1000), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(results)
    assert len(begun) < 20


@pytest.mark.parametrize("workers", [1, 3])
def test_the_initializer_runs_in_every_thread_that_works(workers: int) -> None:
    ready = threading.local()

    def initialise() -> None:
        ready.yes = True

    assert all(map_ordered(lambda _: ready.yes, range(9), workers=workers, initializer=initialise))


def test_no_workers_is_a_callers_error() -> None:
    with pytest.raises(ValueError, match="workers must be >= 1"):
        list(map_ordered(str, [1], workers=0))
