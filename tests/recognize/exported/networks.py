"""Networks whose answers can be said beforehand: they read maps off the colours of the picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Channels", "Colours", "NaNs", "Shrunk", "TwoOutputs"]


class Colours(nn.Module):
    """(B, 3, H, W), 0-1 -> as many maps as there are colours, 1 where a pixel has just that colour."""

    def __init__(self, *colours: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("colours", torch.tensor(colours, dtype=torch.float32).view(len(colours), 3, 1, 1) / 255)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return ((x - self.colours).abs().amax(1) < 1e-3).float().unsqueeze(0)


class Channels(nn.Module):
    """The picture itself, blurred a little so that maps depend on the surround."""

    def forward(self, x: Tensor) -> Tensor:
        """Mean of 3 x 3."""
        return torch.nn.functional.avg_pool2d(x, 3, 1, 1)


class TwoOutputs(nn.Module):
    """The channels of a picture in two answers."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One channel and the two others."""
        return x[:, :1] * 1, x[:, 1:] * 1


class NaNs(nn.Module):
    """No numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero by zero."""
        return (x - x) / (x - x)


class Shrunk(nn.Module):
    """A network that crops its surround, and answers every second pixel."""

    def __init__(self, margin: int, stride: int = 1) -> None:
        super().__init__()
        self.margin, self.stride = margin, stride

    def forward(self, x: Tensor) -> Tensor:
        """The middle, every `stride` px."""
        m = self.margin
        height, width = x.shape[2], x.shape[3]
        return x[:, :, m : height - m, m : width - m][:, :, :: self.stride, :: self.stride] * 1
