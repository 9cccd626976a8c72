"""What benchmarks share: whether they measure or only run."""

from __future__ import annotations

import pytest


def measuring(config: pytest.Config) -> bool:
    """Whether figures are wanted (``--benchmark-enable``); otherwise a benchmark only shows that it runs."""
    return bool(config.getoption("benchmark_enable") or not config.getoption("benchmark_disable"))
