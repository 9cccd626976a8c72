from __future__ import annotations

import copy
import gzip
import hashlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
import shapely
import shapely.geometry
import shapely.wkt

from tests.qupath.bench import Bench, image
from tests.store.tables import PROMPTS, regions
from wsiparse.coords import Frame
from wsiparse.export.geojson import OverlayFacts, write_geojson
from wsiparse.results.folder import slide_folder as folder_of

FOREIGN = {
    "type": "annotation",
    "wkt": "POLYGON ((10 10, 60 10, 60 60, 10 60, 10 10))",
    "class": "Tumor",
    "name": "drawn",
}
FOREIGN_CELL = {"type": "detection", "wkt": "POLYGON ((1 1, 6 1, 6 6, 1 6, 1 1))", "metadata": {"by": "hand"}}


def document(folder: Path) -> Any:
    return json.loads(gzip.decompress((folder / "cells.geojson.gz").read_bytes()))


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


#: What the versions of QuPath let be put on objects, as the stand-ins know it.
VERSIONS: dict[str, dict[str, Any]] = {
    "0.5": {"detections_keep_no_metadata": 1},
    "0.6": {},
    "strict": {"detections_keep_no_metadata": 1, "annotations_keep_no_metadata": 1},
}


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> dict[str, Any]:
    return VERSIONS[request.param]


