from __future__ import annotations

from pathlib import Path

import pytest

from tests.hpc.runs import SETTINGS, digests, run
from wsiparse.slides.synthetic import paint_he, write_svs

#: Run by tests in a process of its own, with the shim that it arms.
collect_ignore = ["faulty.py"]


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of five chunks."""
    path = tmp_path_factory.mktemp("hpc") / "slide.svs"
    write_svs(path, paint_he(1280, 960, seed=11).image)
    return path


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, slide: Path) -> dict[str, str]:
    """Digests of the results of one plain serial run."""
    results = tmp_path_factory.mktemp("undisturbed")
    done = run(slide, "-o", results, "--scheduler", "serial", *SETTINGS)
    assert done.returncode == 0, done.stderr
    found = digests(results)
    assert any(name.endswith("cells.geojson.gz") for name in found)
    return found
