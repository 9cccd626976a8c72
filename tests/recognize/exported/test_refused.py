"""Cards and files that cannot be used are refused in one line, before the first tile and before a library sees them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.recognize.exported.folders import card_of, onnx_bytes, script_bytes, write_exported
from tests.recognize.exported.networks import Channels, NaNs, Shrunk
from wsiparse.errors import ConfigError, WeightsError
from wsiparse.recognize import arithmetic
from wsiparse.recognize.base import engine_info, load_recognizer, on_this_machine
from wsiparse.recognize.card import read_card
from wsiparse.types import Prompt, PromptSet, RecognizerSpec

NUCLEI = PromptSet((Prompt("nuclei", "Nuclei"),))
TINY = torch.zeros(1, 3, 64, 64)

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"inputs": {}}, "unknown key 'inputs': did you mean 'input'"),
    "unknown key below": ({"output": {"forground": 0}}, "unknown key 'output.forground': did you mean 'foreground'"),
    "no normalise": ({"input": {"normalise": None}}, "input.normalise"),
    "scale of nothing": ({"input": {"normalise": {"kind": "scale"}}}, "kind scale needs divide"),
    "scale by zero": ({"input": {"normalise": {"kind": "scale", "divide": 0}}}, "greater than 0"),
    "mean without std": ({"input": {"normalise": {"kind": "mean-std", "mean": [1, 1, 1]}}}, "needs std"),
    "two numbers for three channels": (
        {"input": {"normalise": {"kind": "mean-std", "mean": [1, 1], "std": [1, 1]}}}, "3 channels need as many",
    ),
    "percentiles of a tile": (
        {"input": {"normalise": {"kind": "percentile", "low": 1, "high": 99, "over": "tile"}}}, "over: Input should be",
    ),
    "percentiles upside down": (
        {"input": {"normalise": {"kind": "percentile", "low": 99, "high": 1}}}, "is not below high",
    ),
    "divide of percentiles": (
        {"input": {"normalise": {"kind": "percentile", "low": 1, "high": 99, "divide": 2}}}, "has no use for divide",
    ),
    "stain that is none": ({"input": {"channels": {"stains": ["dab"]}}}, "input.channels"),
    "halo narrower than what is cropped": ({"input": {"output_px": 64}}, "less than what the network crops"),
    "nothing but halo": ({"input": {"halo_px": 128}}, "leaves nothing inside a halo"),
    "no foreground": ({"output": {"foreground": None}}, "needs foreground, or the background"),
    "hover without maps": ({"output": {"kind": "hover"}}, "kind hover needs horizontal and vertical"),
    "star without rays": (
        {"output": {"kind": "star", "foreground": None, "probability": 0}}, "kind star needs rays and n_rays",
    ),
    "rays of nuclei": ({"output": {"rays": 1, "n_rays": 8}}, "kind nuclei has no use for n_rays, rays"),
    "one channel of two roles": ({"output": {"centre": 0}}, "channel 0 is given to foreground and centre"),
    "two names of one role": ({"output": {"centre": 1, "distance": 2}}, "two names of one role"),
    "class without colour": (
        {"output": {"classes": {1: "a"}}, "prompts": [{"class": "a", "text": "as"}]}, "colour: Field required",
    ),
    "class without prompt": ({"output": {"classes": {1: "a"}}}, "class 'a' needs one entry"),
    "region of nuclei": (
        {"output": {"classes": {1: "a"}}, "prompts": [{"class": "a", "text": "as", "kind": "region",
                                                       "colour": "#000000"}]}, "answers kind cell",
    ),
    "weights elsewhere": ({"weights": {"file": "../model.pt"}}, "do not lie beside the card"),
    "data elsewhere": ({"weights": {"data": {"../x": "0" * 64}}}, "do not lie beside the card"),
    "pickled weights": ({"weights": {"file": "model.pth"}}, ".pth is not run"),
    "Keras weights": ({"weights": {"file": "model.keras"}}, "never read"),
    "wrong hash": ({"weights": {"sha256": "0" * 64}}, "is not the card's"),
    "missing file": ({"weights": {"file": "gone.pt"}}, "cannot be read"),
}  # fmt: skip


def refused(folder: Path, *, loads: bool = False) -> str:
    """The one line that a model is refused with."""
    spec = RecognizerSpec(str(folder), NUCLEI)
    with pytest.raises(WeightsError) as raised:
        load_recognizer(spec) if loads else engine_info(spec)
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_card_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    change, message = BAD[name]
    folder = write_exported(tmp_path / "m", b"weights", "model.pt", **change)
    assert message in refused(folder)


def script(content: bytes, tmp_path: Path, **change: Any) -> Path:
    return write_exported(tmp_path / "m", content, "model.pt", **change)


class Run:
    """A pickle that would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_no_pickle_is_ever_read(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    plain = pickle.dumps(Run(mark))
    saved = io.BytesIO()
    torch.save(Run(mark), saved)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", plain)
        archive.writestr("archive/version", "3\n")
    for content in (plain, saved.getvalue(), packed.getvalue(), b"", b"PK\x03\x04"):
        assert "it is no TorchScript model" in refused(script(content, tmp_path), loads=True)
    assert not mark.exists()


def test_a_script_that_answers_something_else_is_refused(tmp_path: Path) -> None:
    class Flat(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    class Needs(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(1, 3, 64, 64)

    cases: list[tuple[torch.nn.Module, dict[str, Any], str]] = [
        (Flat(), {}, "answers maps of 1x3 for a tile of 256x256 px"),
        (Needs(), {}, "PyTorch cannot run it on 1x3x256x256"),
        (NaNs(), {}, "answers no numbers (NaN"),
        (Channels(), {"output": {"foreground": 3}}, "answers 3 channels, but the card gives channel 3 a role"),
        (Shrunk(8), {}, "answers maps of 240x240 for a tile of 256x256 px"),
        (Shrunk(0, 2), {}, "Set output_px and stride in its card"),
    ]
    for network, change, message in cases:
        assert message in refused(script(script_bytes(network), tmp_path, **change), loads=True)


def fields(*parts: tuple[int, bytes | int]) -> bytes:
    """A Protocol Buffers message."""

    def varint(n: int) -> bytes:
        out = b""
        while n > 127:
            out, n = out + bytes([n & 127 | 128]), n >> 7
        return out + bytes([n])

    return b"".join(
        varint(number << 3) + varint(value) if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in parts
    )  # fmt: skip


def onnx_of(tensor: bytes, *, nested: bool = False) -> bytes:
    """A model with one tensor, as a weight or as a constant of a node."""
    shape = fields((1, fields((1, 1), (2, fields((1, fields((1, 1))), (1, fields((1, 3))), (1, b""), (1, b""))))))
    picture = fields((1, b"x"), (2, shape))
    node = fields((2, b"y"), (4, b"Constant"), (5, fields((1, b"value"), (5, tensor))))
    return fields((1, 8), (7, fields((1, node) if nested else (5, tensor), (11, picture), (12, picture))))


def external(location: str, **where: int) -> bytes:
    entries = {"location": location} | {name: str(value) for name, value in where.items()}
    data = tuple((13, fields((1, key.encode()), (2, value.encode()))) for key, value in entries.items())
    return fields((1, 4), (2, 1), (8, b"w"), (14, 1), *data)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            fields((1, 50_000), (1, 50_000), (2, 1), (8, b"w"), (9, b"1234")),
            "tensor 'w' claims 10 GB, but the file holds",
        ),
        (fields((1, 1 << 40), (2, 1), (8, b"w")), "but the file holds"),
        (external("../secret"), "has data in '../secret', outside its folder"),
        (external("/etc/passwd"), "has data in '/etc/passwd', outside its folder"),
        (external("sub/w.data"), "outside its folder"),
        (external("a\\b"), "outside its folder"),
        (external(""), "outside its folder"),
        (external("w.data"), "has data in 'w.data', which its card does not name"),
        (external("w.data", length=1 << 40), "claims 16 bytes, its data"),
    ],
)
def test_an_onnx_file_that_claims_too_much_is_refused(
    tensor: bytes, message: str, nested: bool, tmp_path: Path
) -> None:
    folder = write_exported(tmp_path / "m", onnx_of(tensor, nested=nested), "model.onnx")
    assert message in refused(folder)


