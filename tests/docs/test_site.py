"""The site builds without a warning, and its pages fetch nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="needs mkdocs: pip install 'wsiparse[docs]'")
    pytest.importorskip("material", reason="needs mkdocs-material: pip install 'wsiparse[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    names = {path.stem for path in site.glob("*.html")}
    assert {page.stem for page in PAGES if page.parent.name == "docs"} <= names
    assert {"qupath", "changelog", "contributing", "security"} <= names


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", text)
        assert tags
        loaded = [tag for tag in tags if re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag)]
        assert not [tag for tag in loaded if 'rel="canonical"' not in tag]
    assert not [
        path for path in site.rglob("*.css") if re.search(r"url\([\"']?https?:|@import", path.read_text("utf-8"))
    ]


def test_pictures_are_where_pages_look_for_them(site: Path) -> None:
    for page in site.glob("*.html"):
        for source in re.findall(r"<img[^>]*\bsrc=\"([^\"]+)\"", page.read_text(encoding="utf-8")):
            assert source.startswith("data:") or (site / source).is_file(), (page.name, source)
