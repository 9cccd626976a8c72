from __future__ import annotations

import gzip
import json
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import ome_zarr
import ome_zarr.io
import ome_zarr.reader
import ome_zarr.utils
import pytest
import shapely
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from ome_zarr_models.v05.image_label import ImageLabel
from scipy import ndimage

from tests.export.ngff_rules import problems
from tests.reference import writing as reference
from tests.store.tables import ENGINE, SLIDE
from tests.strategies import blobs, diagonal_loop, planes_of, ring, spiral
from wsiparse import atomic
from wsiparse.atomic import sha256_tree
from wsiparse.choices import Ngff
from wsiparse.coords import Frame, frame_at
from wsiparse.errors import OutputError
from wsiparse.export import labels as module
from wsiparse.export import ngff
from wsiparse.export.geojson import OverlayFacts, write_geojson
from wsiparse.export.labels import write_labels
from wsiparse.objects.split import SplitPixels
from wsiparse.objects.table import build_table
from wsiparse.stitch import Stitcher
from wsiparse.store import zarrfolder
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.types import ObjectTable, Prompt, PromptKind, PromptSet

PROMPTS = PromptSet(
    (
        Prompt("nuclei", 'Nucleus "A"\\B', "#ff8000"),
        Prompt("tumour area", "Tumour Ä 腫瘍", "#0000ff", kind="region"),
        Prompt("inflammatory cells", "Inflammatory", "#00a050"),
        Prompt("glands", "<Gland> & co", "#c000c0", kind="region"),
    )
)
CELLS, REGIONS = PROMPTS.of_kind("cell"), PROMPTS.of_kind("region")
VERSIONS: tuple[Ngff, ...] = ("0.5", "0.4")


@dataclass(frozen=True)
class Field:
    """A label field: (H, W) int32 of 4-connected objects 1..n, none overlapping, and the class id of each."""

    labels: NDArray[np.int32]
    classes: NDArray[np.uint8]

    @property
    def size(self) -> tuple[int, int]:
        return self.labels.shape[1], self.labels.shape[0]

    def firsts(self) -> list[tuple[int, int, int, int]]:
        """(y, x of the first pixel, class id, label) of every object."""
        found, at = np.unique(self.labels, return_index=True)
        rows = [(*divmod(int(i), self.size[0]), int(self.classes[k]), int(k)) for k, i in zip(found, at, strict=True)]
        return [row for row in rows if row[3]]

    def table(self) -> ObjectTable:
        count = len(self.classes) - 1
        confidence = np.full(self.labels.shape, 200, np.uint8)
        table = build_table(self.labels, count, self.classes[self.labels], confidence, len(PROMPTS))
        return replace(table, class_share=np.zeros((len(table), 0), np.float32))


def field_of(values: NDArray[np.integer], class_of: Mapping[int, int]) -> Field:
    """The 4-connected components of equal values other than 0."""
    labels, classes = np.zeros(values.shape, np.int32), [0]
    for value, class_id in class_of.items():
        found, count = ndimage.label(values == value)
        labels += np.where(found > 0, found + len(classes) - 1, 0).astype(np.int32)
        classes += [class_id] * count
    return Field(labels, np.array(classes, np.uint8))


def numbered(*fields: Field) -> list[NDArray[np.int32]]:
    """The fields with ids as promised: 1 for the first object in raster order of all fields together, and so on."""
    order = sorted((*row[:3], which, row[3]) for which, field in enumerate(fields) for row in field.firsts())
    tables = [np.zeros(len(field.classes), np.int32) for field in fields]
    for number, (*_, which, label) in enumerate(order):
        tables[which][label] = number + 1
    return [ids[field.labels] for ids, field in zip(tables, fields, strict=True)]


