from __future__ import annotations

from pathlib import Path

import pytest

from tests.ask.cohort import painted_cohort
from wsiparse.ask.facts import AskedResults
from wsiparse.ask.read import read_asked


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The painted cohort; no test writes into it."""
    return painted_cohort(tmp_path_factory.mktemp("asked") / "results")


@pytest.fixture(scope="session")
def asked(cohort: Path) -> AskedResults:
    return read_asked(cohort)
