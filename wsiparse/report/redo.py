"""Reports of many finished slides made anew, each from its own files: one that cannot be made costs only itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsiparse.choices import Division
from wsiparse.parallel.threads import side_by_side
from wsiparse.report.data import RegionsFile, read_regions_file
from wsiparse.report.slide import redo_slide_report
from wsiparse.results.folder import report_inputs_in
from wsiparse.results.one_slide import guarded
from wsiparse.results.report_inputs import read_frame
from wsiparse.tiling import RegionClasses

__all__ = ["RemadeReport", "redo_reports"]


@dataclass(frozen=True, slots=True)
class RemadeReport:
    """What became of one slide's report.

    Parameters
    ----------
    folder : results of the slide
    numbers : of its report, None when it could not be made
    error : why, one line
    """

    folder: Path
    numbers: dict[str, Any] | None
    error: str = ""


def redo_reports(
    folders: Sequence[Path],
    regions: Sequence[Path | None] | None,
    compartments: Division | None,
    seed: int,
    workers: int,
    classes: RegionClasses | None = None,
    tumour_is_epithelium: bool | None = None,
) -> Iterator[RemadeReport]:
    """Make the reports of finished slides anew, yielding each as it is done.

    Parameters
    ----------
    folders : results of each slide
    regions : file of each slide, None for a slide without one; None for the regions the slides were analysed with
    compartments : None for what fits each slide
    seed : of the bootstrap
    workers : slides at once
    classes : of regions that are tumour and stroma; None for what each run was told
    tumour_is_epithelium : whether epithelium is called tumour; None for what each run was told
    """

    def one(k: int) -> RemadeReport:
        folder, file = folders[k], regions[k] if regions is not None else None

        def work() -> RemadeReport:
            drawn: RegionsFile | None = None
            if file is not None:
                drawn = read_regions_file(file, *read_frame(report_inputs_in(folder)))
            asked = compartments or ("roi" if regions is not None else None)
            numbers = redo_slide_report(
                folder, asked, drawn, seed=seed, classes=classes, tumour_is_epithelium=tumour_is_epithelium
            )
            return RemadeReport(folder, numbers)

        return guarded(folder.name, folder, folder, work, lambda reason, _: RemadeReport(folder, None, reason))

    yield from side_by_side(one, range(len(folders)), workers)
