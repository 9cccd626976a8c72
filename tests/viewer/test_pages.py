from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import OutputError
from wsiparse.viewer import pages
from wsiparse.viewer.pages import export_page, served_page, static_file

pytestmark = pytest.mark.usefixtures("library")


class Document(HTMLParser):
    """Elements and text of a page, as a browser takes them apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open, []).append(data)


NASTY = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "{{SCRIPTS}}",
    '" onload="alert(1)',
    "\\u003c/script>",
    "&lt;b&gt;",
)


def facts(name: str) -> dict[str, Any]:
    return {"name": name, "classes": [{"name": name}]}


def pages_of(name: str) -> list[str]:
    return [served_page(facts(name))[0].decode(), export_page(facts(name)).decode()]


@pytest.mark.parametrize("name", NASTY)
def test_names_reach_the_page_as_text_only(name: str) -> None:
    for text, plain in zip(pages_of(name), pages_of("plain"), strict=True):
        document = Document(text)
        assert [element[0] for element in document.elements] == [e[0] for e in Document(plain).elements]
        assert "".join(document.texts["name"]) == name
        assert json.loads("".join(document.texts["facts"])) == facts(name)


@given(st.text())
def test_any_name_comes_back_out_of_the_block_of_facts(library: None, name: str) -> None:
    text = served_page(facts(name))[0].decode()
    block = re.search(r'<script type="application/json" id="facts">(.*?)</script>', text, re.DOTALL)
    assert block is not None
    assert json.loads(block[1]) == facts(name)
    assert html.escape(name) in text


def test_the_served_page_lets_nothing_in_from_elsewhere() -> None:
    page, policy = served_page(facts("plain"))
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert not re.search(r"unsafe|https?:|data:|\*", policy)
    for tag, attributes in Document(page.decode()).elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert not re.match(r"[a-z]+:|//", attributes.get("src") or attributes.get("href") or "")


def test_the_exported_page_runs_its_own_scripts_and_no_others() -> None:
    text = export_page(facts("plain")).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    allowed = set(re.findall(r"'sha256-([^']+)'", policy[1]))
    inside = re.findall(r"<script>(.*?)</script>|<style[^>]*>(.*?)</style>", text, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256((a or b).encode()).digest()).decode() for a, b in inside}
    assert len(hashes) == 3
    assert allowed == hashes
    assert not re.search(r"unsafe|https?:|data:|\*|script-src[^;]*self", policy[1])


def test_the_page_names_research_use() -> None:
    assert "Research use only" in pages_of("plain")[0]


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LIBRARY", "vendor/nothing.js")
    with pytest.raises(OutputError, match=r"scripts/build_viewer\.sh"):
        export_page(facts("plain"))


def test_a_script_that_would_end_its_element_is_not_put_into_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "static_file", lambda name: static_file(name) + b"'</script>'")
    with pytest.raises(ValueError, match="holds markup"):
        export_page(facts("plain"))
