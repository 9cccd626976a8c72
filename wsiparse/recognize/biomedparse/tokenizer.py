"""Words to CLIP token ids.

The byte-pair vocabulary is read from the ``tokenizer.json`` that lies beside CLIP's text encoder on the hub
(openai/clip-vit-base-patch32; Radford et al., ICML 2021, after Sennrich et al., ACL 2016). Its own normaliser composes
accents, joins white space and lower-cases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from wsiparse.errors import PromptError, WeightsError

__all__ = ["CONTEXT", "END", "START", "ClipTokenizer"]

#: Token ids of start-of-text and end-of-text.
START: Final = 49406
END: Final = 49407

#: Longest prompt, start and end included.
CONTEXT: Final = 77

_REMEDY: Final = "`wsiparse weights fetch` downloads tokenizer.json with the weights."


class ClipTokenizer:
    """CLIP's byte-pair encoding.

    Parameters
    ----------
    path : ``tokenizer.json``

    Raises
    ------
    WeightsError
        If the file is missing, not JSON, or not CLIP's tokenizer.
    """

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
            content = json.loads(text)
        except OSError as error:
            raise WeightsError(f"{path}: cannot read the tokenizer ({error.strerror}). {_REMEDY}") from error
        except ValueError as error:  # not UTF-8, or not JSON
            raise WeightsError(f"{path}: truncated or damaged, not JSON ({error}). {_REMEDY}") from error
        model = content.get("model") if isinstance(content, dict) else None
        kind = model.get("type") if isinstance(model, dict) else None
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        if kind != "BPE" or not isinstance(vocabulary, dict):
            raise WeightsError(f"{path}: not a byte-pair tokenizer (model type {kind!r}). {_REMEDY}")
        ends = vocabulary.get("<|startoftext|>"), vocabulary.get("<|endoftext|>")
        if ends != (START, END):
            raise WeightsError(
                f"{path}: not CLIP's tokenizer (start and end tokens are {ends}, not {(START, END)}). {_REMEDY}"
            )
        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids from start-of-text to the first end-of-text, at most 77; longer texts lose their tail.

        Raises
        ------
        PromptError
            If nothing is left between start and end: no words, only white space.
        """
        ids = self._tokenizer.encode(text).ids
        ids = ids[: ids.index(END) + 1]
        if len(ids) <= 2:
            raise PromptError(f"prompt {text!r} has no words: write what to look for, e.g. 'inflammatory cells'.")
        if len(ids) > CONTEXT:
            ids = [*ids[: CONTEXT - 1], END]
        return tuple(ids)
