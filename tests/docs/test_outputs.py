"""docs/outputs.md names what a run writes, all of it and nothing else."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import zarr

from tests.conftest import ROOT
from wsiparse.choices import ExportFormat, words
from wsiparse.export.objectframe import column_name
from wsiparse.export.reading import read_objects
from wsiparse.report.stats.rows import COLUMNS
from wsiparse.store.measure import measure
from wsiparse.types import ObjectTable, Prompt, PromptSet

PAGE = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
REPORT_PAGE = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def first_cells(text: str) -> list[str]:
    """Code in the first cell of each row of the tables."""
    rows = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_every_file_of_a_results_folder_is_named(place: Path, results: Callable[[], Path]) -> None:
    named = {name.rstrip("/") for name in first_cells(PAGE.partition("## Exit codes")[0])}
    there = {path.name for path in results().iterdir()}
    assert there <= named
    elsewhere = {"slides/<stem>__<8 digits>", "summary.csv", "run-<utc>-<id>.json", "status.csv", "metadata.json"}
    elsewhere |= {"tables.json", "studies.csv", "summary.xlsx", "cohort.json"}
    assert named - there == elsewhere | {"regions.geojson.gz", "exports"}
    top = {path.name for path in (place / "results").iterdir()}
    assert top - {"slides"} == {"summary.csv", "studies.csv", "cohort.json", "report.html", "tables.json"} | {
        name for name in top if name.startswith("run-")
    }


def test_every_key_of_done_json_is_named(results: Callable[[], Path]) -> None:
    record = json.loads((results() / "DONE.json").read_text(encoding="utf-8"))
    assert set(first_cells(section("DONE.json"))) == set(record)


def test_parts_of_report_json_are_named_as_they_are(results: Callable[[], Path]) -> None:
    record = json.loads((results() / "report.json").read_text(encoding="utf-8"))
    parts = re.findall(r"`(\w+)`", section("report.json").partition("`files`")[0].partition(":")[2])
    assert len(parts) > 8
    assert set(parts) <= set(record) | {"counts"}


def test_every_array_of_objects_zarr_is_named(results: Callable[[], Path]) -> None:
    group = zarr.open_group(results() / "objects.zarr", mode="r")["cells"]
    assert set(first_cells(section("objects.zarr"))) == set(group.array_keys())  # type: ignore[union-attr]


def test_every_member_of_a_feature_is_named(results: Callable[[], Path]) -> None:
    told = first_cells(section("GeoJSON"))
    with gzip.open(results() / "cells.geojson.gz") as file:
        feature = json.load(file)["features"][0]
    members = {f"properties.{name}" for name in feature["properties"]} | {"id", "geometry", "properties.isLocked"}
    assert members <= set(told)


def test_every_measurement_and_column_is_named(results: Callable[[], Path]) -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", section("GeoJSON"), re.MULTILINE))
    prompts = PromptSet((Prompt("a", "A", "#112233"), Prompt("b", "B", "#445566")))
    names = measure(ObjectTable(), prompts, 1.0, judged=True).names
    assert set(rows) - {"Share <class>"} == set(names)
    assert {column_name(name) for name in names} == set(rows.values()) - {"share_<class>"}
    told = set(re.findall(r"`(\w+)`", section("wsiparse export"))) | set(rows.values())
    columns = [re.sub("^share_.*", "share_<class>", name) for name in read_objects(results()).columns]
    assert set(columns) <= told


def test_every_export_format_is_named() -> None:
    assert first_cells(section("wsiparse export")) == list(words(ExportFormat))


def test_every_column_of_counts_csv_is_on_the_page_of_reports() -> None:
    table = REPORT_PAGE.partition("## Columns")[2].partition("\n## ")[0]
    assert set(COLUMNS) - {"engine"} <= set(re.findall(r"`(\w+)`", table))
