from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from PIL import Image

import wsiparse
from wsiparse.slides import MemorySlide
from wsiparse.slides.synthetic import paint_he, write_svs
from wsiparse.types import EngineInfo, PromptSet, Recognition, SplitSettings

MPP = 0.5


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    return paint_he(320, 256, seed=7).image


def found(image: Any, mpp: Any = MPP, prompts: Any = ("nuclei",), **settings: Any) -> wsiparse.Analysis:
    return wsiparse.recognise(image, mpp, prompts, **{"engine": "classical", **settings})


def test_objects_lie_where_the_image_has_them_in_its_own_pixels(image: NDArray[np.uint8]) -> None:
    truth = paint_he(320, 256, seed=7).labels
    polygons = found(image).polygons()
    assert len(polygons) > 20
    assert shapely.is_valid(polygons).all()
    on_nuclei = [truth[int(p.y), int(p.x)] > 0 for p in shapely.point_on_surface(polygons)]
    assert np.mean(on_nuclei) > 0.95
    # the same at another scale of the engine: coordinates stay those of the image
    larger = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    doubled = found(larger, MPP / 2).polygons()
    assert len(doubled) == len(polygons)
    assert sorted(shapely.area(doubled)) == pytest.approx(sorted(4 * shapely.area(polygons)))


@pytest.mark.parametrize(
    "kind", ["fortran", "view", "rgba", "pillow", "pillow rgba", "palette", "png", "text", "slide"]
)
def test_every_form_of_the_same_image_gives_the_same_objects(
    image: NDArray[np.uint8], tmp_path: Path, kind: str
) -> None:
    opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    Image.fromarray(image).save(tmp_path / "a.png")
    few = Image.fromarray(image).quantize(64)
    forms: dict[str, Callable[[], Any]] = {
        "fortran": lambda: np.asfortranarray(image),
        "view": lambda: np.repeat(image, 2, axis=1)[:, ::2],
        "rgba": lambda: opaque,
        "pillow": lambda: Image.fromarray(image),
        "pillow rgba": lambda: Image.fromarray(opaque),
        "palette": lambda: few,
        "png": lambda: tmp_path / "a.png",
        "text": lambda: str(tmp_path / "a.png"),
        "slide": lambda: MemorySlide(image, MPP),
    }
    expected = found(np.asarray(few.convert("RGB")) if kind == "palette" else image)
    got = found(forms[kind](), None if kind == "slide" else MPP)
    assert np.array_equal(got.cells.coords, expected.cells.coords)


def test_grey_is_taken_as_three_equal_channels(image: NDArray[np.uint8]) -> None:
    grey = image.mean(axis=2).astype(np.uint8)
    assert np.array_equal(found(grey).cells.coords, found(np.dstack([grey] * 3)).cells.coords)


def test_the_whole_image_counts_as_tissue(image: NDArray[np.uint8]) -> None:
    nothing = found(np.full((100, 80, 3), 240, np.uint8))
    assert nothing.prepared.area_mm2 == pytest.approx(100 * 80 * MPP**2 / 1e6)
    assert (len(nothing.cells), len(nothing.to_pandas()), len(nothing.polygons())) == (0, 0, 0)
    assert wsiparse.analyse(image, wsiparse.RunConfig(engine="classical"), mpp=MPP).prepared.area_mm2 < 0.02048


def test_both_axes_of_a_pixel_count(image: NDArray[np.uint8]) -> None:
    wide = np.repeat(image, 2, axis=1)
    got = found(wide, (MPP / 2, MPP))
    assert len(got.cells) == len(found(image).cells)
    assert got.to_pandas()["area_um2"].to_list() == pytest.approx(found(image).to_pandas()["area_um2"].to_list())


def test_the_table_in_memory_is_that_of_the_results(
    tmp_path: Path, wsiparse: Callable[..., Any], image: NDArray[np.uint8]
) -> None:
    import wsiparse as package

    write_svs(tmp_path / "a.svs", image)
    assert wsiparse("run", tmp_path / "a.svs", "-o", tmp_path / "r", "--engine", "classical").code == 0
    stored = package.read_objects(next((tmp_path / "r" / "slides").iterdir()))
    settings = package.RunConfig(engine="classical")
    with package.open_slide(tmp_path / "a.svs") as slide:
        for got in (package.analyse(slide, settings), package.analyse(tmp_path / "a.svs", settings)):
            assert len(got.cells) > 20
            given, kept = (frame.to_pandas().drop(columns="slide_id") for frame in (got, stored))
            assert given.equals(kept)  # the id is that of a results folder
            assert {**got.objects().facts, "slide_id": stored.slide_id} == stored.facts
            assert shapely.equals_exact(got.polygons(), stored.polygons()).all()
            assert got.to_geopandas().geometry.area.sum() == pytest.approx(shapely.area(stored.polygons()).sum())


