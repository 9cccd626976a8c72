from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.qupath.bench import SCRIPTS, Bench

NAMES = ["class_colours", "count_by_annotation", "density_grid", "export_regions", "import_overlay"]


def test_every_script_compiles_with_static_types(bench: Bench) -> None:
    scripts = sorted(SCRIPTS.glob("*.groovy"))
    assert [path.stem for path in scripts] == NAMES
    done = bench.check(*scripts)
    assert done.returncode == 0, done.stdout + done.stderr


TYPOS = [
    ("import_overlay", "hierarchy.getDetectionObjects()", "hierarchy.getDetectionObject()"),
    ("import_overlay", "object.getMetadata()", "object.getMetaData()"),
    ("import_overlay", "new JsonReader(", "new JsonReaders("),
    ("density_grid", "import qupath.lib.roi.ROIs", "import qupath.lib.rois.ROIs"),
    ("count_by_annotation", "measure && !chosen", "meassure && !chosen"),
    ("export_regions", "writer.beginObject()", "writer.beginObject(1)"),
    ("class_colours", "project.syncChanges()", "project.synchChanges()"),
]


def test_a_typo_does_not_compile(bench: Bench, tmp_path: Path) -> None:
    broken = []
    for k, (script, right, wrong) in enumerate(TYPOS):
        text = (SCRIPTS / f"{script}.groovy").read_text(encoding="utf-8")
        assert right in text
        broken.append(tmp_path / f"typo{k}.groovy")
        broken[-1].write_text(text.replace(right, wrong, 1), encoding="utf-8")
    done = bench.check(*broken)
    assert done.returncode == 1
    for path in broken:
        assert re.search(rf"{path.name}: \d+: ", done.stdout), done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_does_and_how_to_run_it_without_a_window(name: str) -> None:
    head = (SCRIPTS / f"{name}.groovy").read_text(encoding="utf-8").split("*/")[0]
    assert "QuPath 0.5.1 or newer" in head
    assert re.search(rf"QuPath script -p project\.qpproj .*\b{name}\.groovy", head)


def test_no_script_resolves_the_hierarchy_unless_asked() -> None:
    for path in SCRIPTS.glob("*.groovy"):
        text = path.read_text(encoding="utf-8")
        assert text.count("resolveHierarchy") == (1 if path.stem == "import_overlay" else 0)
    assert "boolean RESOLVE = false" in (SCRIPTS / "import_overlay.groovy").read_text(encoding="utf-8")
