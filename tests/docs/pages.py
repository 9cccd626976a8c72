"""The pages people read, taken apart: commands, options, links, headings, examples."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

#: Every page of the repository that is written for people.
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "qupath_scripts" / "README.md",
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_SEPARATORS = {"&&", "&", ";", "|", "||"}


class Command(NamedTuple):
    """A command as a page shows it: the page, and its words without comment, prompt and variables before it."""

    page: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fences(text: str, *languages: str) -> list[str]:
    """The content of the fenced blocks in these languages."""
    return [body for language, body in _FENCE.findall(text) if language in languages]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """Inline code; a span may be broken over two lines."""
    return [" ".join(span.split()) for span in _SPAN.findall(re.sub(r"(?<=\S)\n(?=\S)", " ", prose(text)))]


def split_commands(script: str) -> Iterator[tuple[str, ...]]:
    """The words of every command in some lines of shell."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _SEPARATORS:
                words.append(word)
                continue
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                del words[0]
            if words:
                yield tuple(words)
            words = []


def commands() -> list[Command]:
    """Every command in a fenced block of shell, in the order of the pages."""
    return [
        Command(name_of(page), words)
        for page in PAGES
        for block in fences(page.read_text(encoding="utf-8"), "sh", "bash")
        for words in split_commands(block)
    ]


def tables(text: str) -> list[list[dict[str, str]]]:
    """Every table: its rows, each a dictionary from the column's head to the cell, links and code as plain words."""
    found = []
    for lines in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", lines).replace("`", "")
        head, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in plain.splitlines())
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def anchors(text: str) -> set[str]:
    """What a link may point to on a page: its headings, as GitHub and the site spell them."""
    heads = re.findall(r"^#+ +(.+?) *$", prose(text), re.MULTILINE)
    plain = (re.sub(r"[`*]", "", head).lower() for head in heads)
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


def links(text: str) -> list[str]:
    """Targets of all links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text)))
