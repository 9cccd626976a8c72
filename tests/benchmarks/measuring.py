"""What benchmarks share: whether they measure or only run, and how much memory a process took at most."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import pytest


def measuring(config: pytest.Config) -> bool:
    """Whether figures are wanted (``--benchmark-enable``); otherwise a benchmark only shows that it runs."""
    return bool(config.getoption("benchmark_enable") or not config.getoption("benchmark_disable"))


def peak_rss_bytes() -> int:
    """Most memory this process has had resident since it was started.

    Linux: VmHWM. The rusage figure survives fork and exec there, so that a small child of a large test run reports
    its parent's size.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        if found is not None:
            return int(found.group(1)) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
