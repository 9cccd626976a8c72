#!/usr/bin/env python3
"""What of painted artefacts is found, and how much clean tissue is lost to artefacts that are none.

    python scripts/evaluate_artefacts.py [--slides SLIDE ...] [--slide-mpp UM] [--tiles ROOT] [--every N] [--counts]

ROOT holds data sets as for `evaluate_embedded.py`; they need no annotation. Truth is painted over real slides, at their
own pixels, and judged on their tissue, where the tissue step finds it on the slide as it was.

ink       a stroke in six colours, 30 and 120 um wide: recall and precision per pixel of 2 um
focus     a disk under a Gaussian of so many um, noise of one grey level after it: the same; "whole" is the share of
          the tissue that is called out of focus when all of the slide is
clean     share of the tissue that is lost where nothing was painted: of a slide, or of a set and its worst tiles
counts    cells per mm2 that a run counts on the painted slide over those on the slide as it was, in the same area
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from evaluate_embedded import FIELD_MPP, scale_of
from evaluate_failures import PENS
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsiparse.config import RunConfig
from wsiparse.coords import Frame
from wsiparse.errors import WsiparseError
from wsiparse.run.artefacts import artefacts_of
from wsiparse.run.pipeline import analyse
from wsiparse.run.plan import OVERVIEW_MPP
from wsiparse.slides import open_slide, survey
from wsiparse.slides.memory import MemorySlide
from wsiparse.tiling import background_colour, find_tissue
from wsiparse.types import Box

WIDTHS_UM = (30.0, 120.0)
SIGMAS_UM = (0.5, 1.0, 1.5, 2.0, 3.0, 6.0, 12.0)
KINDS = ("ink", "out_of_focus")

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Subject:
    """A picture, its pixels' size in um, and where its tissue is, per pixel of 2 um."""

    name: str
    rgb: Picture
    mpp: float
    tissue: Mask


def tissue_of(rgb: Picture, mpp: float) -> Mask:
    """Tissue of a picture as the tissue step finds it, all of it where there is no glass to tell it from."""
    seen = survey(MemorySlide(rgb, mpp), OVERVIEW_MPP)
    mask = find_tissue(seen.picture, seen.frame.mean_mpp).mask
    height, width = (max(1, int(n * mpp / 2)) for n in rgb.shape[:2])
    y, x = (np.minimum((np.arange(n) + 0.5) * 2 / m, s - 1).astype(int) for n, m, s in (
        (height, seen.frame.mpp[1], mask.shape[0]), (width, seen.frame.mpp[0], mask.shape[1])
    ))  # fmt: skip
    return mask[np.ix_(y, x)]


def found_in(rgb: Picture, mpp: float) -> dict[str, Mask]:
    """Artefacts of a picture, per pixel of 2 um."""
    slide = MemorySlide(rgb, mpp)
    seen = survey(slide, OVERVIEW_MPP)
    looked = find_tissue(seen.picture, seen.frame.mean_mpp)
    background = background_colour(seen.picture)[0]
    found = artefacts_of(slide, RunConfig(), seen.frame, (looked.mask, looked.artefacts), background)
    height, width = (max(1, int(n * mpp / 2)) for n in rgb.shape[:2])
    x, y = np.meshgrid((np.arange(width) + 0.5) * 2 / mpp, (np.arange(height) + 0.5) * 2 / mpp)
    return {a.kind: shapely.contains_xy(a.geometry, x, y) for a in found}


def at_2_um(mask: Mask, like: Mask, mpp: float) -> Mask:
    """A mask of a picture per pixel of 2 um."""
    rows, columns = (((np.arange(n) + 0.5) * 2 / mpp).astype(int) for n in like.shape)
    return mask[np.ix_(rows, columns)]


def inked(subject: Subject, pen: str, width_um: float, seed: int) -> tuple[Picture, Mask]:
    """The picture with a stroke across its middle, and where it is."""
    rng = np.random.default_rng(seed)
    rgb, mpp = subject.rgb, subject.mpp
    y, x = (np.indices(rgb.shape[:2], dtype=np.float32) + 0.5) * mpp
    angle = rng.uniform(0, np.pi)
    middle = [n * mpp / 2 for n in rgb.shape[:2]]
    across = (x - middle[1]) * np.sin(angle) - (y - middle[0]) * np.cos(angle)
    ragged = ndimage.gaussian_filter(rng.standard_normal(rgb.shape[:2]).astype(np.float32), 6 / mpp)
    cover = np.clip((width_um / 2 - np.abs(across + 1.5 * ragged / ragged.std())) / 1.5 + 0.5, 0, 1)
    streaks = ndimage.gaussian_filter(rng.standard_normal(rgb.shape[:2]).astype(np.float32), 1 / mpp)
    density = (cover * np.clip(1 + 0.15 * streaks / streaks.std(), 0.5, 1.6))[..., None] * np.array(PENS[pen])
    painted = np.clip((rgb.astype(np.float32) + 1) * 10**-density - 1, 0, 255)
    return np.rint(painted).astype(np.uint8), cover > 0.5


def blurred(subject: Subject, sigma_um: float) -> tuple[Picture, Mask]:
    """All of the picture out of focus, and a disk in its middle."""
    rgb, sigma = subject.rgb, sigma_um / subject.mpp
    soft = np.stack([ndimage.gaussian_filter(rgb[..., k].astype(np.float32), sigma) for k in range(3)], axis=2)
    soft += np.random.default_rng(0).standard_normal(rgb.shape).astype(np.float32)
    y, x = np.indices(rgb.shape[:2])
    away = np.hypot(y - rgb.shape[0] / 2, x - rgb.shape[1] / 2)
    return np.clip(np.rint(soft), 0, 255).astype(np.uint8), away < 0.3 * min(rgb.shape[:2])


