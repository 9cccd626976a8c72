"""Named arrays and a few numbers as bytes with a checksum."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import FieldError

__all__ = ["pack", "unpack"]

#: Says what the bytes are and in which version of the layout.
_MAGIC: Final = b"wsiparse stitch 2\n"
_DIGEST: Final = hashlib.sha256().digest_size


def pack(facts: dict[str, Any], arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """Magic, SHA-256 of the rest, length of a JSON header, the header, the arrays one after the other.

    Parameters
    ----------
    facts : JSON values
    arrays : name to array, (...) of any dtype but object
    """
    listing = [[name, a.dtype.str, list(a.shape)] for name, a in arrays.items()]
    header = json.dumps({"facts": facts, "arrays": listing}, sort_keys=True).encode()
    body = b"".join(
        [len(header).to_bytes(8, "little"), header, *(np.ascontiguousarray(a).tobytes() for a in arrays.values())]
    )
    return _MAGIC + hashlib.sha256(body).digest() + body


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
    """The inverse of `pack`: facts, and name to array, (...) of the dtype it had.

    Raises
    ------
    FieldError
        If the bytes are not a checkpoint of this version, cut short or changed.
    """
    body = data[len(_MAGIC) + _DIGEST :]
    if not data.startswith(_MAGIC):
        raise FieldError(
            f"stitch checkpoint: expected it to start with {_MAGIC!r}, found {data[: len(_MAGIC)]!r}. "
            "Delete the checkpoint and run again; stored field parts are used."
        )
    if hashlib.sha256(body).digest() != data[len(_MAGIC) : len(_MAGIC) + _DIGEST]:
        raise FieldError(
            f"stitch checkpoint: checksum mismatch in {len(data)} bytes, so it was cut short or changed. "
            "Delete the checkpoint and run again; stored field parts are used."
        )
    at = 8 + int.from_bytes(body[:8], "little")
    header = json.loads(body[8:at])
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, dtype, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(body, np.dtype(dtype), count, at).reshape(shape)
        at += arrays[name].nbytes
    return header["facts"], arrays
