"""The full road of a real slide through the full-size network with synthetic weights."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from safetensors.torch import save_file

from tests.reference.recipe import recipe_array
from wsiparse.config import RunConfig
from wsiparse.coords import frame_at
from wsiparse.parallel.dask import LocalExecutor
from wsiparse.parallel.progress import Quiet
from wsiparse.recognize.biomedparse.checkpoint import expected_shapes
from wsiparse.run.engine import Engine
from wsiparse.run.slide import Job, RunSetup, run_slide
from wsiparse.slides import open_slide
from wsiparse.slides.synthetic import write_svs
from wsiparse.types import Box


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """A weights folder as `wsiparse weights fetch` makes it, with the synthetic weights of recipe A."""
    folder = tmp_path_factory.mktemp("weights")
    state = {key: torch.from_numpy(recipe_array("A", key, shape)) for key, shape in expected_shapes().items()}
    save_file(state, folder / "biomedparse_v1.safetensors")
    for name, source in (("tokenizer.json", "tokenizer.json"), ("target_dist.json", "target_dist_pathology.json")):
        (folder / name).write_bytes((shared / "biomedparse" / source).read_bytes())
    return folder


@pytest.mark.slow
def test_a_piece_of_a_real_slide_goes_all_the_way(weights: Path, shared: Path, tmp_path: Path) -> None:
    with open_slide(shared / "data" / "slides" / "CMU-1-Small-Region.svs") as slide:
        frame = frame_at(slide.size, (0.499, 0.499), 0.499)
        write_svs(tmp_path / "piece.svs", slide.read(Box(900, 700, 96, 96), frame), compression=None, levels=1)
    config = RunConfig.model_validate(
        {
            "engine": "auto",
            "weights": str(weights),
            "whole_slide": True,
            "num_workers": 1,
            "prompts": [{"text": "neoplastic cells"}, {"text": "glandular structure"}],
        }
    )
    engine = Engine(config)
    assert engine.title == "BiomedParse v1"
    assert [p.kind for p in engine.prompts] == ["cell", "region"]

    setup = RunSetup(tmp_path / "results", config, engine, LocalExecutor(1), Quiet())
    outcome = run_slide(Job(tmp_path / "piece.svs"), setup)

    assert outcome.summary is not None
    found = {c.class_name: c for c in outcome.summary.counts}
    for kind, name in (("cells", "Neoplastic"), ("regions", "Glands")):
        features = json.loads(gzip.decompress((outcome.folder / f"{kind}.geojson.gz").read_bytes()))["features"]
        assert len(features) == found[name].n
    assert sum(c.n for c in outcome.summary.counts) > 0
    labels = zarr.open_group(outcome.folder / "labels.ome.zarr", mode="r")
    for name, count in (("labels/cells/0", found["Neoplastic"].n), ("labels/regions_2/0", found["Glands"].n)):
        ids = np.unique(np.asarray(labels[name]))
        assert len(ids[ids > 0]) == count
    root = zarr.open_group(outcome.folder / "objects.zarr", mode="r")
    cells, glands = (np.asarray(root[f"recognition/scale-{k}/scores"]) for k in (0, 1))
    assert cells.shape == glands.shape == (1, 1, 1)
    assert 0 <= cells[0, 0, 0] <= 1
    assert np.isnan(glands[0, 0, 0]), "glandular structure has no score parameters"
    assert found["Glands"].recognition is None
