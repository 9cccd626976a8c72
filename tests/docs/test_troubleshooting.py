"""docs/troubleshooting.md has every class of errors, and quotes messages that the code really gives."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT
from wsiparse import errors

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+Error)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def text_of(node: ast.expr) -> str:
    """A message as the source has it, with … for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} {text_of(node.orelse)}"
    return "…"


def messages() -> dict[str, list[str]]:
    """Class -> the messages it is raised with; and "": every other text in the package, for those put together."""
    found: dict[str, list[str]] = {"": []}
    for path in (ROOT / "wsiparse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                found.setdefault(node.func.id, []).append(text_of(node.args[0]))
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.JoinedStr):
                found[""].append(text_of(node.value))
    return found


MESSAGES = messages()


def test_every_class_of_errors_has_a_section_and_no_other() -> None:
    assert sorted(SECTIONS) == sorted(errors.__all__)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_quoted_message_is_one_that_the_class_gives(name: str) -> None:
    quoted = re.findall(r"^\| `([^`]+)` \|", SECTIONS[name], re.MULTILINE)
    assert quoted
    for message in quoted:
        pattern = re.compile(".*?".join(re.escape(piece) for piece in re.split(r"…+", message)), re.DOTALL)
        assert any(pattern.search(known) for known in (*MESSAGES[name], *MESSAGES[""])), message


@pytest.mark.parametrize("name", errors.__all__)
def test_every_row_has_a_remedy(name: str) -> None:
    rows = re.findall(r"^\| `[^`]+` \| (.*) \|$", SECTIONS[name], re.MULTILINE)
    assert all(remedy.strip() for remedy in rows)
