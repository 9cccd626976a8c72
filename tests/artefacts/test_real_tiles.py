"""Real tiles beside the checkout: ink that is there is found, and what looks like ink or blur and is none is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from PIL import Image

from wsiparse.config import RunConfig
from wsiparse.run.artefacts import artefacts_of
from wsiparse.slides import open_slide, survey
from wsiparse.slides.memory import MemorySlide
from wsiparse.tiling import background_colour, find_tissue

#: Surgical ink: black, blue, black, black.
WITH_INK = ("consep/train_2", "consep/train_12", "crchisto/img11", "crchisto/img12")

#: What each tile has, and no ink.
WITHOUT_INK = {
    "crchisto/img29": "dense lymphoid tissue",
    "consep/train_18": "dense lymphoid tissue",
    "crchisto/img26": "blood",
    "crchisto/img16": "blood",
    "consep/train_10": "mucin",
    "crchisto/img49": "mucin",
    "crchisto/img2": "fat",
    "gbm40/14": "dark stain",
    "nuinsseg/380": "spleen with blood",
    "nuinsseg/389": "dense lymphoid tissue",
    "nuinsseg/372": "brown pigment in grains",
    "nuinsseg/375": "brown pigment in grains",
    "nuinsseg/437": "muscle, dark",
}
MPP = {"consep": 0.25, "gbm40": 0.25, "crchisto": 0.55, "nuinsseg": 0.5}


def tile(shared: Path, name: str) -> tuple[NDArray[np.uint8], float]:
    folder, stem = name.split("/")
    path = shared / "data" / "annotated" / folder / f"{stem}.png"
    if folder == "nuinsseg":
        path = shared / "training" / folder / f"{stem}.jpg"
    if not path.exists():
        pytest.skip(f"needs {name}, which is not here")
    return np.asarray(Image.open(path).convert("RGB")), MPP[folder]


def shares(slide: object) -> dict[str, float]:
    seen = survey(slide, 8.0)  # type: ignore[arg-type]
    looked = find_tissue(seen.picture, seen.frame.mean_mpp)
    background = background_colour(seen.picture)[0]
    found = artefacts_of(slide, RunConfig(), seen.frame, (looked.mask, looked.artefacts), background)  # type: ignore[arg-type]
    return {a.kind: a.geometry.area / np.prod(slide.size) for a in found}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", WITH_INK)
def test_surgical_ink_is_found(shared: Path, name: str) -> None:
    assert shares(MemorySlide(*tile(shared, name)))["ink"] > 0.03


@pytest.mark.parametrize("name", WITHOUT_INK)
def test_what_is_no_artefact_is_not_taken_for_one(shared: Path, name: str) -> None:
    found = shares(MemorySlide(*tile(shared, name)))
    assert found["ink"] < 0.01
    assert found["out_of_focus"] < 0.01


def test_the_corner_of_a_real_core_that_is_blurred_is_found_and_nothing_else(shared: Path) -> None:
    path = shared / "data" / "slides" / "instanseg_HE_example.tif"
    with open_slide(path) as slide:
        seen = survey(slide, 8.0)
        looked = find_tissue(seen.picture, seen.frame.mean_mpp)
        background = background_colour(seen.picture)[0]
        found = artefacts_of(slide, RunConfig(), seen.frame, (looked.mask, looked.artefacts), background)
    shape = {a.kind: a.geometry for a in found}
    assert shape["ink"].is_empty
    # seen by eye: about x 960-1150, y 100-290 px of 0.5 um
    assert shape["out_of_focus"].within(shapely.box(900, 60, 1250, 350))
    assert shape["out_of_focus"].area > 100 * 100
