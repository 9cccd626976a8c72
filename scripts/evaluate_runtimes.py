#!/usr/bin/env python3
"""Whether a model finds the same by every runtime and precision of this machine: F1 on annotated tiles, side by side.

    python scripts/evaluate_runtimes.py ROOT --engine MODEL [--sets NAME ...] [--tiles N] [--bound .003]

ROOT is as of scripts/evaluate_embedded.py, whose road and figures these are. For every data set a line for each runtime
and precision: F1 of nuclei, IoU > 0.5 F1, F1 of each class, and what they differ by from PyTorch in float32. The last
lines tell the largest difference of each; exit code 1 where one is above the bound.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from evaluate_embedded import Score, evaluate_tile, images_of, settings, warm_up

from wsiparse.config import RunConfig
from wsiparse.errors import WsiparseError
from wsiparse.recognize.arithmetic import arithmetic_of, bf16_units, openvino_version

EXACT = ("torch", "float32")


def kinds() -> list[tuple[str, str]]:
    """Runtimes and precisions of this machine, the one that others are held against first."""
    precisions = ("float32", "bf16") if bf16_units() else ("float32",)
    runtimes = ("torch", "openvino") if openvino_version() else ("torch",)
    return sorted(((r, p) for r in runtimes for p in precisions), key=lambda kind: kind != EXACT)


def figures(score: Score) -> dict[str, float]:
    """What is compared."""
    found = {"F1": score.nuclei.f1} | ({"IoU>0.5 F1": score.nuclei.overlap_f1} if score.outlined else {})
    return found | {f"{word} F1": agreement.f1 for word, agreement in score.classes.items() if agreement.truth}


def evaluated(images: list[Path], config: RunConfig) -> Score:
    """The score of all images together."""
    scores = [evaluate_tile(path, config) for path in images]
    return sum(scores[1:], scores[0])


def main() -> int:
    """Print the lines; 1 when a figure differs by more than the bound, or nothing could be evaluated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with one folder per data set, or one such folder")
    parser.add_argument("--engine", required=True, help="folder of a model")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="only these folders")
    parser.add_argument("--tiles", type=int, metavar="N", help="only the first N images of each set, by name")
    parser.add_argument("--images", nargs="+", metavar="NAME", help="only the images of these names")
    parser.add_argument("--bound", type=float, default=0.003, help="largest difference of an F1 that is none")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.root.is_dir():
        print(f"{given.root}: no such folder. Give the folder of annotated data sets.", file=sys.stderr)
        return 1
    folders = [given.root] if images_of(given.root) else sorted(p for p in given.root.iterdir() if p.is_dir())
    worst: dict[str, tuple[float, str]] = {}
    try:
        for folder in (p for p in folders if not given.sets or p.name in given.sets):
            images = [i for i in images_of(folder) if not given.images or i.stem in given.images][: given.tiles]
            exact: dict[str, float] = {}
            for runtime, precision in kinds() if images else []:
                config = settings().model_copy(
                    update={"engine": given.engine, "precision": precision, "runtime": runtime, "prompts": ()}
                )
                warm_up(config)
                score = evaluated(images, config)
                found = figures(score)
                exact = exact or found
                told = "  ".join(f"{name} {value:.4f} ({value - exact[name]:+.4f})" for name, value in found.items())
                kind = f"{arithmetic_of('cpu', precision, runtime).runtime} {precision}"
                print(f"{folder.name:<15} {kind:<24} {told}  CPU-s/Mpx {score.cpu_s / score.tile_mpx:.3f}", flush=True)
                off = max((abs(value - exact[name]), f"{folder.name}, {name}") for name, value in found.items())
                worst[kind] = max(worst.get(kind, (0.0, "")), off)
    except (WsiparseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if not worst:
        print(f"{given.root}: no data set with annotated images found.", file=sys.stderr)
        return 1
    for kind, (value, where) in worst.items():
        print(f"largest difference of {kind}: {value:.4f} ({where})")
    return int(max(value for value, _ in worst.values()) > given.bound)


if __name__ == "__main__":
    raise SystemExit(main())
