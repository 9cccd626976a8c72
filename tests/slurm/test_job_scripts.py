"""The four job scripts; programs that write down what they get stand in for the batch systems and for wsiparse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

SCRIPTS: Final = Path(__file__).resolve().parents[2] / "scripts"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

#: Stands in for sbatch, qsub, bsub and wsiparse: one line of JSON a call, then what that program says.
RECORDER: Final = """\
import json, os, signal, sys, time
name, folder = os.path.basename(sys.argv[0]), os.path.dirname(os.path.abspath(sys.argv[0]))
got = []
for number in (signal.SIGTERM, signal.SIGCONT):
    signal.signal(number, lambda number, frame: got.append(signal.Signals(number).name))
call = {"name": name, "arguments": sys.argv[1:], "pid": os.getpid(), "env": dict(os.environ)}
verb = sys.argv[1] if len(sys.argv) > 1 else ""
if name == "wsiparse" and verb == "run":
    open(folder + "/running", "w").close()
    seconds = float(os.environ.get("TEST_SECONDS", "0"))
    end = time.monotonic() + seconds
    while time.monotonic() < end and not got:
        time.sleep(0.01)
    time.sleep(min(seconds, 0.3))  # a second signal would come now
call["signals"] = got
with open(folder + "/calls.jsonl", "a") as f:
    f.write(json.dumps(call) + "\\n")
if name == "wsiparse":
    asked = verb == "report" and "--help" in sys.argv
    codes = json.loads(os.environ.get("TEST_CODES", "{}"))
    sys.exit(143 if got else codes.get("report --help" if asked else verb, 0))
number = sum(1 for line in open(folder + "/calls.jsonl") if json.loads(line)["name"] == name) + 40
print({"sbatch": f"{number};cluster", "bsub": f"Job <{number}> is submitted to queue <normal>."}.get(name)
      or (f"{number}.1-4:1" if "-t" in sys.argv else str(number) if "-terse" in sys.argv else f"{number}[].server"))
"""


@dataclass(frozen=True)
class Batch:
    """A batch system: its script, its submitting program, and how a task of it finds itself."""

    script: str
    program: str
    option: tuple[str, str]
    task: dict[str, str]
    array: tuple[str, ...]
    join: tuple[str, ...]
    cores: str


BATCHES: Final = {
    "slurm": Batch(
        "slurm_array.sbatch",
        "sbatch",
        ("--partition", "gpu"),
        {"SLURM_JOB_ID": "43", "SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "2"},
        ("--array=1-4",),
        ("--dependency=afterany:41",),
        "SLURM_CPUS_PER_TASK",
    ),
    "pbs": Batch(
        "pbs_array.sh",
        "qsub",
        ("-q", "gpu"),
        {"PBS_JOBID": "41[2].server", "PBS_ARRAY_INDEX": "2"},
        ("-J", "1-4"),
        ("-W", "depend=afterany:41[].server"),
        "NCPUS",
    ),
    "sge": Batch(
        "sge_array.sh",
        "qsub",
        ("-q", "gpu"),
        {"JOB_ID": "41", "SGE_TASK_ID": "2"},
        ("-t", "1-4"),
        ("-hold_jid", "41"),
        "NSLOTS",
    ),
    "lsf": Batch(
        "lsf_array.sh",
        "bsub",
        ("-q", "gpu"),
        {"LSB_JOBID": "41", "LSB_JOBINDEX": "2"},
        ("-J", "wsiparse[1-4]"),
        ("-w", "ended(41)"),
        "LSB_DJOB_NUMPROC",
    ),
}
WORK: Final = ("a slide.svs", "it's.svs", "-o", "my results", "--prompt", 'the "pink" $cells')


class Site:
    """A folder to submit from and the programs of a site, all of them recorders."""

    def __init__(self, folder: Path, batch: Batch) -> None:
        self.folder, self.batch, self.bin = folder, batch, folder / "bin"
        self.local = folder / "local"
        for made in (self.bin, self.local):
            made.mkdir()
        recorder = self.bin / "recorder"
        recorder.write_text(f"#!{sys.executable} -SE\n{RECORDER}", encoding="utf-8")
        recorder.chmod(0o755)
        for name in (batch.program, "wsiparse"):
            (self.bin / name).symlink_to(recorder)
        own = {"PATH": f"{self.bin}:{os.environ['PATH']}", "TMPDIR": str(self.local)}
        self.env = {"HOME": str(folder), **own}

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(SCRIPTS / self.batch.script), *arguments],
            cwd=self.folder,
            env=self.env | env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a batch system signals a session of its own
        )

    def run(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def calls(self, name: str) -> list[dict[str, Any]]:
        path = self.bin / "calls.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if call["name"] == name]

    def play(self, submission: dict[str, Any], **env: str) -> tuple[int, str, str]:
        """Start a job the way the batch system would: the script's arguments as submitted, the environment kept."""
        arguments = submission["arguments"]
        script = str(SCRIPTS / self.batch.script)
        rest = arguments[arguments.index(script) + 1 :] if script in arguments else []
        kept = {k: v for k, v in submission["env"].items() if k.startswith("WSIPARSE_")}
        return self.run(*rest, **kept, **env)


