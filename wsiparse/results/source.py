"""The slide that results are of, where it can be found."""

from __future__ import annotations

from pathlib import Path

from wsiparse.errors import OutputError, SlideError
from wsiparse.results.runlog import read_entries
from wsiparse.slides import Slide, open_slide
from wsiparse.slides.declared import reader_names
from wsiparse.store.read import ObjectsReader

__all__ = ["find_slide", "slide_of_results"]


def slide_of_results(path: Path, reader: ObjectsReader, image: str | None = None) -> Slide:
    """The slide of a path, opened as it was when it was analysed.

    Parameters
    ----------
    path : where the slide is
    reader : objects of its results
    image : name or number of its image in a file of several; None for the number that the results have

    Raises
    ------
    SlideError
        If it cannot be opened or is not the slide of these results.
    OutputError
        If the results lack the slide's facts.
    """
    for name in ("fingerprint", "size"):
        if name not in reader.slide:
            raise OutputError(f"{reader.path}: lacks the slide's {name}. Run the slide again to make it anew.")
    told = str(reader.slide.get("reader", "auto"))
    number = reader.slide.get("image")  # 0 is what files of one image have
    own = image if image is not None else str(number) if number is not None else None
    slide = open_slide(path, reader=told if told in reader_names() else "auto", image=own)
    if slide.fingerprint != reader.slide["fingerprint"] or list(slide.size) != list(reader.slide["size"]):
        slide.close()
        raise SlideError(f"{path}: not the slide these results are of, or changed since. Give that slide with --slide.")
    return slide


def find_slide(folder: Path, reader: ObjectsReader, image: str | None = None) -> tuple[Slide | None, str]:
    """The slide where the run's own file says it is, or None and why it cannot be had, one line.

    Parameters
    ----------
    folder : the slide's results folder
    reader, image : see `slide_of_results`
    """
    told = next((e.path for e in read_entries(folder.absolute().parent.parent) if e.folder == folder.name), None)
    if told is None:
        return None, "no run-*.json says where the slide is"
    if "://" in told:
        return None, f"the slide is not a file here: {told}"
    try:
        return slide_of_results(Path(told), reader, image), ""
    except SlideError as error:
        return None, str(error)
