"""CPU seconds of a compact network per megapixel, one core, by runtime and precision; and with OpenVINO's hints.

    python -m tests.benchmarks.run_network MODEL [--rounds 12] [--tile 1024] [--hints]

Runtimes have their turn in every round, because the machine's speed changes by the second; figures are the least of all
rounds, and medians beside them. Maps of PyTorch in float32 are what differences are told against.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from wsiparse.recognize.arithmetic import arithmetic_of, bf16_units
from wsiparse.recognize.embedded.classes import batch_maps
from wsiparse.recognize.embedded.compact import CompactNetwork, load_compact
from wsiparse.recognize.embedded.loading import network_for
from wsiparse.recognize.embedded.openvino import OpenVinoMaps
from wsiparse.slides.synthetic import paint_he

HINTS = ("LATENCY", "THROUGHPUT")


class Hinted(OpenVinoMaps):
    """By OpenVINO, told what matters."""

    def __init__(self, network: CompactNetwork, precision: str, hint: str) -> None:
        super().__init__(network, precision)
        self._settings["PERFORMANCE_HINT"] = hint


def networks(content: bytes, *, hints: bool) -> dict[str, CompactNetwork | OpenVinoMaps]:
    """The network by every runtime and precision of this machine."""
    precisions = ("float32", "bf16") if bf16_units() else ("float32",)
    made: dict[str, CompactNetwork | OpenVinoMaps] = {}
    for runtime in ("torch", "openvino"):
        for precision in precisions:
            found = arithmetic_of("cpu", precision, runtime).runtime
            made[f"{runtime} {precision}"] = network_for(load_compact(content), "cpu", precision, found)
    if hints:
        for hint in HINTS:
            made |= {f"openvino {p}, {hint.lower()}": Hinted(load_compact(content), p, hint) for p in precisions}
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a model, or its .safetensors")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--tile", type=int, default=1024, metavar="PX")
    parser.add_argument("--hints", action="store_true", help="also with OpenVINO's hints")
    given = parser.parse_args()
    torch.set_num_threads(1)
    file = given.model if given.model.is_file() else next(given.model.glob("*.safetensors"))
    made = networks(file.read_bytes(), hints=given.hints)
    image = paint_he(given.tile, given.tile, seed=3).image[None]
    exact = batch_maps(made["torch float32"], image)
    off = {name: float(np.abs(batch_maps(network, image) - exact).max()) for name, network in made.items()}
    spent: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(given.rounds):
        for name, network in made.items():
            begin = time.process_time()
            batch_maps(network, image)
            spent[name].append((time.process_time() - begin) * 1e6 / given.tile**2)
    least = min(spent["torch float32"])
    for name, seconds in spent.items():
        print(
            f"{name:<32} {min(seconds):.3f} CPU-s/Mpx (median {np.median(seconds):.3f})  "
            f"{least / min(seconds):.2f} times as fast as torch float32  maps differ by {off[name]:.1e} at most"
        )


if __name__ == "__main__":
    main()
