"""The whole road on a small painted slide of known count."""

from __future__ import annotations

import time
from typing import Final

from wsiparse.doctor.check import Check, good, problem
from wsiparse.errors import WsiparseError

__all__ = ["self_test"]

_EDGE_PX: Final = 512
_SEED: Final = 2
#: Share of the true count that may be missed or found in excess.
_TOLERANCE: Final = 0.05


def self_test() -> Check:
    """Paint a slide, analyse it with the embedded network on the device a run would take, and compare the counts."""
    began = time.monotonic()
    todo = "See to the problems above first. If there are none, reinstall wsiparse and its packages."
    try:
        from wsiparse.config import RunConfig
        from wsiparse.run.pipeline import analyse
        from wsiparse.slides import MemorySlide
        from wsiparse.slides.synthetic import paint_he

        painted = paint_he(_EDGE_PX, _EDGE_PX, seed=_SEED)
        truth = len(painted.inflammatory)
        found = len(analyse(MemorySlide(painted.image, 0.5), RunConfig(engine="embedded")).cells)
    # a broken installation fails in its own way: a missing library, a kernel that cannot be kept, a driver, memory
    except (WsiparseError, ImportError, OSError, RuntimeError, MemoryError, ValueError, AttributeError) as error:
        return problem("self-test", f"failed: {type(error).__name__}: {error}", todo)
    told = f"{found} nuclei found, {truth} painted, {time.monotonic() - began:.1f} s"
    if abs(found - truth) > _TOLERANCE * truth:
        return problem("self-test", f"{told}: wrong", todo)
    return good("self-test", told)
