"""One slide of many: what goes wrong with it costs it alone, and its log is its own."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wsiparse.errors import OutputError, SlideError
from wsiparse.parallel.threads import map_ordered, read_ahead, side_by_side
from wsiparse.results.one_slide import guarded, slide_log
from wsiparse.slides.synthetic import paint_he, write_svs

log = logging.getLogger("wsiparse")

CLASSICAL = ("--engine", "classical", "--tile-size", "256", "--overlap", "64")


@pytest.fixture
def slides(tmp_path: Path, demo_slide: Path) -> Path:
    """A folder of three slides."""
    (tmp_path / "slides").mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(demo_slide, tmp_path / "slides" / f"{name}.svs")
    return tmp_path / "slides"


def folder_of(results: Path, stem: str) -> Path:
    [folder] = (results / "slides").glob(f"{stem}__*")
    return folder


def states(results: Path) -> dict[str, str]:
    [record] = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("run-*.json")]
    return {Path(slide["path"]).stem: slide["status"] for slide in record["slides"]}


# where a fault of the program may show: before tiles, in a reading thread, in a recognising one, in making objects
PLACES = {
    "prepare": "wsiparse.run.slide.prepare",
    "read": "wsiparse.run.tiles._pixels",
    "field": "wsiparse.run.tiles.core_field",
    "objects": "wsiparse.run.objects.objects_of",
    "publish": "wsiparse.run.slide.publish_staged",
}


@pytest.mark.parametrize("scheduler", ["serial", "threads"])
@pytest.mark.parametrize("place", PLACES)
def test_an_error_nobody_foresaw_costs_one_slide_and_is_in_its_log_whole(
    place: str, scheduler: str, slides: Path, wsiparse: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = PLACES[place].rpartition(".")
    real: Callable[..., Any] = getattr(__import__(module, fromlist=[name]), name)
    turn: list[str] = []
    from wsiparse.run import slide

    opened = slide.open_slide

    def open_slide(path: Path, **more: Any) -> Any:
        turn.append(path.stem)
        return opened(path, **more)

    def broken(*args: Any, **more: Any) -> Any:
        if turn[-1] == "b":
            raise ZeroDivisionError("a fault of the program")
        return real(*args, **more)

    monkeypatch.setattr(slide, "open_slide", open_slide)
    monkeypatch.setattr(PLACES[place], broken)
    results = tmp_path / "r"
    said = wsiparse("run", slides, "-o", results, "--scheduler", scheduler, *CLASSICAL)
    assert said.code == 3
    assert said.out.count(": done:") == 2
    [line] = [line for line in said.err.splitlines() if "error" in line]
    text = folder_of(results, "b") / "log.txt"
    assert "b.svs: an error of no known kind (ZeroDivisionError: a fault of the program)" in line
    assert str(text) in line
    assert "Traceback" not in said.err
    assert "Traceback" in text.read_text(encoding="utf-8")
    assert "in broken" in text.read_text(encoding="utf-8"), "down to where it happened"
    assert states(results) == {"a": "done", "b": "failed", "c": "done"}
    monkeypatch.undo()
    assert wsiparse("run", slides, "-o", results, *CLASSICAL).code == 0


def test_a_single_slide_with_an_error_nobody_foresaw_is_code_3_too(
    slides: Path, wsiparse: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("wsiparse.run.slide.prepare", broken)
    assert wsiparse("run", slides / "a.svs", "-o", tmp_path / "r", *CLASSICAL).code == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(5)])
def test_who_stops_the_program_is_not_caught(error: BaseException, tmp_path: Path) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)):
        guarded("a", tmp_path / "a", tmp_path, work, lambda *_: None)


def test_results_that_cannot_be_written_stop_the_run_and_one_bad_folder_does_not(tmp_path: Path) -> None:
    def work() -> None:
        raise OutputError("a/slides/x: cannot write: not a folder")

    assert guarded("a", tmp_path / "a", tmp_path, work, lambda reason, known: (reason, known))[1]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        guarded("a", tmp_path / "a", tmp_path / "file", work, lambda *_: None)

    def full() -> None:
        raise OutputError("disk full") from OSError(28, "No space left on device")

    with pytest.raises(OutputError):
        guarded("a", tmp_path / "a", tmp_path, full, lambda *_: None)


def test_a_log_that_cannot_be_written_is_said_in_the_line(tmp_path: Path) -> None:
    (tmp_path / "a").touch()

    def work() -> None:
        raise RuntimeError("twice\nlines")

    [line, known] = guarded("a.svs", tmp_path / "a", tmp_path, work, lambda reason, known: (reason, known))
    assert not known
    assert "\n" not in line
    assert f"{__file__}:" in line


def test_one_absent_slide_costs_itself_whatever_it_is_given_as(
    slides: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for k, absent in enumerate((slides / "missing.svs", slides / "*.ndpi", tmp_path / "empty")):
        results = tmp_path / f"r{k}"
        said = wsiparse("run", slides / "a.svs", absent, "-o", results, *CLASSICAL)
        assert (said.code, said.out.count(": done:"), said.err.count("error:")) == (3, 1, 1)
        assert str(absent) in said.err
        assert set(states(results).values()) == {"done", "failed"}
    assert wsiparse("run", slides / "missing.svs", "-o", tmp_path / "none", *CLASSICAL).code == 1
    assert wsiparse("run", slides / "m.svs", slides / "n.svs", "-o", tmp_path / "none", *CLASSICAL).code == 3
    assert not (tmp_path / "none").exists()


def test_fail_fast_stops_at_an_absent_slide(slides: Path, wsiparse: Callable, tmp_path: Path) -> None:
    said = wsiparse("run", slides / "a.svs", slides / "missing.svs", "-o", tmp_path / "r", "--fail-fast", *CLASSICAL)
    assert said.code == 3


def test_two_slides_at_once_write_their_own_logs_from_every_thread(tmp_path: Path) -> None:
    together = threading.Barrier(2)

    def one(name: str) -> None:
        with slide_log(tmp_path / name):
            together.wait()
            log.info("%s itself", name)

            def say(k: int) -> int:
                log.info("%s thread %d", name, k)
                return k

            list(map_ordered(say, range(20), workers=3))
            list(side_by_side(say, range(100, 110), 3))
            with read_ahead(say, range(200, 210), readers=2) as coming:
                for ready in coming:
                    ready()
            with closing(map_ordered(say, range(300, 310), workers=2)) as found:
                next(found)
            together.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, ("a", "b")))
    for name in ("a", "b"):
        lines = [line.split(" INFO ")[1] for line in (tmp_path / name).read_text(encoding="utf-8").splitlines()]
        assert {f"{name} thread {k}" for k in (*range(20), *range(100, 110), *range(200, 210))} <= set(lines)
        assert all(line.startswith(f"{name} ") for line in lines)
        assert f"{name} itself" in lines


def test_the_level_of_logging_is_put_back_after_the_last_log(tmp_path: Path) -> None:
    before = log.level
    first, second = slide_log(tmp_path / "a"), slide_log(tmp_path / "b")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert log.level == logging.INFO, "the second slide still logs"
    second.__exit__(None, None, None)
    assert log.level == before


def test_a_log_on_a_full_disk_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with slide_log(Path("/dev/full")):
        log.info("lost")
    assert capsys.readouterr().err == ""


def test_an_error_in_a_worker_costs_one_slide_and_its_log_has_the_workers_own_lines(
    slides: Path, wsiparse: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker in this process, so that it can be broken."""
    from distributed import LocalCluster

    from wsiparse.run import worker

    real = worker.fill_chunks

    def broken_on_worker(slide: Any, *args: Any, **more: Any) -> Any:
        if slide.name == "b":
            raise ZeroDivisionError("a fault of the program")
        return real(slide, *args, **more)

    monkeypatch.setattr(worker, "fill_chunks", broken_on_worker)
    write_svs(slides / "b.svs", paint_he(512, 400, seed=3).image)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as own:
        said = wsiparse("run", slides, "-o", tmp_path / "r", "--scheduler", own.scheduler_address, *CLASSICAL)
    assert said.code == 3, said.err
    assert said.out.count(": done:") == 2
    assert "b.svs: an error of no known kind (ZeroDivisionError: a fault of the program)" in said.err
    assert "broken_on_worker" in (folder_of(tmp_path / "r", "b") / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", [b"[]", b"\xff\xfe", b""])
@pytest.mark.parametrize("name", ["job.json", "scale-0/plan.json"])
def test_damaged_files_of_a_work_folder_are_made_anew(
    name: str, damage: bytes, slides: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    results = tmp_path / "r"
    wsiparse("run", slides / "b.svs", "-o", results, "--shard", "1/1", "--shard-by", "tiles", *CLASSICAL)
    [path] = results.glob(f"slides/*/work-*/{name}")
    good = path.read_bytes()
    path.write_bytes(damage)
    wsiparse("run", slides / "b.svs", "-o", results, "--shard", "1/1", "--shard-by", "tiles", *CLASSICAL)
    assert path.read_bytes() == good
    assert wsiparse("merge", results).code == 0


def test_a_known_error_is_its_own_line(tmp_path: Path) -> None:
    def work() -> None:
        raise SlideError("a.svs: torn")

    assert guarded("a", tmp_path / "a", tmp_path, work, lambda *told: told) == ("a.svs: torn", True)


def test_an_error_of_the_disk_that_a_library_gives_is_known_and_in_the_log(tmp_path: Path) -> None:
    def work() -> None:
        raise OSError(5, "Input/output error", "/data/a.svs")

    [line, known] = guarded("a", tmp_path / "a", tmp_path, work, lambda *told: told)
    assert known
    assert line.startswith("/data/a.svs: cannot use: the disk reports an input/output error")
    assert "Traceback" in (tmp_path / "a" / "log.txt").read_text(encoding="utf-8")


def test_what_is_logged_while_a_slide_is_opened_and_planned_stands_first_in_its_own_log(
    slides: Path, wsiparse: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsiparse.run import slide

    real = slide.prepare

    def telling(opened: Any, *args: Any, **more: Any) -> Any:
        log.warning("planned %s", opened.name)
        if opened.name == "c":
            raise ZeroDivisionError("a fault of the program")
        return real(opened, *args, **more)

    monkeypatch.setattr(slide, "prepare", telling)
    results = tmp_path / "r"
    assert wsiparse("run", slides, "-o", results, *CLASSICAL).code == 3
    for name in "abc":
        text = (folder_of(results, name) / "log.txt").read_text(encoding="utf-8")
        assert f"WARNING planned {name}\n" in text.splitlines(keepends=True)[0]
        assert text.count("planned") == 1
    assert not [h for h in log.handlers if not isinstance(h, logging.NullHandler)], "no handler is left"