def ours(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [o for o in objects if uuid.UUID(o["id"]).version == 5]


def importing(*arguments: object, **where: Any) -> dict[str, Any]:
    return {"script": "import_overlay", "args": [str(a) for a in arguments], **(where or {"open": 0})}


def test_a_second_import_replaces_the_first_and_what_others_drew_stays(
    bench: Bench, results: Path, slide_folder: Path, tmp_path: Path, version: dict[str, Any]
) -> None:
    features = document(slide_folder)["features"]
    assert len(features) > 100
    first, second = bench.run(tmp_path, [image(objects=[FOREIGN, FOREIGN_CELL])], [importing(results)] * 2, **version)
    for state in (first, second):
        assert (state["error"], state["logged"]) == (None, 0)
        shown = state["images"][0]["objects"]
        assert len(ours(shown)) == len(features) == len(shown) - 2
        assert [o for o in shown if o["metadata"] == {"by": "hand"}]
        assert [o for o in shown if o.get("name") == "drawn"]
    by_id = {o["id"]: o for o in ours(second["images"][0]["objects"])}
    for feature in features:
        found, properties = by_id[feature["id"]], feature["properties"]
        assert found["type"] == "detection"
        assert found["class"] == properties["classification"]["name"]
        assert found["metadata"] == {}
        assert found["measurements"] == pytest.approx(properties["measurements"])
        assert shapely.wkt.loads(found["wkt"]).equals(shapely.geometry.shape(feature["geometry"]))
    assert f"{len(features)} objects added" in first["printed"]
    assert " 0 of an earlier import removed, 0 skipped" in first["printed"]
    assert f" {len(features)} of an earlier import removed" in second["printed"]
    assert "WARNING" not in first["printed"]
    assert second["images"][0]["additions"] == 2  # one call an import
    assert second["images"][0]["removals"] == 1
    assert not second["images"][0]["lost_children"]
    assert not second["images"][0]["resolved"]


def test_bad_features_are_skipped_and_counted_by_reason(bench: Bench, slide_folder: Path, tmp_path: Path) -> None:
    good = document(slide_folder)
    bad = copy.deepcopy(good)
    n = len(bad["features"])
    bad["features"][0]["geometry"]["coordinates"][0] = bad["features"][0]["geometry"]["coordinates"][0][:3]
    bad["features"][1]["properties"]["classification"]["name"] = " "
    bad["features"][2]["geometry"] = None
    write(tmp_path / "three" / "cells.geojson.gz", bad)
    worse = copy.deepcopy(good)
    del worse["features"][0]["properties"]["classification"]["color"]
    worse["features"][1]["geometry"]["coordinates"][0].pop()
    worse["features"][2]["geometry"]["coordinates"] = [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]
    worse["features"][3]["geometry"] = {"type": "Circle", "coordinates": [1, 2]}
    worse["features"][4]["properties"]["classification"]["name"] = "a\nb"
    worse["features"][5] = 7
    worse["features"][6]["id"] = None
    worse["features"][7]["properties"] = None
    worse["features"][8]["geometry"]["coordinates"] = "here"
    write(tmp_path / "nine" / "cells.geojson", worse)
    # an unknown key, a missing one and properties of somebody else are no reason
    good["features"][0]["properties"]["metadata"] = {"wsiparse": "0.0.1"}
    del good["features"][2]["id"]
    good["features"][1]["more"] = [1, {"of": "it"}]
    write(tmp_path / "none" / "cells.geojson", {"more": {"features": [1]}, **good})
    steps = [importing(tmp_path / name) for name in ("three", "nine", "none")]
    three, nine, none = bench.run(tmp_path, [image()], steps)
    for state, skipped in ((three, 3), (nine, 9), (none, 0)):
        assert state["error"] is None
        assert len(ours(state["images"][0]["objects"])) == n - skipped
        assert f", {skipped} skipped, " in state["printed"]
    lines = [line.strip() for line in three["printed"].splitlines() if "skipped 1:" in line]
    assert lines == [
        "skipped 1: a blank class name",
        "skipped 1: a ring of fewer than four points",
        "skipped 1: no geometry",
    ]
    assert "skipped 1: a ring that is not closed" in nine["printed"]
    assert "skipped 1: a class name with a line break" in nine["printed"]
    assert f"{n} objects added" in none["printed"]


def test_a_file_cut_off_changes_nothing(bench: Bench, results: Path, slide_folder: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut" / "cells.geojson.gz"
    cut.parent.mkdir()
    cut.write_bytes((slide_folder / "cells.geojson.gz").read_bytes()[:-2000])
    plain = tmp_path / "plain" / "cells.geojson"
    plain.parent.mkdir()
    plain.write_bytes(gzip.decompress((slide_folder / "cells.geojson.gz").read_bytes())[:5000])
    first, *broken = bench.run(tmp_path, [image()], [importing(p) for p in (results, cut.parent, plain.parent)])
    for state, path in zip(broken, (cut, plain), strict=True):
        assert state["error"].startswith(f"IOException: {path}: cannot be read")
        assert state["images"] == first["images"]


def test_objects_outside_the_image_are_warned_of(bench: Bench, results: Path, tmp_path: Path) -> None:
    (state,) = bench.run(tmp_path, [image(width=320)], [importing(results)])
    found = ours(state["images"][0]["objects"])
    boxes = shapely.bounds([shapely.wkt.loads(o["wkt"]) for o in found])
    outside = int(((boxes[:, 0] + boxes[:, 2]) / 2 > 320).sum())
    assert 0 < outside < len(found)
    assert f"WARNING: {outside} of {len(found)} objects fall outside the image (320 x 512 px)" in state["printed"]
    assert "starts at 0, 0 of the scanned canvas" in state["printed"]
    assert "WARNING: the overlay is of an image of 640 x 512 px, this one has 320 x 512 px" in state["printed"]


def parts(folder: Path, slide_folder: Path, rows: int, suffix: str) -> int:
    """The features of a slide again, in parts as the writer names them."""
    found = document(slide_folder)
    features = found["features"]
    starts = range(0, len(features), rows)
    for number, start in enumerate(starts, start=1):
        part = {**found, "features": features[start : start + rows]}
        write(folder / f"cells.part{number:03d}{suffix}", part)
    return len(starts)


@pytest.mark.parametrize("suffix", [".geojson.gz", ".geojson"])
def test_all_parts_are_read_and_a_missing_one_is_an_error(
    bench: Bench, slide_folder: Path, tmp_path: Path, suffix: str
) -> None:
    n = len(document(slide_folder)["features"])
    assert parts(tmp_path / "whole", slide_folder, 50, suffix) == 4
    parts(tmp_path / "gap", slide_folder, 50, suffix)
    (tmp_path / "gap" / f"cells.part002{suffix}").unlink()
    steps = [importing(tmp_path / "whole"), importing(tmp_path / "gap")]
    whole, gap = bench.run(tmp_path, [image()], steps)
    assert len(whole["images"][0]["objects"]) == n
    assert f"from cells.part001{suffix}, cells.part002{suffix}, cells.part003{suffix}" in whole["printed"]
    assert "part002" in gap["error"]
    assert "missing" in gap["error"]
    assert gap["images"] == whole["images"]


def test_regions_are_locked_annotations_and_cells_and_regions_replace_only_their_kind(
    bench: Bench, slide_folder: Path, tmp_path: Path, version: dict[str, Any]
) -> None:
    folder = tmp_path / slide_folder.name
    folder.mkdir()
    shutil.copy(slide_folder / "cells.geojson.gz", folder)
    frame = Frame(size=(640, 512), downsample=(1.0, 1.0), mpp=(0.5, 0.5))
    written = write_geojson(
        folder / "regions.geojson.gz",
        [regions()],
        OverlayFacts(frame, PROMPTS, "f", "test"),
        object_type="annotation",
        locked=True,
    )
    assert written.objects
    cells = len(document(slide_folder)["features"])
    steps = [importing(folder), importing(folder / "regions.geojson.gz"), importing(folder / "cells.geojson.gz")]
    for state in bench.run(tmp_path, [image(objects=[FOREIGN])], steps, **version):
        assert (state["error"], state["logged"]) == (None, 0)
        found = ours(state["images"][0]["objects"])
        annotations = [o for o in found if o["type"] == "annotation"]
        assert len(annotations) == written.objects
        assert all(o["locked"] and o["class"] == PROMPTS[1].class_name for o in annotations)
        if "annotations_keep_no_metadata" not in version:
            assert all(o["metadata"]["engine"] == "test" for o in annotations)
        assert len(found) == written.objects + cells
        assert len(state["images"][0]["objects"]) == len(found) + 1


def test_objects_that_came_through_the_menu_are_not_doubled(
    bench: Bench, results: Path, slide_folder: Path, tmp_path: Path, version: dict[str, Any]
) -> None:
    features = document(slide_folder)["features"]
    menu = [
        {"type": "detection", "id": f["id"], "wkt": shapely.geometry.shape(f["geometry"]).wkt} for f in features[:20]
    ]
    once, twice = bench.run(tmp_path, [image(objects=[*menu, FOREIGN_CELL])], [importing(results)] * 2, **version)
    for state in (once, twice):
        found = state["images"][0]["objects"]
        assert len(ours(found)) == len(features) == len(found) - 1
    assert " 20 of an earlier import removed" in once["printed"]


def test_a_different_run_leaves_no_cell_of_the_first(
    bench: Bench, slide_folder: Path, tmp_path: Path, version: dict[str, Any]
) -> None:
    """Cells whose outline another setting changed have other ids; old files carry metadata on every cell."""
    old = document(slide_folder)
    for feature in old["features"]:
        feature["properties"]["metadata"] = {"wsiparse": "0.1.0", "engine": "x"}
    new = document(slide_folder)
    for feature in new["features"]:
        feature["id"] = str(uuid.uuid5(uuid.UUID(feature["id"]), "another outline"))
    del new["features"][50:]
    for name, value in (("old", old), ("new", new)):
        write(tmp_path / name / "cells.geojson.gz", value)
    steps = [importing(tmp_path / "old"), importing(tmp_path / "new"), importing(tmp_path / "new")]
    first, *rest = bench.run(tmp_path, [image(objects=[FOREIGN, FOREIGN_CELL])], steps, **version)
    assert len(ours(first["images"][0]["objects"])) == len(old["features"]) > 50
    for state in rest:
        assert (state["error"], state["logged"]) == (None, 0)
        shown = state["images"][0]["objects"]
        assert {o["id"] for o in ours(shown)} == {f["id"] for f in new["features"]}
        assert len(shown) == 52


def test_features_without_an_id_are_replaced_by_the_next_import(
    bench: Bench, slide_folder: Path, tmp_path: Path, version: dict[str, Any]
) -> None:
    value = document(slide_folder)
    for feature in value["features"]:
        del feature["id"]
    write(tmp_path / "a" / "cells.geojson.gz", value)
    _, twice = bench.run(tmp_path, [image(objects=[FOREIGN_CELL])], [importing(tmp_path / "a")] * 2, **version)
    assert twice["images"][0]["count"] == len(value["features"]) + 1


def test_centroids_are_points_in_place_of_outlines(bench: Bench, slide_folder: Path, tmp_path: Path) -> None:
    found = document(slide_folder)
    n = len(found["features"])
    for feature in found["features"]:
        point = shapely.geometry.shape(feature["geometry"]).centroid
        feature["geometry"] = {"type": "Point", "coordinates": [round(point.x, 2), round(point.y, 2)]}
    folder = tmp_path / slide_folder.name
    write(folder / "centroids.geojson.gz", found)
    alone = tmp_path / "alone" / slide_folder.name
    write(alone / "centroids.geojson.gz", found)
    shutil.copy(slide_folder / "cells.geojson.gz", folder)
    steps = [importing(folder), importing(folder, "centroids=true"), importing(alone)]
    for state, kind in zip(bench.run(tmp_path, [image()], steps), ("POLYGON", "POINT", "POINT"), strict=True):
        shown = state["images"][0]["objects"]
        assert len(shown) == n
        assert all(o["wkt"].startswith(kind) for o in shown)


def project(results: Path, tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Results of two slides, and a project that holds them, a third one, and one whose file is gone."""
    (folder,) = (results / "slides").iterdir()
    both = tmp_path / "both" / "slides"
    shutil.copytree(folder, both / "a__00000001")
    shutil.copytree(folder, both / "slide_b__00000002")
    shutil.copytree(folder, both / "gone__00000003")
    images = [
        image("a.svs", objects=[FOREIGN]),
        image("renamed", uri="file:///slides/slide%20b.ndpi"),
        image("c.svs", objects=[FOREIGN]),
        image("gone.svs", unreadable=1),
    ]
    return both.parent, images


def test_a_whole_project_is_imported_and_saved_image_by_image(bench: Bench, results: Path, tmp_path: Path) -> None:
    both, images = project(results, tmp_path)
    n = len(document(next((results / "slides").iterdir()))["features"])
    first, second = bench.run(
        tmp_path,
        images,
        [importing(both, "project=true", open=0), importing(both, "project=true", closed=1)],
        project=1,
    )
    for state in (first, second):
        a, b, c, gone = state["images"]
        assert (len(ours(a["objects"])), len(a["objects"])) == (n, n + 1)
        assert len(b["saved"]) == n
        assert (len(c["saved"]), c["saves"]) == (1, 0)
        assert gone["saves"] == 0
        assert state["error"].startswith("IOException: Import failed for gone.svs")
        assert "gone.svs: ERROR: cannot open" in state["printed"]
        assert "c.svs: left as it is, no results of c in" in state["printed"]
        assert "wsiparse: 2 of 4 images got an overlay, 1 failed: gone.svs" in state["printed"]
    assert first["images"][0]["saves"] == 0  # open in the viewer: for its user to save
    assert first["images"][0]["closed"] == 0
    assert "a.svs: open in the viewer, not saved yet" in first["printed"]
    assert first["images"][1]["saves"] == first["images"][1]["closed"] == 1
    assert (second["images"][0]["saves"], second["images"][1]["saves"]) == (1, 2)


def test_one_overlay_is_not_put_on_every_image_of_a_project(bench: Bench, slide_folder: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    shutil.copytree(slide_folder, renamed)
    images = [image("demo.svs"), image("b.svs")]
    steps = [importing(p, closed=1) for p in (renamed, renamed / "cells.geojson.gz", slide_folder)]
    folder, file, named = bench.run(tmp_path, images, steps, project=1)
    for state in (folder, file):
        assert "the overlay of one image, and the project has 2" in state["error"]
        assert not any(i["saves"] for i in state["images"])
    assert named["error"] is None
    assert [i["saves"] for i in named["images"]] == [1, 0]


def test_run_for_project_imports_each_image_its_own(bench: Bench, results: Path, tmp_path: Path) -> None:
    both, images = project(results, tmp_path)
    n = len(document(next((results / "slides").iterdir()))["features"])
    (state,) = bench.run(tmp_path, images[:3], [importing(both, each=1)], project=1)
    assert [len(i["saved"]) for i in state["images"]] == [n + 1, n, 1]
    assert state["error"] is None


def test_results_of_the_same_name_are_told_apart_by_path_or_left_alone(
    bench: Bench, results: Path, tmp_path: Path
) -> None:
    (folder,) = (results / "slides").iterdir()
    path = "/slides/one/x.svs"
    digest = hashlib.sha256(path.encode()).hexdigest()[:8]
    slides = tmp_path / "same" / "slides"
    shutil.copytree(folder, slides / f"x__{digest}")
    write(slides / "x__00000000" / "cells.geojson.gz", {"type": "FeatureCollection", "features": []})
    images = [image("x.svs", uri=f"file://{path}"), image("x.svs", uri="file:///slides/two/x.svs")]
    known, unknown, chosen, wrong = bench.run(
        tmp_path,
        images,
        [
            importing(slides.parent, open=0),
            importing(slides.parent, open=1),
            importing(slides / f"x__{digest}", open=1),
            importing(folder, open=1),
        ],
    )
    n = len(document(folder)["features"])
    assert len(known["images"][0]["objects"]) == n
    assert not unknown["images"][1]["objects"]
    assert "2 results carry its name: x__00000000" in unknown["printed"]
    assert len(chosen["images"][1]["objects"]) == n
    assert f"left as it is, {folder.name} is of another slide" in wrong["printed"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "IllegalArgumentException: Where are the results?"),
        (["/nowhere/at all"], "FileNotFoundException: /nowhere/at all: no such file or folder"),
    ],
)
def test_what_is_missing_is_said_in_one_line(bench: Bench, tmp_path: Path, given: list[str], said: str) -> None:
    opened, closed, none = bench.run(
        tmp_path,
        [image()],
        [importing(*given), importing(*given, nothing=1), {"script": "import_overlay", "open": 0}],
    )
    for state in (opened, closed):
        assert state["error"].startswith(said)
        assert "\n" not in state["error"]
    assert none["error"].startswith("IllegalArgumentException: Where are the results?")


def test_without_an_image_it_asks_for_one(bench: Bench, results: Path, tmp_path: Path) -> None:
    (state,) = bench.run(tmp_path, [image()], [importing(results, nothing=1)])
    assert state["error"] == "IllegalStateException: No image is open. Open one, or a project."


def test_folder_names_follow_the_same_rule_as_the_results(bench: Bench, tmp_path: Path) -> None:
    names = [
        "Fall 7 (HE) #2.svs",
        "größe_Ω.ndpi",
        ".hidden.tif",
        "a.ome.tif",
        "___.svs",
        "x" * 120 + ".svs",
        "no ending",
    ]
    images = []
    for name in names:
        place = folder_of(tmp_path / "odd", Path("/slides") / name)
        feature = {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[1, 1], [5, 1], [5, 5], [1, 1]]]},
            "properties": {"objectType": "detection"},
        }
        write(place / "cells.geojson.gz", {"type": "FeatureCollection", "features": [feature]})
        images.append(image(name, uri=Path("/slides", name).as_uri()))
    steps = [importing(tmp_path / "odd", open=k) for k in range(len(names))]
    states = bench.run(tmp_path, images, steps)
    for k, state in enumerate(states):
        assert state["error"] is None
        assert len(state["images"][k]["objects"]) == 1, (names[k], state["printed"])
