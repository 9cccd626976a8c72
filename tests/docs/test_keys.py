"""The page's way to a cluster of one's own that strangers cannot use."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

#: Starts scheduler and worker in this process, as `dask scheduler` does, and an executor that uses them by address.
USE = """
import distributed
from wsiparse.parallel.dask import open_executor

keys = distributed.Security()
options = {"protocol": "tls://", "security": keys, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
scheduler = {"cls": distributed.Scheduler, "options": {**options, "port": 0, "host": "127.0.0.1"}}
workers = {0: {"cls": distributed.Worker, "options": options}}
told = []
with distributed.SpecCluster(workers, scheduler=scheduler, security=keys) as cluster:
    with open_executor(cluster.scheduler_address, None, dict, say=told.append) as executor:
        print(cluster.scheduler_address.partition(":")[0], executor.ask(abs, -3), told)
    open_address = cluster.scheduler_address.replace("tls", "tcp")
    try:
        distributed.Client(open_address, timeout=1)
    except (OSError, RuntimeError) as error:
        print("refused")
"""


def test_keys_made_as_the_page_says_protect_a_cluster(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "hpc.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "openssl" in text]
    (tmp_path / "use.py").write_text(USE)
    script = f"set -e\n{block}\nexec {sys.executable} use.py\n"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["tls 3 []", "refused"]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o700
