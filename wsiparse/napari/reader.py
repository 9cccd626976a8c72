"""One slide's results as layers of napari: a picture of the slide, label images, a point an object.

Every layer lies in microns from the upper left corner of the slide, y then x, so all of them fit. The picture is the
one that the results keep of the slide; label images are read when they are looked at. Classes have their colours.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import dask.array
import numpy as np
import zarr
from PIL import Image

from wsiparse.coords import to_um
from wsiparse.errors import OutputError
from wsiparse.results.find import find_results
from wsiparse.results.folder import done_record, report_inputs_in
from wsiparse.results.report_inputs import read_report_inputs
from wsiparse.results.whole import check_whole
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import KINDS
from wsiparse.types import PromptKind

__all__ = ["get_reader", "read_layers"]

#: What napari calls a layer: its data, arguments of the layer, its kind.
Layer = tuple[Any, dict[str, Any], Literal["image", "labels", "points"]]

#: Diameter of a point, um: about that of a nucleus.
_POINT_UM: Final = {"cell": 6.0, "region": 40.0}


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[Layer]] | None:
    """The reader of a path, as napari asks for it: None where it is none of our results.

    Parameters
    ----------
    path : a slide's results folder, or that of a run of one slide; a list of one of them
    """
    one = _one(path)
    if one is None or not one.is_dir():
        return None
    try:
        found = find_results(one)
    except OutputError:
        return None
    return read_layers if found.slides else None


def read_layers(path: str | Sequence[str]) -> list[Layer]:
    """The layers of one slide's results.

    Parameters
    ----------
    path : as `get_reader` takes it

    Raises
    ------
    OutputError
        If there are several finished slides, or none, or a file is not what was written.
    """
    one = _one(path)
    if one is None:
        raise OutputError("several paths at a time: open one slide's folder after the other.")
    folder = _slide(one)
    record = check_whole(folder, "objects.zarr", report_inputs_in(folder).name)
    reader = ObjectsReader(folder / "objects.zarr")
    layers = [_picture(folder)]
    if "labels.ome.zarr" in record["files"]:
        check_whole(folder, "labels.ome.zarr")
        layers += _labels(folder / "labels.ome.zarr", reader)
    return [*layers, *_points(reader)]


def _one(path: str | Sequence[str]) -> Path | None:
    if isinstance(path, str):
        return Path(path)
    return Path(path[0]) if len(path) == 1 else None


def _slide(path: Path) -> Path:
    done = [folder for folder in find_results(path).slides if done_record(folder) is not None]
    if len(done) != 1:
        names = ", ".join(folder.name for folder in done[:5])
        what = f"{len(done)} finished slides ({names})" if done else "no finished slide"
        raise OutputError(f"{path}: {what}. Open the folder of one finished slide, in slides/.")
    return done[0]


def _picture(folder: Path) -> Layer:
    inputs = read_report_inputs(report_inputs_in(folder))
    pixels, (mpp_x, mpp_y) = inputs.picture, inputs.overview.mpp
    if inputs.view is not None:
        with Image.open(io.BytesIO(inputs.view)) as image:
            pixels = np.asarray(image.convert("RGB"))
        mpp_x, mpp_y = (n * um / k for n, um, k in zip(inputs.size, inputs.mpp, pixels.shape[1::-1], strict=True))
    return pixels, {"name": str(inputs.slide["name"]), "rgb": True, **_placed(mpp_x, mpp_y)}, "image"


def _placed(mpp_x: float, mpp_y: float) -> dict[str, Any]:
    """Scale, and the middle of the first pixel, which is where napari puts an image's corner pixel: um, y then x."""
    return {"scale": (mpp_y, mpp_x), "translate": (mpp_y / 2, mpp_x / 2)}


def _labels(path: Path, reader: ObjectsReader) -> Iterator[Layer]:
    """Class maps, shown, and instances, hidden: pyramids that are read where they are looked at."""
    root = zarr.open_group(path / "labels", mode="r")
    for kind in KINDS:
        positions = reader.prompts.of_kind(kind)
        if not positions:
            continue
        mpp_x, mpp_y = reader.frames[kind].mpp
        colours: dict[int | None, str] = {None: "#00000000", 0: "#00000000"}
        colours |= {k + 1: reader.prompts[k].colour for k in positions}
        name = f"{kind}_classes"
        arguments = {"name": f"{kind} classes", "colormap": colours, "opacity": 0.5, **_placed(mpp_x, mpp_y)}
        yield _pyramid(root, name), arguments, "labels"
        instances = ["cells"] if kind == "cell" else [f"regions_{k + 1}" for k in positions]
        for own in instances:
            yield _pyramid(root, own), {"name": own, "visible": False, **_placed(mpp_x, mpp_y)}, "labels"


def _pyramid(root: zarr.Group, name: str) -> list[Any]:
    group = root[name]
    assert isinstance(group, zarr.Group)
    levels = [array for _, array in sorted(group.arrays(), key=lambda pair: int(pair[0]))]
    lazy: Any = dask.array
    return [lazy.from_array(array, chunks=array.chunks) for array in levels]


def _points(reader: ObjectsReader) -> Iterator[Layer]:
    """A layer for each class, so that it can be hidden."""
    for kind in KINDS:
        found: dict[int, list[Any]] = {k: [] for k in reader.prompts.of_kind(kind)}
        for batch in reader.batches(kind):
            um = to_um(batch.centroid, reader.frames[kind])
            for k, own in found.items():
                rows = batch.class_id == k + 1
                own.append((um[rows, ::-1], batch.score[rows]))
        yield from (_class_points(reader, kind, k, own) for k, own in found.items())


def _class_points(reader: ObjectsReader, kind: PromptKind, position: int, found: list[Any]) -> Layer:
    prompt = reader.prompts[position]
    places = np.concatenate([um for um, _ in found]) if found else np.zeros((0, 2))
    scores = np.concatenate([score for _, score in found]) if found else np.zeros(0, np.float32)
    arguments = {
        "name": f"{prompt.class_name} ({kind}s)",
        "face_color": prompt.colour,
        "border_width": 0,
        "size": _POINT_UM[kind],
        "features": {"detection_probability": scores},
        "metadata": {"class": prompt.class_name, "engine": reader.engine, "prompt": prompt.text},
    }
    return places, arguments, "points"
