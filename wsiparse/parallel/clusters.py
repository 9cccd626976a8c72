"""Clusters of Dask workers: on this machine, of a batch system, or any that runs already."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from wsiparse.choices import Scheduler, words
from wsiparse.errors import ConfigError, SchedulerError
from wsiparse.machine import available_cores, available_memory_bytes, own_version

__all__ = ["RESOURCE", "TRIES", "check_versions", "client_of"]

#: What a worker may declare (``dask worker --resources recognise=1``) to get one chunk at a time, and all of them.
RESOURCE: Final = "recognise"

#: How often one item may lose its worker; the work itself gives up earlier where it knows the culprit.
TRIES: Final = 5

#: Seconds until a scheduler and its workers must have answered; jobs may wait in a queue for longer.
_CONNECT_S: Final = 10.0
_QUEUE_S: Final = 24 * 3600.0

#: Cores that one process can feed: the interpreter's own work does not scale beyond.
_CORES_A_PROCESS: Final = 4


#: Workers hold no results: nothing to spill, and memory is the operating system's view of it.
_SETTINGS: Final = {
    "distributed.scheduler.allowed-failures": TRIES,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.admin.log-length": 0,
    # pages about a cluster ask nobody who they are: what is started here has none
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


@contextmanager
def client_of(
    scheduler: str,
    workers: int | None,
    gpus: Sequence[str],
    slurm: Mapping[str, Any] | None,
    say: Callable[[str], None],
) -> Iterator[Any]:
    """A client of the cluster a scheduler name means, with at least one worker; what was started is stopped.

    Parameters
    ----------
    scheduler : "local", "slurm", or the address of a running Dask scheduler
    workers : processes or jobs; None for what the machine has
    gpus : names of the GPUs of this machine as CUDA_VISIBLE_DEVICES takes them; empty for work on the CPU
    slurm : settings of the batch system (see `wsiparse.config.SlurmConfig`)
    say : gets a line about what was started

    Raises
    ------
    ConfigError
        If the scheduler is unknown or needs a package that is not installed.
    SchedulerError
        If no scheduler or no worker answers.
    """
    import dask
    from distributed import Client

    with dask.config.set(_SETTINGS), ExitStack() as stack:
        cluster, wanted = _cluster(stack, scheduler, workers, gpus, slurm, say)
        try:
            client = stack.enter_context(Client(cluster, timeout=_CONNECT_S, set_as_default=False))  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as err:
            raise SchedulerError(
                f"{scheduler}: no Dask scheduler answers ({err}). Start one with `dask scheduler` and its workers with "
                "`dask worker`, or check the address."
            ) from err
        patience = _CONNECT_S if scheduler != "slurm" else float((slurm or {}).get("wait_s") or _QUEUE_S)
        try:
            client.wait_for_workers(wanted, timeout=patience)
        except TimeoutError as err:
            raise SchedulerError(
                f"{scheduler}: no worker came within {patience:.0f} s. Start workers (`dask worker ADDRESS`), or look "
                "at the queue and the job logs."
            ) from err
        yield client


def _cluster(
    stack: ExitStack,
    scheduler: str,
    workers: int | None,
    gpus: Sequence[str],
    slurm: Mapping[str, Any] | None,
    say: Callable[[str], None],
) -> tuple[Any, int]:
    """The cluster that a name means, or its address, and how many workers to wait for."""
    if "://" in scheduler:
        if scheduler.startswith("tls://"):
            _require_keys(scheduler)
        else:
            say(
                f"{scheduler}: this cluster takes code from everybody who reaches its ports. On a machine or "
                "network that is shared, use tls:// (see docs/hpc.md)"
            )
        return scheduler, 1
    if scheduler == "local":
        cluster = stack.enter_context(_local_cluster(workers, gpus, _own_keys()))
        n = len(cluster.workers)
        say(f"{n} worker processes, one for each {'GPU' if gpus else 'group of cores'}")
        return cluster, n
    if scheduler == "slurm":
        cluster = stack.enter_context(_slurm_cluster(dict(slurm or {}), _own_keys()))
        cluster.adapt(minimum_jobs=workers or 1, maximum_jobs=workers or 1)  # a job that dies is replaced
        say(f"{workers or 1} Slurm jobs asked for; waiting for the first worker")
        return cluster, 1
    raise ConfigError(
        f"scheduler '{scheduler}' is unknown: choose {', '.join(words(Scheduler))} or the address of a "
        "running Dask scheduler such as tls://host:8786."
    )


def _own_keys() -> Any:
    """A key pair of this run alone: whoever does not hold it cannot speak to its scheduler or workers.

    A Dask scheduler and its workers run what they are sent, and every user of a machine reaches its loopback ports.
    Both sides of a connection show the certificate (TLS); the key is in the memory of this process and of its workers.
    """
    from distributed.security import Security

    return Security.temporary()  # type: ignore[no-untyped-call]


def _require_keys(scheduler: str) -> None:
    """Refuse an address that wants a certificate where Dask's configuration names none."""
    from distributed.security import Security

    files = Security().get_tls_config_for_role("client")  # type: ignore[no-untyped-call]
    if None in (files["ca_file"], files["cert"], files["key"]):
        raise ConfigError(
            f"{scheduler}: no key to show. Name the cluster's files in Dask's configuration "
            "(distributed.comm.tls: ca-file, client.key, client.cert; see docs/hpc.md)."
        )