def test_data_beside_the_file_are_hashed_and_long_enough(tmp_path: Path) -> None:
    content = onnx_of(external("w.data", offset=8))
    data = b"\0" * 16
    named = {"weights": {"data": {"w.data": hashlib.sha256(data).hexdigest()}}}
    folder = write_exported(tmp_path / "m", content, "model.onnx", **named)
    assert "cannot be read" in refused(folder)
    (folder / "w.data").write_bytes(data)
    assert "claims 16 bytes at 8 of 'w.data', which is shorter" in refused(folder)
    (folder / "w.data").write_bytes(b"\1" * 24)
    assert "is not the card's" in refused(folder)


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    good = onnx_of(fields((1, 1), (2, 1), (8, b"w"), (9, b"1234")))
    for content in (b"", b"junk" * 20, good[:-3], b"\xff" * 40, pickle.dumps([1])):
        assert "ONNX model" in refused(write_exported(tmp_path / "m", content, "model.onnx"))


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_cut_and_changed_files_never_end_in_another_error(cut: int, tmp_path: Path) -> None:
    good = bytearray(onnx_of(fields((1, 1), (2, 1), (8, b"w"), (9, b"1234"))))
    rng = np.random.default_rng(cut)
    for k in range(20):
        spoilt = bytearray(good)
        for place in rng.integers(0, len(good), 3):
            spoilt[place] = rng.integers(0, 256)
        folder = write_exported(tmp_path / str(k), bytes(spoilt), "model.onnx")
        with contextlib.suppress(WeightsError):
            engine_info(RecognizerSpec(str(folder), NUCLEI))


