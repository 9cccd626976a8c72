"""Kill it anywhere, break what it reads and writes: a plain re-run gives the bytes of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.hpc.runs import SETTINGS, command, digests, environment, parts, run, start, wherever


def part_times(results: Path) -> dict[str, int]:
    return {part.name: part.stat().st_mtime_ns for part in parts(results)}


def kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.nightly
def test_killed_at_twenty_random_moments_a_run_goes_on_and_ends_with_the_same_bytes(
    slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    chance = random.Random(5)
    results = tmp_path / "r"
    began = time.monotonic()
    run(slide, "-o", results, "-n", "2", *SETTINGS)
    whole_s = time.monotonic() - began
    shutil.rmtree(results)
    killed = kept = 0
    while killed < 20:
        before = part_times(results)
        process = start(slide, "-o", results, "-n", "2", *SETTINGS)
        time.sleep(whole_s * chance.uniform(0.3, 1.0))  # the first third is imports
        if process.poll() is not None:  # it was done: begin again from nothing
            process.communicate()
            assert digests(results) == undisturbed
            shutil.rmtree(results)
            continue
        kill_group(process)
        killed += 1
        after = part_times(results)
        if before and after:
            assert before.items() <= after.items(), "a published part was computed again"
            kept += len(before)
    assert kept > 0
    done = run(slide, "-o", results, "-n", "2", *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert digests(results) == undisturbed
    [folder] = (results / "slides").iterdir()
    assert not [p.name for p in folder.iterdir() if p.name.startswith((".tmp-", "work-"))], "leftovers are cleared"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("executor", [["threads"], ["local", "-n", "2"]], ids=["threads", "local"])
def test_a_signal_stops_a_run_in_good_order_and_it_goes_on_later(
    number: int, code: int, executor: list[str], slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    results = tmp_path / "r"
    process = start(slide, "-o", results, "--scheduler", *executor, *SETTINGS)
    wait_for_parts(process, results, 1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "run the same command again to go on" in err
    assert "Traceback" not in err
    [told] = [json.loads(p.read_text(encoding="utf-8")) for p in results.glob("run-*.json")]
    assert told["state"] == "stopped"
    of_slide = {name: digest for name, digest in undisturbed.items() if name.startswith("slides/")}
    # parts of the slide, or all of the slide's own results: the pages over all slides come after them
    assert part_times(results) or of_slide.items() <= digests(results).items(), "what was finished is kept"
    assert run(slide, "-o", results, *SETTINGS).returncode == 0
    assert digests(results) == undisturbed


def wait_for_parts(process: subprocess.Popen[str], results: Path, n: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(results.glob("slides/*/work-*/scale-*/part-*.json"))) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_killed_is_replaced_and_its_chunk_done_again(
    slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    results = tmp_path / "r"
    process = start(slide, "-o", results, "--scheduler", "local", "-n", "2", *SETTINGS)
    wait_for_parts(process, results, 1)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if any(len(text) > 10 and "spawn_main" in text for text in child.cmdline())
    ]
    assert workers
    workers[0].kill()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert digests(results) == undisturbed


def test_a_torn_part_is_done_again_and_only_that(slide: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    results = tmp_path / "r"
    for share in ("1/2", "2/2"):
        run(slide, "-o", results, "--shard", share, "--shard-by", "tiles", *SETTINGS)
    before = part_times(results)
    torn = parts(results)[1]
    os.truncate(torn, torn.stat().st_size // 2)
    done = run(slide, "-o", results, "--shard", "1/1", "--shard-by", "tiles", *SETTINGS)
    assert done.returncode == 0, done.stderr
    after = part_times(results)
    assert [name for name in before if after[name] != before[name]] == [torn.name]
    assert run(slide, "-o", results, *SETTINGS).returncode == 0
    assert digests(results) == undisturbed


def limited(*arguments: object, largest_file: int) -> subprocess.CompletedProcess[str]:
    """A run whose files may not grow beyond a size: the system's answer is that of a full disk."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    return subprocess.run(
        command("run", *arguments),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        timeout=300,
    )


@pytest.mark.parametrize("largest_file", [2_000, 20_000, 60_000])
def test_a_full_disk_is_one_line_and_costs_nothing_that_was_done(
    largest_file: int, slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    results = tmp_path / "r"
    done = limited(slide, "-o", results, *SETTINGS, largest_file=largest_file)
    assert done.returncode == 1, done.stdout
    assert re.search(r"error: .*(largest size allowed|disk is full)", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert run(slide, "-o", results, *SETTINGS).returncode == 0
    assert digests(results) == undisturbed


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_small_file_system_that_fills_up_is_one_line(
    slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        done = run(slide, "-o", disk / "r", *SETTINGS)
        assert done.returncode == 1
        assert "disk is full" in done.stderr
        assert "Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        assert run(slide, "-o", disk / "r", *SETTINGS).returncode == 0
        assert digests(disk / "r") == undisturbed
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_tiles_that_cannot_be_read_are_tried_again_by_the_next_run(
    slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    """The slide's file is damaged where its fingerprint does not look, and mended afterwards."""
    import tifffile

    own = tmp_path / slide.parent.name / slide.name
    shutil.copytree(slide.parent, own.parent)
    with tifffile.TiffFile(own) as tiff:
        page = tiff.pages[0]
        k = len(page.dataoffsets) // 2
        place, size = page.dataoffsets[k], page.databytecounts[k]
    good = own.read_bytes()
    bad = good[:place] + bytes(size) + good[place + size :]
    own.write_bytes(bad)
    results = tmp_path / "r"
    first = run(own, "-o", results, *SETTINGS)
    assert first.returncode == 3, first.stderr
    assert "UNREADABLE TILES" in first.stdout
    again = run(own, "-o", results, *SETTINGS)
    assert again.returncode == 3
    assert "already done" in again.stdout
    own.write_bytes(good)
    mended = run(own, "-o", results, "--retry-failed", *SETTINGS)
    assert mended.returncode == 0, mended.stderr
    assert wherever(digests(results)) == wherever(undisturbed)
    assert "nothing to do" in run(own, "-o", results, "--retry-failed", *SETTINGS).stdout
