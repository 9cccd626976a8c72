"""Everything public says what it is; what takes many arguments says what they are."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import pytest

import wsiparse
from tests.conftest import ROOT
from wsiparse import errors
from wsiparse.report.stats.methods import COHORT_METHODS

Definition = ast.FunctionDef | ast.ClassDef

#: Every module of the package by its path, parsed.
TREES: Final = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "wsiparse").rglob("*.py"))
}

#: A function with more arguments than this has a list of them; fewer are told by its sentence.
_FEW = 3


def exported(tree: ast.Module) -> set[str]:
    """The names in a module's __all__."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return set(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return set()


def is_kernel(node: Definition) -> bool:
    """A compiled function that other modules call: these modules name none in an __all__ of their own."""
    compiled = any("njit" in ast.unparse(decorator) for decorator in node.decorator_list)
    return compiled and not node.name.startswith("_")


def public() -> Iterator[tuple[str, Definition]]:
    """Public functions and classes, by the names of modules' __all__, public methods of these classes, and kernels."""
    for module, tree in TREES.items():
        names = exported(tree)
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or not (node.name in names or is_kernel(node)):
                continue
            yield f"{module}: {node.name}", node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and (not inner.name.startswith("_") or inner.name == "__call__"):
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


@pytest.mark.parametrize("name", wsiparse.__all__)
def test_the_docstring_of_a_public_name_of_the_package_has_an_example(name: str) -> None:
    """It is run as a doctest."""
    assert ">>> " in (getattr(wsiparse, name).__doc__ or "")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_says_when_it_is_met(name: str) -> None:
    text = getattr(errors, name).__doc__
    assert text is not None
    assert text.strip().endswith(".")


def test_modules_say_what_they_are() -> None:
    assert not [module for module, tree in TREES.items() if not ast.get_docstring(tree)]


# ------------------------------------------------------------------------------------------------ shapes

_ARRAY: Final = re.compile(r"\b(?:NDArray|ndarray|Tensor)\b")

#: One axis: a name, a number, a sum or product of them, all further ones, or those of another shape.
_AXIS: Final = r"(?:\.\.\.|\*?[\w.]+(?:\s?(?:[-+*/^]|//)\s?[\w.]+)*)"
#: (N,), (N, 2), (2 * h, w, ...), (...) for any, () for none; and, a few words on, the kind of number.
_SHAPE: Final = rf"\((?:{_AXIS},|{_AXIS}(?:,\s{_AXIS})+|\.\.\.|)\)"
_DTYPE: Final = r"(?:u?int(?:8|16|32|64)|float(?:16|32|64)|bool|dtype)"
_SHAPED: Final = re.compile(rf"{_SHAPE}(?=.{{0,60}}?\b{_DTYPE}\b)", re.DOTALL)


