"""`--scheduler slurm`: workers that are jobs of a real controller, one of them lost on the way."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.slurm.controller import Slurm
from tests.slurm.test_array import OPTIONS, chunks, published
from wsiparse.slides.synthetic import paint_he, write_svs

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("dask_jobqueue") is None, reason="dask-jobqueue is not installed (extra 'slurm')"
    ),
]


def test_a_run_on_slurm_workers_gives_the_bytes_of_a_plain_run_though_a_job_is_cancelled(
    slurm: Slurm, tmp_path: Path, wsiparse: Callable[..., Any]
) -> None:
    slide = write_svs_of_several_chunks(tmp_path / "a.svs")
    jobs = {"cores": 1, "memory": "1500MB", "walltime": "00:30:00", "queue": "main"}
    jobs |= {"interface": "lo", "log_directory": str(tmp_path / "logs"), "local_directory": str(tmp_path / "local")}
    jobs |= {"job_extra_directives": ["--comment=wsiparse"], "job_script_prologue": ["export OMP_NUM_THREADS=1"]}
    config = tmp_path / "cluster.yaml"
    config.write_text(yaml.safe_dump({"scheduler": "slurm", "slurm": jobs}), encoding="utf-8")
    results = tmp_path / "cluster"
    command = [sys.executable, "-c", "from wsiparse.cli.main import main; main()", "run", slide, "-o", results]
    run = subprocess.Popen(
        [*command, "--config", config, "--num-workers", "2", *OPTIONS],
        env={**slurm.environment, "DASK_CONFIG": str(tmp_path / "dask")},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        slurm.wait_until(lambda: run.poll() is not None or any(chunks(results, "a")), "chunk of a.svs", 120)
        running = slurm.call("squeue", "--noheader", "--format=%i %k", "--states=RUNNING").splitlines()
        assert [line.split()[1] for line in running] == ["wsiparse", "wsiparse"]
        slurm.call("scancel", "--full", "--signal=KILL", running[0].split()[0])
        said, _ = run.communicate(timeout=300)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, said
    slurm.wait_until(lambda: not slurm.call("squeue", "--noheader").strip(), "end of the workers' jobs", 60)
    assert wsiparse("run", slide, "-o", tmp_path / "plain", *OPTIONS).code == 0
    assert published(results) == published(tmp_path / "plain")


def write_svs_of_several_chunks(path: Path) -> Path:
    """A slide of 2560 x 3072 px at 0.5 um/px: four chunks of 64 tiles of OPTIONS."""
    write_svs(path, np.tile(paint_he(1280, 1024, seed=1).image, (3, 2, 1)))
    return path
