"""A process that tries faults of the disk one after the other: ``faulty.py SLIDE PLACE PLAN``, fault.so preloaded.

PLAN is a JSON file: "command" (words after ``wsiparse``, with RESULTS in place of the results folder), "start" (results
to begin with, or null), and "points", each [n, errno, lasting]; n = -1 only counts. What came of each point is printed
as a line of JSON. Each runs in a child that has everything loaded already.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.hpc.runs import digests
from wsiparse.cli.main import main

fault = ctypes.CDLL(None)
fault.arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int)
fault.counted.restype = ctypes.c_long


def call(words: list[str], err: Path) -> int:
    """Run the command line in this process; its exit code, what it wrote to standard error in a file."""
    for number, path in ((1, Path(os.devnull)), (2, err)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    try:
        main(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:  # noqa: BLE001  (as the interpreter would end)
        traceback.print_exc()
        return 99
    return 0


def temporary(results: Path) -> list[str]:
    return [path.relative_to(results).as_posix() for path in results.rglob(".tmp-*")]


def one(command: list[str], results: Path, point: list[int]) -> dict[str, Any]:
    words = [word.replace("RESULTS", str(results)) for word in command]
    err = results.parent / "said.txt"
    fault.arm(str(results).encode(), *point)
    code = call(words, err)
    calls = int(fault.counted())
    fault.arm(b"", -1, 0, 0)
    said = err.read_text(encoding="utf-8", errors="replace")
    left = temporary(results)
    again = call(words, err)
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "point": point,
        "calls": calls,
        "code": code,
        "err": said,
        "left": left,
        "again": again,
        "again_err": err.read_text(encoding="utf-8", errors="replace"),
        "left_again": temporary(results),
        "digests": digests(results),
    }


def child(command: list[str], start: str | None, place: Path, point: list[int]) -> dict[str, Any]:
    results = place / "point"
    shutil.rmtree(results, ignore_errors=True)
    if start is not None:
        shutil.copytree(start, results)
    told = place / "told.json"
    pid = os.fork()
    if pid == 0:
        try:
            told.write_text(json.dumps(one(command, results, point)), encoding="utf-8")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    told.unlink()
    return found


if __name__ == "__main__":
    place = Path(sys.argv[1])
    plan = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    keep = os.dup(1)
    warm = place / "warm"
    if plan["start"] is not None:
        shutil.copytree(plan["start"], warm)
    call([word.replace("RESULTS", str(warm)) for word in plan["command"]], place / "warm.err")
    for point in plan["points"]:
        os.write(keep, (json.dumps(child(plan["command"], plan["start"], place, point)) + "\n").encode())
