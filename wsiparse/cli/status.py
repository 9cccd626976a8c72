"""`wsiparse status`: how far a results folder is."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wsiparse.results.status import SlideStatus

__all__ = ["command"]


@click.command("status")
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Show it again every few seconds until nothing runs any more.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds between two looks, with --watch.",
)
@click.option("--all", "everything", is_flag=True, help="List finished slides, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def command(results: Path, watch: bool, every: float, everything: bool, as_json: bool) -> int:
    """Show which slides of RESULTS are done, running, stopped, failed or missing, with rates and reasons.

    RESULTS is the folder that `wsiparse run -o` wrote, or the folder of one slide in it. It only reads the
    files that runs leave, so it works while jobs run on other machines. Exit code: 0 when all is done or on its way,
    3 when a slide failed, was stopped, is missing or lost tiles.

    Example: wsiparse status results --watch
    """
    from wsiparse.results.status import slide_statuses

    while True:
        statuses = slide_statuses(results)
        if as_json:
            click.echo(json.dumps([asdict(status) for status in statuses], indent=1, ensure_ascii=False))
        else:
            if watch and sys.stdout.isatty():
                click.clear()
            click.echo(_text(statuses, everything=everything))
        if not watch or not any(status.state == "running" for status in statuses):
            break
        time.sleep(every)
    return 0 if {status.state for status in statuses} <= {"done", "running"} else 3


def _text(statuses: list[SlideStatus], *, everything: bool) -> str:
    from wsiparse.results.status import tally

    shown = [s for s in statuses if everything or s.state != "done"]
    lines = [f"{s.state:<12} {s.name}: {s.detail}" for s in shown]
    counts = ", ".join(f"{n} {state}" for state, n in tally(statuses).items())
    return "\n".join([*lines, f"{len(statuses)} slides: {counts}"])
