"""Which library computes a network here, and with numbers of how many bits.

Both change the last bits of results, so they are decided once, before anything is computed, and are part of what
results are called by (`wsiparse.run.plan`). On a processor OpenVINO runs the compact networks where it is installed,
PyTorch where it is not. "auto" is bf16 on processors that compute it, float32 on all others: nuclei and classes are as
good (docs/accuracy.md), and a slide takes half the time (docs/benchmarks.md). Processors that only imitate bf16 are
slower with it.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Final

from wsiparse.choices import Runtime, words
from wsiparse.errors import ConfigError
from wsiparse.types import RecognizerSpec

__all__ = [
    "RUNTIMES",
    "Arithmetic",
    "arithmetic_of",
    "bf16_units",
    "by_torch",
    "import_openvino",
    "onnx_resolved",
    "openvino_fault",
    "openvino_version",
    "resolved",
    "torch_version",
]

#: What `--runtime` takes.
RUNTIMES: Final = words(Runtime)

#: Where Linux tells what a processor computes.
_CPUINFO: Final = Path("/proc/cpuinfo")

#: Flags of x86 processors that multiply bf16, the faster one first, and what they are called.
_BF16_FLAGS: Final = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 bf16"}


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a network is computed with.

    Parameters
    ----------
    runtime : library and its version, "openvino 2026.4" or "torch 2.13"
    precision : "float32" | "bf16" | "fp16"
    why : a few words for people
    """

    runtime: str
    precision: str
    why: str


def arithmetic_of(device: str, precision: str = "auto", runtime: str = "auto") -> Arithmetic:
    """What stands behind "auto" for a compact network on a device of this machine.

    Parameters
    ----------
    device : "cpu", "cuda", "cuda:1", "mps"; not "auto"
    precision : "auto" | "float32" | "bf16" | "fp16"
    runtime : "auto" | "openvino" | "torch", or one with a version, as it is told: the version must be the one here

    Raises
    ------
    ConfigError
        If the runtime is not installed, or does not run on the device or in the precision.
    """
    wanted, _, told = runtime.partition(" ")
    if wanted not in RUNTIMES:
        raise ConfigError(f"runtime '{runtime}' is unknown: choose one of {', '.join(RUNTIMES)}.")
    if wanted == "onnxruntime":
        raise ConfigError("runtime 'onnxruntime' computes ONNX files only: use openvino or torch.")
    if device != "cpu":
        if wanted == "openvino":
            raise ConfigError(f"runtime 'openvino' runs on the processor only, not on {device}. Give --device cpu.")
        return _same(Arithmetic(torch_version(), "float32" if precision == "auto" else precision, "GPU"), told)
    if precision == "fp16":
        raise ConfigError("precision 'fp16' needs a GPU: use float32 or bf16 with --device cpu.")
    units = bf16_units()
    if precision == "auto":
        precision = "bf16" if units else "float32"
        why = f"the processor computes bf16 ({units})" if units else "the processor does not compute bf16"
    else:
        why = f"{precision} asked for"
    if precision == "bf16" and not units:  # OpenVINO would quietly compute float32 instead
        if wanted == "openvino":
            raise ConfigError(
                "runtime 'openvino' with precision 'bf16': this processor does not compute bf16. Use float32."
            )
        return _same(Arithmetic(torch_version(), precision, f"{why}; imitated by PyTorch, which is slow"), told)
    openvino = openvino_version() if wanted != "torch" else ""
    if wanted == "openvino" and not openvino:
        raise ConfigError("runtime 'openvino' is not installed: pip install openvino, or give --runtime torch.")
    if openvino:
        return _same(Arithmetic(openvino, precision, why), told)
    reason = "PyTorch asked for" if wanted == "torch" else "no OpenVINO"
    return _same(Arithmetic(torch_version(), precision, f"{reason}; {why}"), told)


def _same(found: Arithmetic, told: str) -> Arithmetic:
    """What was found, if it has the version that was told.

    Raises
    ------
    ConfigError
        If it has another one.
    """
    name, _, here = found.runtime.partition(" ")
    if told and told != here:
        raise ConfigError(
            f"runtime '{name} {told}': {found.runtime} is installed here, whose numbers may differ in the last bits. "
            f"Install {name} {told}, or begin anew."
        )
    return found


