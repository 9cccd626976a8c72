from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from tests.viewer.made import Truth, make, truth
from wsiparse.errors import OutputError
from wsiparse.export.formats import export
from wsiparse.store.read import ObjectsReader
from wsiparse.types import Box
from wsiparse.viewer.labelmaps import SAMPLES, LabelMaps, find_labels
from wsiparse.viewer.source import find_shown
from wsiparse.viewer.view import View


@pytest.fixture(scope="module")
def maps(made: Path) -> LabelMaps:
    return LabelMaps(find_labels(made), ObjectsReader(made / "objects.zarr"))


def counted(found: Truth, class_id: int, exponent: int, box: Box) -> np.ndarray:
    """Points of each px that fall on the class, one at a time, where level 0 of the labels is looked at."""
    frame = found.frames["region" if class_id in found.regions else "cell"]
    mask, out = found.mask(class_id), np.zeros((box.height, box.width), np.uint8)
    for y in range(box.height * SAMPLES):
        for x in range(box.width * SAMPLES):
            j = int((box.y + (y + 0.5) / SAMPLES) * 2.0**exponent / frame.downsample[1])
            i = int((box.x + (x + 0.5) / SAMPLES) * 2.0**exponent / frame.downsample[0])
            if j < frame.size[1] and i < frame.size[0]:
                out[y // SAMPLES, x // SAMPLES] += mask[j, i]
    return out


@pytest.mark.parametrize("class_id", [1, 2, 3, 4, 5])
@given(data=st.data())
def test_points_fall_on_the_objects_they_fall_on(
    maps: LabelMaps, found: Truth, class_id: int, data: st.DataObject
) -> None:
    # up to here a step between points is shorter than two px of the labels
    exponent = data.draw(st.integers(-1, 3))
    width, height = (n >> exponent if exponent > 0 else n << -exponent for n in (1500, 1100))
    box = Box(data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1)), 5, 4)
    np.testing.assert_array_equal(maps.covered(class_id, exponent, box), counted(found, class_id, exponent, box))


@pytest.mark.parametrize("class_id", [1, 2, 3, 4])
def test_from_afar_the_covered_share_is_that_of_the_class(maps: LabelMaps, found: Truth, class_id: int) -> None:
    # a slide of 1500 x 1100 px in 47 x 35 px
    covered = maps.covered(class_id, 5, Box(0, 0, 47, 35)).sum() / SAMPLES**2 * 32**2
    frame = found.frames["region" if class_id in found.regions else "cell"]
    area = found.mask(class_id).sum() * np.prod(frame.downsample)
    assert covered == pytest.approx(area, rel=0.05)


def test_without_labels_the_error_says_how_to_make_them(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200), labels=False)
    with pytest.raises(OutputError, match=r"no labels\.ome\.zarr.*wsiparse export .* --format ome-zarr"):
        View(find_shown(folder))


def test_labels_that_were_exported_later_are_found(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200))
    (folder / "exports").mkdir()
    shutil.rmtree(folder / "labels.ome.zarr")
    export(folder / "objects.zarr", "ome-zarr")
    labels = folder / "exports" / "labels.ome.zarr"
    assert find_labels(folder) == labels
    assert LabelMaps(labels, ObjectsReader(folder / "objects.zarr")).covered(1, 1, Box(0, 0, 150, 100)).any()


@pytest.mark.parametrize("fault", ["changed", "no hash", "other objects"])
def test_exported_labels_that_are_not_what_was_written_are_refused(tmp_path: Path, fault: str) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200))
    shutil.rmtree(folder / "labels.ome.zarr")
    export(folder / "objects.zarr", "ome-zarr")
    labels = folder / "exports" / "labels.ome.zarr"
    note = folder / "exports" / "labels.ome.zarr.json"
    if fault == "changed":
        chunk = next(p for p in (labels / "labels/cell_classes/0").rglob("*") if p.is_file() and p.name != "zarr.json")
        chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    elif fault == "no hash":
        note.unlink()
    else:
        facts = json.loads(note.read_text(encoding="ascii")) | {"objects_sha256": "0" * 64}
        note.write_text(json.dumps(facts), encoding="ascii")
    said = {"changed": "damaged", "no hash": "no hash of it", "other objects": "of other objects"}[fault]
    with pytest.raises(OutputError, match=f"{said}.*--format ome-zarr, after removing this folder"):
        View(find_shown(folder))


def test_labels_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", truth((300, 200)), size=(300, 200))
    other = make(tmp_path / "b", truth((320, 200)), size=(320, 200))
    with pytest.raises(OutputError, match="cell_classes is not 150 x 100 px"):
        LabelMaps(other / "labels.ome.zarr", ObjectsReader(folder / "objects.zarr"))


def test_damaged_labels_are_an_error_that_names_them(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200))
    image = folder / "labels.ome.zarr" / "labels" / "cell_classes"
    chunk = next(p for p in (image / "0").rglob("*") if p.is_file() and p.name != "zarr.json")
    chunk.write_bytes(b"not zstd")
    maps = LabelMaps(folder / "labels.ome.zarr", ObjectsReader(folder / "objects.zarr"))
    with pytest.raises(OutputError, match="level 0 of cell_classes cannot be decoded"):
        maps.covered(1, 0, Box(0, 0, 10, 10))


def test_a_missing_label_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200))
    shutil.rmtree(folder / "labels.ome.zarr" / "labels" / "regions_3")
    with pytest.raises(OutputError, match="label image regions_3 cannot be opened"):
        LabelMaps(folder / "labels.ome.zarr", ObjectsReader(folder / "objects.zarr"))


def test_older_ngff_is_read_too(tmp_path: Path) -> None:
    from wsiparse.export.labels import write_labels

    found = truth((300, 200))
    folder = make(tmp_path, found, size=(300, 200), labels=False)
    reader = ObjectsReader(folder / "objects.zarr")
    write_labels(folder / "labels.ome.zarr", reader, version="0.4")
    assert zarr.open_group(folder / "labels.ome.zarr", mode="r").metadata.zarr_format == 2
    box = Box(10, 10, 6, 6)
    covered = LabelMaps(folder / "labels.ome.zarr", reader).covered(1, 0, box)
    np.testing.assert_array_equal(covered, counted(found, 1, 0, box))
