"""Plane geometry shared by regions of interest and analysis areas. Pure."""

from __future__ import annotations

import shapely
from shapely.geometry.base import BaseGeometry

__all__ = ["polygonal"]


def polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """The part of a geometry that has area, as Polygon or MultiPolygon (empty if there is none)."""
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts) if parts else shapely.Polygon()
