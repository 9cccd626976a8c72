"""Model folders with ONNX and TorchScript files for tests: exported networks, and their cards."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml

__all__ = ["OWN_INPUT", "card_of", "onnx_bytes", "script_bytes", "write_exported"]

#: How our own networks see pixels, in a card's words.
OWN_INPUT = {"kind": "mean-std", "mean": [127.5] * 3, "std": [127.5] * 3}


def script_bytes(network: torch.nn.Module, example: torch.Tensor | None = None) -> bytes:
    """A TorchScript file: traced where an example is given, compiled from the source without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(network.eval()) if example is None else torch.jit.trace(network.eval(), example)
        file = io.BytesIO()
        torch.jit.save(made, file)
    return file.getvalue()


def onnx_bytes(network: torch.nn.Module, example: torch.Tensor, outputs: int = 1, *, fixed: bool = False) -> bytes:
    """An ONNX file that takes pictures of every height and width, or of the example's only."""
    names = [f"y{k}" for k in range(outputs)]
    sides = {} if fixed else {name: {2: "h", 3: "w"} for name in ["x", *names]}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), (example,), file, dynamo=False, input_names=["x"], output_names=names, dynamic_axes=sides
        )
    return file.getvalue()


def card_of(content: bytes, file: str, /, **change: Any) -> dict[str, Any]:
    """A card as YAML has it; keys of sections are added to, others replaced."""
    facts: dict[str, Any] = {
        "format": "wsiparse-model/1",
        "name": "exported",
        "title": "an exported network",
        "licence": "MIT",
        "source": "these tests",
        "weights": {"file": file, "sha256": hashlib.sha256(content).hexdigest()},
        "input": {"mpp": 0.5, "tile_px": 256, "multiple_of": 16, "halo_px": 64, "normalise": {"kind": "scale",
                                                                                              "divide": 255}},
        "output": {"kind": "nuclei", "activation": "none", "foreground": 0},
    }  # fmt: skip
    for key, value in change.items():
        facts[key] = facts[key] | value if isinstance(facts.get(key), dict) and isinstance(value, dict) else value
    return facts


def write_exported(folder: Path, content: bytes, file: str, /, **change: Any) -> Path:
    """A model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content)
    (folder / "model.yaml").write_text(yaml.safe_dump(card_of(content, file, **change), sort_keys=False), "utf-8")
    return folder