@st.composite
def cell_fields(draw: st.DrawFn, most: int = 26) -> Field:
    """Objects of two classes that touch along edges, at corners, through holes, and at the border of the canvas."""
    kind = draw(st.sampled_from(("values", "noise", "shape")))
    shape = (draw(st.integers(1, most)), draw(st.integers(1, most)))
    if kind == "values":
        values = draw(hnp.arrays(np.uint8, (min(shape[0], 9), min(shape[1], 9)), elements=st.integers(0, 4)))
    elif kind == "noise":
        smooth = blobs(*shape, draw(st.integers(0, 999)), draw(st.floats(0.6, 2.5)), draw(st.floats(-1, 0.5)))
        values = np.random.default_rng(draw(st.integers(0, 999))).integers(1, 5, shape) * smooth
    else:
        # what the shape leaves free is an object too, so that holes are filled
        values = 1 + draw(st.sampled_from((ring, diagonal_loop, spiral)))(*shape).astype(np.uint8)
    return field_of(values, {1: 1, 2: 1, 3: 3, 4: 3})


EMPTY = Field(np.zeros((3, 5), np.int32), np.zeros(1, np.uint8))


def store(
    folder: Path, tables: list[ObjectTable], frames: Mapping[PromptKind, Frame], prompts: PromptSet = PROMPTS
) -> ObjectsReader:
    with ObjectSorter(folder / "unsorted", frames=frames, prompts=prompts) as sorter:
        for table in tables:
            sorter.append(table)
        sorter.finish(folder / "objects.zarr", engine=ENGINE, slide=SLIDE)
    return ObjectsReader(folder / "objects.zarr")


def frames_of(cells: Field, regions: Field) -> dict[PromptKind, Frame]:
    return {"cell": Frame(cells.size, (2.0, 2.0), (0.5, 0.5)), "region": Frame(regions.size, (8.0, 8.0), (2.0, 2.0))}


def example(folder: Path) -> ObjectsReader:
    """Cells and overlapping regions of two prompts on grids of different pixels, none of them a multiple of a tile."""
    values = np.random.default_rng(3).integers(1, 5, (70, 101)) * blobs(70, 101, 2, 1.5, 0.0)
    cells = field_of(values, {1: 1, 2: 1, 3: 3, 4: 3})
    first, second = (field_of(blobs(18, 26, seed, 2.0, -0.2), {1: 2 * seed}) for seed in (1, 2))
    return store(folder, [f.table() for f in (cells, first, second)], frames_of(cells, first))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    fast(monkeypatch, CHUNK_PX=16, COARSEST_PX=16)


@pytest.fixture
def reader(tmp_path: Path) -> ObjectsReader:
    return example(tmp_path)


def fast(patch: pytest.MonkeyPatch, **values: object) -> None:
    """Set sizes of the module; what is written may be lost in a power cut."""
    for name, value in values.items():
        patch.setattr(module, f"_{name}", value)
    patch.setattr(atomic, "_sync_tree", lambda _: None)


def read(path: Path, name: str, level: int = 0) -> NDArray[Any]:
    group = zarr.open_group(path, mode="r")
    found = group[f"{name}/{level}".lstrip("/")]
    assert isinstance(found, zarr.Array)
    return np.asarray(found[:])


@given(cell_fields(), st.sampled_from(VERSIONS), st.sampled_from((1, 3, 8, 100)), st.sampled_from((5, 8, 64)))
@settings(max_examples=20)
def test_what_is_read_back_is_the_field_pixel_for_pixel_at_every_level(
    field: Field, version: Ngff, band: int, chunk: int
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        fast(patch, CHUNK_PX=chunk, COARSEST_PX=8, BAND_PX=band, BATCH_ROWS={"cell": 3, "region": 1})
        out = folder / "labels.ome.zarr"
        write_labels(out, store(folder, [field.table()], frames_of(field, EMPTY)), version=version)
        (ids,), classes = numbered(field), field.classes[field.labels]
        for level in range(ngff.level_count(field.size, 8)):
            np.testing.assert_array_equal(read(out, "labels/cells", level), reference.coarser(ids, level))
            for image in ("labels/cell_classes", ""):
                np.testing.assert_array_equal(read(out, image, level), reference.coarser(classes, level))
        assert max(read(out, "", level).shape) <= 8


@pytest.mark.parametrize("version", VERSIONS)
def test_made_in_memory_or_on_the_disk_the_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: ObjectsReader, version: Ngff
) -> None:
    write_labels(tmp_path / "memory.ome.zarr", reader, version=version)
    monkeypatch.setattr(zarrfolder, "_IN_MEMORY_BYTES", -1)
    write_labels(tmp_path / "disk.ome.zarr", reader, version=version)
    assert sha256_tree(tmp_path / "memory.ome.zarr") == sha256_tree(tmp_path / "disk.ome.zarr")


