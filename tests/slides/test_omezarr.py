"""OME-Zarr images as slides: exact pixels and pixel sizes, and one clear line for what is none."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.fixtures_slides import halved, textured
from tests.slides.zarrs import write_attributes, write_ome_zarr
from wsiparse.coords import Frame
from wsiparse.errors import MissingMppError, TileReadError, UnsupportedSlideError
from wsiparse.slides import find_slides, open_slide, require_mpp
from wsiparse.slides.base import Slide
from wsiparse.types import Box

PICTURE = textured(200, 300, seed=6)


def over(step: int = 1) -> Frame:
    return Frame((300 // step, 200 // step), (step, step), (0.5 * step, 0.25 * step))


def whole(slide: Slide, step: int = 1) -> np.ndarray:
    return slide.read(Box(0, 0, 300 // step, 200 // step), over(step))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "tczyx", "yxc", "czyx"])
@pytest.mark.parametrize("group", ["", "0"])
def test_levels_and_pixel_size_are_the_images(tmp_path: Path, version: str, axes: str, group: str) -> None:
    path = write_ome_zarr(tmp_path / "a.ome.zarr", PICTURE, version=version, axes=axes, group=group)
    with open_slide(path) as slide:
        assert isinstance(slide, Slide)
        assert (slide.reader, slide.vendor, slide.name) == ("zarr", "ome-zarr", "a.ome")
        assert slide.level_sizes == ((300, 200), (150, 100))
        assert require_mpp(slide) == (0.5, 0.25)
        assert slide.mpp_source == "metadata the OME-Zarr scale"
        np.testing.assert_array_equal(whole(slide), PICTURE)
        np.testing.assert_array_equal(whole(slide, 2), halved(PICTURE, 2))
        np.testing.assert_array_equal(slide.read(Box(71, 53, 9, 5), over()), PICTURE[53:58, 71:80])
        assert (slide.read(Box(-5, -5, 5, 5), over()) == 255).all()


def test_sharded_arrays_are_read(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", PICTURE, steps=(1,), chunk=32, shards=(3, 64, 64))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), PICTURE)


@pytest.mark.parametrize(
    ("unit", "mpp", "expected"),
    [("nanometer", (250, 500), (0.25, 0.5)), ("millimeter", (5e-4, 5e-4), (0.5, 0.5)), ("micrometer", (1, 1), (1, 1))],
)
def test_units_are_lengths(tmp_path: Path, unit: str, mpp: Any, expected: Any) -> None:
    with open_slide(write_ome_zarr(tmp_path / "a.zarr", PICTURE, unit=unit, mpp=mpp)) as slide:
        assert require_mpp(slide) == pytest.approx(expected)
    with open_slide(write_ome_zarr(tmp_path / "b.zarr", PICTURE, unit=unit, mpp=mpp, shared_scale=0.5)) as slide:
        assert require_mpp(slide) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("unit", "mpp", "words"),
    [
        (None, (0.5, 0.5), "of no unit"),
        ("furlong", (0.5, 0.5), "furlong"),
        (None, (1, 1), "found none"),
        ("meter", (1, 1), "outside 0.05-20"),
    ],
)
def test_a_scale_that_is_no_believable_length_is_not_taken(
    tmp_path: Path, unit: str | None, mpp: Any, words: str
) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", PICTURE, unit=unit, mpp=mpp)
    with open_slide(path) as slide, pytest.raises(MissingMppError, match=words):
        require_mpp(slide)
    with open_slide(path, slide_mpp=0.5) as slide:
        assert require_mpp(slide) == (0.5, 0.5)


def attributes(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]["ome"]
    return found


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    ome = attributes(path)
    change(ome["multiscales"][0])
    write_attributes(path, ome)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UnsupportedSlideError) as caught:
        open_slide(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: not readable as a slide (zarr: ")
    assert text.endswith("three 8-bit channels.")
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("array", "axes", "words"),
    [
        (PICTURE.astype(np.uint16), "cyx", "uint16 pixels, only 8-bit RGB"),
        (PICTURE[..., :1], "cyx", "1 channels, only RGB"),
        (np.concatenate([PICTURE, PICTURE], axis=2), "tczyx", "6 channels, only RGB"),
    ],
)
def test_what_is_not_8_bit_rgb_is_refused(tmp_path: Path, array: np.ndarray, axes: str, words: str) -> None:
    assert words in refusal(write_ome_zarr(tmp_path / "a.zarr", array, axes=axes, steps=(1,)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.clear(), "are not OME-Zarr 0.4 or 0.5"),
        (lambda m: m.update(axes=[{"name": "c"}, {"name": "y"}]), "are not OME-Zarr"),
        (lambda m: m.update(axes=[{"name": a} for a in "zyx"]), "no channels"),
        (lambda m: m.update(axes=[{"name": a} for a in "tcyx"]), "are not OME-Zarr"),
        (lambda m: m.update(datasets=[]), "0 levels"),
        (lambda m: m.update(datasets=m["datasets"][::-1]), "levels must get smaller"),
        (lambda m: m["datasets"][0].update(path="../a.zarr/0"), "are not OME-Zarr"),
        (lambda m: m["datasets"][0].update(path="/etc"), "are not OME-Zarr"),
        (lambda m: m["datasets"][0].update(path="9"), "its arrays cannot be opened"),
        (lambda m: m["datasets"][0].update(coordinateTransformations=[{"type": "scale", "scale": [1]}]), "1 numbers"),
        (lambda m: m["datasets"][0].update(coordinateTransformations=7), "are not OME-Zarr"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path: Path, change: Callable, words: str) -> None:
    assert words in refusal(changed(write_ome_zarr(tmp_path / "a.zarr", PICTURE), change))


def test_folders_that_hold_no_image_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    assert "no OME-Zarr image in it" in refusal(path)
    (path / "zarr.json").write_text("{", encoding="ascii")
    assert "zarr.json cannot be read" in refusal(path)
    (path / "zarr.json").write_text("[" * 100_000, encoding="ascii")
    assert "zarr.json cannot be read" in refusal(path)
    write_attributes(path, {"plate": {}})
    assert "a plate of several images" in refusal(path)
    write_attributes(path, {"image-label": {}, "multiscales": []})
    assert "a label image" in refusal(path)


def test_a_stack_is_no_picture(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", PICTURE, axes="tczyx", steps=(1,))
    shutil.rmtree(path / "0")
    zarr.create_array(path / "0", shape=(1, 3, 4, 20, 30), dtype=np.uint8, chunks=(1, 1, 1, 20, 30))
    assert "4 planes along z" in refusal(path)


def test_claims_of_absurd_size_are_refused_or_cost_nothing(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", PICTURE, steps=(1,))
    described = json.loads((path / "0" / "zarr.json").read_text(encoding="utf-8"))
    described["chunk_grid"]["configuration"]["chunk_shape"] = [1, 2**20, 2**20]
    (path / "0" / "zarr.json").write_text(json.dumps(described), encoding="utf-8")
    assert "claims chunks of 1 x 1048576 x 1048576 bytes" in refusal(path)


def test_a_damaged_chunk_costs_only_itself(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", PICTURE, steps=(1,))
    (path / "0" / "c" / "1" / "1" / "1").write_bytes(b"\0" * 40)
    with open_slide(path) as slide:
        for _ in range(2):
            with pytest.raises(TileReadError, match=r"a\.zarr: cannot decode level 0, x 60-80, y 60-80"):
                slide.read(Box(60, 60, 20, 20), over())
            np.testing.assert_array_equal(slide.read(Box(128, 0, 172, 200), over()), PICTURE[:, 128:])


def test_a_chunk_that_is_not_there_has_the_fill_value(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", PICTURE, steps=(1,), fill_value=7)
    for channel in "012":
        (path / "0" / "c" / channel / "0" / "0").unlink()
    expected = PICTURE.copy()
    expected[:64, :64] = 7
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), expected)


def test_a_pipe_among_the_chunks_is_not_waited_for(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", PICTURE, steps=(1,))
    chunk = path / "0" / "c" / "0" / "0" / "0"
    chunk.unlink()
    os.mkfifo(chunk)
    assert "not a regular file" in refusal(path)


def test_the_fingerprint_is_of_the_content_wherever_it_lies(tmp_path: Path) -> None:
    prints = []
    for name in ("a.zarr", "b.zarr"):
        with open_slide(write_ome_zarr(tmp_path / name, PICTURE)) as slide:
            prints.append(slide.fingerprint)
    with open_slide(write_ome_zarr(tmp_path / "c.zarr", PICTURE[:, ::-1].copy())) as slide:
        prints.append(slide.fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_it_pickles_by_opening_again_and_says_when_it_is_closed(tmp_path: Path) -> None:
    slide = open_slide(write_ome_zarr(tmp_path / "a.zarr", PICTURE), slide_mpp=0.3)
    with pickle.loads(pickle.dumps(slide)) as twin:
        assert twin.facts == slide.facts
        np.testing.assert_array_equal(whole(twin), PICTURE)
    slide.close()
    with pytest.raises(ValueError, match=r"a\.zarr is closed"):
        whole(slide)


def test_a_folder_gives_its_images_and_not_its_labels(tmp_path: Path) -> None:
    write_ome_zarr(tmp_path / "slides" / "a.zarr", PICTURE)
    write_ome_zarr(tmp_path / "slides" / "b.ome.zarr", PICTURE, version="0.4", group="0")
    labels = tmp_path / "slides" / "labels.ome.zarr"
    write_ome_zarr(labels, PICTURE)
    write_attributes(labels, attributes(labels) | {"image-label": {}})
    (tmp_path / "slides" / "empty.zarr").mkdir()
    found = find_slides([tmp_path / "slides"], recursive=True)
    assert [path.name for path in found] == ["a.zarr", "b.ome.zarr"]
    assert find_slides([labels]) == [labels]
    assert [p.name for p in find_slides([str(tmp_path / "slides" / "*.zarr")])] == ["a.zarr", "b.ome.zarr"]
