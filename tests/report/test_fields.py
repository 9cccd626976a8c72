"""How many random fields are enough, against drawing them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.report.patterns import Pattern, irregular_tissue, surface
from wsiparse.report.stats.fields import fields_needed
from wsiparse.report.stats.tissue import Tissue


def filled(points: np.ndarray, tissue: Tissue, edge: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts and areas of fields at least half full, from scratch."""
    x0, y0, x1, y1 = tissue.bounds_um
    xs, ys = np.arange(x0, x1 + edge, edge), np.arange(y0, y1 + edge, edge)
    n, _, _ = np.histogram2d(points[:, 1], points[:, 0], [ys, xs])
    row, column = np.nonzero(tissue.mask)
    area, _, _ = np.histogram2d((row + 0.5) * 8, (column + 0.5) * 8, [ys, xs])
    full = area * 64 >= edge**2 / 2
    return n[full], area[full] * 64e-6


@pytest.mark.parametrize(("kind", "clusters"), [("flat", 0), ("hot", 0), ("flat", 15)])
def test_so_many_fields_lie_within_the_share_95_times_of_100(kind: str, clusters: int) -> None:
    tissue = irregular_tissue(9.6, 8.0, 5)  # of 8 um: fields of 400 um are whole cells
    random = np.random.default_rng(1)
    points = Pattern(tissue, surface(tissue, kind, 300.0), clusters, 40.0).draw(random)
    found = fields_needed(points, tissue, field_um=400.0, within=0.2)
    n, area = filled(points, tissue, 400.0)
    assert found.on_slide == len(n)
    assert found.per_mm2 == pytest.approx(n.sum() / area.sum())
    assert found.needed is not None
    chosen = [random.permutation(len(n))[: found.needed] for _ in range(4000)]
    off = np.array([n[k].sum() / area[k].sum() for k in chosen]) / found.per_mm2 - 1
    if found.needed > 10:
        assert np.mean(np.abs(off) <= 0.2) == pytest.approx(0.95, abs=0.025)
    else:
        assert np.mean(np.abs(off) <= 0.2) >= 0.94
    ten = np.array([n[k].sum() / area[k].sum() for k in (random.permutation(len(n))[:10] for _ in range(4000))])
    assert found.of_ten == pytest.approx(ten.std() / found.per_mm2, rel=0.1)
    assert found.mm2 == pytest.approx(found.needed * area.mean())


def test_where_nothing_can_be_said_the_reason_is() -> None:
    tissue = irregular_tissue(4.0, 3.0, 1)
    nothing = np.zeros((0, 2))
    assert fields_needed(nothing, tissue, field_um=250.0).reason == "none found"
    small = fields_needed(nothing, tissue, field_um=2000.0)
    assert "20 are needed" in small.reason
    assert small.needed is None
    empty = Tissue(np.zeros((4, 4), np.bool_), (8.0, 8.0), (32.0, 32.0))
    assert fields_needed(nothing, empty, field_um=250.0).reason == "no tissue was analysed"


def test_tissue_that_is_the_same_everywhere_needs_the_least_sample() -> None:
    tissue = Tissue(np.ones((250, 250), np.bool_), (8.0, 8.0), (2000.0, 2000.0))
    grid = np.stack(np.meshgrid(np.arange(20, 2000, 40.0), np.arange(20, 2000, 40.0)), -1).reshape(-1, 2)
    found = fields_needed(grid, tissue, field_um=400.0)
    assert found.needed == 10
    assert found.of_ten == pytest.approx(0.0, abs=1e-12)
    assert math.isclose(found.per_mm2 or 0, 625.0)
