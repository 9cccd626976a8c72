"""Names that objects keep: UUIDv5 (RFC 9562) of slide, class and outline.

The name that is hashed is, in bytes: the slide fingerprint in UTF-8, a line feed, the class name in UTF-8, a line feed,
and the canonical shell as little-endian int32 pairs x, y in field px. So the same object has the same id in every run
over the same slide at the same scale, whatever the tiling, and in every output file.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.store.kernels import canonical_shells
from wsiparse.store.tables import checked
from wsiparse.types import ObjectTable, PromptSet

__all__ = ["NAMESPACE", "canonical_ring", "object_id", "object_ids"]

#: The namespace of all ids of this program.
NAMESPACE: Final = uuid.UUID("569b58dc-63bf-4ddb-8aee-4245b654dbce")


def canonical_ring(ring: NDArray[np.integer]) -> NDArray[np.int32]:
    """One and the same vertex sequence for every start and direction in which a closed ring can be written.

    Of all rotations of the ring and its reverse, the one that is smallest when vertices are compared by y, then x.
    For crack polygons: from the upper left corner of the first pixel in raster order along its upper edge.

    Parameters
    ----------
    ring : (n + 1, 2) of an integer dtype, x then y, px; last vertex equal to the first

    Returns
    -------
    (n, 2) int32, open (the first vertex is not repeated)

    Raises
    ------
    ValueError
        If the ring is not closed, not (n, 2), or does not fit in int32.
    """
    ring = np.asarray(ring)
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 2 or not np.array_equal(ring[0], ring[-1]):
        raise ValueError(f"a ring is a closed (n, 2) array of vertices, got shape {ring.shape}")
    if ring.dtype.kind not in "iu" or ring.min() < -(1 << 31) or ring.max() >= 1 << 31:
        raise ValueError("ring coordinates must be whole numbers within int32")
    coords = np.require(ring, np.int32, ["C", "W"])
    offsets = np.array([0, len(ring)], np.int64)
    return canonical_shells(coords, offsets, np.array([0, 1], np.int64))[0]


def object_id(fingerprint: str, class_name: str, ring: NDArray[np.integer]) -> uuid.UUID:
    """The id of one object from its shell.

    Parameters
    ----------
    fingerprint : of the slide
    class_name : of the object
    ring : (n + 1, 2) of an integer dtype, x then y, field px, closed

    Raises
    ------
    ValueError
        As `canonical_ring`.
    """
    name = f"{fingerprint}\n{class_name}\n".encode() + canonical_ring(ring).astype("<i4").tobytes()
    return uuid.UUID(bytes=hashlib.sha1(NAMESPACE.bytes + name).digest()[:16], version=5)


def object_ids(table: ObjectTable, prompts: PromptSet, fingerprint: str) -> NDArray[np.uint8]:
    """The ids of all objects of a table.

    Returns
    -------
    (N, 16) uint8, the bytes of each UUID

    Raises
    ------
    ValueError
        If the table cannot be used (see `wsiparse.store.tables.checked`).
    """
    return ids_of_checked(checked(table, prompts), prompts, fingerprint)


def ids_of_checked(table: ObjectTable, prompts: PromptSet, fingerprint: str) -> NDArray[np.uint8]:
    """`object_ids` of a table that `wsiparse.store.tables.checked` returned."""
    shells, offsets = canonical_shells(table.coords, table.ring_offsets, table.polygon_offsets)
    data = shells.astype("<i4", copy=False).data.cast("B") if len(shells) else memoryview(b"")
    stops = (offsets * 8).tolist()
    seeds = [hashlib.sha1(NAMESPACE.bytes + f"{fingerprint}\n{prompt.class_name}\n".encode()) for prompt in prompts]
    digests = bytearray()
    for k, class_id in enumerate(table.class_id.tolist()):
        digest = seeds[class_id - 1].copy()
        digest.update(data[stops[k] : stops[k + 1]])
        digests += digest.digest()[:16]
    ids = np.frombuffer(digests, np.uint8).reshape(len(table), 16)
    ids[:, 6] = ids[:, 6] & 0x0F | 0x50  # version 5
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80  # RFC 9562 variant
    return ids
