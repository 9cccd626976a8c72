"""Objects for single-cell and spatial-omics tools: AnnData and SpatialData; the only anndata and spatialdata imports.

AnnData (``.h5ad``): one observation an object, named by its id. ``X`` and ``var`` are the measurements; ``obs`` holds
class, kind, area, detection probability and slide_id; ``obsm["spatial"]`` is the centroid in level-0 px, which is
where squidpy looks for full-resolution pixels, and ``obsm["spatial_um"]`` the same in microns; ``uns["class_colors"]``
are the colours of the categories of ``obs["class"]``, as scanpy names them; ``uns["wsiparse"]`` says where it comes
from. Cells that are neighbours (`wsiparse.export.graph`) are in ``obsp["spatial_connectivities"]`` (1) and
``obsp["spatial_distances"]`` (um), named in ``uns["spatial_neighbors"]`` as squidpy names what its own
``spatial_neighbors`` finds.

SpatialData (a ``.zarr`` folder): ``shapes`` are polygons and ``points`` centroids, one element a kind, and a table of
the same layout annotates the shapes. The coordinate system "global" is level-0 px, which other readers of whole slides
call so too; "microns" is level-0 px times the slide's mpp.

Both libraries want everything in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy import sparse

from wsiparse.atomic import publish, publish_folder
from wsiparse.export.extras import optional
from wsiparse.export.graph import LONGEST_UM, cell_graph
from wsiparse.export.objectframe import ObjectFrame
from wsiparse.export.reading import joined
from wsiparse.types import PromptKind

__all__ = ["write_anndata", "write_spatialdata"]

_NAMES: Final[dict[PromptKind, str]] = {"cell": "cells", "region": "regions"}


def _observations(frame: ObjectFrame) -> Any:
    """``obs``: index id, then class, kind, area, detection probability, slide_id."""
    table = frame.to_pandas().set_index("id")
    table.index.name = None
    chosen = table[["class", "kind", "area_px", "area_um2", "detection_probability", "slide_id"]]
    chosen.attrs = {}
    return chosen


def _anndata_of(frame: ObjectFrame, what: str) -> Any:
    anndata, pandas = optional("anndata", what), optional("pandas", what)
    neighbours, named = _neighbours(frame)
    return anndata.AnnData(
        X=frame.values,
        obs=_observations(frame),
        var=pandas.DataFrame(index=list(frame.measured)),
        obsm={"spatial": frame.centroid, "spatial_um": frame.centroid * np.array(frame.mpp)},
        obsp=neighbours,
        uns={
            **named,
            "class_colors": np.array([prompt.colour for prompt in frame.prompts], dtype=object),
            "wsiparse": {key: np.array(v) if isinstance(v, list) else v for key, v in frame.facts.items()},
        },
    )


def _neighbours(frame: ObjectFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """``obsp`` and the entry of ``uns`` that names it."""
    cells = np.flatnonzero(frame["kind"] == "cell")
    um = frame.centroid * np.array(frame.mpp)
    edges = cells[cell_graph(um[cells])]
    apart = np.hypot(*(um[edges[:, 0]] - um[edges[:, 1]]).T)
    both = np.concatenate([edges, edges[:, ::-1]])
    place = both[:, 0], both[:, 1]
    shape = (len(frame), len(frame))
    kinds = {"connectivities": np.ones(len(both)), "distances": np.concatenate([apart, apart])}
    keys = {f"{name}_key": f"spatial_{name}" for name in kinds}
    params = {"coord_type": "generic", "delaunay": True, "radius": LONGEST_UM, "unit": "um"}
    found = {f"spatial_{name}": sparse.csr_matrix((values, place), shape) for name, values in kinds.items()}
    return found, {"spatial_neighbors": {**keys, "params": params}}


def write_anndata(path: Path, frames: Iterable[ObjectFrame]) -> int:
    """Write an ``.h5ad`` file (see the module); returns the number of objects.

    Raises
    ------
    OutputError
        If anndata is not installed, the folder cannot be written to or the disk is full.
    """
    frame = joined(list(frames))
    table = _anndata_of(frame, "The format anndata")
    with publish(path) as temporary:
        table.write_h5ad(temporary, compression="gzip")
    return len(frame)


def write_spatialdata(path: Path, frames: Iterable[ObjectFrame], kinds: Sequence[PromptKind]) -> int:
    """Write a SpatialData folder (see the module); returns the number of objects.

    Elements cannot be empty there, so a kind without objects has none.

    Raises
    ------
    OutputError
        If spatialdata is not installed, the folder cannot be written to or the disk is full.
    """
    what = "The format spatialdata"
    spatialdata, models = optional("spatialdata", what), optional("spatialdata.models", what)
    transformations = optional("spatialdata.transformations", what)
    frame = joined(list(frames))
    outlines, table = frame.to_geopandas()[["id", "class", "geometry"]].set_index("id"), _anndata_of(frame, what)
    outlines.index.name = None
    outlines.attrs = {}
    shapes, points, tables = {}, {}, {}
    for kind in kinds:
        rows = np.flatnonzero(frame["kind"] == kind)
        if not len(rows):
            continue
        name = _NAMES[kind]
        systems = {
            "global": transformations.Identity(),
            "microns": transformations.Scale(list(frame.mpp), axes=("x", "y")),
        }
        shapes[name] = models.ShapesModel.parse(outlines.iloc[rows], transformations=dict(systems))
        # numbered rows: the library wants a sorted index here
        centres = outlines.iloc[rows][["class"]].reset_index(names="id")
        centres = centres.assign(x=frame.centroid[rows, 0], y=frame.centroid[rows, 1])
        points[f"{name}_centroids"] = models.PointsModel.parse(centres, transformations=dict(systems))
        annotation = table[rows].copy()
        annotation.obs["region"] = outlines.iloc[rows].assign(region=name)["region"].astype("category")
        annotation.obs["instance_id"] = annotation.obs_names
        tables[f"{name}_table"] = models.TableModel.parse(
            annotation, region=name, region_key="region", instance_key="instance_id"
        )
    everything = spatialdata.SpatialData(
        shapes=shapes, points=points, tables=tables, attrs={"wsiparse": dict(frame.facts)}
    )
    with publish_folder(path) as temporary:
        temporary.rmdir()  # the library makes the folder itself
        with warnings.catch_warnings():
            # told for every array; nothing of it concerns whoever exports
            warnings.filterwarnings("ignore", message="zarr v3 autosharding", category=UserWarning)
            everything.write(temporary)
    return len(frame)
