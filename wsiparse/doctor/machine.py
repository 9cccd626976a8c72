"""Processors, memory, and what a batch system says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from wsiparse.doctor.check import Check, good, note, problem, size_text
from wsiparse.errors import ConfigError
from wsiparse.machine import available_cores, available_memory_bytes, memory_limit_bytes
from wsiparse.recognize.arithmetic import Arithmetic, arithmetic_of, openvino_fault
from wsiparse.recognize.device import resolve_device
from wsiparse.recognize.hardware import TorchFacts, torch_facts
from wsiparse.run.shards import array_variables, shard_from_environment

__all__ = [
    "check_arithmetic",
    "check_cores",
    "check_gpus",
    "check_memory",
    "check_scheduler",
    "judge_arithmetic",
    "judge_gpus",
    "judge_memory",
]

#: The embedded engine takes about 1 GB with the libraries, BiomedParse more than 4.
_LEAST_BYTES: Final = 1_500_000_000
_LITTLE_BYTES: Final = 6_000_000_000

_CHOOSE: Final = "Install the PyTorch build for it: https://pytorch.org/get-started/locally"

#: What batch systems set and a person looking for a fault wants to see; the rest of them is noise.
_VARIABLES: Final = re.compile(
    r"SLURM_(JOB_ID|JOB_PARTITION|ARRAY_.*|CPUS_PER_TASK|CPUS_ON_NODE|MEM_PER_(NODE|CPU|GPU)|NTASKS|RESTART_COUNT|GPUS.*)"
    r"|SLURM_TMPDIR|PBS_(JOBID|ARRAY_?I(NDEX|D)|NCPUS|QUEUE)|SGE_TASK_.*|JOB_ID|NSLOTS|LSB_(JOBID|JOBINDEX.*|DJOB_NUMPROC"
    r"|MAX_NUM_PROCESSORS)|WSIPARSE_SHARD_COUNT|CUDA_VISIBLE_DEVICES"
)

#: Variables that tell how many cores a job was given.
_CORES: Final = ("SLURM_CPUS_PER_TASK", "PBS_NCPUS", "NCPUS", "NSLOTS", "LSB_DJOB_NUMPROC")


def check_cores(environment: Mapping[str, str]) -> Check:
    """Cores this process may use, against those of the machine and those of the job."""
    cores, physical = available_cores(), os.cpu_count() or 1
    of = f"{cores} of this machine's {physical}"
    given = next((name for name in _CORES if environment.get(name, "").isdigit()), None)
    if given is not None and 0 < int(environment[given]) < cores:
        todo = f"Give -n {environment[given]} to wsiparse run."
        return note("cores", f"{of} can be used, but the job was given {environment[given]} ({given})", todo)
    return good("cores", of if cores < physical else f"{cores}")


def check_memory() -> Check:
    """Memory this process may use."""
    return judge_memory(available_memory_bytes(), memory_limit_bytes())


def judge_memory(available: int | None, limit: int | None) -> Check:
    """What to say about the memory.

    Parameters
    ----------
    available : bytes the process may use, None if unknown
    limit : bytes its control groups allow, None without a limit
    """
    if available is None:
        return note("memory", "the system does not say how much there is")
    bound = ", a limit of the container or the job" if limit is not None and limit <= available else ""
    found = f"{size_text(available)}{bound}"
    if available < _LEAST_BYTES:
        return problem("memory", f"{found}: too little", f"Ask for at least {size_text(_LEAST_BYTES)}.")
    if available < _LITTLE_BYTES:
        return note("memory", f"{found}: enough for the embedded engine", "Give -n 1 or 2; BiomedParse wants 8 GB.")
    return good("memory", found)


def check_gpus(environment: Mapping[str, str]) -> Iterator[Check]:
    """What PyTorch finds to compute on."""
    yield from judge_gpus(torch_facts(), _driver(), environment)


def check_arithmetic() -> Iterator[Check]:
    """Which library would compute the compact networks here, with numbers of how many bits, and why."""
    try:
        device = resolve_device("auto")
        found = arithmetic_of(device)
    except (ConfigError, ImportError, OSError):
        return  # what is wrong with PyTorch has been told
    yield judge_arithmetic(device, found, openvino_fault())


def judge_arithmetic(device: str, found: Arithmetic, fault: str) -> Check:
    """What to say about the runtime and precision.

    Parameters
    ----------
    device : that a run would take
    found : what stands behind "auto" on it
    fault : why an OpenVINO that is installed does not load, "" if it does or is not there
    """
    told = f"{found.runtime}, {found.precision}, on {device}: {found.why}"
    if device == "cpu" and fault:
        return note("network", f"{told}; OpenVINO is installed but does not load: {fault}", "pip install -U openvino")
    if device == "cpu" and not found.runtime.startswith("openvino"):
        return note("network", told, "pip install openvino, where it has wheels: it is faster and finds the same.")
    return good("network", told)


def _driver(root: Path = Path("/")) -> str | None:
    """Version of the NVIDIA driver, "unknown" where only its device is seen, None without."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown" if (root / "dev/nvidiactl").exists() else None
    match = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", text)
    return match[1] if match is not None else "unknown"


