from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from tests.export.results import CELLS, REGIONS, SLIDE, finished_slide, objects_at
from tests.test_atomic import names_in
from wsiparse.atomic import sha256_tree
from wsiparse.errors import OutputError
from wsiparse.export.formats import FORMATS, ExportOptions, export, export_folder, find_objects
from wsiparse.export.reading import read_objects
from wsiparse.results.folder import done_record
from wsiparse.types import Prompt, PromptSet

#: What each format needs besides the package's own dependencies.
NEEDS = {name: form.needs for name, form in FORMATS.items()}


class Absent:
    """A finder that says of some packages that they are not installed."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make packages look as if they were not installed."""

    def hide(*names: str) -> None:
        for loaded in list(sys.modules):
            if loaded.partition(".")[0] in names:
                monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setattr(sys, "meta_path", [Absent(*names), *sys.meta_path])

    return hide


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return finished_slide(tmp_path / "slides" / "S_1__0f1e")


def features(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))["features"]
    return found


@pytest.mark.filterwarnings("ignore")  # of spatialdata's dependencies
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_into_a_folder_of_its_own_and_changes_nothing_else(
    slide: Path, name: str, tmp_path: Path
) -> None:
    for package in NEEDS[name]:
        pytest.importorskip(package)
    before = sha256_tree(slide)
    done = export(slide / "objects.zarr", name)
    assert all(path.parent == slide / "exports" and path.exists() for path in done.paths)
    # beside exported labels lie their hashes, which the viewer compares
    hashes = [f"{path.name}.json" for path in done.paths if path.name == "labels.ome.zarr"]
    assert sorted([path.name for path in done.paths] + hashes) == names_in(slide / "exports")
    assert all(path.name in FORMATS[name].text or name == "centroids" for path in done.paths)
    assert done.objects in (len(CELLS) + len(REGIONS), None)
    there = export(slide / "objects.zarr", name, tmp_path / "out")
    assert names_in(tmp_path / "out") == ["S_1__0f1e"]
    assert [path.name for path in there.paths] == [path.name for path in done.paths]
    (slide / "exports").rename(tmp_path / "elsewhere")
    assert sha256_tree(slide) == before
    assert done_record(slide) is not None


@pytest.mark.parametrize("name", ["geojson", "centroids", "csv", "parquet", "geoparquet", "coco"])
def test_the_same_objects_give_the_same_bytes(slide: Path, name: str, tmp_path: Path) -> None:
    for package in NEEDS[name]:
        pytest.importorskip(package)
    for out in ("a", "b"):
        export(slide / "objects.zarr", name, tmp_path / out)
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")


def test_all_formats_give_an_object_the_same_id(slide: Path) -> None:
    source = slide / "objects.zarr"
    expected = read_objects(slide)["id"].tolist()
    found = {}
    for name in ("geojson", "centroids"):
        found[name] = [feature["id"] for path in export(source, name).paths for feature in features(path)]
    with export(source, "csv").paths[0].open(encoding="utf-8") as file:
        found["csv"] = [row["id"] for row in csv.DictReader(file)]
    coco = json.loads(export(source, "coco").paths[0].read_text(encoding="utf-8"))
    found["coco"] = [one["uuid"] for one in coco["annotations"]]
    assert found == dict.fromkeys(found, expected)


def test_one_kind_alone(slide: Path) -> None:
    source = slide / "objects.zarr"
    for kind, table in (("cell", CELLS), ("region", REGIONS)):
        options = ExportOptions(kind=kind)  # type: ignore[arg-type]
        for name in ("geojson", "centroids", "csv", "coco"):
            assert export(source, name, options=options).objects == len(table)
    (path,) = export(source, "geojson", slide.parent / "only", ExportOptions(kind="region")).paths
    assert path.name == "regions.geojson.gz"
    assert {feature["properties"]["objectType"] for feature in features(path)} == {"annotation"}


def test_a_kind_that_was_not_looked_for_gets_no_overlay_of_its_own(tmp_path: Path) -> None:
    cells_only = PromptSet((Prompt("nuclei", "Nucleus"), Prompt("gland", "G"), Prompt("cells", "C")))
    objects_at(tmp_path / "objects.zarr", [CELLS], prompts=cells_only)
    done = export(tmp_path / "objects.zarr", "geojson")
    assert [path.name for path in done.paths] == ["cells.geojson.gz"]


def test_coordinates_have_the_origin_that_the_format_or_the_user_wants(slide: Path) -> None:
    source = slide / "objects.zarr"

    def first(name: str, coords: Any) -> list[float]:
        path = export(source, name, options=ExportOptions(coords=coords)).paths[0]
        if name == "csv":
            with path.open(encoding="utf-8") as file:
                row = next(csv.DictReader(file))
            return [float(row["x_px"]), float(row["y_px"])]
        if name == "coco":
            told = json.loads(path.read_text(encoding="utf-8"))
            size = (told["images"][0]["width"], told["images"][0]["height"])
            assert size == ((8000, 8100) if coords == "qupath" else (8192, 8192))
            box: list[float] = told["annotations"][0]["bbox"][:2]
            return box
        point: list[float] = features(path)[0]["geometry"]["coordinates"]
        return point

    for name, default in (("centroids", "qupath"), ("csv", "level0"), ("coco", "level0")):
        level0, qupath = first(name, "level0"), first(name, "qupath")
        assert [a - b for a, b in zip(level0, qupath, strict=True)] == pytest.approx([100, 40])
        assert first(name, None) == (qupath if default == "qupath" else level0)