@given(st.lists(hnp.arrays(np.bool_, (11, 13)), min_size=2, max_size=2), st.integers(1, 12))
@settings(max_examples=15)
def test_overlapping_regions_are_exact_in_their_own_layers_and_the_smallest_class_shows(
    masks: list[NDArray[np.bool_]], band: int
) -> None:
    first, second = (field_of(mask, {1: k + 1}) for mask, k in zip(masks, REGIONS, strict=True))
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        fast(patch, CHUNK_PX=8, BAND_PX=band)
        out = folder / "labels.ome.zarr"
        write_labels(out, store(folder, [second.table(), first.table()], frames_of(EMPTY, first)))
        for name_, ids in zip(("regions_2", "regions_4"), numbered(first, second), strict=True):
            np.testing.assert_array_equal(read(out, f"labels/{name_}"), ids)
        classes = np.where(masks[0], 2, np.where(masks[1], 4, 0))
        np.testing.assert_array_equal(read(out, "labels/region_classes"), classes)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("version", VERSIONS)
def test_neither_bands_nor_batches_change_a_byte(
    tmp_path: Path, reader: ObjectsReader, version: Ngff, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = set()
    for band, batch in ((256, 1000), (7, 5), (1, 1)):
        fast(monkeypatch, BAND_PX=band, BATCH_ROWS={"cell": batch, "region": batch})
        write_labels(tmp_path / "labels.ome.zarr", reader, version=version)
        digests.add(sha256_tree(tmp_path / "labels.ome.zarr"))
    assert len(digests) == 1


@pytest.mark.usefixtures("small")
def test_the_blocks_that_made_the_objects_change_no_byte(tmp_path: Path) -> None:
    field = planes_of(blobs(90, 110, 5, 2.0, 0.0), seed=1, n_classes=1)
    prompts, frame = PromptSet(PROMPTS.prompts[:1]), Frame((110, 90), (1.0, 1.0), (0.25, 0.25))
    digests = set()
    for block in (16, 37, 128):
        stitcher = Stitcher((110, 90), block, 1, SplitPixels())
        tables = []
        for i in np.random.default_rng(block).permutation(len(stitcher)).tolist():
            box = stitcher.box(i)
            part = (slice(box.y, box.y1), slice(box.x, box.x1))
            tables.append(stitcher.add(stitcher.digest(i, field.classes[part], field.confidence[part], field.od[part])))
        folder = tmp_path / str(block)
        found = store(folder, tables, dict.fromkeys(("cell", "region"), frame), prompts)
        assert found.count("cell") > 10
        write_labels(folder / "labels.ome.zarr", found)
        digests.add(sha256_tree(folder / "labels.ome.zarr"))
    assert len(digests) == 1


@pytest.mark.usefixtures("small")
def test_polygons_of_the_geojson_hold_the_pixels_of_their_label(tmp_path: Path, reader: ObjectsReader) -> None:
    write_labels(tmp_path / "labels.ome.zarr", reader)
    kinds: tuple[tuple[PromptKind, tuple[str, ...]], ...] = (
        ("cell", ("cells",)),
        ("region", ("regions_2", "regions_4")),
    )
    for kind, layers in kinds:
        frame = reader.frames[kind]
        path = tmp_path / f"{kind}.geojson.gz"
        write_geojson(
            path,
            reader.batches(kind),
            OverlayFacts(frame, PROMPTS, "slide", ENGINE),
        )
        features = json.loads(gzip.decompress(path.read_bytes()))["features"]
        images = [read(tmp_path / "labels.ome.zarr", f"labels/{layer}") for layer in layers]
        y, x = np.mgrid[: frame.size[1], : frame.size[0]] + 0.5
        x, y = x * frame.downsample[0], y * frame.downsample[1]
        seen = [np.zeros(image.shape, np.int64) for image in images]
        for number, feature in enumerate(features, start=1):
            name = feature["properties"]["classification"]["name"]
            class_id = [p.class_name for p in PROMPTS].index(name) + 1
            layer = 0 if kind == "cell" else layers.index(f"regions_{class_id}")
            inside = shapely.contains_xy(shapely.geometry.shape(feature["geometry"]), x, y)
            assert inside.any()
            seen[layer][inside] = number
        assert len(features) == reader.count(kind) > 4
        for image, expected in zip(images, seen, strict=True):
            np.testing.assert_array_equal(image, expected)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_folder_keeps_every_rule_of_the_specification(tmp_path: Path, reader: ObjectsReader, version: Ngff) -> None:
    out = tmp_path / "labels.ome.zarr"
    write_labels(out, reader, version=version)
    assert problems(out, version) == []
    assert problems(out, "0.4" if version == "0.5" else "0.5") != []


def change(where: str, edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def change_it(path: Path) -> None:
        file = path / where / ".zattrs"
        content = json.loads(file.read_text())
        edit(content)
        file.write_text(json.dumps(content))

    return change_it


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change(".", lambda a: a["multiscales"][0].pop("version")), "version must be 0.4"),
        (change(".", lambda a: a["multiscales"][0].pop("type")), "lacks type"),
        (change(".", lambda a: a["multiscales"][0]["axes"].reverse()), "zyx"),
        (change(".", lambda a: a["multiscales"][0]["datasets"].reverse()), "from the largest"),
        (change(".", lambda a: a["multiscales"][0]["datasets"].pop()), "as many levels"),
        (change("labels", lambda a: a["labels"].pop()), "the group holds"),
        (change("labels/cells", lambda a: a["image-label"].pop("version")), "image-label.version"),
        (change("labels/cells", lambda a: a["image-label"]["source"].update(image="..")), "is not an image"),
        (change("labels/cell_classes", lambda a: a["image-label"]["colors"][1].update(rgba=[1, 2])), "rgba"),
        (
            change(
                "labels/cells",
                lambda a: a["multiscales"][0]["datasets"][0]["coordinateTransformations"].reverse(),
            ),
            "one scale",
        ),
    ],
)
def test_the_rules_notice_what_breaks_them(
    tmp_path: Path, reader: ObjectsReader, damage: Callable[[Path], None], words: str
) -> None:
    write_labels(tmp_path / "labels.ome.zarr", reader, version="0.4")
    damage(tmp_path / "labels.ome.zarr")
    assert any(words in found for found in problems(tmp_path / "labels.ome.zarr", "0.4"))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_ome_zarr_reader_shows_the_image_and_all_label_layers(
    tmp_path: Path, reader: ObjectsReader, version: Ngff
) -> None:
    out = tmp_path / "labels.ome.zarr"
    write_labels(out, reader, version=version)
    location = ome_zarr.io.parse_url(out)
    assert location is not None
    nodes = {Path(node.zarr.path).name: node for node in ome_zarr.reader.Reader(location)()}
    layers = ["cells", "cell_classes", "regions_2", "regions_4", "region_classes"]
    assert list(nodes) == ["labels.ome.zarr", "labels", *layers]
    for name in layers:
        node = nodes[name]
        assert node.load(ome_zarr.reader.Label) is not None
        assert len(node.data) == len(nodes["labels.ome.zarr"].data) == 4
        np.testing.assert_array_equal(np.asarray(node.data[0]), read(out, f"labels/{name}"))
        scale = 0.5 if name.startswith("cell") else 2.0
        assert node.metadata["coordinateTransformations"][1][0] == {"type": "scale", "scale": [2 * scale] * 2}
    assert nodes["regions_4"].metadata["name"] == "regions: <Gland> & co"
    assert nodes["cells"].metadata["color"] == {}  # a viewer's own colours tell neighbours apart
    colours = nodes["cell_classes"].metadata["color"]
    assert {k: [round(255 * c) for c in rgba] for k, rgba in colours.items()} == {
        0: [0, 0, 0, 0],
        1: [255, 128, 0, 255],
        3: [0, 160, 80, 255],
    }
    assert nodes["cell_classes"].metadata["properties"][1]["class"] == 'Nucleus "A"\\B'
    assert [len(list(ome_zarr.utils.info(str(p)))) for p in (out, out / "labels" / "cells")] == [7, 7]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("version", VERSIONS)
