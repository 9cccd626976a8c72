"""Every number of a report against one found another way: pandas, geopandas, shapely and SciPy on exported GeoJSON."""

from __future__ import annotations

import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest
import shapely
from scipy import spatial, stats

from tests.report.slides_made import MPP, PROMPTS, Content, tumour_slide, write_slide
from wsiparse.export.formats import ExportOptions, export
from wsiparse.report.data import read_regions_file
from wsiparse.report.slide import redo_slide_report
from wsiparse.report.stats.tissue import Tissue
from wsiparse.results.report_inputs import read_report_inputs

IMMUNE, TUMOUR = "Inflammatory", ["Neoplastic", "Epithelial"]


def cells_of_tissue(folder: Path) -> geopandas.GeoDataFrame:
    """Every tissue cell as a square in um, cut at the slide's end."""
    inputs = read_report_inputs(folder / "report_inputs")
    (cx, cy), (w, h) = inputs.overview.mpp, (v * MPP for v in inputs.size)
    row, column = np.nonzero(inputs.tissue)
    boxes = shapely.box(column * cx, row * cy, np.minimum((column + 1) * cx, w), np.minimum((row + 1) * cy, h))
    return geopandas.GeoDataFrame({"row": row, "column": column}, geometry=boxes)


def objects_of(folder: Path, out: Path) -> geopandas.GeoDataFrame:
    """All objects from exported GeoJSON in um: class, kind, probability, area, centroid, shares."""
    frames = []
    written = export(folder / "objects.zarr", "geojson", out, ExportOptions())
    for path in written.paths:
        features = json.loads(gzip.decompress(path.read_bytes()))["features"]
        if not features:
            continue
        frame = geopandas.GeoDataFrame.from_features(features)
        frame["class"] = [f["properties"]["classification"]["name"] for f in features]
        frame["kind"] = "cell" if "cells" in path.name else "region"
        measured = pandas.DataFrame([f["properties"]["measurements"] for f in features])
        for name in measured:
            frame[name] = measured[name]
        frames.append(frame)
    table = geopandas.GeoDataFrame(pandas.concat(frames, ignore_index=True))
    table.geometry = table.geometry.scale(MPP, MPP, origin=(0, 0))
    return table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("made"), "a tumour", tumour_slide(2.4, 2.2, 3))


