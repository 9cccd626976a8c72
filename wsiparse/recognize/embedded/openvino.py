"""A compact network computed by OpenVINO: built from its weights in memory, one core for each thread that asks.

The network is written out in OpenVINO's own operations (no file, no conversion, no dependence on PyTorch's version); a
test holds it equal to PyTorch's. What follows its last convolutions is arranged for speed alone: class maps are added
up at half resolution, and values stay planar, because turning 24 interleaved float32 maps around takes as long as a
convolution.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.arithmetic import import_openvino
from wsiparse.recognize.embedded.compact import FOLD, PLAIN_MAPS, CompactNetwork, NetworkShape

if TYPE_CHECKING:
    import openvino

__all__ = ["OpenVinoMaps", "openvino_model"]

Weights = Mapping[str, NDArray[np.float32]]

_PRECISIONS: Final = {"float32": "f32", "bf16": "bf16"}


def openvino_model(network: CompactNetwork) -> openvino.Model:
    """The network as an OpenVINO model: (B, H, W, 3) uint8 in, foreground, centre and boundary, and class shares out.

    Parameters
    ----------
    network : without BatchNorm

    Returns
    -------
    A model of one or two outputs, (B, 3, H, W) and, with classes, (B, C, H, W), float32; H and W multiples of 16
    """
    weights = {name: tensor.float().cpu().contiguous().numpy() for name, tensor in network.state_dict().items()}
    return _Builder(weights, network.shape).model()


class _Builder:
    """Operations of one network; every method takes and returns nodes of OpenVINO."""

    def __init__(self, weights: Weights, shape: NetworkShape) -> None:
        self._openvino = import_openvino()
        self._op = self._openvino.opset13
        self._weights, self._shape = weights, shape

    def model(self) -> openvino.Model:
        op, classes, cells = self._op, self._shape.classes, FOLD * FOLD
        pixels = op.parameter([-1, -1, -1, 3], self._openvino.Type.u8)
        x = op.transpose(op.convert(pixels, "f32"), [0, 3, 1, 2])
        x = op.subtract(op.multiply(x, np.float32(1 / 127.5)), np.float32(1))
        quarter, half = self._body(op.space_to_depth(x, "depth_first", FOLD))
        weight, bias = self._weights["head.weight"], self._weights["head.bias"]
        plain = self._conv(half, weight[: PLAIN_MAPS * cells], bias[: PLAIN_MAPS * cells])
        if not classes:
            return self._openvino.Model([op.sigmoid(op.depth_to_space(plain, "depth_first", FOLD)).output(0)], [pixels])
        named = self._conv(half, weight[PLAIN_MAPS * cells :], bias[PLAIN_MAPS * cells :])
        coarse, level = (np.repeat(self._weights[f"coarse_head.{name}"], cells, 0) for name in ("weight", "bias"))
        named = op.add(named, self._enlarged(self._conv(quarter, coarse, level)))
        # (B, maps, cells, h, w) is planar, whatever the convolutions like
        shape = op.shape_of(plain)
        batch, size = (op.gather(shape, np.array(axes), np.int64(0)) for axes in ([0], [2, 3]))

        def planar(node: Any, maps: int) -> Any:
            return op.reshape(node, op.concat([batch, np.array([maps, cells]), size], 0), False)

        both = op.concat([planar(plain, PLAIN_MAPS), op.softmax(planar(named, classes), 1)], 1)
        flat = op.concat([batch, np.array([(PLAIN_MAPS + classes) * cells]), size], 0)
        maps = op.depth_to_space(op.reshape(both, flat, False), "depth_first", FOLD)
        first, rest = op.variadic_split(maps, 1, [PLAIN_MAPS, classes]).outputs()
        return self._openvino.Model([op.sigmoid(first).output(0), rest], [pixels])

    def _body(self, x: Any) -> tuple[Any, Any]:
        """Features at 1/4 and 1/2 of the resolution, from folded pixels at 1/2."""
        op = self._op
        s0 = self._convs(x, "enc0")
        s1 = self._convs(self._pooled(s0), "enc1")
        s2 = self._convs(self._pooled(s1), "enc2")
        x = self._convs(self._pooled(s2), "enc3")
        x = self._convs(op.add(s2, self._enlarged(self._named(x, "up0"))), "dec0")
        quarter = self._convs(op.add(s1, self._enlarged(self._named(x, "up1"))), "dec1")
        half = self._convs(op.add(s0, self._enlarged(self._named(quarter, "up2"))), "dec2")
        return quarter, half

    def _convs(self, x: Any, stem: str) -> Any:
        """All 3 x 3 convolutions of a level, ReLU behind each."""
        k = 0
        while f"{stem}.{k}.conv.weight" in self._weights:
            x = self._op.relu(self._named(x, f"{stem}.{k}.conv"))
            k += 1
        return x

    def _named(self, x: Any, name: str) -> Any:
        return self._conv(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _conv(self, x: Any, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        op, pad = self._op, weight.shape[2] // 2
        kernel = op.constant(np.ascontiguousarray(weight))
        y = op.convolution(x, kernel, [1, 1], [pad, pad], [pad, pad], [1, 1])
        return op.add(y, op.constant(np.ascontiguousarray(bias).reshape(1, -1, 1, 1)))

    def _pooled(self, x: Any) -> Any:
        """The largest of every 2 x 2."""
        return self._op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], "floor", "explicit", "i64", 0).output(0)

    def _enlarged(self, x: Any) -> Any:
        """Twice as large, every value repeated."""
        op, none = self._op, [0] * 4
        scale, axes = op.constant(np.array([2, 2], np.float32)), op.constant(np.array([2, 3]))
        return op.interpolate(x, scale, "nearest", "scales", none, none, "asymmetric", "floor", axes=axes)


class OpenVinoMaps:
    """Maps of images by OpenVINO; stands where a `CompactNetwork` would.

    Every thread has its own copy, on one core: workers are threads, and each takes one. Images go one by one, so the
    same image gives the same numbers whatever else is in the batch; so does every size that shows the same pixels.

    Parameters
    ----------
    network : without BatchNorm
    precision : "float32" | "bf16"

    Attributes
    ----------
    shape : shape of the network
    """

    def __init__(self, network: CompactNetwork, precision: str) -> None:
        self.shape = network.shape
        self._openvino = import_openvino()
        self._core = self._openvino.Core()
        self._model = openvino_model(network)
        self._settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],  # some processors would take bf16 or fp16 unasked
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # or all processes of a machine would sit on its first core
        }
        self._own = threading.local()

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps of a batch.

        Parameters
        ----------
        images : (B, H, W, 3) uint8, H and W multiples of 16

        Returns
        -------
        (B, 3 + classes, H, W) float32, 0-1
        """
        request = self._request()
        maps = np.empty((len(images), self.shape.maps, *images.shape[1:3]), np.float32)
        for k in range(len(images)):
            # named: OpenVINO does not keep it alive
            image = np.require(images[k : k + 1], requirements=["C_CONTIGUOUS", "WRITEABLE"])
            request.set_input_tensor(self._tensor(image))
            request.set_output_tensor(0, self._tensor(maps[k : k + 1, :PLAIN_MAPS]))
            if self.shape.classes:
                request.set_output_tensor(1, self._tensor(maps[k : k + 1, PLAIN_MAPS:]))
            request.infer()
        return maps

    def _tensor(self, array: NDArray[Any]) -> openvino.Tensor:
        """The same memory, C-contiguous, as OpenVINO sees it."""
        return self._openvino.Tensor(array, shared_memory=True)

    def _request(self) -> openvino.InferRequest:
        """The calling thread's own."""
        found = getattr(self._own, "request", None)
        if found is None:
            compiled = self._core.compile_model(self._model, "CPU", self._settings)
            found = self._own.request = compiled.create_infer_request()
        return found
