from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsiparse.coords import Frame
from wsiparse.errors import OutputError
from wsiparse.results.report_inputs import (
    PicturedSquare,
    ReportInputs,
    png_bytes,
    read_frame,
    read_report_inputs,
    write_report_inputs,
)
from wsiparse.types import Box


def inputs(seed: int = 0, shape: tuple[int, int] = (20, 30)) -> ReportInputs:
    random = np.random.default_rng(seed)
    tissue = random.random(shape) > 0.5
    polygon = shapely.box(0.1, 1 / 3, 200.7, 310.2).difference(shapely.box(20, 20, 30, 30.123456789))
    return ReportInputs(
        slide={
            **{"name": "Ä <slide>", "size": [480, 320], "mpp": [0.25, 0.251], "fingerprint": "ab"},
            **{"reader": "openslide", "vendor": "aperio", "mpp_source": "openslide.mpp-x"},
        },
        offset=(3, 5),
        overview=Frame(shape[::-1], (16.0, 16.0), (4.0, 4.016)),
        picture=random.integers(0, 256, (*shape, 3), np.uint8),
        tissue=tissue,
        artefacts=~tissue & (random.random(shape) > 0.5),
        whole_slide=False,
        roi=polygon,
        regions=(("Tumor", polygon), ("", shapely.box(1, 2, 3, 4))),
        unreadable=((0.0, 1.5, 100.25, 200.0),),
        compartments="none" if seed % 2 else None,
        squares=(PicturedSquare(Box(10, 20, 30, 40), "spots/1.jpg"),),
        cover=np.where(tissue, random.integers(1, 256, shape), 0).astype(np.uint8),
    )


def test_a_long_outline_is_kept_exactly_in_little_text(tmp_path: Path) -> None:
    turn = np.linspace(0, 2 * np.pi, 30_001)[:-1]
    fine = shapely.Polygon(np.stack([10 + 9 * np.cos(turn), 10 + 9 * np.sin(turn)], axis=1))
    facts = ("a.geojson", "0f"), ("3 detections skipped",), ("Core",), ("Rim",)
    names = ("region_file", "region_notes", "tumour_classes", "stroma_classes")
    told: dict[str, Any] = dict(zip(names, facts, strict=True))
    drawn = replace(inputs(), roi=fine, regions=(("Tumor", fine),), **told)
    write_report_inputs(tmp_path / "report_inputs", drawn, png_bytes(drawn.picture), {})
    got = read_report_inputs(tmp_path / "report_inputs")
    assert got.roi is not None
    assert got.roi.wkb == got.regions[0][1].wkb == fine.wkb
    assert tuple(getattr(got, name) for name in names) == facts
    assert (tmp_path / "report_inputs" / "report_inputs.json").stat().st_size < 2 * 30_000 * 16 * 4 / 3 + 5000


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 40))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, seed: int, h: int, w: int) -> None:
    given_, folder = inputs(seed, (h, w)), tmp_path_factory.mktemp("report_inputs") / "report_inputs"
    write_report_inputs(folder, given_, png_bytes(given_.picture), {"spots/1.jpg": b"picture"})
    got = read_report_inputs(folder)
    for name in ("picture", "tissue", "artefacts", "cover"):
        assert np.array_equal(getattr(got, name), getattr(given_, name))
    for name in ("slide", "offset", "overview", "whole_slide", "unreadable", "compartments", "squares"):
        assert getattr(got, name) == getattr(given_, name)
    assert got.roi == given_.roi, "to the last bit"
    assert [(name, shape.wkb) for name, shape in got.regions] == [(n, s.wkb) for n, s in given_.regions]
    assert read_frame(folder) == ((3, 5), given_.size)
    assert (folder / "spots" / "1.jpg").read_bytes() == b"picture"


def test_results_that_an_earlier_version_made_count_whole_cells(tmp_path: Path) -> None:
    folder = tmp_path / "report_inputs"
    write_report_inputs(folder, replace(inputs(), cover=None), png_bytes(inputs().picture), {})
    assert not (folder / "cover.png").exists()
    facts = json.loads((folder / "report_inputs.json").read_text())
    assert facts.pop("cover") is False
    assert facts["format"] == 2
    (folder / "report_inputs.json").write_text(json.dumps(facts | {"format": 1}))
    got = read_report_inputs(folder)
    assert got.cover is None
    assert np.array_equal(got.tissue, inputs().tissue)


@pytest.mark.parametrize("name", ["report_inputs.json", "overview.png", "tissue.png", "cover.png"])
@pytest.mark.parametrize("data", [None, b"", b"{}", b"\x89PNG\r\n\x1a\n but no more"])
def test_damage_is_one_line(name: str, data: bytes | None, tmp_path: Path) -> None:
    folder = tmp_path / "report_inputs"
    write_report_inputs(folder, inputs(), png_bytes(inputs().picture), {})
    (folder / name).unlink()
    if data is not None:
        (folder / name).write_bytes(data)
    with pytest.raises(OutputError, match=r"(missing or incomplete|damaged|format).*--overwrite") as caught:
        read_report_inputs(folder)
    assert "\n" not in str(caught.value)


def test_the_overview_of_a_large_slide_is_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow refuses twice of it
    write_report_inputs(tmp_path / "report_inputs", inputs(), png_bytes(inputs().picture), {})
    np.testing.assert_array_equal(read_report_inputs(tmp_path / "report_inputs").picture, inputs().picture)
