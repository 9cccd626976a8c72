"""`wsiparse merge`: the shards of an array become one set of results."""

from __future__ import annotations

from pathlib import Path

import click

from wsiparse.cli.options import say_notice

__all__ = ["command"]


@click.command("merge")
@click.argument("results", type=click.Path(path_type=Path))
def command(results: Path) -> int:
    """Join what the jobs of an array left in RESULTS: finish slides that were shared out by tiles, write the tables.

    RESULTS is the folder that `wsiparse run -o` wrote, or the folder of one slide in it: then only that slide is
    finished. Slides shared out whole are finished already; for them this writes summary.csv and status.csv. Nothing is
    recognised again: slides with missing parts are named (exit code 3), and the array can be submitted once more.

    Example: wsiparse merge results
    """
    from wsiparse.cli.progress import TerminalProgress
    from wsiparse.cli.signals import stopping
    from wsiparse.results.find import find_results
    from wsiparse.results.folder import file_name, report_record
    from wsiparse.results.status import slide_statuses, tally
    from wsiparse.run.merge import merge

    failed = finished = 0
    with stopping():
        for outcome in merge(results, progress=TerminalProgress(), say=say_notice):
            if outcome.status == "failed":
                failed += 1
                click.echo(f"error: {outcome.error}", err=True)
            else:
                finished += 1
                for notice in outcome.notices:
                    click.echo(f"{file_name(outcome.path)}: notice: {notice}", err=True)
                click.echo(f"{file_name(outcome.path)}: merged -> {outcome.folder}")
    statuses, places = slide_statuses(results), find_results(results)
    counts = tally(statuses)
    lost = [s for s in statuses if s.state == "done" and report_record(places.folder(s.folder)) is None]
    click.echo(f"merged {finished} slides; now " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    return 3 if failed or lost or set(counts) - {"done"} else 0
