"""What an ONNX file claims, before any library reads it: its inputs, its tensors, and the files of data it points to.

An ONNX file is one Protocol Buffers message (field numbers: onnx.proto of the ONNX specification; wire format:
protobuf.dev, "Encoding"). Only the few fields named here are looked at; all others are skipped. A tensor that claims
more than the file holds, or that lies in another folder, would have a library take memory or files that are none of the
model's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["DamagedOnnxError", "ExternalData", "OnnxFacts", "read_onnx"]

#: Messages inside messages: graphs of loops and branches; no model has so many.
_DEEPEST: Final = 40

#: Field numbers.
_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_NODE_TYPE, _NODE_ATTRIBUTE, _FUNCTION_NODE = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 2, 8, 9, 13, 14

#: Operations that normalise by, or average over, the whole picture.
_OVER_TILE: Final = frozenset({"InstanceNormalization", "GroupNormalization", "GlobalAveragePool", "GlobalMaxPool"})

#: TensorProto.DataType -> bits of an element; 8 for those that are not named.
_BITS: Final = {
    1: 32, 4: 16, 5: 16, 6: 32, 7: 64, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16, 21: 4, 22: 4, 23: 4,
}  # fmt: skip


class DamagedOnnxError(ValueError):
    """The bytes are no ONNX model, or claim what they do not hold; the text says which."""


@dataclass(frozen=True, slots=True)
class ExternalData:
    """Where a tensor's numbers lie.

    Parameters
    ----------
    file : as the model names it
    offset, length : bytes
    """

    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What a model says of itself.

    Parameters
    ----------
    inputs : name and shape of each, None for a side of any length
    outputs : how many
    external : tensors in other files
    over_tile : operations that take means over the whole picture, so that a pixel's answer depends on all others
    """

    inputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    outputs: int
    external: tuple[ExternalData, ...]
    over_tile: tuple[str, ...] = ()


