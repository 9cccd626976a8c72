from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import ConfigError, PromptError, WeightsError
from wsiparse.recognize.base import calibrate, check_prompts, engine_info, load_recognizer, mirror_outside
from wsiparse.types import Box, Prompt, PromptSet, RecognizerSpec

NUCLEI = PromptSet((Prompt("nuclei", "Nuclei"),))


def test_facts_and_checks_do_not_import_torch() -> None:
    code = (
        "import sys\n"
        "from wsiparse.recognize.base import calibrate, check_prompts, engine_info\n"
        "from wsiparse.types import Prompt, PromptSet, RecognizerSpec\n"
        "for engine in ('embedded', 'classical'):\n"
        "    spec = RecognizerSpec(engine, PromptSet((Prompt('nuclei', 'a'),)))\n"
        "    check_prompts(spec); engine_info(spec)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("engine", ["embedded", "classical"])
def test_every_output_can_say_that_this_is_not_biomedparse(engine: str) -> None:
    info = engine_info(RecognizerSpec(engine, NUCLEI))
    assert info.title.endswith("not BiomedParse")
    assert info.mpp == 0.5
    assert info.tile_px % info.align_px == info.halo_px % info.align_px == 0
    assert bool(info.weights_sha256) == (engine == "embedded")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "cellpose"}, "auto, biomedparse, embedded, classical"),
        ({"device": "gpu"}, "choose auto, cpu, cuda"),
        ({"precision": "int8"}, "choose one of auto, float32"),
        ({"engine": "classical", "device": "cuda"}, "CPU only"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(change: dict[str, str], message: str) -> None:
    spec = RecognizerSpec(**({"engine": "embedded", "prompts": NUCLEI} | change))  # type: ignore[arg-type]
    for act in (engine_info, load_recognizer):
        with pytest.raises(ConfigError, match=message):
            act(spec)


def test_biomedparse_without_weights_names_the_remedy() -> None:
    for weights in ("", "no/such/file.pt"):
        with pytest.raises(WeightsError, match="wsiparse weights fetch"):
            engine_info(RecognizerSpec("biomedparse", NUCLEI, weights=weights))


@pytest.mark.parametrize("engine", ["embedded", "classical"])
def test_prompts_are_refused_before_anything_is_loaded(engine: str) -> None:
    spec = RecognizerSpec(engine, PromptSet((Prompt("glands", "Glands"),)))
    for act in (check_prompts, load_recognizer):
        with pytest.raises(PromptError, match="glands"):
            act(spec)


def test_engines_that_want_the_stain_learn_it_from_the_slide() -> None:
    sample = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    other = RecognizerSpec("biomedparse", NUCLEI)
    assert calibrate(other, sample, 9.0) == other
    network, fitted = (calibrate(RecognizerSpec(e, NUCLEI), sample, 9.0) for e in ("embedded", "classical"))
    assert len(network.calibration) == 1
    assert len(fitted.calibration) == 8
    assert fitted.calibration[7] == network.calibration[0]
    assert calibrate(RecognizerSpec("embedded", NUCLEI), sample, 0.1).calibration == ()
    assert len(calibrate(RecognizerSpec("classical", NUCLEI), sample, 0.1).calibration) == 7
    for engine in ("embedded", "classical"):
        assert calibrate(RecognizerSpec(engine, NUCLEI), sample[:0], 9.0).calibration == ()
    assert pickle.loads(pickle.dumps(fitted)) == fitted


@given(st.data())
def test_a_tile_past_the_canvas_sees_the_mirrored_canvas(data: st.DataObject) -> None:
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    over = 6
    x = data.draw(st.integers(-over, 31 + over - 15))
    y = data.draw(st.integers(-over, 23 + over - 15))
    box = Box(x, y, data.draw(st.integers(14, 31 + over - x)), data.draw(st.integers(14, 23 + over - y)))
    wide = np.full((23 + 2 * over, 31 + 2 * over, 3), 255, np.uint8)
    wide[over:-over, over:-over] = canvas
    window = (slice(y + over, y + over + box.height), slice(x + over, x + over + box.width))
    expected = np.pad(canvas, ((over, over), (over, over), (0, 0)), mode="reflect")[window]
    np.testing.assert_array_equal(mirror_outside(wide[window], box, (31, 23)), expected)


def test_a_tile_inside_the_canvas_is_not_copied() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    assert mirror_outside(image, Box(1, 1, 5, 4), (10, 10)) is image


def test_a_box_off_the_canvas_or_of_another_size_is_refused() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    for box in (Box(20, 0, 5, 4), Box(0, 0, 4, 5)):
        with pytest.raises(ValueError, match="does not meet"):
            mirror_outside(image, box, (10, 10))
