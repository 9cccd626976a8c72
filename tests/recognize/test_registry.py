"""Engines by name: our own and a stranger's register in the same way, and nobody compares their names."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.recognize.models import write_model
from wsiparse.errors import ConfigError
from wsiparse.recognize import registry
from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.registry import GROUP, automatic_engine, engine_names, engine_of, listed
from wsiparse.types import Prompt, PromptSet, RecognizerSpec

ROOT = Path(__file__).resolve().parents[2]
NUCLEI = PromptSet((Prompt("nuclei", "Nuclei"),))

#: A package of somebody else: one file, and its metadata as an installer writes them.
STRANGER = """
import numpy as np
from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.prompts import Answer
from wsiparse.types import EngineInfo, Recognition, SplitSettings

class Darkness(DeclaredEngine):
    name = "darkness"
    title = "darkness, not BiomedParse"
    licence = "MIT"
    source = "a test"
    answers = {"nuclei": Answer("nuclei")}
    def info(self, spec):
        split = SplitSettings(landscape="distance", smoothing_um=0.5, persistence=0.2, min_area_um2=6.0)
        return EngineInfo(self.name, self.title, 0.5, 512, 32, 1, split)
    def load(self, spec):
        return _Recognizer(self.info(spec), spec.prompts)

class _Recognizer:
    def __init__(self, info, prompts):
        self.info, self._prompts = info, prompts
    def __call__(self, images):
        dark = 1.0 - images[..., 0].astype(np.float32) / 255.0
        return Recognition(np.repeat(dark[:, None], len(self._prompts), axis=1))
    def limit_threads(self):
        pass
    def with_prompts(self, prompts):
        return _Recognizer(self.info, prompts)

ENGINE = Darkness()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the stranger's package is installed beside this one, and a broken one too."""
    site = tmp_path_factory.mktemp("site")
    (site / "darkness_engine.py").write_text(STRANGER, encoding="utf-8")
    facts = site / "darkness_engine-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: darkness-engine\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text(
        f"[{GROUP}]\ndarkness = darkness_engine:ENGINE\nbroken = no_such_module:ENGINE\n"
        "classical = darkness_engine:ENGINE\n",
        encoding="utf-8",
    )
    path = os.pathsep.join([str(site), str(ROOT)])
    return os.environ | {"PYTHONPATH": path}


def told(installed: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wsiparse", *arguments], env=installed, capture_output=True, text=True, check=False
    )


