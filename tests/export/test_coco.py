from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.export.results import CELLS, REGIONS, SLIDE, objects_at
from tests.reference.writing import pixels_of
from tests.store.tables import PROMPTS, masks, table_of
from tests.test_atomic import files_up_to, names_in
from wsiparse.coords import Frame
from wsiparse.errors import OutputError
from wsiparse.export.coco import run_lengths, write_coco
from wsiparse.export.objectframe import ObjectFrame
from wsiparse.export.reading import joined, object_frames
from wsiparse.store.read import ObjectsReader
from wsiparse.types import ObjectTable


def write(path: Path, reader: ObjectsReader, size: tuple[int, int] = (8192, 8192), **changes: Any) -> dict[str, Any]:
    frames = object_frames(reader, **changes)
    write_coco(path, frames, prompts=PROMPTS, kinds=("cell", "region"), image=("S 1", *size), facts={"a": "Ä"})
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def whole(reader: ObjectsReader, **changes: Any) -> ObjectFrame:
    return joined(list(object_frames(reader, **changes)))


def pixels_of_runs(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """The mask of uncompressed run lengths, by the definition: down the columns, first outside."""
    height, width = segmentation["size"]
    values = np.repeat(np.arange(len(segmentation["counts"])) % 2 == 1, segmentation["counts"])
    return np.pad(values, (0, height * width - len(values))).reshape(width, height).T


def pixels_of_ring(flat: list[float], width: int, height: int) -> NDArray[np.bool_]:
    """Pixels whose centre is inside a ring by the even-odd rule."""
    points = np.array(flat).reshape(-1, 2)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    crossings = np.zeros((height, width), np.int64)
    for (xa, ya), (xb, yb) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if ya != yb:
            meets = (np.minimum(ya, yb) <= y) & (y < np.maximum(ya, yb))
            crossings += meets & (x < xa + (y - ya) / (yb - ya) * (xb - xa))
    return crossings % 2 == 1


def shoelace(flat: list[float]) -> float:
    x, y = np.array(flat).reshape(-1, 2).T
    return abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2


@given(mask=masks(), scale=st.sampled_from([1, 2]))
@settings(max_examples=25)
def test_segmentations_are_the_pixels_of_the_objects(
    tmp_path_factory: pytest.TempPathFactory, mask: NDArray[np.bool_], scale: int
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    field = Frame((16, 16), (scale, scale), (0.5, 0.5))
    size = 16 * scale
    reader = objects_at(folder / "objects.zarr", [table_of(mask)], frame=field)
    frame = whole(reader)
    found = write(folder / "a.json", reader, (size, size), rows=3)["annotations"]
    assert len(found) == len(frame)
    offsets, polygons = frame.shapes().ring_offsets, frame.shapes().polygon_offsets
    for k, one in enumerate(found):
        rings = [
            frame.shapes().coords[offsets[r] : offsets[r + 1]].astype(int) for r in range(polygons[k], polygons[k + 1])
        ]
        expected = np.zeros((size + 2, size + 2), bool)  # pixels_of has a border of one
        inside = pixels_of(rings)
        x, y = rings[0].min(axis=0)
        expected[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        told = one["segmentation"]
        if isinstance(told, dict):
            assert told["size"] == [size, size]
            drawn = pixels_of_runs(told)
        else:
            (ring,) = told
            assert len(rings) == 1
            assert ring[:2] != ring[-2:]
            drawn = pixels_of_ring(ring, size, size)
        assert np.array_equal(drawn, expected[1:-1, 1:-1])
        assert drawn.sum() == one["area"] == frame["area_px"][k]
        rows, columns = np.nonzero(drawn)
        x0, y0 = columns.min(), rows.min()
        assert one["bbox"] == [x0, y0, columns.max() + 1 - x0, rows.max() + 1 - y0]


def test_every_annotation_names_its_object_class_and_score(tmp_path: Path) -> None:
    reader = objects_at(tmp_path / "objects.zarr")
    frame, found = whole(reader), write(tmp_path / "a.json", reader, rows=7)
    assert [one["uuid"] for one in found["annotations"]] == frame["id"].tolist()
    assert [one["id"] for one in found["annotations"]] == list(range(1, len(frame) + 1))
    assert [one["category_id"] for one in found["annotations"]] == frame.class_id.tolist()
    assert [one["score"] for one in found["annotations"]] == pytest.approx(frame["detection_probability"], abs=5.1e-5)
    assert {(one["image_id"], one["iscrowd"]) for one in found["annotations"]} == {(1, 0)}
    assert found["images"] == [{"id": 1, "file_name": "S 1", "width": 8192, "height": 8192, "slide_id": "S 1"}]
    assert [(c["id"], c["name"], c["supercategory"]) for c in found["categories"]] == [
        (k + 1, prompt.class_name, prompt.kind) for k, prompt in enumerate(PROMPTS)
    ]
    assert found["info"]["wsiparse"] == {"a": "Ä"}


@pytest.mark.parametrize(
    ("size", "field", "offset"),
    [
        ((1 << 16, 1 << 16), Frame((4096, 4096), (2.0, 2.0), (0.5, 0.5)), (0, 0)),  # more px than 32 bits count
        ((8192, 8192), Frame((4096, 4096), (1.37, 1.9), (0.5, 0.5)), (0, 0)),  # outlines between pixels
        ((8192, 8192), Frame((4096, 4096), (2.0, 2.0), (0.5, 0.5)), (500, 0)),  # objects left of the image
        ((100, 100), Frame((4096, 4096), (2.0, 2.0), (0.5, 0.5)), (0, 0)),  # objects right of the image
    ],
)
def test_holes_that_run_lengths_cannot_tell_are_joined_to_the_shell(
    tmp_path: Path, size: tuple[int, int], field: Frame, offset: tuple[int, int]
) -> None:
    reader = objects_at(tmp_path / "objects.zarr", frame=field)
    frame = whole(reader, offset=offset)
    found = write(tmp_path / "a.json", reader, size, offset=offset)["annotations"]
    holes = shapely.get_num_interior_rings(frame.polygons())
    joint = 0
    for one, n, area, box in zip(
        found, holes.tolist(), frame["area_px"].tolist(), frame.shapes().bounds(), strict=True
    ):
        low, high = box[:2], box[2:]
        assert np.allclose(one["bbox"], [*low, *(high - low)], rtol=0, atol=1e-9)
        if isinstance(one["segmentation"], dict):
            assert low.min() >= 0
            assert (high <= size).all()
            continue
        (ring,) = one["segmentation"]
        joint += n > 0
        assert shoelace(ring) == pytest.approx(area)
        assert one["area"] == area
    assert joint > 0


def test_pixels_of_a_joined_ring_are_those_of_the_object(tmp_path: Path) -> None:
    reader = objects_at(tmp_path / "objects.zarr", [REGIONS], frame=Frame((64, 64), (1.0, 1.0), (0.5, 0.5)))
    runs = write(tmp_path / "a.json", reader, (64, 64))["annotations"]
    joint = write(tmp_path / "b.json", reader, (1 << 20, 1 << 20))["annotations"]
    compared = 0
    for a, b in zip(runs, joint, strict=True):
        if isinstance(a["segmentation"], dict):
            (ring,) = b["segmentation"]
            assert np.array_equal(pixels_of_ring(ring, 64, 64), pixels_of_runs(a["segmentation"]))
            compared += 1
    assert compared > 0


def test_run_lengths_that_begin_or_end_with_the_object() -> None:
    full = np.array([[0, 0], [2, 0], [2, 3], [0, 3], [0, 0]])
    assert run_lengths([full], 2, 3) == [0, 6]
    assert run_lengths([full], 3, 3) == [0, 6, 3]
    assert run_lengths([full + [1, 0]], 3, 3) == [3, 6]
    assert run_lengths([full[:, ::-1]], 3, 3) == [0, 2, 1, 2, 1, 2, 1]


def test_pycocotools_draws_the_same_pixels(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    field = Frame((96, 96), (2.0, 2.0), (0.5, 0.5))
    reader = objects_at(tmp_path / "objects.zarr", [CELLS, REGIONS], frame=field)
    for one in write(tmp_path / "a.json", reader, (192, 192))["annotations"]:
        told = coco.frPyObjects(one["segmentation"], 192, 192)
        runs = coco.merge(told) if isinstance(told, list) else told
        assert coco.area(runs) == one["area"]
        assert coco.toBbox(runs).tolist() == one["bbox"]


def test_no_objects_are_an_empty_list_under_the_same_categories(tmp_path: Path) -> None:
    found = write(tmp_path / "a.json", objects_at(tmp_path / "objects.zarr", [ObjectTable()]))
    assert found["annotations"] == []
    assert len(found["categories"]) == len(PROMPTS)


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    reader = objects_at(tmp_path / "objects.zarr", slide=SLIDE)
    (tmp_path / "out").mkdir()
    with files_up_to(1000), pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "out" / "a.json", reader)
    assert names_in(tmp_path / "out") == []
