"""What a report's numbers are made of: one slide's results, and the settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.choices import Division
from wsiparse.report.stats.compartments import MARGIN_UM, Inside
from wsiparse.report.stats.objects import ReportObjects
from wsiparse.report.stats.rows import IntervalSettings
from wsiparse.report.stats.spots import GRID_UM
from wsiparse.report.stats.threshold import AMBIGUOUS_LEAD, THRESHOLD_STEP
from wsiparse.report.stats.tissue import Tissue
from wsiparse.types import PromptSet

__all__ = ["REST", "ReportSettings", "Role", "Source"]

Floats = NDArray[np.float64]
Role = Literal["immune", "tumour", "connective", "other"]
#: The tissue outside all regions.
REST: Final = "other tissue"


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What shapes a report beside the results.

    Parameters
    ----------
    compartments : how tissue is divided
    intervals : of the block bootstrap
    grid_um : edge of the squares of density maps, hot spots and the Morisita-Horn index
    rate : false discovery rate of hot spots
    threshold_step, ambiguous_lead : 0-1, see `wsiparse.report.stats.threshold`
    margin_um : outer ends of the margin bands
    """

    compartments: Division = "auto"
    intervals: IntervalSettings = field(default_factory=IntervalSettings)
    grid_um: float = GRID_UM
    rate: float = 0.05
    threshold_step: float = THRESHOLD_STEP
    ambiguous_lead: float = AMBIGUOUS_LEAD
    margin_um: tuple[float, ...] = MARGIN_UM

    def as_json(self) -> dict[str, Any]:
        """As report.json tells them."""
        return {
            "compartments": self.compartments,
            **asdict(self.intervals),
            "grid_um": self.grid_um,
            "false_discovery_rate": self.rate,
            "threshold_step": self.threshold_step,
            "ambiguous_lead": self.ambiguous_lead,
            "margin_um": list(self.margin_um),
        }


@dataclass(frozen=True, eq=False)
class Source:
    """One slide's results, as a report sees them.

    Parameters
    ----------
    objects : that count
    prompts : what was asked for
    roles : of each prompt
    recognition : prompt position -> median recognition score
    tissue : analysed tissue
    regions : (class name, polygon in um) of a regions file, without those left out
    mpp : um per level-0 px
    slide_size : level-0 px
    classes_by_rule : each object has one class outright
    nucleus_probability : an object's probability is that of being a nucleus, whatever its class
    scored : objects were made with a threshold
    cells_of : what the cells of role "tumour" are cells of
    meanings : class name of regions -> "tumour", "stroma", "left out", "neither"; those absent are neither
    told : the same in one line, "" without regions
    """

    objects: ReportObjects
    prompts: PromptSet
    roles: tuple[Role, ...]
    recognition: Mapping[int, float | None]
    tissue: Tissue
    regions: tuple[tuple[str, BaseGeometry], ...]
    mpp: tuple[float, float]
    slide_size: tuple[int, int]
    classes_by_rule: bool = False
    nucleus_probability: bool = False
    scored: bool = True
    cells_of: Inside = "tumour"
    meanings: Mapping[str, str] = field(default_factory=dict)
    told: str = ""

    def with_role(self, *roles: Role) -> list[int]:
        """Positions of the cell prompts with one of these roles."""
        return [k for k in self.prompts.of_kind("cell") if self.roles[k] in roles]

    def points(self, *roles: Role) -> Floats:
        """(N, 2) float64: centroids of the cells with one of these roles, x then y, um."""
        return self.objects.um[self.objects.of(self.with_role(*roles))]
