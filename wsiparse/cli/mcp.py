"""`wsiparse mcp`: results for programs that speak the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("mcp")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULTS...")
@click.option(
    "--slides",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder whose slides a run may be planned for. May be given again.",
)
@click.option("--allow-run", is_flag=True, help="Let a run be started after its plan was shown; it writes to RESULTS.")
def command(results: tuple[Path, ...], slides: tuple[Path, ...], allow_run: bool) -> int:
    """Serve RESULTS to a program that speaks MCP, over stdin and stdout: read-only, on this machine, no network.

    Such a program starts this command itself: name it in its settings. It can list results, ask for counts, densities
    with intervals, groups, hot-spots, quality flags, formulas, figures and crops, and plan a run. Nothing outside the
    named folders is read, links included, and nothing is written without --allow-run.

    Needs the extra mcp: pip install 'wsiparse[mcp]'.

    Example: wsiparse mcp results
    """
    from wsiparse.mcp.server import serve

    serve(results, slides, allow_run=allow_run)
    return 0
