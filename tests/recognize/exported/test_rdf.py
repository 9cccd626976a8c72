"""bioimage.io descriptions are cards; what they do not say is refused."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.recognize.exported.folders import script_bytes
from tests.recognize.exported.test_engine import look
from tests.recognize.exported.test_kinds import Labels, cells
from wsiparse.errors import WeightsError
from wsiparse.recognize.card import read_card


def weights(content: bytes, kind: str = "torchscript") -> dict[str, Any]:
    return {kind: {"source": "model.pt", "sha256": hashlib.sha256(content).hexdigest()}}


def instanseg(content: bytes) -> dict[str, Any]:
    sides = [{"type": "space", "id": s, "size": {"min": 128, "step": 32}, "scale": 0.5, "unit": "micrometer"}
             for s in "yx"]  # fmt: skip
    return {
        "format_version": "0.5.3", "type": "model", "name": "InstanSeg brightfield nuclei", "license": "Apache-2.0",
        "weights": weights(content) | {"pytorch_state_dict": {}},
        "inputs": [{"axes": [{"type": "batch"}, {"type": "channel", "channel_names": list("rgb")}, *sides],
                    "preprocessing": [{"id": "scale_linear", "kwargs": {"gain": 1 / 255, "offset": 0}}]}],
        "outputs": [{"axes": [{"type": "batch"}, {"type": "channel"}, *({**s, "halo": 32} for s in sides)]}],
    }  # fmt: skip


STARDIST: dict[str, Any] = {
    "format_version": "0.4.9", "type": "model", "name": "StarDist H&E", "license": "BSD-3-Clause",
    "git_repo": "https://github.com/stardist/stardist",
    "weights": {"onnx": {"source": "model.onnx", "sha256": "0" * 64}},
    "inputs": [{"axes": "byxc", "shape": {"min": [1, 16, 16, 3], "step": [0, 16, 16, 0]},
                "preprocessing": [{"name": "scale_range", "kwargs": {"min_percentile": 1, "max_percentile": 99.8}}]}],
    "outputs": [{"axes": "byxc", "halo": [0, 96, 96, 0]}],
    "config": {
        "stardist": {"config": {"n_rays": 32, "grid": [2, 2]}, "thresholds": {"prob": 0.69, "nms": 0.3}},
        "qupath": {"axes": [{"role": "x", "step": 0.5}, {"role": "y", "step": 0.5}]},
    },
}  # fmt: skip


def write(folder: Path, rdf: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(rdf), encoding="utf-8")
    return folder


def test_the_stardist_layout_is_a_card_of_kind_star(tmp_path: Path) -> None:
    card = read_card(write(tmp_path / "m", STARDIST))
    assert (card.title, card.licence, card.source) == (
        "StarDist H&E", "BSD-3-Clause", "https://github.com/stardist/stardist",
    )  # fmt: skip
    out, given = card.output, card.input
    assert (out.kind, out.probability, out.rays, out.n_rays, out.cut, out.overlap, out.stride) == (
        "star", 0, 1, 32, 0.69, 0.3, 2,
    )  # fmt: skip
    assert (given.mpp, given.multiple_of, given.halo_px, given.layout) == (0.5, 16, 96, "NHWC")
    assert (given.normalise.kind, given.normalise.low, given.normalise.high) == ("percentile", 1, 99.8)


def test_a_bundle_of_the_instanseg_layout_runs(tmp_path: Path) -> None:
    content = script_bytes(Labels())
    folder = write(tmp_path / "m", instanseg(content))
    (folder / "model.pt").write_bytes(content)
    truth = cells(300, 260)
    picture = np.zeros((*truth.shape, 3), np.uint8)
    picture[..., 0] = truth
    found = look(folder, picture, min_area_um2=0)
    assert found.prepared.title == "InstanSeg brightfield nuclei"
    assert len(found.cells) == truth.max()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("weights",), {"pytorch_state_dict": {}}, "pytorch_state_dict only, which need Python code of their own"),
        (("weights",), {"keras_hdf5": {}}, "keras_hdf5 only, which need Python code of their own"),
        (("config", "qupath"), None, "does not say how many um a pixel is"),
        (("config", "stardist"), None, "neither of StarDist's nor of InstanSeg's layout"),
        (("inputs", 0, "preprocessing"), [], "prepares pictures by nothing"),
        (("inputs", 0, "preprocessing"), [{"name": "zero_mean_unit_variance"}], "depend on the tiling"),
        (("inputs", 0, "axes"), "bzyxc", "pictures of one plane"),
        (("outputs",), [], "is no complete description of a model"),
    ],
)
def test_what_a_description_does_not_say_is_refused(
    path: tuple[Any, ...], value: Any, message: str, tmp_path: Path
) -> None:
    rdf = copy.deepcopy(STARDIST)
    at: Any = rdf
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(WeightsError, match=message) as raised:
        read_card(write(tmp_path / "m", rdf))
    assert "\n" not in str(raised.value)


def test_a_card_beside_the_description_wins(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", STARDIST)
    (folder / "model.yaml").write_text("format: other", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"model\.yaml: format"):
        read_card(folder)
