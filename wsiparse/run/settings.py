"""The settings of a slide's results in people's words: kept in DONE.json, and compared when the slide is run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from wsiparse.config import RunConfig
from wsiparse.recognize.registry import engine_of
from wsiparse.results.folder import JOB_FILE
from wsiparse.run.plan import Prepared
from wsiparse.slides import Slide

__all__ = ["FOUND", "chosen_here", "differences", "job_config", "other_arithmetic", "settings_of", "told"]

#: Settings that come from the slide itself, not from whoever runs it.
FOUND: Final = ("slide content", "tissue", "stain")

#: Settings that "auto" stands for: another machine may choose another value, for the same command.
_AUTO: Final = ("device", "precision", "runtime")

#: Settings of where the work is done.
_WHERE: Final = ("num_workers", "scheduler", "slurm", "batch_size", "block_size")

#: Setting -> what differs because it does, and is no news then.
_FOLLOW: Final[Mapping[str, frozenset[str]]] = {
    "engine": frozenset(
        {"weights", "model card", "runtime", "precision", "tile size", "overlap", "mode", "min area um2", "stain"}
    ),
    "prompts": frozenset({"classes"}),
    "image": frozenset({"slide content", "slide mpp", "mpp", "tissue", "stain"}),
    "slide content": frozenset({"tissue", "stain"}),
    "slide mpp": frozenset({"tissue", "stain"}),
}

_LONGEST: Final = 60


def settings_of(prepared: Prepared, slide: Slide, config: RunConfig) -> dict[str, Any]:
    """What shapes a slide's results, by names that people know; JSON values.

    Whether two runs have the same results is said by `Prepared.digest` alone; this tells in words why they have not.
    """
    passes = prepared.passes
    spec, plan = passes[0].scale.spec, passes[0].plan
    drawn = prepared.ground.tissue
    regions = [(region.class_name, region.geometry.wkb_hex) for region in prepared.ground.regions]
    return {
        "engine": prepared.title,
        "weights": passes[0].scale.info.weights_sha256[:12] or None,
        "model card": passes[0].scale.info.card_sha256[:12] or None,
        "prompts": [prompt.text for prompt in prepared.prompts],
        "classes": [[p.class_name, p.kind, p.colour, p.threshold] for p in prepared.prompts],
        "mpp": [round(p.plan.frame.mean_mpp, 6) for p in passes],
        "tile size": [p.plan.grid.tile for p in passes],
        "overlap": [2 * p.plan.grid.halo for p in passes],
        **{name: value for name, value in spec.options if name not in engine_of(spec.engine).idle_options},
        "device": spec.device,
        "precision": spec.precision,
        "runtime": spec.runtime or None,
        "min area um2": [p.scale.info.split.min_area_um2 for p in passes],
        "min recognition": config.min_recognition,
        "regions": f"{len(regions)} ({_short(repr(regions).encode())})" if regions else None,
        "whole slide": config.whole_slide,
        "artefacts": dict(config.artefact_use),
        "image": slide.image,
        "slide mpp": [round(value, 6) for value in plan.slide_mpp],
        "reader": slide.reader,
        "coords": config.coords,
        "labels": config.ngff if config.labels else None,
        "compartments": config.compartments,
        "tumour classes": list(config.tumour_classes),
        "stroma classes": list(config.stroma_classes),
        "tumour is epithelium": config.tumour_is_epithelium,
        "slide content": plan.fingerprint,
        "drawn tissue": drawn.file[1][:12] if drawn is not None else None,
        "tissue": _short(plan.area.shares.tobytes()),
        "stain": _short(repr([p.scale.spec.calibration for p in passes]).encode()),
    }


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the settings that differ, those people set first, without those that follow from another one."""
    names = [name for name in now if there.get(name) != now[name]]
    for cause, effects in _FOLLOW.items():
        if cause in names:
            names = [name for name in names if name not in effects]
    return names


def chosen_here(names: list[str], config: RunConfig) -> bool:
    """Whether settings differ only in what this machine takes for "auto"."""
    return bool(names) and all(name in _AUTO and getattr(config, name) == "auto" for name in names)


def told(there: Mapping[str, Any], now: Mapping[str, Any], names: list[str]) -> str:
    """What differs, in a line: ``prompts nuclei there, inflammatory cells now; mpp 0.5 there, 0.25 now``."""
    if not names:
        return "a detail that another version decides in another way"
    words = []
    for name in names:
        old, new = _words(there.get(name)), _words(now[name])
        if name == "slide content":
            words.append("the slide's file was changed since")
        elif name in FOUND or old == new:
            words.append(f"another {name}")
        else:
            words.append(f"{name} {old} there, {new} now")
    return "; ".join(words)


def _words(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        text = ", ".join(dict.fromkeys(_words(item) for item in value))
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def job_config(prepared: Prepared, config: RunConfig) -> dict[str, Any]:
    """The settings of a run with what "auto" stands for here; another machine may stand for something else."""
    spec = prepared.passes[0].scale.spec
    resolved = {"engine": spec.engine, "weights": spec.weights or None, **{name: getattr(spec, name) for name in _AUTO}}
    return config.model_dump(mode="json") | resolved


def other_arithmetic(folder: Path, now: Mapping[str, Any]) -> Iterator[str]:
    """A line for each unfinished run of a slide that differs only in what computes the network.

    Parameters
    ----------
    folder : of the slide's results
    now : of `job_config`
    """
    for job_file in sorted(folder.glob(f"work-*/{JOB_FILE}")):
        try:
            there = json.loads(job_file.read_text(encoding="utf-8"))["config"]
            names = [name for name in _AUTO if there.get(name) != now[name]]
            same = all(there.get(name) == now[name] for name in now if name not in {*_AUTO, *_WHERE})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # a damaged one is none
        if names and same:
            yield (
                f"{folder}: an unfinished run is not gone on from: {told(there, now, names)}. Numbers may differ in "
                "the last bits, and parts of different arithmetic do not mix: its tiles are computed again. Array "
                "tasks of one slide need the same --runtime, --precision and --device to be merged."
            )
