"""The numbers of a whole results folder: all rows, ranking, groups of patients, slides that stand out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any, Final

from wsiparse.report.groups import SlideCount, compare_groups, pool_patients
from wsiparse.report.methods import COHORT_METHODS
from wsiparse.report.qc import SlideQuality, flag_slides
from wsiparse.report.rows import ALL_TISSUE

__all__ = ["CohortSlide", "Metadata", "cohort_numbers", "joined_metadata"]

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class CohortSlide:
    """One slide of a results folder.

    Parameters
    ----------
    path : slide file or address, as the run was given it
    name : what its results are called
    folder : of its results
    href : address of its report, relative to the cohort's, or None
    state, detail : as `wsiparse status` tells them
    numbers : of its report, or None
    """

    path: str
    name: str
    folder: str
    href: str | None
    state: str
    detail: str
    numbers: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """A table about slides.

    Parameters
    ----------
    file : its name
    columns : beside that of the slide
    rows : (slide as written, values by column), in order
    patient, group : columns that say which patient a slide is of, and which group the patient is in; None for none
    """

    file: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, Mapping[str, str]], ...]
    patient: str | None
    group: str | None


def joined_metadata(
    slides: Sequence[CohortSlide], metadata: Metadata | None, endings: Collection[str] = ()
) -> tuple[list[Mapping[str, str]], list[str]]:
    """The metadata of each slide ({} for none), and the rows that fit no slide.

    A row fits a slide by its path, else by its file name, else by its name without ending, else when the row's own
    file name without an ending of `endings` is the slide's name. The first row that fits counts.
    """
    if metadata is None:
        return [{} for _ in slides], []
    by_text: dict[str, int] = {}
    by_file: dict[str, int] = {}
    by_stem: dict[str, int] = {}
    for i, (text, _) in enumerate(metadata.rows):
        file = PurePath(text)
        by_text.setdefault(text, i)
        by_file.setdefault(file.name, i)
        if file.suffix.lower() in endings:
            by_stem.setdefault(file.stem, i)
    used: set[int] = set()
    out: list[Mapping[str, str]] = []
    for slide in slides:
        file = PurePath(slide.path)
        tries = ((by_text, slide.path), (by_file, file.name), (by_text, slide.name), (by_text, file.stem))
        found = next((known[key] for known, key in (*tries, (by_stem, slide.name)) if key in known), None)
        used |= {found} if found is not None else set()
        out.append(metadata.rows[found][1] if found is not None else {})
    return out, [text for i, (text, _) in enumerate(metadata.rows) if i not in used]


def cohort_numbers(
    slides: Sequence[CohortSlide],
    metadata: Metadata | None,
    values: Sequence[Mapping[str, str]],
    unmatched_rows: Sequence[str],
    *,
    version: str,
) -> dict[str, Any]:
    """Everything the cohort's page shows, as JSON.

    Parameters
    ----------
    slides : every slide of the results folder, failed and missing ones included
    metadata : about them
    values, unmatched_rows : as `joined_metadata` gives them
    version : of the program
    """
    flags = _flags(slides)
    rows = [
        {"slide": slide.name, "folder": slide.folder, "href": slide.href} | row
        for slide in slides
        if slide.numbers is not None
        for row in slide.numbers["rows"]
    ]
    return {
        "format": FORMAT,
        "wsiparse": version,
        # not the folder's name: the same slides give the same page wherever they lie
        "results": f"{len(slides)} slide{'s' * (len(slides) != 1)}",
        "engine": sorted({str(s.numbers["engine"]) for s in slides if s.numbers is not None}),
        "settings": _settings(slides),
        "classes": _classes(slides),
        "slides": [_slide(slide, values[i], flags[i]) for i, slide in enumerate(slides)],
        "rows": rows,
        "ranking": _ranking(rows, _immune_classes(slides)),
        "metadata": None
        if metadata is None
        else {
            "file": metadata.file,
            "columns": list(metadata.columns),
            "patient_column": metadata.patient,
            "group_column": metadata.group,
            "unmatched_slides": [s.name for s, own in zip(slides, values, strict=True) if not own],
            "unmatched_rows": list(unmatched_rows),
        },
        "groups": _groups(slides, values, metadata),
        "limits": _limits(slides),
        "methods": [dict(method) for method in COHORT_METHODS],
    }


def _limits(slides: Sequence[CohortSlide]) -> dict[str, Any]:
    """What to know before the numbers: slides with warnings, and sentences that hold for any of the slides."""
    known = [(s, s.numbers["limits"]) for s in slides if s.numbers is not None and "limits" in s.numbers]
    return {
        "warnings": [{"slide": s.name, "href": s.href, "text": text} for s, own in known for text in own["warnings"]],
        "sentences": list(dict.fromkeys(text for _, own in known for text in own["sentences"])),
    }


def _settings(slides: Sequence[CohortSlide]) -> dict[str, Any]:
    """The settings of the slides' reports, region files left out; several values where they differ."""
    found: dict[str, list[Any]] = {}
    for slide in slides:
        for key, value in (slide.numbers["settings"] if slide.numbers is not None else {}).items():
            if not key.startswith("roi") and value not in found.setdefault(key, []):
                found[key].append(value)
    return {key: values[0] if len(values) == 1 else " / ".join(map(str, values)) for key, values in found.items()}


