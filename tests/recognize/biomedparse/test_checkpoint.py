from __future__ import annotations

import json
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from tests.reference.recipe import miniature
from wsiparse.errors import WeightsError
from wsiparse.recognize.biomedparse.checkpoint import (
    expected_shapes,
    is_known_unused,
    load_network,
    network_from_state,
    read_state,
)

State = dict[str, Tensor]
FC2 = "backbone.layers.0.blocks.0.mlp.fc2.weight"
SCALE = "sem_seg_head.predictor.lang_encoder.logit_scale"


def refusal(path: Path) -> str:
    """The one line with which a file is refused; it names the file."""
    with pytest.raises(WeightsError) as caught:
        load_network(path, miniature())
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


def saved(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def assert_filled(path: Path, state: State) -> None:
    network = load_network(path, miniature())
    found = network.state_dict()
    assert found.keys() == state.keys()
    for key, value in found.items():
        assert torch.equal(value, state[key]), key
        assert value.dtype == torch.float32
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_network_has_exactly_the_published_keys_and_shapes(published: Path) -> None:
    keys = json.loads((published / "state_dict.json").read_text())["keys"]
    used = {key: tuple(v["shape"]) for key, v in keys.items() if not v["use"].startswith("unused")}
    assert expected_shapes() == used
    assert len(used) - 1 == sum(v["use"] == "used" for v in keys.values()) == 924  # the similarity scale is optional


def test_every_published_key_that_is_not_used_is_known_by_name(published: Path) -> None:
    keys = json.loads((published / "state_dict.json").read_text())["keys"]
    for key, v in keys.items():
        assert is_known_unused(key) == v["use"].startswith("unused"), key


def test_a_pytorch_file_fills_the_network(tmp_path: Path, mini_state: State) -> None:
    assert_filled(saved(tmp_path / "w.pt", OrderedDict(mini_state)), mini_state)


def test_a_legacy_pytorch_file_fills_the_network(tmp_path: Path, mini_state: State) -> None:
    assert_filled(saved(tmp_path / "w.pt", mini_state, _use_new_zipfile_serialization=False), mini_state)


def test_a_safetensors_file_fills_the_network(tmp_path: Path, mini_state: State) -> None:
    save_file(mini_state, tmp_path / "w.safetensors")
    assert_filled(tmp_path / "w.safetensors", mini_state)


def test_the_format_is_told_from_the_content_not_the_name(tmp_path: Path, mini_state: State) -> None:
    save_file(mini_state, tmp_path / "w.pt")
    assert_filled(tmp_path / "w.pt", mini_state)


@pytest.mark.parametrize("prefix", ["model.", "module.", "module.model."])
@pytest.mark.parametrize("wrappers", [(), ("state_dict",), ("model",), ("model", "state_dict")])
def test_prefixes_and_wrappers_are_taken_off(
    tmp_path: Path, mini_state: State, prefix: str, wrappers: tuple[str, ...]
) -> None:
    content: dict[str, Any] = {f"{prefix}{key}": value for key, value in mini_state.items()}
    for wrapper in wrappers:
        content = {wrapper: content, "epoch": 3}
    assert_filled(saved(tmp_path / "w.pt", content), mini_state)


def test_a_half_precision_checkpoint_is_widened(tmp_path: Path, mini_state: State) -> None:
    half = {key: value.half() for key, value in mini_state.items()}
    assert_filled(saved(tmp_path / "w.pt", half), {key: value.float() for key, value in half.items()})


def test_known_unused_keys_are_skipped_and_the_scale_may_be_missing(tmp_path: Path, mini_state: State) -> None:
    head = "sem_seg_head.predictor."
    extra = {
        "dilation_kernel": torch.ones(1, 1, 3, 3),
        f"{head}lang_encoder.biomed_encoder.embeddings.position_ids": torch.zeros(4, dtype=torch.int64),
        f"{head}mask_sptial_embed.1": torch.zeros(2, 2),
        f"{head}pn_indicator.weight": torch.zeros(2, 2),
        f"{head}spatial_embed.weight": torch.zeros(2, 2),
        f"{head}spatial_featured.weight": torch.zeros(2, 2),
    }
    state = {key: value for key, value in mini_state.items() if key != SCALE}
    assert_filled(saved(tmp_path / "w.pt", state | extra), mini_state)


def test_a_missing_key_is_named(tmp_path: Path, mini_state: State) -> None:
    for key in list(mini_state)[::17]:
        if key != SCALE:
            state = {k: v for k, v in mini_state.items() if k != key}
            assert f"1 missing ({key})" in refusal(saved(tmp_path / "w.pt", state))


@pytest.mark.parametrize("key", ["backbone.layers.0.extra", "sem_seg_head.predictor.spatial_embed.bias", "optimizer"])
def test_an_unknown_key_is_named(tmp_path: Path, mini_state: State, key: str) -> None:
    assert f"1 unknown ({key})" in refusal(saved(tmp_path / "w.pt", mini_state | {key: torch.zeros(1)}))


def test_an_unknown_key_in_a_safetensors_file_is_named(tmp_path: Path, mini_state: State) -> None:
    save_file(mini_state | {"surplus": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert "1 unknown (surplus)" in refusal(tmp_path / "w.safetensors")


def test_a_transposed_weight_is_named_with_both_shapes(tmp_path: Path, mini_state: State) -> None:
    path = saved(tmp_path / "w.pt", mini_state | {FC2: mini_state[FC2].T.contiguous()})
    assert f"1 of another shape ({FC2} is (12, 6), not (6, 12))" in refusal(path)


@pytest.mark.parametrize("value", [torch.zeros(6, 12, dtype=torch.int64), "text", None], ids=str)
def test_a_value_that_is_no_float_tensor_is_named(tmp_path: Path, mini_state: State, value: object) -> None:
    message = refusal(saved(tmp_path / "w.pt", mini_state | {FC2: value}))
    assert f"1 not floating-point tensors ({FC2})" in message


def test_many_faults_are_counted_and_the_first_named(tmp_path: Path, mini_state: State) -> None:
    message = refusal(saved(tmp_path / "w.pt", {f"encoder.{k}": v for k, v in mini_state.items()}))
    count = len(mini_state)
    assert f"{count - 1} missing (" in message
    assert f"{count} unknown (" in message
    assert f"and {count - 3} more" in message
    assert len(message) < 1000


def test_a_lightning_checkpoint_of_version_2_is_told_apart(tmp_path: Path) -> None:
    content = {
        "epoch": 9,
        "pytorch-lightning_version": "2.4.0",
        "hyper_parameters": {"lr": 1e-4},
        "state_dict": {"model.image_encoder.patch_embed.weight": torch.zeros(3, 3)},
    }
    assert "Lightning checkpoint of another model" in refusal(saved(tmp_path / "biomedparse_v2.ckpt", content))


class _Setting:
    """Stands for the configuration objects that some checkpoints pickle."""


def test_a_checkpoint_with_pickled_objects_is_not_executed(tmp_path: Path, mini_state: State) -> None:
    path = saved(tmp_path / "w.ckpt", {"state_dict": mini_state, "hyper_parameters": _Setting()})
    assert "more than plain tensors" in refusal(path)


@pytest.mark.parametrize(
    "content", [torch.zeros(3), [1, 2], {}, {1: torch.zeros(1)}], ids=["tensor", "list", "{}", "int"]
)
def test_a_file_without_named_weights_is_refused(tmp_path: Path, content: object) -> None:
    assert "holds no named weights" in refusal(saved(tmp_path / "w.pt", content))


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", b"<!DOCTYPE html>", b"\x00" * 64],
    ids=["empty", "stub", "pointer", "page", "zeros"],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    assert "neither a PyTorch nor a safetensors file" in refusal(path)


def test_another_zip_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "PyTorch cannot read it" in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_a_path_that_cannot_be_read_is_refused(tmp_path: Path, what: str) -> None:
    assert "cannot read the weights" in refusal(tmp_path if what == "folder" else tmp_path / "none.pt")


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory, mini_state: State) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    saved(folder / "zip", mini_state)
    saved(folder / "legacy", mini_state, _use_new_zipfile_serialization=False)
    save_file(mini_state, folder / "safetensors")
    return folder


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["zip", "legacy", "safetensors"]), part=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused_in_one_line(tmp_path: Path, whole_files: Path, kind: str, part: float) -> None:
    content = (whole_files / kind).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(content[: int(part * len(content))])
    refusal(path)


@pytest.mark.parametrize("length", [2**62, 40])
def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"a": {"dtype": "F32"}}')
    refusal(path)


def test_float32_weights_are_used_without_a_copy(mini_state: State) -> None:
    network = network_from_state(mini_state, miniature())
    assert network.state_dict()[FC2].data_ptr() == mini_state[FC2].data_ptr()


def test_reading_does_not_judge_the_keys(tmp_path: Path) -> None:
    state = read_state(saved(tmp_path / "w.pt", {"model": {"module.a": torch.zeros(2)}}))
    assert list(state) == ["a"]
