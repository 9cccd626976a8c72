"""The network of a file, computed by OpenVINO, ONNX Runtime or PyTorch: one tile in, its channels out.

TorchScript is a program of its own kind: `torch.jit.load` reads it without Python's pickle, and runs what its author
wrote in it. ONNX describes operations only. Neither is loaded before its hash is the card's.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import WeightsError
from wsiparse.recognize.arithmetic import import_openvino

__all__ = ["Network", "OnnxRuntimeNetwork", "OpenVinoNetwork", "TorchNetwork", "joined"]

#: (1, C, H, W) float32, or (1, H, W, C) where the card says so -> the arrays that the file answers.
Network = Callable[[NDArray[np.float32]], list[NDArray[Any]]]

_PRECISIONS: Final = {"float32": "f32", "bf16": "bf16"}


class OpenVinoNetwork:
    """An ONNX file by OpenVINO: every thread has its own copy, on one core.

    Parameters
    ----------
    content : the file
    path : where it lies, if it has data in other files; None for one that is whole
    precision : "float32" | "bf16"
    name : for errors

    Raises
    ------
    WeightsError
        If the library does not read the file.
    """

    def __init__(self, content: bytes, path: Path | None, precision: str, name: str) -> None:
        self._name = name
        openvino = import_openvino()
        self._core = openvino.Core()
        try:
            self._model = self._core.read_model(str(path) if path is not None else io.BytesIO(content))
        except RuntimeError as error:
            raise _unusable(name, "OpenVINO does not read it", error) from error
        self._settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self._own = threading.local()

    def __call__(self, values: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Arrays of one tile.

        Parameters
        ----------
        values : (1, C, H, W) float32, or (1, H, W, C)

        Returns
        -------
        a list of (...) arrays of any dtype, as the file answers them

        Raises
        ------
        WeightsError
            If the library cannot run the network on it.
        """
        try:
            found = getattr(self._own, "request", None)
            if found is None:
                compiled = self._core.compile_model(self._model, "CPU", self._settings)
                found = self._own.request = compiled.create_infer_request()
            answers = found.infer([values])
        except RuntimeError as error:
            raise _unusable(self._name, f"OpenVINO cannot run it on {_shape(values)}", error) from error
        return [np.array(answer) for answer in answers.values()]


class OnnxRuntimeNetwork:
    """An ONNX file by ONNX Runtime, on one core for each thread that asks.

    Parameters
    ----------
    content, path, name : as for `OpenVinoNetwork`

    Raises
    ------
    WeightsError
        If the library does not read the file.
    """

    def __init__(self, content: bytes, path: Path | None, name: str) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        self._name = name
        self._faults: tuple[type[Exception], ...] = (
            RuntimeError,
            *(v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)),
        )
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        for key, value in (("intra_op_num_threads", 1), ("inter_op_num_threads", 1), ("log_severity_level", 4)):
            setattr(options, key, value)
        try:
            self._session = onnxruntime.InferenceSession(
                str(path) if path is not None else content, options, providers=["CPUExecutionProvider"]
            )
        except self._faults as error:
            raise _unusable(name, "ONNX Runtime does not read it", error) from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, values: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Arrays of one tile.

        Parameters
        ----------
        values : (1, C, H, W) float32, or (1, H, W, C)

        Returns
        -------
        a list of (...) arrays of any dtype, as the file answers them

        Raises
        ------
        WeightsError
            If the library cannot run the network on it.
        """
        try:
            return list(self._session.run(None, {self._input: values}))
        except self._faults as error:
            raise _unusable(self._name, f"ONNX Runtime cannot run it on {_shape(values)}", error) from error


class TorchNetwork:
    """A TorchScript file by PyTorch.

    Parameters
    ----------
    content : the file
    device, precision : as PyTorch and a spec call them
    name : for errors

    Raises
    ------
    WeightsError
        If the library does not read the file.
    """

    def __init__(self, content: bytes, device: str, precision: str, name: str) -> None:
        import torch

        self._name, self._device = name, device
        self._dtype = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that TorchScript is old
                module = torch.jit.load(io.BytesIO(content), map_location=device)  # type: ignore[no-untyped-call]
            self._module = module.eval()
            if precision != "float32":
                self._module = self._module.to(self._dtype)
        except (RuntimeError, ValueError) as error:
            raise _unusable(name, "it is no TorchScript model", error) from error

    def __call__(self, values: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Arrays of one tile.

        Parameters
        ----------
        values : (1, C, H, W) float32, or (1, H, W, C)

        Returns
        -------
        a list of (...) arrays of any dtype, as the file answers them

        Raises
        ------
        WeightsError
            If the library cannot run the network on it.
        """
        import torch

        with torch.inference_mode():
            try:
                answer = self._module(torch.from_numpy(values).to(self._device, self._dtype))
            except RuntimeError as error:
                raise _unusable(self._name, f"PyTorch cannot run it on {_shape(values)}", error) from error
            return [tensor.float().cpu().numpy() for tensor in _tensors(answer, torch.Tensor)]


def _tensors(answer: Any, kind: type) -> Iterator[Any]:
    """The tensors of an answer, in their order."""
    if isinstance(answer, kind):
        yield answer
    elif isinstance(answer, dict):
        yield from (tensor for value in answer.values() for tensor in _tensors(value, kind))
    elif isinstance(answer, Sequence) and not isinstance(answer, str):
        yield from (tensor for value in answer for tensor in _tensors(value, kind))


def _shape(values: NDArray[Any]) -> str:
    return "x".join(map(str, values.shape))


def _unusable(name: str, what: str, error: Exception) -> WeightsError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if not line.startswith(("~", "^", "File ", "..."))), "")
    return WeightsError(f"{name}: {what} ({reason[:160] or type(error).__name__}). Export the model again.")


def joined(answers: Sequence[NDArray[Any]], *, last: bool, name: str) -> NDArray[np.float32]:
    """All arrays of one tile as one, channels in the order of the answers.

    Parameters
    ----------
    answers : (1, C, H, W) of any dtype, or (1, H, W, C) where `last`; (1, H, W) and (H, W) count as one channel
    last : channels come last
    name : for errors

    Returns
    -------
    (C, H, W) float32

    Raises
    ------
    WeightsError
        If there is none, one has another number of axes, or they differ in height or width.
    """
    parts: list[NDArray[Any]] = []
    for answer in answers:
        if answer.ndim == 4 and len(answer) == 1:
            parts.append(np.moveaxis(answer[0], -1, 0) if last else answer[0])
        elif answer.ndim == 2 or (answer.ndim == 3 and len(answer) == 1):
            parts.append(answer.reshape(1, *answer.shape[-2:]))
        else:
            raise WeightsError(f"{name}: answers an array of {_shape(answer)}; maps are 1 x channels x height x width.")
    if len({part.shape[1:] for part in parts}) != 1:
        sizes = " and ".join(_shape(part) for part in parts) or "nothing"
        raise WeightsError(f"{name}: answers {sizes}; all maps must have one height and width.")
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return np.ascontiguousarray(whole, np.float32)
