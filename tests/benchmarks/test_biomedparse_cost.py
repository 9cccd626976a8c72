"""What one shared encoding saves over one full pass per prompt, and what half precision costs and gives.

The operation counts are asserted; times are only printed, and all four full
passes are made only when measuring (``pytest --benchmark-enable -m slow -s tests/benchmarks``).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.measuring import measuring
from tests.reference.recipe import recipe_array
from wsiparse.choices import Mode
from wsiparse.recognize.biomedparse.checkpoint import blank_network, expected_shapes, network_from_state
from wsiparse.recognize.biomedparse.engine import operations_per_tile
from wsiparse.recognize.biomedparse.network import BiomedParseNetwork, PromptMasks
from wsiparse.recognize.biomedparse.resample import resize_like_pillow
from wsiparse.recognize.biomedparse.tokenizer import END, START

#: Token ids of four cell prompts' lengths; which words they are changes no operation count.
PROMPTS = ([START, 11, 12, 13, END], [START, 21, 22, END], [START, 31, 32, 33, END], [START, 41, 42, 43, 44, END])

T = TypeVar("T")


def shared(network: BiomedParseNetwork, image: Tensor, half: torch.dtype | None = None) -> PromptMasks:
    return network.decode(network.encode_image(image, half), network.encode_text(PROMPTS))


def full_pass(network: BiomedParseNetwork, image: Tensor, prompt: list[int]) -> PromptMasks:
    return network.decode(network.encode_image(image), network.encode_text([prompt]))


def giga_operations(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e9


def cpu_seconds(work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def test_one_encoding_for_four_prompts_needs_3_5_times_fewer_operations() -> None:
    network = blank_network()
    image = torch.empty(1, 3, 1024, 1024, device="meta")
    once = giga_operations(lambda: shared(network, image))
    each = sum(giga_operations(lambda p=p: full_pass(network, image, p)) for p in PROMPTS)  # type: ignore[misc]
    per_prompt = (once - giga_operations(lambda: network.encode_image(image))) / len(PROMPTS)
    print(
        f"\nshared {once:.0f} GF, one pass per prompt {each:.0f} GF: {each / once:.2f}x; {per_prompt:.1f} GF a prompt"
    )
    assert each / once >= 3.5
    assert per_prompt < 35


def test_the_stated_operations_per_tile_are_those_counted() -> None:
    network = blank_network()
    encoding = network.encode_image(torch.empty(1, 3, 1024, 1024, device="meta"))
    encode = giga_operations(lambda: network.encode_image(torch.empty(1, 3, 1024, 1024, device="meta")))
    modes: tuple[Mode, ...] = ("solo", "joint")
    for prompts, tokens, mode in itertools.product((1, 5), (3, 20), modes):
        text = network.encode_text([[START] * tokens] * prompts)
        counted = encode + giga_operations(lambda text=text, mode=mode: network.decode(encoding, text, mode))  # type: ignore[misc]
        stated = operations_per_tile(prompts, tokens, joint=mode == "joint") / 1e9
        assert stated == pytest.approx(counted, rel=1e-3)
        assert stated - encode == pytest.approx(counted - encode, rel=0.02)


@pytest.mark.nightly
def test_the_shared_encoding_equals_full_passes_and_bf16_keeps_the_queries(
    request: pytest.FixtureRequest,
) -> None:
    # where a processor has no bfloat16, it takes ten minutes for a tile of 1024 px; every layer works at any size
    compared, edge = (PROMPTS, 1024) if measuring(request.config) else (PROMPTS[:1], 512)
    state = {key: torch.from_numpy(recipe_array("A", key, shape)) for key, shape in expected_shapes().items()}
    network = network_from_state(state)
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(60, 240, (1, 24, 24, 3), dtype=np.uint8))
    image = resize_like_pillow(coarse, (edge, edge))

    encode, encoding = cpu_seconds(lambda: network.encode_image(image))
    decode, together = cpu_seconds(lambda: network.decode(encoding, network.encode_text(PROMPTS)))
    del encoding
    passes = [cpu_seconds(lambda p=p: full_pass(network, image, p)) for p in compared]  # type: ignore[misc]
    each = sum(seconds for seconds, _ in passes) * len(PROMPTS) / len(compared)
    error = max(float((alone.logits - together.logits[:, [p]]).abs().max()) for p, (_, alone) in enumerate(passes))
    print(f"\nshared {encode:.1f} + {decode:.1f} CPU-s, one pass per prompt {each:.1f} CPU-s")
    print(f"{each / (encode + decode):.2f}x less; largest error {error:.1e}")
    assert error <= 5e-3

    half_encode, encoding = cpu_seconds(lambda: network.encode_image(image, torch.bfloat16))
    half = network.decode(encoding, network.encode_text(PROMPTS))
    flips = float(((half.logits > 0) != (together.logits > 0)).float().mean())
    top = together.scores[0].topk(2, dim=0).values
    gaps = (top[0] - top[1]).tolist()
    print(f"encoding with a bfloat16 backbone {half_encode:.1f} CPU-s; {flips:.2%} of mask pixels flip")
    print(f"queries {together.matched.tolist()} and {half.matched.tolist()}, gaps {[round(gap, 2) for gap in gaps]}")
    moved = float((half.scores - together.scores).abs().max())
    for p, gap in enumerate(gaps):
        # a query may change only where two were closer than bfloat16's own noise
        assert bool(half.matched[0, p] == together.matched[0, p]) or gap < 2 * moved
    assert flips < 0.1