def _local_cluster(workers: int | None, gpus: Sequence[str], keys: Any) -> Any:
    """A cluster of processes on this machine: one a GPU, else groups of cores; each restarts when it dies."""
    from distributed import Nanny, Scheduler, SpecCluster

    cores = available_cores()
    n = min(workers or len(gpus), len(gpus)) if gpus else workers or max(1, cores // _CORES_A_PROCESS)
    threads = max(1, cores // n)
    memory = available_memory_bytes()  # shared with this process
    memory_limit = int(0.9 * memory / (n + 1)) if memory is not None else 0  # 0: no limit
    environment = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    if gpus:
        found = _cuda_cluster(gpus[:n], threads, memory_limit, environment, keys)
        if found is not None:
            return found
    listening = {"host": "127.0.0.1", "protocol": "tls://", "security": keys, "dashboard": False}
    listening |= {"dashboard_address": "127.0.0.1:0"}  # a server without any page
    options: dict[str, Any] = {
        **listening,
        "nthreads": threads,
        "memory_limit": memory_limit,
        "resources": {RESOURCE: 1},
        "silence_logs": logging.CRITICAL,  # an error of the work is told by who asked for it
    }
    pinned = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:n]] or [{}] * n
    spec = {k: {"cls": Nanny, "options": {**options, "env": environment | own}} for k, own in enumerate(pinned)}
    scheduler = {"cls": Scheduler, "options": {**listening, "port": 0}}
    return SpecCluster(spec, scheduler=scheduler, security=keys, silence_logs=logging.ERROR)  # type: ignore[no-untyped-call]


def _cuda_cluster(
    gpus: Sequence[str], threads: int, memory_limit: int, environment: Mapping[str, str], keys: Any
) -> Any | None:
    """The same of dask-cuda, which also keeps each process on the cores beside its GPU; None where it is missing.

    What it spills is switched off: workers hold no results.
    """
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError:
        return None

    class Workers(LocalCUDACluster):  # type: ignore[misc]
        def new_worker_spec(self) -> dict[Any, Any]:
            spec: dict[Any, Any] = super().new_worker_spec()
            for worker in spec.values():
                worker["options"]["env"].update(environment)
            return spec

    return Workers(
        CUDA_VISIBLE_DEVICES=",".join(gpus),
        n_workers=len(gpus),
        threads_per_worker=threads,
        memory_limit=memory_limit,
        device_memory_limit=None,
        data=dict,
        resources={RESOURCE: 1},
        host="127.0.0.1",
        protocol="tls://",
        security=keys,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        silence_logs=logging.ERROR,
    )


def _slurm_cluster(settings: dict[str, Any], keys: Any) -> Any:
    """Jobs of the batch system; the workers' key lies in files that only their owner reads, while the run lasts."""
    import dask

    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as err:
        raise ConfigError(
            "scheduler 'slurm' needs dask-jobqueue. Install it: pip install 'wsiparse[slurm]', or use "
            "scripts/slurm_array.sbatch, which needs nothing more."
        ) from err
    settings.pop("wait_s", None)
    extra = [*settings.pop("worker_extra_args", ()), "--no-dashboard", f"--resources {RESOURCE}=1"]
    given = {k: v for k, v in settings.items() if v is not None}
    asked = dask.config.get("jobqueue.slurm.scheduler-options", None) or {}
    shared = dask.config.get("jobqueue.slurm.shared-temp-directory", None) or str(Path.cwd())
    try:
        return SLURMCluster(
            worker_extra_args=extra,
            security=keys,
            shared_temp_directory=shared,
            scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0", **asked},
            **given,
        )
    except OSError as err:
        raise SchedulerError(
            f"{shared}: the workers' key cannot be written there ({err}). Start the run in a folder that you may write "
            "to and that all nodes see."
        ) from err


def check_versions(client: Any) -> None:
    """Refuse workers that run another wsiparse than this process.

    Raises
    ------
    SchedulerError
        If they do, or lack it.
    """
    own = own_version()
    try:
        found = client.run(version, "wsiparse")
    except ModuleNotFoundError as err:
        raise SchedulerError(f"the Dask workers lack wsiparse ({err}). Install wsiparse {own} where they run.") from err
    other = sorted({v for v in found.values() if v != own})
    if other:
        raise SchedulerError(
            f"the Dask workers run wsiparse {', '.join(other)}, this is {own}. Install the same version on both sides."
        )
