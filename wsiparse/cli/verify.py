"""`wsiparse verify`: whether results are still what was written."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]

#: Network disks answer several requests at a time, whatever the number of cores.
_FEWEST_THREADS = 4


@click.command("verify")
@click.argument("results", type=click.Path(path_type=Path), metavar="RESULTS")
@click.option("-n", "--num-workers", type=click.IntRange(1, 4096), help="Threads (default: every core, at least 4).")
def command(results: Path, num_workers: int | None) -> int:
    """Check that RESULTS are complete and unchanged: list what is missing, changed, not finished or foreign.

    Every file is compared with the checksum (SHA-256) that was written down when it was made.

    RESULTS is the folder that `wsiparse run -o` wrote, or the folder of one slide in it. One line for each problem says
    what to do. Exit code 3 if there is one.

    Example: wsiparse verify results
    """
    from wsiparse.cli.progress import TerminalProgress
    from wsiparse.machine import available_cores
    from wsiparse.results.find import find_results
    from wsiparse.results.verify import slide_folders, verify, verify_beside

    folders = slide_folders(results)
    workers = num_workers or max(_FEWEST_THREADS, available_cores())
    good, files, n_bytes, wrong, harmless = 0, 0, 0, 0, 0
    with TerminalProgress().stage("verify", len(folders), "slides") as stage:
        for slide in verify(folders, workers=workers):
            for finding in slide.findings:
                click.echo(f"{finding.path}: {finding.text}", err=not finding.wrong)
                wrong += finding.wrong
                harmless += not finding.wrong
            good += slide.good
            files += slide.files
            n_bytes += slide.n_bytes
            stage.advance()
    for finding in () if find_results(results).one else verify_beside(results):
        click.echo(f"{finding.path}: {finding.text}")
        wrong += 1
    click.echo(
        f"{good} of {len(folders)} slides are as written: {files} files, {n_bytes / 1e6:.1f} MB checked, "
        f"{wrong} problems" + (f", {harmless} leftovers" if harmless else "")
    )
    return 3 if wrong else 0
