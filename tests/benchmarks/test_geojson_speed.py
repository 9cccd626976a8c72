"""GeoJSON and objects.zarr: how fast, next to the libraries one would take otherwise, and in how much memory.

    pytest tests/benchmarks/test_geojson_speed.py --benchmark-enable --benchmark-columns=min,mean,ops -s

"text": features of the same objects, ids and measurements to JSON text, in memory. Ours formats bytes in a compiled
loop; orjson gets NumPy arrays as coordinates; json and geojson get lists. "file": everything from object table to a
file on disk, ids and measurements included (all of them take ours). The figure in brackets is the ratio to the
fastest. Without ``--benchmark-enable`` the same code runs on few objects and only the results are compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import geojson as geojson_library
import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.measuring import measuring
from wsiparse.coords import Frame
from wsiparse.export.features import FeatureStyle, FeatureText, slices
from wsiparse.export.geojson import OverlayFacts, write_geojson
from wsiparse.machine import peak_rss_bytes
from wsiparse.objects.table import build_table
from wsiparse.store.ids import object_ids
from wsiparse.store.measure import Measurements, measure
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.store.tables import checked
from wsiparse.types import ObjectTable, Prompt, PromptSet

orjson = pytest.importorskip("orjson")

PROMPTS = PromptSet((Prompt("nuclei", "Nucleus", "#ff8000"), Prompt("inflammatory cells", "Inflammatory", "#00a050")))
WIDTH = 40_960
TILE = 1024


def tile_of_nuclei(seed: int = 0) -> ObjectTable:
    """About 1000 ellipses of nuclear size on a 1024 px tile, ~28 vertices each."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((TILE, TILE), np.int32)
    y, x = np.mgrid[-14:15, -14:15]
    n = 0
    for cy in range(16, TILE - 16, 32):
        for cx in range(16, TILE - 16, 32):
            a, b, turn = rng.uniform(4, 10), rng.uniform(4, 7), rng.uniform(0, np.pi)
            u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
            n += 1
            labels[cy - 14 : cy + 15, cx - 14 : cx + 15][(u / a) ** 2 + (v / b) ** 2 <= 1] = n
    classes = rng.integers(1, 3, labels.shape, dtype=np.uint8)
    confidence, od = (rng.integers(low, high, labels.shape, dtype=np.uint8) for low, high in ((100, 256), (20, 200)))
    return build_table(labels, n, classes, confidence, 2, od=od)


