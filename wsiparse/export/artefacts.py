"""Artefacts as annotations: QuPath shows and edits them, and ``--roi`` reads them back as parts to be left out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from wsiparse.atomic import output_errors, publish
from wsiparse.tiling import artefact_class

__all__ = ["write_artefacts"]

_COLOUR: Final = (90, 90, 90)


def write_artefacts(
    path: Path, artefacts: Sequence[tuple[str, BaseGeometry, bool]], fingerprint: str, offset: tuple[int, int]
) -> None:
    """Write one annotation for each polygon of each kind, those that are only reported included.

    Parameters
    ----------
    path : GeoJSON file
    artefacts : (kind, Polygon or MultiPolygon in level-0 px, whether it was left out)
    fingerprint : of the slide; enters the ids
    offset : level-0 px to subtract, x then y

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    features = [
        _feature(part, kind, left_out, f"{fingerprint} {kind} {k}")
        for kind, shape, left_out in artefacts
        for k, part in enumerate(shapely.get_parts(shapely.transform(shape, lambda xy: xy - np.asarray(offset))))
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))
    with output_errors(path), publish(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")


def _feature(part: BaseGeometry, kind: str, left_out: bool, key: str) -> dict[str, Any]:
    """An annotation that is not locked."""
    name = artefact_class(kind)
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, key)),
        "geometry": shapely.geometry.mapping(part),
        "properties": {
            "objectType": "annotation",
            "name": name if left_out else f"{name} (reported only)",
            "classification": {"names": name.split(": "), "color": _COLOUR},
            "isLocked": False,
        },
    }
