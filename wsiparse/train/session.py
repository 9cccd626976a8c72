"""One training from folders of tiles to a model folder: what `wsiparse train` calls."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from wsiparse.atomic import output_errors, publish
from wsiparse.errors import OutputError
from wsiparse.machine import own_version
from wsiparse.recognize.card import CARD, FORMAT
from wsiparse.recognize.embedded.compact import PLAIN_MAPS, NetworkShape, save_compact
from wsiparse.recognize.embedded.cut import CUT
from wsiparse.train.curves import draw_curves
from wsiparse.train.data import TileSet, read_sets
from wsiparse.train.loop import Progress, read_log, train
from wsiparse.train.recipe import Recipe

__all__ = ["CARD", "train_model"]

WEIGHTS: Final = "weights.safetensors"
TRAINING: Final = "training"

MPP: Final = 0.5

#: The prompt, name in outputs and colour of each class the embedded network knows, in the order of the prompts. Yellow,
#: vermilion and sky blue are told apart by colour-blind readers (Okabe and Ito 2008) and on pink and purple tissue.
_TEXTS: Final = {
    "inflammatory": ("inflammatory cells", "#ffd60a"),
    "epithelial": ("epithelial cells", "#d55e00"),
    "connective": ("connective tissue cells", "#56b4e9"),
}

#: Colours of other classes, in order.
_FURTHER: Final = ("#009e73", "#cc79a7", "#0072b2", "#e69f00", "#f0e442")


def train_model(
    folders: Sequence[Path],
    recipe: Recipe,
    output: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
    report: Callable[[Progress], None] = lambda _: None,
) -> bool:
    """Train on folders of tiles and write a model folder, or go on where the same training was stopped.

    Parameters
    ----------
    folders : folders of annotated tiles, one for each set
    recipe : every number
    output : the model folder; made if it is not there
    device : torch device string
    threads : on the processor; another number gives sums in another order, so slightly other weights
    say : told one line of what was found, once
    report : told of progress

    Returns
    -------
    Whether anything was done: False when the folder already holds this very model

    Raises
    ------
    ConfigError
        If tiles cannot be read.
    OutputError
        If the folder cannot be written, or holds another model.
    """
    sets = read_sets(list(folders), recipe)
    recipe = _only_annotated_classes(sets, recipe, say)
    for name in sorted(set(recipe.sets) - {one.name for one in sets}):
        say(f"notice: the recipe has a set {name}, but no folder of that name was given")
    recipe = recipe.model_copy(update={"sets": {one.name: one.recipe for one in sets}})
    for one in sets:
        say(f"{one.name}: {len(one.seen)} tiles to learn from, {len(one.held_out)} held out")
    digest = digest_of(sets, recipe)
    card = output / CARD
    if card.exists():
        if _digest_in(card) == digest:
            return False
        raise OutputError(f"{output}: holds another model. Choose another folder for this one, or remove it.")
    with output_errors(output):
        (output / TRAINING).mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    network = train(sets, recipe, output / TRAINING, digest=digest, device=device, report=report)
    log = read_log(output / TRAINING)
    weights = save_compact(network)
    _write(output / WEIGHTS, weights)
    _write(output / "data.json", _json(_data_list(sets)))
    _write(output / "recipe.yaml", _yaml(recipe.model_dump(mode="json")))
    _write(output / "figures.json", _json({"steps": log, "held_out": log[-1].get("figures", {})}))
    picture = io.BytesIO()
    draw_curves(log, recipe.steps).save(picture, "PNG")
    _write(output / "curves.png", picture.getvalue())
    # the card last: a folder with a card is whole
    _write(card, _yaml(card_of(output.name, recipe, sets, weights, digest)))
    shutil.rmtree(output / TRAINING, ignore_errors=True)
    return True


def digest_of(sets: Sequence[TileSet], recipe: Recipe) -> str:
    """Of everything that shapes the weights, apart from the arithmetic of the machine."""
    facts = {
        "recipe": recipe.model_dump(mode="json"),
        "tiles": {s.name: dict(sorted(s.sha256.items())) for s in sets},
        "version": 1,
    }
    return hashlib.sha256(_json(facts)).hexdigest()


def _only_annotated_classes(sets: Sequence[TileSet], recipe: Recipe, say: Callable[[str], None]) -> Recipe:
    """The recipe without classes of which no tile shows one."""
    present = {int(c) for s in sets for t in s.seen for c in t.classes}
    for one in recipe.classes:
        if one.annotated not in present:
            say(f"notice: no nucleus of class {one.annotated} ({one.name}) is annotated, so the model will not name it")
    kept = tuple(c for c in recipe.classes if c.annotated in present)
    return recipe.model_copy(update={"classes": kept})


def _digest_in(card: Path) -> str | None:
    try:
        with output_errors(card):
            found = yaml.safe_load(card.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    training = found.get("training") if isinstance(found, dict) else None
    return training.get("digest") if isinstance(training, dict) else None


def _data_list(sets: Sequence[TileSet]) -> list[dict[str, Any]]:
    return [
        {
            "set": s.name,
            "licence": s.recipe.licence,
            "notice": s.recipe.notice,
            "tiles": len(s.seen),
            "nuclei": sum(_count(t.classes, drawn=t.labels is not None) for t in s.seen),
            "held_out": [t.name for t in s.held_out],
            "sha256": dict(sorted(s.sha256.items())),
        }
        for s in sets
    ]


def _count(classes: Any, *, drawn: bool) -> int:
    return len(classes) - int(drawn)


def card_of(name: str, recipe: Recipe, sets: Sequence[TileSet], weights: bytes, digest: str) -> dict[str, Any]:
    """The model card: what the weights answer, how they are run, what they come from."""
    shape = NetworkShape(recipe.widths, recipe.deep, len(recipe.classes))
    licences = sorted({s.recipe.licence for s in sets})
    return {
        "format": FORMAT,
        "name": name,
        "title": f"{name}, trained with wsiparse {own_version()}",
        "licence": ", ".join(licences),
        "source": "wsiparse train",
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(weights).hexdigest()},
        "input": {
            "mpp": MPP,
            "tile_px": 1024,
            "output_px": 1024,
            "multiple_of": shape.stride_px,
            "halo_px": shape.reach_px,
            "channels": "RGB",
            "layout": "NCHW",
            "normalise": {"kind": "mean-std", "mean": [127.5] * 3, "std": [127.5] * 3},
        },
        "output": {
            "kind": "nuclei",
            "activation": "sigmoid",
            "foreground": 0,
            "centre": 1,
            "boundary": 2,
            "classes": {PLAIN_MAPS + k: c.name for k, c in enumerate(recipe.classes)},
            "cut": CUT.foreground,
            "min_foreground": CUT.min_foreground,
            "least_share": CUT.least_share,
        },
        "split": {
            "smoothing_um": CUT.sigma_px * MPP,
            "persistence": CUT.persistence,
            "min_area_um2": CUT.min_area_px * MPP * MPP,
            "centre_share": CUT.centre_share,
            "boundary_share": CUT.boundary_share,
        },
        "prompts": _prompts(recipe),
        "training": {
            "digest": digest,
            "steps": recipe.steps,
            "sets": {s.name: {"licence": s.recipe.licence, "notice": s.recipe.notice} for s in sets},
        },
    }


def _prompts(recipe: Recipe) -> list[dict[str, str]]:
    """A prompt with a colour of its own for each class, those that the embedded network knows first."""
    names = sorted(
        (c.name for c in recipe.classes), key=lambda name: list(_TEXTS).index(name) if name in _TEXTS else 99
    )
    further = itertools.cycle(_FURTHER)
    known = {name: _TEXTS[name] if name in _TEXTS else (f"{name} cells", next(further)) for name in names}
    return [{"class": n, "text": text, "kind": "cell", "colour": colour} for n, (text, colour) in known.items()]


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _yaml(value: Any) -> bytes:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return text.encode()


def _write(path: Path, content: bytes) -> None:
    with publish(path) as part, output_errors(path):
        part.write_bytes(content)
