from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from tests.export.results import objects_at
from tests.store.tables import PROMPTS
from tests.test_atomic import names_in
from wsiparse.export.annotated import write_anndata, write_spatialdata
from wsiparse.export.graph import cell_graph
from wsiparse.export.reading import joined, object_frames

BOTH = ("cell", "region")


def test_anndata_has_an_observation_an_object_with_its_numbers_place_and_class(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    reader = objects_at(tmp_path / "objects.zarr")
    frame = joined(list(object_frames(reader)))
    assert write_anndata(tmp_path / "a.h5ad", object_frames(reader, rows=7)) == len(frame)
    found = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert found.obs_names.tolist() == frame["id"].tolist()
    assert found.var_names.tolist() == list(frame.measured)
    assert np.array_equal(found.X, frame.values, equal_nan=True)
    for name in ("class", "kind", "area_px", "area_um2", "detection_probability"):
        assert found.obs[name].tolist() == frame[name].tolist()
    assert np.array_equal(found.obsm["spatial"], frame.centroid)
    assert np.array_equal(found.obsm["spatial_um"], frame.centroid * 0.25)
    assert list(found.uns["class_colors"]) == [prompt.colour for prompt in PROMPTS]
    assert found.obs["class"].cat.categories.tolist() == [prompt.class_name for prompt in PROMPTS]
    neighbours = found.obsp["spatial_connectivities"].tocoo()
    cells = np.flatnonzero(np.asarray(found.obs["kind"]) == "cell")
    edges = cells[cell_graph(found.obsm["spatial_um"][cells])]
    assert {tuple(sorted(pair)) for pair in zip(neighbours.row.tolist(), neighbours.col.tolist(), strict=True)} == set(
        map(tuple, edges.tolist())
    )
    assert (found.obsp["spatial_connectivities"] != found.obsp["spatial_connectivities"].T).nnz == 0
    apart = found.obsp["spatial_distances"].tocoo()
    um = found.obsm["spatial_um"]
    assert apart.data == pytest.approx(np.hypot(*(um[apart.row] - um[apart.col]).T))
    assert found.uns["spatial_neighbors"]["connectivities_key"] == "spatial_connectivities"
    facts = found.uns["wsiparse"]
    assert (facts["engine"], facts["slide"], list(facts["mpp"])) == (reader.engine, "0f1e", [0.25, 0.25])


def test_anndata_without_objects_has_the_same_columns(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    reader = objects_at(tmp_path / "objects.zarr", [])
    assert write_anndata(tmp_path / "a.h5ad", object_frames(reader)) == 0
    found = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert found.n_obs == 0
    assert "area_um2" in found.var_names
    assert list(found.obs.columns) == ["class", "kind", "area_px", "area_um2", "detection_probability", "slide_id"]


@pytest.mark.filterwarnings("ignore")
def test_spatialdata_has_shapes_points_and_tables_in_pixels_and_microns(tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    reader = objects_at(tmp_path / "objects.zarr")
    frame = joined(list(object_frames(reader)))
    assert write_spatialdata(tmp_path / "a.zarr", object_frames(reader), BOTH) == len(frame)
    found = spatialdata.read_zarr(tmp_path / "a.zarr")
    assert sorted(found.coordinate_systems) == ["global", "microns"]
    for kind, name in zip(BOTH, ("cells", "regions"), strict=True):
        rows = np.flatnonzero(frame["kind"] == kind)
        shapes = found.shapes[name]
        assert shapes.index.tolist() == frame["id"][rows].tolist()
        assert shapes["class"].tolist() == frame["class"][rows].tolist()
        assert shapely.equals_exact(shapes.geometry.to_numpy(), frame.polygons()[rows]).all()
        microns = spatialdata.transform(shapes, to_coordinate_system="microns")
        assert microns.area.to_numpy() == pytest.approx(frame["area_um2"][rows])
        points = found.points[f"{name}_centroids"].compute()
        assert points["id"].tolist() == frame["id"][rows].tolist()
        assert np.array_equal(points[["x", "y"]].to_numpy(), frame.centroid[rows])
        table = found.tables[f"{name}_table"]
        assert table.obs["instance_id"].tolist() == frame["id"][rows].tolist()
        assert np.array_equal(table.X, frame.values[rows], equal_nan=True)
        joint = spatialdata.join_spatialelement_table(
            sdata=found, spatial_element_names=[name], table_name=f"{name}_table", how="inner"
        )
        assert joint[1].n_obs == len(rows)
    assert found.attrs["wsiparse"]["slide"] == "0f1e"


@pytest.mark.filterwarnings("ignore")
def test_spatialdata_without_objects_is_a_folder_without_elements(tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    reader = objects_at(tmp_path / "objects.zarr", [])
    assert write_spatialdata(tmp_path / "a.zarr", object_frames(reader), BOTH) == 0
    found = spatialdata.read_zarr(tmp_path / "a.zarr")
    assert not found.shapes
    assert found.attrs["wsiparse"]["slide"] == "0f1e"
    assert names_in(tmp_path) == ["a.zarr", "objects.zarr"]
