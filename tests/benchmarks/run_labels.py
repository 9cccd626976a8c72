"""labels.ome.zarr of a slide-sized field of touching nuclei, next to drawing the polygons into one array.

    python -m tests.benchmarks.run_labels 300k
    python -m tests.benchmarks.run_labels 5M --no-reference

Each writer runs in a process of its own, kernels compiled, from the same objects.zarr, which is made first and not
counted. The reference draws every polygon with `skimage.draw.polygon` into one int32 array of the whole canvas (shells,
then their holes), looks up the class map, and writes both with zarr and the same compression, every level a slice of
the array. Prints seconds (wall and CPU), megabytes, files and peak memory of each, and whether all levels are equal.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.draw
import zarr
from zarr.codecs import ZstdCodec

from tests.benchmarks.nuclei_field import NUCLEI_PER_PATCH, PATCH_PX, NucleiField
from wsiparse.coords import Frame
from wsiparse.export.labels import write_labels
from wsiparse.machine import peak_rss_bytes
from wsiparse.objects.split import SplitPixels
from wsiparse.stitch import Stitcher
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.types import Prompt, PromptSet

PROMPTS = PromptSet((Prompt("nuclei", "Nucleus"), Prompt("inflammatory cells", "Inflammatory", "#00a050")))
CHUNK = 1024


def make_objects(folder: Path, edge: int, block: int = 2048) -> int:
    """objects.zarr of a square field in `folder`; returns the number of objects."""
    field, stitcher = NucleiField((edge, edge)), Stitcher((edge, edge), block, len(PROMPTS), SplitPixels())
    frame = Frame((edge, edge), (2.0, 2.0), (0.5, 0.5))
    with ObjectSorter(folder / "unsorted", frames={"cell": frame, "region": frame}, prompts=PROMPTS) as sorter:
        for i in range(len(stitcher)):
            box = stitcher.box(i)
            mask = field.mask(box.x, box.y, box.width, box.height)
            # stripes of the second class, so that the class map has something to show
            rows = (box.y + np.arange(box.height)) // 500 % 3 == 0
            classes = mask * np.where(rows, 2, 1).astype(np.uint8)[:, None]
            sorter.append(stitcher.add(stitcher.digest(i, classes, mask * np.uint8(200), mask)))
        sorter.finish(folder / "objects.zarr", engine="synthetic", slide={})
    return stitcher.objects


def draw_polygons(path: Path, reader: ObjectsReader) -> None:
    """The reference: one array of the canvas, a polygon at a time."""
    width, height = reader.frames["cell"].size
    table = reader.table("cell")
    ids, class_of = np.zeros((height, width), np.int32), np.concatenate([[0], table.class_id]).astype(np.uint8)
    rings, polygons = table.ring_offsets.tolist(), table.polygon_offsets.tolist()
    for k in range(len(table)):
        for ring in range(polygons[k], polygons[k + 1]):
            # half a pixel: these coordinates mean pixel centres there
            x, y = (table.coords[rings[ring] : rings[ring + 1]] - 0.5).T
            ids[skimage.draw.polygon(y, x)] = k + 1 if ring == polygons[k] else 0
    classes = class_of[ids]
    root = zarr.open_group(path, mode="w", zarr_format=3)
    level = 0
    while True:
        start = (1 << level) // 2
        for name, array in (("labels/cells", ids), ("labels/cell_classes", classes), ("", classes)):
            part = array[start :: 1 << level, start :: 1 << level]
            stored = root.create_array(
                f"{name}/{level}".lstrip("/"),
                shape=part.shape,
                dtype=part.dtype,
                chunks=(CHUNK, CHUNK),
                compressors=ZstdCodec(level=1),
                fill_value=0,
            )
            stored[:] = part
        if max(ids.shape) >> level <= CHUNK:
            return
        level += 1


WRITERS = {"ours": write_labels, "polygons into one array": draw_polygons}


def measure(folder: Path, writer: str) -> None:
    """Write once on few objects, then on all, and print what it took as JSON."""
    with tempfile.TemporaryDirectory() as small:
        make_objects(Path(small), 4 * PATCH_PX)
        WRITERS[writer](Path(small) / "labels.ome.zarr", ObjectsReader(Path(small) / "objects.zarr"))
    before = peak_rss_bytes() or 0
    wall, cpu = time.perf_counter(), time.process_time()
    path = folder / f"{writer}.ome.zarr"
    WRITERS[writer](path, ObjectsReader(folder / "objects.zarr"))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    sizes = [p.stat().st_size for p in path.rglob("*") if p.is_file()]
    figures = {"wall": wall, "cpu": cpu, "mb": sum(sizes) / 1e6, "files": len(sizes)}
    print(json.dumps({**figures, "before": before / 1e6, "peak": (peak_rss_bytes() or 0) / 1e6}))


def equal(folder: Path) -> bool:
    """Do all writers say the same at every level, as far as the reference's slices reach?"""
    first, second = (zarr.open_group(folder / f"{writer}.ome.zarr", mode="r") for writer in WRITERS)
    for name in ("labels/cells", "labels/cell_classes"):
        for level in second[name]:  # type: ignore[union-attr]
            a, b = first[f"{name}/{level}"], second[f"{name}/{level}"]
            for top in range(0, b.shape[0], CHUNK):  # type: ignore[union-attr]
                rows = slice(top, min(top + CHUNK, b.shape[0]))  # type: ignore[union-attr]
                if not np.array_equal(a[rows, : b.shape[1]], b[rows]):  # type: ignore[index,union-attr]
                    return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nuclei", help="e.g. 300k, 1.2M, 5M")
    parser.add_argument("--no-reference", action="store_true", help="ours alone: the reference holds the canvas")
    given = parser.parse_args()
    wanted = float(given.nuclei.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(given.nuclei[-1], 1.0)
    edge = int(np.ceil(np.sqrt(wanted / NUCLEI_PER_PATCH))) * PATCH_PX
    with tempfile.TemporaryDirectory() as name:
        print(f"{make_objects(Path(name), edge)} objects on {edge} x {edge} px")
        for writer in list(WRITERS)[: 1 if given.no_reference else None]:
            command = f"from pathlib import Path; from {_MODULE} import measure as m; m(Path({name!r}), {writer!r})"
            done = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True)
            f = json.loads(done.stdout)
            print(
                f"{writer}: {f['wall']:.1f} s, {f['cpu']:.1f} CPU-s, {f['mb']:.1f} MB in {f['files']} files, "
                f"peak memory {f['before']:.0f} -> {f['peak']:.0f} MB"
            )
        if not given.no_reference:
            print(f"equal: {equal(Path(name))}")


#: `__name__` is "__main__" here when this file is run as a command.
_MODULE = "tests.benchmarks.run_labels"

if __name__ == "__main__":
    main()
