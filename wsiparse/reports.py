"""Reports of many finished slides made anew, each from its own files: one that cannot be made costs only itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsiparse.errors import RoiError
from wsiparse.one_slide import guarded
from wsiparse.report.analysis import Ask
from wsiparse.schedule import side_by_side
from wsiparse.slide_report import RegionsFile, read_regions_file, redo_slide_report
from wsiparse.write.basis import BASIS, read_offset

__all__ = ["Redone", "find_regions", "redo_reports"]

#: Endings of region files, in the order they are looked for.
_ENDINGS = (".geojson", ".json")


@dataclass(frozen=True, slots=True)
class Redone:
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


def find_regions(roi: Path, folder: Path, slide: str, *, alone: bool) -> Path | None:
    """The region file of a slide.

    Parameters
    ----------
    roi : a folder with a file for each slide, named as the slide or as its results folder; or one such file
    folder : results of the slide
    slide : its name
    alone : whether it is the only slide, so that a single file is its own

    Raises
    ------
    RoiError
        If `roi` does not exist, or is a single file for several slides.
    """
    if roi.is_dir():
        names = [stem + ending for stem in (slide, folder.name) for ending in _ENDINGS]
        return next((roi / name for name in names if (roi / name).is_file()), None)
    if not roi.exists():
        raise RoiError(f"{roi}: no such folder or file of regions. Check the path.")
    if not alone:
        raise RoiError(f"{roi}: one file of regions, but several slides. Give a folder with <slide>.geojson for each.")
    return roi


def redo_reports(
    slides: Sequence[tuple[Path, str]], roi: Path | None, compartments: Ask | None, seed: int, workers: int
) -> Iterator[Redone]:
    """Make the reports of finished slides anew, yielding each as it is done.

    Parameters
    ----------
    slides : results folder and name of each
    roi : see `find_regions`; None for the regions the slides were analysed with
    compartments : None for what fits each slide
    seed : of the bootstrap
    workers : slides at once

    Raises
    ------
    RoiError
        If `roi` cannot be used for any slide.
    """
    files = [find_regions(roi, *slide, alone=len(slides) == 1) if roi is not None else None for slide in slides]

    def one(k: int) -> Redone:
        folder, name = slides[k]

        def work() -> Redone:
            file = files[k]
            regions: RegionsFile | None = None
            if file is not None:
                regions = read_regions_file(file, read_offset(folder / BASIS))
            asked = compartments or ("roi" if roi is not None else None)
            return Redone(folder, redo_slide_report(folder, asked, regions, seed=seed))

        return guarded(name, folder, folder, work, lambda reason, _: Redone(folder, None, reason))

    yield from side_by_side(one, range(len(slides)), workers)
