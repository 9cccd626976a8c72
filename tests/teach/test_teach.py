"""`wsiparse teach` on painted slides whose nuclei are known, with the classical engine's nuclei."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from tests.conftest import Said
from wsiparse.cli.main import main
from wsiparse.config import RunConfig
from wsiparse.errors import WeightsError
from wsiparse.objects.scores import centroids_of, match_points
from wsiparse.recognize.registry import engine_of
from wsiparse.recognize.taught.engine import DOUBTFUL
from wsiparse.recognize.taught.features import NAMES
from wsiparse.recognize.taught.model import read_taught, sealed
from wsiparse.run.pipeline import Analysis, analyse
from wsiparse.slides.memory import MemorySlide
from wsiparse.slides.synthetic import paint_he, write_svs
from wsiparse.store.read import ObjectsReader
from wsiparse.teach.crops import features_of
from wsiparse.teach.fit import calibrated_head, cross_validate, folds_of

Wsiparse = Callable[..., Said]


def point(x: float, y: float, name: str) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [x, y]}
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}


def labels_of(seed: int, size: tuple[int, int] = (700, 620)) -> list[dict[str, Any]]:
    painted = paint_he(*size, seed=seed)
    ids, points = centroids_of(painted.labels)
    small = painted.inflammatory
    return [point(x, y, "Small" if small[i - 1] else "Large") for i, (x, y) in zip(ids, points.tolist(), strict=True)]


def written(path: Path, features: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One slide, its results in r, its labels in a.geojson, and the model of them in model."""
    place = tmp_path_factory.mktemp("taught")
    write_svs(place / "a.svs", paint_he(700, 620, seed=5).image)
    written(place / "a.geojson", labels_of(5))
    for arguments in (
        ["run", place / "a.svs", "-o", place / "r", "--engine", "classical", "--whole-slide"],
        ["teach", place / "r", "--annotations", place / "a.geojson", "-o", place / "model"],
    ):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        assert not stop.value.code
    return place


def analysed(model: Path, tile: int, **more: Any) -> Analysis:
    slide = MemorySlide(paint_he(900, 700, seed=9).image, 0.5, name="b")
    return analyse(slide, RunConfig(engine=str(model), device="cpu", tile_size=tile, whole_slide=True), **more)


def test_a_taught_engine_tells_painted_classes_apart_on_another_slide(made: Path) -> None:
    found = analysed(made / "model", 512)
    names = [prompt.class_name for prompt in found.prepared.prompts]
    assert names == ["Large", "Small", DOUBTFUL]
    painted = paint_he(900, 700, seed=9)
    ids, points = centroids_of(painted.labels)
    left, right = match_points(points, found.cells.centroid, 6.0)
    said = found.cells.class_id[right]
    truth = np.where(np.array(painted.inflammatory)[ids[left] - 1], 2, 1)
    assert (said == truth).mean() > 0.9
    assert len(left) > 100


def test_objects_and_classes_are_the_same_for_any_tiling(made: Path) -> None:
    whole = analysed(made / "model", 1024)
    for tile, workers in ((464, 1), (560, 2)):
        other = analysed(made / "model", tile, workers=workers)
        for name in ("coords", "class_id", "score", "class_share", "first_px"):
            np.testing.assert_array_equal(getattr(whole.cells, name), getattr(other.cells, name))


def test_features_read_at_objects_are_those_of_a_tile(made: Path) -> None:
    """Cut out one by one, or all together: a nucleus has the same numbers."""
    [folder] = (made / "r" / "slides").glob("a__*")
    reader = ObjectsReader(folder / "objects.zarr")
    table, frame = reader.table("cell"), reader.frames["cell"]
    slide = MemorySlide(paint_he(700, 620, seed=5).image, 0.5, name="a")
    together = features_of(slide, frame, table, None)
    alone = np.concatenate([features_of(slide, frame, table.rows(k, k + 1), None) for k in range(len(table))])
    np.testing.assert_array_equal(together, alone)
    assert together.shape == (len(table), len(NAMES))
    np.testing.assert_allclose(together[:, 0], table.area_px * 0.25)


def test_a_model_has_figures_and_a_page(made: Path) -> None:
    model = read_taught(made / "model")
    rows = {row["class"]: row for row in model.figures["classes"]}
    assert rows["Large"]["f1"]["value"] > 0.9
    assert rows["Small"]["f1"]["value"] > 0.8
    assert model.figures["by"] == "squares of 250 um of one slide"
    assert sum(c["n"] for c in model.figures["calibration"]) == sum(r["examples"] for r in rows.values())
    assert model.data[0]["nuclei"] == sum(r["examples"] for r in rows.values())
    page = (made / "model" / "teach.html").read_text()
    assert "Calibration" in page
    assert "Small" in page


