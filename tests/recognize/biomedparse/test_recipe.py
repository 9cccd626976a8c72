from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.reference import recipe
from tests.reference.recipe import recipe_array, recipe_weights


def test_recipe_equals_the_published_check_values(published: Path) -> None:
    shapes = {
        key: tuple(v["shape"]) for key, v in json.loads((published / "state_dict.json").read_text())["keys"].items()
    }
    checks = json.loads((published / "recipe_check.json").read_text())
    assert checks
    for name, wanted in checks.items():
        seed, key = name.split("|")
        values = recipe_array(seed, key, shapes[key]).ravel()
        first = np.array(wanted["first4"], np.float32)
        np.testing.assert_array_equal(values[: len(first)], first, err_msg=name)
        assert values.astype(np.float64).sum() == pytest.approx(wanted["sum64"], rel=1e-9, abs=1e-9), name


def test_values_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recipe_array("A", "backbone.layers.0.blocks.0.mlp.fc1.weight", (20, 15))
    monkeypatch.setattr(recipe, "_CHUNK", 7)
    np.testing.assert_array_equal(recipe_array("A", "backbone.layers.0.blocks.0.mlp.fc1.weight", (20, 15)), whole)


@pytest.mark.parametrize(
    ("key", "shape", "deviation", "mean"),
    [
        ("backbone.layers.0.blocks.0.gamma_1", (4000,), 0.05, 0.25),
        ("backbone.norm0.weight", (4000,), 0.1, 1.0),
        ("backbone.norm0.bias", (4000,), 0.05, 0.0),
        ("sem_seg_head.pixel_decoder.layer_1.norm.bias", (4000,), 0.05, -0.75),
        ("sem_seg_head.pixel_decoder.adapter_1.norm.bias", (4000,), 0.05, 0.0),
        ("sem_seg_head.predictor.class_embed", (100, 100), 0.1, 0.0),
        ("sem_seg_head.predictor.mask_embed.layers.2.weight", (100, 100), 0.04, 0.0),
        ("sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.in_proj_weight", (100, 100), 0.2, 0.0),
        ("sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.out_proj.weight", (100, 100), 0.02, 0.0),
        ("sem_seg_head.pixel_decoder.transformer.encoder.layers.0.linear2.weight", (100, 100), 0.04, 0.0),
        ("sem_seg_head.predictor.lang_encoder.lang_encoder.resblocks.0.attn.in_proj_weight", (100, 100), 0.3, 0.0),
        ("sem_seg_head.predictor.query_feat.weight", (100, 100), 1.0, 0.0),
    ],
)
def test_each_rule_gives_its_mean_and_deviation(
    key: str, shape: tuple[int, ...], deviation: float, mean: float
) -> None:
    values = recipe_array("Z", key, shape).astype(np.float64)
    assert values.mean() == pytest.approx(mean, abs=6 * deviation / values.size**0.5)
    assert values.std() == pytest.approx(deviation, rel=0.05)
    assert np.abs(values - mean).max() <= deviation * 3**0.5 * (1 + 1e-6)


def test_seed_and_key_both_decide_the_values() -> None:
    weights = recipe_weights("A", {"x.weight": (3, 4), "y.weight": (3, 4)})
    assert not np.array_equal(weights["x.weight"], weights["y.weight"])
    assert not np.array_equal(weights["x.weight"], recipe_array("B", "x.weight", (3, 4)))
