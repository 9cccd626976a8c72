"""Hooks of the site (mkdocs.yml): pages that lie beside docs/ join it, and links between pages are turned to fit."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

#: Pages outside of docs/ -> their names on the site; a page's pictures keep their place beside it.
BESIDE = {
    "qupath_scripts/README.md": "qupath.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
PICTURES = {"qupath_scripts/pictures": "pictures"}

_LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def on_files(files: Files, *, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages beside docs/ and their pictures."""
    for source, name in BESIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    for folder, place in PICTURES.items():
        for picture in sorted((ROOT / folder).iterdir()):
            files.append(File.generated(config, f"{place}/{picture.name}", content=picture.read_bytes()))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Links as the repository has them, as the site has them."""
    name = page.file.src_uri
    source = next((path for path, on_site in BESIDE.items() if on_site == name), f"docs/{name}")

    def turned(match: re.Match[str]) -> str:
        place, mark, anchor = match[2].partition("#")
        if not place or ":" in place:
            return match[0]
        path = os.path.normpath(os.path.join(os.path.dirname(source), place))  # noqa: PTH118, PTH120
        return f"{match[1]}{_on_site(path.replace(os.sep, '/'))}{mark}{anchor}{match[3]}"

    return _LINK.sub(turned, markdown)


def _on_site(path: str) -> str:
    if path in BESIDE:
        return BESIDE[path]
    for folder, place in PICTURES.items():
        if path.startswith(f"{folder}/"):
            return f"{place}/{path.removeprefix(f'{folder}/')}"
    return path.removeprefix("docs/")
