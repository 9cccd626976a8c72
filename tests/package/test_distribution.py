from __future__ import annotations

import ast
import configparser
import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: What lies in a checkout and belongs to nobody else, and what tools leave there (.gitignore has the same).
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".gitignore", ".venv", "__pycache__", "*.py[cod]", "*.egg-info", "build", "dist", ".mypy_cache",
    ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache", ".benchmarks", ".numba_cache", ".quickstart",
    "wsiparse_results", "wsiparse_demo", "notebook_results", ".tools", "site",
)  # fmt: skip


#: Variables that would change what a Python started here does.
PYTHONS = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"}


class Built(NamedTuple):
    source: Path
    sdist: Path
    wheel: Path
    said: str


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that knows nothing of this checkout; what it said is shown where it fails."""
    clean = {k: v for k, v in os.environ.items() if k not in PYTHONS}
    ran = subprocess.run(list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Sdist and wheel, the wheel made of the sdist, of a copy of this checkout."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    source = files_in(folder / "source")
    ran = run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source", cwd=folder
    )
    for path in sorted((folder / "source").rglob("*"), reverse=True):  # what the build left beside the files
        if path.is_file() and path.relative_to(folder / "source").as_posix() not in source:
            path.unlink()
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return Built(folder / "source", sdist, wheel, ran.stdout + ran.stderr)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin folder of an environment with the wheel and, for everything else, the packages that are installed here."""
    folder = tmp_path_factory.mktemp("empty") / "env"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", built.wheel, cwd=folder.parent)
    # only now: pip must not see, and uninstall, the project that is installed here
    (site,) = folder.rglob("site-packages")
    outer = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "outer.pth").write_text("\n".join(sorted(outer)) + "\n", encoding="utf-8")
    return programs


@pytest.mark.slow
def test_the_build_says_nothing_is_deprecated_or_wrong(built: Built) -> None:
    # a pattern of MANIFEST.in may be about files that are not there
    lines = [line for line in built.said.splitlines() if not re.match(r"warning: no .*files (found )?matching", line)]
    assert not [line for line in lines if re.search(r"warn|deprecat|error:", line, re.IGNORECASE)]


@pytest.mark.slow
def test_the_wheel_is_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
        own = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
        assert own == {f"wsiparse/{name}" for name in files_in(built.source / "wsiparse")}
        rest = {name.partition("/")[2] for name in names - own}
        assert rest == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}
    assert {
        "wsiparse/py.typed",
        "wsiparse/recognize/embedded/model/model.yaml",
        "wsiparse/recognize/embedded/model/weights.safetensors",
        "wsiparse/report/pages/templates/slide.html",
        "wsiparse/viewer/static/viewer.html",
    } <= own


@pytest.mark.slow
def test_the_source_distribution_is_the_checkout(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        inside = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    made = {name for name in inside if name == "PKG-INFO" or name.startswith("wsiparse.egg-info/")}
    assert inside - made == files_in(built.source)


@pytest.mark.slow
def test_the_metadata_tell_the_extras_the_script_and_the_licence(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        facts = email.message_from_bytes(archive.read(name))
        scripts = configparser.ConfigParser()
        scripts.read_string(archive.read(name.replace("METADATA", "entry_points.txt")).decode())
    assert set(facts.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert facts["Version"] == PROJECT["version"]
    assert facts["License-Expression"] == PROJECT["license"]
    assert facts["Requires-Python"] == PROJECT["requires-python"]
    needed = [text for text in facts.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert len(needed) == len(PROJECT["dependencies"])
    assert dict(scripts["console_scripts"]) == PROJECT["scripts"]


@pytest.mark.slow
def test_the_installed_wheel_works_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    program = installed / "wsiparse"
    where = run(installed / "python", "-c", "import wsiparse; print(wsiparse.__file__)", cwd=tmp_path).stdout
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert run(program, "--version", cwd=tmp_path).stdout == f"wsiparse {PROJECT['version']}\n"
    said = run(program, "demo", "--size", 512, "-o", "out", cwd=tmp_path).stdout
    assert re.search(r"^all nuclei +\d+ +\d+ ", said, re.MULTILINE)
    assert list(tmp_path.glob("out/slides/*/report.html"))
    checks = json.loads(
        subprocess.run(
            [program, "doctor", "--offline", "--no-self-test", "--json"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={k: v for k, v in os.environ.items() if k not in PYTHONS},
        ).stdout
    )  # fmt: skip
    (weights,) = (check for check in checks if check["name"] == "embedded")
    assert weights["state"] == "ok", weights


@pytest.mark.slow
def test_every_installed_module_can_be_imported_with_warnings_as_errors(installed: Path, tmp_path: Path) -> None:
    code = (
        "import importlib, pkgutil, wsiparse\n"
        "for found in pkgutil.walk_packages(wsiparse.__path__, 'wsiparse.'):\n"
        "    importlib.import_module(found.name)\n"
        "    print(found.name)\n"
    )
    names = run(installed / "python", "-W", "error", "-c", code, cwd=tmp_path).stdout.split()
    assert len(names) > 200


def test_every_extra_that_pages_and_messages_name_exists() -> None:
    from wsiparse.export.extras import _EXTRAS

    places = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    places += [*(ROOT / "wsiparse").rglob("*.py"), *scripts, ROOT / "pyproject.toml"]
    named = {
        extra: path
        for path in places
        for extras in re.findall(r"wsiparse\[([a-z][a-z, -]*)\]", path.read_text(encoding="utf-8"))
        for extra in re.split(r", *", extras)
    }
    assert len(named) >= 3
    known = set(PROJECT["optional-dependencies"])
    assert {extra: path for extra, path in named.items() if extra not in known} == {}
    assert set(_EXTRAS.values()) <= known


def test_every_dependency_is_imported_by_the_package() -> None:
    """What only tests and scripts import belongs to the extra `test`."""
    called = {"openslide-python": "openslide", "pillow": "PIL", "pyyaml": "yaml", "scikit-image": "skimage"}
    imported: set[str] = set()
    for path in (ROOT / "wsiparse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                imported.add(node.module.partition(".")[0])
    names = {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in PROJECT["dependencies"]}
    # the library that openslide-python loads, and what distributed makes its own keys with
    names -= {"openslide-bin", "cryptography"}
    assert {name for name in names if called.get(name, name.replace("-", "_")) not in imported} == set()
