"""Is this machine ready? Each check says what it found and, where that is not good, what to do.

Nothing here decides anything: a run takes what it finds in its own way. A check never raises; what keeps it from
looking is what it reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from wsiparse.doctor.check import Check, State
from wsiparse.doctor.machine import check_arithmetic, check_cores, check_gpus, check_memory, check_scheduler
from wsiparse.doctor.places import check_compile_cache, check_folder, check_hub_cache, check_temporary
from wsiparse.doctor.selftest import self_test
from wsiparse.doctor.software import check_packages, check_python, check_readers
from wsiparse.doctor.weights import check_embedded, check_hub, check_weights

__all__ = ["Check", "State", "examine"]


def examine(
    results: Path, environment: Mapping[str, str], *, offline: bool = False, trial: bool = True
) -> Iterator[Check]:
    """All checks, each as soon as it is made.

    Parameters
    ----------
    results : where results would go; need not exist
    environment : variables of the process
    offline : ask nothing of the network
    trial : analyse a small generated slide at the end
    """
    yield check_python()
    yield from check_packages()
    yield from check_readers()
    yield check_embedded()
    yield from check_weights()
    yield check_hub(environment, offline=offline)
    yield from check_gpus(environment)
    yield from check_arithmetic()
    yield check_cores(environment)
    yield check_memory()
    yield from check_folder("results", results)
    yield from check_temporary()
    yield check_compile_cache(environment)
    yield check_hub_cache(environment)
    yield from check_scheduler(environment)
    if trial:
        yield self_test()
