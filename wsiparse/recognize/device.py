"""Which processor an engine runs on."""

from __future__ import annotations

import os
import re
from typing import Final

from wsiparse.choices import Device, words
from wsiparse.errors import ConfigError

__all__ = ["check_device_name", "cuda_devices", "resolve_device"]

_NAME: Final = re.compile("|".join(words(Device)).replace("cuda", r"cuda(?::(\d+))?"))


def check_device_name(name: str) -> None:
    """Refuse names that no machine has; does not import torch.

    Raises
    ------
    ConfigError
        If the name is none of auto, cpu, cuda, cuda:N, mps.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"device '{name}' is unknown: choose {', '.join(words(Device))} or cuda:N.")


def resolve_device(name: str) -> str:
    """The torch device of a name, checked to be there; "auto" is the first CUDA GPU, or the CPU without one.

    Raises
    ------
    ConfigError
        If the name is unknown or this machine has no such device.
    """
    import torch

    check_device_name(name)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if gpus else "cpu"
    match = _NAME.fullmatch(name)
    assert match is not None
    if name.startswith("cuda") and int(match[1] or 0) >= gpus:
        raise ConfigError(f"device '{name}': PyTorch finds {gpus} CUDA GPUs here. Use --device cpu.")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps': PyTorch finds no Apple GPU here. Use --device cpu.")
    return name


def cuda_devices() -> tuple[str, ...]:
    """The CUDA GPUs this process may use, each as CUDA_VISIBLE_DEVICES takes it."""
    import torch

    n = torch.cuda.device_count() if torch.cuda.is_available() else 0
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return tuple(visible[:n]) if len(visible) >= n else tuple(str(k) for k in range(n))
