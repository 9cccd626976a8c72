"""A published model, lavlab-shell 0.9.1 (PyPI, MIT), where it is installed: data in another file, stains, regions."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import pytest
import shapely
import yaml

from tests.recognize.exported.test_engine import CMU
from wsiparse.config import RunConfig
from wsiparse.run.engine import Engine
from wsiparse.run.pipeline import analyse
from wsiparse.slides import open_slide


def weights() -> Path | None:
    found = importlib.util.find_spec("shell")
    places = (
        [Path(place) / "weights/model_v1.onnx" for place in (found.submodule_search_locations or [])] if found else []
    )
    return next((place for place in places if place.is_file()), None)


@pytest.mark.slow
@pytest.mark.skipif(weights() is None or not CMU.exists(), reason="no lavlab-shell, or no real slide")
def test_a_model_of_regions_by_stains_runs_on_a_real_slide(tmp_path: Path) -> None:
    file = weights()
    assert file is not None
    sha = {}
    for name in (file.name, f"{file.name}.data"):
        content = (file.parent / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        sha[name] = hashlib.sha256(content).hexdigest()
    card = {
        "format": "wsiparse-model/1", "name": "lavlab-shell", "title": "lavlab-shell 0.9.1", "licence": "MIT",
        "source": "PyPI lavlab-shell 0.9.1",
        "weights": {"file": file.name, "sha256": sha.pop(file.name), "data": sha},
        "input": {
            "mpp": 1.0, "tile_px": 1024, "multiple_of": 64, "halo_px": 128,
            "channels": {"stains": ["eosin", "hematoxylin", "density"]},
            "normalise": {"kind": "percentile", "low": 1, "high": 99, "over": "slide", "clip": True},
        },
        "output": {"kind": "regions", "activation": "sigmoid", "background": 2, "classes": {0: "epithelium",
                                                                                            1: "stroma"}},
        "prompts": [{"class": "epithelium", "text": "epithelium", "colour": "#d55e00"},
                    {"class": "stroma", "text": "stroma", "colour": "#56b4e9"}],
    }  # fmt: skip
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    config = RunConfig(engine=str(tmp_path), device="cpu", tile_size=1024)
    engine = Engine(config)
    assert any("normalises by the whole tile (InstanceNormalization)" in line for line in engine.notices)
    with open_slide(CMU) as slide:
        found = analyse(slide, config)
    assert len(found.regions) > 100
    assert set(found.regions.class_id) == {1, 2}
    assert shapely.is_valid(found.polygons()).all()
    assert found.prepared.passes[0].scale.spec.calibration[7] == 1  # the slide's own stain vectors
