"""What PyTorch finds to compute on, asked without assuming that any of it works."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

__all__ = ["Gpu", "TorchFacts", "torch_facts"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A CUDA or ROCm device.

    Parameters
    ----------
    name : name of the product
    total_bytes, free_bytes : those of its memory
    capability : CUDA compute capability, (major, minor)
    fault : why a small sum on it failed, one line; "" if it worked
    """

    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int]
    fault: str


@dataclass(frozen=True, slots=True)
class TorchFacts:
    """PyTorch and its devices.

    Parameters
    ----------
    version : version of PyTorch, "" if it cannot be imported
    fault : why it cannot be imported, or what it says against its devices; "" if nothing
    cuda : version of CUDA it was built for, "" if for none
    rocm : the same of ROCm
    gpus : devices in its order
    mps : whether Apple's GPU can be used
    """

    version: str
    fault: str = ""
    cuda: str = ""
    rocm: str = ""
    gpus: tuple[Gpu, ...] = ()
    mps: bool = False


def torch_facts() -> TorchFacts:
    """Import PyTorch, list the devices and add two numbers on each."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return TorchFacts("", _line(error))
    # it warns, rather than fails, when the driver is too old for it
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        gpus = tuple(_try(k) for k in range(count))
    return TorchFacts(
        version=torch.__version__,
        fault=" ".join(str(said[0].message).split()) if said else "",
        cuda=torch.version.cuda or "",
        rocm=getattr(torch.version, "hip", None) or "",
        gpus=gpus,
        mps=torch.backends.mps.is_available(),
    )


def _try(index: int) -> Gpu:
    import torch

    facts = torch.cuda.get_device_properties(index)
    free, fault = 0, ""
    try:
        free = torch.cuda.mem_get_info(index)[0]
        if float(torch.ones(2, device=f"cuda:{index}").sum().item()) != 2.0:
            fault = "computes wrong sums"
    except RuntimeError as error:
        fault = _line(error)
    return Gpu(facts.name, facts.total_memory, free, (facts.major, facts.minor), fault)


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
