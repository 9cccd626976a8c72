"""One slide of many: its own log, and errors that cost only itself."""

from __future__ import annotations

import errno
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final, TypeVar

from wsiparse.atomic import output_error, output_errors
from wsiparse.errors import OutputError, SchedulerError, WsiparseError
from wsiparse.machine import publishing_fault

__all__ = ["LOG", "guarded", "slide_log"]

log = logging.getLogger("wsiparse")

T = TypeVar("T")

#: A slide's log, in its results folder.
LOG: Final = "log.txt"

#: Whose log the thread at work writes to. `wsiparse.parallel` hands it on to the threads it starts.
_OWNER: ContextVar[object | None] = ContextVar("wsiparse_log_owner", default=None)

_LEVELS: Final = threading.Lock()

#: Errors of the file system as a whole: every further slide would meet them too.
_EVERYWHERE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class _HeldLog(logging.Handler):
    """Keeps what is logged in the context of one slide before its results folder, and with it its log, is there."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        return _OWNER.get() is self and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _held_log() -> Iterator[None]:
    """Keep what the package logs about a slide before its `slide_log` is opened, which then begins with it.

    What is logged about a slide that never gets so far is dropped: why it failed is told by its error.
    """
    handler = _HeldLog()
    log.addHandler(handler)
    token = _OWNER.set(handler)
    try:
        yield
    finally:
        _OWNER.reset(token)
        log.removeHandler(handler)


class _SlideLog(logging.FileHandler):
    """Takes what is logged in the context of one slide; a log that cannot be written harms nothing else."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.level_before = log.level

    def filter(self, record: logging.LogRecord) -> bool:
        return _OWNER.get() is self and bool(super().filter(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Nothing: what is wrong with the disk is met, and told, by the results themselves."""

    def close(self) -> None:
        try:
            super().close()
        except OSError:
            self.stream = None


@contextmanager
def slide_log(path: Path) -> Iterator[None]:
    """Append what the package logs in this thread, and in those it hands its context to, to a slide's own file.

    Slides may be at work side by side: none writes into the log of another. It begins with what `guarded` kept.

    Raises
    ------
    OutputError
        If the file cannot be opened.
    """
    with output_errors(path):
        handler = _SlideLog(path)
    with _LEVELS:
        others = [h for h in log.handlers if isinstance(h, _SlideLog)]
        handler.level_before = others[0].level_before if others else log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    before = _OWNER.get()
    token = _OWNER.set(handler)
    try:
        if isinstance(before, _HeldLog):
            while before.records:
                handler.handle(before.records.pop(0))
        yield
    finally:
        _OWNER.reset(token)
        with _LEVELS:
            log.removeHandler(handler)
            if not any(isinstance(h, _SlideLog) for h in log.handlers):
                log.setLevel(handler.level_before)
        handler.close()


def guarded(slide: str, folder: Path, out: Path, work: Callable[[], T], failed: Callable[[str, bool], T]) -> T:
    """``work()``, or what `failed` makes of the reason why this slide could not be worked on.

    The only place where an error of no known kind is caught: a fault in the program, or in a library, costs one slide
    too. It is written whole into the slide's log. What is logged before that log is opened stands first in it.

    Parameters
    ----------
    slide : as people know it
    folder : its results folder, which has the log
    out : folder that is written to for all slides
    work : may be called in any thread
    failed : gets the reason, one line, and whether it is of a known kind

    Raises
    ------
    OutputError
        If `out` as a whole cannot be written to.
    SchedulerError
        If the workers went away.
    """
    with _held_log():
        try:
            return work()
        except SchedulerError:
            raise
        except OutputError as error:
            if _concerns_all(out, error):
                raise
            return failed(str(error), True)
        except WsiparseError as error:
            return failed(str(error), True)
        except BrokenPipeError:  # whoever read our lines went away
            raise
        except OSError as error:  # of a library that writes by itself: the disk is to blame, not the program
            fault = output_error(Path(str(error.filename)) if error.filename else folder, error, "use")
            fault.__cause__ = error
            if _concerns_all(out, fault):
                raise fault from error
            _logged(folder, error)
            return failed(str(fault), True)
        except Exception as error:  # noqa: BLE001  (whatever it is, the other slides are not to blame)
            return failed(_unexpected(slide, folder, error), False)


def _concerns_all(out: Path, error: OutputError) -> bool:
    """Whether the next slide could not be written either."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in _EVERYWHERE:
        return True
    return publishing_fault(out) != ""


def _logged(folder: Path, error: Exception) -> bool:
    """Write an error whole into the slide's log, if that can be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with slide_log(folder / LOG):
            log.error("the slide was given up\n%s", "".join(traceback.format_exception(error)).rstrip())
    except (OSError, OutputError):
        return False
    return True


def _unexpected(slide: str, folder: Path, error: Exception) -> str:
    """One line about an error that nobody foresaw, which is written whole into the slide's log."""
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
    if not _logged(folder, error):
        last = traceback.extract_tb(error.__traceback__)[-1:]
        at = f", at {last[0].filename}:{last[0].lineno}" if last else ""
        return f"{slide}: an error of no known kind ({what}{at}); its log cannot be written. Please report it."
    return f"{slide}: an error of no known kind ({what}). The whole of it is in {folder / LOG}; please report it."
