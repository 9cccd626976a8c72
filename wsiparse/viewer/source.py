"""What is looked at: one slide's results, and the slide where it can be found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsiparse.errors import OutputError
from wsiparse.export.reading import slide_fact
from wsiparse.results.find import find_results
from wsiparse.results.folder import done_record, report_inputs_in, summary_of
from wsiparse.results.source import find_slide, slide_of_results
from wsiparse.results.whole import check_whole
from wsiparse.slides import Slide
from wsiparse.store.read import ObjectsReader
from wsiparse.types import SlideSummary

__all__ = ["ViewedSlide", "find_shown"]

#: The run's own label images, where it was not told to leave them out.
LABELS: Final = "labels.ome.zarr"


@dataclass(frozen=True, eq=False)
class ViewedSlide:
    """One slide's results, opened.

    Parameters
    ----------
    folder : the slide's results folder
    record : its DONE.json
    reader : its objects
    summary : its numbers
    slide : the slide's pixels, or None where they cannot be had
    missing : why there is no slide, one line for the person at the terminal; "" with a slide
    """

    folder: Path
    record: dict[str, Any]
    reader: ObjectsReader
    summary: SlideSummary
    slide: Slide | None
    missing: str = ""

    @property
    def name(self) -> str:
        """Name of the slide; what is not text in it becomes "?"."""
        return str(slide_fact(self.reader, "name")).encode(errors="replace").decode()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), level-0 px."""
        width, height = slide_fact(self.reader, "size")
        return int(width), int(height)

    @property
    def mpp(self) -> tuple[float, float]:
        """(x, y) um per level-0 px."""
        x, y = slide_fact(self.reader, "mpp")
        return float(x), float(y)


def find_shown(results: Path, slide: Path | None = None, image: str | None = None) -> ViewedSlide:
    """Open results for viewing.

    Parameters
    ----------
    results : a slide's results folder, or a results folder with one slide
    slide : where the slide is now; None for the path that the run's own file tells
    image : name or number of its image in a file of several; None for the number that the results tell

    Raises
    ------
    OutputError
        If there are no finished results, or those of several slides, or they are damaged.
    SlideError
        If `slide` is given and cannot be opened or is not the slide of these results.
    """
    folder = _slide_folder(results)
    labels = LABELS if (folder / LABELS).exists() else None
    record = check_whole(folder, "objects.zarr", report_inputs_in(folder).name, *([labels] if labels else []))
    reader = ObjectsReader(folder / "objects.zarr")
    try:
        summary = summary_of(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise OutputError(f"{folder}: DONE.json is damaged ({error!r}). Run the slide again.") from error
    if len(summary.counts) != len(reader.prompts):
        raise OutputError(f"{folder}: DONE.json and objects.zarr are of different runs. Run the slide again.")
    if slide is not None:
        return ViewedSlide(folder, record, reader, summary, slide_of_results(slide, reader, image))
    return ViewedSlide(folder, record, reader, summary, *find_slide(folder, reader, image))


def _slide_folder(results: Path) -> Path:
    found = find_results(results)
    if found.one:
        return found.slides[0].absolute()
    ready = [p for p in found.slides if done_record(p) is not None]
    if len(ready) == 1:
        return ready[0].absolute()
    if not ready:
        raise OutputError(f"{results}: no finished slide here. Run the same `wsiparse run` again to finish.")
    raise OutputError(f"{results}: {len(ready)} slides; name one, e.g. wsiparse view {ready[0]}")
