"""`wsiparse evaluate` and `wsiparse compare` on painted slides whose nuclei are known."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from tests.conftest import Said
from wsiparse.cli.main import main
from wsiparse.measure.naming import joined_classes, meaning, parse_pairs
from wsiparse.objects.scores import centroids_of
from wsiparse.slides.synthetic import paint_he, write_svs

Wsiparse = Callable[..., Said]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two slides in r, their annotations in truth: labels of a, fields and points of b."""
    place = tmp_path_factory.mktemp("measured")
    (place / "truth").mkdir()
    for name, seed in (("a", 5), ("b", 6)):
        painted = paint_he(400, 320, seed=seed)
        write_svs(place / f"{name}.svs", painted.image)
        ids, points = centroids_of(painted.labels)
        if name == "a":
            Image.fromarray(painted.labels.astype(np.uint16)).save(place / "truth" / "a.label.png")
            types = {int(i): 2 if painted.inflammatory[i - 1] else 3 for i in ids}
            (place / "truth" / "a.types.json").write_text(json.dumps(types))
        else:
            names = ["Lymphocyte" if painted.inflammatory[i - 1] else "Tumor" for i in ids]
            features = [_point(p, n) for p, n in zip(points.tolist(), names, strict=True)]
            fields = [_field(x, y, x + 100, y + 160) for x in (0, 100, 200, 300) for y in (0, 160)]
            (place / "truth" / "b.geojson").write_text(
                json.dumps({"type": "FeatureCollection", "features": features + fields})
            )
    slides = [str(place / "a.svs"), str(place / "b.svs")]
    with pytest.raises(SystemExit) as stop:
        main(["run", *slides, "-o", str(place / "r"), "--engine", "classical", "--whole-slide"])
    assert not stop.value.code
    return place


def _point(at: list[float], name: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": at},
        "properties": {"classification": {"name": name}},
    }


def _field(*box: float) -> dict[str, Any]:
    geometry = dict(shapely.geometry.mapping(shapely.box(*box)))
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": "Region*"}}}


def _evaluated(folder: Path, name: str = "evaluation") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


