"""`wsiparse view`: results in a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wsiparse.viewer.source import ViewedSlide

__all__ = ["command"]


@click.command("view")
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--slide", type=click.Path(path_type=Path), help="Where the slide is now, if it was moved.")
@click.option(
    "--image",
    metavar="NAME|NUMBER",
    help="Which image of that file, by name or number (default: the one that was analysed).",
)
@click.option(
    "--export",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the page and its pictures as files into DIR.",
)
@click.option(
    "--max-px",
    type=click.IntRange(min=512),
    help="Longest edge of the slide in an export, px (default: 25000); halved until it fits.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the address (default: any free one).")
@click.option("--open", "browse", is_flag=True, help="Open the page in this machine's browser.")
def command(
    results: Path,
    slide: Path | None,
    image: str | None,
    folder: Path | None,
    max_px: int | None,
    port: int | None,
    browse: bool,
) -> int:
    """Look at a slide's results in a browser: the slide, objects in class colours, counts, hot-spots.

    RESULTS is the slide's folder (results/slides/X), or a results folder with one slide. The page is served to this
    machine only, at an address that is printed, until Ctrl-C; nothing is fetched from elsewhere. From another machine,
    pass the port through: ssh -L PORT:127.0.0.1:PORT HOST. With --export DIR the same page is written as files, to be
    opened from disk or put on a web server. Research use only.

    Example: wsiparse view results --export page
    """
    from wsiparse.results.folder import report_record
    from wsiparse.viewer.source import find_shown

    if folder is None and max_px is not None:
        raise click.UsageError("--max-px is for --export.")
    if folder is not None and (port is not None or browse):
        raise click.UsageError("--port and --open are for serving, not for --export.")
    shown = find_shown(results, slide, image)
    try:
        if shown.missing:
            click.echo(f"notice: without the slide's picture: {shown.missing} (see --slide)", err=True)
        if report_record(shown.folder) is None:
            again = "`wsiparse report` makes it again"
            click.echo(f"notice: without hot-spots: the report is missing or damaged; {again}", err=True)
        if folder is not None:
            _export(shown, folder, max_px)
        else:
            _serve(shown, port or 0, browse=browse)
    finally:
        if shown.slide is not None:
            shown.slide.close()
    return 0


def _serve(shown: ViewedSlide, port: int, *, browse: bool) -> None:
    from wsiparse.cli.signals import stopping
    from wsiparse.viewer.server import Routes, ViewServer
    from wsiparse.viewer.view import View

    with ViewServer(Routes(View(shown)), port) as server, stopping():
        click.echo(f"{shown.name}: {server.url}")
        click.echo("Only this machine can open it. Ctrl-C ends it.", err=True)
        sys.stdout.flush()
        if browse:
            import webbrowser

            webbrowser.open(server.url)
        server.serve_forever()


def _export(shown: ViewedSlide, folder: Path, max_px: int | None) -> None:
    from tqdm import tqdm

    from wsiparse.viewer.export import MAX_PX, export_view, open_view, tile_counts

    view = open_view(shown, max_px or MAX_PX)
    tiles = sum(tile_counts(view))
    with tqdm(total=tiles, unit="tile", disable=None, leave=False) as bar:
        written = export_view(view, folder, bar.update)
    click.echo(
        f"{shown.name}: {written.files} files, {written.size / 1e6:.1f} MB, "
        f"down to {written.finest_um:.3g} um per pixel -> {folder / 'index.html'}"
    )
