"""Slides whose nuclei are known one by one, through the whole line: counts, areas and places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.spatial import KDTree

from wsiparse.config import RunConfig
from wsiparse.coords import to_level0
from wsiparse.run.pipeline import Analysis, analyse
from wsiparse.slides import open_slide

GLASS, PINK, BLUE = ((243,) * 3, (236, 190, 214), (84, 60, 140))
RADIUS_UM, STEP_UM, MPP = 3.6, 25.0, 0.5
WHOLE = RunConfig(engine="classical", whole_slide=True)


def dots(
    width: int, height: int, mpp: tuple[float, float] = (MPP, MPP)
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A picture full of tissue with round nuclei on a grid, and their centres (n, 2), px."""
    image = np.empty((height, width, 3), np.float32)
    image[:] = PINK
    x, y = (
        np.arange(STEP_UM / 2 / m, side - RADIUS_UM / m - 2, STEP_UM / m)
        for m, side in zip(mpp, (width, height), strict=True)
    )
    centres = np.array([(cx, cy) for cy in y for cx in x]).reshape(-1, 2)
    rows, columns = np.mgrid[:height, :width] + 0.5
    for cx, cy in centres:
        image[((columns - cx) * mpp[0]) ** 2 + ((rows - cy) * mpp[1]) ** 2 <= RADIUS_UM**2] = BLUE
    image += np.random.default_rng(1).normal(0, 1, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), centres


def places(done: Analysis) -> NDArray[np.float64]:
    """Centroids of the cells, (n, 2), level-0 px."""
    return to_level0(done.cells.centroid, done.frames["cell"])


def assert_found(
    found: NDArray[np.float64], true: NDArray[np.float64], within_um: float, mpp: tuple[float, float]
) -> None:
    assert len(found) == len(true)
    if not len(true):
        return
    distance, nearest = KDTree(found * mpp).query(true * mpp)
    assert len(set(nearest.tolist())) == len(true)
    assert distance.max() <= within_um


@pytest.mark.parametrize(
    ("mpp", "size"), [((0.5, 0.25), (300, 500)), ((0.5, 0.55), (300, 250)), ((0.25, 0.5), (500, 250))]
)
def test_pixels_that_are_not_square_keep_counts_areas_and_places(
    tmp_path: Path, mpp: tuple[float, float], size: tuple[int, int]
) -> None:
    image, true = dots(*size, mpp)
    path = tmp_path / "a.tif"
    resolution = (1e4 / mpp[0], 1e4 / mpp[1])
    tifffile.imwrite(
        path, image, tile=(128, 128), photometric="rgb", resolution=resolution, resolutionunit="CENTIMETER"
    )
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(mpp)
        done = analyse(slide, WHOLE)
    assert_found(places(done), true, 2.0, mpp)
    assert done.prepared.area_mm2 == pytest.approx(size[0] * size[1] * mpp[0] * mpp[1] * 1e-6)


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (3, 5000), (5000, 60), (60, 60), (1, 1)])
def test_very_thin_and_very_small_slides_have_their_nuclei_and_their_area(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    image, true = dots(*size)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, image, tile=(256, 256), photometric="rgb", resolution=(2e4, 2e4), resolutionunit="CENTIMETER"
    )
    with open_slide(path) as slide:
        done = analyse(slide, WHOLE)
    assert_found(places(done), true, 2.0, (MPP, MPP))
    assert done.prepared.area_mm2 == pytest.approx(size[0] * size[1] * MPP**2 * 1e-6)


def leica(path: Path, areas: list[tuple[NDArray[np.uint8], int, int]]) -> None:
    """A Leica SCN with areas (picture, x, y) on glass of 1200 x 800 px at 0.5 um, and a macro."""
    nm = int(MPP * 1000)
    glass = (1200 * nm, 800 * nm)
    pages, images = [np.full((80, 120, 3), 200, np.uint8)], []

    def image(number: int, sizes: list[tuple[int, int, int]], view: tuple[int, int, int, int], power: float) -> str:
        dimensions = "".join(
            f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" ifd="{ifd}"/>' for r, (w, h, ifd) in enumerate(sizes)
        )
        return (
            f'<image name="image_{number}"><creationDate>2020</creationDate><device model="SCN400" version="1"/>'
            f'<pixels sizeX="{sizes[0][0]}" sizeY="{sizes[0][1]}">{dimensions}</pixels>'
            f'<view sizeX="{view[0]}" sizeY="{view[1]}" offsetX="{view[2]}" offsetY="{view[3]}" spacingZ="0"/>'
            f"<scanSettings><objectiveSettings><objective>{power}</objective></objectiveSettings><illuminationSettings>"
            "<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource>"
            "</illuminationSettings></scanSettings></image>"
        )

    images.append(image(0, [(120, 80, 0)], (*glass, 0, 0), 0.6))
    for number, (picture, x, y) in enumerate(areas, 1):
        height, width = picture.shape[:2]
        small = picture.reshape(height // 4, 4, width // 4, 4, 3).mean(axis=(1, 3)).round().astype(np.uint8)
        sizes = [(width, height, len(pages)), (width // 4, height // 4, len(pages) + 1)]
        pages += [picture, small]
        images.append(image(number, sizes, (width * nm, height * nm, x * nm, y * nm), 20))
    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:0">'
        f'<collection name="c" uuid="urn:uuid:1" sizeX="{glass[0]}" sizeY="{glass[1]}"><barcode></barcode>'
        f"{''.join(images)}</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        for k, page in enumerate(pages):
            out.write(
                page,
                tile=(128, 128),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 95},
                metadata=None,
                description=text if k == 0 else None,
                resolution=(2e4, 2e4),
                resolutionunit="CENTIMETER",
            )


@pytest.mark.parametrize("offsets", [[(300, 200)], [(300, 40), (300, 540)]], ids=["one area", "two areas"])
def test_areas_at_an_offset_on_the_glass_are_found_where_they_lie(
    tmp_path: Path, offsets: list[tuple[int, int]]
) -> None:
    image, true = dots(400, 240)
    path = tmp_path / "a.scn"
    leica(path, [(image, x, y) for x, y in offsets])
    with open_slide(path) as slide:
        assert (slide.vendor, slide.size) == ("leica", (1200, 800))
        assert (slide.bounds.x, slide.bounds.y) == offsets[0]
        done = analyse(slide, RunConfig(engine="classical"))
    assert_found(places(done), np.concatenate([true + offset for offset in offsets]), 2.0, (MPP, MPP))
    areas = len(offsets) * 400 * 240 * MPP**2 * 1e-6
    assert 0.97 * areas <= done.prepared.area_mm2 <= 1.03 * areas
