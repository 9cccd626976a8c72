"""The training: steps, held-out figures, checkpoints; an undisturbed run and a resumed one give the same weights.

Everything of a step follows from the recipe, the tiles, the state of the last step and the seed; no generator lives
longer than a step. A checkpoint is one safetensors file, replaced atomically.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wsiparse.atomic import publish
from wsiparse.errors import OutputError
from wsiparse.recognize.embedded.compact import CompactNetwork, NetworkShape
from wsiparse.train.answers import maps_of
from wsiparse.train.batches import batch_of
from wsiparse.train.data import Tile, TileSet
from wsiparse.train.figures import measure_set
from wsiparse.train.loss import losses_of
from wsiparse.train.outline import outlines_of_points
from wsiparse.train.recipe import Recipe, SetRecipe
from wsiparse.train.targets import Annotation, planes_of_labels, planes_of_points

__all__ = ["Progress", "read_log", "train"]

CHECKPOINT: Final = "checkpoint.safetensors"

_LOG_EVERY: Final = 20

#: How far a region without a point is believed to be background where every nucleus has its point.
_POINTLESS: Final = 0.75


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known after a step.

    Parameters
    ----------
    step, steps : done, of all
    losses : means since the last one, by name
    figures : held-out figures by set, where they were taken at this step
    seconds : since training began or went on
    """

    step: int
    steps: int
    losses: dict[str, float]
    figures: dict[str, dict[str, float]] | None
    seconds: float


@dataclass(slots=True)
class _State:
    """All that one step hands to the next."""

    network: CompactNetwork
    average: CompactNetwork
    optimiser: torch.optim.AdamW
    step: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0


def rate_at(step: int, recipe: Recipe) -> float:
    """Learning rate of a step: a straight rise, then half a cosine down to a hundredth."""
    if step < recipe.warm_up:
        return recipe.rate * (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def _new_state(recipe: Recipe, device: str) -> _State:
    shape = NetworkShape(recipe.widths, recipe.deep, len(recipe.classes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = CompactNetwork(shape, norm=True)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    average = CompactNetwork(shape, norm=True)
    average.load_state_dict(network.state_dict())
    for one in (network, average):
        one.to(device=device)
        one.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average.requires_grad_(requires_grad=False).eval()
    plain = [p for p in network.parameters() if p.ndim == 1]
    decayed = [p for p in network.parameters() if p.ndim > 1]
    groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": plain, "weight_decay": 0.0}]
    return _State(network, average, torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.99)))


def _save(state: _State, path: Path, digest: str) -> None:
    tensors = {f"network.{k}": v for k, v in state.network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in state.average.state_dict().items()}
    for number, slot in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{k}": v for k, v in slot.items()}
    course = {"step": state.step, "log": state.log, "sums": state.sums, "summed": state.summed}
    _write_tensors(path, tensors, {"digest": digest, "course": json.dumps(course)})


def _write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, str] | None = None) -> None:
    with publish(path) as part:
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, part, facts)


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot go on from this checkpoint ({error}). Remove {path.parent}.") from error


def _load(state: _State, path: Path, digest: str) -> None:
    """Make the state the one that the checkpoint was saved from."""
    tensors, facts = _read_tensors(path)
    if facts.get("digest") != digest:
        raise OutputError(
            f"{path.parent}: a stopped training of other tiles or by another recipe. "
            "Choose another folder for this one, or remove that."
        )

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    state.network.load_state_dict(part("network."))
    state.average.load_state_dict(part("average."))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part("optimiser.").items():
        number, key = name.split(".")
        slots.setdefault(int(number), {})[key] = tensor
    whole = state.optimiser.state_dict()
    state.optimiser.load_state_dict({"state": slots, "param_groups": whole["param_groups"]})
    course = json.loads(facts["course"])
    state.step, state.log, state.sums, state.summed = (course[k] for k in ("step", "log", "sums", "summed"))


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The entries of a training's log: `step`, `losses` and, where they were taken, `figures`."""
    log: list[dict[str, Any]] = json.loads(_read_tensors(folder / CHECKPOINT)[1]["course"])["log"]
    return log


def _class_index(tile: Tile, recipe: Recipe) -> NDArray[np.int64]:
    """Class plane (1.., 0 none) of each instance or point."""
    index = np.zeros(len(tile.classes), np.int64)
    for k, one in enumerate(recipe.classes):
        index[tile.classes == one.annotated] = k + 1
    return index


def _first_planes(tile: Tile, chosen: SetRecipe, recipe: Recipe) -> Tensor:
    classes, index = len(recipe.classes), _class_index(tile, recipe)
    if tile.points is not None:
        planes = planes_of_points(tile.rgb, tile.points, index, classes, partial=chosen.partial)
    else:
        assert tile.labels is not None
        annotation = Annotation(tile.labels, index, chosen.partial, shape_weight=chosen.shape_weight)
        planes = planes_of_labels(tile.rgb, annotation, classes)
    return torch.from_numpy(planes)


