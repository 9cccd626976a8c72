"""The pixel size of a slide: what fills a gap, what replaces, what is told and what is stopped."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.fixtures_slides import write_svs
from wsiparse.errors import MissingMppError, PlanError
from wsiparse.slides import open_slide, overview, require_mpp
from wsiparse.slides.metadata import MppClaim
from wsiparse.slides.scale import GivenMpp, given_mpp, settle_mpp, told_mpp
from wsiparse.slides.synthetic import paint_he

PICTURE = paint_he(256, 192, seed=1).image
SIZE = (40_000, 30_000)


def settled(mpp: object, *, y: object = None, given: GivenMpp | None = None, objective: float | None = None,
            vendor: str = "aperio", size: tuple[int, int] = SIZE):  # fmt: skip
    claim = MppClaim("aperio.MPP", mpp, mpp if y is None else y)
    return settle_mpp([claim], given, objective=objective, vendor=vendor, size=size)


def test_a_given_size_fills_a_gap_and_replaces_nothing() -> None:
    fill = GivenMpp(fill=0.25)
    assert settled(None, given=fill).value == (0.25, 0.25)
    assert settled(None, given=fill).notices == ()
    kept = settled(0.5, given=fill)
    assert kept.value == (0.5, 0.5)
    (notice,) = kept.notices
    assert "0.25" in notice
    assert "NOT used" in notice
    assert "--override-mpp 0.25" in notice


@pytest.mark.parametrize("own", [0.25, 0.2502, 0.2477])
def test_rounding_is_no_difference(own: float) -> None:
    assert settled(own, given=GivenMpp(fill=0.25)).notices == ()


def test_a_replacement_is_used_and_told_whatever_the_metadata_say() -> None:
    loud = settled(0.5, given=GivenMpp(fill=0.4, override=0.25))
    assert (loud.value, loud.source) == ((0.25, 0.25), "--override-mpp, or column override_mpp")
    assert any("REPLACES" in notice and "0.5" in notice for notice in loud.notices)
    assert settled(None, given=GivenMpp(override=0.25)).value == (0.25, 0.25)


@pytest.mark.parametrize(
    ("vendor", "objective", "mpp"),
    [  # what scanners write: um per px and the magnification they name
        ("aperio", 20, 0.499), ("aperio", 40, 0.2527), ("aperio", 40, 0.2325), ("hamamatsu", 40, 0.22818),
        ("hamamatsu", 20, 0.4561), ("leica", 20, 0.5), ("leica", 40, 0.25), ("ventana", 20, 0.465),
        ("ventana", 40, 0.2325), ("philips", 40, 0.25), ("mirax", 20, 0.2339), ("mirax", 40, 0.1214),
        ("zeiss", 20, 0.22), ("dicom", 20, 0.499), ("dicom", 20, 0.2275),
    ],
)  # fmt: skip
def test_what_scanners_write_is_told_nothing_about(vendor: str, objective: float, mpp: float) -> None:
    found = settled(mpp, objective=objective, vendor=vendor)
    assert found.value == (mpp, mpp)
    assert found.notices == ()


@pytest.mark.parametrize("factor", [10, 1 / 10, 2.54, 1 / 2.54])
@pytest.mark.parametrize(("objective", "mpp"), [(20, 0.499), (40, 0.2527)])
def test_a_unit_mistake_beside_an_objective_is_stopped(factor: float, objective: float, mpp: float) -> None:
    found = settled(mpp * factor, objective=objective)
    if found.value is not None:  # outside of 0.05-20 it is refused before
        pytest.fail(f"{found.value} passes")
    if 0.05 <= mpp * factor <= 20:
        assert f"{max(factor, 1 / factor):g} times off" in found.source


def test_the_size_of_another_scan_is_told_and_kept() -> None:
    for mpp, objective, right in ((0.25, 20, "0.5"), (0.5, 40, "0.25")):
        found = settled(mpp, objective=objective)
        assert found.value == (mpp, mpp)
        (notice,) = found.notices
        assert f"the objective of {objective}x" in notice
        assert f"--override-mpp {right}" in notice


def test_an_impossible_size_counts_as_a_gap() -> None:
    found = settled(5.0, objective=20, given=GivenMpp(fill=0.5))
    assert found.value == (0.5, 0.5)
    assert any("the metadata are not usable" in notice for notice in found.notices)
    assert settled(5.0, objective=20).value is None


def test_a_given_size_against_the_objective_is_stopped_and_a_replacement_told() -> None:
    stopped = settled(None, objective=20, given=GivenMpp(fill=5.0001))
    assert stopped.value is None
    assert "--override-mpp" in stopped.source
    forced = settled(None, objective=20, given=GivenMpp(override=5.0001))
    assert forced.value == (5.0001, 5.0001)
    assert any("objective of 20x" in notice for notice in forced.notices)


@pytest.mark.parametrize(
    ("mpp", "likely"), [(1.27, "0.5"), (0.635, "0.25"), (5.0, "0.5"), (2.5, "0.25"), (0.05, "0.5")]
)
def test_without_an_objective_a_rare_size_that_a_unit_explains_is_told(mpp: float, likely: str) -> None:
    found = settled(mpp, size=(4000, 3000))
    assert found.value == (mpp, mpp)
    assert any(f"--override-mpp {likely}" in notice for notice in found.notices)


@pytest.mark.parametrize("mpp", [0.11, 0.1725, 0.2271, 0.25, 0.325, 0.346, 0.5, 1.0, 2.0])
def test_usual_sizes_are_told_nothing_about(mpp: float) -> None:
    assert settled(mpp, size=(4000, 3000)).notices == ()


def test_places_that_contradict_each_other_are_told() -> None:
    claims = [MppClaim("aperio.MPP", 0.25, 0.25), MppClaim("the TIFF resolution", 0.5, 0.5)]
    found = settle_mpp(claims, None, objective=40, vendor="aperio", size=SIZE)
    assert found.value == (0.25, 0.25)
    (notice,) = found.notices
    assert "contradict" in notice
    assert "the TIFF resolution = 0.5" in notice
    junk = [claims[0], MppClaim("the TIFF resolution", 352.8, 352.8), MppClaim("other", None, None)]
    assert settle_mpp(junk, None, objective=40, vendor="aperio", size=SIZE).notices == ()


def test_axes_that_disagree_are_told_and_wildly_ones_stopped() -> None:
    assert settled(0.5, y=0.55).notices == ()
    assert any("not square" in notice for notice in settled(0.5, y=0.25).notices)
    wild = settled(0.5, y=0.05)
    assert wild.value is None
    assert "times as long as wide" in wild.source


@pytest.mark.parametrize(("value", "words"), [(0.00025, "as if in mm"), (2.5e-7, "as if in m"), ("0,25", "comma")])
def test_other_units_are_guessed_in_the_message_only(value: object, words: str) -> None:
    found = settled(value)
    assert found.value is None
    assert words in found.source


def test_a_slide_larger_than_usual_glass_is_told() -> None:
    assert any("larger than most glass" in n for n in settled(0.5, size=(200_000, 180_000)).notices)
    assert settled(0.5, size=(150_000, 100_000)).notices == ()


@pytest.mark.parametrize("value", [5, 10, 20, 40, 60, 63, 80, 100])
def test_a_magnification_is_no_pixel_size(value: float) -> None:
    with pytest.raises(MissingMppError, match=f"--slide-mpp {value} is a magnification.*perhaps --slide-mpp"):
        given_mpp(float(value), None)
    with pytest.raises(MissingMppError, match="--override-mpp"):
        given_mpp(None, float(value))


@pytest.mark.parametrize("value", [0.0, -0.25, float("nan"), float("inf"), 0.01, 21.0, 0.00025])
def test_what_is_given_must_be_believable(value: float) -> None:
    with pytest.raises(MissingMppError, match=r"between 0\.05 and 20"):
        told_mpp(value, "--override-mpp")


@pytest.mark.parametrize("reader", ["direct", "openslide", "tiffslide"])
def test_every_reader_fills_replaces_and_pickles(tmp_path: Path, reader: str) -> None:
    has = write_svs(tmp_path / "has.svs", PICTURE)
    lacks = write_svs(tmp_path / "lacks.svs", PICTURE, mpp=None)
    with open_slide(has, slide_mpp=0.25, reader=reader) as slide:
        assert require_mpp(slide) == (0.5, 0.5)
        assert len(slide.mpp_notices) == 1
        with pickle.loads(pickle.dumps(slide)) as again:
            assert (again.mpp, again.mpp_notices) == (slide.mpp, slide.mpp_notices)
    with open_slide(lacks, slide_mpp=0.25, reader=reader) as slide:
        assert require_mpp(slide) == (0.25, 0.25)
    with open_slide(has, override_mpp=0.45, reader=reader) as slide:
        assert require_mpp(slide) == (0.45, 0.45)
        assert "REPLACES" in slide.mpp_notices[0]


def test_pictures_of_strips_and_zarr_know_them_too(tmp_path: Path) -> None:
    from tests.slides.zarrs import write_ome_zarr

    strips = tmp_path / "a.tif"
    tifffile.imwrite(strips, PICTURE, photometric="rgb", resolution=(20000, 20000), resolutionunit="CENTIMETER")
    folder = write_ome_zarr(tmp_path / "a.zarr", PICTURE)
    for path in (strips, folder):
        with open_slide(path, slide_mpp=0.3) as slide:
            own = require_mpp(slide)
            assert own != (0.3, 0.3)
            assert slide.mpp_notices
        with open_slide(path, override_mpp=0.3) as slide:
            assert require_mpp(slide) == (0.3, 0.3)


def test_a_long_slide_is_larger_than_any_glass_too(tmp_path: Path) -> None:
    path = tmp_path / "long.tif"
    tifffile.imwrite(path, np.full((16, 20_000, 3), 255, np.uint8), tile=(16, 256), photometric="rgb")
    with open_slide(path, override_mpp=9.0) as slide, pytest.raises(PlanError, match="180 x 0 mm"):
        overview(slide, 8.0)
