from __future__ import annotations

import itertools
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import PromptError, WeightsError
from wsiparse.recognize.biomedparse.tokenizer import CONTEXT, END, START, ClipTokenizer

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def kind(character: str) -> str:
    category = unicodedata.category(character)[0]
    return "space" if character.isspace() else {"L": "letter", "N": "number"}.get(category, "other")


def words(text: str) -> list[str]:
    """Runs of letters, single digits, runs of anything else; contractions first."""
    out, i = [], 0
    while i < len(text):
        contraction = next((c for c in CONTRACTIONS if text.startswith(c, i)), None)
        end = i + 1
        if contraction is not None:
            end = i + len(contraction)
        elif kind(text[i]) in ("letter", "other"):
            while end < len(text) and kind(text[end]) == kind(text[i]):
                end += 1
        if kind(text[i]) != "space":
            out.append(text[i:end])
        i = end
    return out


@pytest.fixture(scope="module")
def slow_ids(published: Path) -> Callable[[str], list[int]]:
    """CLIP's tokenizer by its definition: merge the pair that was learned first until none is left."""
    model = json.loads((published / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    letters = byte_letters()

    def encode(text: str) -> list[int]:
        ids = [START]
        for word in words(unicodedata.normalize("NFC", text).lower()):
            parts = [letters[b] for b in word.encode()]
            parts[-1] += "</w>"
            while len(parts) > 1:
                pairs = list(itertools.pairwise(parts))
                best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
                if best not in ranks:
                    break
                joined, i = [], 0
                while i < len(parts):
                    if tuple(parts[i : i + 2]) == best:
                        joined.append(parts[i] + parts[i + 1])
                        i += 2
                    else:
                        joined.append(parts[i])
                        i += 1
                parts = joined
            ids += [model["vocab"][part] for part in parts]
        return [*ids[: CONTEXT - 1], END]

    return encode


def test_known_clip_ids(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.encode("a photo of a cat") == (START, 320, 1125, 539, 320, 2368, END)


def test_ids_of_the_reference_prompts(tokenizer: ClipTokenizer, published: Path) -> None:
    with np.load(published / "golden_dev.npz") as golden:
        for prompt, ids, mask in zip(golden["prompts"], golden["token_ids"], golden["attention_mask"], strict=True):
            assert list(tokenizer.encode(str(prompt))) == ids[mask == 1].tolist()


@pytest.mark.parametrize(
    "text",
    [
        "glandular structure",
        "neoplastic cells in breast pathology",
        "Ki-67+ cells, 20%",
        "tumour's 3 mitoses don't (really) count!!'t",
        "Größe naïve café Übermaß",
        "cafe\u0301",
        "\u03b1-SMA µm² 5\u00d7",
        "  spaced \t out\nwords  ",
        "cells &amp; stroma",
        "...!?...",
        "12345",
        "ß",
    ],
)
def test_ids_equal_clips_definition(tokenizer: ClipTokenizer, slow_ids: Callable[[str], list[int]], text: str) -> None:
    assert list(tokenizer.encode(text)) == slow_ids(text)


@given(text=st.text(alphabet="abcdest ABCÉéüßµñ0123456789'.,!?-+/()%&\t\n", min_size=1, max_size=120))
def test_ids_of_any_text_equal_clips_definition(
    tokenizer: ClipTokenizer, slow_ids: Callable[[str], list[int]], text: str
) -> None:
    wanted = slow_ids(text)
    if len(wanted) == 2:
        with pytest.raises(PromptError):
            tokenizer.encode(text)
    else:
        assert list(tokenizer.encode(text)) == wanted


def test_composed_and_decomposed_accents_are_the_same_prompt(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.encode("Cafe\u0301") == tokenizer.encode("caf\u00e9")


def test_a_long_prompt_keeps_77_tokens_and_ends_in_end_of_text(
    tokenizer: ClipTokenizer, slow_ids: Callable[[str], list[int]]
) -> None:
    text = "very many words " * 40
    ids = tokenizer.encode(text)
    assert len(ids) == CONTEXT
    assert ids[0] == START
    assert ids[-1] == END
    assert ids.count(END) == 1
    assert list(ids) == slow_ids(text)


def test_a_prompt_of_exactly_77_tokens_is_not_cut(tokenizer: ClipTokenizer) -> None:
    ids = tokenizer.encode("cat " * 75)
    assert ids == (START, *[2368] * 75, END)
    assert tokenizer.encode("cat " * 76) == ids


def test_a_prompt_ends_at_the_first_end_of_text_it_spells_out(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.encode("cat <|endoftext|> dog") == (START, 2368, END)


@pytest.mark.parametrize("text", ["", " ", "\t\n ", "<|endoftext|> cells"])
def test_a_prompt_without_words_is_refused(tokenizer: ClipTokenizer, text: str) -> None:
    with pytest.raises(PromptError, match="has no words"):
        tokenizer.encode(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the tokenizer"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a byte-pair tokenizer"),
        (b'{"model": {"type": "WordPiece", "vocab": {}}}', "not a byte-pair tokenizer"),
        (b'{"model": {"type": "BPE", "vocab": {"<|endoftext|>": 0}}}', "not CLIP's tokenizer"),
    ],
    ids=["missing", "cut", "binary", "list", "wordpiece", "other vocabulary"],
)
def test_a_file_that_is_not_clips_tokenizer_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        ClipTokenizer(path)
    assert "\n" not in str(caught.value)
