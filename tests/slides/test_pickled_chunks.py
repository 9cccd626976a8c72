"""A Zarr array may ask for the codec "pickle", which runs what is in its chunks: none that we read is opened."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.slides.zarrs import write_ome_zarr
from wsiparse.coords import frame_at
from wsiparse.errors import FieldError, OutputError, SlideError
from wsiparse.field.store import PartReader
from wsiparse.slides import open_slide
from wsiparse.store.read import ObjectsReader
from wsiparse.types import Box, TileGrid


class Code:
    """What unpickles as a call."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.trace),)


#: Where an array of Zarr format 2 may name the codec, and what it may claim to hold.
PLACES: dict[str, dict[str, Any]] = {
    "compressor": {"compressor": {"id": "pickle", "protocol": 5}},
    "filter": {"compressor": None, "filters": [{"id": "pickle", "protocol": 5}]},
    "filter of objects": {"dtype": "|O", "compressor": None, "filters": [{"id": "pickle", "protocol": 5}]},
    "inner": {"compressor": None, "filters": [{"id": "delta", "dtype": "u1"}, {"id": "pickle"}]},
}


def poison(array: Path, place: str, trace: Path) -> None:
    """Make the chunks of an array of format 2 code."""
    facts = json.loads((array / ".zarray").read_text())
    (array / ".zarray").write_text(json.dumps(facts | PLACES[place]))
    chunks = [path for path in array.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert chunks
    for chunk in chunks:
        chunk.write_bytes(pickle.dumps(Code(trace)))


def as_format_2(source: Any, target: Any) -> None:
    """A copy of a group of format 3."""
    old = zarr.open_group(source, mode="r")
    new = zarr.open_group(target, mode="w", zarr_format=2)
    new.attrs.update(old.attrs)
    for name, member in sorted(old.members(max_depth=None)):
        if isinstance(member, zarr.Array):
            copy = new.create_array(
                name, shape=member.shape, dtype=member.dtype, chunks=member.chunks, compressors=None
            )
            copy[...] = member[...]
            copy.attrs.update(member.attrs)
        else:
            new.require_group(name).attrs.update(member.attrs)


def read(path: Path) -> None:
    """All pixels of a slide of 64 x 64 px."""
    with open_slide(path) as slide:
        assert slide.mpp is not None
        slide.read(Box(0, 0, 64, 64), frame_at(slide.size, slide.mpp, slide.mpp[0]))


def test_a_trace_would_be_left(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Code(tmp_path / "trace")))
    assert (tmp_path / "trace").is_dir()


@pytest.mark.parametrize("place", PLACES)
def test_a_slide(tmp_path: Path, place: str) -> None:
    path = tmp_path / "s.zarr"
    write_ome_zarr(path, np.full((64, 64, 3), 200, np.uint8), version="0.4", steps=(1,), compressors=None)
    poison(path / "0", place, tmp_path / "trace")
    with pytest.raises(SlideError):
        read(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["pickle", "numcodecs.pickle"])
def test_a_slide_of_format_3(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s.zarr"
    write_ome_zarr(path, np.full((64, 64, 3), 200, np.uint8), steps=(1,), compressors=None)
    facts = json.loads((path / "0" / "zarr.json").read_text())
    facts["codecs"].append({"name": name, "configuration": {"protocol": 5}})
    (path / "0" / "zarr.json").write_text(json.dumps(facts))
    for chunk in (path / "0" / "c").rglob("0"):
        if chunk.is_file():
            chunk.write_bytes(pickle.dumps(Code(tmp_path / "trace")))
    with pytest.raises(SlideError):
        read(path)
    assert not (tmp_path / "trace").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.viewer.made import make, truth

    return make(tmp_path_factory.mktemp("results"), truth((300, 200)), size=(300, 200))


@pytest.mark.parametrize("column", ["coords", "class_id"])
@pytest.mark.parametrize("place", PLACES)
def test_objects_of_a_result(tmp_path: Path, finished: Path, place: str, column: str) -> None:
    copy = tmp_path / "objects.zarr"
    as_format_2(finished / "objects.zarr", copy)
    assert len(ObjectsReader(copy).table("cell")) > 0  # format 2 as such is read
    poison(copy / "cells" / column, place, tmp_path / "trace")
    with pytest.raises(OutputError):
        ObjectsReader(copy).table("cell")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("place", PLACES)
def test_label_images_of_a_result(tmp_path: Path, finished: Path, place: str) -> None:
    from wsiparse.viewer.labelmaps import LabelMaps

    copy = tmp_path / "labels.ome.zarr"
    as_format_2(finished / "labels.ome.zarr" / "labels", copy / "labels")
    reader = ObjectsReader(finished / "objects.zarr")
    LabelMaps(copy, reader).covered(1, 0, Box(0, 0, 8, 8))
    for level in (copy / "labels" / "cell_classes").iterdir():
        if level.is_dir():
            poison(level, place, tmp_path / "trace")
    with pytest.raises(OutputError):
        LabelMaps(copy, reader).covered(1, 0, Box(0, 0, 8, 8))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("place", PLACES)
def test_a_part_of_the_field(tmp_path: Path, place: str) -> None:
    folder, part = tmp_path / "folder", tmp_path / "part.zip"
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    for name in ("cells", "regions", "od", "tiles", "statistics"):
        made = group.create_array(name, shape=(4,), dtype="u1", chunks=(4,), compressors=None)
        made[:] = 1
        poison(folder / name, place, tmp_path / "trace")
    with zipfile.ZipFile(part, "w") as file:
        for path in folder.rglob("*"):
            if path.is_file():
                file.write(path, path.relative_to(folder).as_posix())
    with pytest.raises(FieldError):
        PartReader(part, TileGrid((64, 64), 64, 0))
    assert not (tmp_path / "trace").exists()
