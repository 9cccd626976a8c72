"""`wsiparse teach`: labelled nuclei of finished results become an engine."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.atomic import output_errors, sha256_file
from wsiparse.config import PALETTE
from wsiparse.errors import ConfigError, OutputError, RoiError, SlideError
from wsiparse.machine import own_version
from wsiparse.measure.results import MeasuredSlide, measured_slides
from wsiparse.measure.truth import read_truth, truth_file
from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.registry import engine_names, engine_of
from wsiparse.recognize.taught.features import NAMES
from wsiparse.recognize.taught.model import FORMAT, TAUGHT, sealed
from wsiparse.report.pages.taught_page import taught_page
from wsiparse.results.folder import done_record, report_inputs_in, write_text
from wsiparse.results.report_inputs import read_report_inputs
from wsiparse.results.source import find_slide
from wsiparse.teach.crops import features_of
from wsiparse.teach.figures import taught_figures
from wsiparse.teach.fit import calibrated_head, cross_validate, folds_of
from wsiparse.teach.labels import label_nuclei
from wsiparse.types import PromptSet, RecognizerSpec

__all__ = ["TeachSettings", "teach"]

#: Fewer examples of a class are refused; fewer than the second are warned of.
_LEAST, _WANTED = 5, 20
_BLOCK_UM: Final = 250.0


@dataclass(frozen=True, slots=True)
class TeachSettings:
    """How is taught.

    Parameters
    ----------
    doubt : nuclei whose most probable class has less are of no class, 0-1
    own_classes : the classes that the results have already are features
    seed : of the intervals
    """

    doubt: float = 0.5
    own_classes: bool = True
    seed: int = 0


@dataclass(frozen=True, eq=False)
class _Examples:
    """Labelled nuclei of one slide."""

    slide: MeasuredSlide
    features: NDArray[np.float64]
    names: tuple[str, ...]
    blocks: NDArray[np.int64]
    fact: dict[str, Any]


def teach(results: Path, annotations: Path, out: Path, settings: TeachSettings) -> dict[str, Any]:
    """Learn, and write a model folder: taught.json, and teach.html with the figures.

    Parameters
    ----------
    results : folder of a run, or of one slide in it
    annotations : folder of annotations named as slides, or the file of the only slide
    out : a new folder
    settings : how

    Returns
    -------
    what taught.json holds, and "notes"

    Raises
    ------
    RoiError
        If annotations cannot be used, or are too few.
    OutputError, ConfigError, SlideError
        If results cannot be used, are of several engines, or a labelled slide is not where it was; or `out` is there.
    """
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise OutputError(f"{out}: holds something. `wsiparse teach` never replaces a model: give -o another folder.")
    slides, notes = measured_slides(results)
    if annotations.is_file() and len(slides) > 1:
        raise RoiError(f"{annotations}: one file of annotations, but {len(slides)} slides. Give one slide's results "
                       "folder, or a folder of annotations.")  # fmt: skip
    files = [(slide, truth_file(annotations, slide.facts)) for slide in slides]
    labelled = [(slide, file) for slide, file in files if file is not None]
    if not labelled:
        raise RoiError(f"{annotations}: no annotations are named as a slide of {results} (looked for "
                       f"{slides[0].facts.names[-1]}.geojson, .label.png, .points.json, .points.csv).")  # fmt: skip
    base, prompts = _base(labelled, results)
    own = settings.own_classes and len(prompts) > 1
    examples = [_examples(slide, file, notes, own=own) for slide, file in labelled]
    names = sorted({name for one in examples for name in one.names})
    features = np.concatenate([one.features for one in examples])
    classes = np.array([names.index(name) for one in examples for name in one.names], np.int64)
    _check_counts(names, classes, notes, annotations)
    groups = _groups(examples)
    shares, temperature = cross_validate(features, classes, len(names), folds_of(groups))
    head = calibrated_head(features, classes, len(names), temperature)
    record = done_record(labelled[0][0].folder) or {}
    facts = sealed(
        {
            "format": FORMAT,
            "name": re.sub(r"[^\w.-]+", "-", out.name)[:80] or "taught",
            "title": f"{out.name}, taught on {record['engine']}"[:200],
            "base": {
                "engine": base.name if base.name in engine_names() else str(getattr(base, "folder", base.name)),
                "title": record["engine"],
                "licence": base.licence,
                "weights_sha256": base.info(_spec(base, prompts)).weights_sha256,
                "card_sha256": base.info(_spec(base, prompts)).card_sha256,
                "prompts": [
                    {"text": p.text, "class_name": p.class_name, "colour": p.colour, "threshold": p.threshold}
                    for p in prompts
                ],
            },
            "classes": [{"name": n, "colour": PALETTE[k % len(PALETTE)]} for k, n in enumerate(names)],
            "own_shares": own,
            "doubt": settings.doubt,
            "features": [*NAMES, *(f"share_{p.class_name}" for p in prompts if own)],
            "mean": head.mean.tolist(),
            "scale": head.scale.tolist(),
            "weights": head.weights.tolist(),
            "figures": {
                "by": "slide" if len(examples) > 1 else f"squares of {_BLOCK_UM:g} um of one slide",
                "temperature": temperature,
                **taught_figures(shares, classes, groups, names, settings.doubt, settings.seed),
            },
            "data": [one.fact for one in examples],
        }
    )
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_text(out / "teach.html", taught_page({**facts, "notes": notes, "wsiparse": own_version()}))
    # the file that makes the folder a model comes last
    write_text(out / TAUGHT, json.dumps(facts, indent=1) + "\n")
    return {**facts, "notes": notes}


def _spec(base: DeclaredEngine, prompts: PromptSet) -> RecognizerSpec:
    return RecognizerSpec(base.name, prompts)


def _base(labelled: Sequence[tuple[MeasuredSlide, Path]], results: Path) -> tuple[DeclaredEngine, PromptSet]:
    """The engine that found the nuclei, as it is here, and what it was asked."""
    facts: dict[tuple[Any, ...], tuple[MeasuredSlide, PromptSet]] = {}
    for slide, _ in labelled:
        record = done_record(slide.folder) or {}
        settings = record.get("settings", {})
        prompts = PromptSet(tuple(p for p in slide.reader.prompts if p.kind == "cell"))
        key = (record["engine"], record["weights_sha256"], settings.get("model card"), tuple(p.text for p in prompts))
        facts.setdefault(key, (slide, prompts))
    if len(facts) > 1:
        one, other = (slide for slide, _ in list(facts.values())[:2])
        raise ConfigError(f"{results}: {one.name} and {other.name} were analysed by other engines or with other "
                          "prompts. Teach on results of one.")  # fmt: skip
    [((title, weights, card, _), (slide, prompts))] = facts.items()
    for name in (*_asked_engines(slide.folder), *engine_names()):
        engine = engine_of(name)
        if engine.title != title or engine.any_words:
            continue
        info = engine.info(_spec(engine, prompts))
        if info.weights_sha256 == weights and (info.card_sha256[:12] or None) == card:
            return engine, prompts
    raise ConfigError(
        f"{results}: its nuclei are of {title} with weights {weights[:12] or 'none'}, which is no engine here that can "
        "be taught. Run the slides again with the embedded network, or put the model's folder where it was."
    )


def _asked_engines(folder: Path) -> list[str]:
    """What runs of these results were asked for, where it is a folder."""
    out = []
    for file in sorted(folder.absolute().parent.parent.glob("run-*.json")):
        try:
            name = str(json.loads(file.read_text(encoding="utf-8"))["config"]["engine"])
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if Path(name).is_dir() and name not in out:
            out.append(name)
    return out


def _examples(slide: MeasuredSlide, file: Path, notes: list[str], *, own: bool) -> _Examples:
    truth = read_truth(file, slide.facts)
    notes += truth.notes
    nuclei = slide.nuclei()
    found = label_nuclei(truth, nuclei, slide.facts.mpp)
    if found.unused:
        notes.append(f"{file}: {found.unused} of {sum(map(bool, truth.names))} annotations lie on no nucleus that was "
                     "found and teach nothing")  # fmt: skip
    pixels, missing = find_slide(slide.folder, slide.reader)
    if pixels is None:
        raise SlideError(f"{slide.name}: its pixels are needed to teach, but {missing}.")
    table = slide.reader.table("cell").take(found.rows)
    strength = read_report_inputs(report_inputs_in(slide.folder)).limits.stain_strength
    with closing(pixels):
        features = features_of(pixels, slide.reader.frames["cell"], table, strength)
    if own:
        features = np.concatenate([features, table.class_share.astype(np.float64)], axis=1)
    blocks = np.floor(nuclei.points[found.rows] / _BLOCK_UM).astype(np.int64)
    counts = {name: found.names.count(name) for name in sorted(set(found.names))}
    fact = {"slide": slide.name, "annotations": file.name, "sha256": sha256_file(file), "nuclei": len(found.rows),
            "counts": counts}  # fmt: skip
    return _Examples(slide, features, found.names, blocks, fact)


def _check_counts(names: Sequence[str], classes: NDArray[np.int64], notes: list[str], annotations: Path) -> None:
    if len(names) < 2:
        what = f"only the class {names[0]}" if names else "no class"
        raise RoiError(f"{annotations}: {what} on nuclei that were found. A model tells at least two classes apart: "
                       "label nuclei of another class too.")  # fmt: skip
    for name, n in zip(names, np.bincount(classes, minlength=len(names)).tolist(), strict=True):
        if n < _LEAST:
            raise RoiError(f"{annotations}: too few examples of {name} ({n}, at least {_LEAST} needed and {_WANTED} "
                           "wanted). Label more, or take the class away.")  # fmt: skip
        if n < _WANTED:
            notes.append(f"too few examples of {name} ({n}, at least {_WANTED} wanted): its figures say little")


def _groups(examples: Sequence[_Examples]) -> NDArray[np.int64]:
    """What lies together: slides, or squares of the only one."""
    if len(examples) > 1:
        return np.repeat(np.arange(len(examples)), [len(one.names) for one in examples])
    _, place = np.unique(examples[0].blocks, axis=0, return_inverse=True)
    if place.max(initial=0) == 0:
        raise RoiError(f"{examples[0].fact['annotations']}: all labelled nuclei lie in one square of {_BLOCK_UM:g} um, "
                       "so nothing can be held out to measure with. Label nuclei elsewhere too.")  # fmt: skip
    return np.asarray(place.ravel(), np.int64)