def read_onnx(content: bytes) -> OnnxFacts:
    """Facts of a model.

    Parameters
    ----------
    content : the file

    Raises
    ------
    DamagedOnnxError
        If it is no ONNX model, or one of its tensors claims another size than it has.
    """
    whole = memoryview(content)
    graphs = [value for field, value in _fields(whole) if field == _MODEL_GRAPH and isinstance(value, memoryview)]
    if len(graphs) != 1:
        raise DamagedOnnxError("it is no ONNX model (no graph in it)")
    external: list[ExternalData] = []
    tensors = list(_tensors_of_model(whole))
    for tensor in tensors:
        found = _checked_tensor(tensor)
        if found is not None:
            external.append(found)
    weights = {_name(t, _TENSOR_NAME) for field, t in _messages(graphs[0]) if field == _GRAPH_INITIALIZER}
    shapes = [_named_shape(value) for field, value in _messages(graphs[0]) if field == _GRAPH_INPUT]
    outputs = sum(field == _GRAPH_OUTPUT for field, _ in _messages(graphs[0]))
    nodes = (value for field, value in _messages(graphs[0]) if field == _GRAPH_NODE)
    over_tile = tuple(sorted(_OVER_TILE.intersection(_name(node, _NODE_TYPE) for node in nodes)))
    return OnnxFacts(tuple(one for one in shapes if one[0] not in weights), outputs, tuple(external), over_tile)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Field number and value of each field: bytes of the length-delimited ones, an int of all others."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield field, value
        elif kind == 2:
            length, at = _varint(message, at)
            if field == 0 or at + length > end:
                raise DamagedOnnxError("it is no ONNX model, or cut off")
            yield field, message[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
            if at > end:
                raise DamagedOnnxError("it is no ONNX model, or cut off")
        else:
            raise DamagedOnnxError("it is no ONNX model")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise DamagedOnnxError("it is no ONNX model, or cut off")
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    for field, value in _fields(message):
        if isinstance(value, memoryview):
            yield field, value


def _name(message: memoryview, wanted: int) -> str:
    return next((bytes(v).decode("utf-8", "replace") for field, v in _messages(message) if field == wanted), "")


def _tensors_of_model(model: memoryview) -> Iterator[memoryview]:
    for field, value in _messages(model):
        if field == _MODEL_GRAPH:
            yield from _tensors_of_graph(value, 0)
        elif field == _MODEL_FUNCTION:
            for inner, node in _messages(value):
                if inner == _FUNCTION_NODE:
                    yield from _tensors_of_node(node, 0)


def _tensors_of_graph(graph: memoryview, depth: int) -> Iterator[memoryview]:
    if depth > _DEEPEST:
        raise DamagedOnnxError("its graphs lie in one another without end")
    for field, value in _messages(graph):
        if field == _GRAPH_INITIALIZER:
            yield value
        elif field == _GRAPH_SPARSE:
            yield from _parts_of_sparse(value)
        elif field == _GRAPH_NODE:
            yield from _tensors_of_node(value, depth)


def _tensors_of_node(node: memoryview, depth: int) -> Iterator[memoryview]:
    for field, attribute in _messages(node):
        if field != _NODE_ATTRIBUTE:
            continue
        for inner, value in _messages(attribute):
            if inner in _ATTRIBUTE_TENSORS:
                yield value
            elif inner in _ATTRIBUTE_SPARSE:
                yield from _parts_of_sparse(value)
            elif inner in _ATTRIBUTE_GRAPHS:
                yield from _tensors_of_graph(value, depth + 1)


def _parts_of_sparse(sparse: memoryview) -> Iterator[memoryview]:
    """Values and indices of a sparse tensor."""
    return (value for field, value in _messages(sparse) if field in (1, 2))


def _checked_tensor(tensor: memoryview) -> ExternalData | None:
    """Where a tensor's data lie, None for inside the file; refused where its shape is not that of its data."""
    dims: list[int] = []
    kind, external, raw = 1, False, -1
    where: dict[str, str] = {}
    for field, value in _fields(tensor):
        if field == _TENSOR_DIMS:
            dims += [value] if isinstance(value, int) else list(_packed(value))
        elif field == _TENSOR_TYPE and isinstance(value, int):
            kind = value
        elif field == _TENSOR_LOCATION and isinstance(value, int):
            external = value == 1
        elif field == _TENSOR_RAW and isinstance(value, memoryview):
            raw = len(value)
        elif field == _TENSOR_EXTERNAL and isinstance(value, memoryview):
            where[_name(value, 1)] = _name(value, 2)
    claimed = -(-math.prod(dims) * _BITS.get(kind, 8) // 8)
    name = _name(tensor, _TENSOR_NAME) or "a constant"
    if external:
        try:
            offset, length = int(where.get("offset") or 0), int(where.get("length") or claimed)
        except ValueError as error:
            raise DamagedOnnxError(f"tensor '{name}' lies nowhere (offset {where.get('offset')!r})") from error
        if length != claimed or offset < 0:
            raise DamagedOnnxError(f"tensor '{name}' claims {_size(claimed)}, its data {_size(length)}")
        return ExternalData(where.get("location", ""), offset, length)
    # numbers that are not raw take at least a byte each, two of four bits share one
    held = raw if raw >= 0 else 16 * len(tensor)
    if (raw >= 0 and raw != claimed) or claimed > held:
        raise DamagedOnnxError(
            f"tensor '{name}' claims {_size(claimed)}, but the file holds {_size(min(held, len(tensor)))}"
        )
    return None


def _packed(value: memoryview) -> Iterator[int]:
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        yield number


def _size(n: int) -> str:
    return f"{n / 1e9:.3g} GB" if n >= 1e8 else f"{n} bytes"


def _named_shape(info: memoryview) -> tuple[str, tuple[int | None, ...]]:
    """Name and shape of a graph's input (ValueInfoProto)."""
    sides: list[int | None] = []
    for kind in _at(info, 2, 1, 2):
        for field, dimension in _messages(kind):
            if field == 1:
                known = [value for number, value in _fields(dimension) if number == 1 and isinstance(value, int)]
                sides.append(known[0] if known and 0 < known[0] < 1 << 31 else None)
    return _name(info, 1), tuple(sides)


def _at(message: memoryview, *path: int) -> Iterator[memoryview]:
    """The messages at a path of field numbers."""
    if not path:
        yield message
        return
    for field, value in _messages(message):
        if field == path[0]:
            yield from _at(value, *path[1:])