@pytest.fixture(scope="module")
def numbers(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def objects(made: Path, tmp_path_factory: pytest.TempPathFactory) -> geopandas.GeoDataFrame:
    return objects_of(made, tmp_path_factory.mktemp("export"))


def rows(numbers: dict[str, Any], compartment: str) -> dict[str, dict[str, Any]]:
    return {row["class"]: row for row in numbers["rows"] if row["compartment"] == compartment}


def points(table: geopandas.GeoDataFrame, classes: list[str]) -> np.ndarray:
    chosen = table[table["class"].isin(classes)]
    return np.stack([chosen.geometry.centroid.x, chosen.geometry.centroid.y], axis=1)


def check_rows(found: dict[str, dict[str, Any]], table: geopandas.GeoDataFrame, mm2: float) -> None:
    """Counts, densities, areas and shares of one compartment."""
    grouped = table.groupby("class")
    count, area = grouped.size(), grouped.apply(lambda own: own.geometry.area.sum(), include_groups=False)
    cells = int((table["kind"] == "cell").sum())
    for name in (p.class_name for p in PROMPTS):
        row, n, um2 = found[name], int(count.get(name, 0)), float(area.get(name, 0.0))
        assert row["n"] == n
        assert row["compartment_mm2"] == pytest.approx(mm2, rel=1e-9)
        assert row["density_per_mm2"] == pytest.approx(n / mm2, rel=1e-9)
        assert row["object_area_um2"] == pytest.approx(um2, rel=1e-6)
        assert row["area_percent"] == pytest.approx(100 * um2 * 1e-6 / mm2, rel=1e-6)
        assert row["mean_area_um2"] == (pytest.approx(um2 / n, rel=1e-6) if n else None)
        share = 100 * n / cells if row["kind"] == "cell" else None
        assert row["share_percent"] == (pytest.approx(share) if share is not None else None)
        assert row["verdict"] == ("found" if n else "not found")
        if row["density_low"] is not None:
            assert row["density_low"] < row["density_per_mm2"] < row["density_high"]
    assert found["All cells"]["n"] == cells
    assert found["All cells"]["density_per_mm2"] == pytest.approx(cells / mm2, rel=1e-9)


def test_counts_densities_and_shares_over_all_tissue(
    made: Path, numbers: dict[str, Any], objects: geopandas.GeoDataFrame
) -> None:
    mm2 = cells_of_tissue(made).area.sum() * 1e-6
    assert numbers["area"]["analysed_mm2"] == pytest.approx(mm2, rel=1e-9)
    assert numbers["area"]["tissue_mm2"] == pytest.approx(mm2, rel=1e-9)
    check_rows(rows(numbers, "all tissue"), objects, mm2)


def test_compartments_share_out_cells_and_tissue(numbers: dict[str, Any], objects: geopandas.GeoDataFrame) -> None:
    parts = numbers["compartments"]
    assert parts["used"] == "auto"
    assert parts["names"] == ["tumour", "margin 0-100 um", "margin 100-500 um", "stroma"]
    assert sum(parts["area_mm2"]) == pytest.approx(numbers["area"]["analysed_mm2"])
    for name in (p.class_name for p in PROMPTS):
        assert sum(rows(numbers, part)[name]["n"] for part in parts["names"]) == (objects["class"] == name).sum()
    for part, mm2 in zip(parts["names"], parts["area_mm2"], strict=True):
        assert rows(numbers, part)["All cells"]["compartment_mm2"] == mm2


def test_drawn_compartments_are_those_of_geopandas(made: Path, objects: geopandas.GeoDataFrame, tmp_path: Path) -> None:
    """Areas and members by overlay of the drawn polygons with the tissue's squares, and points in polygons."""
    middle = shapely.Point(1200, 1100)
    drawn = {
        "Tumor": middle.buffer(500),
        "Stroma": middle.buffer(900),
        "Ignore*": shapely.box(800.1, 800.1, 1100.1, 1000.1),
    }
    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(shapely.transform(shape, lambda xy: xy / MPP)),
            "properties": {"classification": {"name": name}},
        }
        for name, shape in drawn.items()
    ]
    (tmp_path / "r.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    numbers = redo_slide_report(made, "roi", read_regions_file(tmp_path / "r.geojson", (0, 0), (100_000, 100_000)))
    try:
        tissue = cells_of_tissue(made)
        kept = tissue.overlay(geopandas.GeoDataFrame(geometry=[drawn["Ignore*"]]), how="difference")
        left_out = tissue.area.sum() - kept.area.sum()
        assert numbers["area"]["drawn_out_mm2"] == pytest.approx(left_out * 1e-6, rel=1e-6)
        inner = drawn["Tumor"].difference(drawn["Ignore*"])
        ring = drawn["Stroma"].difference(drawn["Tumor"]).difference(drawn["Ignore*"])
        centres = objects.geometry.centroid
        for name, shape in (("Tumor", inner), ("Stroma", ring)):
            mm2 = kept.clip(shape).area.sum() * 1e-6
            check_rows(rows(numbers, name), objects[centres.within(shape)], mm2)
        assert numbers["area"]["objects_outside"] == centres.within(drawn["Ignore*"]).sum()
        immune = objects["class"] == IMMUNE
        found = numbers["immune"]["infiltrate"]
        assert found["stroma"] == ["Stroma"]
        assert found["n_tumour"] == (immune & centres.within(inner)).sum()
        in_ring = objects[immune & centres.within(ring)]
        ring_mm2 = kept.clip(ring).area.sum() * 1e-6
        assert found["stroma_per_mm2"] == pytest.approx(len(in_ring) / ring_mm2, rel=1e-6)
        panel = {row["key"]: row["estimate"] for row in numbers["immune"]["panel"]}
        assert panel["stil_nuclei"] == pytest.approx(100 * in_ring.area.sum() * 1e-6 / ring_mm2, rel=1e-6)
        radius = np.sqrt(in_ring.area / np.pi) + 1
        discs = in_ring.geometry.centroid.buffer(radius, quad_segs=32).union_all().area
        assert panel["stil_cells"] == pytest.approx(100 * discs * 1e-6 / ring_mm2, rel=0.02)
        inner_mm2 = kept.clip(inner).area.sum() * 1e-6
        assert panel["itil"] == pytest.approx(found["n_tumour"] / inner_mm2, rel=1e-6)
        assert panel["ratio"] == pytest.approx(100 * ring_mm2 / (ring_mm2 + inner_mm2), rel=1e-6)
        difference = found["tumour_per_mm2"] - found["stroma_per_mm2"]
        assert found["difference"]["estimate"] == pytest.approx(difference)
        assert "too little tissue" in found["difference"]["note"], "no interval from a handful of blocks"
    finally:
        redo_slide_report(made, None, None)


def test_distances_to_the_nearest_tumour_cell(numbers: dict[str, Any], objects: geopandas.GeoDataFrame) -> None:
    apart = spatial.distance.cdist(points(objects, [IMMUNE]), points(objects, TUMOUR)).min(axis=1)
    found = numbers["immune"]["distances"]
    assert (found["to"], found["n"]) == ("nearest tumour cell", len(apart))
    assert found["mean_um"] == pytest.approx(apart.mean())
    for entry in found["quantiles"]:
        assert entry["um"] == pytest.approx(np.quantile(apart, entry["share"]))
    for entry in found["within"]:
        assert entry["share"] == pytest.approx((apart <= entry["um"]).mean())
    drawn = found["histogram"]
    cut = pandas.Series(pandas.cut(apart, drawn["edges_um"], include_lowest=True)).value_counts(sort=False)
    assert abs(np.array(drawn["counts"]) - cut.to_numpy()).max() <= 1, "pandas closes bins on the other side"
    assert sum(drawn["counts"]) + drawn["above"] == len(apart)


def test_mixing(made: Path, numbers: dict[str, Any], objects: geopandas.GeoDataFrame) -> None:
    inputs = read_report_inputs(made / "report_inputs")
    row, column = np.nonzero(inputs.tissue)
    origin = np.array([column.min(), row.min()]) * inputs.overview.mpp[0]
    [first, second] = numbers["immune"]["mixing"]
    assert (first["second"], second["second"]) == ("Neoplastic", "Epithelial")
    assert second["morisita_horn"] is None
    grids = []
    for names in ([IMMUNE], ["Neoplastic"]):
        square = np.floor((points(objects, names) - origin) / first["grid_um"]).astype(int)
        grids.append(pandas.Series(1, index=pandas.MultiIndex.from_arrays(square.T)).groupby(level=[0, 1]).sum())
    both = pandas.concat(grids, axis=1).fillna(0)
    x, y = (both[k].to_numpy() for k in (0, 1))
    simpson = (x**2).sum() / x.sum() ** 2 + (y**2).sum() / y.sum() ** 2
    assert first["morisita_horn"] == pytest.approx(2 * (x * y).sum() / (simpson * x.sum() * y.sum()))
    # cross-K at one radius, each pair weighed by how much of the tissue, shifted by it, lies on the tissue
    radius = first["cross_k"]["radius_um"].index(30.0)
    a, b = points(objects, [IMMUNE]), points(objects, ["Neoplastic"])
    pairs = spatial.cKDTree(a).sparse_distance_matrix(spatial.cKDTree(b), 30.0, output_type="coo_matrix")
    shift = b[pairs.col] - a[pairs.row]
    mask, cell = inputs.tissue.astype(float), inputs.overview.mpp[0]
    weights = []
    for dx, dy in shift[:200]:
        weights.append(_overlap_um2(mask, cell, dx, dy))
    fewer = {"sum": sum(1 / w for w in weights)}
    table = _all_overlaps(mask, cell, 5)
    exact = np.array([_interpolated(table, cell, dx, dy) for dx, dy in shift])
    assert exact[:200] == pytest.approx(weights, rel=1e-9)
    assert fewer["sum"] > 0
    area = mask.sum() * cell**2
    k = area**2 * (1 / exact).sum() / (len(a) * len(b))
    assert first["cross_k"]["k_um2"][radius] == pytest.approx(k, rel=1e-6)
    assert first["cross_k"]["l_um"][radius] == pytest.approx(math.sqrt(k / math.pi), rel=1e-6)


def _overlap_um2(mask: np.ndarray, cell: float, dx: float, dy: float) -> float:
    """Area of a union of square cells that lies on itself shifted, cell by cell."""
    x, y = dx / cell, dy / cell
    i, j = math.floor(x), math.floor(y)
    u, v = x - i, y - j
    return sum(
        share * _product(mask, i + di, j + dj) * cell**2
        for di, dj, share in ((0, 0, (1 - u) * (1 - v)), (1, 0, u * (1 - v)), (0, 1, (1 - u) * v), (1, 1, u * v))
    )


def _product(mask: np.ndarray, dx: int, dy: int) -> float:
    h, w = mask.shape
    here = mask[max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)]
    there = mask[max(0, -dy) : h + min(0, -dy), max(0, -dx) : w + min(0, -dx)]
    return float((here * there).sum())


