"""Which stored levels of an opened slide are used: by size, by what data they have, and by what they show.

A level that is wrong loses tissue without a word, because tissue is looked for on a coarse level; one that is left out
costs time. So a level is used only when nothing speaks against it, and users are told of every other.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from wsiparse.slides.agreement import Comparison, TileBytes, compare_levels
from wsiparse.slides.levels import Doubt, LevelChoice, choose_levels, whole_step
from wsiparse.slides.pyramid import PyramidSlide, SlideFacts

__all__ = ["by_content", "by_size"]

Size = tuple[int, int]


def by_size(facts: SlideFacts) -> SlideFacts:
    """The same with what may be a level by its size alone; `by_content` decides."""
    facts = facts.complete()
    choices, _ = choose_levels(facts.stored_sizes, facts.tile_sizes)
    stored = tuple(sorted(choice.stored for choice in choices))
    return replace(facts, levels=stored, level_sizes=tuple(facts.stored_sizes[k] for k in stored))


def by_content(slide: PyramidSlide) -> SlideFacts:
    """The facts of a slide with the levels that are used, notes about the others, and how much level 0 lacks.

    Parameters
    ----------
    slide : open; a few places of every level are read, unless it has only one
    """
    facts = slide.facts
    choices, geometry = choose_levels(facts.stored_sizes, facts.tile_sizes)
    doubts = list(geometry)
    kept = [(choices[0], 1)]
    for choice in choices[1:]:
        holes = _holes(slide, choice)
        if holes:
            doubts.append(Doubt(choice.stored, f"lacks {holes} tiles that level 0 has"))
            continue
        agreed = [step for step in choice.steps if _fits(facts, choice, step)]
        found = [(step, _compared(slide, choice, step, kept)) for step in agreed]
        if len(choice.steps) > 1:
            found = [(step, result) for step, result in found if result.certain]
        else:
            found = [(step, result) for step, result in found if result.agrees]
        steps = {step for _, step in kept}
        if len(found) == 1 and found[0][0] not in steps:
            kept.append((choice, found[0][0]))
        elif len(choice.steps) > 1:
            doubts.append(Doubt(choice.stored, "is padded, and its scale is not certain"))
        else:
            doubts.append(Doubt(choice.stored, "shows another picture than the levels before it"))
    settled = _with(facts, kept, tuple(doubts))
    return replace(settled, missing_px=_missing_px(slide))


def _fits(facts: SlideFacts, choice: LevelChoice, step: int) -> bool:
    """Whether its size says the step that was found: frames are computed from sizes."""
    full = facts.stored_sizes[0]
    return whole_step(full, _used_size(full, facts.stored_sizes[choice.stored], step)) == step


def _used_size(full: Size, stored: Size, step: int) -> Size:
    """The part of a level that shows the slide, px; all but the padding."""
    x, y = (m if abs(m - n / step) <= 1 else max(1, n // step) for n, m in zip(full, stored, strict=True))
    return x, y


def _with(facts: SlideFacts, kept: list[tuple[LevelChoice, int]], doubts: tuple[Doubt, ...]) -> SlideFacts:
    kept = sorted(kept, key=lambda one: one[1])
    full = facts.stored_sizes[0]
    notes = tuple(
        f"Level {doubt.stored} of {facts.stored_sizes[doubt.stored][0]} x {facts.stored_sizes[doubt.stored][1]} px is "
        f"not used: it {doubt.reason}."
        for doubt in sorted(doubts, key=lambda doubt: doubt.stored)
    )
    return replace(
        facts,
        level_sizes=tuple(_used_size(full, facts.stored_sizes[choice.stored], step) for choice, step in kept),
        levels=tuple(choice.stored for choice, _ in kept),
        notes=facts.notes + notes,
    )


def _compared(slide: PyramidSlide, choice: LevelChoice, step: int, kept: list[tuple[LevelChoice, int]]) -> Comparison:
    """With the coarsest level that is used already and whose scale divides this one's."""
    sizes = slide.facts.stored_sizes
    finer, base = max(((c, s) for c, s in kept if step % s == 0 and s < step), key=lambda one: one[1])
    ratio = step // base
    own = _used_size(sizes[0], sizes[choice.stored], step)
    other = _used_size(sizes[0], sizes[finer.stored], base)
    size = (min(own[0], other[0] // ratio), min(own[1], other[1] // ratio))
    if min(size) < 1:
        return Comparison(0.0, 0)
    return compare_levels(
        partial(slide.read_stored, finer.stored),
        partial(slide.read_stored, choice.stored),
        size,
        ratio,
        tiles=slide.tile_bytes(finer.stored),
        background=slide.background,
    )


def _holes(slide: PyramidSlide, choice: LevelChoice) -> int:
    """Tiles of a level without data whose place has data at level 0."""
    own, full = slide.tile_bytes(choice.stored), slide.tile_bytes(0)
    if own is None or full is None or own.counts.all():
        return 0
    step, holes = choice.steps[0], 0
    width, height = slide.facts.stored_sizes[0]
    for row, column in np.argwhere(own.counts == 0):
        x, y = int(column) * own.tile[0] * step, int(row) * own.tile[1] * step
        if x < width and y < height:
            below = full.counts[
                y // full.tile[1] : -(-(y + own.tile[1] * step) // full.tile[1]),
                x // full.tile[0] : -(-(x + own.tile[0] * step) // full.tile[0]),
            ]
            holes += bool(below.any())
    return holes


def _missing_px(slide: PyramidSlide) -> int:
    """Level-0 px of tiles without data."""
    tiles = slide.tile_bytes(0)
    return slide.missing_px if tiles is None else missing_px(tiles, slide.facts.stored_sizes[0])


def missing_px(tiles: TileBytes, size: Size) -> int:
    """Px of a level of (width, height) px that lie in tiles without data."""
    rows, columns = tiles.counts.shape
    widths = np.clip(size[0] - np.arange(columns) * tiles.tile[0], 0, tiles.tile[0])
    heights = np.clip(size[1] - np.arange(rows) * tiles.tile[1], 0, tiles.tile[1])
    return int((heights[:, None] * widths[None, :])[tiles.counts == 0].sum())
