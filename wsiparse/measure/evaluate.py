"""`wsiparse evaluate`: results against annotations of the same slides."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from wsiparse.errors import RoiError
from wsiparse.machine import own_version
from wsiparse.measure.figures import field_rows, figures_of
from wsiparse.measure.files import write_measured
from wsiparse.measure.matching import Area, FieldSums, Side, compare_sides
from wsiparse.measure.naming import codes_of, joined_classes, parse_pairs, prompt_classes
from wsiparse.measure.pictures import PicturedField, field_picture, worst_fields
from wsiparse.measure.results import MeasuredSlide, measured_slides
from wsiparse.measure.truth import Truth, read_truth, truth_file
from wsiparse.report.pages.picture import Picture
from wsiparse.results.source import find_slide

__all__ = ["Asked", "evaluate"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an evaluation is asked.

    Parameters
    ----------
    complete : every nucleus of the slides is annotated, where a file has no fields
    partial : not every nucleus is annotated: found ones without annotation say nothing
    pairs : "ANNOTATED=FOUND" classes
    seed : of the intervals
    worst : fields shown as pictures
    """

    complete: bool = False
    partial: bool = False
    pairs: tuple[str, ...] = ()
    seed: int = 0
    worst: int = 6


@dataclass(frozen=True, eq=False)
class _Job:
    """A slide with its annotations, um."""

    slide: MeasuredSlide
    truth: Truth
    areas: list[Area]
    places: dict[str, int]


def evaluate(results: Path, truth: Path, out: Path, asked: Asked) -> dict[str, Any]:
    """Compare, and write evaluation.json, figures.csv, fields.csv and evaluation.html into a folder.

    Parameters
    ----------
    results : folder of a run, or of one slide in it
    truth : folder of annotations named as slides, or the file of the only slide
    out : folder, made where it is not there
    asked : how

    Returns
    -------
    what evaluation.json holds

    Raises
    ------
    RoiError
        If annotations cannot be used, no slide has any, or no field is known.
    OutputError, ConfigError
        If results cannot be used, or a class that is named is on neither side.
    """
    slides, notes = measured_slides(results)
    if truth.is_file() and len(slides) > 1:
        raise RoiError(f"{truth}: one file of annotations, but {len(slides)} slides. Give one slide's results folder, "
                       "or a folder of annotations.")  # fmt: skip
    files = [(slide, truth_file(truth, slide.facts)) for slide in slides]
    read = [(slide, read_truth(file, slide.facts)) for slide, file in files if file is not None]
    if not read:
        raise RoiError(f"{truth}: no annotations are named as a slide of {results} (looked for "
                       f"{slides[0].facts.names[-1]}.geojson, .label.png, .points.json, .points.csv).")  # fmt: skip
    notes += [f"{slide.name}: no annotations in {truth}, left out" for slide, file in files if file is None]
    found_names = [n for slide, _ in read for n in prompt_classes(tuple(slide.reader.prompts)).values()]
    classes, places = joined_classes(found_names, (n for _, t in read for n in t.names), parse_pairs(asked.pairs))
    sums: list[FieldSums] = []
    pictured: list[PicturedField] = []
    for slide, annotated in read:
        notes += annotated.notes
        areas = _areas(slide, annotated, asked, notes)
        one, seen = _measure(_Job(slide, annotated, areas, places), len(classes), asked)
        sums += one
        pictured += seen
    _note_unlooked(classes, set(found_names), sums, notes)
    numbers: dict[str, Any] = {
        "wsiparse": own_version(),
        "what": "evaluation",
        "results": str(results),
        "truth": str(truth),
        "engine": read[0][0].reader.engine,
        "partial": asked.partial,
        "seed": asked.seed,
        "slides": [slide.name for slide, _ in read],
        "mm2": float(sum(f.mm2 for f in sums)),
        "sides": ["annotated", "found"],
        "notes": notes,
        **figures_of(sums, classes, partial=asked.partial, seed=asked.seed),
        "fields": field_rows(sums, classes, partial=asked.partial),
    }
    worst = worst_fields(pictured, asked.worst)
    write_measured(out, numbers, "evaluation", [(f.caption, *_picture(f, slides)) for f in worst])
    return numbers


def _areas(slide: MeasuredSlide, truth: Truth, asked: Asked, notes: list[str]) -> list[Area]:
    """Fields in um, cut to the slide and to what the run was asked to analyse."""
    ground: BaseGeometry = shapely.box(0, 0, *slide.facts.size)
    if slide.roi is not None:
        ground = ground.intersection(slide.roi)
    drawn = truth.fields
    if not drawn:
        if not (truth.whole or asked.complete or asked.partial):
            raise RoiError(
                f"{truth.source}: no field, so what is not annotated may be missing or merely not drawn. Draw a "
                "rectangle of class Region* around what is annotated completely, or add --complete or --partial."
            )
        drawn = (("whole slide", ground),)
    areas, mpp = [], np.array(slide.facts.mpp)
    for name, shape in drawn:
        cut = shape.intersection(ground)
        if cut.area < 0.999 * shape.area:
            what = "off the slide" if slide.roi is None else "outside the analysed region"
            notes.append(
                f"{slide.name}: {1 - cut.area / shape.area:.0%} of the field {name} lies {what} and is left out"
            )
        if cut.area > 0:
            areas.append(Area(name, shapely.transform(cut, lambda xy: xy * mpp)))
    if not areas:
        raise RoiError(f"{truth.source}: no field lies on the analysed part of {slide.name}. Check the coordinates.")
    return areas


def _measure(job: _Job, n_classes: int, asked: Asked) -> tuple[list[FieldSums], list[PicturedField]]:
    slide, truth, mpp = job.slide, job.truth, np.array(job.slide.facts.mpp)
    near = shapely.union_all([shapely.box(*area.shape.bounds) for area in job.areas])
    nuclei = slide.nuclei(near)
    ids = prompt_classes(tuple(slide.reader.prompts))
    found = Side(nuclei.points, codes_of((ids[int(k)] for k in nuclei.class_id), job.places), nuclei.shapes)
    shapes = None
    if truth.outlined:
        shapes = shapely.transform(truth.shapes, lambda xy: xy * mpp) if len(truth.shapes) else truth.shapes
    annotated = Side(truth.points * mpp, codes_of(truth.names, job.places), shapes)
    sums = compare_sides(slide.name, annotated, found, job.areas, n_classes, partial=asked.partial)
    return sums, [PicturedField(slide.folder, a, s, annotated, found) for a, s in zip(job.areas, sums, strict=True)]


def _note_unlooked(classes: Sequence[str], found: set[str], sums: Sequence[FieldSums], notes: list[str]) -> None:
    for k, name in enumerate(classes):
        n = int(sum(f.classes[k, 0] for f in sums))
        if name not in found and n:
            notes.append(
                f"{n} annotations of class {name}: this run has no class of that meaning, so they count as nuclei "
                "and in the confusion matrix (--class says which classes are one)"
            )


def _picture(field: PicturedField, slides: Sequence[MeasuredSlide]) -> tuple[Picture | None, str]:
    slide = next(s for s in slides if s.folder == field.folder)
    pixels, missing = find_slide(slide.folder, slide.reader)
    if pixels is None:
        return None, missing
    with closing(pixels):
        return field_picture(pixels, field, slide.facts.mpp), ""
