"""Results as questions see them: every record compared with its own hash and with the objects it was made of."""

from __future__ import annotations

from pathlib import Path

from wsiparse.ask.facts import AskedFile, AskedResults, AskedSlide
from wsiparse.report.cohort import cohort_made_of, cohort_slides
from wsiparse.results.find import find_results
from wsiparse.results.folder import COHORT, DONE, REPORT, hashed_record

__all__ = ["read_asked"]


def read_asked(results: Path) -> AskedResults:
    """Read what questions about results are answered from: report.json, DONE.json and cohort.json.

    Parameters
    ----------
    results : folder of ``wsiparse run -o``, or one slide's folder in it

    Raises
    ------
    OutputError
        If it is neither.
    """
    found = find_results(results)
    cohort = cohort_slides(results)
    slides = []
    for slide in cohort:
        folder = found.folder(slide.folder)
        engine = str(slide.numbers["engine"]) if slide.numbers is not None else ""
        place = f"slides/{folder.name}/" if found.root is not None else ""
        report = _file(folder, place, REPORT, engine) if slide.numbers is not None else None
        done = _file(folder, place, DONE, engine) if report is not None else None
        slides.append(AskedSlide(slide.name, slide.folder, slide.state, slide.detail, report, done))
    if found.one or found.root is None:
        return AskedResults(tuple(slides), None, "one slide was given, not the folder of a run")
    record = hashed_record(found.root / COHORT)
    again = "make it: wsiparse report RESULTS --cohort-only"
    if record is None:
        return AskedResults(tuple(slides), None, f"{COHORT} is missing or damaged; {again}")
    data, sha256 = record
    if data["made_of"] != cohort_made_of(found.root, cohort):
        return AskedResults(tuple(slides), None, f"{COHORT} is of other numbers than the slides have now; {again}")
    return AskedResults(tuple(slides), AskedFile(COHORT, sha256, data, ", ".join(data["engine"])))


def _file(folder: Path, place: str, name: str, engine: str) -> AskedFile | None:
    found = hashed_record(folder / name)
    if found is None:
        return None
    data, sha256 = found
    return AskedFile(place + name, sha256, data, engine)
