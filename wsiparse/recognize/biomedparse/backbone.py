"""Image to four feature maps: a focal modulation network (Yang et al., NeurIPS 2022), large geometry.

Everything between the convolutions is kept channels-last, (B, H, W, C): the linear layers and norms want it so, the
depthwise convolutions read the same memory as a permuted view, and no plane is ever transposed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsiparse.recognize.biomedparse.config import NetworkConfig

__all__ = ["FocalBackbone"]


def _conv_channels_last(conv: nn.Module, x: Tensor) -> Tensor:
    """A convolution on (B, H, W, C) -> (B, H', W', C')."""
    out: Tensor = conv(x.permute(0, 3, 1, 2))
    return out.permute(0, 2, 3, 1)


class _FocalModulation(nn.Module):
    """Each position is modulated by contexts of growing size, gated per position.

    Context l is a depthwise convolution of context l - 1; the last one is also averaged over the whole plane. The
    global average is why a tile's features depend on all of the tile.
    """

    def __init__(self, dim: int, levels: int, window: int) -> None:
        super().__init__()
        self.levels = levels
        self.f = nn.Linear(dim, 2 * dim + levels + 1)
        self.h = nn.Conv2d(dim, dim, kernel_size=1)
        self.proj = nn.Linear(dim, dim)
        # a sequence of one keeps the checkpoint's key "focal_layers.l.0.weight"
        self.focal_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, dim, k, padding=k // 2, groups=dim, bias=False))
            for k in (window + 2 * level for level in range(levels))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        dim = x.shape[-1]
        query, context, gates = self.f(x).split((dim, dim, self.levels + 1), dim=-1)
        total: Tensor | None = None
        for level, layer in enumerate(self.focal_layers):
            context = functional.gelu(_conv_channels_last(layer, context))
            gated = context * gates[..., level : level + 1]
            total = gated if total is None else total.add_(gated)
        overall = functional.gelu(context.mean(dim=(1, 2), keepdim=True))
        assert total is not None
        total = total.add_(overall * gates[..., self.levels :]).div_(self.levels + 1)
        modulator = functional.linear(total, self.h.weight[:, :, 0, 0], self.h.bias)
        out: Tensor = self.proj(query * modulator)
        return out


class _Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class _FocalBlock(nn.Module):
    """Modulation and MLP, each normed after (not before) and scaled per channel before it is added."""

    def __init__(self, dim: int, config: NetworkConfig) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.ones(dim))
        self.gamma_2 = nn.Parameter(torch.ones(dim))
        self.norm1 = nn.LayerNorm(dim)
        self.modulation = _FocalModulation(dim, config.focal_levels, config.focal_window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = _Mlp(dim, config.mlp_ratio * dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.gamma_1 * self.norm1(self.modulation(x))
        out: Tensor = x + self.gamma_2 * self.norm2(self.mlp(x))
        return out


class _ConvEmbedding(nn.Module):
    """A strided convolution and a norm over channels: the stem and the steps between stages."""

    def __init__(self, dim_in: int, dim_out: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(dim_in, dim_out, kernel, stride, padding)
        self.norm = nn.LayerNorm(dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H / stride, W / stride, C')."""
        out: Tensor = self.norm(_conv_channels_last(self.proj, x))
        return out


class _Stage(nn.Module):
    """Focal blocks at one scale, and the step down to the next (none after the last)."""

    def __init__(self, dim: int, depth: int, last: bool, config: NetworkConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_FocalBlock(dim, config) for _ in range(depth))
        self.downsample = None if last else _ConvEmbedding(dim, 2 * dim, kernel=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C), before the step down."""
        for block in self.blocks:
            x = block(x)
        return x


class FocalBackbone(nn.Module):
    """Four stages at strides 4, 8, 16 and 32."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        # padding 2, not the 3 that would centre a 7 x 7 kernel: the published weights were trained so
        self.patch_embed = _ConvEmbedding(3, config.embed_dim, kernel=7, stride=4, padding=2)
        last = len(config.depths) - 1
        self.layers = nn.ModuleList(
            _Stage(dim, depth, stage == last, config)
            for stage, (dim, depth) in enumerate(zip(config.stage_dims, config.depths, strict=True))
        )
        self.norm0, self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for dim in config.stage_dims)

    def compile_blocks(self) -> None:
        """Let ``torch.compile`` build the focal blocks; blocks of one stage share the result."""
        for block in self.modules():
            if isinstance(block, _FocalBlock):
                block.compile()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Feature maps of a normalised image.

        Parameters
        ----------
        image : (B, 3, H, W), the weights' dtype, RGB, zero mean and unit variance; H and W multiples of 32

        Returns
        -------
        four maps (B, C_i, H / 4 / 2^i, W / 4 / 2^i), i = 0..3, of a float dtype, channels-last in memory; with the
        published sizes 192 x 256 x 256, 384 x 128 x 128, 768 x 64 x 64 and 1536 x 32 x 32 for a 1024 px input

        Raises
        ------
        ValueError
            If H or W is not a multiple of 32.
        """
        if image.shape[2] % 32 or image.shape[3] % 32:
            raise ValueError(f"image sides must be multiples of 32 px, got {tuple(image.shape[2:])}")
        x = self.patch_embed(image.permute(0, 2, 3, 1))
        maps = []
        for stage, norm in zip(self.layers, (self.norm0, self.norm1, self.norm2, self.norm3), strict=True):
            assert isinstance(stage, _Stage)
            x = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = stage.downsample(x)  # from the stage's own output: the norm is for the pixel decoder only
        return maps[0], maps[1], maps[2], maps[3]
