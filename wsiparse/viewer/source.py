"""What is looked at: one slide's results, and the slide where it can be found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsiparse.errors import OutputError, SlideError
from wsiparse.export.objectframe import slide_fact
from wsiparse.results.find import find_results
from wsiparse.results.folder import done_record, report_inputs_in, summary_of
from wsiparse.results.runlog import read_entries
from wsiparse.results.whole import check_whole
from wsiparse.slides import Slide, open_slide
from wsiparse.slides.declared import reader_names
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
        return ViewedSlide(folder, record, reader, summary, _open(slide, reader, image))
    told = next((e.path for e in read_entries(folder.parent.parent) if e.folder == folder.name), None)
    if told is None:
        return ViewedSlide(folder, record, reader, summary, None, "no run-*.json says where the slide is")
    if "://" in told:
        return ViewedSlide(folder, record, reader, summary, None, f"the slide is not a file here: {told}")
    try:
        return ViewedSlide(folder, record, reader, summary, _open(Path(told), reader, image))
    except SlideError as error:
        return ViewedSlide(folder, record, reader, summary, None, str(error))


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


def _open(path: Path, reader: ObjectsReader, image: str | None) -> Slide:
    told = str(reader.slide.get("reader", "auto"))
    number = reader.slide.get("image")  # 0 is what files of one image have
    own = image if image is not None else str(number) if number is not None else None
    slide = open_slide(path, reader=told if told in reader_names() else "auto", image=own)
    if slide.fingerprint != slide_fact(reader, "fingerprint") or list(slide.size) != list(slide_fact(reader, "size")):
        slide.close()
        raise SlideError(
            f"{path}: not the slide these results are of, or changed since. Tell where that slide is with --slide."
        )
    return slide
