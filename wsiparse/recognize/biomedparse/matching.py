"""Which query answers which prompt: the one of highest cosine, as in CLIP (Radford et al., ICML 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["best_queries", "similarity"]

#: Largest factor a cosine is multiplied with, as in CLIP.
_MAX_SCALE = 100.0


def similarity(captions: Tensor, classes: Tensor, logit_scale: Tensor) -> Tensor:
    """Scaled cosine of every query and prompt.

    Parameters
    ----------
    captions : (B, Q, C) of a float dtype, caption embeddings of the queries
    classes : (P, C), same dtype, class embeddings of the prompts
    logit_scale : (), same dtype, natural logarithm of the scale

    Returns
    -------
    (B, Q, P), same dtype
    """
    v = captions / (captions.norm(dim=-1, keepdim=True) + 1e-7)
    t = classes / (classes.norm(dim=-1, keepdim=True) + 1e-7)
    scores: Tensor = logit_scale.exp().clamp(max=_MAX_SCALE) * (v @ t.transpose(-1, -2))
    return scores


def best_queries(scores: Tensor) -> Tensor:
    """The best query of each prompt: (B, Q, P) of a float dtype -> (B, P) int64; one may answer several prompts."""
    return torch.argmax(scores, dim=1)