def test_simplified_overlays_are_smaller(slide: Path, tmp_path: Path) -> None:
    plain = export(slide / "objects.zarr", "geojson", tmp_path / "a").paths[0]
    simple = export(slide / "objects.zarr", "geojson", tmp_path / "b", ExportOptions(simplify=True)).paths[0]
    assert len(gzip.decompress(simple.read_bytes())) < len(gzip.decompress(plain.read_bytes()))


def test_labels_come_in_the_version_of_ngff_that_is_wanted(slide: Path, tmp_path: Path) -> None:
    for ngff, name in (("0.4", ".zattrs"), ("0.5", "zarr.json")):
        options = ExportOptions(ngff=ngff)  # type: ignore[arg-type]
        (path,) = export(slide / "objects.zarr", "ome-zarr", tmp_path / ngff, options).paths
        assert (path / name).is_file()


def test_a_name_that_is_no_text_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    objects_at(tmp_path / "objects.zarr", slide={**SLIDE, "name": "S\udcff1"})
    done = export(tmp_path / "objects.zarr", "coco")
    assert json.loads(done.paths[0].read_text(encoding="utf-8"))["images"][0]["file_name"] == "S?1"


def test_an_option_that_a_format_does_not_have_is_refused(slide: Path) -> None:
    for name, options in (
        ("csv", ExportOptions(simplify=True)),
        ("ome-zarr", ExportOptions(kind="cell")),
        ("geojson", ExportOptions(ngff="0.4")),
    ):
        with pytest.raises(ValueError, match=f"the format {name} has no option"):
            export(slide / "objects.zarr", name, options=options)
    with pytest.raises(ValueError, match="format 'xml' is none of geojson"):
        export(slide / "objects.zarr", "xml")
    with pytest.raises(ValueError, match="coords 'world' is not one of"):
        ExportOptions(coords="world")  # type: ignore[arg-type]


def test_the_folder_of_a_run_is_not_written_into(slide: Path) -> None:
    with pytest.raises(OutputError, match="holds the results of a run"):
        export(slide / "objects.zarr", "geojson", slide.parent)
    assert names_in(slide) == ["DONE.json", "counts.csv", "objects.zarr"]


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("parquet", "pyarrow", "parquet"),
        ("geoparquet", "pyarrow", "parquet"),
        ("anndata", "anndata", "anndata"),
        ("spatialdata", "spatialdata", "spatialdata"),
    ],
)
def test_a_missing_package_is_told_in_one_line_that_says_what_to_install(
    slide: Path, without: Callable[..., None], name: str, package: str, extra: str
) -> None:
    without(package)
    with pytest.raises(OutputError) as error:
        export(slide / "objects.zarr", name)
    assert str(error.value) == (
        f"The format {name} needs the package {package}, which is not installed: pip install 'wsiparse[{extra}]'."
    )
    assert not (slide / "exports").exists()


def test_a_package_that_lacks_something_itself_is_told_apart(slide: Path, without: Callable[..., None]) -> None:
    pytest.importorskip("pandas")
    without("pandas", "pytz", "dateutil")
    with pytest.raises(OutputError, match="needs the package pandas, which"):
        read_objects(slide).to_pandas()


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_pandas"), ("geopandas", "to_geopandas")])
def test_tables_of_other_libraries_name_the_extra_too(
    slide: Path, without: Callable[..., None], package: str, method: str
) -> None:
    frame = read_objects(slide)
    without(package)
    with pytest.raises(OutputError, match=rf"needs the package {package}, .* 'wsiparse\[geo\]'\.$"):
        getattr(frame, method)()


def test_csv_coco_and_geojson_need_nothing_that_an_extra_brings(slide: Path, without: Callable[..., None]) -> None:
    without("pyarrow", "pandas", "geopandas", "anndata", "spatialdata")
    for name in ("geojson", "centroids", "csv", "coco"):
        assert export(slide / "objects.zarr", name).objects


def test_results_are_found_in_a_results_folder_a_slides_folder_and_as_objects(slide: Path, tmp_path: Path) -> None:
    objects = slide / "objects.zarr"
    (tmp_path / "slides" / "T__1" / "objects.zarr").mkdir(parents=True)
    found = find_objects(tmp_path)
    assert (found.ready, found.unfinished) == ((objects,), (tmp_path / "slides" / "T__1",))
    assert find_objects(slide).ready == find_objects(objects).ready == (objects,)
    with pytest.raises(OutputError, match="no finished slide here"):
        find_objects(tmp_path / "slides" / "T__1")
    with pytest.raises(OutputError, match="no results folder"):
        find_objects(tmp_path / "slides" / "T__1" / "nothing")


def test_the_folder_is_named_after_the_slides_wherever_one_stands(
    slide: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(slide)
    assert export_folder(Path("objects.zarr")) == slide / "exports"
    assert export_folder(Path("objects.zarr"), tmp_path) == tmp_path / "S_1__0f1e"
