from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsiparse.slides.synthetic import paint_he

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "evaluate_failures.py"


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of one set of a painted tile whose nuclei two are said to be, and of a region of its glass."""
    root = tmp_path_factory.mktemp("sets")
    folder = root / "cpm15"
    folder.mkdir()
    field = paint_he(320, 288, seed=4)
    labels = field.labels.copy()
    # one annotation drawn over two nuclei far apart from all others: cut for certain
    ids = np.unique(labels[labels > 0])
    labels[labels == ids[1]] = ids[0]
    Image.fromarray(field.image).save(folder / "a_20x.png")
    Image.fromarray(labels.astype(np.uint16)).save(folder / "a_20x.label.png")
    slide = root / "glass.png"
    Image.fromarray(np.vstack([field.image, np.full((64, 320, 3), 242, np.uint8)])).save(slide, dpi=(50800, 50800))
    square = [[0, 300], [320, 300], [320, 350], [0, 350], [0, 300]]
    whole = [[0, 0], [320, 0], [320, 288], [0, 288], [0, 0]]
    for name, ring in (("glass", square), ("tissue", whole)):
        feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        (root / f"{name}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    out: list[str] = []
    for name in ("glass", "tissue"):
        run = subprocess.run(
            [sys.executable, SCRIPT, root, "--engine", "classical", "--bare", slide, root / f"{name}.geojson"],
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert run.returncode == 0, run.stderr
        out += run.stdout.splitlines()
    return out


def number(lines: list[str], pattern: str) -> float:
    found = [m[1] for line in lines if (m := re.search(pattern, line))]
    assert found, lines
    return float(found[0])


def test_a_nucleus_of_two_pieces_counts_as_cut(lines: list[str]) -> None:
    assert number(lines, r"thin +(\d+) nuclei") >= 1, "two discs apart are long and thin together"
    assert number(lines, r"thin .* cut (\d+\.\d) %") > 0


def test_blur_costs_and_no_blur_does_not(lines: list[str]) -> None:
    sharp, soft = (number(lines, rf"blur {n} px: F1 (\d\.\d+)") for n in (0, 3))
    assert sharp > 0.85
    assert soft < sharp


def test_pens_are_six_and_glass_is_bare(lines: list[str]) -> None:
    ink = next(line for line in lines if " ink " in line)
    assert re.findall(r"(\w+) \d+", ink.split("ink", 1)[1]) == ["black", "blue", "green", "red", "violet", "brown"]
    assert number([line for line in lines if " bare " in line][:1], r"(\d+) per mm2") == 0
    assert number([line for line in lines if " bare " in line][1:], r"(\d+) per mm2") > 500