def _classes(slides: Sequence[CohortSlide]) -> list[dict[str, str]]:
    """Names and colours of the classes of all slides; the first slide that has a class colours it."""
    found: dict[str, str] = {}
    for slide in slides:
        for own in slide.numbers["classes"] if slide.numbers is not None else ():
            found.setdefault(own["name"], own["colour"])
    return [{"name": name, "colour": colour} for name, colour in found.items()]


def _flags(slides: Sequence[CohortSlide]) -> list[tuple[list[str], dict[str, float | None]]]:
    """What stands out about each slide, in words, and the scores behind it."""
    measured = [i for i, slide in enumerate(slides) if slide.numbers is not None]
    out: list[tuple[list[str], dict[str, float | None]]] = [([], {}) for _ in slides]
    qualities = []
    for i in measured:
        numbers = slides[i].numbers
        assert numbers is not None
        own = dict(numbers["quality"])
        own["mean_od"] = tuple(own["mean_od"]) if own["mean_od"] is not None else None
        qualities.append(SlideQuality(**own))
    for i, flag in zip(measured, flag_slides(qualities), strict=True):
        words = ["low tissue"] * flag.low_tissue + ["blurred"] * flag.blurred + [f"stain: {c}" for c in flag.stain]
        out[i] = (words, dict(flag.z))
    return out


def _slide(
    slide: CohortSlide, values: Mapping[str, str], flags: tuple[list[str], dict[str, float | None]]
) -> dict[str, Any]:
    numbers = slide.numbers
    area = numbers["area"] if numbers is not None else {}
    return {
        "name": slide.name,
        "folder": slide.folder,
        "href": slide.href,
        "state": slide.state,
        "detail": slide.detail,
        "tissue_mm2": area.get("tissue_mm2"),
        "analysed_mm2": area.get("analysed_mm2"),
        "unreadable_mm2": area.get("unreadable_mm2"),
        "quality": dict(numbers["quality"]) if numbers is not None else None,
        "flags": flags[0],
        "z": flags[1],
        "metadata": dict(values),
        "compartments_used": numbers["compartments"]["used"] if numbers is not None else None,
    }


def _immune_classes(slides: Sequence[CohortSlide]) -> list[str]:
    """Names of the classes of immune cells, in the order they come."""
    classes = (own for slide in slides if slide.numbers is not None for own in slide.numbers["classes"])
    return list(dict.fromkeys(own["name"] for own in classes if own["role"] == "immune"))


def _ranking(rows: Sequence[Mapping[str, Any]], first: Sequence[str]) -> list[dict[str, Any]]:
    """Slides by density over all tissue, for every class, highest first; ties by name and folder.

    Parameters
    ----------
    first : classes that people ask for first
    """
    out = []
    found = list(dict.fromkeys(row["class"] for row in rows))
    for name in sorted(found, key=lambda name: name not in first):
        entries = [
            {
                "slide": row["slide"],
                "href": row["href"],
                "folder": row["folder"],
                "density": row["density_per_mm2"],
                "low": row["density_low"],
                "high": row["density_high"],
                "n": row["n"],
            }
            for row in rows
            if row["class"] == name and row["compartment"] == ALL_TISSUE and row["density_per_mm2"] is not None
        ]
        entries.sort(key=lambda e: (-e["density"], e["slide"], e["folder"]))
        out.append({"class": name, "compartment": ALL_TISSUE, "unit": "per mm2", "entries": entries})
    return out


def _groups(
    slides: Sequence[CohortSlide], values: Sequence[Mapping[str, str]], metadata: Metadata | None
) -> list[dict[str, Any]]:
    """Groups compared, for every class and compartment."""
    if metadata is None or metadata.group is None:
        return []
    counts: dict[tuple[str, str], list[SlideCount]] = {}
    for slide, own in zip(slides, values, strict=True):
        group = own.get(metadata.group, "").strip()
        if slide.numbers is None or not group:
            continue
        # without a patient's name every slide stands for itself
        patient = (own.get(metadata.patient, "").strip() if metadata.patient is not None else "") or slide.folder
        for row in slide.numbers["rows"]:
            key = row["class"], row["compartment"]
            counts.setdefault(key, []).append(SlideCount(patient, group, row["n"], row["compartment_mm2"]))
    out = []
    for (name, compartment), found in counts.items():
        compared = asdict(compare_groups(found))
        patients = [asdict(p) | {"per_mm2": p.per_mm2} for p in pool_patients(found)[0]]
        out.append({"class": name, "compartment": compartment} | compared | {"patients": patients})
    return out
