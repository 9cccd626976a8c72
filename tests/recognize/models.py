"""Model folders for tests: a tiny network with random or given weights, and its card."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
import yaml

from wsiparse.recognize.embedded.compact import CompactNetwork, NetworkShape, save_compact

CLASSES = {
    "inflammatory": "inflammatory cells",
    "epithelial": "epithelial cells",
    "connective": "connective tissue cells",
}
COLOURS = ("#ffd60a", "#d55e00", "#56b4e9")


def random_network(classes: int = 3, seed: int = 5, *, norm: bool = False) -> CompactNetwork:
    """A tiny network whose maps are far from 0.5, so that there are nuclei and background."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = CompactNetwork(NetworkShape((8, 8, 8, 8), 1, classes), norm=norm)
    with torch.no_grad():
        # the four pixels of a cell alike, so that nuclei are more than single pixels; every map around 0, far from it
        weight, bias = made.head.weight.view(-1, 4, 8), made.head.bias.view(-1, 4)
        weight[:], bias[:] = weight[:, :1].clone(), bias[:, :1].clone()
        if made.coarse_head is not None:
            made.coarse_head.weight *= 0
            made.coarse_head.bias *= 0
        coarse = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(1)) * 2 - 1
        maps = made.eval()(torch.nn.functional.interpolate(coarse, scale_factor=8.0))[0]
        nuclei = maps[:, maps[0] > maps[0].mean()]  # where classes matter
        middle = torch.cat([maps[:3].mean((1, 2)), nuclei[3:].mean(1)])
        spread = torch.cat([3 / maps[:3].std((1, 2)), 1 / nuclei[3:].std(1)])
        bias[:] = (bias - middle[:, None]) * spread[:, None]
        weight *= spread[:, None, None]
    return made.requires_grad_(requires_grad=False).eval()


def card_facts(content: bytes, /, **change: Any) -> dict[str, Any]:
    """A card as YAML has it."""
    return {
        "format": "wsiparse-model/1",
        "name": "tiny",
        "title": "a tiny network, not BiomedParse",
        "licence": "CC0-1.0",
        "source": "these tests",
        "weights": {"file": "weights.safetensors", "sha256": hashlib.sha256(content).hexdigest()},
        "input": {"mpp": 0.5, "tile_px": 256, "output_px": 256, "multiple_of": 16, "halo_px": 80},
        "output": {
            "kind": "nuclei",
            "activation": "sigmoid",
            "classes": {3 + k: name for k, name in enumerate(CLASSES)},
            "cut": 0.5,
            "least_share": 0.4,
        },
        "split": {"smoothing_um": 0.5, "persistence": 7, "min_area_um2": 2, "centre_share": 0.7},
        "prompts": [
            {"class": name, "text": text, "kind": "cell", "colour": colour}
            for (name, text), colour in zip(CLASSES.items(), COLOURS, strict=True)
        ],
    } | change


def write_model(folder: Path, network: CompactNetwork | None = None, **change: Any) -> Path:
    """A model folder; `change` replaces keys of its card."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = save_compact(network or random_network())
    (folder / "weights.safetensors").write_bytes(weights)
    text = yaml.safe_dump(card_facts(weights, **change), sort_keys=False)
    (folder / "model.yaml").write_text(text, encoding="utf-8")
    return folder
