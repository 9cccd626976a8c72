"""Four backbone maps to mask features and three decoder scales: a feature pyramid under a small transformer.

The coarsest map goes through a DETR encoder (Carion et al., ECCV 2020); the pyramid (Lin et al., CVPR 2017) then climbs
from it to stride 4. Layer and adapter k belong to backbone stage k - 1.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from wsiparse.recognize.biomedparse.config import NetworkConfig
from wsiparse.recognize.biomedparse.layers import MultiheadAttention, sine_position

__all__ = ["PixelDecoder", "PixelFeatures"]


class PixelFeatures(NamedTuple):
    """Output of the pixel decoder, for an input of S px.

    Parameters
    ----------
    mask_features : (B, C, S / 4, S / 4), the weights' dtype
    scales : (B, C, S / 32, S / 32), (B, C, S / 16, S / 16), (B, C, S / 8, S / 8), same dtype
    encoded : (B, C, S / 32, S / 32), same dtype, the transformer's output
    """

    mask_features: Tensor
    scales: tuple[Tensor, Tensor, Tensor]
    encoded: Tensor


class _ConvGroupNorm(nn.Conv2d):
    """A convolution without bias and its GroupNorm, stored under the convolution's own key."""

    def __init__(self, dim_in: int, dim_out: int, kernel: int, groups: int) -> None:
        super().__init__(dim_in, dim_out, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(groups, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(super().forward(x))
        return out


class _EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each normed after it is added; positions enter queries and keys only."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.self_attn = MultiheadAttention(dim, config.heads)
        self.linear1 = nn.Linear(dim, config.ffn_dim)
        self.linear2 = nn.Linear(config.ffn_dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """(B, N, C) and (N, C) -> (B, N, C)."""
        placed = x + position
        x = self.norm1(x + self.self_attn(placed, placed, x))
        out: Tensor = self.norm2(x + self.linear2(functional.relu(self.linear1(x))))
        return out


class _Encoder(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_EncoderLayer(config) for _ in range(config.encoder_layers))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, position)
        return x


class _Transformer(nn.Module):
    """Holds the encoder under the checkpoint's key "transformer.encoder"."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.encoder = _Encoder(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        b, dim, height, width = x.shape
        position = sine_position(height, width, dim, x.device, x.dtype)
        tokens: Tensor = self.encoder(x.flatten(2).transpose(1, 2), position)
        return tokens.transpose(1, 2).reshape(b, dim, height, width)


class PixelDecoder(nn.Module):
    """Feature pyramid with a transformer at its top."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        dim, groups = config.hidden_dim, config.norm_groups
        c1, c2, c3, c4 = config.stage_dims
        self.adapter_1 = _ConvGroupNorm(c1, dim, 1, groups)
        self.layer_1 = _ConvGroupNorm(dim, dim, 3, groups)
        self.adapter_2 = _ConvGroupNorm(c2, dim, 1, groups)
        self.layer_2 = _ConvGroupNorm(dim, dim, 3, groups)
        self.adapter_3 = _ConvGroupNorm(c3, dim, 1, groups)
        self.layer_3 = _ConvGroupNorm(dim, dim, 3, groups)
        self.mask_features = nn.Conv2d(dim, dim, kernel_size=3, padding=1)
        self.input_proj = nn.Conv2d(c4, dim, kernel_size=1)
        self.transformer = _Transformer(config)
        self.layer_4 = _ConvGroupNorm(dim, dim, 3, groups)

    def forward(self, maps: tuple[Tensor, Tensor, Tensor, Tensor]) -> PixelFeatures:
        """Decode the backbone's maps of an input of S px.

        Parameters
        ----------
        maps : (B, C_i, S / 4 / 2^i, S / 4 / 2^i), i = 0..3, the weights' dtype
        """
        encoded = self.transformer(self.input_proj(maps[3]))
        y4 = functional.relu_(self.layer_4(encoded))
        y3 = functional.relu_(self.layer_3(self._merge(self.adapter_3(maps[2]), y4)))
        y2 = functional.relu_(self.layer_2(self._merge(self.adapter_2(maps[1]), y3)))
        y1 = functional.relu_(self.layer_1(self._merge(self.adapter_1(maps[0]), y2)))
        return PixelFeatures(self.mask_features(y1), (y4, y3, y2), encoded)

    @staticmethod
    def _merge(lateral: Tensor, above: Tensor) -> Tensor:
        """The lateral map (no activation on it) plus the nearest-neighbour enlargement of the coarser one.

        The coarser pixel is added through a view of its 2 x 2 children: the enlarged map is never stored.
        """
        b, c, height, width = above.shape
        lateral.view(b, c, height, 2, width, 2).add_(above[:, :, :, None, :, None])
        return lateral
