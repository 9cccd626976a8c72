"""Worker processes for the GPUs of a machine: each sees its own GPU first, and takes one chunk at a time.

No GPU is needed: what a process is told is looked at, not what it computes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from distributed import LocalCluster

from wsiparse.machine import available_cores
from wsiparse.parallel.clusters import RESOURCE
from wsiparse.parallel.dask import DaskExecutor, open_executor


class _CudaCluster(LocalCluster):  # type: ignore[misc]
    """What dask-cuda's cluster makes of its arguments (version 26.10), without looking for GPUs."""

    made: list[dict[str, Any]] = []  # noqa: RUF012  (emptied by every test)

    def __init__(
        self,
        CUDA_VISIBLE_DEVICES: str,
        n_workers: int,
        threads_per_worker: int,
        memory_limit: int,
        device_memory_limit: int | None,
        **kwargs: Any,
    ) -> None:
        self.made.append({"memory_limit": memory_limit, "device_memory_limit": device_memory_limit, **kwargs})
        self._gpus = CUDA_VISIBLE_DEVICES.split(",")
        super().__init__(
            n_workers=0, threads_per_worker=threads_per_worker, memory_limit=memory_limit, processes=True, **kwargs
        )
        self.scale(n_workers)

    def new_worker_spec(self) -> dict[str, Any]:
        k = len(self.worker_spec)
        options = self.new_spec["options"] | {
            "env": {"CUDA_VISIBLE_DEVICES": ",".join(self._gpus[k:] + self._gpus[:k])}
        }
        return {self._gpus[k]: {"cls": self.new_spec["cls"], "options": options}}


def _told() -> list[str]:
    return [os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")]


def _workers(gpus: Sequence[str], workers: int | None) -> list[list[str]]:
    """What the workers are told: GPUs they see, threads of two libraries."""
    with open_executor("local", workers, dict, gpus=gpus) as executor:
        assert isinstance(executor, DaskExecutor)
        client = executor._client
        resources = client.run(lambda dask_worker: dict(dask_worker.state.total_resources))
        assert all(held == {RESOURCE: 1} for held in resources.values())
        return sorted(client.run(_told).values())


@pytest.fixture
def without_threads_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        monkeypatch.delenv(f"{library}_NUM_THREADS", raising=False)


@pytest.mark.usefixtures("without_threads_set")
@pytest.mark.parametrize("workers", [None, 1])
@pytest.mark.parametrize("installed", [False, True])
def test_every_process_sees_its_own_gpu_first(
    monkeypatch: pytest.MonkeyPatch, installed: bool, workers: int | None
) -> None:
    monkeypatch.setattr(_CudaCluster, "made", [])
    module = ModuleType("dask_cuda")
    module.LocalCUDACluster = _CudaCluster  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_cuda", module if installed else None)
    found = _workers(("GPU-a", "5"), workers)
    n = workers or 2
    threads = str(max(1, available_cores() // n))
    assert {visible.split(",")[0] for visible, *_ in found} == set(("GPU-a", "5")[:n])
    assert len(found) == n
    assert [told[1:] for told in found] == [[threads, threads]] * n
    assert len(_CudaCluster.made) == installed
    for made in _CudaCluster.made:
        assert made["device_memory_limit"] is None, "nothing is spilled"
        assert made["data"] is dict


def test_a_dask_cuda_that_cannot_be_imported_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    # as installed without CUDA's bindings: the package is there, and a module it wants is not
    monkeypatch.setitem(sys.modules, "dask_cuda", ModuleType("dask_cuda"))
    assert [told[0] for told in _workers(("3",), None)] == ["3"]
