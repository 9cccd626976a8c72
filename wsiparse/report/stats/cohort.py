"""The numbers of a whole results folder: all rows, ranking, groups of patients, slides that stand out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from wsiparse.names import some_of
from wsiparse.report.stats.decisions import decision_lines, excluded, wrong_decisions
from wsiparse.report.stats.groups import SlideCount, compare_groups, pool_patients
from wsiparse.report.stats.joining import Metadata, Named, joined_rows
from wsiparse.report.stats.methods import COHORT_METHODS
from wsiparse.report.stats.patients import cleaned
from wsiparse.report.stats.qc import SlideQuality, flag_slides
from wsiparse.report.stats.rows import ALL_TISSUE
from wsiparse.report.stats.studies import CountedSlide, scored, study_rows

__all__ = ["CohortSlide", "SlideMetadata", "cohort_numbers", "joined_metadata", "same_images", "without_report"]

FORMAT: Final = 1

#: Slides of which more is artefact stand out.
MOST_SPOILT_PERCENT: Final = 25.0


@dataclass(frozen=True, slots=True)
class CohortSlide:
    """One slide of a results folder.

    Parameters
    ----------
    path : slide file or address, as the run was given it; the folder's name where no run tells
    name : what it is called in these results, as no other slide is
    folder : of its results, which is the slide's id
    href : address of its report, relative to the cohort's, or None
    state, detail : as `wsiparse status` tells them
    numbers : of its report, or None
    label : what it is called by itself, without ending
    places : full paths that are this slide
    has_results : it has been done, whatever became of its files
    """

    path: str
    name: str
    folder: str
    href: str | None
    state: str
    detail: str
    numbers: Mapping[str, Any] | None
    label: str = ""
    places: frozenset[str] = frozenset()
    has_results: bool = False

    @property
    def known_path(self) -> str:
        """The path, or "" where no run tells it."""
        return self.path if self.path != self.folder else ""


@dataclass(frozen=True, slots=True)
class SlideMetadata:
    """What a table says of the slides of a results folder.

    Parameters
    ----------
    values : of each slide by column, as they are used; {} for a slide without a row
    unmatched_rows : slides of rows that are about none of these, as they are written
    notices : what was guessed, changed or left out, one line each
    refused : rows that fit several slides or contradict each other, one line each; no slide has anything from them
    """

    values: tuple[Mapping[str, str], ...]
    unmatched_rows: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def joined_metadata(
    slides: Sequence[CohortSlide], metadata: Metadata | None, endings: Collection[str] = ()
) -> SlideMetadata:
    """The metadata of each slide; see `wsiparse.report.stats.joining` for which row is about which slide.

    Parameters
    ----------
    endings : of slide files, lower case with the dot
    """
    if metadata is None:
        return SlideMetadata(tuple({} for _ in slides))
    named = [Named(s.path, s.label or s.name, s.folder, s.places) for s in slides]
    found = joined_rows(named, metadata, endings)
    names = [slide.name for slide in slides]
    used = cleaned(names, [row.values if row is not None else {} for row in found.rows], metadata)
    decided = decision_lines(names, used.values, metadata)
    notices = (*metadata.notices, *found.notices, *used.notices, *_left_out(slides, used.values, metadata), *decided)
    refused = (*found.refused, *wrong_decisions(names, used.values, metadata))
    return SlideMetadata(used.values, tuple(row.slide for row in found.unmatched), notices, refused)


def _left_out(slides: Sequence[CohortSlide], values: Sequence[Mapping[str, str]], metadata: Metadata) -> list[str]:
    """What a comparison of groups does without, or takes for granted."""
    if metadata.group is None:
        return []
    rows = [(slide.name, own) for slide, own in zip(slides, values, strict=True) if own and slide.numbers is not None]
    told = []
    without = [name for name, own in rows if not own.get(metadata.group)]
    if without:
        told.append(f"no group for {len(without)} slide(s), in no comparison: {some_of(without, 5)}")
    grouped = [(name, own) for name, own in rows if own.get(metadata.group)]
    if grouped and not _patients_known(values, metadata):
        told.append("no patients are named: every slide counts as a patient of its own")
    elif metadata.patient is not None:
        without = [name for name, own in grouped if not own.get(metadata.patient)]
        if without:
            told.append(
                f"no patient for {len(without)} slide(s), in no comparison, for they may be of one person: "
                f"{some_of(without, 5)}"
            )
    return [f"{metadata.file}: {line}" for line in told]


def _patients_known(values: Sequence[Mapping[str, str]], metadata: Metadata) -> bool:
    return metadata.patient is not None and any(own.get(metadata.patient) for own in values)


def same_images(slides: Sequence[CohortSlide]) -> list[list[int]]:
    """Positions of slides whose files hold the same bytes, such as one that was moved between runs; by position."""
    found: dict[str, list[int]] = {}
    for k, slide in enumerate(slides):
        fingerprint = slide.numbers["slide"].get("fingerprint") if slide.numbers is not None else None
        if fingerprint:
            found.setdefault(str(fingerprint), []).append(k)
    return [own for own in found.values() if len(own) > 1]


def without_report(slides: Sequence[CohortSlide]) -> list[str]:
    """Names of slides that have results and no numbers, for these or their report are damaged."""
    return [slide.name for slide in slides if slide.numbers is None and slide.has_results]


def cohort_numbers(
    slides: Sequence[CohortSlide],
    metadata: Metadata | None,
    joined: SlideMetadata,
    *,
    version: str,
) -> dict[str, Any]:
    """Everything the cohort's page shows, as JSON.

    Parameters
    ----------
    slides : every slide of the results folder, failed and missing ones included
    metadata : about them
    joined : as `joined_metadata` gives it
    version : of the program
    """
    flags = _flags(slides)
    twins = same_images(slides)
    for own in twins:
        for k in own:
            flags[k][0].append(f"same image as {some_of([slides[j].name for j in own if j != k], 2)}")
    values = joined.values
    out = excluded(values, metadata)
    for k, why in out.items():
        flags[k][0].insert(0, f"excluded: {why}" if why else "excluded")
    rows = [
        {"slide": slide.name, "folder": slide.folder, "href": slide.href}
        | row
        | {"slide_id": slide.folder, "path": slide.known_path}
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
        "ranking": _ranking(
            [row for row in rows if row["folder"] not in {slides[k].folder for k in out}], _immune_classes(slides)
        ),
        "metadata": None
        if metadata is None
        else {
            "file": metadata.file,
            "columns": list(metadata.columns),
            "patient_column": metadata.patient,
            "group_column": metadata.group,
            "score_column": metadata.score,
            "unmatched_slides": [s.name for s, own in zip(slides, values, strict=True) if not own],
            "unmatched_rows": list(joined.unmatched_rows),
            "notices": [*joined.refused, *joined.notices],
        },
        "notices": [
            f"{some_of([slides[k].name for k in own], 5)} hold the same image; in one patient it counts once"
            for own in twins
        ],
        "without_report": without_report(slides),
        "groups": _groups(slides, values, metadata, twins),
        "panel": [
            {"slide": slide.name, **row, "slide_id": slide.folder}
            for slide in slides
            if slide.numbers is not None
            # of a report that an older version made there is none
            for row in slide.numbers["immune"].get("panel", ())
        ],
        "studies": _studies(slides, values, metadata, twins),
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
        spoilt = _spoilt(slides[i])
        words = (
            ["artefacts"] * (sum(spoilt.values()) > MOST_SPOILT_PERCENT)
            + ["low tissue"] * flag.low_tissue
            + ["blurred"] * flag.blurred
            + [f"stain: {c}" for c in flag.stain]
        )
        out[i] = (words, dict(flag.z))
    return out


def _spoilt(slide: CohortSlide) -> dict[str, float]:
    """Percent of the tissue that was to be analysed which is of each kind of artefact; {} where none was looked for."""
    area = slide.numbers["area"] if slide.numbers is not None else {}
    # results of an older version looked for none
    asked_for = (area.get("analysed_mm2") or 0.0) + area.get("spoilt_mm2", 0.0)
    return {a["name"]: 100 * a["mm2"] / asked_for for a in area.get("artefacts", ()) if asked_for > 0}


def _slide(
    slide: CohortSlide, values: Mapping[str, str], flags: tuple[list[str], dict[str, float | None]]
) -> dict[str, Any]:
    numbers = slide.numbers
    area = numbers["area"] if numbers is not None else {}
    return {
        "name": slide.name,
        "folder": slide.folder,
        "path": slide.known_path,
        "href": slide.href,
        "state": slide.state,
        "detail": slide.detail,
        "tissue_mm2": area.get("tissue_mm2"),
        "analysed_mm2": area.get("analysed_mm2"),
        "unreadable_mm2": area.get("unreadable_mm2"),
        "artefacts_percent": _spoilt(slide),
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


def _counted(
    slides: Sequence[CohortSlide],
    values: Sequence[Mapping[str, str]],
    metadata: Metadata | None,
    twins: Sequence[Sequence[int]],
) -> list[CountedSlide]:
    """The slides that count in comparisons: with a patient and, where groups are named, a group; an image once.

    Slides that the table excluded are not among them.
    """
    known = metadata is not None and _patients_known(values, metadata)
    image = {k: n for n, own in enumerate(twins) for k in own}
    counted: set[tuple[str, int]] = set()
    decided = excluded(values, metadata)
    out = []
    for k, (slide, own) in enumerate(zip(slides, values, strict=True)):
        grouped = metadata is not None and metadata.group is not None
        group = own.get(metadata.group or "", "") if metadata is not None else ""
        # where no patient is known every slide stands for itself; where some are, one without may be of any of them
        patient = own.get(metadata.patient or "", "") if metadata is not None and known else slide.name
        if slide.numbers is None or k in decided or not patient or (grouped and not group):
            continue
        if k in image:
            if (patient, image[k]) in counted:
                continue
            counted.add((patient, image[k]))
        out.append(CountedSlide(patient, group, slide.numbers["rows"]))
    return out


def _groups(
    slides: Sequence[CohortSlide],
    values: Sequence[Mapping[str, str]],
    metadata: Metadata | None,
    twins: Sequence[Sequence[int]],
) -> list[dict[str, Any]]:
    """Groups compared, for every class and compartment."""
    if metadata is None or metadata.group is None:
        return []
    counts: dict[tuple[str, str], list[SlideCount]] = {}
    for slide in _counted(slides, values, metadata, twins):
        for row in slide.rows:
            key = row["class"], row["compartment"]
            counts.setdefault(key, []).append(SlideCount(slide.patient, slide.group, row["n"], row["compartment_mm2"]))
    out = []
    for (name, compartment), found in counts.items():
        compared = asdict(compare_groups(found))
        patients = [asdict(p) | {"per_mm2": p.per_mm2} for p in pool_patients(found)[0]]
        out.append({"class": name, "compartment": compartment} | compared | {"patients": patients})
    return out


def _studies(
    slides: Sequence[CohortSlide],
    values: Sequence[Mapping[str, str]],
    metadata: Metadata | None,
    twins: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """How densities vary and what a study needs; the scored column against what was measured."""
    known = metadata is not None and _patients_known(values, metadata)
    counted = _counted(slides, values, metadata, twins)
    score = None
    if metadata is not None and metadata.score is not None:
        measured = [k for k, slide in enumerate(slides) if slide.numbers is not None]
        score = scored(
            [slides[k].name for k in measured],
            # of a report that an older version made there is none
            [(slides[k].numbers or {})["immune"].get("panel", ()) for k in measured],
            [values[k].get(metadata.score, "") for k in measured],
            metadata.score,
        )
    return {
        "unit": "patient" if known else "slide",
        "rows": study_rows(counted, _immune_classes(slides)),
        "score": score,
    }