def test_an_onnx_file_of_other_channels_or_one_size_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    content = onnx_bytes(Channels(), TINY)
    change: dict[str, Any] = {"input": {"channels": {"stains": ["hematoxylin"]}}}
    folder = write_exported(tmp_path / "m", content, "model.onnx", **change)
    assert "its input 'x' is 1 x 3 x any x any, the card says 1 x 1 x any x any (NCHW)" in refused(folder)
    fixed = onnx_bytes(Channels(), torch.zeros(1, 3, 128, 128), fixed=True)
    assert "wants `fixed_size: true`" in refused(write_exported(tmp_path / "m", fixed, "model.onnx"))
    broken = write_exported(tmp_path / "m", onnx_bytes(NaNs(), TINY), "model.onnx")
    assert "answers no numbers" in refused(broken, loads=True)


def test_a_runtime_that_is_not_there_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_exported(tmp_path / "m", onnx_of(fields((1, 1), (2, 1), (9, b"1234"))), "model.onnx")
    monkeypatch.setattr(arithmetic, "openvino_version", lambda: "")
    monkeypatch.setattr(arithmetic.importlib.util, "find_spec", lambda name: None)
    for runtime, missing in (("auto", "openvino"), ("openvino", "openvino"), ("onnxruntime", "onnxruntime")):
        with pytest.raises(ConfigError, match=f"needs the runtime {missing}, which is not installed"):
            on_this_machine(RecognizerSpec(str(folder), NUCLEI, runtime=runtime))


def test_a_card_by_its_own_path_is_the_folders(tmp_path: Path) -> None:
    folder = write_exported(tmp_path / "m", b"w", "model.pt")
    assert read_card(folder / "model.yaml") == read_card(folder)
    assert yaml.safe_load((folder / "model.yaml").read_text()) == card_of(b"w", "model.pt")
