from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from wsiparse.errors import ConfigError
from wsiparse.recognize import arithmetic
from wsiparse.recognize.arithmetic import Arithmetic, arithmetic_of, bf16_units, resolved, torch_version
from wsiparse.types import Prompt, PromptSet, RecognizerSpec

INTEL = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu sse2 avx512f avx512_bf16 amx_bf16 amx_tile\n\n"
AMD = "processor\t: 0\nflags\t\t: fpu sse2 avx512f avx512_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n"
OLD = "processor\t: 0\nflags\t\t: fpu sse2 avx2\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What the machine has, to be changed by the test."""
    has = {"openvino": "openvino 2026.4", "units": "AMX"}
    monkeypatch.setattr(arithmetic, "openvino_version", lambda: has["openvino"])
    monkeypatch.setattr(arithmetic, "bf16_units", lambda: has["units"])
    monkeypatch.setattr(arithmetic, "torch_version", lambda: "torch 2.13")
    return has


@pytest.mark.parametrize(("text", "units"), [(INTEL, "AMX"), (AMD, "AVX-512 bf16"), (OLD, ""), (ARM, ""), ("", "")])
def test_a_processor_tells_what_it_computes(text: str, units: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text, encoding="ascii")
    assert bf16_units(tmp_path / "cpuinfo") == units


def test_where_nobody_tells_nothing_is_known(tmp_path: Path) -> None:
    assert bf16_units(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("openvino", "units", "expected"),
    [
        ("openvino 2026.4", "AMX", ("openvino 2026.4", "bf16")),
        ("openvino 2026.4", "AVX-512 bf16", ("openvino 2026.4", "bf16")),
        ("openvino 2026.4", "", ("openvino 2026.4", "float32")),
        ("", "AVX-512 bf16", ("torch 2.13", "bf16")),
        ("", "", ("torch 2.13", "float32")),
    ],
)
def test_auto_is_what_the_processor_computes_by_what_is_installed(
    openvino: str, units: str, expected: tuple[str, str], machine: dict[str, str]
) -> None:
    machine |= {"openvino": openvino, "units": units}
    found = arithmetic_of("cpu")
    assert (found.runtime, found.precision) == expected
    assert ("no OpenVINO" in found.why) == (not openvino)
    assert ("does not compute bf16" in found.why) == (not units)


@pytest.mark.parametrize(
    ("precision", "runtime", "expected"),
    [
        ("float32", "auto", ("openvino 2026.4", "float32")),
        ("auto", "torch", ("torch 2.13", "bf16")),
        ("float32", "torch", ("torch 2.13", "float32")),
        ("bf16", "openvino", ("openvino 2026.4", "bf16")),
        ("bf16", "openvino 2026.4", ("openvino 2026.4", "bf16")),
    ],
)
@pytest.mark.usefixtures("machine")
def test_what_is_asked_for_is_taken(precision: str, runtime: str, expected: tuple[str, str]) -> None:
    found = arithmetic_of("cpu", precision, runtime)
    assert (found.runtime, found.precision) == expected


def test_bf16_on_a_processor_without_it_is_not_left_to_openvino_which_would_compute_float32(
    machine: dict[str, str],
) -> None:
    machine["units"] = ""
    assert arithmetic_of("cpu", "bf16").runtime == "torch 2.13"
    with pytest.raises(ConfigError, match="does not compute bf16"):
        arithmetic_of("cpu", "bf16", "openvino")


@pytest.mark.usefixtures("machine")
def test_a_gpu_is_pytorchs(machine: dict[str, str]) -> None:
    assert arithmetic_of("cuda:1") == Arithmetic("torch 2.13", "float32", "GPU")
    assert arithmetic_of("cuda", "fp16").precision == "fp16"
    with pytest.raises(ConfigError, match="on the processor only, not on cuda"):
        arithmetic_of("cuda", runtime="openvino")


@pytest.mark.parametrize(
    ("precision", "runtime", "said"),
    [
        ("fp16", "auto", "needs a GPU"),
        ("auto", "onnx", "choose one of auto, openvino, onnxruntime, torch"),
        ("auto", "openvino 2024.0", "openvino 2026.4 is installed here"),
        ("auto", "torch 1.0", "Install torch 1.0, or begin anew"),
    ],
)
@pytest.mark.usefixtures("machine")
def test_what_is_not_here_is_refused(precision: str, runtime: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        arithmetic_of("cpu", precision, runtime)


def test_a_missing_openvino_is_refused_when_it_is_asked_for(machine: dict[str, str]) -> None:
    machine["openvino"] = ""
    with pytest.raises(ConfigError, match="pip install openvino"):
        arithmetic_of("cpu", runtime="openvino")


@pytest.mark.usefixtures("machine")
def test_a_resolved_spec_resolves_to_itself() -> None:
    once = resolved(RecognizerSpec("any", PromptSet((Prompt("nuclei", "Nuclei"),)), "cpu"))
    assert (once.runtime, once.precision) == ("openvino 2026.4", "bf16")
    assert resolved(once) == once


def test_versions_leave_patches_out() -> None:
    name, _, numbers = torch_version().partition(" ")
    assert (name, numbers.count(".")) == ("torch", 1)


def _python(code: str, home: Path) -> str:
    """What a new process prints, whose home folder is `home` and which is no CI job."""
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD", "JENKINS_URL")}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"HOME": str(home), "USERPROFILE": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    code = (
        "import sys; from wsiparse.recognize.arithmetic import import_openvino; "
        "import_openvino().Core(); print([m for m in sys.modules if m.startswith('openvino_telemetry')])"
    )
    assert _python(code, tmp_path) == "[]"
    assert list(tmp_path.iterdir()) == []


def test_a_broken_openvino_is_none(tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("raise ImportError('no libopenvino.so')", encoding="ascii")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from wsiparse.recognize.arithmetic import arithmetic_of, openvino_fault; "
        "print(openvino_fault(), '/', arithmetic_of('cpu').runtime)"
    )
    assert _python(code, tmp_path).startswith("no libopenvino.so / torch ")
