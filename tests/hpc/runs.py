"""Real runs in real processes, and what of their results must not differ by a byte."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

#: Not part of the results: what a run says about itself, and when.
OWN = ("run-", "log.txt", "status.csv", "tables.json", "work-", ".tmp-")

#: Cores of 64 px on a slide of 1280 x 960 px at 0.5 um/px: 300 tiles, 5 chunks.
SETTINGS = ("--engine", "classical", "--whole-slide", "--tile-size", "128", "--overlap", "64")


def digests(results: Path) -> dict[str, str]:
    """SHA-256 of every file of a results folder that is a result.

    The page over all slides links to their folders, whose names end in a hash of the slide's path: without that hash.
    """

    def content(path: Path) -> bytes:
        data = path.read_bytes()
        return re.sub(rb"__[0-9a-f]{8}", b"", data) if path == results / "report.html" else data

    return {
        str(path.relative_to(results)): hashlib.sha256(content(path)).hexdigest()
        for path in sorted(results.rglob("*"))
        if path.is_file() and not any(part.startswith(OWN) for part in path.relative_to(results).parts)
    }


def command(*arguments: object) -> list[str]:
    """The command line of wsiparse in a process of its own."""
    return [sys.executable, "-c", "from wsiparse.cli.main import main; main()", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without the variables of a batch system."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "PBS_", "SGE_", "LSB_"))}
    return kept | {"OMP_NUM_THREADS": "1"} | more


def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run wsiparse to its end."""
    return subprocess.run(
        command("run", *arguments), env=environment(**more), capture_output=True, text=True, check=False, timeout=300
    )


def start(*arguments: object, **more: str) -> subprocess.Popen[str]:
    """Start wsiparse in a process group of its own."""
    return subprocess.Popen(
        command("run", *arguments),
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def parts(results: Path) -> list[Path]:
    """Published parts of the field."""
    return sorted(results.glob("slides/*/work-*/scale-*/part-*.zip"))


def wherever(found: dict[str, str]) -> dict[str, str]:
    """Digests of results by names that do not tell where the slide lay; "" for tables, which have its id and path.

    cohort.json has the hash of report.json.
    """
    tables = ("summary.csv", "cohort.json", "report.html", "slides/slide/counts.csv", "slides/slide/report.json")
    plain = {re.sub(r"__[0-9a-f]{8}", "", name): digest for name, digest in found.items()}
    return {name: "" if name in tables else digest for name, digest in plain.items()}
