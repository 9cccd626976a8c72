"""Pure: from an overview to a tissue mask, from a mask and a region of interest to a tile plan."""

from wsiparse.tiling.area import AnalysisArea, whole_slide_area
from wsiparse.tiling.cover import WHOLE, covered_mm2
from wsiparse.tiling.geometry import cells_met, polygonal
from wsiparse.tiling.grid import FIELD_BYTES_PER_PX, Estimate, TilePlan, TileSize, estimate, plan_tiles
from wsiparse.tiling.region_classes import RegionClasses, artefact_class, is_left_out
from wsiparse.tiling.region_units import microns_told
from wsiparse.tiling.roi import (
    Region,
    Regions,
    cut_to_slide,
    off_slide,
    parse_regions,
    read_regions,
    union_on_slide,
)
from wsiparse.tiling.tissue import FoundTissue, background_colour, find_tissue

__all__ = [
    "FIELD_BYTES_PER_PX",
    "WHOLE",
    "AnalysisArea",
    "Estimate",
    "FoundTissue",
    "Region",
    "RegionClasses",
    "Regions",
    "TilePlan",
    "TileSize",
    "artefact_class",
    "background_colour",
    "cells_met",
    "covered_mm2",
    "cut_to_slide",
    "estimate",
    "find_tissue",
    "is_left_out",
    "microns_told",
    "off_slide",
    "parse_regions",
    "plan_tiles",
    "polygonal",
    "read_regions",
    "union_on_slide",
    "whole_slide_area",
]