@pytest.fixture(params=sorted(BATCHES))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, BATCHES[request.param])


def in_order(wanted: tuple[str, ...], arguments: list[str]) -> bool:
    """Whether `wanted` stands in `arguments` in one piece."""
    return any(tuple(arguments[k : k + len(wanted)]) == wanted for k in range(len(arguments)))


@pytest.mark.parametrize("batch", BATCHES.values(), ids=sorted(BATCHES, key=list(BATCHES).index))
def test_a_script_parses_and_can_be_started(batch: Batch) -> None:
    script = SCRIPTS / batch.script
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("batch", BATCHES.values(), ids=sorted(BATCHES, key=list(BATCHES).index))
def test_shellcheck_has_nothing_to_say(batch: Batch) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian: apt-get install shellcheck)")
    done = subprocess.run(["shellcheck", SCRIPTS / batch.script], text=True, capture_output=True, check=False)
    assert done.stdout == ""


def test_help_ends_in_settings_and_has_an_example(site: Site) -> None:
    code, out, _ = site.run("--help")
    assert code == 0
    assert f"scripts/{site.batch.script} submit 64 " in out
    assert "WSIPARSE_LOCAL" in out
    assert "set -euo" not in out


def test_one_command_submits_the_array_and_the_job_that_joins_it(site: Site) -> None:
    code, out, err = site.run("submit", "4", *site.batch.option, "--", *WORK)
    assert (code, err) == (0, "")
    assert "array job 41" in out
    array, join = (call["arguments"] for call in site.calls(site.batch.program))
    assert in_order(site.batch.array, array)
    assert in_order(site.batch.join, join)
    for arguments in (array, join):
        assert in_order(site.batch.option, arguments)
        assert any("my results/logs" in argument for argument in arguments)
    assert (site.folder / "my results" / "logs").is_dir()


def test_a_task_runs_wsiparse_with_the_arguments_as_they_were_given(site: Site) -> None:
    site.run("submit", "4", "--", *WORK)
    code, _, _ = site.play(site.calls(site.batch.program)[0], **site.batch.task, **{site.batch.cores: "3"})
    (call,) = site.calls("wsiparse")
    assert code == 0
    # the caller's come last, so that they win
    own = ["run", "--shard", "auto", "--num-workers", "3", "--stage-dir", str(site.local)]
    assert call["arguments"] == [*own, *WORK]
    assert call["env"]["HF_HUB_OFFLINE"] == "1"
    assert call["env"]["OMP_NUM_THREADS"] == "1"
    cache = Path(call["env"]["NUMBA_CACHE_DIR"])
    assert cache.parent == site.local
    assert cache.stat().st_mode & 0o077 == 0


def test_pbs_tasks_are_told_how_many_they_are(tmp_path: Path) -> None:
    site = Site(tmp_path, BATCHES["pbs"])
    site.run("submit", "4", "--", *WORK)
    site.play(site.calls("qsub")[0], **site.batch.task)
    assert site.calls("wsiparse")[0]["env"]["WSIPARSE_SHARD_COUNT"] == "4"


def test_the_joining_job_merges_and_then_reports(site: Site) -> None:
    site.run("submit", "4", "--", *WORK)
    no_task = {k: v for k, v in site.batch.task.items() if k in ("SLURM_JOB_ID", "PBS_JOBID", "JOB_ID", "LSB_JOBID")}
    code, _, _ = site.play(site.calls(site.batch.program)[1], **no_task)
    assert code == 0
    verbs = [call["arguments"] for call in site.calls("wsiparse")]
    assert verbs == [["merge", "my results"], ["report", "--help"], ["report", "my results"]]


@pytest.mark.parametrize(
    ("codes", "code", "reports"),
    [
        ({"merge": 3}, 3, True),
        ({"merge": 1}, 1, False),
        ({"report": 1}, 1, True),
        ({"merge": 3, "report --help": 2}, 3, False),
    ],
    ids=["some slides failed", "merge failed", "report failed", "no report command"],
)
def test_the_joining_job_ends_with_what_went_wrong(site: Site, codes: dict[str, int], code: int, reports: bool) -> None:
    got, _, _ = site.run("join", "results", TEST_CODES=json.dumps(codes))
    assert got == code
    assert (["report", "results"] in [call["arguments"] for call in site.calls("wsiparse")]) == reports