def _all_overlaps(mask: np.ndarray, cell: float, reach: int) -> dict[tuple[int, int], float]:
    steps = range(-reach, reach + 1)
    return {(i, j): _product(mask, i, j) * cell**2 for i in steps for j in steps}


def _interpolated(table: dict[tuple[int, int], float], cell: float, dx: float, dy: float) -> float:
    x, y = dx / cell, dy / cell
    i, j = math.floor(x), math.floor(y)
    u, v = x - i, y - j
    top = table[i, j] * (1 - u) + table[i + 1, j] * u
    low = table[i, j + 1] * (1 - u) + table[i + 1, j + 1] * u
    return top * (1 - v) + low * v


def test_hot_spots_and_density_maps(made: Path, numbers: dict[str, Any], objects: geopandas.GeoDataFrame) -> None:
    """Densities by overlay of squares with tissue; Gi* by its formula over neighbours found by touching."""
    found = numbers["immune"]["hot_spots"]
    tissue = cells_of_tissue(made)
    x0, y0, x1, y1 = tissue.total_bounds
    size = found["grid_um"]
    columns, lines = math.ceil((x1 - x0) / size - 1e-9), math.ceil((y1 - y0) / size - 1e-9)
    squares = geopandas.GeoDataFrame(
        geometry=[
            shapely.box(x0 + i * size, y0 + j * size, x0 + (i + 1) * size, y0 + (j + 1) * size)
            for j in range(lines)
            for i in range(columns)
        ]
    )
    pieces = squares.reset_index().overlay(tissue, keep_geom_type=True)
    area = pieces.assign(area=pieces.area).groupby("index")["area"].sum().reindex(squares.index, fill_value=0.0)
    place = np.floor((points(objects, [IMMUNE]) - (x0, y0)) / size).astype(int)
    n = pandas.Series(place @ (1, columns)).value_counts().reindex(squares.index, fill_value=0)
    filled = area / size**2 >= 0.25
    density = (n / (area * 1e-6)).where(filled)
    share = (area / size**2).where(filled, 0.0)
    assert numbers["maps"][1]["highest_per_mm2"] == pytest.approx(density.max(), rel=1e-9)
    mean, spread, total = density.mean(), density.std(ddof=0), int(filled.sum())
    near = squares.sjoin(squares, predicate="intersects").groupby(level=0)["index_right"].apply(list)
    z = {}
    for k in squares.index[filled]:
        w = share[near[k]]
        above = (w * density[near[k]].fillna(0)).sum() - mean * w.sum()
        z[k] = above / (spread * math.sqrt((total * (w**2).sum() - w.sum() ** 2) / (total - 1)))
    p = stats.norm.sf(list(z.values()))
    q = dict(zip(z, stats.false_discovery_control(p), strict=True))
    assert found["n_tested"] == total
    assert found["n_hot"] == sum(v <= 0.05 for v in q.values())
    assert len(found["spots"]) == 8
    for spot in found["spots"]:
        k = round((spot["y_um"] - y0) / size) * columns + round((spot["x_um"] - x0) / size)
        assert spot["n"] == n[k]
        assert spot["density_per_mm2"] == pytest.approx(density[k], rel=1e-9)
        assert spot["z"] == pytest.approx(z[k], rel=1e-6, abs=1e-9)
        assert spot["q"] == pytest.approx(q[k], rel=1e-6)
        assert spot["hot"] == (q[k] <= 0.05)
    scores = [spot["z"] for spot in found["spots"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(max(z.values()), rel=1e-6)
    corners = np.array([(s["x_um"], s["y_um"]) for s in found["spots"]])
    assert spatial.distance.pdist(corners, "chebyshev").min() > size + 1, "no two are neighbours"


def test_distributions_and_thresholds(numbers: dict[str, Any], objects: geopandas.GeoDataFrame) -> None:
    for drawn, band, prompt in zip(numbers["histograms"], numbers["uncertainty"]["threshold"], PROMPTS, strict=True):
        own = objects[objects["class"] == prompt.class_name]
        assert (drawn["class"], band["class"]) == (prompt.class_name,) * 2
        assert sum(drawn["area"]["counts"]) + drawn["area"]["above"] == len(own) == band["n"]
        if not len(own):
            assert drawn["area"]["median_um2"] is drawn["score"]["median"] is None
            continue
        area, probability = own["Area um^2"], own["Detection probability"]
        assert drawn["area"]["median_um2"] == pytest.approx(area.median(), rel=1e-4)
        assert drawn["score"]["median"] == pytest.approx(probability.median(), abs=1e-3)
        counts, _ = np.histogram(own.area, drawn["area"]["edges_um2"])
        assert drawn["area"]["counts"] == counts.tolist()
        assert abs(band["n_raised"] - (probability > 0.6).sum()) <= (abs(probability - 0.6) < 1e-3).sum()
        assert band["area_um2"] == pytest.approx(own.area.sum())


def test_doubtful_classes(numbers: dict[str, Any], objects: geopandas.GeoDataFrame) -> None:
    shares = [f"Share {PROMPTS[k].class_name}" for k in PROMPTS.of_kind("cell")]
    cells = objects[objects["kind"] == "cell"]
    top = np.sort(cells[shares].to_numpy(), axis=1)
    lead = pandas.Series(top[:, -1] - top[:, -2], index=cells.index)
    for entry in numbers["uncertainty"]["ambiguous"]:
        own = lead[cells["class"] == entry["class"]]
        doubtful = (abs(own - 0.2) < 2e-3).sum()  # shares are written with three decimals
        assert entry["n"] == len(own)
        assert abs(entry["n_ambiguous"] - (own < 0.2).sum()) <= doubtful


def test_the_table_is_the_numbers(made: Path, numbers: dict[str, Any]) -> None:
    with (made / "counts.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(numbers["rows"])
    for line, row in zip(table, numbers["rows"], strict=True):
        assert (line["slide"], line["class"], line["compartment"]) == ("a tumour", row["class"], row["compartment"])
        assert int(line["n"]) == row["n"]
        for name in ("density_per_mm2", "density_low", "density_high", "share_percent", "area_percent"):
            value = row[name]
            assert line[name] == "" if value is None else float(line[name]) == pytest.approx(value, abs=0.01)


def test_quality_is_that_of_the_overview(made: Path, numbers: dict[str, Any]) -> None:
    inputs = read_report_inputs(made / "report_inputs")
    glass = np.median(inputs.picture[~inputs.tissue].reshape(-1, 3), axis=0)
    od = np.log(np.maximum(glass, 1) / np.maximum(inputs.picture[inputs.tissue].astype(float), 1)).mean(axis=0)
    assert numbers["quality"]["mean_od"] == pytest.approx(od.tolist(), abs=0.02)


def test_a_square_of_tissue_and_four_cells_by_hand(tmp_path: Path) -> None:
    tissue = Tissue(np.ones((125, 125), np.bool_), (8.0, 8.0), (1000.0, 1000.0))
    spots = np.array([[100.25, 100.25], [300.25, 100.25], [500.25, 700.25], [900.25, 900.25]])
    folder = write_slide(tmp_path, "by hand", Content(tissue, {1: spots}))
    numbers = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    row = rows(numbers, "all tissue")["Inflammatory"]
    assert (row["n"], row["compartment_mm2"], row["density_per_mm2"]) == (4, pytest.approx(1.0), pytest.approx(4.0))
    assert row["density_low"] is None
    assert "effective blocks" in row["density_note"]
