"""Runs that are planned, shown, and only then started; each is the command that a person would give."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsiparse.ask.facts import plain
from wsiparse.errors import OutputError
from wsiparse.mcp.served import ServedResults
from wsiparse.recognize.registry import listed
from wsiparse.slides import SLIDE_EXTENSIONS

__all__ = ["Planned", "Runs", "slide_names"]

_MOST_SLIDES: Final = 1000
_PLAN_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that was shown.

    Parameters
    ----------
    id : id of these slides, settings and estimates
    command : what starts it, without the program
    slides : estimates, as ``wsiparse plan --json`` gives them
    notices : what it said beside them
    """

    id: str
    command: tuple[str, ...]
    slides: tuple[dict[str, Any], ...]
    notices: tuple[str, ...]


def slide_names(folders: Sequence[Path]) -> list[str]:
    """The slides in the folders that a run may be planned for, relative to their folder; links out of it left out."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SLIDE_EXTENSIONS and path.is_file() and path.resolve().is_relative_to(folder):
                found.append(path.relative_to(folder).as_posix())
    return found[:_MOST_SLIDES]


class Runs:
    """Plans that were shown and runs that were started.

    Parameters
    ----------
    folders : resolved folders that hold slides
    allowed : whether a run may be started
    """

    def __init__(self, folders: Sequence[Path], *, allowed: bool) -> None:
        self.folders = tuple(folders)
        self._allowed = allowed
        self._plans: dict[str, Planned] = {}
        self._started: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self._lock = threading.Lock()

    def plan(
        self, own: ServedResults, slides: Sequence[str], prompts: Sequence[str], engine: str, mpp: float | None
    ) -> Planned:
        """What a run would do; nothing is written.

        Parameters
        ----------
        own : results folder that it would write to
        slides : as `slide_names` has them
        prompts : what to look for; none for what the engine looks for by itself
        engine : a name of `wsiparse engines`, or "auto"
        mpp : scale, um per px; None for the engine's own

        Raises
        ------
        OutputError
            If a slide is none of those that were named, or the plan cannot be made.
        """
        names = {one.name for one in listed()} | {"auto"}
        if engine not in names:
            raise OutputError(f"no engine {plain(engine)!r}. There are: {', '.join(sorted(names))}.")
        settings = [f"--prompt={prompt}" for prompt in prompts] + [f"--engine={engine}"]
        settings += [f"--mpp={mpp!r}"] if mpp is not None else []
        paths = [str(self._slide(name)) for name in slides]
        if not paths:
            raise OutputError("no slide is named.")
        done = _wsiparse(["plan", "--json", *settings, *paths])
        notices = tuple(plain(line) for line in done.stderr.splitlines() if line.strip())
        try:
            estimates = tuple(json.loads(done.stdout))
        except ValueError:
            raise OutputError(f"no plan: {' '.join(notices)[:500] or 'wsiparse plan said nothing'}") from None
        command = ("run", *settings, f"--results-dir={own.root}", *paths)
        told = json.dumps([command, estimates], sort_keys=True)
        planned = Planned(hashlib.sha256(told.encode()).hexdigest()[:16], command, estimates, notices)
        with self._lock:
            self._plans[planned.id] = planned
        return planned

    def start(self, plan_id: str) -> None:
        """Start a run whose plan was shown.

        Raises
        ------
        OutputError
            If runs are not allowed, no such plan was shown, or it was started already.
        """
        if not self._allowed:
            raise OutputError("no run may be started: the server was started without --allow-run.")
        with self._lock:
            planned = self._plans.get(plan_id)
            if planned is None:
                raise OutputError("no such plan was shown. Plan the run first, and show the plan to the user.")
            if plan_id in self._started:
                raise OutputError("this plan was started already. Ask for its state.")
            log = Path(tempfile.mkdtemp(prefix="wsiparse-run-")) / "said.txt"
            with log.open("wb") as out:
                # a session of its own: the run goes on where the server ends before it
                process = subprocess.Popen(
                    [sys.executable, "-m", "wsiparse", *planned.command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._started[plan_id] = process, log

    def state(self, plan_id: str) -> tuple[int | None, tuple[str, ...]]:
        """Exit code of a run that was started, None while it is at work; and the last lines that it said.

        Raises
        ------
        OutputError
            If none of this plan was started.
        """
        with self._lock:
            started = self._started.get(plan_id)
        if started is None:
            raise OutputError("no run of this plan was started.")
        process, log = started
        lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
        return process.poll(), tuple(plain(line) for line in lines[-10:] if line.strip())

    def _slide(self, name: str) -> Path:
        """A slide file in one of the folders, wherever links lead."""
        if not self.folders:
            raise OutputError("no folder of slides was named when the server was started (--slides FOLDER).")
        for folder in self.folders:
            path = (folder / name).resolve()
            if path.is_relative_to(folder) and path.is_file() and path.suffix.lower() in SLIDE_EXTENSIONS:
                return path
        raise OutputError(f"no slide {plain(name)!r} in the folders that were named.")


def _wsiparse(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-m", "wsiparse", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PLAN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OutputError(f"no plan within {_PLAN_S:.0f} s. Plan fewer slides.") from None
