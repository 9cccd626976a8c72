"""Processors, memory, batch systems and folders: of this machine and of pretended ones."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsiparse.doctor import machine, places
from wsiparse.doctor.check import Check
from wsiparse.doctor.machine import (
    check_arithmetic,
    check_cores,
    check_scheduler,
    judge_arithmetic,
    judge_gpus,
    judge_memory,
)
from wsiparse.doctor.places import check_compile_cache, check_folder, check_hub_cache, check_temporary
from wsiparse.recognize.arithmetic import Arithmetic, arithmetic_of
from wsiparse.recognize.device import resolve_device
from wsiparse.recognize.hardware import Gpu, TorchFacts, torch_facts

GB = 1_000_000_000


def only(checks: Iterator[Check]) -> Check:
    [check] = checks
    return check


def gpu(fault: str = "") -> Gpu:
    return Gpu("NVIDIA H200", 150 * GB, 140 * GB, (9, 0), fault)


CUDA = TorchFacts("2.13.0", cuda="12.6")


@pytest.mark.parametrize(
    ("facts", "driver", "environment", "state", "words"),
    [
        (TorchFacts("2.13.0", cuda="12.6", gpus=(gpu(),)), "560.1", {}, "ok", "140.0 GB of 150.0 GB free"),
        (TorchFacts("2.13.0", cuda="12.6", gpus=(gpu("no kernel image"),)), "560.1", {}, "problem", "no kernel image"),
        (TorchFacts("2.13.0", cuda="12.6", fault="driver too old"), "450.0", {}, "note", "driver too old"),
        (CUDA, "560.1", {}, "note", "no device answers"),
        (CUDA, "560.1", {"CUDA_VISIBLE_DEVICES": ""}, "note", "hidden"),
        (CUDA, "560.1", {"CUDA_VISIBLE_DEVICES": "-1"}, "note", "hidden"),
        (TorchFacts("2.13.0+cpu"), "560.1", {}, "note", "this PyTorch is CPU only"),
        (TorchFacts("2.13.0+cpu"), None, {}, "note", "none"),
        (TorchFacts("2.13.0", mps=True), None, {}, "note", "Apple"),
    ],
)  # fmt: skip
def test_what_is_said_about_gpus(
    facts: TorchFacts, driver: str | None, environment: dict[str, str], state: str, words: str
) -> None:
    torch, check = judge_gpus(facts, driver, environment)
    assert torch.state == "ok"
    assert (check.name, check.state) == ("gpu", state)
    assert words in check.found


@pytest.mark.parametrize(
    ("device", "found", "fault", "state", "words"),
    [
        ("cpu", Arithmetic("openvino 2026.4", "bf16", "it computes bf16 (AMX)"), "", "ok", "bf16, on cpu: it"),
        ("cpu", Arithmetic("torch 2.13", "float32", "no OpenVINO"), "", "note", "torch 2.13, float32"),
        ("cpu", Arithmetic("torch 2.13", "float32", "no OpenVINO"), "GLIBC_2.28 not found", "note", "GLIBC_2.28"),
        ("cuda", Arithmetic("torch 2.13", "float32", "GPU"), "", "ok", "on cuda"),
        ("cuda", Arithmetic("torch 2.13", "float32", "GPU"), "no libtbb", "ok", "on cuda"),
    ],
)  # fmt: skip
def test_what_is_said_about_the_networks_arithmetic(
    device: str, found: Arithmetic, fault: str, state: str, words: str
) -> None:
    check = judge_arithmetic(device, found, fault)
    assert (check.name, check.state) == ("network", state)
    assert words in check.found
    assert ("openvino" in check.todo) == (state == "note")


def test_the_networks_arithmetic_is_what_a_run_would_resolve() -> None:
    check = only(check_arithmetic())
    found = arithmetic_of(resolve_device("auto"))
    assert check.found.startswith(f"{found.runtime}, {found.precision}, on ")


def test_a_torch_that_cannot_be_loaded_is_a_problem() -> None:
    check = only(judge_gpus(TorchFacts("", "libcudnn.so.9: cannot open"), None, {}))
    assert check.state == "problem"
    assert "libcudnn" in check.found


def test_a_torch_that_is_not_there_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    facts = torch_facts()
    assert facts.version == ""
    assert facts.fault


def test_a_driver_that_is_too_old_is_heard_though_torch_only_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    import torch

    def grumble() -> bool:
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old\n(found 11040).", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", grumble)
    facts = torch_facts()
    assert facts.fault == "CUDA initialization: The NVIDIA driver on your system is too old (found 11040)."
    assert facts.gpus == ()


@pytest.mark.gpu
def test_a_real_gpu_adds_two_numbers() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert all(gpu.fault == "" and 0 < gpu.free_bytes <= gpu.total_bytes for gpu in torch_facts().gpus)


def test_the_driver_is_read_from_the_kernel(tmp_path: Path) -> None:
    assert machine._driver(tmp_path) is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert machine._driver(tmp_path) == "unknown"
    (tmp_path / "proc" / "driver" / "nvidia").mkdir(parents=True)
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16 21:39:15 UTC 2024\nGCC version: 12\n"
    (tmp_path / "proc" / "driver" / "nvidia" / "version").write_text(text, encoding="ascii")
    assert machine._driver(tmp_path) == "560.35.03"
    text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build\n"
    (tmp_path / "proc" / "driver" / "nvidia" / "version").write_text(text, encoding="ascii")
    assert machine._driver(tmp_path) == "570.86.10"


@pytest.mark.parametrize(
    ("available", "limit", "state", "words"),
    [
        (64 * GB, None, "ok", "64.0 GB"),
        (64 * GB, 1 << 62, "ok", "64.0 GB"),
        (16 * GB, 16 * GB, "ok", "a limit of the container"),
        (4 * GB, 4 * GB, "note", "embedded engine"),
        (GB, GB, "problem", "too little"),
        (None, None, "note", "does not say"),
    ],
)
def test_what_is_said_about_memory(available: int | None, limit: int | None, state: str, words: str) -> None:
    check = judge_memory(available, limit)
    assert check.state == state
    assert words in check.found


def test_a_job_with_fewer_cores_than_it_can_reach_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_cores", lambda: 32)
    check = check_cores({"SLURM_CPUS_PER_TASK": "4"})
    assert check.state == "note"
    assert check.todo == "Give -n 4 to wsiparse run."
    assert check_cores({"SLURM_CPUS_PER_TASK": "32"}).state == "ok"
    assert check_cores({"NSLOTS": "undefined"}).state == "ok"


def test_outside_of_a_batch_job_there_is_nothing_to_say() -> None:
    assert only(check_scheduler({"HOME": "/x", "PATH": "/bin"})).found == "no batch job"


def test_the_share_of_an_array_job_is_told() -> None:
    environment = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1",
                   "SLURM_ARRAY_TASK_MAX": "8", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_NODELIST": "n1"}  # fmt: skip
    seen, share = check_scheduler(environment)
    assert "SLURM_JOB_ID=7" in seen.found
    assert "NODELIST" not in seen.found
    assert "share 3/8" in share.found


def test_an_array_job_of_unknown_size_is_a_note_because_nothing_is_shared_unasked() -> None:
    _, share = check_scheduler({"PBS_JOBID": "7[3]", "PBS_ARRAY_INDEX": "3"})
    assert share.state == "note"
    assert "WSIPARSE_SHARD_COUNT" in share.found


def test_a_good_folder_is_ok_and_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "free_disk_bytes", lambda _: 50 * GB)
    check = only(check_folder("results", tmp_path / "a" / "b"))
    assert check.state == "ok"
    assert "50.0 GB free" in check.found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free", "state"), [(1000, "problem"), (GB, "note"), (6 * GB, "ok")])
def test_a_folder_with_little_room_is_told(
    free: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "free_disk_bytes", lambda _: free)
    assert only(check_folder("results", tmp_path)).state == state


def test_a_folder_without_atomic_renames_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "replace", refuse)
    check = only(check_folder("results", tmp_path))
    assert check.state == "problem"
    assert "os.replace" in check.found


def test_no_folder_for_temporary_files_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    check = only(check_temporary())
    assert check.state == "problem"
    assert "TMPDIR" in check.todo


def test_a_compile_cache_that_was_asked_for_is_used(tmp_path: Path) -> None:
    check = check_compile_cache({"NUMBA_CACHE_DIR": str(tmp_path / "cache")})
    assert (check.state, check.found) == ("ok", str(tmp_path / "cache"))


def test_a_compile_cache_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    told = {"NUMBA_CACHE_DIR": str(tmp_path / "file")}
    check = check_compile_cache(told | {"HOME": str(tmp_path)})
    assert check.state == "note"
    assert "cannot be written to" in check.found
    monkeypatch.setattr(places, "publishing_fault", lambda _: "creating a file: Permission denied")
    check = check_compile_cache(told | {"HOME": str(tmp_path)})
    assert check.state == "problem"
    assert "NUMBA_CACHE_DIR" in check.todo


def test_the_hub_cache_is_where_the_variables_say(tmp_path: Path) -> None:
    assert str(tmp_path / "x") in check_hub_cache({"HF_HUB_CACHE": str(tmp_path / "x"), "HF_HOME": "/y"}).found
    (tmp_path / "hub").mkdir()
    assert f"{tmp_path / 'hub'} (there)" in check_hub_cache({"HF_HOME": str(tmp_path)}).found
