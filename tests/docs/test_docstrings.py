"""Everything public says what it is; what takes many arguments says what they are."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import wsiparse
from tests.conftest import ROOT
from wsiparse import errors

Definition = ast.FunctionDef | ast.ClassDef

#: A function with more arguments than this has a list of them; fewer are told by its sentence.
_FEW = 3


def exported(tree: ast.Module) -> set[str]:
    """The names in a module's __all__."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return set(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return set()


def public() -> Iterator[tuple[str, Definition]]:
    """Public functions and classes, and public methods of these classes, by the names of modules' __all__."""
    for path in sorted((ROOT / "wsiparse").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names, module = exported(tree), path.relative_to(ROOT).as_posix()
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name not in names:
                continue
            yield f"{module}: {node.name}", node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{module}: {node.name}.{inner.name}", inner


PUBLIC = dict(public())


#: Types that tell by themselves what an argument is: nouns with a docstring of their own, and paths.
NOUNS = {key.rpartition(": ")[2] for key, node in PUBLIC.items() if isinstance(node, ast.ClassDef)} | {"Path"}


def arguments(node: ast.FunctionDef) -> list[str]:
    """The arguments that a docstring must name: numbers, texts, switches, arrays, collections of them."""
    args = node.args
    found = []
    for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs):
        words = set(re.findall(r"\w+", ast.unparse(arg.annotation))) if arg.annotation is not None else set()
        if arg.arg not in ("self", "cls") and not arg.arg.startswith("_") and not words & NOUNS:
            found.append(arg.arg)
    return found


def lacking(node: ast.FunctionDef) -> list[str]:
    """Arguments that a docstring does not name, as they are or in words."""
    text = (ast.get_docstring(node) or "").lower()
    spelt = {name: re.escape(name.lower()).replace("_", "[_ ]?") for name in arguments(node)}
    return [name for name, pattern in spelt.items() if not re.search(rf"(?<![a-z]){pattern}", text)]


def has_list(node: ast.FunctionDef) -> bool:
    return bool(re.search(r"^(?:Parameters|Arguments)\n-+$", ast.get_docstring(node) or "", re.MULTILINE))


def refers(node: ast.FunctionDef) -> bool:
    """Whether the docstring sends the reader to the function whose arguments these are."""
    return bool(re.search(r"[Aa]rguments\b[^.]*\s(?:as|those of|of)\s[^.]*`", ast.get_docstring(node) or ""))


def is_command(node: ast.FunctionDef) -> bool:
    """A command of the command line: click has its options' texts."""
    return any("click." in text or ".command(" in text for text in map(ast.unparse, node.decorator_list))


def test_many_public_things_are_looked_at() -> None:
    assert len(PUBLIC) > 400


def test_everything_public_has_a_docstring() -> None:
    assert not [name for name, node in PUBLIC.items() if not (ast.get_docstring(node) or "").strip()]


def test_what_takes_many_arguments_tells_what_they_are() -> None:
    wrong = {}
    for name, node in PUBLIC.items():
        if isinstance(node, ast.ClassDef) or is_command(node) or len(arguments(node)) <= _FEW:
            continue
        if has_list(node) or refers(node):
            continue
        if lacking(node):
            wrong[name] = lacking(node)
    assert not wrong


def test_a_list_of_arguments_names_each() -> None:
    wrong = {}
    for name, node in PUBLIC.items():
        if isinstance(node, ast.FunctionDef) and has_list(node) and lacking(node):
            wrong[name] = lacking(node)
    assert not wrong


@pytest.mark.parametrize("name", wsiparse.__all__)
def test_the_docstring_of_a_public_name_of_the_package_names_every_argument(name: str) -> None:
    thing = getattr(wsiparse, name)
    text = inspect.getdoc(thing)
    assert text
    if inspect.isclass(thing):
        return
    node = next(node for key, node in PUBLIC.items() if key.endswith(f": {name}"))
    assert isinstance(node, ast.FunctionDef)
    assert has_list(node)
    assert not lacking(node)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_says_when_it_is_met(name: str) -> None:
    text = getattr(errors, name).__doc__
    assert text is not None
    assert text.strip().endswith(".")


def test_modules_say_what_they_are() -> None:
    files: list[Path] = sorted((ROOT / "wsiparse").rglob("*.py"))
    assert not [path for path in files if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
