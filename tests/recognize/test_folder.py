"""A model folder as an engine: what its card says is what is run, and every bad one is told in a line."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import wsiparse
from tests.recognize.models import card_facts, random_network, write_model
from wsiparse.config import PromptConfig, RunConfig
from wsiparse.errors import PromptError, WeightsError
from wsiparse.recognize.base import check_prompts, engine_info, limits_of, load_recognizer, on_this_machine
from wsiparse.recognize.embedded.compact import save_compact
from wsiparse.recognize.registry import engine_of
from wsiparse.run.engine import Engine
from wsiparse.run.pipeline import analyse
from wsiparse.run.plan import prepare
from wsiparse.slides import MemorySlide
from wsiparse.slides.synthetic import paint_he
from wsiparse.types import ObjectTable, Prompt, PromptSet, RecognizerSpec

NUCLEI = PromptSet((Prompt("nuclei", "Nuclei"),))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


def engine(model: Path, *prompts: str, **config: Any) -> Engine:
    return Engine(RunConfig(engine=str(model), prompts=prompts, device="cpu", **config))


def test_the_card_is_what_is_run(model: Path) -> None:
    info = engine_info(RecognizerSpec(str(model), NUCLEI))
    assert (info.name, info.title, info.mpp, info.tile_px, info.halo_px, info.align_px) == (
        "tiny", "a tiny network, not BiomedParse", 0.5, 256, 80, 16,
    )  # fmt: skip
    assert info.split.persistence == 7
    assert info.split.min_area_um2 == 2
    assert info.weights_sha256 == card_facts(save_compact(random_network()))["weights"]["sha256"]
    spec = RecognizerSpec(str(model), NUCLEI)
    loaded = load_recognizer(pickle.loads(pickle.dumps(spec)))
    assert loaded.info == info
    assert engine_of(str(model / "model.yaml")).title == info.title


def test_the_card_in_the_folder_and_the_folder_are_one_engine(model: Path) -> None:
    assert engine_of(str(model)) is engine_of(str(model / "model.yaml"))


def test_without_prompts_every_class_is_asked_for_and_the_nuclei_of_none(model: Path) -> None:
    prompts = engine(model).prompts
    assert [p.text for p in prompts] == [
        "inflammatory cells", "epithelial cells", "connective tissue cells", "nuclei",
    ]  # fmt: skip
    assert [p.class_name for p in prompts] == ["Inflammatory", "Epithelial", "Connective", "Other nuclei"]
    assert len({p.colour for p in prompts}) == 4


@pytest.mark.parametrize(
    ("text", "asked", "said"),
    [
        ("inflammatory cells", "inflammatory cells", None),
        ("TILs", "inflammatory cells", "wherever they lie"),
        ("epithelial cells", "epithelial cells", "normal and neoplastic epithelium are not distinguished"),
        ("epithelium", "epithelial cells", "normal and neoplastic epithelium are not distinguished"),
        ("上皮细胞", "epithelial cells", "normal and neoplastic epithelium are not distinguished"),
        ("tumour cells", "epithelial cells", "epithelium that is no tumour is counted too"),
        ("cancer cells", "epithelial cells", "cells of benign tumours are counted too"),
        ("neoplastic cells", "epithelial cells", "not distinguished"),
        ("肿瘤细胞", "epithelial cells", "epithelium that is no tumour is counted too"),
        ("fibroblasts", "connective tissue cells", "only a part"),
        ("结缔组织细胞", "connective tissue cells", "answered as 'connective tissue cells'"),
        ("nucleus", "nuclei", None),
    ],
)
def test_words_are_answered_by_a_class_with_a_plain_note(model: Path, text: str, asked: str, said: str | None) -> None:
    made = engine(model, text)
    assert [p.text for p in made.prompts] == [asked]
    if said is None:
        assert made.notices == ()
    else:
        [notice] = made.notices
        assert said in notice


def test_a_class_has_one_colour_and_a_given_one_wins(model: Path) -> None:
    [alone] = engine(model, "epithelial cells").prompts
    assert alone.colour == "#d55e00"
    painted = PromptConfig(text="tumour cells", colour="#010203", class_name="T")
    [mine] = Engine(RunConfig(engine=str(model), prompts=(painted,))).prompts
    assert (mine.text, mine.class_name, mine.colour) == ("epithelial cells", "T", "#010203")


def test_what_is_not_answered_is_refused(model: Path) -> None:
    with pytest.raises(PromptError, match="'nuclei', 'inflammatory cells', 'epithelial cells' and 'connective"):
        engine(model, "glands")
    with pytest.raises(PromptError, match="ask for the same"):
        engine(model, "tumour cells", "epithelial cells")
    with pytest.raises(PromptError, match="nearest prompt is 'epithelial cells', but"):
        engine(model, "tumour cells", strict_prompts=True)
    with pytest.raises(PromptError, match="glands"):
        check_prompts(RecognizerSpec(str(model), PromptSet((Prompt("glands", "G"),))))


def test_a_class_of_somebody_elses_model_is_asked_for_by_its_name(tmp_path: Path) -> None:
    facts = {
        "output": {"classes": {3: "podocyte"}},
        "prompts": [{"class": "podocyte", "text": "podocytes", "kind": "cell", "colour": "#112233"}],
    }
    folder = write_model(tmp_path / "m", random_network(1), **facts)
    for text in ("podocytes", "Podocyte", "podocyte nuclei", "podocyte-cells"):
        assert [p.text for p in engine(folder, text).prompts] == ["podocytes"]
    assert [p.class_name for p in engine(folder).prompts] == ["Podocyte", "Other nuclei"]


def test_reports_say_what_the_model_is_and_what_it_does_not_tell(model: Path) -> None:
    told = limits_of(engine(model).scales[0].spec)
    assert not told.classes_by_rule
    assert told.nucleus_probability
    text = " ".join(told.sentences)
    assert "Normal and neoplastic epithelium are not distinguished" in text
    assert "Licence of the model: CC0-1.0" in text
    only = limits_of(engine(model, "inflammatory cells").scales[0].spec)
    assert "neoplastic" not in " ".join(only.sentences)


def test_a_licence_that_forbids_trade_is_said_at_every_run(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", licence="CC-BY-NC-4.0")
    assert any("CC-BY-NC-4.0" in notice for notice in engine(folder).notices)
    assert engine(folder, "nuclei").notices == ("the licence of a tiny network, not BiomedParse: CC-BY-NC-4.0",)


def test_where_a_model_lies_changes_no_digest_and_what_it_is_does(model: Path, tmp_path: Path) -> None:
    slide = MemorySlide(paint_he(200, 200, seed=1).image, 0.5)

    def digest(folder: Path) -> str:
        config = RunConfig(engine=str(folder), device="cpu", whole_slide=True)
        return prepare(slide, config, Engine(config)).digest

    assert digest(write_model(tmp_path / "moved")) == digest(model)
    assert digest(write_model(tmp_path / "other", random_network(seed=6))) != digest(model)
    split = {"smoothing_um": 0.5, "persistence": 8, "min_area_um2": 2, "centre_share": 0.6}
    assert digest(write_model(tmp_path / "split", split=split)) != digest(model)


def test_a_model_that_was_trained_again_is_read_again(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    first = engine_of(str(folder)).title
    write_model(folder, random_network(seed=8), title="another")
    assert (first, engine_of(str(folder)).title) == ("a tiny network, not BiomedParse", "another")


def blocks(height: int, width: int) -> np.ndarray:
    """A picture on which a network without training finds something."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3))
    return np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)