def agreement(found: Mask, truth: Mask, where: Mask) -> tuple[float, float]:
    """Recall and precision per pixel."""
    hit = float((found & truth & where).sum())
    return hit / max(float((truth & where).sum()), 1.0), hit / max(float((found & where).sum()), 1.0)


def painted_lines(subject: Subject) -> Iterator[str]:
    """The lines about ink and focus, and that about the slide as it is."""
    clean = found_in(subject.rgb, subject.mpp)
    lost = {kind: float((mask & subject.tissue).sum() / max(subject.tissue.sum(), 1)) for kind, mask in clean.items()}
    yield "clean     " + "  ".join(f"{kind} {100 * share:.2f} %" for kind, share in lost.items())
    for width in WIDTHS_UM:
        for seed, pen in enumerate(PENS):
            painted, cover = inked(subject, pen, width, seed)
            truth = at_2_um(cover, subject.tissue, subject.mpp)
            recall, precision = agreement(found_in(painted, subject.mpp)["ink"], truth, subject.tissue)
            yield f"ink       {width:.0f} um {pen:<6} recall {recall:.3f}  precision {precision:.3f}"
    for sigma in SIGMAS_UM:
        soft, disk = blurred(subject, sigma)
        part = np.where(disk[..., None], soft, subject.rgb)
        truth = at_2_um(disk, subject.tissue, subject.mpp)
        recall, precision = agreement(found_in(part, subject.mpp)["out_of_focus"], truth, subject.tissue)
        whole = found_in(soft, subject.mpp)["out_of_focus"][subject.tissue].mean()
        yield f"focus     {sigma:4} um recall {recall:.3f}  precision {precision:.3f}  whole {whole:.3f}"


def count_lines(subject: Subject) -> Iterator[str]:
    """The line about cells per mm2 on what is left of a painted slide."""
    config = RunConfig()
    clean = analyse(MemorySlide(subject.rgb, subject.mpp), config)
    for name, painted in (("ink", inked(subject, "blue", 120.0, 1)[0]), ("focus", None)):
        if painted is None:
            soft, disk = blurred(subject, 3.0)
            painted = np.where(disk[..., None], soft, subject.rgb)
        result = analyse(MemorySlide(painted, subject.mpp), config)
        left = result.prepared.passes[0].plan.area
        same = int(left.keeps(clean.cells.centroid * np.asarray(clean.frames["cell"].downsample)).sum())
        mm2 = result.prepared.area_mm2
        off, per_mm2 = 100 * (len(result.cells) / max(same, 1) - 1), len(result.cells) / mm2
        yield f"counts    {name}: {per_mm2:.0f} per mm2 on {mm2:.3f} mm2, {off:+.1f} % off the clean slide"


def whole(path: Path, slide_mpp: float | None) -> Subject:
    """A small slide in memory."""
    with closing(open_slide(path, slide_mpp=slide_mpp)) as slide:
        mpp = slide.mpp or (FIELD_MPP, FIELD_MPP)
        rgb = slide.read(Box(0, 0, *slide.size), Frame(slide.size, (1.0, 1.0), mpp))
    return Subject(path.name, rgb, mpp[0], tissue_of(rgb, mpp[0]))


def set_line(folder: Path, every: int) -> str:
    """The share of a set's area that is lost, and its worst tiles."""
    images = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".jpg") and ".label." not in p.name)[::every]
    lost: dict[str, list[tuple[float, str]]] = {kind: [] for kind in KINDS}
    for path in images:
        rgb = np.asarray(Image.open(path).convert("RGB"))
        for kind, mask in found_in(rgb, FIELD_MPP * scale_of(path)).items():
            lost[kind].append((float(mask.mean()), path.stem))
    return "  ".join(f"{kind} {_share(shares)}" for kind, shares in lost.items())


def _share(shares: Iterable[tuple[float, str]]) -> str:
    found = sorted(shares, reverse=True)
    worst = ", ".join(f"{name} {100 * share:.0f} %" for share, name in found[:4] if share > 0.005)
    return f"{100 * np.mean([share for share, _ in found]):.2f} %" + (f" ({worst})" if worst else "")


def main() -> int:
    """Print the lines; 1 when something could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", nargs="+", type=Path, default=[], metavar="SLIDE", help="small slides to paint on")
    parser.add_argument("--slide-mpp", type=float, metavar="UM", help="of slides without microns per pixel")
    parser.add_argument("--tiles", type=Path, metavar="ROOT", help="folder with one folder per data set")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th tile of a set")
    parser.add_argument("--counts", action="store_true", help="run the embedded engine on the painted slides as well")
    arguments = parser.parse_args()
    try:
        for folder in sorted(p for p in arguments.tiles.iterdir() if p.is_dir()) if arguments.tiles else ():
            print(f"{folder.name:<15} clean     {set_line(folder, arguments.every)}", flush=True)
        for path in arguments.slides:
            subject = whole(path, arguments.slide_mpp)
            for line in painted_lines(subject):
                print(f"{path.stem[:15]:<15} {line}", flush=True)
            for line in count_lines(subject) if arguments.counts else ():
                print(f"{path.stem[:15]:<15} {line}", flush=True)
    except (WsiparseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
