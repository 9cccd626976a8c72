"""Mask queries and prompt words to mask and caption embeddings (a Mask2Former-style decoder: Cheng et al., CVPR 2022).

Learned queries look at one scale of the image per layer, only where their own mask so far is positive, and then
exchange with the prompt's tokens. Two things make a prompt cheap once its tile is encoded:

* keys and values of the cross-attention depend on the image alone and are projected once per tile (`encode`);
* a mask is linear in the mask features, and so is its reduction to a coarser scale: reducing the features once per
  scale gives the same attention mask as reducing every query's full mask in every layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsiparse.recognize.biomedparse.config import DECODER_LEVELS, NetworkConfig
from wsiparse.recognize.biomedparse.layers import KeysValues, MultiheadAttention, sine_position
from wsiparse.recognize.biomedparse.pixel_decoder import PixelFeatures
from wsiparse.recognize.biomedparse.text import LanguageEncoder

__all__ = ["ImageEncoding", "MaskDecoder", "QueryEmbeddings", "reduce_plane"]


@dataclass(frozen=True, slots=True)
class ImageEncoding:
    """All that the decoder needs of a batch of B tiles of S px; computed once, used by every prompt.

    Parameters
    ----------
    mask_features : (B, S / 4, S / 4, C), the weights' dtype
    reduced : per decoder scale (strides 32, 16, 8) the mask features there, (B, N_i, C), row-major
        positions, same dtype
    memory : per decoder layer the projected keys and values of its scale, (B, heads, N_i, C / heads), same dtype
    """

    mask_features: Tensor
    reduced: tuple[Tensor, ...]
    memory: tuple[KeysValues, ...]


@dataclass(frozen=True, slots=True)
class QueryEmbeddings:
    """What the decoder says about Q queries.

    The dot product of a mask embedding with the mask features is the query's mask logit; the cosine of a caption
    embedding and a prompt's class embedding says how well the query answers that prompt.

    Parameters
    ----------
    masks, captions : (B, Q, C), the weights' dtype
    """

    masks: Tensor
    captions: Tensor


def reduce_plane(plane: Tensor, factor: int) -> Tensor:
    """Bilinear reduction by an even whole factor: the mean of the 2 x 2 pixels at each block's centre.

    That is what bilinear interpolation without antialiasing and without aligned corners does at such factors.

    Parameters
    ----------
    plane : (B, H, W, C) of a float dtype
    factor : px of the plane per px of the result

    Returns
    -------
    (B, H / factor, W / factor, C), same dtype

    Raises
    ------
    ValueError
        If `factor` is odd or does not divide H and W.
    """
    if factor % 2 or plane.shape[1] % factor or plane.shape[2] % factor:
        raise ValueError(f"cannot reduce a plane of {tuple(plane.shape[1:3])} px by {factor}")
    low, high = factor // 2 - 1, factor // 2
    upper, lower = plane[:, low::factor], plane[:, high::factor]
    return (upper[:, :, low::factor] + upper[:, :, high::factor] + lower[:, :, low::factor]).add_(
        lower[:, :, high::factor]
    ) / 4


class _CrossAttention(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.multihead_attn = MultiheadAttention(config.hidden_dim, config.heads)
        self.norm = nn.LayerNorm(config.hidden_dim)

    def keys_values(self, keys: Tensor, values: Tensor) -> KeysValues:
        return self.multihead_attn.keys_values(keys, values)

    def forward(self, content: Tensor, position: Tensor, memory: KeysValues, allowed: Tensor) -> Tensor:
        out: Tensor = self.norm(content + self.multihead_attn.attend(content + position, memory, allowed))
        return out


class _SelfAttention(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(config.hidden_dim, config.heads)
        self.norm = nn.LayerNorm(config.hidden_dim)

    def forward(self, content: Tensor, position: Tensor) -> Tensor:
        placed = content + position
        out: Tensor = self.norm(content + self.self_attn(placed, placed, content))
        return out


class _FeedForward(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.linear1 = nn.Linear(config.hidden_dim, config.ffn_dim)
        self.linear2 = nn.Linear(config.ffn_dim, config.hidden_dim)
        self.norm = nn.LayerNorm(config.hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x + self.linear2(functional.relu(self.linear1(x))))
        return out


class _Mlp3(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers[2](functional.relu(self.layers[1](functional.relu(self.layers[0](x)))))
        return out


class MaskDecoder(nn.Module):
    """The decoder and, inside it because checkpoints keep it there, the text encoder."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        dim, layers = config.hidden_dim, config.decoder_layers
        self.class_embed = nn.Parameter(torch.empty(dim, dim))
        self.transformer_self_attention_layers = nn.ModuleList(_SelfAttention(config) for _ in range(layers))
        self.transformer_cross_attention_layers = nn.ModuleList(_CrossAttention(config) for _ in range(layers))
        self.transformer_ffn_layers = nn.ModuleList(_FeedForward(config) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(dim)
        self.query_feat = nn.Embedding(config.queries, dim)
        self.query_embed = nn.Embedding(config.queries, dim)
        self.level_embed = nn.Embedding(DECODER_LEVELS, dim)
        self.lang_encoder = LanguageEncoder(config)
        self.mask_embed = _Mlp3(dim)
        nn.init.normal_(self.class_embed, std=dim**-0.5)

    def encode(self, features: PixelFeatures) -> ImageEncoding:
        """The image side of all layers, once per tile."""
        levels = []
        for level, scale in enumerate(features.scales):
            source = scale.flatten(2).transpose(1, 2) + self.level_embed.weight[level]
            position = sine_position(scale.shape[2], scale.shape[3], source.shape[2], source.device, source.dtype)
            levels.append((source + position, source))
        memory = tuple(
            layer.keys_values(*levels[index % DECODER_LEVELS])  # type: ignore[operator]  # a ModuleList forgets types
            for index, layer in enumerate(self.transformer_cross_attention_layers)
        )
        plane = features.mask_features.permute(0, 2, 3, 1).contiguous()
        reduced = tuple(
            reduce_plane(plane, plane.shape[1] // scale.shape[2]).flatten(1, 2) for scale in features.scales
        )
        return ImageEncoding(plane, reduced, memory)

    def blocked(self, normed: Tensor, reduced: Tensor) -> Tensor:
        """Where each query's mask so far is negative at one scale.

        Parameters
        ----------
        normed : (B, Q, C), the weights' dtype, queries after `decoder_norm`
        reduced : (B, N, C), same dtype, mask features at that scale

        Returns
        -------
        (B, Q, N) bool
        """
        logits: Tensor = self.mask_embed(normed) @ reduced.transpose(1, 2)
        return logits < 0

    def forward(self, image: ImageEncoding, tokens: Tensor) -> QueryEmbeddings:
        """Decode one set of tokens on a batch of tiles.

        Parameters
        ----------
        image : B encoded tiles
        tokens : (N, C), the weights' dtype, the tokens of one prompt (solo) or of several, one after the other (joint)

        Returns
        -------
        mask and caption embeddings of all queries after the last layer
        """
        b = image.mask_features.shape[0]
        count = self.query_feat.num_embeddings
        # the tokens' position is their own embedding and stays what it was while their content changes
        position = torch.cat((self.query_embed.weight, tokens))
        content = torch.cat((self.query_feat.weight, tokens)).expand(b, -1, -1)
        query_position = self.query_embed.weight
        for index, (cross, among, feed) in enumerate(
            zip(
                self.transformer_cross_attention_layers,
                self.transformer_self_attention_layers,
                self.transformer_ffn_layers,
                strict=True,
            )
        ):
            queries = content[:, :count]
            blocked = self.blocked(self.decoder_norm(queries), image.reduced[index % DECODER_LEVELS])
            # a query that may look nowhere looks everywhere
            allowed = ~blocked | blocked.all(dim=-1, keepdim=True)
            queries = cross(queries, query_position, image.memory[index], allowed[:, None])
            content = feed(among(torch.cat((queries, content[:, count:]), dim=1), position))
        normed = self.decoder_norm(content[:, :count])
        return QueryEmbeddings(self.mask_embed(normed), normed @ self.class_embed)
