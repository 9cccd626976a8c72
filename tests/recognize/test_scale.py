from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.fit_scale import guesses, nuclei, patches_of, within
from wsiparse.recognize.embedded.engine import MODEL
from wsiparse.recognize.embedded.scale import _ALL, SCALE_FILE, ScaleForm, _terms, guess_of, measure, read_form, rows_of
from wsiparse.recognize.registry import engine_of, scale_engine
from wsiparse.slides.synthetic import paint_he

ANNOTATED = Path("../shared/data/annotated")


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 7))
def test_the_form_is_a_quadratic_one(seed: int, rows: int, n: int) -> None:
    random = np.random.default_rng(seed)
    mean, spread = random.normal(size=n), random.uniform(0.5, 2, n)
    weights = random.normal(size=1 + n + n * (n + 1) // 2)
    given_ = random.normal(size=(rows, n)) * 5
    want = []
    for row in given_:
        z = [min(max((v - m) / s, -3), 3) for v, m, s in zip(row, mean, spread, strict=True)]
        terms = [1.0, *z, *(z[i] * z[j] for i in range(n) for j in range(i, n))]
        want.append(math.fsum(w * t for w, t in zip(weights, terms, strict=True)))
    np.testing.assert_allclose(ScaleForm(mean, spread, weights)(given_), want, atol=1e-9)
    assert _terms(given_, mean, spread).shape == (rows, len(weights))


def test_a_folder_without_the_form_or_with_a_damaged_one_cannot_tell(tmp_path: Path) -> None:
    assert read_form(MODEL) is not None
    assert read_form(tmp_path) is None
    facts = json.loads((MODEL / SCALE_FILE).read_text())
    for damaged in ("{", "[]", json.dumps(facts | {"mean": [1.0]}), json.dumps({"mean": facts["mean"]})):
        (tmp_path / SCALE_FILE).write_text(damaged)
        assert read_form(tmp_path) is None
    assert not engine_of("classical").tells_scale()
    found = scale_engine()
    assert found is not None
    assert found.name == "embedded"


def test_numbers_of_painted_nuclei_are_those_painted() -> None:
    painted, recognizer = paint_he(512, 512, seed=4), nuclei()
    found = measure(recognizer, recognizer.info, [painted.image])
    assert found is not None
    areas = np.bincount(painted.labels.ravel())[1:]
    assert found.n == pytest.approx(len(areas), rel=0.1)
    assert math.exp(found.numbers[0]) == pytest.approx(np.median(np.sqrt(areas / np.pi)), rel=0.1)
    assert measure(recognizer, recognizer.info, []) is None
    assert measure(recognizer, recognizer.info, [np.full((256, 256, 3), 240, np.uint8)]) is None


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_painted_nuclei_look_like_their_scale(mpp: float) -> None:
    image = paint_he(round(320 / mpp), round(320 / mpp), seed=2, mpp=mpp).image
    guess = engine_of("embedded").scale_guess(nuclei(), lambda size: patches_of(image, size))
    assert guess is not None
    assert guess.trust != "none"
    assert guess.mpp == pytest.approx(mpp, rel=0.35)
    assert guess.low < guess.mpp < guess.high


def test_nothing_is_known_without_nuclei() -> None:
    form = read_form(MODEL)
    assert form is not None
    assert guess_of(form, dict.fromkeys(_ALL)) is None
    assert rows_of([None] * 15) == {}
    glass = np.full((600, 600, 3), 240, np.uint8)
    assert engine_of("embedded").scale_guess(nuclei(), lambda size: patches_of(glass, size)) is None


@pytest.mark.slow
def test_annotated_tiles_look_like_their_scale() -> None:
    if not ANNOTATED.exists():
        pytest.skip("needs ../shared/data/annotated, which is not here")
    found = guesses(ANNOTATED, every=4)
    trusted = [one for one in found if one[2] is not None and one[2].trust != "none"]
    assert len(trusted) > 0.5 * len(found)
    assert within(trusted, 2.0) > 0.95
