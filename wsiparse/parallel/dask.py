"""Who recognises tiles: threads of this process, or worker processes of a Dask cluster; the only place that knows Dask.

`open_executor` answers with this process (`LocalExecutor`: serial or threads), or with worker processes on this
machine, of a batch system, or of any running Dask cluster (`DaskExecutor`). To a cluster go chunks of tile indices,
back come facts about published files; pixels never travel.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

from wsiparse.errors import ConfigError, SchedulerError
from wsiparse.machine import available_cores, available_memory_bytes, bound_idle_memory
from wsiparse.version import own_version

__all__ = [
    "RESOURCE",
    "DaskExecutor",
    "Executor",
    "LocalExecutor",
    "open_executor",
]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """This process recognises.

    Parameters
    ----------
    workers : threads
    overlap : objects are made while tiles are still recognised; False does one after the other
    """

    workers: int
    overlap: bool = True

    @property
    def slides_at_once(self) -> int:
        """One: its tiles keep every worker busy."""
        return 1


class DaskExecutor:
    """Worker processes recognise; this process plans, makes objects and writes.

    Use `open_executor`. Safe to use from several threads.

    Parameters
    ----------
    client : `distributed.Client`
    make_state : called once in every worker process; the state holds what is loaded once (the network)
    name : of this run; several runs may share a cluster

    Attributes
    ----------
    workers : threads of this process, for objects and files
    """

    def __init__(self, client: Any, make_state: Callable[[], Any], name: str) -> None:
        self.workers = available_cores()
        self._client, self._name = client, name
        self._lock = threading.Lock()
        self._under_way = 0
        self._stopped = threading.Event()
        self._slots, self._counted = self._count(), time.monotonic()
        held = client.run(_resources_of)
        marked = [address for address, resources in held.items() if RESOURCE in resources]
        self._resources = {RESOURCE: 1} if marked else None
        client.register_plugin(_state_plugin(name, make_state))

    @property
    def slides_at_once(self) -> int:
        """Slides begun before the first is finished, so that no worker waits for the files of another slide."""
        return max(2, min(8, self._slots))

    def stop(self) -> None:
        """Make every `unordered` give up at its next step."""
        self._stopped.set()

    def unordered(
        self,
        function: Callable[[Any, T, int], R],
        items: Iterable[T],
        *,
        priority: int = 0,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[T, R]]:
        """``function(state, item, threads)`` of every item on some worker, as results come.

        At most two items a worker are under way over all callers, so a cluster that shrinks loses little and the
        scheduler stays small. A worker that dies is replaced by its cluster and the item runs again elsewhere.

        Parameters
        ----------
        function : importable on the workers; ends well if run twice
        items : small and picklable, consumed lazily
        priority : higher goes first
        stop : when set, the caller wants no more

        Raises
        ------
        SchedulerError
            If the cluster goes away, or an item could not be finished however often it was tried.
        """
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        waiting: dict[str, tuple[Any, T, int]] = {}
        source, exhausted = iter(items), False
        stop = stop or threading.Event()

        def begin(item: T, tries: int) -> None:
            future = self._client.submit(
                _on_worker, self._name, function, item, pure=False, priority=priority, resources=self._resources
            )
            waiting[future.key] = (future, item, tries)
            future.add_done_callback(arrived.put)

        try:
            while True:
                while not exhausted and self._enter():
                    item = next(source, None)
                    if item is None:
                        self._leave()
                        exhausted = True
                    else:
                        begin(item, 1)
                if exhausted and not waiting:
                    return
                try:
                    future = arrived.get(timeout=0.5 if exhausted or waiting else 0.05)
                except queue.Empty:
                    if stop.is_set():
                        return
                    self._check()
                    continue
                _, item, tries = waiting.pop(future.key)
                result = self._result(future, tries)
                if result is None:
                    begin(item, tries + 1)
                    continue
                self._leave()
                yield item, result[0]
        finally:
            for future, _, _ in waiting.values():
                future.cancel()
                self._leave()

    def _result(self, future: Any, tries: int) -> tuple[Any] | None:
        """The result in a tuple, or None when the worker died and the item should be tried again."""
        from distributed import CancelledError, KilledWorker

        try:
            return (future.result(),)
        except KilledWorker as err:
            if tries < _TRIES:
                return None
            self._leave()
            raise SchedulerError(
                f"a piece of work ended its worker process {tries} times ({err.last_worker}). Give the workers more "
                "memory, or fewer of them (-n)."
            ) from err
        except CancelledError as err:
            self._leave()
            raise SchedulerError(
                "the Dask scheduler dropped the work (it was stopped or lost). Run the same command again to go on."
            ) from err
        except BaseException:
            self._leave()
            raise

    def _enter(self) -> bool:
        """Take a place among the items under way, if there is one."""
        self._check()
        if time.monotonic() - self._counted > _COUNT_EVERY_S:
            self._slots, self._counted = self._count(), time.monotonic()
        with self._lock:
            free = self._under_way < 2 * max(1, self._slots)
            self._under_way += free
            return free

    def _leave(self) -> None:
        with self._lock:
            self._under_way -= 1

    def _count(self) -> int:
        return len(self._client.nthreads())

    def _check(self) -> None:
        if self._stopped.is_set():
            raise SchedulerError("the run was stopped. Run the same command again to go on.")
        if self._client.status not in ("running", "connecting"):
            raise SchedulerError(
                f"the connection to the Dask scheduler is {self._client.status}. Check that it still runs, then run "
                "the same command again to go on."
            )

    def ask(self, function: Callable[[T], R], item: T) -> R:
        """``function(item)`` on some worker."""
        result: R = self._client.submit(function, item, pure=False, resources=self._resources).result()
        return result


Executor = LocalExecutor | DaskExecutor

#: What a worker may declare (``dask worker --resources recognise=1``) to get one chunk at a time, and all of them.
RESOURCE: Final = "recognise"

#: How often one item may lose its worker; the work itself gives up earlier where it knows the culprit.
_TRIES: Final = 5
_COUNT_EVERY_S: Final = 2.0


@contextmanager
def open_executor(
    scheduler: str,
    workers: int | None,
    make_state: Callable[[], Any],
    *,
    gpus: Sequence[str] = (),
    slurm: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Executor]:
    """Who recognises tiles in this run.

    Parameters
    ----------
    scheduler : "serial" (one thread, step by step), "threads" (this process), "local" (a process for each GPU, or for
        each group of cores), "slurm" (jobs of a batch system), or the address of a running Dask scheduler
    workers : threads, processes or jobs; None for what the machine has
    make_state : for `DaskExecutor`
    gpus : names of the GPUs of this machine as CUDA_VISIBLE_DEVICES takes them; empty for work on the CPU
    slurm : settings of the batch system (see `wsiparse.config.SlurmConfig`)
    say : told what was started

    Raises
    ------
    ConfigError
        If the scheduler is unknown or needs a package that is not installed.
    SchedulerError
        If no worker answers.
    """
    bound_idle_memory()
    if scheduler in ("serial", "threads"):
        yield LocalExecutor(1 if scheduler == "serial" else workers or available_cores(), overlap=scheduler != "serial")
        return
    with _dask_cluster(scheduler, workers, gpus, slurm, say) as client:
        name = f"wsiparse-{secrets.token_hex(4)}"
        _check_versions(client)
        executor = DaskExecutor(client, make_state, name)
        try:
            yield executor
        finally:
            executor.stop()
            if client.status == "running":
                client.unregister_worker_plugin(name)


@contextmanager
def _dask_cluster(
    scheduler: str,
    workers: int | None,
    gpus: Sequence[str],
    slurm: Mapping[str, Any] | None,
    say: Callable[[str], None],
) -> Iterator[Any]:
    """A client of the cluster a scheduler name means, with at least one worker; what was started is stopped."""
    import dask
    from distributed import Client

    cluster: Any
    # workers hold no results: nothing to spill, and memory is the operating system's view of it
    settings = {
        "distributed.scheduler.allowed-failures": _TRIES,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": 0.95,
        "distributed.admin.log-length": 0,
        # pages about a cluster ask nobody who they are: what is started here has none
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with dask.config.set(settings), ExitStack() as stack:
        if "://" in scheduler:
            cluster, wanted = scheduler, 1
            if scheduler.startswith("tls://"):
                _require_keys(scheduler)
            else:
                say(
                    f"{scheduler}: this cluster takes code from everybody who reaches its ports. On a machine or "
                    "network that is shared, use tls:// (see docs/hpc.md)"
                )
        elif scheduler == "local":
            cluster = stack.enter_context(_local_cluster(workers, gpus, _own_keys()))
            wanted = len(cluster.workers)
            say(f"{wanted} worker processes, one for each {'GPU' if gpus else 'group of cores'}")
        elif scheduler == "slurm":
            cluster = stack.enter_context(_slurm_cluster(dict(slurm or {}), _own_keys()))
            cluster.adapt(minimum_jobs=workers or 1, maximum_jobs=workers or 1)  # a job that dies is replaced
            wanted = 1
            say(f"{workers or 1} Slurm jobs asked for; waiting for the first worker")
        else:
            raise ConfigError(
                f"scheduler '{scheduler}' is unknown: choose serial, threads, local, slurm or the address of a running "
                "Dask scheduler such as tls://host:8786."
            )
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


_CONNECT_S: Final = 10.0
_QUEUE_S: Final = 24 * 3600.0


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


#: Cores that one process can feed: the interpreter's own work does not scale beyond.
_CORES_A_PROCESS: Final = 4


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


def _check_versions(client: Any) -> None:
    """Refuse workers that run another wsiparse than this process."""
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


def _resources_of(dask_worker: Any) -> dict[str, float]:
    return dict(dask_worker.state.total_resources)


def _state_plugin(name: str, make_state: Callable[[], Any]) -> Any:
    """A worker plugin that keeps a state in every worker process, the ones that come later included."""
    from distributed import WorkerPlugin

    class State(WorkerPlugin):
        state: Any
        threads: int

        def __init__(self) -> None:
            self.name = name

        def setup(self, worker: Any) -> None:
            bound_idle_memory()
            self.state = make_state()
            self.threads = worker.state.nthreads if RESOURCE in worker.state.total_resources else 1

    return State()


def _on_worker(name: str, function: Callable[[Any, T, int], R], item: T) -> R:
    from distributed import get_worker

    plugin: Any = get_worker().plugins[name]
    return function(plugin.state, item, plugin.threads)
