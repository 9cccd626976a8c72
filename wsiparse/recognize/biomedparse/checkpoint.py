"""Strict loading of network weights.

Every key that inference uses must be there with its shape; keys known to be unused are skipped by name; any other
key is an error. A checkpoint that almost fits would otherwise run with some random weights and look plausible.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wsiparse.errors import WeightsError
from wsiparse.recognize.biomedparse.config import NetworkConfig
from wsiparse.recognize.biomedparse.network import BiomedParseNetwork
from wsiparse.recognize.biomedparse.text import DEFAULT_LOGIT_SCALE

__all__ = [
    "OPTIONAL_KEYS",
    "blank_network",
    "expected_shapes",
    "is_known_unused",
    "load_network",
    "network_from_state",
    "read_state",
]

_PREDICTOR: Final = "sem_seg_head.predictor."

#: A positive factor on all similarities: masks do not depend on it, and CLIP's default stands in.
OPTIONAL_KEYS: Final = frozenset({f"{_PREDICTOR}lang_encoder.logit_scale"})

#: Parts of the training model that inference from words never calls: a second text encoder and click prompts
#: (the misspelling is the checkpoint's).
_UNUSED_PREFIXES: Final = (f"{_PREDICTOR}lang_encoder.biomed_encoder.", f"{_PREDICTOR}mask_sptial_embed.")
_UNUSED_KEYS: Final = frozenset(
    {
        "dilation_kernel",
        f"{_PREDICTOR}pn_indicator.weight",
        f"{_PREDICTOR}spatial_embed.weight",
        f"{_PREDICTOR}spatial_featured.weight",
    }
)

#: Left by wrappers around the model while it was trained or saved.
_PREFIXES: Final = ("module.", "model.")
_WRAPPERS: Final = ("state_dict", "model")

_ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = b"\x80"
_REMEDY: Final = "Give the file biomedparse_v1.pt; `wsiparse weights fetch` downloads it."
_NAMED: Final = 3

#: What torch.load was seen to raise on files cut or changed anywhere (legacy files fail in asserts and in struct).
_DAMAGED: Final = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
    OverflowError,
)


def is_known_unused(key: str) -> bool:
    """Whether a checkpoint may hold `key` although inference does not use it."""
    return key in _UNUSED_KEYS or key.startswith(_UNUSED_PREFIXES)


def blank_network(config: NetworkConfig | None = None) -> BiomedParseNetwork:
    """The network with shapes but no storage (device "meta"), in evaluation mode, without gradients.

    No time is spent on random values that a checkpoint replaces, and operations can be counted on it.
    """
    with torch.device("meta"):
        return BiomedParseNetwork(config or NetworkConfig()).requires_grad_(False).eval()


def expected_shapes(config: NetworkConfig | None = None) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter of the network, the optional ones included, in building order."""
    return {key: tuple(value.shape) for key, value in blank_network(config).state_dict().items()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _read_torch(path: Path, mapped: bool) -> Any:
    try:
        # mapped: pages come from the file as they are used, and processes on one machine share them
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds more than plain tensors, or is damaged; it is not the BiomedParse v1 checkpoint "
            f"({_first_line(error)}). {_REMEDY}"
        ) from error
    except _DAMAGED as error:
        raise WeightsError(
            f"{path}: truncated or damaged, PyTorch cannot read it ({_first_line(error)}). {_REMEDY}"
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise WeightsError(
            f"{path}: truncated or damaged safetensors file ({_first_line(error)}). {_REMEDY}"
        ) from error


def _unwrap(content: object, path: Path) -> dict[str, Any]:
    """The innermost state dict, without common prefixes."""
    lightning = False
    while isinstance(content, Mapping):
        lightning = lightning or "pytorch-lightning_version" in content
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise WeightsError(f"{path}: holds no named weights (found {type(content).__name__}). {_REMEDY}")
    state: dict[str, Any] = dict(content)
    while (prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in state)), None)) is not None:
        state = {key[len(prefix) :]: value for key, value in state.items()}
    if lightning and "backbone.patch_embed.proj.weight" not in state:
        raise WeightsError(
            f"{path}: a Lightning checkpoint of another model, such as BiomedParse v2, which is not supported. "
            f"{_REMEDY}"
        )
    return state


def read_state(path: Path) -> dict[str, Any]:
    """The named entries of a checkpoint, wrappers and common prefixes removed; nothing is checked against a network.

    The format is told from the content: PyTorch (zip or legacy pickle, loaded with ``weights_only=True``) or
    safetensors.

    Raises
    ------
    WeightsError
        If the file is missing, unreadable, truncated, in another format, or holds no named weights.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights ({error.strerror}). {_REMEDY}") from error
    if head.startswith(_ZIP):
        return _unwrap(_read_torch(path, mapped=True), path)
    if head.startswith(_PICKLE):
        return _unwrap(_read_torch(path, mapped=False), path)
    if head[8:9] == b"{":
        return _unwrap(_read_safetensors(path), path)
    what = "an empty file" if not head else f"starts with {head!r}"
    raise WeightsError(f"{path}: neither a PyTorch nor a safetensors file ({what}). {_REMEDY}")


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:_NAMED])
    return shown if len(keys) <= _NAMED else f"{shown} and {len(keys) - _NAMED} more"


def _check(state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Raise one WeightsError that names what is missing, unknown, of another shape or not floating point."""
    missing = [key for key in shapes if key not in state and key not in OPTIONAL_KEYS]
    unknown = [key for key in state if key not in shapes and not is_known_unused(key)]
    present = [key for key in shapes if key in state]
    tensors = {key: state[key] for key in present if isinstance(state[key], Tensor)}
    shaped = [
        f"{key} is {tuple(value.shape)}, not {shapes[key]}"
        for key, value in tensors.items()
        if tuple(value.shape) != shapes[key]
    ]
    typed = [key for key in present if key not in tensors or not tensors[key].is_floating_point()]
    faults = [
        f"{len(keys)} {what} ({_listed(keys)})"
        for keys, what in (
            (missing, "missing"),
            (unknown, "unknown"),
            (shaped, "of another shape"),
            (typed, "not floating-point tensors"),
        )
        if keys
    ]
    if faults:
        raise WeightsError(
            f"{source}: not the BiomedParse v1 weights. Keys: {'; '.join(faults)}; "
            f"{len(shapes) - len(OPTIONAL_KEYS)} are needed. {_REMEDY}"
        )


def network_from_state(
    state: Mapping[str, Any], config: NetworkConfig | None = None, source: str = "weights"
) -> BiomedParseNetwork:
    """A network with the given weights, in evaluation mode, without gradients, on the CPU, float32.

    Float32 tensors are used as they are, without a copy.

    Parameters
    ----------
    state : parameter name to tensor
    source : what error messages call the weights, usually the file

    Raises
    ------
    WeightsError
        If a needed key is missing or has another shape or type, or a key is unknown; the message names them.
    """
    network = blank_network(config)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    _check(state, shapes, source)
    filled = {key: state[key].to(torch.float32).contiguous() for key in shapes if key in state}
    for key in OPTIONAL_KEYS - filled.keys():
        filled[key] = torch.tensor(DEFAULT_LOGIT_SCALE)
    network.load_state_dict(filled, strict=True, assign=True)
    return network


def load_network(path: Path, config: NetworkConfig | None = None) -> BiomedParseNetwork:
    """Read a checkpoint (.pt or .safetensors) into a network; see `read_state` and `network_from_state`.

    Raises
    ------
    WeightsError
        If the file cannot be read or is not, key by key, the network's.
    """
    return network_from_state(read_state(path), config, str(path))