def test_a_strangers_engine_is_listed_run_and_reported_without_an_edit(
    installed: dict[str, str], tmp_path: Path
) -> None:
    lines = told(installed, "engines").stdout
    assert "darkness  [ready]" in lines
    assert "broken  [missing: engine 'broken' is registered as no_such_module:ENGINE" in lines
    assert "title    classical, not BiomedParse" in lines, "a stranger does not replace an engine of this package"
    code = (
        "from wsiparse.slides.synthetic import paint_he; from PIL import Image; import sys;"
        "Image.fromarray(paint_he(320, 256, seed=3).image).save(sys.argv[1])"
    )
    picture = tmp_path / "a.png"
    subprocess.run([sys.executable, "-c", code, str(picture)], check=True, env=installed)
    done = told(
        installed, "run", str(picture), "-o", str(tmp_path / "r"), "--engine", "darkness", "--slide-mpp", "0.5",
        "--whole-slide", "--scheduler", "serial",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(darkness, not BiomedParse)" in done.stdout
    [page] = (tmp_path / "r" / "slides").glob("*/report.html")
    assert "darkness, not BiomedParse" in page.read_text(encoding="utf-8")
    wrong = told(installed, "run", str(picture), "-o", str(tmp_path / "r"), "--engine", "broken")
    assert wrong.returncode == 1
    assert len(wrong.stderr.splitlines()) == 1
    refused = told(
        installed, "run", str(picture), "-o", str(tmp_path / "r"), "--engine", "darkness", "--prompt", "glands"
    )
    assert "answers only 'nuclei'." in refused.stderr


def test_engines_of_this_package_come_first_and_all_are_there() -> None:
    assert engine_names()[:3] == ("biomedparse", "embedded", "classical")
    assert [one.name for one in listed()[:3]] == list(engine_names()[:3])
    for one in listed():
        assert one.engine is not None, one.fault
        assert all((one.engine.title, one.engine.licence, one.engine.source, one.engine.answers))


def test_auto_is_the_first_that_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_WEIGHTS", str(tmp_path))
    assert automatic_engine().name == engine_of("auto").name == "embedded"
    assert automatic_engine("some/weights.pt").name == "biomedparse"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("embeded", "did you mean 'embedded'"),
        ("cellpose", "choose one of auto, biomedparse, embedded, classical, or the folder of a model"),
        ("no/such/folder", "there is no such folder"),
    ],
)
def test_unknown_engines_are_told_with_those_there_are(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        engine_of(name)


def test_what_is_no_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = EntryPoint("odd", "pathlib:Path", GROUP)
    monkeypatch.setattr(registry, "_points", lambda: {"odd": odd})
    with pytest.raises(ConfigError, match="is no DeclaredEngine of that name"):
        engine_of("odd")


def test_an_option_that_an_engine_does_not_have_is_refused() -> None:
    engine = engine_of("classical")
    with pytest.raises(ConfigError, match="has no option 'mode'"):
        engine.check(RecognizerSpec("classical", NUCLEI, options=(("mode", "joint"),)))


def _names_compared(tree: ast.AST, names: set[str]) -> list[int]:
    found = []
    for node in ast.walk(tree):
        parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        parts += [node.value] if isinstance(node, ast.MatchValue) else []
        texts = {c.value for part in parts for c in ast.walk(part) if isinstance(c, ast.Constant)}
        found += [node.lineno] if texts & names else []  # type: ignore[attr-defined]
    return found


def test_nothing_outside_an_engines_folder_compares_its_name() -> None:
    names = {"biomedparse", "embedded", "classical"}
    own = {ROOT / "wsiparse" / "recognize" / name for name in ("biomedparse", "embedded", "classical.py")}
    assert _names_compared(ast.parse("if engine in ('a', 'embedded'): pass"), names), "the test sees what it looks for"
    for path in (ROOT / "wsiparse").rglob("*.py"):
        if not own.intersection((path, *path.parents)):
            assert not _names_compared(ast.parse(path.read_text(encoding="utf-8")), names), path


def test_a_declaration_says_how_it_takes_words() -> None:
    assert isinstance(engine_of("embedded"), DeclaredEngine)
    assert engine_of("embedded").answer("TILs") == "answered"
    assert engine_of("classical").answer("glands") == ""
    assert engine_of("biomedparse").answer("glands") == "trained"
    assert engine_of("biomedparse").answer("mitoses") == "untested"


def test_a_folder_that_holds_no_usable_model_is_exit_code_1(wsiparse: Callable[..., Any], tmp_path: Path) -> None:
    good = write_model(tmp_path / "good")
    bad = write_model(tmp_path / "bad")
    (bad / "weights.safetensors").write_bytes(b"other")
    assert wsiparse("engines", good).code == 0
    said = wsiparse("engines", good, bad)
    assert said.code == 1
    assert "[missing: " in said.out
    assert wsiparse("engines", bad, "--json").code == 1
    (tmp_path / "a.png").write_bytes(b"no model")
    named = [bad, tmp_path / "none", tmp_path / "a.png", good]
    said = wsiparse("engines", *named)
    assert said.code == 1, "the first that cannot be used does not end the list"
    lines = [line for line in said.out.splitlines() if line.endswith("]")][3:]
    assert [line.rpartition("  [")[2].partition(":")[0].rstrip("]") for line in lines] == ["missing"] * 3 + ["ready"]
    assert "there is no such folder" in lines[1]
    assert "a.png: a file, not the folder of a model" in lines[2]


@pytest.mark.parametrize("damage", ["cut", "tensor", "classes"])
def test_weights_that_do_not_load_are_not_ready_whatever_their_hash_says(
    wsiparse: Callable[..., Any], tmp_path: Path, damage: str
) -> None:
    folder = write_model(tmp_path / "model")
    weights, card = folder / "weights.safetensors", folder / "model.yaml"
    content = weights.read_bytes()
    if damage == "cut":
        weights.write_bytes(content[:-100])
    elif damage == "tensor":
        assert b"head" in content
        weights.write_bytes(content[:8] + content[8:].replace(b"head", b"haed"))
    facts = yaml.safe_load(card.read_text(encoding="utf-8"))
    if damage == "classes":
        lost = facts["output"]["classes"].popitem()[1]
        facts["prompts"] = [p for p in facts["prompts"] if p["class"] != lost]
    facts["weights"]["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    card.write_text(yaml.safe_dump(facts), encoding="utf-8")
    said = wsiparse("engines", folder)
    assert said.code == 1
    assert "[missing: " in said.out.rpartition("\n\n")[0].rpartition("\n\n")[2]


def test_a_model_called_as_an_engine_is_listed_where_its_folder_is_given(
    wsiparse: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "classical", title="a model of the laboratory")
    assert wsiparse("engines", "classical").out.count("title    a model of the laboratory") == 1