def assigned(tree: ast.Module) -> set[str]:
    """Names that a module gives to types of arrays."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and _ARRAY.search(ast.unparse(node))
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def array_names(module: str) -> set[str]:
    """Names of types of arrays in a module, its own and those it imports."""
    names = assigned(TREES[module])
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            source = TREES.get(node.module.replace(".", "/") + ".py")
            names |= (assigned(source) if source is not None else set()) & {alias.name for alias in node.names}
    return names


ARRAY_NAMES: Final = {module: array_names(module) for module in TREES}


def holds_array(annotation: ast.expr | None, names: Collection[str]) -> bool:
    """Whether values of a type are arrays or hold or make some; `names` stand for types of arrays."""
    text = ast.unparse(annotation) if annotation is not None else ""
    return bool(_ARRAY.search(text)) or bool(set(re.findall(r"\w+", text)) & set(names))


def sections(node: Definition) -> dict[str, str]:
    """A docstring by its headings; "" is what stands before the first."""
    parts = re.split(r"^(\w+)\n-+$", ast.get_docstring(node) or "", flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(node: Definition) -> dict[str, str]:
    """What the lists of a docstring say of each name."""
    found = {}
    for title in ("Parameters", "Attributes"):
        text = sections(node).get(title, "")
        for names, told in re.findall(r"^([\w*]+(?:, [\w*]+)*) : (.*(?:\n[ ]+.*)*)", text, re.MULTILINE):
            found |= dict.fromkeys(names.split(", "), told)
    return found


def array_arguments(node: Definition, names: Collection[str]) -> list[str]:
    """Arguments that are arrays: of a function, or of a class with its fields."""
    if isinstance(node, ast.ClassDef):
        fields = [inner for inner in node.body if isinstance(inner, ast.AnnAssign)]
        made = [inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"]
        return [
            *(field.target.id for field in fields if holds_array(field.annotation, names)
              if isinstance(field.target, ast.Name) and not field.target.id.startswith("_")),
            *(name for init in made for name in array_arguments(init, names)),
        ]  # fmt: skip
    args = node.args
    every = (*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg)))
    return [arg.arg for arg in every if holds_array(arg.annotation, names)]


def unshaped(node: Definition, names: Collection[str] = ()) -> list[str]:
    """Arrays whose shape or dtype a docstring does not tell, "return" among them.

    What has an entry in a list has both there. Where there is no list, the sentence tells as many as there are arrays.
    """
    listed, text = entries(node), sections(node)
    arrays = array_arguments(node, names)
    wrong = [name for name in arrays if name in listed and not _SHAPED.search(listed[name])]
    loose = [name for name in arrays if name not in listed]
    if isinstance(node, ast.FunctionDef) and holds_array(node.returns, names):
        if "Returns" not in text:
            loose.append("return")
        elif not _SHAPED.search(text["Returns"]):
            wrong.append("return")
    return wrong + (loose if len(_SHAPED.findall(text[""])) < len(loose) else [])


def definition(text: str) -> Definition:
    [node] = ast.parse(text).body
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return node


@pytest.mark.parametrize(
    ("docstring", "wrong"),
    [
        ("Add.", ["a", "return"]),
        ("Add (N, 2) float64 to one.", ["a", "return"]),
        ("Add (N, 2) float64 to one: (N, 2) float64.", []),
        ("Add (first, then) and (x, y).", ["a", "return"]),
        ("Add.\n\nParameters\n----------\na : (N, 2), px\n\nReturns\n-------\n(N,) int64", ["a"]),
        ("Add.\n\nParameters\n----------\na : points\n    (N, 2) float64\n\nReturns\n-------\na sum", ["return"]),
        ("Add.\n\nParameters\n----------\na : (...) of any dtype\n\nReturns\n-------\n(), same dtype", []),
    ],
)
def test_a_shape_that_is_not_told_is_seen(docstring: str, wrong: list[str]) -> None:
    for array in ("NDArray[np.float64]", "tuple[Floats, int]"):
        node = definition(f'def add(a: {array}, b: int) -> {array}:\n    """{docstring}"""')
        assert unshaped(node, {"Floats"}) == wrong


def test_every_array_has_its_shape_and_dtype() -> None:
    wrong = {}
    for name, node in PUBLIC.items():
        lost = unshaped(node, ARRAY_NAMES[name.partition(":")[0]])
        if lost and not is_command(node):
            wrong[name] = lost
    assert not wrong


# ------------------------------------------------------------------------------------------------ errors


def last_name(node: ast.expr | None) -> str:
    """`SlideError` of ``SlideError``, ``errors.SlideError`` and ``SlideError("...")``."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def makers(module: str) -> dict[str, str]:
    """Functions of a module, and of those it imports from, that make an error for others to raise: the error's name."""
    imported = [node.module for node in ast.walk(TREES[module]) if isinstance(node, ast.ImportFrom) and node.module]
    found = {}
    for name in (*(name.replace(".", "/") + ".py" for name in imported), module):
        for node in ast.walk(TREES.get(name, ast.Module([], []))):
            if isinstance(node, ast.FunctionDef) and node.returns is not None:
                kind = last_name(node.returns)
                found |= {node.name: kind} if kind.endswith("Error") else {}
    return found


MAKERS: Final = {module: makers(module) for module in TREES}


def bases(name: str) -> set[str]:
    """The names of an error class and of all that it is."""
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    return {base.__name__ for base in kind.__mro__} if inspect.isclass(kind) else {name}


def raised(node: ast.AST, made: Mapping[str, str], caught: frozenset[str] = frozenset()) -> set[str]:
    """Names of the errors that a piece of code raises by itself, or lets one of `made` make, and does not catch."""
    if isinstance(node, ast.Try):
        kinds = set()
        for handler in node.handlers:
            if not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(handler)):
                kinds |= {last_name(kind) for kind in getattr(handler.type, "elts", [handler.type])}
        inside = [raised(child, made, caught | kinds) for child in node.body]
        rest = [raised(child, made, caught) for child in (*node.handlers, *node.orelse, *node.finalbody)]
        return set().union(*inside, *rest)
    found: set[str] = set().union(*(raised(child, made, caught) for child in ast.iter_child_nodes(node)))
    if isinstance(node, ast.Raise):
        name = last_name(node.exc)
        name = made.get(name, name)
        # `raise` alone and `raise error` go on with what another has raised; the impossible is nobody's concern
        if name[:1].isupper() and name != "AssertionError" and not bases(name) & caught:
            found.add(name)
    return found


