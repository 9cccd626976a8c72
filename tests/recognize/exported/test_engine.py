"""A card with an ONNX or a TorchScript file as an engine: the objects of its network, whatever computes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.recognize.exported.folders import OWN_INPUT, onnx_bytes, script_bytes, write_exported
from tests.recognize.exported.networks import Channels, Colours, Shrunk, TwoOutputs
from tests.recognize.models import card_facts, random_network, write_model
from tests.recognize.test_folder import blocks, same
from wsiparse.config import RunConfig
from wsiparse.errors import ConfigError, PromptError
from wsiparse.recognize.base import limits_of, load_recognizer
from wsiparse.recognize.embedded.compact import load_compact
from wsiparse.recognize.embedded.engine import MODEL
from wsiparse.recognize.registry import engine_of
from wsiparse.run.engine import Engine
from wsiparse.run.pipeline import Analysis, analyse
from wsiparse.run.plan import prepare
from wsiparse.slides import MemorySlide, open_slide
from wsiparse.types import Prompt, PromptSet, RecognizerSpec

CMU = Path(__file__).parents[4] / "shared/data/slides/CMU-1-Small-Region.svs"

TINY = torch.zeros(1, 3, 64, 64)

RED, GREEN, GLASS = (200, 20, 20), (20, 180, 40), (240, 240, 240)

REGIONS: dict[str, Any] = {
    "output": {"kind": "regions", "activation": "none", "foreground": None, "classes": {0: "gland", 1: "stroma"}},
    "prompts": [
        {"class": "gland", "text": "glands", "colour": "#d55e00"},
        {"class": "stroma", "text": "stroma", "colour": "#56b4e9"},
    ],
}


def ids(found: Analysis) -> list[tuple[Any, ...]]:
    table = found.objects()
    return list(zip(table["id"], table["class"], table["area_um2"], strict=True))


def look(folder: Path, picture: np.ndarray, mpp: float = 0.5, **config: Any) -> Analysis:
    config = {"device": "cpu", "precision": "float32", "whole_slide": True} | config
    return analyse(MemorySlide(picture, mpp), RunConfig(engine=str(folder), **config))


def own_card() -> dict[str, Any]:
    """What the card of the tiny network says, as a card of an exported network has it."""
    facts = card_facts(b"")
    output = facts["output"] | {"foreground": 0, "centre": 1, "boundary": 2}
    split = facts["split"] | {"boundary_share": 0.0}
    return {"input": facts["input"] | {"normalise": OWN_INPUT}, "output": output, "split": split,
            "prompts": facts["prompts"]}  # fmt: skip


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime", "torch"])
def test_our_own_network_exported_finds_the_same_objects(runtime: str, tmp_path: Path) -> None:
    picture = blocks(320, 448)
    own = write_model(tmp_path / "own", random_network())
    network = load_compact((own / "weights.safetensors").read_bytes())  # float16 weights, as the file has them
    if runtime == "torch":
        file, content = "model.pt", script_bytes(network, TINY)
    else:
        pytest.importorskip("onnx")
        pytest.importorskip(runtime)
        file, content = "model.onnx", onnx_bytes(network, TINY)
    theirs = "torch" if runtime == "onnxruntime" else runtime
    folder = write_exported(tmp_path / "exported", content, file, **own_card())
    found = look(folder, picture, runtime=runtime)
    expected = look(own, picture, runtime=theirs)
    assert len(expected.cells) > 20
    assert ids(found) == ids(expected)


@pytest.mark.slow
@pytest.mark.skipif(not CMU.exists(), reason="no real slide")
@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_on_a_real_slide_exported_and_embedded_are_one(runtime: str, tmp_path: Path) -> None:
    own = yaml.safe_load((MODEL / "model.yaml").read_text(encoding="utf-8"))
    network = load_compact((MODEL / "weights.safetensors").read_bytes())
    if runtime == "torch":
        file, content = "model.pt", script_bytes(network, TINY)
    else:
        pytest.importorskip("onnx")
        file, content = "model.onnx", onnx_bytes(network, TINY)
    rest = {key: own[key] for key in ("input", "output", "split", "prompts")}
    folder = write_exported(tmp_path / "own", content, file, **rest)
    with open_slide(CMU) as slide:
        config = {"runtime": runtime, "precision": "float32", "device": "cpu"}
        found = analyse(slide, RunConfig(engine=str(folder), **config))
        expected = analyse(slide, RunConfig(engine="embedded", **config))
    assert len(expected.cells) > 2000
    assert ids(found) == ids(expected)


def test_every_output_says_title_licence_and_hash(tmp_path: Path) -> None:
    folder = write_exported(tmp_path / "m", script_bytes(Channels(), TINY), "model.pt", licence="CC-BY-NC-4.0")
    engine = Engine(RunConfig(engine=str(folder), device="cpu"))
    assert engine.title == "an exported network"
    assert engine.scales[0].info.weights_sha256 == engine_of(str(folder)).card.weights.sha256  # type: ignore[attr-defined]
    assert engine.notices == (
        "the licence of an exported network: CC-BY-NC-4.0",
        "model.pt is TorchScript: it runs code of its author (these tests).",
    )
    assert "Licence of the model: CC-BY-NC-4.0." in limits_of(engine.scales[0].spec).sentences
    spec = engine.scales[0].spec
    assert (spec.runtime.split()[0], spec.precision) == ("torch", "float32")


def shapes(width: int, height: int) -> np.ndarray:
    """Two glands and a stripe of stroma on glass."""
    picture = np.full((height, width, 3), GLASS, np.uint8)
    y, x = np.mgrid[:height, :width]
    for cy, cx, r in ((100, 120, 60), (height - 130, width - 150, 90)):
        picture[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = RED
    picture[height // 2 - 10 : height // 2 + 10, 40 : width - 40] = GREEN
    return picture


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exported(tmp_path_factory.mktemp("regions"), script_bytes(Colours(RED, GREEN)), "model.pt", **REGIONS)


def test_regions_are_the_areas_the_network_says(regions: Path) -> None:
    picture = shapes(700, 500)
    found = look(regions, picture)
    table = found.objects()
    assert sorted(table["class"]) == ["Gland", "Gland", "Stroma"]
    px = {name: int((picture == colour).all(-1).sum()) for name, colour in (("Gland", RED), ("Stroma", GREEN))}
    for name, count in px.items():
        areas = [a for a, c in zip(table["area_um2"], table["class"], strict=True) if c == name]
        assert sum(areas) == pytest.approx(count * 0.25)
    assert len(found.cells) == 0


@pytest.mark.parametrize("tile", [192, 256, 512])
def test_tiles_change_no_region(regions: Path, tile: int) -> None:
    picture = shapes(700, 500)
    assert same(look(regions, picture, tile_size=tile).regions, look(regions, picture).regions)


def test_regions_are_asked_for_by_their_words_and_nothing_else(regions: Path) -> None:
    assert [(p.text, p.kind) for p in Engine(RunConfig(engine=str(regions), prompts=("stroma",))).prompts] == [
        ("stroma", "region")
    ]
    for words, message in (("nuclei", "answers only 'glands' and 'stroma'"), ("tumour", "answers only")):
        with pytest.raises(PromptError, match=message):
            Engine(RunConfig(engine=str(regions), prompts=(words,)))
    with pytest.raises(PromptError, match=r"finds regions\. Use kind: region"):
        Engine(RunConfig(engine=str(regions), prompts=({"text": "stroma", "kind": "cell"},)))


def test_classes_that_share_one_with_the_background_are_a_softmax(tmp_path: Path) -> None:
    change = REGIONS | {"output": REGIONS["output"] | {"activation": "softmax", "background": 2, "cut": 0.4}}
    folder = write_exported(tmp_path / "m", script_bytes(Colours(RED, GREEN, GLASS)), "model.pt", **change)
    # of (1, 0, 0) softmax makes (.576, .212, .212): above the cut for one class only, and calibrated to it
    found = look(folder, shapes(300, 300))
    assert {round(float(s), 2) for s in found.regions.score} == {round((1 - (1 - 0.5761) * 0.5 / 0.6), 2)}


def one_tile(folder: Path, picture: np.ndarray, calibration: tuple[float, ...] = ()) -> np.ndarray:
    """Probabilities that the engine of a folder gives of one picture."""
    spec = RecognizerSpec(str(folder), PromptSet((Prompt("nuclei", "N"),)), calibration=calibration)
    return load_recognizer(replace(spec, precision="float32"))(picture[None]).probabilities[0, 0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"channels": "RGB", "normalise": {"kind": "scale", "divide": 255}}, lambda p: p[..., 0] / 255),
        ({"channels": "BGR", "normalise": {"kind": "scale", "divide": 255}}, lambda p: p[..., 2] / 255),
        (
            {"normalise": {"kind": "mean-std", "mean": [100, 0, 0], "std": [200, 1, 1]}},
            lambda p: np.clip((p[..., 0] - 100.0) / 200, 0, 1),
        ),
        (
            {"channels": {"stains": ["density"]}, "normalise": {"kind": "scale", "divide": 2.5}},
            lambda p: -np.log10((p + 1.0) / 256).mean(-1) / 2.5,
        ),
    ],
)
def test_pixels_reach_the_network_as_the_card_says(given: Any, expected: Any, tmp_path: Path) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (64, 80, 3)).astype(np.uint8)
    folder = write_exported(tmp_path / "m", script_bytes(Shrunk(0)), "model.pt", input=given)
    np.testing.assert_allclose(one_tile(folder, picture), expected(picture.astype(float)), atol=1e-5)


def test_stains_are_their_amounts(tmp_path: Path) -> None:
    amount = np.random.default_rng(1).uniform(0, 0.9, (64, 64, 2))
    picture = mixed(STAINS, amount)
    calibration = (0.0, *STAINS.ravel(), 1.0)
    for k, name in enumerate(("hematoxylin", "eosin")):
        given = {"channels": {"stains": [name]}, "normalise": {"kind": "scale", "divide": 1}}
        folder = write_exported(tmp_path / name, script_bytes(Shrunk(0)), "model.pt", input=given)
        found = one_tile(folder, picture, calibration)
        np.testing.assert_allclose(found, amount[..., k], atol=0.06)  # of rounding to bytes


def test_channels_may_come_last(tmp_path: Path) -> None:
    class Last(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, :, 1:2] * 1

    picture = np.random.default_rng(3).integers(0, 256, (64, 80, 3)).astype(np.uint8)
    folder = write_exported(tmp_path / "m", script_bytes(Last(), torch.zeros(1, 8, 8, 3)), "model.pt",
                            input={"layout": "NHWC"})  # fmt: skip
    np.testing.assert_allclose(one_tile(folder, picture), picture[..., 1] / 255, atol=1e-6)


def test_several_outputs_count_as_one(tmp_path: Path) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (64, 80, 3)).astype(np.uint8)
    folder = write_exported(tmp_path / "m", script_bytes(TwoOutputs()), "model.pt", output={"foreground": 2})
    np.testing.assert_allclose(one_tile(folder, picture), picture[..., 2] / 255, atol=1e-6)


@pytest.mark.parametrize(("margin", "stride"), [(16, 1), (0, 2), (24, 4)])
def test_a_network_that_crops_or_answers_every_other_pixel_is_put_in_its_place(
    margin: int, stride: int, tmp_path: Path
) -> None:
    coarse = np.random.default_rng(3).integers(0, 256, (16, 24, 3))
    picture = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
    folder = write_exported(
        tmp_path / "m", script_bytes(Shrunk(margin, stride)), "model.pt",
        input={"output_px": 256 - 2 * margin}, output={"stride": stride},
    )  # fmt: skip
    found = one_tile(folder, picture)
    expected = np.zeros(picture.shape[:2])
    inner = (slice(margin, -margin or None),) * 2
    expected[inner] = picture[..., 0][inner] / 255
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_network_of_one_size_keeps_it_on_small_slides(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    content = onnx_bytes(Colours(RED, GREEN), torch.zeros(1, 3, 256, 256), fixed=True)
    folder = write_exported(tmp_path / "m", content, "model.onnx", input={"fixed_size": True}, **REGIONS)
    assert len(look(folder, shapes(300, 300)).regions) == 3
    with pytest.raises(ConfigError, match="takes tiles of 256 px only, not of 512"):
        look(folder, shapes(300, 300), tile_size=512)


STAINS = np.array([[0.65, 0.69, 0.32], [0.12, 0.96, 0.25]])


def mixed(stains: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """A picture of amounts (H, W, 2) of two stains."""
    unit = stains / np.linalg.norm(stains, axis=1, keepdims=True)
    return np.clip(np.rint(256 * 10.0 ** -(amount @ unit) - 1), 0, 255).astype(np.uint8)


def stained(seed: int) -> np.ndarray:
    """A picture of H&E, with its own stain vectors."""
    coarse = np.random.default_rng(seed).uniform(0.02, 1.2, (64, 64, 2)) ** 2
    return mixed(STAINS, np.kron(coarse, np.ones((8, 8, 1))))


def test_percentiles_and_stains_are_the_slides_and_not_the_tiles(tmp_path: Path) -> None:
    given = {
        "channels": {"stains": ["eosin", "hematoxylin", "density"]},
        "normalise": {"kind": "percentile", "low": 1, "high": 99, "over": "slide", "clip": True},
    }
    folder = write_exported(tmp_path / "m", script_bytes(Channels()), "model.pt", input=given, output={"foreground": 1})
    slide = MemorySlide(stained(4), 0.5)
    specs = []
    tables = []
    for tile in (192, 256, 640):
        config = RunConfig(engine=str(folder), device="cpu", whole_slide=True, tile_size=tile)
        specs.append(prepare(slide, config, Engine(config)).passes[0].scale.spec)
        tables.append(analyse(slide, config).cells)
    assert len(specs[0].calibration) == 8 + 6
    assert specs[0].calibration == specs[1].calibration == specs[2].calibration
    assert len(tables[0]) > 20
    assert same(tables[0], tables[1])
    assert same(tables[0], tables[2])


def test_a_slide_without_its_own_stains_is_said(tmp_path: Path) -> None:
    given = {"channels": {"stains": ["hematoxylin"]}, "normalise": {"kind": "scale", "divide": 1}}
    folder = write_exported(tmp_path / "m", script_bytes(Channels()), "model.pt", input=given)
    green = np.full((256, 256, 3), (30, 200, 90), np.uint8)
    config = RunConfig(engine=str(folder), device="cpu", whole_slide=True)
    spec = prepare(MemorySlide(green, 0.5), config, Engine(config)).passes[0].scale.spec
    assert "Ruifrok's fixed ones are taken" in " ".join(limits_of(spec).warnings)
    spec = prepare(MemorySlide(stained(4), 0.5), config, Engine(config)).passes[0].scale.spec
    assert limits_of(spec).warnings == ()


def test_a_halo_that_nobody_measured_is_asked_for(tmp_path: Path) -> None:
    folder = write_exported(tmp_path / "m", script_bytes(Channels()), "model.pt", input={"halo_px": "measured"})
    with pytest.raises(ConfigError, match=r"engines check MODEL SLIDE --write"):
        Engine(RunConfig(engine=str(folder), device="cpu"))
    assert Engine(RunConfig(engine=str(folder), device="cpu", overlap=64)).scales[0].info.halo_px == 32


def test_runtimes_that_do_not_compute_a_file_are_refused(tmp_path: Path) -> None:
    folder = write_exported(tmp_path / "m", script_bytes(Channels()), "model.pt")
    with pytest.raises(ConfigError, match="runtime 'openvino' does not compute"):
        Engine(RunConfig(engine=str(folder), device="cpu", runtime="openvino"))
    pytest.importorskip("onnx")
    folder = write_exported(tmp_path / "o", onnx_bytes(Channels(), TINY), "model.onnx")
    with pytest.raises(ConfigError, match="runtime 'torch' does not compute ONNX files"):
        Engine(RunConfig(engine=str(folder), runtime="torch"))
    with pytest.raises(ConfigError, match="runs on the CPU only"):
        Engine(RunConfig(engine=str(folder), device="cuda"))
