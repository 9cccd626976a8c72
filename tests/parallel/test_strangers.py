"""Who does not hold the key of a run cannot make its processes do anything."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster

from wsiparse.errors import ConfigError
from wsiparse.parallel.dask import DaskExecutor, open_executor

#: Another process of the machine: sends code to addresses, as Dask's own client does, and says what came of each.
STRANGER = """
import asyncio, ssl, sys
from pathlib import Path
from distributed.core import connect
from distributed.protocol.pickle import dumps
from distributed.security import Security

trace, *places = sys.argv[1:]

async def send(address, keys):
    comm = await connect(address, timeout=2, **keys)
    try:
        for op in ("run", "run_function"):
            function = dumps(lambda: Path(trace).write_text("was here"))
            await comm.write({"op": op, "function": function, "args": dumps(()), "kwargs": dumps({}), "reply": True})
            await comm.read()
    finally:
        comm.abort()

async def attempt(place, kind, keys):
    try:
        await asyncio.wait_for(send(f"{kind}://{place}", keys), 4)
        print("answered", place)
    except (OSError, asyncio.TimeoutError, EOFError, ValueError) as error:
        print("refused", place, kind, type(error).__name__)

async def main():
    own = Security.temporary().get_connection_args("client")
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname = False
    nobody.verify_mode = ssl.CERT_NONE
    without = {"ssl_context": nobody, "require_encryption": True}
    ways = [("tcp", {}), ("tls", own), ("tls", without)]
    await asyncio.gather(*(attempt(place, *way) for place in places for way in ways))

asyncio.run(main())
"""


def stranger(trace: Path, *places: str) -> list[str]:
    command = [sys.executable, "-c", STRANGER, str(trace), *places]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


def listeners() -> set[tuple[str, int]]:
    """Addresses on which this process and those it started listen."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = [c for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    return {(c.laddr.ip, c.laddr.port) for c in found}


def test_an_open_cluster_runs_what_a_stranger_sends(tmp_path: Path) -> None:
    """The danger is real: the next test would see it."""
    with LocalCluster(n_workers=1, processes=False, protocol="tcp://", dashboard_address=None) as cluster:
        said = stranger(tmp_path / "trace", cluster.workers[0].address.removeprefix("tcp://"))
        assert any(line.startswith("answered") for line in said)
    assert (tmp_path / "trace").read_text() == "was here"


def test_a_local_crew_takes_nothing_from_strangers(tmp_path: Path) -> None:
    before = listeners()
    with open_executor("local", 1, dict) as executor:
        assert isinstance(executor, DaskExecutor)
        assert executor.ask(abs, -3) == 3
        opened = listeners() - before
        assert len(opened) >= 3  # scheduler, nanny, worker
        assert {host for host, _ in opened} == {"127.0.0.1"}
        said = stranger(tmp_path / "trace", *(f"{host}:{port}" for host, port in opened))
        assert [line.split()[0] for line in said] == ["refused"] * 3 * len(opened)
        for host, port in opened:
            for page in ("", "status", "info/main/workers.html", "json/counts.json", "metrics", "health"):
                with pytest.raises(OSError) as refused:  # noqa: PT011
                    urllib.request.urlopen(f"http://{host}:{port}/{page}", timeout=3)
                assert getattr(refused.value, "code", 404) == 404
        assert executor.ask(abs, -4) == 4
    assert not (tmp_path / "trace").exists()
    assert listeners() == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Dask drops a socket it has closed
def test_an_open_cluster_is_used_and_its_danger_told() -> None:
    told: list[str] = []
    open_to_all = LocalCluster(n_workers=1, processes=False, protocol="tcp://", dashboard_address=None)
    with open_to_all as cluster, open_executor(cluster.scheduler_address, None, dict, say=told.append) as executor:
        assert isinstance(executor, DaskExecutor)
        assert executor.ask(abs, -3) == 3
    assert len(told) == 1
    assert "takes code from everybody who reaches its ports" in told[0]


def test_an_address_that_wants_keys_needs_them_configured() -> None:
    with (
        pytest.raises(ConfigError, match=r"tls://127\.0\.0\.1:9: no key"),
        open_executor("tls://127.0.0.1:9", None, dict),
    ):
        pass


def test_a_cluster_with_keys_is_used_by_who_has_them(tmp_path: Path) -> None:
    from distributed.security import Security

    keys = Security.temporary()
    settings = {}
    for name, text in (
        ("ca-file", keys.tls_ca_file),
        ("client.key", keys.tls_client_key),
        ("client.cert", keys.tls_client_cert),
    ):
        (tmp_path / name).write_text(text)
        settings[f"distributed.comm.tls.{name}"] = str(tmp_path / name)
    told: list[str] = []
    with LocalCluster(n_workers=1, processes=False, security=keys, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://")
        with dask.config.set(settings), open_executor(address, None, dict, say=told.append) as executor:
            assert isinstance(executor, DaskExecutor)
            assert executor.ask(abs, -3) == 3
    assert told == []