def script_arguments(site: Site) -> tuple[tuple[str, ...], dict[str, str]]:
    """How a task of this batch system gets its work: as arguments, or in the environment."""
    if site.batch.script in ("slurm_array.sbatch", "sge_array.sh"):
        return ("slides", "-o", "results"), {}
    return (), {"WSIPARSE_ARGUMENTS": "slides -o results"}


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_exit_code_of_a_task_is_that_of_wsiparse(site: Site, code: int) -> None:
    arguments, env = script_arguments(site)
    got, _, _ = site.run(*arguments, **env, **site.batch.task, TEST_CODES=json.dumps({"run": code}))
    assert got == code


def signalled(site: Site, number: signal.Signals, *, whole_session: bool) -> tuple[int, list[str], bool]:
    """Exit code of a task sent a signal while wsiparse runs, what wsiparse got, and whether it was the task itself."""
    arguments, env = script_arguments(site)
    process = site.start(*arguments, **env, **site.batch.task, TEST_SECONDS="30")
    try:
        end = time.monotonic() + 30
        while not (site.bin / "running").exists():
            assert time.monotonic() < end, "wsiparse was not started"
            time.sleep(0.01)
        (os.killpg if whole_session else os.kill)(process.pid, number)
        process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    (call,) = site.calls("wsiparse")
    return process.returncode, call["signals"], call["pid"] == process.pid


@pytest.mark.parametrize("name", ["slurm", "pbs", "lsf"])
def test_a_task_becomes_wsiparse_so_that_the_warning_reaches_it(name: str, tmp_path: Path) -> None:
    code, signals, same = signalled(Site(tmp_path, BATCHES[name]), signal.SIGTERM, whole_session=False)
    assert (code, signals, same) == (143, ["SIGTERM"], True)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGUSR1, 99), (signal.SIGUSR2, 143), (signal.SIGTERM, 143)],
    ids=["soft limit: another turn", "about to be killed", "terminated"],
)
def test_grid_engine_notices_become_one_sigterm(number: signal.Signals, code: int, tmp_path: Path) -> None:
    got, signals, _ = signalled(Site(tmp_path, BATCHES["sge"]), number, whole_session=True)
    assert (got, signals) == (code, ["SIGTERM"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("submit", "some", "--", "slides", "-o", "results"), "a number such as 64"),
        (("submit", "4", "slides", "-o", "results"), "nothing to analyse"),
        (("submit", "4", "--", "slides"), "no results folder"),
        (("join",), "join RESULTS"),
    ],
    ids=["no number", "no --", "no -o", "nothing to join"],
)
def test_wrong_usage_submits_nothing_and_says_why(site: Site, arguments: tuple[str, ...], says: str) -> None:
    code, _, err = site.run(*arguments)
    assert code == 2
    assert says in err
    assert site.calls(site.batch.program) == []


def test_work_outside_of_a_job_is_refused_with_the_help(site: Site) -> None:
    code, out, _ = site.run("slides", "-o", "results")
    assert code == 2
    assert "submit TASKS" in out
    assert site.calls("wsiparse") == []


def test_what_the_scripts_share_is_the_same_in_all_of_them() -> None:
    """A batch system runs a copy of its script alone, so each holds the shared part."""
    said = subprocess.run(
        [sys.executable, SCRIPTS / "array_scripts.py", "--check"], text=True, capture_output=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    shared = (SCRIPTS / "array_shared.sh").read_text(encoding="utf-8")
    for batch in BATCHES.values():
        text = (SCRIPTS / batch.script).read_text(encoding="utf-8")
        assert shared in text
        own = text.replace(shared, "").split("set -euo pipefail\n")[1]
        assert len(own.splitlines()) < 60, batch.script


def test_a_script_that_is_not_in_step_is_named_and_mended(tmp_path: Path) -> None:
    for path in SCRIPTS.iterdir():
        if path.name.startswith("array_") or "_array" in path.name:
            shutil.copy(path, tmp_path)
    whole = (tmp_path / "pbs_array.sh").read_text(encoding="utf-8")
    (tmp_path / "pbs_array.sh").write_text(whole.replace("local found", "local lost"), encoding="utf-8")
    command = [sys.executable, str(tmp_path / "array_scripts.py")]
    said = subprocess.run([*command, "--check"], text=True, capture_output=True, check=False)
    assert said.returncode == 1
    assert said.stdout.startswith("pbs_array.sh: not in step")
    subprocess.run(command, check=True)
    assert (tmp_path / "pbs_array.sh").read_text(encoding="utf-8") == whole
