"""The compact nucleus network that ships with the package: a small U-Net on pixel-unshuffled RGB.

682,860 parameters, trained only on CC0 pixels (BBBC038 / DSB-2018 stage 1 re-rendered as H&E, OpenSlide's
CMU-1-Small-Region); BatchNorm is folded into the convolutions. It sees RGB at 0.5 um/px and answers three maps:
foreground (nucleus), centre (one peak a nucleus) and boundary (not used further).

The plan follows Ronneberger et al., "U-Net" (MICCAI 2015), with a pixel unshuffle in front and a pixel shuffle behind
(Shi et al., CVPR 2016) so that no convolution runs at full resolution.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from wsiparse.errors import WeightsError
from wsiparse.recognize.embedded import STRIDE_PX, WEIGHTS, weights_bytes

__all__ = ["NucleusNetwork", "load_network", "nucleus_maps", "up_and_join"]

_MAPS: Final = 3
_FOLD: Final = 2
_ENCODER: Final = ((12, 24), (24, 48), (48, 96), (96, 96))
_DECODER: Final = ((192, 96), (144, 48), (72, 24))


class _Convs(nn.Module):
    """Two 3 x 3 convolutions with ReLU, zero padding 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x), inplace=True)
        return functional.relu(self.conv2(x), inplace=True)


class NucleusNetwork(nn.Module):
    """(B, 3, H, W) in [-1, 1], H and W multiples of 16 -> (B, 3, H, W) logits: foreground, centre, boundary."""

    def __init__(self) -> None:
        super().__init__()
        self.enc0, self.enc1, self.enc2, self.enc3 = (_Convs(a, b) for a, b in _ENCODER)
        self.dec0, self.dec1, self.dec2 = (_Convs(a, b) for a, b in _DECODER)
        self.head = nn.Conv2d(_DECODER[-1][1], _MAPS * _FOLD * _FOLD, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch.

        Parameters
        ----------
        x : (B, 3, H, W), the weights' dtype, in [-1, 1]; H and W multiples of 16

        Returns
        -------
        (B, 3, H, W), same dtype: foreground, centre, boundary
        """
        s0: Tensor = self.enc0(functional.pixel_unshuffle(x, _FOLD))
        s1: Tensor = self.enc1(functional.max_pool2d(s0, 2))
        s2: Tensor = self.enc2(functional.max_pool2d(s1, 2))
        x = self.enc3(functional.max_pool2d(s2, 2))
        x = self.dec0(up_and_join(x, s2))
        x = self.dec1(up_and_join(x, s1))
        x = self.dec2(up_and_join(x, s0))
        return functional.pixel_shuffle(self.head(x), _FOLD)


def up_and_join(coarse: Tensor, skip: Tensor) -> Tensor:
    """One map enlarged twofold, each value repeated, and the channels of another behind its own.

    Channels last, written in one pass: interpolating and concatenating writes the larger part of it twice.

    Parameters
    ----------
    coarse : (B, C, H, W) of a float dtype
    skip : (B, D, 2 * H, 2 * W), same dtype

    Returns
    -------
    (B, C + D, 2 * H, 2 * W), same dtype
    """
    b, c, h, w = coarse.shape
    joined = torch.empty((b, 2 * h, 2 * w, c + skip.shape[1]), dtype=coarse.dtype, device=coarse.device)
    joined.view(b, h, 2, w, 2, -1)[..., :c] = coarse.permute(0, 2, 3, 1)[:, :, None, :, None]
    joined[..., c:] = skip.permute(0, 2, 3, 1)
    return joined.permute(0, 3, 1, 2)


def load_network(device: str = "cpu", dtype: torch.dtype = torch.float32) -> NucleusNetwork:
    """The shipped network in eval mode, channels last.

    Parameters
    ----------
    device : torch device string
    dtype : torch.float32, torch.bfloat16 or torch.float16; the file holds float16

    Raises
    ------
    WeightsError
        If the weights are absent from the installed package, damaged, or of another network.
    """
    # the random initialisation is overwritten at once; forking leaves the caller's generator where it was
    with torch.random.fork_rng(devices=[]):
        network = NucleusNetwork()
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in load(weights_bytes()).items()})
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{WEIGHTS}: not the embedded network's weights ({reason}). Reinstall wsiparse.") from error
    network.requires_grad_(requires_grad=False).eval()
    network.to(device=device, dtype=dtype)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def nucleus_maps(network: NucleusNetwork, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Foreground, centre and boundary maps of a batch.

    Sizes that are not multiples of 16 are mirrored at the bottom and right and cut again.

    Parameters
    ----------
    images : (B, H, W, 3) uint8 RGB at 0.5 um/px

    Returns
    -------
    (B, 3, H, W) float32 in [0, 1], the sigmoid of the logits
    """
    height, width = images.shape[1:3]
    pad = (-height % STRIDE_PX, -width % STRIDE_PX)
    if any(pad):
        images = np.pad(images, ((0, 0), (0, pad[0]), (0, pad[1]), (0, 0)), mode="reflect")
    weight = network.head.weight
    with torch.inference_mode():
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(weight.device)
        # NHWC memory seen as NCHW is exactly channels_last
        x = (pixels.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1).to(weight.dtype)
        maps: NDArray[np.float32] = torch.sigmoid(network(x).float()).cpu().numpy()
    return maps[:, :, :height, :width]