def test_strict_models_of_the_specification_accept_the_folder(
    tmp_path: Path, reader: ObjectsReader, version: Ngff
) -> None:
    out = tmp_path / "labels.ome.zarr"
    write_labels(out, reader, version=version)
    found = ome_zarr.OMEZarrMultiscale.from_ome_zarr(str(out))
    assert isinstance(found, ome_zarr.OMEZarrMultiscale)
    assert found.omero is not None
    assert found.labels is not None
    assert list(found.labels) == ["cells", "cell_classes", "regions_2", "regions_4", "region_classes"]
    assert found.labels["region_classes"].image_label is not None
    assert found.images[0].axes_units == {"y": "micrometer", "x": "micrometer"}
    assert [level.data.shape for level in found.images] == [(70, 101), (35, 51), (18, 26), (9, 13)]
    if version == "0.5":  # the models of 0.4 that read folders do not load with current releases of pydantic
        for name in found.labels:
            group = zarr.open_group(out / "labels" / name, mode="r")
            assert ImageLabel.from_zarr(group).ome_attributes.image_label is not None


def test_pixels_of_all_levels_and_grids_lie_where_the_slide_has_them() -> None:
    size, mpp = (4000, 3000), (0.25, 0.2)
    for frame in (frame_at(size, mpp, 0.25), frame_at(size, mpp, 0.5), frame_at(size, mpp, 0.47)):
        for level in range(4):
            scale, shift = ngff.transformations(frame, level)
            for axis, k in (("x", 0), ("y", 1)):
                i = 7
                centre = shift["translation"][1 - k] + i * scale["scale"][1 - k]
                level0 = (i + 0.5) * 2**level * frame.downsample[k]  # corner origin, level-0 px
                assert centre == pytest.approx((level0 - 0.5) * mpp[k], rel=1e-12), axis
    assert ngff.transformations(frame_at(size, mpp, 0.2), 0)[1]["translation"][0] == 0.0


