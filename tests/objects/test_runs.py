"""Runs of label images: which part of its label each belongs to."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.objects.runs import label_parts, runs_of


@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)))
def test_parts_of_labels_are_their_connected_components(labels: NDArray[np.int32]) -> None:
    y, x0, x1, value = runs_of(labels)
    if not len(y):
        return
    order = np.argsort(value, kind="stable")
    part, n = label_parts(value[order], y[order], x0[order], x1[order])
    found = np.zeros(labels.shape, np.int64)
    for k, i in enumerate(order.tolist()):
        found[y[i], x0[i] : x1[i]] = part[k] + 1
    expected, before = np.zeros(labels.shape, np.int64), 0
    for label in range(1, 4):
        own, count = ndimage.label(labels == label)
        expected[own > 0] = own[own > 0] + before
        before += count
    assert n == before
    np.testing.assert_array_equal(found, expected)
