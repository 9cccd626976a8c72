"""A compact nucleus network of any widths: RGB at 0.5 um/px to foreground, centre, boundary and class maps.

A U-Net (Ronneberger et al., MICCAI 2015) whose ways up are added to the skips (as in LinkNet, Chaurasia & Culurciello,
VCIP 2017) instead of joined, so that no convolution sees twice the channels. Nothing runs at full resolution: pixels
are folded into channels in front and unfolded behind (Shi et al., CVPR 2016). The same class is trained (`norm=True`,
BatchNorm behind every 3 x 3 convolution) and run (`norm=False`, its scales folded into the convolutions by `folded`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from wsiparse.errors import WeightsError

__all__ = ["PLAIN_MAPS", "CompactNetwork", "NetworkShape", "folded", "load_compact", "save_compact"]

#: Said by the header of a weights file of these networks.
FAMILY: Final = "wsiparse-compact/1"

#: Edge of the block of pixels that becomes one cell of the finest level.
FOLD: Final = 2

#: Foreground, centre, boundary; class maps follow.
PLAIN_MAPS: Final = 3


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What must be equal for weights to fit.

    Parameters
    ----------
    widths : channels at 1/2, 1/4, 1/8 and 1/16 of the resolution
    deep : 3 x 3 convolutions at 1/16
    classes : class maps

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    deep: int = 3
    classes: int = 3

    def __post_init__(self) -> None:
        if len(self.widths) != 4 or min(self.widths) < 4 or not 1 <= self.deep <= 8 or not 0 <= self.classes <= 32:
            raise ValueError(f"no network has this shape: {asdict(self)}")

    @property
    def stride_px(self) -> int:
        """Edge of the coarsest cell: sizes and tile origins are multiples of it."""
        return FOLD * 8

    @property
    def reach_px(self) -> int:
        """How far inwards from the border of an aligned tile maps may depend on what lies outside."""
        ways = sum(2 * 2 * 2**level for level in (1, 2, 3)) + self.deep * self.stride_px
        return -(-ways // self.stride_px) * self.stride_px

    @property
    def maps(self) -> int:
        """Maps that the network answers."""
        return PLAIN_MAPS + self.classes

    def flop_per_px(self) -> float:
        """Floating-point operations (two a multiplication with its addition) per pixel of the image."""
        a, b, c, d = self.widths
        half = 9 * (3 * FOLD * FOLD * a + 3 * a * a) + a * self.maps * FOLD * FOLD
        quarter = 9 * (a * b + 3 * b * b) + a * b + b * self.classes
        eighth = 9 * (b * c + 3 * c * c) + b * c
        sixteenth = 9 * (c * d + (self.deep - 1) * d * d) + c * d
        return 2 * (half / 4 + quarter / 16 + eighth / 64 + sixteenth / 256)


class _Conv(nn.Module):
    """3 x 3 convolution, zero padding 1, BatchNorm while it is trained, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return functional.relu(x, inplace=True)


def _convs(inputs: int, outputs: int, count: int, *, norm: bool) -> nn.Sequential:
    return nn.Sequential(*(_Conv(inputs if k == 0 else outputs, outputs, norm=norm) for k in range(count)))


