"""Files as other programs write them, all of the same few outlines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

#: Size of the slide that the outlines lie on, px, and its pixel, um.
SIZE = (640, 512)
MPP = 0.5

CLASSES = ("Tumor", "Immune cells")
COLOURS = ((200, 0, 0), (160, 90, 160))


def outlines(n: int = 40, seed: int = 0) -> list[shapely.Polygon]:
    """Round cells with corners at hundredths of a px, none of which overlap."""
    rng = np.random.default_rng(seed)
    columns = 8
    made = []
    for k in range(n):
        centre = np.array([40 + 75 * (k % columns), 40 + 90 * (k // columns)]) + rng.random(2) * 8
        turns = np.sort(rng.random(14)) * 2 * np.pi
        turns = np.linspace(0, 2 * np.pi, 14, endpoint=False) + turns / 40
        radius = 9 + 4 * rng.random(14)
        made.append(
            shapely.Polygon(np.round(centre + radius[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1), 2))
        )
    return made


def rings(polygon: shapely.Polygon) -> list[list[list[float]]]:
    return [[[float(x), float(y)] for x, y in ring.coords] for ring in (polygon.exterior, *polygon.interiors)]


def qupath(path: Path, polygons: list[shapely.Polygon], *, nuclei: bool = False, kind: str = "detection") -> Path:
    """GeoJSON as QuPath 0.5 and 0.6 export it: detections, or cells with the outline of their nucleus."""
    features = []
    for k, polygon in enumerate(polygons):
        feature: dict[str, Any] = {
            "type": "Feature",
            "id": f"00000000-0000-4000-8000-{k:012d}",
            "geometry": {"type": "Polygon", "coordinates": rings(polygon)},
        }
        if nuclei:
            inner = shapely.affinity.scale(polygon, 0.5, 0.5)
            feature["nucleusGeometry"] = {"type": "Polygon", "coordinates": np.round(rings(inner), 2).tolist()}
        feature["properties"] = {
            "objectType": "cell" if nuclei else kind,
            "classification": {"name": CLASSES[k % 2], "color": list(COLOURS[k % 2])},
            "isLocked": False,
            "measurements": {"Nucleus: Area": 12.5, "Nucleus: Circularity": float("nan")},
        }
        features.append(feature)
    text = json.dumps({"type": "FeatureCollection", "features": features})
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def coco(path: Path, polygons: list[shapely.Polygon], *, image: tuple[int, int] = SIZE) -> Path:
    """COCO with its categories behind the annotations, as most programs write it."""
    annotations = [
        {
            "id": k + 1,
            "image_id": 1,
            "category_id": 1 + k % 2,
            "segmentation": [np.ravel(p.exterior.coords[:-1]).tolist()],
            "area": p.area,
            "bbox": [p.bounds[0], p.bounds[1], p.bounds[2] - p.bounds[0], p.bounds[3] - p.bounds[1]],
            "iscrowd": 0,
        }
        for k, p in enumerate(polygons)
    ]
    document = {
        "info": {"description": "x"},
        "images": [{"id": 1, "file_name": "demo.svs", "width": image[0], "height": image[1]}],
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)],
    }
    path.write_text(json.dumps(document))
    return path


def cellvit(path: Path, polygons: list[shapely.Polygon]) -> Path:
    cells = [
        {
            "bbox": [[0, 0], [1, 1]],
            "centroid": list(p.centroid.coords[0]),
            "contour": [list(c) for c in p.exterior.coords[:-1]],
            "type_prob": 0.75,
            "type": 1 + k % 2,
            "patch_coordinates": [0, 0],
        }
        for k, p in enumerate(polygons)
    ]
    types = {"0": "Background", "1": CLASSES[0], "2": CLASSES[1]}
    path.write_text(json.dumps({"wsi_metadata": {"base_mpp": 0.5}, "type_map": types, "cells": cells}))
    return path


def hovernet(path: Path, polygons: list[shapely.Polygon]) -> Path:
    nuclei = {
        str(k + 1): {
            "bbox": [[0, 0], [1, 1]],
            "centroid": list(p.centroid.coords[0]),
            "contour": [list(c) for c in p.exterior.coords[:-1]],
            "type_prob": 0.5,
            "type": 1 + k % 2,
        }
        for k, p in enumerate(polygons)
    }
    path.write_text(json.dumps({"mag": 40, "nuc": nuclei}))
    return path


def stardist(path: Path, polygons: list[shapely.Polygon]) -> Path:
    coord = [np.array(p.exterior.coords[:-1])[:, ::-1].T.tolist() for p in polygons]
    path.write_text(json.dumps({"coord": coord, "points": [[1, 2]] * len(polygons), "prob": [0.9] * len(polygons)}))
    return path


def tiatoolbox(path: Path, polygons: list[shapely.Polygon]) -> Path:
    """A feature a line."""
    lines = [
        json.dumps(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": rings(p)},
                "properties": {"type": CLASSES[k % 2], "prob": 0.5},
            }
        )
        for k, p in enumerate(polygons)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def geoparquet(path: Path, polygons: list[shapely.Polygon]) -> Path:
    import pyarrow
    from pyarrow import parquet

    names = [CLASSES[k % 2] for k in range(len(polygons))]
    table = pyarrow.table({"classification": names, "geometry": [shapely.to_wkb(p) for p in polygons]})
    geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def label_image(n: int = 24, size: tuple[int, int] = SIZE, seed: int = 0) -> NDArray[np.uint16]:
    """Blobs that touch each other, numbered from 1."""
    rng = np.random.default_rng(seed)
    centres = rng.random((n, 2)) * (np.array(size[::-1]) - 60) + 30
    y, x = np.indices(size[::-1])
    distance = np.stack([np.hypot(y - cy, x - cx) for cy, cx in centres])
    nearest = distance.argmin(axis=0)
    return np.where(distance.min(axis=0) < 16, nearest + 1, 0).astype(np.uint16)
