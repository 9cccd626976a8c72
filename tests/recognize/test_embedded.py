"""The network that ships: a model folder inside the package, held to what every model is."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from wsiparse.config import RunConfig
from wsiparse.errors import ConfigError, WeightsError
from wsiparse.recognize.base import engine_info, load_recognizer
from wsiparse.recognize.card import read_card
from wsiparse.recognize.embedded.classes import batch_maps
from wsiparse.recognize.embedded.compact import CompactNetwork, load_compact
from wsiparse.recognize.embedded.engine import MODEL, _Embedded
from wsiparse.run.engine import Engine
from wsiparse.run.pipeline import analyse
from wsiparse.slides import MemorySlide
from wsiparse.slides.synthetic import paint_he
from wsiparse.types import Prompt, PromptSet, RecognizerSpec

NUCLEI = PromptSet((Prompt("nuclei", "Nuclei"),))
SPEC = RecognizerSpec("embedded", NUCLEI)
WEIGHTS = MODEL / read_card(MODEL).weights.file


@pytest.fixture(scope="module")
def net() -> CompactNetwork:
    return load_compact(WEIGHTS.read_bytes())


def picture(height: int = 256, width: int = 384) -> NDArray[np.uint8]:
    return paint_he(width, height, seed=2).image


def test_the_folder_that_ships_is_whole_small_and_of_half_precision() -> None:
    card = read_card(MODEL)
    assert {"model.yaml", "weights.safetensors"} <= {path.name for path in MODEL.iterdir()}
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == card.weights.sha256
    assert WEIGHTS.stat().st_size <= 8_000_000
    with safe_open(WEIGHTS, "numpy") as file:
        assert {file.get_slice(name).get_dtype() for name in list(file.keys())} == {"F16"}
    assert card.classes == ("epithelial", "inflammatory", "connective")


def test_it_is_called_embedded_and_says_what_it_is_not() -> None:
    info = engine_info(SPEC)
    assert (info.name, info.title) == ("embedded", "embedded network, not BiomedParse")
    assert info.weights_sha256 == read_card(MODEL).weights.sha256


def test_without_prompts_three_classes_are_told_apart_in_three_colours() -> None:
    prompts = Engine(RunConfig(engine="embedded", device="cpu")).prompts
    assert [p.class_name for p in prompts] == ["Inflammatory", "Epithelial", "Connective", "Other nuclei"]
    assert [p.colour for p in prompts] == ["#ffd60a", "#d55e00", "#56b4e9", "#999999"]


def test_its_margins_are_as_wide_as_it_looks(net: CompactNetwork) -> None:
    """From the border of an aligned tile inwards, what lies outside is no longer seen behind the halo."""
    halo, stride = read_card(MODEL).input.halo_px, net.shape.stride_px
    assert halo >= net.shape.reach_px
    image = picture(128, 400)
    border = 10 * stride
    other = image.copy()
    other[:, :border] = np.random.default_rng(0).integers(0, 256, (len(image), border, 3), dtype=np.uint8)
    first, second = batch_maps(net, np.stack([image, other]))
    inner = border + halo
    np.testing.assert_allclose(first[:, :, inner:], second[:, :, inner:], atol=1e-5)
    assert np.abs(first[:, :, border : border + 32] - second[:, :, border : border + 32]).max() > 0.01


def test_bf16_stays_close_to_float32(net: CompactNetwork) -> None:
    image = picture()[None]
    low = load_compact(WEIGHTS.read_bytes()).to(torch.bfloat16)
    difference = np.abs(batch_maps(low, image) - batch_maps(net, image))
    assert difference.mean() < 5e-3


def test_tiles_change_no_nucleus_no_class_and_no_share() -> None:
    slide = MemorySlide(paint_he(1100, 900, seed=4).image, 0.5)
    found = []
    for tile in (512, 1024, 1536):
        config = RunConfig(engine="embedded", device="cpu", precision="float32", whole_slide=True, tile_size=tile)
        found.append(analyse(slide, config).cells)
    assert len(found[0]) > 300
    assert len(np.unique(found[0].class_id)) > 1
    for other in found[1:]:
        for name in ("coords", "class_id", "area_px", "first_px"):
            np.testing.assert_array_equal(getattr(other, name), getattr(found[0], name))
        np.testing.assert_allclose(other.class_share, found[0].class_share, atol=0.02)


def test_painted_nuclei_are_found() -> None:
    field = paint_he(512, 512, seed=1)
    found = analyse(MemorySlide(field.image, 0.5), RunConfig(engine="embedded", device="cpu", whole_slide=True)).cells
    assert len(found) == pytest.approx(len(field.inflammatory), rel=0.15)


def test_loading_leaves_the_random_generator_and_the_threads_alone() -> None:
    torch.manual_seed(1)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    load_recognizer(SPEC)(np.zeros((1, 16, 16, 3), np.uint8))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_an_installation_that_is_not_whole_is_to_be_made_anew(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model\.yaml"):
        _Embedded(tmp_path / "gone", "embedded")
    folder = shutil.copytree(MODEL, tmp_path / "model")
    (folder / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="Reinstall wsiparse"):
        _Embedded(folder, "embedded").info(SPEC)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(WeightsError, match="Reinstall wsiparse"):
        _Embedded(folder, "embedded").info(SPEC)


def test_a_device_that_is_not_there_is_reported() -> None:
    with pytest.raises(ConfigError, match="--device cpu"):
        load_recognizer(RecognizerSpec("embedded", NUCLEI, device="cuda:99"))


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(ConfigError, match="bf16"):
        load_recognizer(RecognizerSpec("embedded", NUCLEI, precision="fp16"))
