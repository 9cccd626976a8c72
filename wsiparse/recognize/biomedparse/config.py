"""The sizes of the network: the published model by default, a miniature for tests, the same code for both.

Every module takes its sizes from one `NetworkConfig`; nothing else decides a shape. NumPy and torch are not needed
to read this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DECODER_LEVELS", "NetworkConfig"]

#: Feature scales the mask decoder looks at: strides 32, 16 and 8 of the network input.
DECODER_LEVELS: Final = 3

#: The backbone halves the plane this often, so inputs are multiples of this many px.
_INPUT_MULTIPLE: Final = 32


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of a BiomedParse v1 network; the defaults are those of the published weights.

    Parameters
    ----------
    input_px : edge of the square network input; the published model was trained at 1024 only
    embed_dim : channels of the first backbone stage; each later stage has twice as many
    depths : focal blocks per stage
    focal_levels : depthwise contexts per focal block (without the global one)
    focal_window : kernel of the first context; each next one is 2 px wider
    mlp_ratio : hidden width of a focal block's MLP, in channels
    hidden_dim : width of pixel decoder, mask features and mask decoder
    heads : attention heads in pixel decoder and mask decoder
    ffn_dim : hidden width of their feed-forward layers
    encoder_layers : transformer layers on the stride-32 map
    decoder_layers : mask decoder layers; layer l looks at scale l mod 3
    queries : learned mask queries
    norm_groups : groups of every GroupNorm
    vocabulary : token ids are below this
    context : longest prompt, tokens
    text_dim, text_heads, text_layers : the text transformer

    Raises
    ------
    ValueError
        If `input_px` is no multiple of 32, `hidden_dim` does not divide by `heads`, `norm_groups` and 4, `text_dim` not
        by `text_heads`, or `focal_window` is even.
    """

    input_px: int = 1024
    embed_dim: int = 192
    depths: tuple[int, int, int, int] = (2, 2, 18, 2)
    focal_levels: int = 4
    focal_window: int = 3
    mlp_ratio: int = 4
    hidden_dim: int = 512
    heads: int = 8
    ffn_dim: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 9
    queries: int = 101
    norm_groups: int = 32
    vocabulary: int = 49408
    context: int = 77
    text_dim: int = 512
    text_heads: int = 8
    text_layers: int = 12

    def __post_init__(self) -> None:
        if self.input_px < _INPUT_MULTIPLE or self.input_px % _INPUT_MULTIPLE:
            raise ValueError(f"input_px must be a multiple of {_INPUT_MULTIPLE}, got {self.input_px}")
        if self.hidden_dim % self.heads or self.hidden_dim % self.norm_groups or self.hidden_dim % 4:
            raise ValueError(
                f"hidden_dim {self.hidden_dim} must divide by heads {self.heads}, norm_groups {self.norm_groups} and 4"
            )
        if self.text_dim % self.text_heads:
            raise ValueError(f"text_dim {self.text_dim} must divide by text_heads {self.text_heads}")
        if self.focal_window % 2 == 0:
            raise ValueError(f"focal_window must be odd, got {self.focal_window}")

    @property
    def stage_dims(self) -> tuple[int, int, int, int]:
        """Channels of the four backbone stages (strides 4, 8, 16, 32)."""
        c = self.embed_dim
        return c, 2 * c, 4 * c, 8 * c
