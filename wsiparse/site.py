"""One slide at work: what every step of writing its results needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wsiparse.config import RunConfig
from wsiparse.engine import Engine
from wsiparse.prepare import Prepared
from wsiparse.progress import Progress
from wsiparse.slides import Slide

__all__ = ["Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """One slide at work: what is read, where it is written, and how."""

    slide: Slide
    folder: Path
    work: Path
    prepared: Prepared
    engine: Engine
    config: RunConfig
    workers: int
    progress: Progress
