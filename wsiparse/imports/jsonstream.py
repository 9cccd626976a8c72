"""A JSON file read value by value, so that memory does not grow with the file.

A text is walked through from the outside in: `members` and `elements` go into an object or a list, `value` reads what
comes next as a whole. Values are decoded by the json module; what is read ahead is a few megabytes, or one value.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from wsiparse.errors import ImportFileError

__all__ = ["JsonStream", "open_json"]

_CHUNK: Final = 1 << 20

#: A single value of more characters is refused: it would be held in memory many times over.
_MOST: Final = 1 << 27

#: A literal, an escape or a number may be cut so far before the end of what was read.
_CUT: Final = 64

_DECODER: Final = json.JSONDecoder()
_BLANK: Final = " \t\n\r\ufeff"


@contextmanager
def open_json(path: Path) -> Iterator[JsonStream]:
    """A JSON file, or a .gz of one (told by its first bytes); UTF-8, UTF-16 or UTF-32.

    Raises
    ------
    ImportFileError
        If it cannot be read, or, while it is read, is not JSON.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            opened: Any = gzip.GzipFile(fileobj=file) if start == b"\x1f\x8b" else file
            first = opened.read(4)
            opened.seek(0)
            yield JsonStream(io.TextIOWrapper(opened, json.detect_encoding(first)), str(path))
    except FileNotFoundError:
        raise ImportFileError(f"{path}: no such file. Check the path.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImportFileError(f"{path}: cannot be unpacked ({' '.join(str(error).split())}). Copy it again.") from error
    except OSError as error:
        raise ImportFileError(f"{path}: cannot be read ({error.strerror or error}). Check the file.") from error
    except UnicodeDecodeError:
        raise ImportFileError(f"{path}: not a text file. Give GeoJSON, JSON, GeoParquet or a label image.") from None


class JsonStream:
    """What is left of a JSON text.

    Parameters
    ----------
    file : the text
    source : what error messages call it
    """

    def __init__(self, file: IO[str], source: str) -> None:
        self._file, self.source = file, source
        self._text, self._at, self._gone, self._ended = "", 0, 0, False

    def peek(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def value(self) -> Any:
        """The next value as a whole.

        Raises
        ------
        ImportFileError
            If the text is no JSON there, ends within the value, or the value is nested too deeply or too long.
        """
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._text) - _CUT or error.msg.startswith("Unterminated string")
                if cut and len(self._text) - self._at <= _MOST and self._more():
                    continue
                if len(self._text) - self._at > _MOST:
                    raise self._wrong(f"a single value of more than {_MOST >> 20} million characters") from error
                raise self._wrong(error.msg.lower(), error.pos) from error
            except RecursionError:
                raise self._wrong("nested too deeply") from None
            if end == len(self._text) and self._more():  # a number may go on
                continue
            self._at = end
            return value

    def elements(self) -> Iterator[int]:
        """Go through a list: each element must be taken (`value`, ...) before the next is asked for; their numbers.

        Raises
        ------
        ImportFileError
            If it is no list.
        """
        self._take("[")
        number = 0
        if self.peek() != "]":
            while True:
                yield number
                number += 1
                if self.peek() != ",":
                    break
                self._at += 1
        self._take("]")

    def members(self) -> Iterator[str]:
        """Go through an object: the value of each key must be taken before the next is asked for; the keys.

        Raises
        ------
        ImportFileError
            If it is no object.
        """
        self._take("{")
        if self.peek() != "}":
            while True:
                key = self.value()
                if not isinstance(key, str):
                    raise self._wrong("a key that is no text")
                self._take(":")
                yield key
                if self.peek() != ",":
                    break
                self._at += 1
        self._take("}")

    def end(self) -> None:
        """See that nothing follows.

        Raises
        ------
        ImportFileError
            If anything does.
        """
        if self.peek():
            raise self._wrong("more than one document in a file")

    def _take(self, mark: str) -> None:
        found = self.peek()
        if found != mark:
            raise self._wrong(f"'{mark}' expected, found {f'{found!r}' if found else 'the end of the file'}")
        self._at += 1

    def _more(self) -> bool:
        """Read on; False at the end of the file."""
        if self._ended:
            return False
        left = self._text[self._at :]
        more = self._file.read(max(_CHUNK, len(left)))
        self._ended = not more
        self._gone += self._at
        self._text, self._at = left + more, 0
        return bool(more)

    def _wrong(self, what: str, at: int | None = None) -> ImportFileError:
        place = self._gone + (self._at if at is None else at)
        if not self._text and not place:
            what, place = "the file is empty", 0
        return ImportFileError(
            f"{self.source}: not valid JSON at character {place} ({what}). Export it again, or give another file."
        )
