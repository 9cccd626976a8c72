from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import shapely

from tests.qupath.bench import Bench, image
from tests.tiling.test_roi import read_roi
from wsiparse.tiling import read_regions

SIZE = (640, 512)
HOLE = "POLYGON ((20.25 20, 400 20.125, 400 300, 20.25 300, 20.25 20), (100 100, 100 200, 200 200, 200 100, 100 100))"
TWO = "MULTIPOLYGON (((450 0, 500 0, 500 500, 450 0)), ((520 10, 630 10, 630 500, 520 250, 520 10)))"
TUMOR = {"type": "annotation", "wkt": HOLE, "class": "Tumor", "name": 'says "me"'}
STROMA = {"type": "annotation", "wkt": TWO, "class": "Stroma"}
LINE = {"type": "annotation", "wkt": "LINESTRING (0 0, 600 500)", "class": "Tumor"}
OURS = {"type": "annotation", "wkt": "POLYGON ((1 1, 9 1, 9 9, 1 1))", "metadata": {"wsiparse": "1"}}
OURS_UNTAGGED = {"type": "annotation", "wkt": OURS["wkt"], "id": "a0d6ab1e-1d8c-5b05-9c24-0ddc8d3bbd6f"}


def exporting(*arguments: str, **where: Any) -> dict[str, Any]:
    return {"script": "export_regions", "args": list(arguments), **(where or {"open": 0})}


def test_exported_annotations_are_read_back_exactly(bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "roi.geojson"
    (state,) = bench.run(
        tmp_path, [image(objects=[TUMOR, STROMA, LINE, OURS, OURS_UNTAGGED])], [exporting(f"out={target}")]
    )
    assert state["error"] is None
    both = [shapely.from_wkt(HOLE), shapely.from_wkt(TWO)]
    found = read_regions(target)
    assert [r.class_name for r in found.regions] == ["Tumor", "Stroma"]
    for region, shape in zip(found.regions, both, strict=True):
        assert shapely.normalize(region.geometry) == shapely.normalize(shape)
    assert read_roi(target, SIZE).equals(shapely.union_all(both))
    moved = read_roi(target, (2000, 2000), offset=(1000, 300))
    assert moved.equals(shapely.transform(shapely.union_all(both), lambda xy: xy + (1000, 300)))
    assert "wrote 2 annotations" in state["printed"]
    assert "left out 1 without area" in state["printed"]
    assert [path.name for path in target.parent.iterdir()] == ["roi.geojson"]  # nothing temporary is left
    (tmp_path / "any").touch()
    assert target.stat().st_mode == (tmp_path / "any").stat().st_mode  # readable as other files of the same user are
    assert {f["id"] for f in json.loads(target.read_text())["features"]} <= {
        o["id"] for o in state["images"][0]["objects"]
    }


def test_what_is_exported_can_be_chosen(bench: Bench, tmp_path: Path) -> None:
    images = [
        image(objects=[TUMOR, STROMA, OURS]),
        image("other.svs", objects=[TUMOR, {**STROMA, "selected": 1}]),
        image("empty.svs"),
    ]
    steps = [
        exporting(f"out={tmp_path}/a.geojson", "class=Tumor"),
        exporting(f"out={tmp_path}/b.geojson", "ours=true"),
        exporting(f"out={tmp_path}/c.geojson", open=1),
        exporting(f"out={tmp_path}/d.geojson", open=2),
        exporting(),
    ]
    *_, empty, nowhere = bench.run(tmp_path, images, steps)
    assert [r.class_name for r in read_regions(tmp_path / "a.geojson").regions] == ["Tumor"]
    assert len(read_regions(tmp_path / "b.geojson").regions) == 3
    assert [r.class_name for r in read_regions(tmp_path / "c.geojson").regions] == ["Stroma"]
    assert "empty.svs: no annotation with an area, nothing written" in empty["printed"]
    assert not (tmp_path / "d.geojson").exists()
    assert nowhere["error"].startswith("IllegalArgumentException: Where to?")


def test_a_project_gives_a_file_an_image_even_where_names_repeat(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "regions"
    images = [image("x.svs", uri=f"file:///{folder}/x.svs", objects=[TUMOR]) for folder in ("one", "two")]
    bench.run(tmp_path, images, [exporting(f"out={out}", each=1)], project=1)
    files = sorted(out.iterdir())
    assert len(files) == 2
    assert all(path.name.startswith("x__") and len(read_regions(path).regions) == 1 for path in files)


def test_an_exported_region_limits_a_run_to_its_inside(
    bench: Bench, demo_slide: Path, tmp_path: Path, wsiparse: Any
) -> None:
    region = {"type": "annotation", "wkt": "POLYGON ((100 100, 420 100, 300 400, 100 400, 100 100))"}
    target = tmp_path / "roi.geojson"
    bench.run(tmp_path, [image(objects=[region])], [exporting(f"out={target}")])
    said = wsiparse("run", demo_slide, "-o", tmp_path / "r", "--engine", "classical", "--roi", target)
    assert said.code == 0, said.err
    (state,) = bench.run(tmp_path, [image()], [{"script": "import_overlay", "args": [str(tmp_path / "r")], "open": 0}])
    found = [shapely.from_wkt(o["wkt"]) for o in state["images"][0]["objects"]]
    shape = shapely.from_wkt(region["wkt"])
    assert len(found) > 10
    assert all(shape.covers(cell.centroid) for cell in found)


def test_classes_take_the_colours_of_the_run_even_if_others_were_first(
    bench: Bench, results: Path, slide_folder: Path, tmp_path: Path
) -> None:
    prompts = json.loads((slide_folder / "objects.zarr" / "zarr.json").read_text())["attributes"]["prompts"]
    wanted = {p["class_name"]: int("ff" + p["colour"][1:], 16) - (1 << 32) for p in prompts}
    cell = {"type": "detection", "wkt": "POLYGON ((1 1, 9 1, 9 9, 1 1))", "class": prompts[0]["class_name"]}
    colours = "class_colours"
    steps = [
        {"script": colours, "args": [str(results)], "open": 0},
        {"script": colours, "args": [str(slide_folder), f"{prompts[0]['class_name']}=#010203"], "open": 0},
        {"script": colours, "args": [f"{prompts[0]['class_name']}=#ff0000"], "open": 0},
        {"script": colours, "args": [str(tmp_path)], "open": 0},
        {"script": colours, "open": 0},
    ]
    run, named, red, empty, nothing = bench.run(tmp_path, [image(objects=[cell])], steps, project=1)
    assert run["error"] is None
    assert run["images"][0]["objects"][0]["color"] == wanted[cell["class"]]
    assert run["classes"] == named["classes"] == list(wanted)
    assert (run["synchronised"], run["hierarchy_updates"]) == (1, 1)
    assert named["images"][0]["objects"][0]["color"] == int("ff010203", 16) - (1 << 32)
    assert red["images"][0]["objects"][0]["color"] == int("ffff0000", 16) - (1 << 32)
    assert "no objects.zarr in it" in empty["error"]
    assert nothing["error"].startswith("IllegalArgumentException: Which colours?")


def test_what_is_no_colour_is_not_taken_for_one(bench: Bench, tmp_path: Path) -> None:
    wrong = ["Tumor=red", "Tumor=#12345"]
    states = bench.run(tmp_path, [image()], [{"script": "class_colours", "args": [w], "open": 0} for w in wrong])
    for state, given in zip(states, wrong, strict=True):
        assert given in state["error"]