def tiles(count: int, seed: int = 0) -> Iterator[ObjectTable]:
    """Tables of one tile after the other, until there are `count` objects."""
    variants = [tile_of_nuclei(seed + i) for i in range(3)]
    done = number = 0
    while done < count:
        row, column = divmod(number, WIDTH // TILE)
        base = variants[number % 3]
        table = base.take(np.arange(min(len(base), count - done)))
        x, y = column * TILE, row * TILE
        yield replace(
            table,
            coords=table.coords + np.array([x, y], np.int32),
            centroid=table.centroid + [float(x), float(y)],
            first_px=table.first_px + np.array([y, x], np.int32),
        )
        done += len(table)
        number += 1


def frame_of(count: int) -> Frame:
    tiles_needed = -(-count // 900)
    return Frame((WIDTH, TILE * (tiles_needed // (WIDTH // TILE) + 1)), (2.0, 2.0), (0.5, 0.5))


@dataclass
class Case:
    table: ObjectTable
    frame: Frame
    ids: NDArray[np.uint8]
    numbers: Measurements

    def formatter(self) -> FeatureText:
        style = FeatureStyle("Polygon", "detection", False, PROMPTS, {})
        return FeatureText(style, self.frame, (0, 0))


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    count = 20_000 if measuring(request.config) else 200
    table, frame = ObjectTable.concat(list(tiles(count))), frame_of(count)
    return Case(table, frame, object_ids(checked(table, PROMPTS), PROMPTS, "slide"), measure(table, PROMPTS, 0.25))


def ours(case: Case) -> bytes:
    formatter, text = case.formatter(), bytearray(b'{"type":"FeatureCollection","features":[')
    for rows in slices(case.table, lambda: 1 << 62):
        table = case.table.rows(rows.start, rows.stop)
        numbers = replace(case.numbers, values=case.numbers.values[rows])
        text += formatter.polygons(table, case.ids[rows], numbers)[0 if rows.start else 1 :]
    return bytes(text + b"\n]}")


def features(case: Case, ring: Callable[[NDArray[np.int32]], Any]) -> Iterator[dict[str, Any]]:
    table = case.table
    coords = table.coords * 2
    rings, polygons = table.ring_offsets.tolist(), table.polygon_offsets.tolist()
    classes = [{"name": p.class_name, "color": list(p.rgb)} for p in PROMPTS]
    values = np.stack([np.round(v, d) for v, d in zip(case.numbers.values.T, case.numbers.decimals, strict=True)], 1)
    names, digits = case.numbers.names, case.ids.tobytes().hex()
    for k, (class_id, numbers) in enumerate(zip(table.class_id.tolist(), values.tolist(), strict=True)):
        h = digits[32 * k : 32 * k + 32]
        outline = [ring(coords[rings[r] : rings[r + 1]]) for r in range(polygons[k], polygons[k + 1])]
        yield {
            "type": "Feature",
            "id": f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}",
            "geometry": {"type": "Polygon", "coordinates": outline},
            "properties": {
                "objectType": "detection",
                "classification": classes[class_id - 1],
                "measurements": dict(zip(names, numbers, strict=True)),
            },
        }


def by_orjson(case: Case) -> bytes:
    collection = {"type": "FeatureCollection", "features": list(features(case, lambda ring: ring))}
    text: bytes = orjson.dumps(collection, option=orjson.OPT_SERIALIZE_NUMPY)
    return text


def by_json(case: Case) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": list(features(case, np.ndarray.tolist))}).encode()


def by_geojson(case: Case) -> bytes:
    found = [
        geojson_library.Feature(
            id=f["id"],
            geometry=geojson_library.Polygon(f["geometry"]["coordinates"]),
            properties=f["properties"],
        )
        for f in features(case, np.ndarray.tolist)
    ]
    text: str = geojson_library.dumps(geojson_library.FeatureCollection(found))
    return text.encode()


WRITERS = {"ours": ours, "orjson": by_orjson, "json": by_json, "geojson": by_geojson}


def test_all_writers_say_the_same(case: Case) -> None:
    small = replace(case, table=case.table.take(np.arange(100)), ids=case.ids[:100])
    small.numbers = replace(case.numbers, values=case.numbers.values[:100])
    first, *others = (json.loads(writer(small))["features"] for writer in WRITERS.values())
    assert len(first) == 100
    for other in others:
        assert [f["geometry"] for f in other] == [f["geometry"] for f in first]
        assert [f["id"] for f in other] == [f["id"] for f in first]
        for a, b in zip((f["properties"] for f in first), (f["properties"] for f in other), strict=True):
            # NumPy rounds halves to even
            assert a["measurements"] == pytest.approx(b["measurements"], abs=1e-2)
            assert {**a, "measurements": {}} == {**b, "measurements": {}}


@pytest.mark.benchmark(group="text")
@pytest.mark.parametrize("writer", WRITERS)
def test_objects_to_text(benchmark: BenchmarkFixture, case: Case, writer: str) -> None:
    text = benchmark.pedantic(WRITERS[writer], (case,), rounds=5, warmup_rounds=int(writer == "ours"))
    benchmark.extra_info.update(objects=len(case.table), megabytes=len(text) / 1e6)
    assert text.count(b'"Feature"') == len(case.table)


def file_by_us(case: Case, path: Path) -> None:
    write_geojson(
        path,
        [case.table],
        OverlayFacts(case.frame, PROMPTS, "slide", "synthetic"),
    )


def file_by_orjson(case: Case, path: Path) -> None:
    full = replace(
        case, ids=object_ids(checked(case.table, PROMPTS), PROMPTS, "slide"), numbers=measure(case.table, PROMPTS, 0.25)
    )
    path.write_bytes(by_orjson(full))


@pytest.mark.benchmark(group="file")
@pytest.mark.parametrize(
    ("writer", "name"), [(file_by_us, "a.geojson"), (file_by_us, "a.geojson.gz"), (file_by_orjson, "b.geojson")]
)
def test_objects_to_file(
    benchmark: BenchmarkFixture, tmp_path: Path, case: Case, writer: Callable[[Case, Path], None], name: str
) -> None:
    benchmark.pedantic(writer, (case, tmp_path / name), rounds=5, warmup_rounds=1)
    benchmark.extra_info.update(objects=len(case.table), megabytes=(tmp_path / name).stat().st_size / 1e6)


@pytest.mark.benchmark(group="objects.zarr")
@pytest.mark.parametrize("what", ["append", "finish", "read"])
def test_objects_to_and_from_zarr(benchmark: BenchmarkFixture, tmp_path: Path, case: Case, what: str) -> None:
    batches = [case.table.take(rows) for rows in np.array_split(np.arange(len(case.table)), 20)][::-1]
    frames = dict.fromkeys(("cell", "region"), case.frame)
    with ObjectSorter(tmp_path / "unsorted", frames=frames, prompts=PROMPTS) as sorter:

        def append() -> None:
            with ObjectSorter(tmp_path / "again", frames=frames, prompts=PROMPTS) as fresh:
                for batch in batches:
                    fresh.append(batch)

        def finish() -> None:
            sorter.finish(tmp_path / "objects.zarr", engine="synthetic", slide={})

        def read() -> None:
            assert sum(map(len, ObjectsReader(tmp_path / "objects.zarr").batches("cell"))) == len(case.table)

        for batch in batches:
            sorter.append(batch)
        for step in (append, finish, read):
            if step.__name__ == what:
                benchmark.pedantic(step, rounds=5, warmup_rounds=1)
            else:
                step()
    size = sum(p.stat().st_size for p in (tmp_path / "objects.zarr").rglob("*") if p.is_file())
    benchmark.extra_info.update(objects=len(case.table), bytes_per_object=size / len(case.table))


def resident_peak() -> float:
    """Largest resident memory of this process so far, MB."""
    return (peak_rss_bytes() or 0) / 1e6


def export_everything(folder: Path, count: int) -> None:
    """Spool, objects.zarr and GeoJSON of `count` objects made on the fly; prints megabytes and seconds of CPU."""
    frame = frame_of(count)
    before = resident_peak()
    clock = [time.process_time()]
    made = 0
    with ObjectSorter(folder / "unsorted", frames=dict.fromkeys(("cell", "region"), frame), prompts=PROMPTS) as sorter:
        for table in tiles(count):
            sorter.append(table)
            made += len(table)
        clock.append(time.process_time())
        sorter.finish(folder / "objects.zarr", engine="synthetic", slide={})
    clock.append(time.process_time())
    summary = write_geojson(
        folder / "cells.geojson.gz",
        ObjectsReader(folder / "objects.zarr").batches("cell"),
        OverlayFacts(frame, PROMPTS, "slide", "synthetic"),
    )
    clock.append(time.process_time())
    assert summary.objects == made == count
    taken, sorted_out, written = (b - a for a, b in pairwise(clock))
    packed = sum(p.stat().st_size for p in summary.paths) / 1e6
    print(
        f"{count} objects: made and taken {taken:.1f} s, objects.zarr {sorted_out:.1f} s, GeoJSON {written:.1f} s, "
        f"{summary.text_bytes / 1e6:.0f} MB of text in {packed:.0f} MB, {len(summary.paths)} parts; "
        f"resident {before:.0f} MB before, peak {resident_peak():.0f} MB"
    )
    print(json.dumps({"peak": resident_peak()}))


def test_memory_does_not_grow_with_the_number_of_objects(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    count = 1_000_000 if measuring(request.config) else 120_000
    command = (
        f"from pathlib import Path; from {__name__} import export_everything as e; e(Path({str(tmp_path)!r}), {count})"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] < 500
