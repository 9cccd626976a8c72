"""A real Slurm on this one machine: munged, slurmctld and slurmd, all state in one temporary folder.

The daemons run in the foreground as children of this process, so that stopping them needs no init system and nothing
outlives the test. Debian and Ubuntu: `apt-get install --no-install-recommends slurm-wlm munge`.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Slurm", "reason_not_to", "running_slurm"]

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
#: What a job can be in before it has ended for good.
ALIVE = frozenset({"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED", "STAGE_OUT"})
_ADMIN_PATH = "/usr/sbin:/sbin"


def reason_not_to() -> str | None:
    """Why a controller cannot be brought up here, for a skip; None when it can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "a Slurm controller is brought up as root only"
    path = f"{os.environ.get('PATH', '')}:{_ADMIN_PATH}"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: apt-get install slurm-wlm munge)"
    return None


def _free_ports(n: int) -> list[int]:
    """`n` different TCP ports nobody listens on at the moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [int(s.getsockname()[1]) for s in sockets]


@dataclass(frozen=True)
class Slurm:
    """A controller that is up.

    Parameters
    ----------
    folder : holds configuration, sockets, state and logs
    environment : what a process needs to talk to it
    """

    folder: Path
    environment: Mapping[str, str]

    def call(self, *command: object, check: bool = True, timeout: float = 60.0, **env: str) -> str:
        """Output of a Slurm command, or of any other that talks to this controller.

        Raises
        ------
        RuntimeError
            If the command fails and `check` is set; the text has what it printed and the end of the daemons' logs.
        """
        argv = [str(part) for part in command]
        done = subprocess.run(
            argv, env={**self.environment, **env}, text=True, capture_output=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            raise RuntimeError(
                f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}\n{self.logs()}"
            )
        return done.stdout

    def submit(self, *arguments: object, **env: str) -> int:
        """`sbatch` with these arguments: the job's number."""
        return int(self.call("sbatch", "--parsable", *arguments, **env).split(";")[0])

    def tasks(self, job: int) -> list[dict[str, str]]:
        """What `scontrol show job` tells of a job: a mapping for each array task that has a record."""
        text = self.call("scontrol", "--oneliner", "show", "job", job)
        return [dict(re.findall(r"(\w[\w/:]*)=(\S*)", line)) for line in text.splitlines() if line.strip()]

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Look until `ready` says so.

        Raises
        ------
        TimeoutError
            After `seconds`, with the queue and the daemons' logs.
        """
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                queue = self.call("squeue", "--all", check=False)
                raise TimeoutError(f"no {what} within {seconds:.0f} s\n{queue}\n{self.logs()}")
            time.sleep(0.2)

    def wait(self, job: int, seconds: float = 300.0) -> list[dict[str, str]]:
        """Wait for every task of a job to end, and tell of them as `tasks` does."""
        self.wait_until(
            lambda: all(task["JobState"] not in ALIVE for task in self.tasks(job)), f"end of job {job}", seconds
        )
        return self.tasks(job)

    def logs(self, lines: int = 25) -> str:
        """The end of what the daemons wrote."""
        parts = []
        for path in (*sorted(self.folder.glob("*.out")), *sorted(self.folder.glob("*.log"))):
            text = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {path.name}", *text]))
        return "\n".join(parts)


def _configuration(folder: Path, host: str, cpus: int, memory_mb: int, control: int, node: int) -> str:
    """slurm.conf of one node that is controller and worker at once."""
    return f"""\
ClusterName=wsiparse
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# a requeued job waits for its credential to expire before it starts again: 120 s by default
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
# the node has what is said below, however many cores the machine has
SlurmdParameters=config_overrides
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU={memory_mb // (2 * cpus)}
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2
ReturnToService=2
JobRequeue=1
KillWait=20
MinJobAge=3600
CompleteWait=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@contextmanager
def running_slurm(cpus: int = 2, memory_mb: int = 4096) -> Iterator[Slurm]:
    """Bring a controller with one node up, and take it down again whatever happens in between.

    Parameters
    ----------
    cpus, memory_mb : what the node says it has; jobs share it out by these

    Raises
    ------
    RuntimeError, TimeoutError
        If a daemon does not come up; the text has its log.
    """
    host = socket.gethostname().split(".")[0]
    # a short path of its own: a Unix socket's path has 107 characters at most, and munged wants every folder above its
    # socket open to all
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir(mode=0o755)
        control, node = _free_ports(2)
        conf = folder / "slurm.conf"
        conf.write_text(_configuration(folder, host, cpus, memory_mb, control, node), encoding="utf-8")
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SQUEUE_"))}
        environment |= {"SLURM_CONF": str(conf), "PATH": f"{os.environ.get('PATH', '')}:{_ADMIN_PATH}"}
        slurm = Slurm(folder, environment)

        def start(name: str, *arguments: str) -> None:
            with (folder / f"{name}.out").open("wb") as out:
                process = subprocess.Popen(
                    [name, *arguments],
                    env=environment,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            stack.callback(_stop, process)

        start(
            "munged",
            "--foreground",
            f"--key-file={key}",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid",
            f"--seed-file={folder}/munged.seed",
            f"--log-file={folder}/munged.log",
        )
        slurm.wait_until((folder / "munge.socket").exists, "socket of munged", 20)
        start("slurmctld", "-D", "-i")
        start("slurmd", "-D", "-N", host)
        slurm.wait_until(
            lambda: slurm.call("sinfo", "--noheader", "--format=%T", check=False).strip() == "idle", "idle node", 60
        )
        # the last thing to be set up is the first to go: no job outlives its controller
        stack.callback(_cancel_all, slurm)
        yield slurm


def _cancel_all(slurm: Slurm) -> None:
    """End the jobs still there, and give the node the time to kill them."""
    if not slurm.call("squeue", "--noheader", check=False).strip():
        return
    slurm.call("scancel", "--full", "--signal=KILL", "--user=root", check=False)
    slurm.call("scancel", "--user=root", check=False)
    end = time.monotonic() + 30
    while slurm.call("squeue", "--noheader", check=False).strip() and time.monotonic() < end:
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """TERM, and KILL for a daemon that does not heed it."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
