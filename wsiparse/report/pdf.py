"""Pages printed to PDF by a browser that is already there; nothing is fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from wsiparse.atomic import publish
from wsiparse.errors import OutputError

__all__ = ["find_browser", "print_pdf"]

#: Names under which Chromium and its kin are installed.
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_FLAGS: Final = ("--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
_LIMIT_S: Final = 120.0


def find_browser() -> str:
    """The path of a browser that prints.

    Raises
    ------
    OutputError
        If there is none.
    """
    found = next((path for name in _BROWSERS if (path := shutil.which(name)) is not None), None)
    if found is None:
        raise OutputError(
            "--pdf: no Chromium or Chrome found (looked for " + ", ".join(_BROWSERS) + "). Install one (Debian/Ubuntu: "
            "apt-get install chromium), or open report.html and print it from your own browser."
        )
    return found


def print_pdf(browser: str, page: Path) -> Path:
    """Print a page beside itself, ``report.html`` to ``report.pdf``; the new file.

    Raises
    ------
    OutputError
        If the browser fails or takes longer than two minutes.
    """
    target = page.with_suffix(".pdf")
    # a browser run by root, in a container say, refuses its sandbox; the page is our own and runs no other's script
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with publish(target) as temporary, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            browser,
            *_FLAGS,
            *sandbox,
            f"--user-data-dir={profile}",
            "--no-pdf-header-footer",
            f"--print-to-pdf={temporary.absolute()}",
            page.absolute().as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise OutputError(
                f"{page}: {browser} took longer than {_LIMIT_S:g} s to print it. Print it by hand."
            ) from error
        except OSError as error:
            raise OutputError(f"{page}: {browser} cannot be started ({error.strerror}). Print it by hand.") from error
        if done.returncode or not temporary.is_file() or not temporary.stat().st_size:
            said = " ".join(done.stderr.split())[-200:]
            raise OutputError(f"{page}: {browser} did not print it (exit {done.returncode}: {said}). Print it by hand.")
    return target
