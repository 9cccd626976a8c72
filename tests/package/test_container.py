from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "container"
BASE = re.compile(r"python:(\d+)\.(\d+)\.\d+-slim-\w+")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS = set(PROJECT["scripts"])

pytestmark = pytest.mark.skipif(not shutil.which("sh"), reason="needs a shell")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest), continued lines joined, comments left out."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in joined.splitlines()]


def sections() -> dict[str, str]:
    """The Apptainer definition: its header under "", and the text of every section."""
    parts = re.split(r"^%(\w+)\n", (FOLDER / "wsiparse.def").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def installing(where: str, compute: str) -> str:
    """The shell code that installs, as it runs with a build argument."""
    if where == "Dockerfile":
        run = [rest for name, rest in instructions() if name == "RUN"][-1]
        return f"COMPUTE={compute}; " + re.sub(r"^(--\S+ +)+", "", run)
    return re.sub(r"\{\{ *COMPUTE *\}\}", compute, sections()["post"])


def recorded(code: str, folder: Path) -> tuple[int, list[list[str]]]:
    """Run shell code with a pip that only writes down what it is asked, and an rm that does nothing."""
    log = folder / "log"
    log.touch()
    for name in ("pip", "rm"):
        stub = folder / name
        stub.write_text(
            f"#!{sys.executable}\nimport json, sys\n"
            f"print(json.dumps([{name!r}, *sys.argv[1:]]), file=open({str(log)!r}, 'a'))\n"
        )
        stub.chmod(0o755)
    shell = shutil.which("sh")
    assert shell is not None
    ran = subprocess.run([shell, "-c", code], env={"PATH": str(folder)}, capture_output=True, check=False)
    return ran.returncode, [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_every_base_image_is_pinned_to_one_python_that_the_project_takes() -> None:
    images, stages = [], set()
    for name, rest in instructions():
        if name == "FROM":
            words = rest.split()
            if words[0] not in stages:
                images.append(words[0])
            stages |= {words[2]} if len(words) > 2 else set()
    header = dict(line.split(": ") for line in sections()[""].strip().splitlines())
    assert header["Bootstrap"] == "docker"
    assert {*images} == {header["From"]}
    found = BASE.fullmatch(header["From"])
    assert found is not None
    oldest = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["requires-python"])
    assert oldest is not None
    assert tuple(map(int, found.groups())) >= tuple(map(int, oldest.groups()))


@pytest.mark.parametrize("where", ["Dockerfile", "wsiparse.def"])
@pytest.mark.parametrize("compute", ["cpu", "cuda"])
def test_everything_is_installed_with_the_constraints_and_leaves_no_cache(
    where: str, compute: str, tmp_path: Path
) -> None:
    code, calls = recorded(installing(where, compute), tmp_path)
    assert code == 0
    (install,) = (call for call in calls if call[0] == "pip")
    assert install[:3] == ["pip", "install", "--no-cache-dir"]
    assert Path(install[install.index("--constraint") + 1]).name == "constraints.txt"
    indices = [word for word in install if "://" in word]
    assert indices == (["https://download.pytorch.org/whl/cpu"] if compute == "cpu" else [])
    extras = re.fullmatch(r"/[^\[]+\[([\w,]+)\]", install[-1])
    assert extras is not None
    assert set(extras.group(1).split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("where", ["Dockerfile", "wsiparse.def"])
def test_another_build_argument_is_refused_before_anything_is_installed(where: str, tmp_path: Path) -> None:
    code, calls = recorded(installing(where, "rocm"), tmp_path)
    assert code != 0
    assert not calls


def test_what_is_copied_is_there_and_all_that_a_wheel_needs() -> None:
    needed = {"pyproject.toml", "setup.cfg", "LICENSE", "README.md", "constraints.txt", "wsiparse"}
    copied = {
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    listed = {line.split()[0]: line.split()[1] for line in sections()["files"].strip().splitlines()}
    assert copied == needed == set(listed)
    assert all((ROOT / name).exists() for name in needed)
    assert all(target == f"/src/{name}" for name, target in listed.items())
    assert "rm -rf /src" in sections()["post"]


def test_nobody_is_root_at_run_time() -> None:
    names = [name for name, _ in instructions()]
    last_user = len(names) - 1 - names[::-1].index("USER")
    assert last_user > max(i for i, name in enumerate(names) if name in ("RUN", "FROM"))
    user, group = instructions()[last_user][1].split(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_entry_point_is_the_console_script() -> None:
    given = dict(instructions())
    assert json.loads(given["ENTRYPOINT"])[0] in SCRIPTS
    assert isinstance(json.loads(given["CMD"]), list)
    words = shlex.split(sections()["runscript"])
    assert words[0] == "exec"
    assert words[1] in SCRIPTS
    assert words[2:] == ["$@"]
    assert shlex.split(sections()["test"])[0] in SCRIPTS


def test_nothing_is_downloaded_at_run_time_and_the_pages_say_how_to_change_that() -> None:
    assert "HF_HUB_OFFLINE=1" in dict(instructions())["ENV"].split()
    assert 'HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}"' in sections()["environment"]
    for text in ((FOLDER / "Dockerfile").read_text(encoding="utf-8"), sections()["help"]):
        assert "HF_HUB_OFFLINE=0" in text
    page = (ROOT / "docs" / "hpc.md").read_text(encoding="utf-8")
    assert all(f"container/{name}" in page for name in ("Dockerfile", "wsiparse.def"))


@pytest.mark.parametrize("there", ["nothing", "own", "link", "file of a name that is taken"])
def test_compiled_code_is_loaded_from_a_folder_of_ones_own(there: str, tmp_path: Path) -> None:
    """Numba's cache is pickles, and in Apptainer /tmp is shared with everybody on the node."""
    usual, foreign = tmp_path / f"wsiparse-numba-{os.getuid()}", tmp_path / "foreign"
    foreign.mkdir()
    {"nothing": lambda: None, "own": usual.mkdir, "link": lambda: usual.symlink_to(foreign)}.get(there, usual.touch)()
    if there.startswith("file"):
        usual.unlink()
        usual.symlink_to(tmp_path / "nowhere")
    code = f'{sections()["environment"]}\nprintf %s "$NUMBA_CACHE_DIR"'
    given = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", "-euc", code], env=given, capture_output=True, text=True, check=True)
    cache = Path(done.stdout)
    assert cache.is_dir()
    assert not cache.is_symlink()
    assert (cache == usual) == (there in ("nothing", "own"))
    if there != "own":
        assert cache.stat().st_mode & 0o077 == 0
    told = subprocess.run(
        ["sh", "-euc", code], env={**given, "NUMBA_CACHE_DIR": "/mine"}, capture_output=True, check=True
    )
    assert told.stdout == b"/mine"


@pytest.mark.parametrize("section", ["post", "environment", "runscript", "test"])
def test_the_shell_code_of_the_definition_parses(section: str) -> None:
    subprocess.run(["sh", "-n"], input=sections()[section], text=True, check=True)