def resolved(spec: RecognizerSpec) -> RecognizerSpec:
    """The spec of a compact network with the runtime and precision that "auto" stands for; its device is resolved.

    Raises
    ------
    ConfigError
        As `arithmetic_of`.
    """
    found = arithmetic_of(spec.device, spec.precision, spec.runtime)
    return replace(spec, runtime=found.runtime, precision=found.precision)


def onnx_resolved(spec: RecognizerSpec) -> RecognizerSpec:
    """The spec of an ONNX file on the processor with the runtime and precision that "auto" stands for.

    Parameters
    ----------
    spec : its device is resolved

    Raises
    ------
    ConfigError
        If neither OpenVINO nor ONNX Runtime is here, or what is asked for is not, or does not run in the precision.
    """
    wanted, _, told = spec.runtime.partition(" ")
    if wanted == "torch":
        raise ConfigError("runtime 'torch' does not compute ONNX files: use openvino or onnxruntime.")
    onnxruntime = _named("onnxruntime") if importlib.util.find_spec("onnxruntime") is not None else ""
    openvino = openvino_version()
    precision = "float32" if spec.precision == "auto" else spec.precision
    found = {"openvino": openvino, "onnxruntime": onnxruntime, "auto": openvino or onnxruntime}[wanted]
    if not found:
        missing = "openvino" if wanted == "auto" else wanted
        raise ConfigError(f"an ONNX file needs the runtime {missing}, which is not installed: pip install {missing}.")
    if precision != "float32" and (precision != "bf16" or found == onnxruntime or not bf16_units()):
        raise ConfigError(
            f"precision '{precision}': {found} does not compute an ONNX file with it on this processor. Use float32."
        )
    return replace(spec, runtime=_same(Arithmetic(found, precision, ""), told).runtime, precision=precision)


def by_torch(spec: RecognizerSpec, auto: str) -> RecognizerSpec:
    """The spec of a network that PyTorch alone computes; its device is resolved.

    Parameters
    ----------
    spec : of an engine
    auto : the precision that "auto" stands for

    Raises
    ------
    ConfigError
        If another runtime is asked for, or another version of PyTorch than is here.
    """
    wanted, _, told = spec.runtime.partition(" ")
    if wanted not in ("auto", "torch"):
        raise ConfigError(f"runtime '{wanted}' does not compute the {spec.engine} engine. Leave --runtime out.")
    precision = auto if spec.precision == "auto" else spec.precision
    return replace(spec, runtime=_same(Arithmetic(torch_version(), precision, ""), told).runtime, precision=precision)


def bf16_units(cpuinfo: Path = _CPUINFO) -> str:
    """What of the processor multiplies bf16, "AMX" or "AVX-512 bf16"; "" for none, or where nobody tells.

    Of other processors than x86, and of other systems than Linux, nothing is known: no figures were measured there.

    Parameters
    ----------
    cpuinfo : where Linux tells it
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    flags = next((line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")), [])
    return next((name for flag, name in _BF16_FLAGS.items() if flag in flags), "")


def torch_version() -> str:
    """PyTorch's name and the first two numbers of its version."""
    return _named("torch")


def openvino_version() -> str:
    """OpenVINO's name and the first two numbers of its version; "" where it is not there or does not load."""
    return "" if _openvino_fault() is not None else _named("openvino")


def openvino_fault() -> str:
    """Why an OpenVINO that is installed is not used, one line; "" where it is used, or not installed."""
    return _openvino_fault() or ""


@cache
def _openvino_fault() -> str | None:
    """None where it works, "" where it is not installed."""
    if importlib.util.find_spec("openvino") is None:
        return ""
    try:
        import_openvino()
        _named("openvino")
    except (ImportError, OSError, PackageNotFoundError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _named(package: str) -> str:
    """Package and the first two numbers of its version: patches do not change how numbers are computed."""
    return f"{package} {'.'.join(version(package).split('+')[0].split('.')[:2])}"


def import_openvino() -> ModuleType:
    """OpenVINO, which tells nobody that it is used.

    Importing it would send a message to its makers and leave a file in the user's home (its package
    `openvino-telemetry`, on unless a user turned it off). Without that package it does neither, so it does not see it.

    Raises
    ------
    ImportError, OSError
        If it is not installed or its libraries do not load.
    """
    name = "openvino_telemetry"
    if "openvino" in sys.modules or name in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[name]
