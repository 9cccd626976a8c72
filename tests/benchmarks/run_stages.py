"""CPU seconds of every stage of `wsiparse run` on one slide, one process, one thread that recognises.

    python -m tests.benchmarks.run_stages slide.svs [--repeat 2] [--alternate "--engine MODEL"]... -- --engine embedded

Settings have their turn, each in a process of its own; a first run, which is not counted, compiles what is missing.
Of several runs the one of least CPU time is told. A stage does not count what another stage inside it counts.
"""

from __future__ import annotations

import argparse
import functools
import json
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: Stage -> functions, as module:name or module:class.name.
STAGES = {
    "reading": ("wsiparse.run.tiles:_read_tiles",),
    "network": ("wsiparse.recognize.embedded.classes:batch_maps",),
    "recognizer, after the network": ("wsiparse.recognize.embedded.classes:ClassRecognizer.__call__",),
    "field": (
        "wsiparse.run.tiles:_field_of",
        "wsiparse.field.store:PartWriter.add",
        "wsiparse.field.store:PartWriter.write",
        "wsiparse.field.store:Field.read",
    ),
    "stitch": ("wsiparse.stitch.stitcher:Stitcher.digest", "wsiparse.stitch.stitcher:Stitcher.add"),
    "store": ("wsiparse.store.sort:ObjectSorter.append", "wsiparse.store.sort:ObjectSorter.finish"),
    "export": (
        "wsiparse.run.outputs:write_geojson",
        "wsiparse.run.outputs:write_centroids",
        "wsiparse.run.outputs:write_labels",
        "wsiparse.run.outputs:_write_overlay",
    ),
    "report": ("wsiparse.run.outputs:_write_report",),
    "start: imports, weights, plan": ("wsiparse.run.engine:Engine.__init__", "wsiparse.run.slide:prepare"),
}


class Clock:
    """Seconds of CPU time by stage, those of inner stages left out; every thread has its own stack."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(STAGES, 0.0)
        self._lock = threading.Lock()
        self._own = threading.local()

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            stack = self._own.__dict__.setdefault("stack", [])
            begin = time.thread_time()
            stack.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                spent = time.thread_time() - begin
                inner = stack.pop()
                if stack:
                    stack[-1] += spent
                with self._lock:
                    self.spent[stage] += spent - inner

        return timed

    def watch(self) -> None:
        """Put the clock around every function of every stage."""
        import importlib

        for stage, places in STAGES.items():
            for place in places:
                module, _, path = place.partition(":")
                home: Any = importlib.import_module(module)
                *outer, name = path.split(".")
                for part in outer:
                    home = getattr(home, part)
                setattr(home, name, self.around(stage, getattr(home, name)))


def one_run(slide: str, options: list[str]) -> None:
    """A run in this process; prints its stages as JSON."""
    from wsiparse.cli.main import main

    clock = Clock()
    clock.watch()
    with tempfile.TemporaryDirectory(prefix="stages-") as folder:
        sys.argv = ["wsiparse", "run", slide, "-o", folder, "--scheduler", "serial", "-n", "1", *options]
        try:
            code = main()
        except SystemExit as end:
            code = end.code
        if code:
            raise SystemExit(f"the run ended with {code}")
        (done,) = Path(folder).glob("slides/*/DONE.json")
        record = json.loads(done.read_text(encoding="utf-8"))
    total = time.process_time()
    told = {
        "stages": clock.spent,
        "total": total,
        "mm2": record["summary"]["analysed_mm2"],
        "settings": record["settings"],
    }
    print("STAGES " + json.dumps(told))


def in_a_process(slide: str, options: str) -> dict[str, Any]:
    """One run's stages."""
    command = [sys.executable, "-m", "tests.benchmarks.run_stages", "--one", slide, "--", *shlex.split(options)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(text for text in said.splitlines() if text.startswith("STAGES "))
    told: dict[str, Any] = json.loads(line.removeprefix("STAGES "))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--alternate", action="append", default=[], metavar="OPTIONS", help="other settings")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--warm", action="store_true", help="leave out the first run: everything is compiled")
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    given, options = parser.parse_args(arguments[:cut]), arguments[cut + 1 :]
    if given.one:
        one_run(given.slide, options)
        return
    settings = [shlex.join(options), *given.alternate]
    runs: dict[str, list[dict[str, Any]]] = {one: [] for one in settings}
    for k in range(given.repeat + (not given.warm)):
        for one in settings:
            found = in_a_process(given.slide, one)
            if k or given.warm:
                runs[one].append(found)
                print(f"{found['total']:.1f} CPU-s  {one}", flush=True)
    best = [min(runs[one], key=lambda found: found["total"]) for one in settings]
    for one, found in zip(settings, best, strict=True):
        arithmetic = f"{found['settings'].get('runtime')}, {found['settings'].get('precision')}"
        print(f"{one}: {arithmetic}, tiles of {found['settings']['tile size']}, {found['mm2']:.1f} mm2")
    print("| CPU-s per mm2 | " + " | ".join(settings) + " |")
    print("|---|" + "---|" * len(settings))
    rest = [found["total"] - sum(found["stages"].values()) for found in best]
    for stage in STAGES:
        print(f"| {stage} | " + " | ".join(f"{f['stages'][stage] / f['mm2']:.3f}" for f in best) + " |")
    print("| rest | " + " | ".join(f"{r / f['mm2']:.3f}" for r, f in zip(rest, best, strict=True)) + " |")
    print("| all | " + " | ".join(f"{f['total'] / f['mm2']:.2f}" for f in best) + " |")
    print(f"spread of runs, CPU-s: {[np.round([f['total'] for f in runs[one]], 1).tolist() for one in settings]}")


if __name__ == "__main__":
    main()
