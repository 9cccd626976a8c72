"""`wsiparse weights`: fetch, find and check the weights of BiomedParse."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wsiparse.errors import WeightsError

__all__ = ["command"]


@click.group("weights")
def command() -> None:
    """Fetch, find or check the weights of BiomedParse. Only `fetch` downloads; a run never does.

    The folder is the environment variable WSIPARSE_WEIGHTS, else the user's data folder (see `weights path`).

    Example: wsiparse weights fetch --help
    """


@command.command("fetch")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Folder (default: see `wsiparse weights path`).")
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit of microsoft/BiomedParse.")
@click.option("--accept-licence", "--accept-license", "accepted", is_flag=True, help="Accept the licence unasked.")
def fetch_command(folder: Path | None, revision: str, accepted: bool) -> int:
    """Download the checkpoint, its score parameters and CLIP's vocabulary from the Hugging Face hub, about 1.8 GB.

    The licence is shown and must be accepted. The hub may want a token: HF_TOKEN. HF_HUB_OFFLINE, HF_ENDPOINT and
    HTTPS_PROXY are honoured. Files that are there already and right are kept.

    Example: wsiparse weights fetch --accept-licence
    """
    from wsiparse.recognize.biomedparse.weights import default_folder, fetch, size_text

    target = folder if folder is not None else default_folder()
    entries = fetch(
        target,
        licence_accepted=accepted or _asked(),
        revision=revision,
        say=lambda line: click.echo(line, err=True),
    )
    for entry in entries:
        click.echo(f"{target / entry.name}: {size_text(entry.size)}, {entry.repository} at {entry.revision}")
    if folder is not None:
        click.echo(f"Use them with --weights {target}, or set WSIPARSE_WEIGHTS to this folder.", err=True)
    return 0


def _asked() -> bool:
    """Show the licence and ask at the terminal; where nobody can answer, say which flag accepts it."""
    from wsiparse.recognize.biomedparse.weights import LICENCE

    click.echo(LICENCE, err=True)
    if not sys.stdin.isatty():
        raise WeightsError(
            "the licence above must be accepted and nobody is at the terminal to ask. Read it, then add "
            "--accept-licence."
        )
    return click.confirm("Accept and download?", default=False, err=True)


@command.command("path")
def path_command() -> int:
    """Print the folder of the weights and what it holds; exit code 1 if a run would not find them.

    Example: wsiparse weights path
    """
    from wsiparse.recognize.biomedparse.weights import (
        FILES,
        MANIFEST,
        default_folder,
        find_weights,
        leftovers,
        size_text,
    )

    folder, found = default_folder(), find_weights()
    click.echo(str(folder))
    if folder.is_dir():
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            click.echo(f"  {path.name}  {size_text(path.stat().st_size)}")
        for path in leftovers(folder):
            click.echo(f"  {path.name}  of a download that was killed or is running; remove it if none is", err=True)
    if found is None:
        absent = [name for name in (*FILES, MANIFEST) if not (folder / name).is_file()]
        raise WeightsError(
            f"{folder}: no weights here ({', '.join(absent)} missing). `wsiparse weights fetch` downloads them; if "
            "you have them elsewhere, set WSIPARSE_WEIGHTS to that folder or give it to --weights."
        )
    return 0


@command.command("verify")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--load", is_flag=True, help="Also load the checkpoint, key by key, as a run does.")
def verify_command(folder: Path | None, load: bool) -> int:
    """Check that the files in DIR (default: see `wsiparse weights path`) are still what was fetched.

    Example: wsiparse weights verify --load
    """
    from wsiparse.recognize.biomedparse.weights import MANIFEST, check_loads, default_folder, verify

    target = folder if folder is not None else default_folder()
    if load and not (target / MANIFEST).exists():
        click.echo(f"{target}: has no {MANIFEST}, so its files are not compared with what was fetched", err=True)
    else:
        checks = verify(target)
        for check in checks:
            click.echo(f"{target / check.file.name}: {check.fault or 'as fetched'}")
        wrong = [check for check in checks if check.fault]
        if wrong:
            told = "; ".join(f"{check.file.name} {check.fault}" for check in wrong)
            raise WeightsError(f"{target}: {told}. `wsiparse weights fetch --to {target}` replaces what is wrong.")
    if load:
        click.echo(f"{check_loads(target)}: loads")
    return 0