def test_painted_slides_are_found_as_painted(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    said = wsiparse("evaluate", made / "r", "--truth", made / "truth", "-o", tmp_path / "e")
    assert said.code == 0, said.err
    numbers = _evaluated(tmp_path / "e")
    rows = {row["class"]: row for row in numbers["rows"]}
    assert rows["all nuclei"]["f1"]["value"] > 0.9
    assert rows["all nuclei"]["f1"]["low"] < rows["all nuclei"]["f1"]["value"] < rows["all nuclei"]["f1"]["high"]
    assert rows["all nuclei"]["f1"]["fields"] == 9
    assert rows["all nuclei"]["pq"]["reason"] == "one side has points, no outlines"
    # "Lymphocyte" and number 2 are the results' inflammatory cells; epithelium is none of theirs
    inflammatory = next(row for name, row in rows.items() if "nflammatory" in name)
    assert inflammatory["f1"]["value"] > 0.5
    assert "Tumor" in rows
    assert "annotations of class Tumor: this run has no class of that meaning" in said.err
    assert "9 field(s)" in said.out
    page = (tmp_path / "e" / "evaluation.html").read_text()
    worse = [f for f in numbers["fields"] if f["class"] == "all nuclei" and f["f1"] < 1]
    assert worse
    assert page.count('src="data:image/jpeg') == len(worse)
    with (tmp_path / "e" / "figures.csv").open() as file:
        table = list(csv.DictReader(file))
    assert float(table[0]["f1"]) == rows["all nuclei"]["f1"]["value"]


def test_one_slide_with_outlines_has_figures_without_intervals(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    [slide] = (made / "r" / "slides").glob("a__*")
    said = wsiparse("evaluate", slide, "--truth", made / "truth" / "a.label.png", "-o", tmp_path / "e")
    assert said.code == 0, said.err
    row = _evaluated(tmp_path / "e")["rows"][0]
    assert row["pq"]["value"] > 0.6
    assert (row["pq"]["low"], row["pq"]["reason"]) == (None, "1 field, at least 5 wanted")
    assert row["limits"]["low"] is None


def test_the_same_input_gives_the_same_bytes(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert wsiparse("evaluate", made / "r", "--truth", made / "truth", "-o", tmp_path / name).code == 0
    for file in ("evaluation.json", "evaluation.html", "figures.csv", "fields.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_what_cannot_be_evaluated_is_said_in_one_line(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    results, truth = made / "r", made / "truth"
    [b] = (results / "slides").glob("b__*")
    no_field = tmp_path / "b.geojson"
    no_field.write_text(json.dumps([_point([50, 50], "Tumor")]))
    off = tmp_path / "off.geojson"
    off.write_text(json.dumps([_field(5000, 5000, 6000, 6000)]))
    for arguments, says in (
        ((results, "--truth", tmp_path / "none"), "no such folder or file of annotations"),
        ((results, "--truth", truth / "b.geojson"), "one file of annotations, but 2 slides"),
        ((results, "--truth", results), "no annotations are named as a slide"),
        ((tmp_path, "--truth", truth), "no results folder"),
        ((b, "--truth", no_field), "no field, so what is not annotated may be missing"),
        ((b, "--truth", off), "no field lies on the analysed part"),
        ((results, "--truth", truth, "--class", "Tumor"), "write the annotated class"),
        ((results, "--truth", truth, "--class", "Tumor=Banana"), "the results have no class 'Banana'"),
        (
            (results, "--truth", truth, "--class", "Banana=Inflammatory"),
            "no annotation is of class 'banana'; there are Lymphocyte, Tumor",
        ),
    ):
        said = wsiparse("evaluate", *arguments, "-o", tmp_path / "e")
        assert said.code == 1, said
        assert says in said.err
        assert said.err.count("\n") == 1
    assert not (tmp_path / "e").exists()
    assert wsiparse("evaluate", results, "--truth", truth, "--complete", "--partial").code == 2


def test_partial_annotations_need_no_field(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    [b] = (made / "r" / "slides").glob("b__*")
    few = tmp_path / "few.geojson"
    whole = json.loads((made / "truth" / "b.geojson").read_text())["features"]
    few.write_text(json.dumps([f for f in whole if f["geometry"]["type"] == "Point"][:20]))
    said = wsiparse("evaluate", b, "--truth", few, "--partial", "-o", tmp_path / "e")
    assert said.code == 0, said.err
    row = _evaluated(tmp_path / "e")["rows"][0]
    assert row["annotated"] == 20
    assert row["recall"]["value"] > 0.8
    assert row["precision"]["value"] is None


def test_a_run_agrees_with_itself_and_not_with_another_engine(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    said = wsiparse("compare", made / "r", made / "r", "-o", tmp_path / "c")
    assert said.code == 0, said.err
    for row in _evaluated(tmp_path / "c", "comparison")["rows"]:
        assert [row[k]["value"] for k in ("f1", "pq", "aji", "count_ratio")] == [1.0] * 4
        assert row["limits"]["mean"] == 0
    other = tmp_path / "other"
    arguments = ["--engine", "classical", "--whole-slide", "--min-area-um2", "40"]
    assert wsiparse("run", made / "a.svs", made / "b.svs", "-o", other, *arguments).code == 0
    said = wsiparse("compare", made / "r", other, "-o", tmp_path / "d")
    assert said.code == 0, said.err
    row = _evaluated(tmp_path / "d", "comparison")["rows"][0]
    assert row["f1"]["value"] < 1
    assert row["found"] < row["annotated"]
    assert row["precision"]["value"] == 1.0


def test_results_of_other_slides_are_refused(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    write_svs(tmp_path / "a.svs", paint_he(400, 320, seed=9).image)
    assert wsiparse("run", tmp_path / "a.svs", "-o", tmp_path / "r", "--engine", "classical").code == 0
    said = wsiparse("compare", made / "r", tmp_path / "r")
    assert said.code == 1
    assert "a: not the same slide in both" in said.err
    [a], [b] = (list((made / "r" / "slides").glob(f"{name}__*")) for name in "ab")
    said = wsiparse("compare", a, b)
    assert said.code == 1
    assert "no slide is in both: a against b" in said.err


def test_slides_of_one_side_only_are_left_out_with_a_notice(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    [a] = (made / "r" / "slides").glob("a__*")
    said = wsiparse("compare", a, made / "r", "-o", tmp_path / "c")
    assert said.code == 0
    assert "b: only in" in said.err
    assert "1 slide(s)" in said.out


def test_classes_are_one_by_name_by_meaning_or_as_told() -> None:
    found, annotated = ["Inflammatory", "Epithelial", ""], ["lymphocyte", "epithelial cells", "Tumor", "", "Blood"]
    names, places = joined_classes(found, annotated, parse_pairs(["tumor=Epithelial"]))
    assert names == ("Inflammatory", "Epithelial", "Blood")
    assert [places[n] for n in annotated] == [0, 1, 1, -1, 2]
    assert joined_classes(found, ["Tumor"], parse_pairs(["Tumor="]))[1]["Tumor"] == -1
    assert meaning("Fibroblast") == "connective tissue cells"


def test_a_moved_slide_costs_the_pictures_only(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    copied = shutil.copytree(made / "r", tmp_path / "copy")
    for file in copied.glob("run-*.json"):
        file.unlink()
    said = wsiparse("evaluate", copied, "--truth", made / "truth")
    assert said.code == 0, said.err
    assert (
        "no picture: no run-*.json says where the slide is" in (copied / "evaluation" / "evaluation.html").read_text()
    )