@pytest.mark.usefixtures("small")
def test_chunks_are_zstandard_that_readers_of_each_version_know(tmp_path: Path, reader: ObjectsReader) -> None:
    for version in VERSIONS:
        write_labels(tmp_path / f"{version}.zarr", reader, version=version)
    old = json.loads((tmp_path / "0.4.zarr" / "labels" / "cells" / "0" / ".zarray").read_text())
    assert (old["compressor"]["id"], old["compressor"]["cname"], old["filters"]) == ("blosc", "zstd", None)
    new = json.loads((tmp_path / "0.5.zarr" / "labels" / "cells" / "0" / "zarr.json").read_text())
    assert [codec["name"] for codec in new["codecs"]] == ["bytes", "zstd"]
    assert new["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}


@pytest.mark.usefixtures("small")
def test_ome_xml_tells_bio_formats_the_size_of_a_pixel(tmp_path: Path, reader: ObjectsReader) -> None:
    write_labels(tmp_path / "labels.ome.zarr", reader)
    xml = ElementTree.parse(tmp_path / "labels.ome.zarr" / "OME" / "METADATA.ome.xml")
    pixels = xml.find(".//{*}Pixels")
    assert pixels is not None
    wanted = {"SizeX": "101", "SizeY": "70", "Type": "uint8", "PhysicalSizeX": "0.5", "PhysicalSizeXUnit": "µm"}
    assert {key: pixels.get(key) for key in wanted} == wanted
    assert [child.tag.split("}")[1] for child in pixels] == ["Channel", "MetadataOnly"]


def test_tiles_without_objects_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_PX", 16)
    field = Field(np.zeros((64, 64), np.int32), np.array([0, 1], np.uint8))
    field.labels[20:24, 40:50] = 1
    out = tmp_path / "labels.ome.zarr"
    write_labels(out, store(tmp_path, [field.table()], frames_of(field, EMPTY)))
    chunks = [p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file() and "c" in p.parts]
    cells = sorted(p for p in chunks if p.startswith("labels/cells/0/"))
    assert cells == ["labels/cells/0/c/1/2", "labels/cells/0/c/1/3"]
    assert not any(p.startswith(("labels/region", "labels/regions")) for p in chunks)


def test_no_objects_make_an_image_of_background(tmp_path: Path) -> None:
    out = tmp_path / "labels.ome.zarr"
    write_labels(out, store(tmp_path, [], frames_of(EMPTY, EMPTY)))
    assert problems(out, "0.5") == []
    assert not read(out, "labels/cells").any()
    assert read(out, "").shape == (3, 5)


@pytest.mark.usefixtures("small")
def test_regions_alone_are_the_image_and_cells_have_no_layer(tmp_path: Path) -> None:
    prompts = PromptSet((PROMPTS[1],))
    field = field_of(blobs(18, 26, 1, 2.0, -0.2), {1: 1})
    out = tmp_path / "labels.ome.zarr"
    write_labels(out, store(tmp_path, [field.table()], frames_of(EMPTY, field), prompts))
    assert problems(out, "0.5") == []
    assert sorted(p.name for p in (out / "labels").iterdir() if p.is_dir()) == ["region_classes", "regions_1"]
    np.testing.assert_array_equal(read(out, ""), (field.labels > 0).astype(np.uint8))


def rectangles(boxes: list[tuple[int, int, int, int]], class_id: int) -> ObjectTable:
    """Boxes (x, y, right, bottom) as objects."""
    n = len(boxes)
    x, y, right, bottom = np.array(boxes, np.int32).T
    return ObjectTable(
        coords=np.stack([np.stack([x, right, right, x, x], 1), np.stack([y, y, bottom, bottom, y], 1)], 2).reshape(
            -1, 2
        ),
        ring_offsets=np.arange(0, 5 * n + 1, 5, dtype=np.int64),
        polygon_offsets=np.arange(n + 1, dtype=np.int64),
        class_id=np.full(n, class_id, np.uint8),
        score=np.ones(n, np.float32),
        area_px=((right - x).astype(np.int64) * (bottom - y)),
        centroid=np.stack([(x + right) / 2, (y + bottom) / 2], 1),
        first_px=np.stack([y, x], 1),
        class_share=np.zeros((n, 0), np.float32),
    )


def test_memory_is_far_below_the_canvas_whatever_spans_it(tmp_path: Path) -> None:
    edge = 30_000
    frame = Frame((edge, edge), (1.0, 1.0), (0.25, 0.25))
    cells = rectangles([(x, x, x + 20, x + 15) for x in range(0, edge - 20, 1500)], 1)
    through = rectangles([(14_000, 0, 14_003, edge)], 2)
    reader = store(tmp_path, [cells, through], dict.fromkeys(("cell", "region"), frame))
    tracemalloc.start()
    try:
        write_labels(tmp_path / "labels.ome.zarr", reader)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6  # the canvas in int32 is 3.6 GB
    found = zarr.open_group(tmp_path / "labels.ome.zarr", mode="r")["labels/regions_2/0"]
    assert isinstance(found, zarr.Array)
    strip = np.asarray(found[:, 13_990:14_010])
    assert strip.sum() == 3 * edge
    assert strip[:, 10:13].all()


def test_objects_outside_their_frame_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    frame = Frame((10, 10), (1.0, 1.0), (1.0, 1.0))
    reader = store(tmp_path, [rectangles([(4, 4, 11, 8)], 1)], dict.fromkeys(("cell", "region"), frame))
    with pytest.raises(ValueError, match="leaves the canvas of 10 x 10 px"):
        write_labels(tmp_path / "labels.ome.zarr", reader)
    assert [p.name for p in tmp_path.iterdir()] == ["objects.zarr"]


def test_damaged_objects_are_one_clear_line_and_an_older_folder_stays(tmp_path: Path, reader: ObjectsReader) -> None:
    out = tmp_path / "labels.ome.zarr"
    write_labels(out, reader)
    before = sha256_tree(out)
    chunk = tmp_path / "objects.zarr" / "cells" / "coords" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(OutputError, match="damaged: cells/coords"):
        write_labels(out, ObjectsReader(tmp_path / "objects.zarr"))
    assert sha256_tree(out) == before


def test_another_version_is_refused(tmp_path: Path, reader: ObjectsReader) -> None:
    with pytest.raises(ValueError, match=r"'0\.3' is neither"):
        write_labels(tmp_path / "labels.ome.zarr", reader, version="0.3")  # type: ignore[arg-type]
