"""How much of what was found on a slide."""

from __future__ import annotations

from dataclasses import dataclass

from wsiparse.types.prompts import PromptKind

__all__ = ["ClassCount", "SlideSummary"]


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How much of one class was found.

    Parameters
    ----------
    class_name : as in the prompt set
    kind : "cell" or "region"
    n : objects
    area_um2 : their summed area
    verdict : "found", "not found", "low score" (found, but the masks do not look like the class), or "no cell at all"
        (of any class, on much tissue: no finding)
    recognition : median recognition score of the tiles where a mask was drawn, 0-1; None without score parameters
    """

    class_name: str
    kind: PromptKind
    n: int
    area_um2: float
    verdict: str = ""
    recognition: float | None = None


@dataclass(frozen=True, slots=True)
class SlideSummary:
    """The numbers of one slide.

    Parameters
    ----------
    slide : slide name
    engine : title of the engine, e.g. "embedded network, not BiomedParse"
    analysed_mm2 : tissue (inside the region of interest) whose pixels were read, mm^2
    unreadable_mm2 : tissue left out because its tiles could not be read, mm^2
    counts : one entry per prompt, prompt order
    """

    slide: str
    engine: str
    analysed_mm2: float
    unreadable_mm2: float
    counts: tuple[ClassCount, ...]

    def density(self, n: int) -> float | None:
        """Objects per mm^2 of analysed tissue, None when nothing was analysed."""
        return n / self.analysed_mm2 if self.analysed_mm2 > 0 else None

    @property
    def n_cells(self) -> int:
        """Cells of all classes."""
        return sum(c.n for c in self.counts if c.kind == "cell")
