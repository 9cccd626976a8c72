from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.controller import Slurm, reason_not_to, running_slurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A controller with one node of two cores, up for the whole session of tests."""
    reason = reason_not_to()
    if reason is not None:
        pytest.skip(reason)
    with running_slurm() as up:
        yield up
