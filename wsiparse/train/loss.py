"""How wrong maps are: each plane where it is known, by its weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from wsiparse.train.targets import FIRST_CLASS_PLANE

__all__ = ["Losses", "losses_of"]


@dataclass(frozen=True, slots=True)
class Losses:
    """Parts of the loss.

    Parameters
    ----------
    foreground : () float32, cross entropy
    overlap : () float32, 1 - Dice
    centre, boundary, classes : () float32, cross entropies
    """

    foreground: Tensor
    overlap: Tensor
    centre: Tensor
    boundary: Tensor
    classes: Tensor

    def total(self) -> Tensor:
        """What is minimised, () float32."""
        return self.foreground + 0.5 * self.overlap + self.centre + 0.5 * self.boundary + self.classes


def losses_of(logits: Tensor, planes: Tensor) -> Losses:
    """Loss of a batch.

    Parameters
    ----------
    logits : (B, 3 + classes, H, W) float32
    planes : (B, FIRST_CLASS_PLANE + classes, H, W) float32, as in `wsiparse.train.targets`, 0-1
    """
    foreground, centre, boundary, known, shape = (planes[:, k] for k in range(3, 8))
    weight = known * (1 + boundary)
    total = weight.sum() + 1

    def cross_entropy(plane: int, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(logits[:, plane], target, reduction="none")

    probability = torch.sigmoid(logits[:, 0])
    both = (known * probability * foreground).sum()
    either = (known * (probability + foreground)).sum()
    shaped = shape * (0.25 + foreground)
    edged = shape * (1 + 2 * boundary)
    class_weight = planes[:, FIRST_CLASS_PLANE:]
    if class_weight.shape[1]:
        log_share = functional.log_softmax(logits[:, 3:], dim=1)
        classes = -(class_weight * log_share).sum() / (class_weight.sum() + 100)
    else:
        classes = logits.new_zeros(())
    return Losses(
        foreground=(weight * cross_entropy(0, foreground)).sum() / total,
        overlap=1 - (2 * both + 100) / (either + 100),
        centre=(shaped * cross_entropy(1, centre)).sum() / (shaped.sum() + 1),
        boundary=(edged * cross_entropy(2, boundary)).sum() / (edged.sum() + 1),
        classes=classes,
    )
