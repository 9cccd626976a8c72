"""The process in which spoilt slides are opened: ``python -m tests.fuzz.child``, driven by `tests.fuzz.bench`.

One line of JSON in, {"path", "seed"}, one line out, {"faults": [...], "outcomes": {...}}. A fault is an error that is
not ours, a warning, pixels of the wrong shape, or memory past the bound. What the operating system does to the process
(a crash in a library, the alarm, the limit) is seen by who started it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from wsiparse.coords import Frame
from wsiparse.errors import WsiparseError
from wsiparse.slides import open_slide, overview
from wsiparse.slides.base import READERS
from wsiparse.types import Box

#: Address space, how much more of it one reader may use than was in use, and the time for one slide with all readers.
LIMIT_BYTES: Final = 6 << 30
MOST_BYTES: Final = 850 << 20
CPU_S: Final = 20.0
WALL_S: Final = 120.0

#: A slide that claims more is not looked at as a whole: an overview of it is honest work, not a hang.
_OVERVIEW_PX: Final = 1 << 26


def look(path: Path, reader: str, seed: int) -> str:
    """Open a slide and read some boxes; what came of it, "read" or the kind of error.

    Raises whatever should not come out.
    """
    rng = Random(seed)
    try:
        with open_slide(path, slide_mpp=rng.choice((None, 0.5)), reader=reader) as slide:
            width, height = slide.size
            for _ in range(4):
                step = rng.choice((1.0, 1.0, 2.0, 3.7))
                frame = Frame((max(1, int(width / step)), max(1, int(height / step))), (step, step), (1.0, 1.0))
                at = [rng.choice((0, 0, rng.randrange(n), n - 5, -7)) for n in frame.size]
                box = Box(at[0], at[1], rng.randrange(1, 150), rng.randrange(1, 150))
                _read(slide.read, box, frame)
            if slide.mpp is not None and width * height <= _OVERVIEW_PX:
                overview(slide, 8.0)
            slide.check_unchanged()
    except WsiparseError as error:
        if "MemoryError" in str(error) or "allocate" in str(error):
            raise
        return type(error).__name__
    return "read"


def _read(read: Any, box: Box, frame: Frame) -> None:
    pixels = read(box, frame)
    if pixels.shape != (box.height, box.width, 3) or pixels.dtype != np.uint8:
        raise ValueError(f"{pixels.dtype} pixels of shape {pixels.shape} for {box}")


def _peak_bytes() -> int:
    """Most memory in use since the last `_forget_peak`."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def answer(path: Path, seed: int) -> dict[str, Any]:
    """All readers on one slide."""
    faults, outcomes = [], {}
    for reader in READERS:
        _forget_peak()
        before = _peak_bytes()
        try:
            outcomes[reader] = look(path, reader, seed)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
            where = traceback.extract_tb(error.__traceback__)[-1]
            faults.append(
                f"{reader}: {type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {error}"[:500]
            )
        if (more := _peak_bytes() - before) > MOST_BYTES:
            faults.append(f"{reader}: {more >> 20} MiB of memory")
    return {"faults": faults, "outcomes": outcomes}


def main() -> None:
    """Serve until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever library it is in
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    warnings.simplefilter("error")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries that print do not get between
    for line in sys.stdin:
        task = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        signal.setitimer(signal.ITIMER_REAL, WALL_S)
        told = answer(Path(task["path"]), task["seed"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        out.write(json.dumps(told) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
