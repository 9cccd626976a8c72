from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

import wsiparse as package
from tests.conftest import ROOT
from wsiparse.doctor.demo import PaintedSlide, compare, paint_slide, painted_field
from wsiparse.export.objectframe import ObjectFrame

SIZE, SEED = 512, 3
NAME = f"synthetic-{SIZE}px-seed{SEED}"
INFLAMMATORY, OTHER = "Inflammatory cells", "Other nuclei"


class Shown(NamedTuple):
    folder: Path
    out: str


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """The folder of a demo in a process of its own, and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    code = "import sys; from wsiparse.cli.main import main; main(sys.argv[1:])"
    arguments = ["demo", "-o", str(folder), "--size", str(SIZE), "--seed", str(SEED)]
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return Shown(folder, ran.stdout)


@pytest.fixture(scope="module")
def painted(shown: Shown) -> PaintedSlide:
    return paint_slide(shown.folder / NAME / f"{NAME}.svs", size_px=SIZE, seed=SEED)


@pytest.fixture(scope="module")
def found(shown: Shown) -> ObjectFrame:
    (folder,) = (shown.folder / "slides").iterdir()
    return package.read_objects(folder)


def told(text: str, name: str) -> list[str]:
    """The cells of a row of the table: true, found, difference, precision, recall."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return line.removeprefix(name).split()


def test_the_true_counts_are_those_that_were_painted(shown: Shown) -> None:
    inflammatory = painted_field(SIZE, SEED).inflammatory
    assert int(told(shown.out, INFLAMMATORY)[0]) == inflammatory.sum() > 0
    assert int(told(shown.out, OTHER)[0]) == (~inflammatory).sum() > 0
    assert int(told(shown.out, "all nuclei")[0]) == len(inflammatory)


def test_the_found_counts_are_those_of_the_results(shown: Shown, found: ObjectFrame) -> None:
    for name in (INFLAMMATORY, OTHER):
        n, wanted = (found["class"] == name).sum(), told(shown.out, name)
        assert int(wanted[1]) == n
        assert int(wanted[2]) == n - int(wanted[0])
    assert int(told(shown.out, "all nuclei")[1]) == len(found)


def test_it_says_that_the_slide_is_synthetic_and_where_everything_lies(shown: Shown) -> None:
    assert "SYNTHETIC" in shown.out
    assert "embedded network, not BiomedParse" in shown.out
    for word, name in (("truth", "truth.geojson"), ("report", "report.html")):
        path = Path(told(shown.out, word)[0])
        assert path.name == name
        assert path.is_file()


def test_the_truth_beside_the_slide_is_every_painted_nucleus_exactly(painted: PaintedSlide) -> None:
    field = painted_field(SIZE, SEED)
    features = json.loads(painted.truth_file.read_text(encoding="utf-8"))["features"]
    assert len(features) == len(field.inflammatory)
    area = np.bincount(field.labels.ravel())[1:]
    for k, feature in enumerate(features):
        polygon = shape(feature["geometry"])
        assert polygon.is_valid
        assert polygon.area == area[k]
        y, x = np.nonzero(field.labels == k + 1)
        assert shapely.contains_xy(polygon, x + 0.5, y + 0.5).all()
        name = feature["properties"]["classification"]["name"]
        assert name == (INFLAMMATORY if field.inflammatory[k] else OTHER)


def test_a_perfect_answer_agrees_wholly(painted: PaintedSlide, found: ObjectFrame) -> None:
    answer = replace(found, class_id=painted.truth.class_id, centroid=painted.truth.centroid)
    for name, score in compare(painted, answer):
        assert (name, score.precision, score.recall) == (name, 1.0, 1.0)
        assert score.found == score.truth > 0


def test_misses_shifts_inventions_and_wrong_classes_are_counted_for_what_they_are(
    painted: PaintedSlide, found: ObjectFrame
) -> None:
    truth = painted.truth
    n, inflammatory = len(truth), int((truth.class_id == 1).sum())
    first = np.flatnonzero(truth.class_id == 1)
    class_id, centroid = truth.class_id.copy(), truth.centroid.copy()
    class_id[first[0]] = 2  # called the wrong class
    centroid[first[1]] += (5.9, 0.0)  # 2.95 um off: still a pair
    keep = np.arange(n) != first[2]  # not found
    class_id = np.append(class_id[keep], np.uint8(1))
    centroid = np.concatenate([centroid[keep], [[-100.0, -100.0]]])  # nothing is there
    rows = dict(compare(painted, replace(found, class_id=class_id, centroid=centroid)))
    got = {name: (score.truth, score.found, score.pairs) for name, score in rows.items()}
    others = n - inflammatory
    assert got == {
        INFLAMMATORY: (inflammatory, inflammatory - 1, inflammatory - 2),
        OTHER: (others, others + 1, others),
        "all nuclei": (n, n, n - 1),
    }


def test_objects_of_other_classes_are_not_compared(painted: PaintedSlide, found: ObjectFrame) -> None:
    other = replace(found, prompts=package.PromptSet(found.prompts.prompts[:1]))
    with pytest.raises(ValueError, match="painted"):
        compare(painted, other)


def test_what_is_done_is_kept_and_told_again(shown: Shown, wsiparse: Callable) -> None:
    slide = shown.folder / NAME / f"{NAME}.svs"
    before = slide.stat()
    again = wsiparse("demo", "-o", shown.folder, "--size", SIZE, "--seed", SEED)
    assert again.code == 0
    assert "already done" in again.out
    assert again.out.partition("class ")[2] == shown.out.partition("class ")[2]
    after = slide.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not list(slide.parent.glob(".tmp-*"))


def test_a_damaged_slide_is_painted_again(tmp_path: Path) -> None:
    slide = tmp_path / "new" / "slide.svs"
    whole = paint_slide(slide, size_px=256, seed=0).slide.read_bytes()
    slide.write_bytes(whole[:100])
    assert paint_slide(slide, size_px=256, seed=0).slide.read_bytes() == whole


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(tmp_path: Path, wsiparse: Callable) -> None:
    (tmp_path / "taken").write_text("a file")
    said = wsiparse("demo", "-o", tmp_path / "taken", "--size", 256)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert str(tmp_path / "taken") in said.err


@pytest.mark.parametrize("wrong", [("--size", "100"), ("--size", "x"), ("--seed", "-1")])
def test_sizes_and_seeds_out_of_range_are_wrong_usage(wrong: tuple[str, str], wsiparse: Callable) -> None:
    assert wsiparse("demo", *wrong).code == 2


def test_the_script_writes_the_same_slide(tmp_path: Path) -> None:
    target = tmp_path / "made.svs"
    script = ROOT / "scripts" / "make_demo_slide.py"
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    said = subprocess.run(
        [sys.executable, str(script), str(target)], capture_output=True, text=True, check=False, env=environment
    )
    assert said.returncode == 0, said.stderr
    features = json.loads((tmp_path / "truth.geojson").read_text(encoding="utf-8"))["features"]
    assert f"with {len(features)} nuclei: {target}" in said.stdout
    assert subprocess.run([sys.executable, str(script)], capture_output=True, check=False).returncode == 2
