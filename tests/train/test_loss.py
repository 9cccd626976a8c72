from __future__ import annotations

import numpy as np
import torch

from tests.train.test_batches import planes
from wsiparse.train.loss import losses_of


def targets() -> torch.Tensor:
    return torch.stack([planes(k).float() / 255 for k in range(2)])


def perfect(t: torch.Tensor) -> torch.Tensor:
    maps = torch.logit(torch.stack([t[:, 3], t[:, 4], t[:, 5]], 1), eps=1e-4)
    return torch.cat([maps, 20 * (t[:, 8:] > 0).float()], 1)


def test_the_right_answer_costs_next_to_nothing_but_for_the_soft_centre() -> None:
    losses = losses_of(perfect(targets()), targets())
    assert float(losses.foreground) < 1e-3
    assert float(losses.overlap) < 1e-3
    assert float(losses.boundary) < 1e-3
    assert float(losses.classes) < 1e-3


def test_each_wrong_map_costs_in_its_own_part() -> None:
    t = targets()
    right = losses_of(perfect(t), t)
    for plane, name in ((0, "foreground"), (0, "overlap"), (1, "centre"), (2, "boundary"), (3, "classes")):
        wrong = perfect(t)
        wrong[:, plane] = -wrong[:, plane] if plane < 3 else 30
        assert float(getattr(losses_of(wrong, t), name)) > float(getattr(right, name)) + 0.1


def test_what_nobody_knows_costs_nothing() -> None:
    t = targets()
    t[:, 6:, :40] = 0
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 6, 96, 96))).requires_grad_()
    losses_of(logits, t.double()).total().backward()
    assert logits.grad is not None
    assert not logits.grad[..., :40, :].any()
    assert logits.grad[..., 40:, :].any()


def test_without_classes_and_without_anything_known_the_loss_is_finite() -> None:
    t = torch.zeros((1, 8, 16, 16))
    losses = losses_of(torch.zeros((1, 3, 16, 16)), t)
    assert torch.isfinite(losses.total())
    assert float(losses.classes) == 0
