from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta, ks_1samp

from wsiparse.errors import WeightsError
from wsiparse.recognize.score import (
    load_distributions,
    mask_statistics,
    prompt_scores,
    recognition_score,
    target_of,
)

CELLS = np.array([[46.7, 5.0], [9.9, 15.7], [4.3, 18.4], [9.8, 11.9]])
TARGETS = {"neoplastic cells": CELLS, "inflammatory cells": CELLS[::-1]}


def flat_image(rgb: tuple[int, int, int], size: int = 4) -> NDArray[np.uint8]:
    return np.full((size, size, 3), rgb, np.uint8)


def test_statistics_are_means_inside_the_mask_divided_by_256() -> None:
    image = flat_image((10, 20, 30), 2)
    image[0, 0] = (100, 150, 200)
    image[0, 1] = (50, 70, 90)
    probabilities = np.array([[[0.9, 0.7], [0.3, 0.0]]], np.float32)
    wanted = [[0.8 * 255 / 256, 75 / 256, 110 / 256, 145 / 256]]
    np.testing.assert_allclose(mask_statistics(probabilities, image), wanted, rtol=1e-6)


@pytest.mark.parametrize("highest", [0.0, 0.4, 0.5, 127.5 / 255, 127.9 / 255])
def test_an_empty_mask_has_zero_statistics_and_score(highest: float) -> None:
    statistics = mask_statistics(np.full((1, 4, 4), highest, np.float32), flat_image((200, 100, 150)))
    assert not statistics.any()
    assert recognition_score(statistics, CELLS) == 0


def test_a_mask_begins_at_128_of_255() -> None:
    at = mask_statistics(np.full((1, 4, 4), 128 / 255, np.float32), flat_image((8, 8, 8)))
    np.testing.assert_allclose(at[0], [0.5, 8 / 256, 8 / 256, 8 / 256], rtol=1e-6)


def test_statistics_of_one_prompt_do_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random((3, 16, 16), dtype=np.float32)
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    together = mask_statistics(probabilities, image)
    for p in range(3):
        np.testing.assert_allclose(mask_statistics(probabilities[p : p + 1], image)[0], together[p], rtol=1e-6)


def test_planes_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        mask_statistics(np.zeros((1, 4, 5), np.float32), flat_image((0, 0, 0)))


statistic = st.floats(0.001, 0.999)
shape = st.floats(0.5, 90)


@settings(max_examples=40)
@given(s=st.tuples(*[statistic] * 4), ab=st.tuples(*[st.tuples(shape, shape)] * 4))
def test_the_score_is_the_geometric_mean_of_one_sample_kolmogorov_smirnov_tests(
    s: tuple[float, ...], ab: tuple[tuple[float, float], ...]
) -> None:
    p = [ks_1samp([x], beta.cdf, args=(a, b)).pvalue for x, (a, b) in zip(s, ab, strict=True)]
    score = recognition_score(np.array(s), np.array(ab))
    assert score**4 == pytest.approx(np.prod(p), rel=1e-6, abs=1e-12)


def test_a_statistic_at_every_median_scores_one() -> None:
    medians = beta(CELLS[:, 0], CELLS[:, 1]).median()
    assert recognition_score(medians, CELLS) == pytest.approx(1, abs=1e-9)


def test_the_score_is_two_sided() -> None:
    medians = beta(CELLS[:, 0], CELLS[:, 1]).median()
    for factor in (0.3, 1.7):
        moved = medians.copy()
        moved[1] *= factor
        assert recognition_score(moved, CELLS) < 0.5


def test_scores_broadcast_over_tiles_and_prompts() -> None:
    statistics = np.random.default_rng(1).random((5, 2, 4))
    parameters = np.stack([CELLS, CELLS[::-1]])
    scores = recognition_score(statistics, parameters)
    assert scores.shape == (5, 2)
    assert scores[3, 1] == recognition_score(statistics[3, 1], parameters[1])


def test_prompts_without_parameters_score_nan() -> None:
    statistics = np.random.default_rng(2).random((3, 2, 4)).astype(np.float32)
    scores = prompt_scores(statistics, ["glandular structure", "Neoplastic  Cells"], TARGETS)
    assert np.isnan(scores[:, 0]).all()
    np.testing.assert_allclose(scores[:, 1], recognition_score(statistics[:, 1], CELLS), rtol=1e-6)


def test_statistics_of_another_number_of_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="statistics of 2 prompts"):
        prompt_scores(np.zeros((3, 1, 4)), ["a", "b"], TARGETS)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("neoplastic cells", "neoplastic cells"),
        (" Neoplastic\tcells ", "neoplastic cells"),
        ("inflammatory cells in breast pathology", "inflammatory cells"),
        ("cells", None),
        ("in", None),
    ],
)
def test_a_prompt_finds_its_target_in_both_training_forms(text: str, target: str | None) -> None:
    assert target_of(text, TARGETS) == target


def test_the_published_parameters_are_read(published: Path) -> None:
    distributions = load_distributions(published / "target_dist_pathology.json")
    assert list(distributions) == [
        "connective tissue cells",
        "inflammatory cells",
        "neoplastic cells",
        "epithelial cells",
    ]
    assert all(parameters.shape == (4, 2) for parameters in distributions.values())
    assert distributions["connective tissue cells"][0, 0] == 46.71165884847293


@pytest.fixture
def published() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "biomedparse"
    if not (folder / "target_dist_pathology.json").is_file():
        pytest.skip("needs ../shared/biomedparse/target_dist_pathology.json, which is not here")
    return folder


PAIRS = [[1, 2]] * 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the score parameters"),
        ("{", "not JSON"),
        ("[]", "no score parameters for 'Pathology'"),
        (json.dumps({"CT": {}}), r"no score parameters for 'Pathology' \(found CT\)"),
        (json.dumps({"Pathology": {"cells": PAIRS[:3]}}), "'cells': not four pairs"),
        (json.dumps({"Pathology": {"cells": [*PAIRS[:3], [1, 0]]}}), "'cells': not four pairs"),
        (json.dumps({"Pathology": {"cells": [*PAIRS[:3], [1, float("inf")]]}}), "'cells': not four pairs"),
        (json.dumps({"Pathology": {"cells": [*PAIRS[:3], ["a", 1]]}}), "'cells': not four pairs"),
        (json.dumps({"Pathology": {"cells": 3}}), "'cells': not four pairs"),
    ],
    ids=["missing", "cut", "list", "no pathology", "three pairs", "zero", "infinite", "text", "number"],
)
def test_a_parameter_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "target_dist.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(WeightsError, match=message) as caught:
        load_distributions(path)
    assert "\n" not in str(caught.value)