class CompactNetwork(nn.Module):
    """(B, 3, H, W) in [-1, 1], H and W multiples of 16 -> (B, 3 + classes, H, W) logits.

    Parameters
    ----------
    shape : widths and depth
    norm : whether BatchNorm is there (training) or folded away (running)
    """

    def __init__(self, shape: NetworkShape, *, norm: bool) -> None:
        super().__init__()
        a, b, c, d = shape.widths
        self.shape = shape
        self.enc0 = _convs(3 * FOLD * FOLD, a, 2, norm=norm)
        self.enc1 = _convs(a, b, 2, norm=norm)
        self.enc2 = _convs(b, c, 2, norm=norm)
        self.enc3 = _convs(c, d, shape.deep, norm=norm)
        self.up0, self.up1, self.up2 = nn.Conv2d(d, c, 1), nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)
        self.dec0 = _convs(c, c, 2, norm=norm)
        self.dec1 = _convs(b, b, 2, norm=norm)
        self.dec2 = _convs(a, a, 2, norm=norm)
        self.head = nn.Conv2d(a, shape.maps * FOLD * FOLD, 1)
        self.coarse_head = nn.Conv2d(b, shape.classes, 1) if shape.classes else None

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch.

        Parameters
        ----------
        x : (B, 3, H, W) of a float dtype, in [-1, 1]; H and W multiples of 16

        Returns
        -------
        (B, 3 + classes, H, W), same dtype: foreground, centre, boundary, classes
        """
        s0: Tensor = self.enc0(functional.pixel_unshuffle(x, FOLD))
        s1: Tensor = self.enc1(functional.max_pool2d(s0, 2))
        s2: Tensor = self.enc2(functional.max_pool2d(s1, 2))
        x = self.enc3(functional.max_pool2d(s2, 2))
        x = self.dec0(s2 + functional.interpolate(self.up0(x), scale_factor=2.0))
        quarter: Tensor = self.dec1(s1 + functional.interpolate(self.up1(x), scale_factor=2.0))
        x = self.dec2(s0 + functional.interpolate(self.up2(quarter), scale_factor=2.0))
        maps = functional.pixel_shuffle(self.head(x), FOLD)
        if self.coarse_head is None:
            return maps
        coarse = functional.interpolate(self.coarse_head(quarter), scale_factor=4.0)
        return torch.cat([maps[:, :PLAIN_MAPS], maps[:, PLAIN_MAPS:] + coarse], dim=1)


def folded(trained: Mapping[str, Tensor], eps: float = 1e-5) -> dict[str, Tensor]:
    """State of the network without BatchNorm that answers the same as the trained one in eval mode.

    Parameters
    ----------
    trained : (...) float32 tensors by name, the state of a network with ``norm=True``
    eps : epsilon of its BatchNorm

    Returns
    -------
    (...) float32 tensors by the names of a network with ``norm=False``
    """
    state: dict[str, Tensor] = {}
    for name, tensor in trained.items():
        if ".norm." in name:
            continue
        stem = name.removesuffix("conv.weight")
        if f"{stem}norm.weight" in trained:
            norm = {
                key: trained[f"{stem}norm.{key}"].double() for key in ("weight", "bias", "running_mean", "running_var")
            }
            scale = norm["weight"] / torch.sqrt(norm["running_var"] + eps)
            state[name] = (tensor.double() * scale[:, None, None, None]).float()
            state[f"{stem}conv.bias"] = (norm["bias"] - norm["running_mean"] * scale).float()
        else:
            state[name] = tensor.float()
    return state


def save_compact(trained: CompactNetwork) -> bytes:
    """A weights file: float16, BatchNorm folded, the shape in its header.

    Parameters
    ----------
    trained : network with ``norm=True``
    """
    state = {name: tensor.half().cpu().contiguous() for name, tensor in folded(trained.state_dict()).items()}
    # one key: the library writes several in any order, and the same weights shall be the same bytes
    content: bytes = save(state, {"network": json.dumps({"family": FAMILY, **asdict(trained.shape)})})
    return content


def load_compact(content: bytes, name: str = "weights") -> CompactNetwork:
    """The network of a weights file, float32, in eval mode, channels last.

    Parameters
    ----------
    content : the file
    name : name of the file, for errors

    Raises
    ------
    WeightsError
        If the file is damaged, or of another network.
    """
    try:
        told = json.loads(_facts_of(content).get("network", "{}"))
        if told.get("family") != FAMILY:
            raise WeightsError(f"{name}: weights of another network than {FAMILY}. Give a file of `wsiparse train`.")
        shape = NetworkShape(tuple(told["widths"]), told["deep"], told["classes"])
        # the random initialisation is overwritten at once; forking leaves the caller's generator where it was
        with torch.random.fork_rng(devices=[]):
            network = CompactNetwork(shape, norm=False)
        network.load_state_dict({key: tensor.float() for key, tensor in load(content).items()})
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{name}: damaged weights ({reason}). Copy the file again.") from error
    network.requires_grad_(requires_grad=False).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _facts_of(content: bytes) -> dict[str, str]:
    """Free text of a safetensors header: 8 bytes of its length, then JSON (the format's own description)."""
    length = int.from_bytes(content[:8], "little")
    facts: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return facts