def unnamed(node: Definition, made: Mapping[str, str]) -> set[str]:
    """Errors that a function, or the making of a class's value, raises and a docstring's list does not name."""
    beginnings = ("__init__", "__post_init__", "__new__")
    code = [
        inner
        for inner in (node.body if isinstance(node, ast.ClassDef) else [node])
        if isinstance(inner, ast.FunctionDef) and (inner is node or inner.name in beginnings)
    ]
    named = re.findall(r"\w+", "\n".join(re.findall(r"^\S.*", sections(node).get("Raises", ""), re.MULTILINE)))
    return set().union(*(raised(inner, made) for inner in code)) - set(named)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("raise ValueError('no')", {"ValueError"}),
        ("raise errors.PlanError('no')", {"PlanError"}),
        ("raise output_error(path, err)", {"OutputError"}),
        ("raise", set()),
        ("raise AssertionError", set()),
        ("try:\n        raise NotADirectoryError\n    except OSError:\n        pass", set()),
        ("try:\n        raise OutputError\n    except (FieldError, WsiparseError):\n        raise", {"OutputError"}),
        ("try:\n        f()\n    except OSError as error:\n        raise SlideError from error", {"SlideError"}),
        ("raise TileReadError", set()),
    ],
)
def test_an_error_that_is_not_named_is_seen(body: str, wrong: set[str]) -> None:
    docstring = "Do.\n\n    Raises\n    ------\n    TileReadError\n        On ValueError or PlanError.\n"
    assert (
        unnamed(definition(f'def do():\n    """{docstring}    """\n    {body}'), {"output_error": "OutputError"})
        == wrong
    )


def test_every_error_is_named_where_it_is_raised() -> None:
    # a command's docstring is its help: there an error is one line on the terminal and an exit code, not an exception
    wrong = {
        name: lost
        for name, node in PUBLIC.items()
        if not is_command(node) and (lost := unnamed(node, MAKERS[name.partition(":")[0]]))
    }
    assert not wrong


# ----------------------------------------------------------------------------------------------- sources

#: Published methods outside the report, and where their authors are named.
SOURCES: Final = {
    "objects/split.py": ["Grimaud", "Edelsbrunner", "Beucher"],
    "objects/trace.py": ["ISO 19125", "RFC 7946"],
    "objects/scores.py": ["Kirillov", "Kumar", "Crouse"],
    "objects/kernels/distance.py": ["Felzenszwalb", "Meijster"],
    "objects/kernels/split.py": ["Edelsbrunner", "Beucher"],
    "objects/kernels/union_find.py": ["Tarjan"],
    "recognize/classical.py": ["Frangi"],
    "recognize/score.py": ["Zhao"],
    "recognize/stain.py": ["Ruifrok", "Macenko", "Otsu"],
    "recognize/targets.py": ["Zhao", "Gamper", "Sirinukunwattana"],
    "recognize/biomedparse/__init__.py": ["Zhao"],
    "recognize/biomedparse/backbone.py": ["Yang"],
    "recognize/biomedparse/decoder.py": ["Cheng"],
    "recognize/biomedparse/layers.py": ["Vaswani", "Carion"],
    "recognize/biomedparse/matching.py": ["Radford"],
    "recognize/biomedparse/network.py": ["Zhao"],
    "recognize/biomedparse/pixel_decoder.py": ["Carion", "Lin"],
    "recognize/biomedparse/resample.py": ["Keys"],
    "recognize/biomedparse/text.py": ["Radford"],
    "recognize/biomedparse/tokenizer.py": ["Sennrich"],
    "recognize/embedded/compact.py": ["Ronneberger", "Shi"],
    "report/stats/groups.py": ["Mann-Whitney", "Kruskal-Wallis"],
    "report/stats/mixing.py": ["Ripley", "Lotwick", "Besag"],
    "slides/resample.py": ["Keys"],
    "tiling/tissue.py": ["Otsu", "Beer-Lambert"],
    "store/kernels.py": ["Andrew"],
    "store/measure.py": ["Cauchy-Crofton", "Proffitt"],
}


def told(module: str) -> str:
    """All docstrings of a module."""
    kinds = (ast.Module, ast.FunctionDef, ast.ClassDef)
    return "\n".join(ast.get_docstring(node) or "" for node in ast.walk(TREES[module]) if isinstance(node, kinds))


TOLD: Final = {module: told(module) for module in TREES}


@pytest.mark.parametrize("module", SOURCES)
def test_a_published_method_names_its_authors(module: str) -> None:
    assert not [author for author in SOURCES[module] if author not in TOLD[f"wsiparse/{module}"]]


#: Works that the report's own section of methods cites: (first author, year).
CITED: Final = [
    (re.findall(r"[A-Z][\w-]+", work)[0], year)
    for method in COHORT_METHODS
    for work in method["source"].split(";")
    for year in re.findall(r"\b(?:19|20)\d\d\b", work)[-1:]
]


@pytest.mark.parametrize(("author", "year"), CITED)
def test_what_the_report_cites_stands_beside_the_code(author: str, year: str) -> None:
    work = re.compile(rf"\b{author}\b(?:(?!\n\n).){{0,300}}\b{year}\b", re.DOTALL)
    assert any(work.search(text) for module, text in TOLD.items() if module != "wsiparse/report/stats/methods.py")
