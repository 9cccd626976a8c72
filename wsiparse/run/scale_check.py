"""Does the pixel size fit the nuclei? What an engine says of a few places of a slide, and what follows from it.

A pixel size that is wrong by 2, 2.54 or 10 makes every density wrong by its square. An engine that can tell sizes
(`DeclaredEngine.tells_scale`) looks at four places at many assumed ones. Its answers on single tiles are off by 20 % in
one of five, and hardly ever by 50 %, so only what is off by more than `MOST_OFF` is said. Where the metadata contradict
each other too, the slide is stopped before it is analysed; where nuclei alone disagree it is analysed, and flagged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.errors import MissingMppError, TileReadError
from wsiparse.recognize.base import Recognizer, load_recognizer, on_this_machine
from wsiparse.recognize.declared import DeclaredEngine, ScaleGuess, ScalePatches
from wsiparse.recognize.registry import engine_of, scale_engine
from wsiparse.run.plan import OVERVIEW_MPP, Prepared, chosen_cells
from wsiparse.slides import Slide, open_slide, require_mpp, survey
from wsiparse.tiling import WHOLE, find_tissue
from wsiparse.types import Box

__all__ = ["MOST_OFF", "guess_mpp", "guess_told", "require_mpp_or_guess", "scale_notice"]

#: Pixels that look so many times larger or smaller than said are told: single tiles of known scale are off by half or
#: more in one of twenty, and a slide has four places.
MOST_OFF: Final = 1.6

#: Places of a slide that are looked at; edge in the engine's px where a size is known, and where it is looked for.
_PLACES: Final = 4
_CHECKED_PX: Final = 192
_GUESSED_PX: Final = 256
#: To find tissue where no size is known: most scans are of 0.25 to 0.5 um.
_ASSUMED_MPP: Final = 0.35

Centres = NDArray[np.float64]


def _places(shares: NDArray[np.uint8], overview: Frame) -> Centres:
    """(n, 2) x then y of some places within tissue, level-0 px: the same for the same tissue."""
    cells = np.argwhere(shares == WHOLE)
    if not len(cells):
        cells = np.argwhere(shares > 0)
    chosen = chosen_cells(cells, _PLACES)
    return np.asarray((chosen[:, ::-1] + 0.5) * np.asarray(overview.downsample), np.float64)


def _look(slide: Slide, centres: Centres, net_mpp: float, edge_px: int) -> ScalePatches:
    """Patches around places, as an engine of `net_mpp` would see them if level-0 pixels were of a size."""

    def look(size: float) -> list[NDArray[np.uint8]]:
        down = net_mpp / size
        frame = Frame(
            (max(1, int(slide.size[0] / down)), max(1, int(slide.size[1] / down))), (down, down), (net_mpp, net_mpp)
        )
        edge = tuple(min(edge_px, n) for n in frame.size)
        patches = []
        for centre in centres / down:
            x, y = (min(max(int(c) - e // 2, 0), n - e) for c, e, n in zip(centre, edge, frame.size, strict=True))
            try:
                patches.append(slide.read(Box(x, y, *edge), frame))
            except TileReadError:
                continue  # the run tells of it
        return patches

    return look


def scale_notice(slide: Slide, prepared: Prepared, recognizer: Callable[[], Recognizer]) -> str:
    """A line where nuclei do not look like the slide's pixel size, or "".

    Parameters
    ----------
    slide : open, of known pixel size
    prepared : what was decided about it
    recognizer : gives that of the first pass; called only where it is needed

    Raises
    ------
    MissingMppError
        If the metadata contradict each other as well.
    """
    work = prepared.passes[0]
    engine = engine_of(work.scale.spec.engine)
    centres = _places(work.plan.area.shares, work.plan.area.overview)
    if not engine.tells_scale() or not len(centres):
        return ""
    mpp = math.sqrt(math.prod(require_mpp(slide)))
    guess = engine.scale_guess(recognizer(), _look(slide, centres, work.scale.info.mpp, _CHECKED_PX))
    if guess is None or guess.trust == "none" or abs(math.log(guess.mpp / mpp)) <= math.log(MOST_OFF):
        return ""
    seen = f"{guess.mpp:.2g} um ({guess.low:.2g}-{guess.high:.2g}), and {mpp:.4g} um are used ({slide.mpp_source})"
    if slide.mpp_notices and "override" not in slide.mpp_source:
        raise MissingMppError(
            f"{slide.path.name}: nuclei look like pixels of {seen}; {slide.mpp_notices[0].rstrip('.')}. Give the right "
            "size to --override-mpp."
        )
    return f"nuclei look like pixels of {seen}. If they are wrong, --override-mpp {guess.mpp:.2g} replaces them."


def guess_mpp(path: Path, reader: str, image: str | None) -> ScaleGuess | None:
    """The pixel size that the nuclei of a slide look like, whatever its metadata say; None where it cannot be known.

    Parameters
    ----------
    path, reader, image : as for `open_slide`
    """
    engine = scale_engine()
    if engine is None:
        return None
    with open_slide(path, override_mpp=_ASSUMED_MPP, reader=reader, image=image) as slide:
        seen = survey(slide, OVERVIEW_MPP)
        centres = _places(find_tissue(seen.picture, seen.frame.mean_mpp).shares, seen.frame)
        if not len(centres):
            return None
        return _guessed(engine, slide, centres)


def _guessed(engine: DeclaredEngine, slide: Slide, centres: Centres) -> ScaleGuess | None:
    spec = on_this_machine(engine.spec())
    recognizer = load_recognizer(spec)
    return engine.scale_guess(recognizer, _look(slide, centres, engine.info(spec).mpp, _GUESSED_PX))


def guess_told(guess: ScaleGuess | None) -> str:
    """What a guess says, in a few words."""
    if guess is None:
        return "not known: too few nuclei, or no tissue, was found"
    size = f"{guess.mpp:.2g} ({guess.low:.2g}-{guess.high:.2g}) um per px"
    words = {"good": "look like", "rough": "look roughly like", "none": "do not show the pixel size; unreliable:"}
    return f"{words[guess.trust]} {size}"


def require_mpp_or_guess(slide: Slide, path: Path, reader: str, image: str | None) -> None:
    """Refuse a slide without a pixel size, and say what its nuclei look like where that can be known.

    Parameters
    ----------
    slide : open
    path, reader, image : as for `open_slide`

    Raises
    ------
    MissingMppError
        If the slide has none.
    """
    try:
        require_mpp(slide)
    except MissingMppError as error:
        guess = guess_mpp(path, reader, image)
        if guess is None or guess.trust == "none":
            raise
        raise MissingMppError(
            f"{error} Its nuclei {guess_told(guess)}; pass --slide-mpp {guess.mpp:.2g} if that is right."
        ) from None
