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
from wsiparse.types import ObjectTable, PromptSet

__all__ = ["NAMESPACE", "object_ids"]

#: The namespace of all ids of this program.
NAMESPACE: Final = uuid.UUID("569b58dc-63bf-4ddb-8aee-4245b654dbce")


def object_ids(table: ObjectTable, prompts: PromptSet, fingerprint: str) -> NDArray[np.uint8]:
    """The ids of all objects of a table that `wsiparse.store.tables.checked` returned.

    Of all rotations of a shell and its reverse, the one that is smallest when vertices are compared by y, then x, is
    hashed; for crack polygons: from the upper left corner of the first pixel in raster order along its upper edge.

    Parameters
    ----------
    table : checked
    prompts : class id - 1 is the position in it
    fingerprint : fingerprint of the slide

    Returns
    -------
    (N, 16) uint8, the bytes of each UUID
    """
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
