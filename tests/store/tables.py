"""Small object tables with holes, touching corners and every column filled, for the tests of the writers."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.coords import Frame
from wsiparse.objects.table import build_table
from wsiparse.types import ObjectTable, Prompt, PromptSet

PROMPTS = PromptSet(
    (
        Prompt("nuclei", 'Nucleus "A"\\B', "#ff8000"),
        Prompt("tumour area", "Tumour Ä 腫瘍", "#0000ff", kind="region"),
        Prompt("inflammatory cells", "Inflammatory", "#00a050"),
    )
)
FRAME = Frame((4096, 4096), (2.0, 2.0), (0.5, 0.5))
ENGINE = "exact test engine"
SLIDE = {"fingerprint": "0f1e", "size": [8192, 8192], "bounds": [0, 0, 8192, 8192]}


def table_of(mask: NDArray[np.bool_], *, origin: tuple[int, int] = (0, 0), seed: int = 0) -> ObjectTable:
    """The 4-connected components of a mask as objects with made-up classes and scores."""
    labels, n = ndimage.label(mask)
    rng = np.random.default_rng(seed)
    shape = labels.shape
    classes = rng.choice(np.array([1, 3], np.uint8), n + 1)[labels]
    confidence, od = rng.integers(1, 256, shape).astype(np.uint8), rng.integers(0, 242, shape).astype(np.uint8)
    table = build_table(labels.astype(np.int32), n, classes, confidence, len(PROMPTS), origin=origin, od=od)
    return replace(table, class_share=table.class_share[:, [0, 2]])


def blobs(size: int = 96, *, seed: int = 0, origin: tuple[int, int] = (0, 0)) -> ObjectTable:
    """A few dozen irregular objects, some with holes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 1.6)
    return table_of(noise > 0.05, origin=origin, seed=seed)


def regions(seed: int = 0) -> ObjectTable:
    """Large objects with holes, of the region prompt, without class shares."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(64, 64)), 2.5)
    table = table_of(noise > -0.02, seed=seed)
    return replace(table, class_id=np.full(len(table), 2, np.uint8), class_share=np.zeros((len(table), 0), np.float32))


def masks(most: int = 12) -> st.SearchStrategy[NDArray[np.bool_]]:
    """Arbitrary small masks with at least one pixel."""
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=most)
    return hnp.arrays(np.bool_, shapes).filter(lambda mask: bool(mask.any()))


def same(a: ObjectTable, b: ObjectTable) -> bool:
    """Are all columns equal, types included?"""
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(ObjectTable)]
    return all(x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)
