"""A painted cohort: six slides with known cells in two groups of patients, and one slide that was never finished."""

from __future__ import annotations

from pathlib import Path

from tests.report.slides_made import tumour_slide, write_slide
from wsiparse.report.cohort import read_metadata, write_cohort_report

__all__ = ["GROUPS", "SLIDES", "painted_cohort"]

#: Slide -> immune cells per mm2 in the tumour and in the stroma, group.
SLIDES = {
    "a1": ((300.0, 700.0), "responder"),
    "a2": ((320.0, 650.0), "responder"),
    "a3": ((350.0, 720.0), "responder"),
    "b1": ((90.0, 250.0), "non-responder"),
    "b2": ((110.0, 300.0), "non-responder"),
    "b3": ((100.0, 200.0), "non-responder"),
}
GROUPS = ("non-responder", "responder")


def painted_cohort(results: Path, *, names: dict[str, str] | None = None, groups: dict[str, str] | None = None) -> Path:
    """Write the cohort.

    Parameters
    ----------
    names : slide -> what it is called instead
    groups : group -> what it is called instead
    """
    names, groups = names or {}, groups or {}
    table = ["slide,patient,group"]
    for k, (name, (immune, group)) in enumerate(SLIDES.items()):
        called = names.get(name, name)
        folder = write_slide(results, called, tumour_slide(2.0, 1.6, k + 1, immune=immune), seed=k)
        table.append(f'{folder.name},p{k},"{groups.get(group, group)}"')
    unfinished = results / "slides" / "late__0123abcd"
    unfinished.mkdir()
    sheet = results.parent / "patients.csv"
    sheet.write_text("\n".join(table) + "\n", encoding="utf-8")
    write_cohort_report(results, read_metadata(sheet))
    return results
