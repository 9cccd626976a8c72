"""What stands in several files is the same in all of them: version, licence, names."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from tests.conftest import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_has_what_its_format_asks_for() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert all(CITATION[key] for key in ("message", "title", "authors"))
    assert CITATION["authors"] == [{"name": author["name"]} for author in PROJECT["authors"]]
    for reference in CITATION["references"]:
        assert all(reference[key] for key in ("type", "title", "authors"))
        assert all(set(author) in ({"name"}, {"family-names", "given-names"}) for author in reference["authors"])
        assert re.fullmatch(r"10\.\d{4,}/\S+", reference["doi"])


def test_version_and_licence_are_the_project_s() -> None:
    assert str(CITATION["version"]) == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == PROJECT["version"]


def test_every_extra_named_on_a_page_exists() -> None:
    known = set(PROJECT["optional-dependencies"])
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for extras in re.findall(r"(?:wsiparse|'\.)\[([\w,]+)\]", page.read_text(encoding="utf-8")):
            assert set(extras.split(",")) <= known, page


def test_what_is_installed_is_pinned() -> None:
    pins = {re.split("==", line)[0].lower() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()}
    asked = [*PROJECT["dependencies"], *(x for e in ("test", "docs") for x in PROJECT["optional-dependencies"][e])]
    names = {re.split(r"[><=\[; ]", text)[0].lower() for text in asked} - {"wsiparse"}
    assert not {name.replace("_", "-") for name in names} - {name.replace("_", "-") for name in pins}


def test_the_picture_of_the_readme_is_what_its_script_draws_in_form(
    results: Callable[[], Path], tmp_path: Path
) -> None:
    kept = ROOT / "docs" / "pictures" / "overview.jpg"
    assert kept.stat().st_size < 200_000
    script = ROOT / "scripts" / "draw_readme_picture.py"
    drawn = tmp_path / "drawn.jpg"
    subprocess.run([sys.executable, script, results(), drawn], check=True, capture_output=True)
    with Image.open(kept) as one, Image.open(drawn) as other:
        assert one.size == other.size


def test_the_architecture_names_every_module_and_the_direction_that_is_checked() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "wsiparse"
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    picture, direction = re.findall(r"```\n(.*?)```", page, re.DOTALL)[:2]
    assert set(re.findall(r"^  (\S+)", picture, re.MULTILINE)) == modules | folders
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = settings["importlinter:contract:direction"]["layers"].split("\n")
    assert direction.split("\n")[:-1] == [layer.strip().replace("wsiparse.", "") for layer in layers if layer.strip()]
