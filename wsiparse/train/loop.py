"""The training: steps, held-out figures, checkpoints; an undisturbed run and a resumed one give the same weights.

Everything of a step follows from the recipe, the tiles, the state of the last step and the seed; no generator lives
longer than a step. A checkpoint is one safetensors file, replaced atomically.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from wsiparse.recognize.embedded.compact import CompactNetwork, NetworkShape
from wsiparse.train.answers import maps_of
from wsiparse.train.batches import batch_of
from wsiparse.train.data import Tile, TileSet
from wsiparse.train.figures import measure_set
from wsiparse.train.loss import losses_of
from wsiparse.train.outline import outlines_of_points
from wsiparse.train.recipe import Recipe
from wsiparse.train.targets import Annotation, planes_of_labels, planes_of_points

__all__ = ["Progress", "train"]

CHECKPOINT: Final = "checkpoint.safetensors"
LOG: Final = "log.jsonl"


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
    part = path.with_suffix(".part")
    save_file(
        {k: v.contiguous().cpu() for k, v in tensors.items()},
        part,
        {"step": str(state.step), "digest": digest, "log": json.dumps(state.log)},
    )
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(path)


def _load(state: _State, path: Path, digest: str) -> bool:
    """Whether the checkpoint is of this training; the state then is the one it was saved from."""
    with safe_open(path, "pt") as file:
        facts = file.metadata()
        if facts.get("digest") != digest:
            return False
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping

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
    state.step, state.log = int(facts["step"]), json.loads(facts["log"])
    return True


def _class_index(tile: Tile, recipe: Recipe) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Class plane (1.., 0 none) of each instance or point."""
    index = np.zeros(len(tile.classes), np.int64)
    for k, one in enumerate(recipe.classes):
        index[tile.classes == one.annotated] = k + 1
    return index


def _first_planes(tile: Tile, chosen: TileSet, recipe: Recipe) -> Tensor:
    classes, index = len(recipe.classes), _class_index(tile, recipe)
    if tile.labels is not None:
        annotation = Annotation(
            tile.labels, index, chosen.recipe.partial, None, chosen.recipe.shape_weight
        )
        return torch.from_numpy(planes_of_labels(tile.rgb, annotation, classes))
    assert tile.points is not None
    return torch.from_numpy(
        planes_of_points(tile.rgb, tile.points, index, classes, partial=chosen.recipe.partial)
    )


def _outlined_planes(tile: Tile, chosen: TileSet, recipe: Recipe, network: CompactNetwork) -> Tensor:
    """Planes of a tile with points, with outlines of the network as far as it has come."""
    assert tile.points is not None
    labels, _, unknown = outlines_of_points(maps_of(network, tile.rgb), tile.points)
    index = np.concatenate([[0], _class_index(tile, recipe)])
    annotation = Annotation(labels, index, chosen.recipe.partial, unknown, chosen.recipe.shape_weight)
    return torch.from_numpy(planes_of_labels(tile.rgb, annotation, len(recipe.classes)))


def _refresh_steps(recipe: Recipe) -> list[int]:
    return sorted({int(share * recipe.steps) for share in recipe.outline_points_at})


def train(
    sets: Sequence[TileSet],
    recipe: Recipe,
    folder: Path,
    *,
    digest: str,
    device: str = "cpu",
    report: Callable[[Progress], None] = lambda _: None,
    stop_at: int | None = None,
) -> CompactNetwork:
    """Train a network, or go on where a stopped training left off.

    Parameters
    ----------
    sets : tiles, divided into seen and held out
    recipe : every number
    folder : of checkpoint and log
    digest : of recipe and tiles; a checkpoint of another one is not used
    device : torch device string
    report : called now and then
    stop_at : stop after this step with a checkpoint, as a kill would (for tests)

    Returns
    -------
    The averaged network, in eval mode, with BatchNorm
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = _new_state(recipe, device)
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists():
        _load(state, checkpoint, digest)
    planes = [[_first_planes(tile, chosen, recipe) for tile in chosen.seen] for chosen in sets]
    refreshes = _refresh_steps(recipe)
    past = [s for s in refreshes if s < state.step]
    if past:
        _use_outlines(planes, sets, recipe, _outliner(state, folder, past[-1]))
    begin, sums, count = time.monotonic(), {}, 0
    for step in range(state.step, min(recipe.steps, stop_at or recipe.steps)):
        if step in refreshes:
            _keep_outliner(state, folder, step)
            _use_outlines(planes, sets, recipe, _outliner(state, folder, step))
        pairs = [(s.recipe, p) for s, p in zip(sets, planes, strict=True)]
        losses = _one_step(state, recipe, pairs, device)
        sums = {k: sums.get(k, 0.0) + v for k, v in losses.items()}
        count += 1
        last = state.step == recipe.steps
        figures = None
        if state.step % recipe.measure_every == 0 or last:
            figures = dict(_figures(state.average, sets, recipe))
        if state.step % 20 == 0 or last or figures:
            means = {k: v / count for k, v in sums.items()}
            state.log.append({"step": state.step, "losses": means, **({"figures": figures} if figures else {})})
            report(Progress(state.step, recipe.steps, means, figures, time.monotonic() - begin))
            sums, count = {}, 0
        if state.step % recipe.save_every == 0 or last or state.step == stop_at:
            _save(state, checkpoint, digest)
    return state.average


def _one_step(
    state: _State, recipe: Recipe, pairs: Sequence[tuple[Any, Sequence[Tensor]]], device: str
) -> dict[str, float]:
    images, targets = batch_of(state.step, recipe, pairs, device)
    for group in state.optimiser.param_groups:
        group["lr"] = rate_at(state.step, recipe)
    state.network.train()
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=recipe.precision == "bf16"):
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
        for mean, now in zip(
            state.average.state_dict().values(), state.network.state_dict().values(), strict=True
        ):
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


def _keep_outliner(state: _State, folder: Path, step: int) -> None:
    """Keep the weights that outline points from this step on: a resumed training must find the same outlines."""
    path = _outline_file(folder, step)
    part = path.with_suffix(".part")
    save_file({k: v.contiguous().cpu() for k, v in state.average.state_dict().items()}, part)
    part.replace(path)


def _outliner(state: _State, folder: Path, step: int) -> CompactNetwork:
    network = CompactNetwork(state.network.shape, norm=True)
    with safe_open(_outline_file(folder, step), "pt") as file:
        network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    network.to(state.network.head.weight.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.requires_grad_(requires_grad=False).eval()


def _use_outlines(
    planes: list[list[Tensor]], sets: Sequence[TileSet], recipe: Recipe, network: CompactNetwork
) -> None:
    for number, chosen in enumerate(sets):
        for rank, tile in enumerate(chosen.seen):
            if tile.points is not None:
                planes[number][rank] = _outlined_planes(tile, chosen, recipe, network)