def test_prompts_are_words_or_more(image: NDArray[np.uint8]) -> None:
    forms = ["nuclei", ["nuclei"], ({"text": "nuclei"},), [wsiparse.Prompt("nuclei", "Nuclei", "#e69f00")]]
    asked = [found(image, prompts=prompts).prepared.prompts for prompts in forms]
    assert all(prompts == asked[0] for prompts in asked)
    assert [p.class_name for p in found(image, prompts=()).prepared.prompts] == ["Inflammatory", "Other nuclei"]
    config = wsiparse.RunConfig(engine="classical", prompts=["inflammatory cells"])
    assert wsiparse.analyse(image, config, mpp=MPP).prepared.prompts[0].text == "inflammatory cells"
    assert wsiparse.analyse(image, config, mpp=MPP, prompts="nuclei").prepared.prompts[0].text == "nuclei"


BLANK = np.full((64, 64, 3), 240, np.uint8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mpp": None}, "mpp: um per px of the image are needed"),
        ({"mpp": 0}, "mpp: um per px between"),
        ({"mpp": -0.5}, "mpp: um per px between"),
        ({"mpp": float("nan")}, "mpp: um per px between"),
        ({"mpp": 40}, "mpp: um per px between"),
        ({"mpp": True}, "mpp: um per px between"),
        ({"mpp": "0.5"}, "mpp: um per px between"),
        ({"mpp": (0.5, 0.5, 0.5)}, "mpp: um per px between"),
        ({"image": BLANK / 255}, r"image: 8-bit values .* got float64"),
        ({"image": BLANK.astype(np.uint16)}, r"image: 8-bit values .* got uint16"),
        ({"image": BLANK.transpose(2, 0, 1)}, r"image: \(height, width, 3\) is needed, got \(3, 64, 64\); channels"),
        ({"image": BLANK[:, :, :2]}, r"image: \(height, width, 3\) is needed, got \(64, 64, 2\)"),
        ({"image": BLANK[None]}, r"image: \(height, width, 3\) is needed, got \(1, 64, 64, 3\)"),
        ({"image": BLANK[:0]}, "image: it has no pixel"),
        ({"image": np.uint8(3)}, "image: an array"),
        ({"image": None}, "image: an array"),
        ({"image": Image.new("I;16", (8, 8))}, "image: a Pillow image of mode"),
        ({"image": MemorySlide(BLANK, MPP)}, "mpp: an open slide has its own"),
        ({"engine": "neural"}, "engine: .*'neural' is unknown: choose one of auto"),
        ({"prompts": 3}, "prompts: .* got 3"),
        ({"prompts": [3]}, r"prompts\.0: .* got 3"),
        ({"prompts": [{"text": "nuclei", "color": "#fff"}]}, r"prompts\.0\.color: "),
        ({"workers": 0}, "workers: .* got 0"),
        ({"workers": 1.5}, "workers: .* got 1.5"),
    ],
)
def test_a_wrong_argument_is_a_value_error_that_names_it(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}") as raised:
        found(**{"image": BLANK, **given})
    assert "\n" not in str(raised.value)
    assert "--" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompts": ["tumour"]}, r'use engine="biomedparse"; '),
        ({"prompts": ["nuclei", "nuclei"]}, r"'nuclei' is given twice\. Leave one out\.$"),
        ({"device": "cuda"}, r'Use device="cpu"\.$'),
        ({"image": "no_mpp.png", "mpp": None}, r"Pass your scanner's value with the argument mpp, "),
        ({"image": "nothing.png"}, "no such file"),
        ({"engine": "biomedparse", "weights": "nowhere.pt"}, "the argument weights"),
    ],
)
def test_remedies_are_python(given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict(given)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(BLANK).save("no_mpp.png")
    image, mpp, prompts = (given.pop(k, v) for k, v in {"image": BLANK, "mpp": MPP, "prompts": ["nuclei"]}.items())
    config = wsiparse.RunConfig(**{"engine": "classical", **given})
    with pytest.raises(wsiparse.WsiparseError, match=said) as raised:
        wsiparse.analyse(image, config, mpp=mpp, prompts=prompts)
    assert "--" not in str(raised.value)


def test_config_is_a_run_config() -> None:
    with pytest.raises(ValueError, match=r"^config: a RunConfig is needed, got dict"):
        wsiparse.analyse(BLANK, {"engine": "classical"}, mpp=MPP)  # type: ignore[arg-type]


def test_what_is_shown_of_an_object_is_one_short_line(image: NDArray[np.uint8]) -> None:
    got = found(image)
    for thing in (got, got.cells, got.objects(), got.prepared.prompts, wsiparse.RunConfig(prompts=["nuclei"])):
        assert repr(thing).startswith(type(thing).__name__ + "(")
        assert len(repr(thing)) < 120
        assert "\n" not in repr(thing)
    assert repr(got) == f"Analysis({len(got.cells)} cells, 0 regions on 0.0205 mm2; classical, not BiomedParse)"


class Darkness:
    """A recognizer of a notebook: a pixel's probability is its darkness in red."""

    info = EngineInfo("darkness", "darkness, a try", 0.5, 512, 32, 1, SplitSettings(min_area_um2=6))

    def __init__(self, prompts: PromptSet | None = None) -> None:
        self.prompts = prompts

    def __call__(self, images: np.ndarray) -> Recognition:
        dark = 1 - images[..., 0].astype(np.float32) / 255
        return Recognition(np.repeat(dark[:, None], len(self.prompts or ()), axis=1))

    def with_prompts(self, prompts: PromptSet) -> Darkness:
        return type(self)(prompts)

    def limit_threads(self) -> None: ...


def test_a_recognizer_of_ones_own_is_used_and_named(tmp_path: Path) -> None:
    image = paint_he(256, 200, seed=1).image
    found = wsiparse.recognise(image, 0.5, ["dark spots"], recognizer=Darkness())
    assert len(found.cells) > 5
    assert found.prepared.title == found.objects().facts["engine"] == "darkness, a try"
    assert found.prepared.prompts[0].text == "dark spots"
    Image.fromarray(image).save(tmp_path / "a.png")
    before = sorted(tmp_path.iterdir())
    same = wsiparse.recognise(tmp_path / "a.png", 0.5, ["dark spots"], recognizer=Darkness(), workers=2)
    assert np.array_equal(same.cells.coords, found.cells.coords)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(ValueError, match=r"engine: .*'given:darkness' is unknown"):  # nothing of it is left behind
        wsiparse.recognise(image, 0.5, engine="given:darkness")


def test_two_recognizers_never_have_one_digest_unless_their_weights_are_declared_the_same() -> None:
    image = paint_he(200, 200, seed=1).image

    class Named(Darkness):
        info = replace(Darkness.info, weights_sha256="ab" * 32)

    def digest(recognizer: Darkness) -> str:
        return wsiparse.recognise(image, 0.5, recognizer=recognizer).prepared.digest

    assert digest(Darkness()) != digest(Darkness())
    assert digest(Named()) == digest(Named())


class _WrongShape(Darkness):
    def __call__(self, images: np.ndarray) -> Recognition:
        return Recognition(np.zeros((1, 1, 8, 8), np.float32))


class _NotNumbers(Darkness):
    def __call__(self, images: np.ndarray) -> Recognition:
        return Recognition(np.full((len(images), 1, *images.shape[1:3]), np.nan, np.float32))


class _NoRecognition(Darkness):
    def __call__(self, images: np.ndarray) -> Any:
        return images


class _NoInfo(Darkness):
    info = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("recognizer", "given", "message"),
    [
        (_WrongShape(), {}, "probabilities of shape .* are needed, got"),
        (_NotNumbers(), {}, "must lie between 0 and 1"),
        (_NoRecognition(), {}, "a Recognition is needed, got ndarray"),
        (_NoInfo(), {}, "an EngineInfo is needed"),
        (object(), {}, "an EngineInfo is needed"),
        (Darkness(), {"engine": "classical"}, "instead of an engine, and the engine 'classical' is named too"),
    ],
)
def test_a_wrong_recognizer_is_a_value_error_that_says_so(recognizer: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"recognizer: .*{message}"):
        wsiparse.recognise(paint_he(96, 96, seed=1).image, 0.5, recognizer=recognizer, **given)
