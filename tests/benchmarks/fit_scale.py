"""Fit the form that tells pixel sizes (`wsiparse/recognize/embedded/scale.py`) to tiles of known scale, or measure it.

python -m tests.benchmarks.fit_scale fit ../shared/training        writes scale.json beside the network's weights
python -m tests.benchmarks.fit_scale measure ../shared/data/annotated

Tiles of `fit` are of 0.5 um per px, one in five or two of each set; those of `measure` are of the sizes named below,
each also reduced two- and fourfold. To be fitted anew when other weights ship: about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsiparse.recognize.base import Recognizer
from wsiparse.recognize.declared import ScaleGuess
from wsiparse.recognize.embedded.engine import MODEL, embedded_engine
from wsiparse.recognize.embedded.scale import SCALE_FILE, STEP, ScaleForm, _terms, measure, rows_of
from wsiparse.recognize.registry import engine_of

NET_MPP, NET_PX = 0.5, 320
#: Every n-th tile of a training set.
SETS = {"nuinsseg": 5, "tnbc": 2, "brca_m2c": 2, "nucls": 1}
#: Weight of the squares of all terms but the constant.
RIDGE = 100.0


def patches_of(image: NDArray[np.uint8], size: float) -> list[NDArray[np.uint8]]:
    """The middle of a tile as the network sees it if its pixels are of a size; nothing where that is hardly any."""
    zoom = size / NET_MPP
    if min(image.shape[:2]) * zoom < 48:
        return []
    edge = max(16, round(NET_PX / zoom))
    top, left = (max(0, (n - edge) // 2) for n in image.shape[:2])
    part = image[top : top + edge, left : left + edge]
    height, width = (max(16, round(n * zoom)) for n in part.shape[:2])
    kind = Image.Resampling.BOX if zoom < 1 else Image.Resampling.BICUBIC
    return [np.asarray(Image.fromarray(part).resize((width, height), kind))]


def nuclei() -> Recognizer:
    engine = embedded_engine()
    return engine.load(engine.resolve(engine.spec()))


def fit(folder: Path) -> None:
    recognizer, rows, ratios, used = nuclei(), [], [], 0
    sizes = [0.5 * STEP**k for k in range(-6, 7)]
    for name, every in SETS.items():
        for path in sorted((folder / name).glob("*.jpg"))[::every]:
            image = np.asarray(Image.open(path).convert("RGB"))
            found = [measure(recognizer, recognizer.info, patches_of(image, size)) for size in sizes]
            for place, row in rows_of(found).items():
                rows.append(row)
                ratios.append(math.log(0.5 / sizes[place]))
            used += 1
    numbers, wanted = np.stack(rows), np.array(ratios)
    mean, spread = numbers.mean(axis=0), numbers.std(axis=0)
    terms = _terms(numbers, mean, spread)
    penalty = np.eye(terms.shape[1]) * RIDGE
    penalty[0, 0] = 0
    form = ScaleForm(mean, spread, np.linalg.solve(terms.T @ terms + penalty, terms.T @ wanted))
    print(f"{used} tiles, {len(rows)} rows, residual {np.std(form(numbers) - wanted):.3f}")
    facts = {
        "made by": "tests/benchmarks/fit_scale.py",
        "fitted to": {"weights_sha256": embedded_engine().info(embedded_engine().spec()).weights_sha256},
        "tiles": {name: f"one in {every}" for name, every in SETS.items()},
        **{name: [float(f"{v:.6g}") for v in getattr(form, name)] for name in ("mean", "spread", "weights")},
    }
    (MODEL / SCALE_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def known_tiles(folder: Path) -> Iterator[tuple[str, NDArray[np.uint8], float]]:
    """Set, pixels and um per px of annotated tiles and of their reductions."""
    for name, mpp, reduced in (
        ("consep", 0.25, (1, 2, 4)),
        ("gbm40", 0.25, (1, 2, 4)),
        ("tcga_lgg", 0.25, (1, 2, 4)),
        ("cpm15", 0.0, (1, 2)),
        ("crchisto", 0.55, (1, 2)),
    ):
        for path in sorted((folder / name).glob("*.png")):
            if ".label." in path.name:
                continue
            image = Image.open(path).convert("RGB")
            native = mpp or (0.5 if "20x" in path.name else 0.25)
            for times in reduced:
                yield name, np.asarray(image.reduce(times) if times > 1 else image), native * times


def guesses(folder: Path, every: int = 1) -> list[tuple[str, float, ScaleGuess | None]]:
    """What is said of every n-th annotated tile, with its set and size."""
    engine, recognizer = engine_of("embedded"), nuclei()
    tiles = list(known_tiles(folder))[::every]
    return [
        (name, mpp, engine.scale_guess(recognizer, lambda size, image=image: patches_of(image, size)))
        for name, image, mpp in tiles
    ]


def within(found: Sequence[tuple[str, float, ScaleGuess | None]], factor: float) -> float:
    """Share of answers within a factor of the true size."""
    right = [abs(math.log(guess.mpp / mpp)) <= math.log(factor) for _, mpp, guess in found if guess is not None]
    return float(np.mean(right)) if right else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("fit", "measure"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.what == "fit":
        fit(given.folder)
        return
    everything = guesses(given.folder)
    sure = [one for one in everything if one[2] is not None and one[2].trust == "good"]
    rough = [one for one in everything if one[2] is not None and one[2].trust != "none"]
    for name in ("", *sorted({one[0] for one in everything})):
        parts = []
        for what, some in (("all", everything), ("good", sure), ("good or rough", rough)):
            own = [one for one in some if one[0].startswith(name)]
            shares = [100 * within(own, factor) for factor in (1.2, 1.5, 2.0)]
            parts.append(f"{what} {len(own)}: {shares[0]:.0f} / {shares[1]:.0f} / {shares[2]:.0f} %")
        print(f"{name or 'all sets':9} within 20 / 50 / 100 %: {'; '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
