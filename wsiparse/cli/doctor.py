"""`wsiparse doctor`: is this machine ready?"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

__all__ = ["command"]


@click.command("doctor")
@click.argument("results", required=False, type=click.Path(path_type=Path), metavar="[RESULTS_DIR]")
@click.option("--offline", is_flag=True, help="Ask nothing of the network.")
@click.option("--no-self-test", "trial", is_flag=True, default=True, flag_value=False, help="Leave out the self-test.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def command(results: Path | None, offline: bool, trial: bool, as_json: bool) -> int:
    """Check readers, weights, GPU, memory, disk, caches and batch system, and analyse a small painted slide.

    One line a check: ok, note (works, but know it) or problem (a run would fail), with what to do. RESULTS_DIR is where
    results would go (default: this folder). Exit code 1 if there is a problem. Nothing is left behind.

    Example: wsiparse doctor --offline
    """
    from wsiparse.doctor import examine

    checks = []
    for check in examine(results or Path(), os.environ, offline=offline, trial=trial):
        checks.append(check)
        if not as_json:
            click.echo(f"{check.state:<8} {check.name:<14} {check.found}")
            if check.todo:
                click.echo(f"{'':<24}-> {check.todo}")
    problems, notes = (sum(check.state == state for check in checks) for state in ("problem", "note"))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=1, ensure_ascii=False))
    else:
        click.echo(f"{len(checks)} checks: {problems or 'no'} problems, {notes} notes")
    return 1 if problems else 0
