from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.field.tiles import FieldTile, core_field
from wsiparse.types import Box, Prompt, PromptSet, Recognition, Tile

PROMPTS = PromptSet(
    (Prompt("a", "A"), Prompt("b", "B", kind="region"), Prompt("c", "C"), Prompt("d", "D", kind="region"))
)
TILE = Tile(3, Box(-2, -1, 12, 10), Box(0, 0, 7, 6))


def made(seed: int, prompts: PromptSet = PROMPTS) -> tuple[FieldTile, Recognition, np.ndarray, np.ndarray]:
    """The core of a random recognition, with what it was made of: recognition, mask, OD."""
    rng = np.random.default_rng(seed)
    p = rng.random((2, len(prompts), 10, 12)).astype(np.float32) * rng.choice(np.array([0.3, 0.7, 1], np.float32))
    recognition = Recognition(p, rng.integers(0, 256, (2, 10, 12), np.uint8))
    mask, od = rng.random((6, 7)) < 0.8, rng.integers(0, 242, (6, 7), np.uint8)
    ids = tuple(range(1, len(prompts) + 1))
    return core_field(recognition, 1, TILE, prompts, mask, ids, od), recognition, mask, od


@given(st.integers(0, 500), st.sampled_from([PROMPTS, PromptSet(PROMPTS.prompts[:1]), PromptSet(PROMPTS.prompts[1:2])]))
def test_optical_density_is_kept_where_any_prompt_is_and_0_elsewhere(seed: int, prompts: PromptSet) -> None:
    tile, recognition, mask, od = made(seed, prompts)
    there = (recognition.probabilities[1, :, 1:7, 2:9] > 0.5).any(axis=0) & mask
    np.testing.assert_array_equal(tile.od, np.where(there, od, 0))
    assert tile.od.dtype == np.uint8


@given(st.integers(0, 500))
def test_background_is_0_in_every_byte(seed: int) -> None:
    tile, _, mask, _ = made(seed)
    background = (tile.cells[0] == 0) & (tile.regions == 0).all(axis=0)
    assert background[~mask].all()
    assert not tile.od[background].any()
    assert not tile.cells[:, tile.cells[0] == 0].any()
