"""Who recognises tiles: threads of this process, or workers of a Dask cluster, which `clusters` starts.

`open_executor` answers with this process (`LocalExecutor`: serial or threads), or with worker processes on this
machine, of a batch system, or of any running Dask cluster (`DaskExecutor`). To a cluster go chunks of tile indices,
back come facts about published files; pixels never travel.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from wsiparse.errors import SchedulerError
from wsiparse.machine import available_cores, bound_idle_memory
from wsiparse.parallel.clusters import RESOURCE, TRIES, check_versions, client_of

__all__ = [
    "DaskExecutor",
    "Executor",
    "LocalExecutor",
    "open_executor",
]

T = TypeVar("T")
R = TypeVar("R")

_COUNT_EVERY_S: Final = 2.0


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
    name : name of this run; several runs may share a cluster

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
            if tries < TRIES:
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
    with client_of(scheduler, workers, gpus, slurm, say) as client:
        name = f"wsiparse-{secrets.token_hex(4)}"
        check_versions(client)
        executor = DaskExecutor(client, make_state, name)
        try:
            yield executor
        finally:
            executor.stop()
            if client.status == "running":
                client.unregister_worker_plugin(name)


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
