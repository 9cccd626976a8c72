"""Six painted slides with known infiltrate, margin and aggregates, from objects.zarr to the page over all of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import shapely

from tests.report.slides_made import CONNECTIVE, INFLAMMATORY, MPP, NEOPLASTIC, Content, write_slide
from wsiparse.report.cohort import read_metadata, write_cohort_report
from wsiparse.report.stats.tissue import Tissue

#: Size, um; x of the border of tumour; immune cells per mm2 in stroma of each slide, and in tumour.
WIDTH, HEIGHT, BORDER = 3200.0, 2000.0, 1200.0
IN_STROMA, IN_TUMOUR = (150, 300, 600, 900, 1400, 2000), 80.0
#: Mean area of a painted nucleus: edges of 6 to 15 px of 0.5 um.
NUCLEUS_UM2 = 10.5**2 * MPP**2
RADIUS, PACKED = 150.0, 9000.0


def strewn(random: np.random.Generator, per_mm2: float, x0: float, x1: float) -> np.ndarray:
    n = random.poisson(per_mm2 * (x1 - x0) * HEIGHT * 1e-6)
    return random.uniform((x0, 0), (x1, HEIGHT), (n, 2))


def centres(k: int) -> list[tuple[float, float]]:
    """Slide k has k // 2 aggregates, far from the border."""
    return [(2500.0, 500.0 + 900 * j) for j in range(k // 2)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    tissue = Tissue(np.ones((250, 400), np.bool_), (8.0, 8.0), (WIDTH, HEIGHT))
    px = np.array([BORDER, HEIGHT, WIDTH]) / MPP
    regions = [("Tumor", shapely.box(0, 0, px[0], px[1])), ("Stroma", shapely.box(px[0], 0, px[2], px[1]))]
    lines = ["slide,patient,sTIL (%)"]
    for k, per_mm2 in enumerate(IN_STROMA):
        random = np.random.default_rng(k)
        immune = [strewn(random, IN_TUMOUR, 0, BORDER), strewn(random, per_mm2, BORDER, WIDTH)]
        for centre in centres(k):
            n = random.poisson(PACKED * math.pi * RADIUS**2 * 1e-6)
            angle, r = random.uniform(0, 2 * math.pi, n), RADIUS * np.sqrt(random.uniform(0, 1, n))
            immune.append(np.array(centre) + np.stack([r * np.cos(angle), r * np.sin(angle)], 1))
        points = {
            INFLAMMATORY: np.concatenate(immune),
            NEOPLASTIC: strewn(random, 3000, 0, BORDER),
            CONNECTIVE: strewn(random, 1000, BORDER, WIDTH),
        }
        write_slide(folder, f"slide {k}", Content(tissue, points), seed=k, regions=regions)
        lines.append(f"slide {k},p{k},{occupied(k) * 3:.1f} %")
    table = folder / "patients.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert write_cohort_report(folder, read_metadata(table)) is not None
    return folder


def occupied(k: int) -> float:
    """Per cent of stroma that nuclei of immune cells fill."""
    stroma = (WIDTH - BORDER) * HEIGHT * 1e-6
    n = IN_STROMA[k] * stroma + len(centres(k)) * PACKED * math.pi * RADIUS**2 * 1e-6
    return 100 * n * NUCLEUS_UM2 * 1e-6 / stroma


def immune_of(results: Path, k: int) -> dict:
    (file,) = results.glob(f"slides/slide_{k}__*/report.json")
    return json.loads(file.read_text(encoding="utf-8"))["immune"]


@pytest.mark.parametrize("k", range(6))
def test_the_panel_is_what_was_painted(results: Path, k: int) -> None:
    panel = {row["key"]: row for row in immune_of(results, k)["panel"]}
    assert panel["stil_nuclei"]["estimate"] == pytest.approx(occupied(k), rel=0.08)
    assert panel["stil_cells"]["estimate"] > panel["stil_nuclei"]["estimate"]
    assert panel["margin_outside"]["estimate"] == pytest.approx(IN_STROMA[k], rel=0.2)
    assert panel["margin_inside"]["estimate"] == pytest.approx(IN_TUMOUR, rel=0.35)
    assert panel["itil"]["estimate"] == pytest.approx(IN_TUMOUR, rel=0.2)
    assert panel["ratio"]["estimate"] == pytest.approx(100 * (WIDTH - BORDER) / WIDTH, abs=0.01)
    assert (panel["hot_times"]["estimate"] > 2) == (k >= 2), "hot only where there are aggregates"


def test_all_intervals_but_a_few_hold_what_was_painted(results: Path) -> None:
    held = []
    for k in range(6):
        panel = {row["key"]: row for row in immune_of(results, k)["panel"]}
        for key, truth in (("stil_nuclei", occupied(k)), ("itil", IN_TUMOUR)):
            held.append(panel[key]["low"] < truth < panel[key]["high"])
    assert sum(held) >= 10, "of twelve intervals of 95 % more than two miss once in fifty times"


@pytest.mark.parametrize("k", range(6))
def test_aggregates_are_those_painted_and_pictured(results: Path, k: int) -> None:
    found = immune_of(results, k)["structures"]["aggregates"]
    assert found["n"] == found["n_candidates"] == len(centres(k))
    places = sorted(((one["x_um"], one["y_um"]) for one in found["listed"]), key=lambda place: place[1])
    for place, centre in zip(places, centres(k), strict=True):
        assert math.dist(place, centre) < 15
    for one in found["listed"]:
        assert one["mm2"] == pytest.approx(math.pi * RADIUS**2 * 1e-6, rel=0.2)
        assert one["picture"] == f"aggregate/{one['rank']}"
        assert one["apart_um"] == pytest.approx(2500 - RADIUS - BORDER, abs=40)


def test_density_jumps_at_the_border(results: Path) -> None:
    bands = immune_of(results, 5)["structures"]["by_distance"]
    for band in bands:
        truth = IN_TUMOUR if band["to_um"] <= 0 else IN_STROMA[5]
        assert band["per_mm2"] == pytest.approx(truth, rel=0.4 if band["to_um"] <= 0 else 0.2), band


def test_the_page_over_all_slides_holds_scores_and_the_next_study(results: Path) -> None:
    cohort = write_cohort_report(results)
    assert cohort is not None
    score = cohort["studies"]["score"]
    assert score["column"] == "sTIL (%)"
    one = score["measures"][0]
    assert one["concordance"]["spearman"] == pytest.approx(1.0)
    truth = [occupied(k) - round(3 * occupied(k), 1) for k in range(6)]
    assert one["bland_altman"]["bias"] == pytest.approx(np.mean(truth), rel=0.05)
    # measured is a third of scored: d = m - 3 m over (m + 3 m) / 2 has the slope -1
    assert one["bland_altman"]["slope"] == pytest.approx(-1, abs=0.05)
    rows = {(row["class"], row["compartment"]): row for row in cohort["studies"]["rows"]}
    own = rows["Inflammatory", "Stroma"]
    assert own["patients"] == 6
    assert own["needed"][-1]["n"] > 4
    assert own["cv_within_percent"] < own["cv_patients_percent"]
    assert len((results / "studies.csv").read_text(encoding="utf-8").splitlines()) > 20
