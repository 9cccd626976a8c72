"""The full-size network against stored reference outputs, and the script that compares them."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "compare_golden.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_golden", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_full_size_network_equals_the_reference_in_both_modes_within_3_gb(published: Path) -> None:
    # a process of its own, so that the peak memory is the network's and not pytest's
    inputs = [str(published / name) for name in ("golden_dev.npz", "golden_dev_image.png")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(SCRIPT), *inputs, "--mode", "both", "--threads", "2"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr
    with np.load(published / "golden_dev.npz") as golden:
        informal = {"image", "prompts", "seed", *(name for name in golden.files if name.startswith("noise"))}
        for name in set(golden.files) - informal - {name for name in golden.files if name.endswith("_prompt")}:
            assert name == "attention_mask" or f"ok   {name} " in found.stdout, name
    assert "not compared" not in found.stdout
    peak = re.search(r"peak RSS ([\d.]+) GiB, ([\d.]+) GiB of it pages", found.stdout)
    assert peak is not None
    # 3 GB with the files' pages of a PyTorch for CPUs (.12 GB); one with GPU libraries has hundreds of MB more of them
    assert (float(peak[1]) - float(peak[2])) * 2**30 <= 2.88e9


@pytest.mark.parametrize("content", [None, b"", b"not an archive"], ids=["missing", "empty", "text"])
def test_files_that_cannot_be_read_exit_with_2(
    tmp_path: Path, content: bytes | None, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = tmp_path / "golden.npz"
    if content is not None:
        golden.write_bytes(content)
    assert script.main([str(golden), str(tmp_path / "image.png")]) == 2
    assert capsys.readouterr().err.startswith(f"compare_golden: {golden}")


def test_an_error_beyond_tolerance_a_nan_or_another_shape_fails(script: ModuleType) -> None:
    report = script.Report()
    wanted = np.array([1.0, 2.0])
    report.arrays("equal", wanted, wanted, 0)
    report.arrays("close", wanted + 0.009, wanted, 0.01)
    assert report.failed == []
    report.arrays("far", wanted + 0.02, wanted, 0.01)
    report.arrays("nan", np.array([1.0, math.nan]), wanted, 0.01)
    report.arrays("shape", wanted[:1], wanted, 0.01)
    report.same("different", False, "")
    assert report.failed == ["far", "nan", "shape", "different"]


def test_statistics_are_those_of_numpy(script: ModuleType) -> None:
    x = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    y = x.double().numpy()
    wanted = [y.mean(), y.std(), np.abs(y).mean(), y.min(), y.max()]
    np.testing.assert_allclose(script.statistics(x), wanted, rtol=1e-6, atol=1e-9)
