"""Prompt words to embeddings: a causal transformer over CLIP tokens (Radford et al., ICML 2021).

Attention is causal, so what follows the end-of-text token can never reach it; prompts are therefore encoded at their
own length, one by one, and a prompt's embedding does not depend on its companions to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wsiparse.recognize.biomedparse.config import NetworkConfig
from wsiparse.recognize.biomedparse.layers import MultiheadAttention

__all__ = ["DEFAULT_LOGIT_SCALE", "LanguageEncoder", "TextEncoding"]

#: ln(1 / 0.07), the start value of CLIP's temperature, for checkpoints that leave it out. It is positive, so it
#: scales similarities without changing which query is the best.
DEFAULT_LOGIT_SCALE = 2.659260036932778


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """Embeddings of P prompts, computed once and used on every tile.

    Parameters
    ----------
    tokens : P tensors (L_p, C) of the weights' dtype, one row a token, start and end tokens included; not normalised
    classes : (P, C), same dtype, the end-of-text row of each; not normalised
    """

    tokens: tuple[Tensor, ...]
    classes: Tensor

    def __len__(self) -> int:
        return len(self.tokens)


class _Mlp(nn.Module):
    """Linear, x * sigmoid(1.702 x) (CLIP's fast stand-in for GELU), linear."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(dim, 4 * dim)
        self.c_proj = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.c_fc(x)
        out: Tensor = self.c_proj(hidden * torch.sigmoid(1.702 * hidden))
        return out


class _ResidualBlock(nn.Module):
    """Pre-norm transformer block; this norm's eps (1e-12) is smaller than anywhere else in the network."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn = MultiheadAttention(dim, heads)
        self.ln_1 = nn.LayerNorm(dim, eps=1e-12)
        self.mlp = _Mlp(dim)
        self.ln_2 = nn.LayerNorm(dim, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, causal=True)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class _TextTransformer(nn.Module):
    """Token ids (1, L) -> hidden states (1, L, C)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocabulary, config.text_dim)
        self.positional_embedding = nn.Parameter(torch.zeros(config.context, config.text_dim))
        self.resblocks = nn.ModuleList(
            _ResidualBlock(config.text_dim, config.text_heads) for _ in range(config.text_layers)
        )
        self.ln_final = nn.LayerNorm(config.text_dim, eps=1e-12)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        for block in self.resblocks:
            x = block(x)
        out: Tensor = self.ln_final(x)
        return out


class LanguageEncoder(nn.Module):
    """The text side of the network: transformer, projection to the decoder's width, similarity scale."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.context = config.context
        self.lang_encoder = _TextTransformer(config)
        self.lang_proj = nn.Parameter(torch.empty(config.text_dim, config.hidden_dim))
        self.logit_scale = nn.Parameter(torch.tensor(DEFAULT_LOGIT_SCALE))
        nn.init.normal_(self.lang_proj, std=config.text_dim**-0.5)

    def forward(self, prompts: Sequence[Sequence[int]]) -> TextEncoding:
        """Encode prompts given as token ids from start-of-text to the first end-of-text, without padding.

        Raises
        ------
        ValueError
            If there is no prompt, or one is empty or longer than the context.
        """
        if not prompts:
            raise ValueError("no prompt to encode")
        for ids in prompts:
            if not 1 <= len(ids) <= self.context:
                raise ValueError(f"a prompt must have 1 to {self.context} tokens, got {len(ids)}")
        device = self.lang_proj.device
        tokens = tuple(
            self.lang_encoder(torch.tensor([list(ids)], device=device))[0] @ self.lang_proj for ids in prompts
        )
        return TextEncoding(tokens, torch.stack([rows[-1] for rows in tokens]))