def same(a: ObjectTable, b: ObjectTable) -> bool:
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("coords", "class_id", "area_px", "first_px"))


def test_tiles_change_no_object_and_no_class(model: Path) -> None:
    slide = MemorySlide(blocks(512, 704), 0.5)
    tables = []
    for tile in (224, 256, 512):
        config = RunConfig(engine=str(model), device="cpu", whole_slide=True, tile_size=tile, precision="float32")
        tables.append(analyse(slide, config).cells)
    assert len(tables[0]) > 20
    assert len(np.unique(tables[0].class_id)) > 1
    assert same(tables[0], tables[1])
    assert same(tables[0], tables[2])
    np.testing.assert_allclose(tables[0].class_share, tables[2].class_share, atol=0.02)


def test_every_object_knows_the_share_of_every_class(model: Path) -> None:
    slide = MemorySlide(blocks(256, 320), 0.5)
    cells = analyse(slide, RunConfig(engine=str(model), device="cpu", whole_slide=True)).cells
    assert cells.class_share.shape == (len(cells), 4)
    np.testing.assert_allclose(cells.class_share.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(cells.class_share.argmax(1) + 1, cells.class_id)
    assert ((cells.class_share > 0.05) & (cells.class_share < 0.95)).any(), "shares are no yes or no"


def test_schedulers_and_shards_change_no_object(model: Path, tmp_path: Path) -> None:
    Image.fromarray(blocks(512, 704)).save(tmp_path / "a.png")

    def run(name: str, *options: str) -> list[list[object]]:
        done = subprocess.run(
            [sys.executable, "-m", "wsiparse", "run", "a.png", "-o", name, "--engine", str(model), "--slide-mpp", "0.5",
             "--whole-slide", "--tile-size", "224", "--device", "cpu", "--no-labels", *options],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if "--shard" in options:
            return []
        return read(name)

    def read(name: str) -> list[list[object]]:
        table = wsiparse.read_objects(next((tmp_path / name / "slides").iterdir()))
        return [table[column].tolist() for column in ("id", "class", "share_Epithelial", "area_px")]

    once = run("serial", "--scheduler", "serial")
    assert len(once[0]) > 20
    assert run("threads", "--scheduler", "threads", "-n", "2") == once
    assert run("local", "--scheduler", "local", "-n", "2") == once
    for share in ("1/2", "2/2"):
        run("shards", "--scheduler", "serial", "--shard", share, "--shard-by", "tiles")
    subprocess.run([sys.executable, "-m", "wsiparse", "merge", "shards"], cwd=tmp_path, check=True, capture_output=True)
    assert read("shards") == once


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no format": ({"format": "other/1"}, "format: Input should be 'wsiparse-model/1'"),
    "unknown key": ({"licens": "MIT"}, "unknown key 'licens': did you mean 'licence'"),
    "unknown key below": ({"split": {"persistance": 7}}, "unknown key 'split.persistance': did you mean 'persistence'"),
    "key of a prompt": (
        {"prompts": [{"class": "epithelial", "txt": "x", "colour": "#000000"}]},
        "'prompts.0.txt': did you mean 'text'|prompts.0.text: Field required",
    ),
    "no mpp": ({"input": {"halo_px": 80}}, "input.mpp: Field required"),
    "odd mpp": ({"input": {"mpp": -1, "halo_px": 80}}, "input.mpp: Input should be greater"),
    "halo too wide": ({"input": {"mpp": 0.5, "tile_px": 128, "halo_px": 64}}, "leaves nothing inside a halo"),
    "halo not aligned": ({"input": {"mpp": 0.5, "halo_px": 70}}, "must be multiples of 16"),
    "cropping": (
        {"input": {"mpp": 0.5, "tile_px": 320, "halo_px": 80, "output_px": 160}},
        "cropping networks of this family are not run",
    ),
    "other numbers": (
        {"input": {"mpp": 0.5, "halo_px": 80, "normalise": {"kind": "mean-std", "mean": [0, 0, 0], "std": [1, 1, 1]}}},
        "this family takes mean and std of 127.5",
    ),
    "other kind": (
        {"output": {"kind": "hover", "foreground": 0, "horizontal": 1, "vertical": 2}, "prompts": []},
        "of kind nuclei",
    ),
    "odd cut": ({"output": {"cut": 1.5}}, "output.cut: Input should be less than 1"),
    "odd classes": ({"output": {"classes": {4: "a"}}}, "numbered 3, 4"),
    "class without colour": (
        {"prompts": [{"class": "epithelial", "text": "epithelial cells"}]},
        "prompts.0.colour: Field required",
    ),
    "class without prompt": ({"prompts": []}, "class 'inflammatory' needs one entry with a text and a colour"),
    "odd colour": (
        {"prompts": [{"class": "epithelial", "text": "e", "colour": "red"}]},
        "prompts.0.colour: String should match",
    ),
    "weights elsewhere": ({"weights": {"file": "../w.safetensors", "sha256": "0" * 64}}, "do not lie beside the card"),
    "weights of another kind": (
        {
            "weights": {"file": "w.h5", "sha256": "0" * 64},
            "input": {"mpp": 0.5, "halo_px": 80, "normalise": {"kind": "scale", "divide": 255}},
            "output": {"foreground": 0},
            "prompts": [],
        },
        ".h5 is not run",
    ),
    "wrong hash": ({"weights": {"file": "weights.safetensors", "sha256": "0" * 64}}, "is not the card's"),
    "missing weights": ({"weights": {"file": "gone.safetensors", "sha256": "0" * 64}}, "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_card_is_told_in_one_line_before_anything_is_loaded(name: str, tmp_path: Path) -> None:
    change, message = BAD[name]
    folder = write_model(tmp_path / "m", **change)
    with pytest.raises(WeightsError, match=message) as raised:
        engine_info(RecognizerSpec(str(folder), NUCLEI))
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "no mapping"), ("- a\n", "no mapping"), ("a: [", "not a YAML file"), ("\x00", "not a YAML file")],
)
def test_a_card_that_is_none_is_told(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(WeightsError, match=message):
        engine_of(str(tmp_path))


def test_a_folder_without_a_card_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model\.yaml in this folder"):
        engine_of(str(tmp_path))


def test_weights_of_other_shapes_are_told_before_the_first_tile(tmp_path: Path) -> None:
    two = write_model(tmp_path / "two", random_network(2))
    with pytest.raises(WeightsError, match="2 class maps, but the card names 3"):
        load_recognizer(RecognizerSpec(str(two), NUCLEI))
    broken = write_model(tmp_path / "broken")
    junk = b"junk" * 100
    (broken / "weights.safetensors").write_bytes(junk)
    (broken / "model.yaml").write_text(yaml.safe_dump(card_facts(junk)), encoding="utf-8")
    with pytest.raises(WeightsError, match="damaged weights"):
        load_recognizer(RecognizerSpec(str(broken), NUCLEI))


def test_a_network_that_answers_no_numbers_is_told_before_the_first_tile(tmp_path: Path) -> None:
    network = random_network()
    with torch.no_grad():
        network.head.weight[0, 0] = float("nan")
    folder = write_model(tmp_path / "m", network)
    with pytest.raises(WeightsError, match="answers no numbers"):
        load_recognizer(RecognizerSpec(str(folder), NUCLEI))


def test_auto_devices_become_this_machines(model: Path) -> None:
    assert on_this_machine(RecognizerSpec(str(model), NUCLEI, device="auto")).device in ("cpu", "cuda")


def test_a_model_called_like_an_engine_of_ours_is_the_model(tmp_path: Path) -> None:
    made = engine(write_model(tmp_path / "mine", name="embedded"))
    assert made.title == "a tiny network, not BiomedParse"
    assert made.scales[0].spec.engine == str(tmp_path / "mine")
