from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.reference.recipe import miniature, recipe_weights
from wsiparse.recognize.biomedparse.checkpoint import expected_shapes
from wsiparse.recognize.biomedparse.tokenizer import ClipTokenizer


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder with the key list, the reference outputs and the tokenizer; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "biomedparse"
    if not (folder / "state_dict.json").is_file():
        pytest.skip("needs ../shared/biomedparse (key list, reference outputs, tokenizer), which is not here")
    return folder


@pytest.fixture(scope="session")
def tokenizer(published: Path) -> ClipTokenizer:
    return ClipTokenizer(published / "tokenizer.json")


@pytest.fixture(scope="session")
def mini_state() -> dict[str, Tensor]:
    """Weights of the miniature network, float32; not to be changed."""
    return {key: torch.from_numpy(value) for key, value in recipe_weights("B", expected_shapes(miniature())).items()}
