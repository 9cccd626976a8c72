"""Building blocks shared by the text encoder, the pixel decoder and the mask decoder.

Attention follows Vaswani et al. (NeurIPS 2017); its weights are packed as in ``torch.nn.MultiheadAttention`` (query,
key and value projections stacked), because that is how checkpoints store them. Keys and values can be projected once
and used by many queries, which ``nn.MultiheadAttention`` does not offer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["KeysValues", "MultiheadAttention", "sine_position"]


class KeysValues(NamedTuple):
    """Projected keys and values.

    Parameters
    ----------
    keys, values : (B, heads, N, C / heads), the weights' dtype
    """

    keys: Tensor
    values: Tensor


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention with packed projections.

    Parameters
    ----------
    dim : width C of queries, keys and values
    heads : number of heads; divides `dim`
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def _project(self, x: Tensor, part: int) -> Tensor:
        """(B, N, C) through projection `part` (0 query, 1 key, 2 value) -> (B, heads, N, C / heads)."""
        dim = x.shape[-1]
        rows = slice(part * dim, (part + 1) * dim)
        out = functional.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return out.view(*x.shape[:2], self.heads, dim // self.heads).transpose(1, 2)

    def keys_values(self, keys: Tensor, values: Tensor) -> KeysValues:
        """Project keys and values once for any number of calls of `attend`.

        Parameters
        ----------
        keys, values : (B, N, C), the weights' dtype
        """
        return KeysValues(self._project(keys, 1), self._project(values, 2))

    def attend(
        self, queries: Tensor, memory: KeysValues, allowed: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Attention of queries over projected keys and values of N positions.

        Parameters
        ----------
        queries : (B, M, C), the weights' dtype
        memory : as `keys_values` gives them
        allowed : broadcastable to (B, heads, M, N), bool, True where a query may look; every row needs one True
        causal : position m sees keys 0..m only; not together with `allowed`

        Returns
        -------
        (B, M, C), same dtype
        """
        q = self._project(queries, 0)
        mixed = functional.scaled_dot_product_attention(
            q, memory.keys, memory.values, attn_mask=allowed, is_causal=causal
        )
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, causal: bool = False) -> Tensor:
        """Attention of queries over keys and values.

        Parameters
        ----------
        queries : (B, M, C), the weights' dtype
        keys, values : (B, N, C), same dtype
        causal : each query sees keys up to its own position only

        Returns
        -------
        (B, M, C), same dtype
        """
        return self.attend(queries, self.keys_values(keys, values), causal=causal)


def sine_position(height: int, width: int, dim: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Two-dimensional sine encoding of a plane, computed in float32 or better whatever runs around it.

    Half of the channels encode the row, the other half the column; even channels are sines, odd ones cosines, at
    wavelengths growing geometrically to 10000. Positions count from 1 and are scaled to (0, 2 pi] (Carion et al.
    2020, without the half-pixel shift of later variants).

    Parameters
    ----------
    device : where the result lies
    height, width : plane, px of the feature map
    dim : channels, a multiple of 4
    dtype : dtype of the result; a half-precision one is computed in float32 first

    Returns
    -------
    (height * width, dim) of `dtype`, row-major positions
    """
    half = dim // 2
    work = torch.float64 if dtype == torch.float64 else torch.float32
    wavelength = 10000.0 ** (2.0 * (torch.arange(half, device=device) // 2).to(work) / half)

    def along(extent: int) -> Tensor:
        position = torch.arange(1, extent + 1, device=device).to(work) / (extent + 1e-6) * (2 * math.pi)
        angle = position[:, None] / wavelength
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=-1).flatten(1)

    rows = along(height)[:, None, :].expand(height, width, half)
    columns = along(width)[None, :, :].expand(height, width, half)
    return torch.cat((rows, columns), dim=-1).flatten(0, 1).to(dtype)