def test_a_model_runs_where_engines_run(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    said = wsiparse("run", made / "a.svs", "-o", tmp_path / "r", "--engine", made / "model", "--whole-slide")
    assert said.code == 0, said.err
    [folder] = (tmp_path / "r" / "slides").iterdir()
    record = json.loads((folder / "DONE.json").read_text())
    assert record["engine"] == "model, taught on classical, not BiomedParse"
    assert [c["class_name"] for c in record["summary"]["counts"]] == ["Large", "Small", DOUBTFUL]
    assert wsiparse("engines", made / "model").code == 0


def test_a_model_that_was_changed_or_whose_base_is_another_is_refused(made: Path, tmp_path: Path) -> None:
    facts = json.loads((made / "model" / "taught.json").read_text())
    (tmp_path / "taught.json").write_text(json.dumps({**facts, "doubt": 0.1}))
    with pytest.raises(WeightsError, match="its SHA-256 differs"):
        engine_of(str(tmp_path))
    (tmp_path / "taught.json").write_text(json.dumps(sealed({**facts, "features": facts["features"][1:]})))
    with pytest.raises(WeightsError, match="of another version of wsiparse; teach again"):
        engine_of(str(tmp_path))
    other = {**facts, "base": {**facts["base"], "weights_sha256": "0" * 64}}
    (tmp_path / "taught.json").write_text(json.dumps(sealed(other)))
    engine = engine_of(str(tmp_path))
    with pytest.raises(WeightsError, match="taught on nuclei of classical, not BiomedParse with weights 000000000000"):
        engine.info(engine.spec())


def test_bad_labels_are_said_in_one_line(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    labels = labels_of(5)
    small = [f for f in labels if f["properties"]["classification"]["name"] == "Small"]
    large = [f for f in labels if f["properties"]["classification"]["name"] == "Large"]
    clash = [*labels, {**small[0], "properties": {"classification": {"name": "Large"}}}]
    far = [point(9000.0 + k, 9000.0, "Small") for k in range(30)]
    bare = [{**f, "properties": {}} for f in labels]
    for features, says in (
        (large, "only the class Large on nuclei that were found"),
        (bare, "no class on nuclei that were found"),
        ([*large, *small[:3]], "too few examples of Small (3, at least 5 needed and 20 wanted)"),
        (clash, "one nucleus has two labels"),
        (far, "30 of 30 annotated nuclei lie off the slide"),
        ([], "no class on nuclei that were found"),
    ):
        path = written(tmp_path / "a.geojson", features)
        said = wsiparse("teach", made / "r", "--annotations", path, "-o", tmp_path / "m")
        assert said.code == 1, features[:1]
        assert says in said.err, said.err
        assert said.err.count("\n") == 1
        assert not (tmp_path / "m").exists()
    said = wsiparse("teach", made / "r", "--annotations", tmp_path / "none", "-o", tmp_path / "m")
    assert "no such folder or file of annotations" in said.err
    said = wsiparse("teach", made / "r", "--annotations", made / "a.geojson", "-o", made / "model")
    assert "`wsiparse teach` never replaces a model" in said.err


def test_few_examples_are_said_and_areas_label_what_they_hold(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    labels = labels_of(5)
    small = [f for f in labels if f["properties"]["classification"]["name"] == "Small"][:10]
    region = dict(shapely.geometry.mapping(shapely.box(0, 0, 700, 620)))
    area = {"type": "Feature", "geometry": region, "properties": {"classification": {"name": "Rest"}}}
    path = written(tmp_path / "a.geojson", [area, *small])
    said = wsiparse("teach", made / "r", "--annotations", path, "-o", tmp_path / "m")
    assert said.code == 0, said.err
    assert "too few examples of Small (10, at least 20 wanted)" in said.err
    model = read_taught(tmp_path / "m")
    assert model.data[0]["counts"]["Small"] == 10
    assert model.data[0]["counts"]["Rest"] > 100


def test_a_slide_that_is_gone_is_named(made: Path, wsiparse: Wsiparse, tmp_path: Path) -> None:
    write_svs(tmp_path / "a.svs", paint_he(700, 620, seed=5).image)
    run = ("run", tmp_path / "a.svs", "-o", tmp_path / "r", "--engine", "classical", "--whole-slide")
    assert wsiparse(*run).code == 0
    (tmp_path / "a.svs").unlink()
    said = wsiparse("teach", tmp_path / "r", "--annotations", made / "a.geojson", "-o", tmp_path / "m")
    assert said.code == 1
    assert "a: its pixels are needed to teach, but" in said.err
    assert not (tmp_path / "m").exists()


def test_folds_keep_groups_together() -> None:
    groups = np.repeat([4, 7, 9, 1, 2, 3], [50, 10, 10, 5, 5, 1])
    folds = folds_of(groups)
    assert len(np.unique(folds)) == 5
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1


def test_held_out_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 3000)
    features = rng.standard_normal((3000, 6))
    features[:, :3] += 1.2 * np.eye(3)[classes]
    shares, temperature = cross_validate(features, classes, 3, folds_of(np.arange(3000) // 100))
    top, right = shares.max(axis=1), shares.argmax(axis=1) == classes
    for low in (0.4, 0.6, 0.8):
        inside = (top >= low) & (top < low + 0.2)
        assert abs(top[inside].mean() - right[inside].mean()) < 0.06
    head = calibrated_head(features, classes, 3, temperature)
    assert (head.logits(features).argmax(axis=1) == classes).mean() > 0.6
