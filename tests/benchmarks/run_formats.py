"""Export of many objects in every format: seconds of CPU, megabytes, peak memory, each in a process of its own.

    python -m tests.benchmarks.run_formats 1M
    python -m tests.benchmarks.run_formats 1M --formats csv,parquet
    python -m tests.benchmarks.run_formats 1M --against orjson,json,geojson

`--against` writes the same GeoJSON with those libraries, batch by batch, to a file that is not compressed, with our ids
and measurements. The objects are those of `tests.benchmarks.nuclei_field`; making them is not counted.
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

from tests.benchmarks.nuclei_field import NUCLEI_PER_PATCH, PATCH_PX, NucleiField
from tests.benchmarks.run_scale import PROMPTS, peak_mb
from wsiparse.coords import Frame
from wsiparse.objects.split import SplitPixels
from wsiparse.stitch import Stitcher
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter

FORMATS = ("geojson", "centroids", "csv", "parquet", "geoparquet", "coco", "anndata")


def make(folder: Path, edge: int, block_px: int = 2048) -> None:
    """objects.zarr of a field of nuclei, 0.25 um per level-0 px, seen at 0.5."""
    field, stitcher = NucleiField((edge, edge)), Stitcher((edge, edge), block_px, len(PROMPTS), SplitPixels())
    frame = Frame((edge, edge), (2.0, 2.0), (0.5, 0.5))
    size = [2 * edge, 2 * edge]
    slide = {"name": "field", "fingerprint": "field", "size": size, "mpp": [0.25, 0.25], "bounds": [0, 0, *size]}
    with ObjectSorter(folder / "unsorted", frames={"cell": frame, "region": frame}, prompts=PROMPTS) as sorter:
        for i in range(len(stitcher)):
            box = stitcher.box(i)
            mask = field.mask(box.x, box.y, box.width, box.height)
            sorter.append(stitcher.add(stitcher.digest(i, mask, mask * np.uint8(200), mask)))
        sorter.finish(folder / "objects.zarr", engine="synthetic", slide=slide)


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def ours(source: Path, name: str) -> dict[str, float]:
    from wsiparse.export.formats import check_installed, export

    check_installed(name)
    before, began = peak_mb(), time.process_time()
    done = export(source, name)
    seconds = time.process_time() - began
    megabytes = sum(map(size_of, done.paths)) / 1e6
    return {"seconds": seconds, "megabytes": megabytes, "before": before, "peak": peak_mb()}


def theirs(source: Path, name: str) -> dict[str, float]:
    from tests.benchmarks.test_geojson_speed import WRITERS, Case
    from wsiparse.store.ids import object_ids
    from wsiparse.store.measure import measure
    from wsiparse.store.tables import checked

    reader = ObjectsReader(source)
    before, began = peak_mb(), time.process_time()
    path = source.with_name(f"{name}.geojson")
    with path.open("wb") as file:
        for k, table in enumerate(reader.batches("cell", 10_000)):
            ids, numbers = object_ids(checked(table, PROMPTS), PROMPTS, "field"), measure(table, PROMPTS, 0.25)
            text = WRITERS[name](Case(table, reader.frames["cell"], ids, numbers))
            # one collection of all batches: the head of the first, the features of all
            start = text.index(b"[") + 1
            file.write((b"," if k else text[:start]) + text[start : text.rindex(b"]")])
        file.write(b"]}")
    seconds = time.process_time() - began
    return {"seconds": seconds, "megabytes": path.stat().st_size / 1e6, "before": before, "peak": peak_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nuclei", help="e.g. 50k, 1M; or an objects.zarr when used with --one")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--against", default="", help="orjson, json, geojson")
    parser.add_argument("--one", help="do one format in this process and print its figures as JSON")
    given = parser.parse_args()
    if given.one:
        writer, _, name = given.one.partition(":")
        print(json.dumps((ours if writer == "ours" else theirs)(Path(given.nuclei), name)))
        return
    wanted = float(given.nuclei.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(given.nuclei[-1], 1.0)
    edge = int(np.ceil(np.sqrt(wanted / NUCLEI_PER_PATCH))) * PATCH_PX
    jobs = [f"ours:{name}" for name in given.formats.split(",") if name]
    jobs += [f"theirs:{name}" for name in given.against.split(",") if name]
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        make(Path(first), 2 * PATCH_PX)
        make(Path(second), edge)
        source = Path(second) / "objects.zarr"
        print(f"{ObjectsReader(source).count('cell')} objects, objects.zarr {size_of(source) / 1e6:.0f} MB")
        for job in jobs:
            command = [sys.executable, "-m", "tests.benchmarks.run_formats", "--one", job]
            subprocess.run([*command, str(Path(first) / "objects.zarr")], check=True, capture_output=True)  # compile
            done = subprocess.run([*command, str(source)], check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{job}: {found['seconds']:.1f} CPU-s, {found['megabytes']:.0f} MB, "
                f"memory {found['before']:.0f} -> {found['peak']:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