def judge_gpus(facts: TorchFacts, driver: str | None, environment: Mapping[str, str]) -> Iterator[Check]:
    """What to say about PyTorch and its devices.

    Parameters
    ----------
    facts : facts of PyTorch
    driver : version of the NVIDIA driver, None without
    environment : variables of the process
    """
    if not facts.version:
        yield problem("torch", f"cannot be loaded: {facts.fault}", "pip install -U torch")
        return
    build = f"CUDA {facts.cuda}" if facts.cuda else f"ROCm {facts.rocm}" if facts.rocm else "CPU only"
    yield good("torch", f"{facts.version}, built for {build}")
    for k, gpu in enumerate(facts.gpus):
        found = f"cuda:{k} {gpu.name}, {size_text(gpu.free_bytes)} of {size_text(gpu.total_bytes)} free"
        found += f", capability {gpu.capability[0]}.{gpu.capability[1]}" if facts.cuda else ""
        if gpu.fault:
            yield problem("gpu", f"{found}: {gpu.fault}", f"{_CHOOSE}; until then run with --device cpu.")
        else:
            yield good("gpu", found)
    if facts.gpus:
        return
    hidden = environment.get("CUDA_VISIBLE_DEVICES")
    if facts.mps:
        yield note("gpu", "Apple GPU; it is used only when asked for", "Give --device mps to use it.")
    elif driver is None:
        yield note("gpu", "none; everything runs on the processor")
    elif facts.rocm or not facts.cuda:
        yield note("gpu", f"not used: there is an NVIDIA driver ({driver}), but this PyTorch is {build}", _CHOOSE)
    elif hidden is not None and hidden.strip() in ("", "-1", "NoDevFiles"):
        yield note("gpu", f"hidden: CUDA_VISIBLE_DEVICES is '{hidden}'", "Unset it, or ask the batch system for a GPU.")
    else:
        found = f"not used: driver {driver}, PyTorch for CUDA {facts.cuda}: {facts.fault or 'no device answers'}"
        yield note("gpu", found, f"Update the driver, or: {_CHOOSE}")


def check_scheduler(environment: Mapping[str, str]) -> Iterator[Check]:
    """What a batch system says, and the share of the work that a run would take if it is told to."""
    seen = {name: environment[name] for name in sorted(environment) if _VARIABLES.fullmatch(name)}
    seen |= array_variables(environment)
    if not seen:
        yield good("scheduler", "no batch job")
        return
    yield good("scheduler", ", ".join(f"{name}={value}" for name, value in seen.items()))
    try:
        shard = shard_from_environment(environment)
    except ConfigError as error:
        yield note(
            "shard", str(error), "For --shard auto set the array as the line says; without --shard nothing is shared."
        )
        return
    if shard is not None:
        yield good(
            "shard", f"with --shard auto a run takes share {shard} here (from {shard.source}), without it everything"
        )