def _outlined_planes(tile: Tile, chosen: SetRecipe, recipe: Recipe, network: CompactNetwork) -> Tensor:
    """Planes of a tile with points, with outlines of the network as far as it has come."""
    assert tile.points is not None
    labels, drawn, pointless, unknown = outlines_of_points(maps_of(network, tile.rgb), tile.points)
    index = np.concatenate([[0], _class_index(tile, recipe)])
    rough = np.concatenate([[False], ~drawn])
    trust = np.where(pointless, 0.0 if chosen.partial else _POINTLESS, 1.0)
    trust[unknown] = 0
    annotation = Annotation(labels, index, chosen.partial, rough, trust, chosen.shape_weight)
    return torch.from_numpy(planes_of_labels(tile.rgb, annotation, len(recipe.classes)))


def train(
    sets: Sequence[TileSet],
    recipe: Recipe,
    folder: Path,
    *,
    digest: str,
    device: str = "cpu",
    report: Callable[[Progress], None] = lambda _: None,
) -> CompactNetwork:
    """Train a network, or go on where a stopped training left off.

    Parameters
    ----------
    sets : tiles, divided into seen and held out
    recipe : every number
    folder : folder of the checkpoint, and of the weights that outlined points
    digest : digest of recipe and tiles
    device : torch device string
    report : called every 20 steps, and whenever figures were taken

    Returns
    -------
    The averaged network, in eval mode, with BatchNorm

    Raises
    ------
    OutputError
        If the folder cannot be written, or its checkpoint is damaged or of another training.
    """
    state = _new_state(recipe, device)
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists():
        _load(state, checkpoint, digest)
    planes = [[_first_planes(tile, chosen.recipe, recipe) for tile in chosen.seen] for chosen in sets]
    outlined_at = sorted({int(share * recipe.steps) for share in recipe.outline_points_at})
    past = [step for step in outlined_at if step < state.step]
    if past:
        _use_outlines(planes, sets, recipe, _outliner(state, folder, past[-1]))
    begin = time.monotonic()
    while state.step < recipe.steps:
        if state.step in outlined_at:
            # a resumed training must find the same outlines, so the weights that draw them are kept
            _write_tensors(_outline_file(folder, state.step), state.average.state_dict())
            _use_outlines(planes, sets, recipe, _outliner(state, folder, state.step))
        pairs = [(s.recipe, p) for s, p in zip(sets, planes, strict=True)]
        for name, value in _one_step(state, recipe, pairs, device).items():
            state.sums[name] = state.sums.get(name, 0.0) + value
        state.summed += 1
        progress = _measured(state, sets, recipe, begin)
        if progress is not None:
            report(progress)
        if state.step % recipe.save_every == 0 or state.step == recipe.steps:
            _save(state, checkpoint, digest)
    return state.average


def _measured(state: _State, sets: Sequence[TileSet], recipe: Recipe, begin: float) -> Progress | None:
    """An entry of the log, where this step makes one."""
    last = state.step == recipe.steps
    figures = None
    if state.step % recipe.measure_every == 0 or last:
        figures = dict(_figures(state.average, sets, recipe))
    if state.step % _LOG_EVERY and not figures and not last:
        return None
    means = {k: v / state.summed for k, v in state.sums.items()}
    state.sums, state.summed = {}, 0
    state.log.append({"step": state.step, "losses": means, **({"figures": figures} if figures else {})})
    return Progress(state.step, recipe.steps, means, figures, time.monotonic() - begin)


def _one_step(
    state: _State, recipe: Recipe, pairs: Sequence[tuple[SetRecipe, Sequence[Tensor]]], device: str
) -> dict[str, float]:
    images, targets = batch_of(state.step, recipe, pairs, device)
    for group in state.optimiser.param_groups:
        group["lr"] = rate_at(state.step, recipe)
    state.network.train()
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        logits = state.network(images.contiguous(memory_format=torch.channels_last))
    losses = losses_of(logits.float(), targets)
    total = losses.total()
    state.optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimiser.step()
    state.step += 1
    kept = min(recipe.average, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for mean, now in zip(state.average.state_dict().values(), state.network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - kept)
            else:
                mean.copy_(now)
    return {
        "total": float(total.detach()),
        **{k: float(getattr(losses, k).detach()) for k in ("foreground", "overlap", "centre", "boundary", "classes")},
    }


def _figures(
    network: CompactNetwork, sets: Sequence[TileSet], recipe: Recipe
) -> Iterator[tuple[str, dict[str, float]]]:
    for one in sets:
        if one.held_out:
            yield one.name, measure_set(network, one.held_out, recipe, partial=one.recipe.partial).as_numbers()


def _outline_file(folder: Path, step: int) -> Path:
    return folder / f"outliner_{step}.safetensors"


def _outliner(state: _State, folder: Path, step: int) -> CompactNetwork:
    network = CompactNetwork(state.network.shape, norm=True)
    network.load_state_dict(_read_tensors(_outline_file(folder, step))[0])
    network.to(state.network.head.weight.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.requires_grad_(requires_grad=False).eval()


def _use_outlines(planes: list[list[Tensor]], sets: Sequence[TileSet], recipe: Recipe, network: CompactNetwork) -> None:
    for number, chosen in enumerate(sets):
        for rank, tile in enumerate(chosen.seen):
            if tile.points is not None:
                planes[number][rank] = _outlined_planes(tile, chosen.recipe, recipe, network)
