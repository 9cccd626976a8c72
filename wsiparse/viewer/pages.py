"""The page: a template, the facts as a block of JSON, and a policy that lets nothing in from elsewhere.

Names of slides and classes reach the page only as JSON in a block of data, in which no "<" is left, and as escaped
text; the script puts them into the document as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any, Final

from wsiparse.errors import OutputError

__all__ = ["LIBRARY", "LICENCE", "export_page", "served_page", "static_file"]

_STATIC: Final = Path(__file__).with_name("static")

#: OpenSeadragon, fetched by scripts/build_viewer.sh, and its licence.
LIBRARY: Final = "vendor/openseadragon.min.js"
LICENCE: Final = "vendor/LICENSE.txt"

#: What both ways of showing the page forbid; each adds where its own pieces come from.
_NOTHING_ELSE: Final = "default-src 'none'; base-uri 'none'; form-action 'none'"


def static_file(name: str) -> bytes:
    """A file of the page.

    Raises
    ------
    OutputError
        If the library has not been fetched.
    """
    try:
        return (_STATIC / name).read_bytes()
    except FileNotFoundError as error:
        raise OutputError(
            f"{_STATIC / name}: missing. The viewer's picture library is fetched once: run scripts/build_viewer.sh "
            "in the checkout (it needs npm)."
        ) from error


def served_page(facts: dict[str, Any]) -> tuple[bytes, str]:
    """The page whose scripts and tiles come from the same server, and its Content-Security-Policy.

    Raises
    ------
    OutputError
        If the picture library has not been fetched.
    ValueError
        If the style holds markup.
    """
    style, allowed = _style()
    scripts = '<script src="openseadragon.js"></script>\n<script src="viewer.js"></script>'
    policy = f"{_NOTHING_ELSE}; frame-ancestors 'none'; script-src 'self'; style-src {allowed}; img-src 'self'"
    return _page(facts, style, scripts), policy


def export_page(facts: dict[str, Any]) -> bytes:
    """The page with its scripts inside, for a folder of tiles beside it.

    Only these very scripts may run: the policy names their SHA-256, so it holds for pages opened from a folder, where
    "self" means different things to different browsers.

    Raises
    ------
    OutputError
        If the picture library has not been fetched.
    ValueError
        If the style or a script holds markup.
    """
    style, allowed = _style()
    scripts = [_harmless(static_file(name).decode()) for name in (LIBRARY, "viewer.js")]
    policy = f"{_NOTHING_ELSE}; script-src {' '.join(map(_sha256, scripts))}; style-src {allowed}; img-src 'self' file:"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n{style}'
    return _page(facts, head, "\n".join(f"<script>{text}</script>" for text in scripts))


def _style() -> tuple[str, str]:
    """The style element and what the policy calls it.

    OpenSeadragon adds a style element of its own, which the policy would refuse aloud, unless one with this attribute
    is there already.
    """
    text = _harmless(static_file("viewer.css").decode())
    return f"<style data-openseadragon-mobile-css>{text}</style>", _sha256(text)


def _harmless(text: str) -> str:
    """The text itself, if it can stand inside an element.

    Raises
    ------
    ValueError
        If it would end the element it stands in.
    """
    if re.search(r"</(script|style)|<!--", text, re.IGNORECASE):
        raise ValueError("a script or style that holds markup cannot be put into the page")
    return text


def _sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _page(facts: dict[str, Any], head: str, scripts: str) -> bytes:
    pieces = {
        "TITLE": html.escape(str(facts["name"])),
        "HEAD": head,
        "FACTS": json.dumps(facts).replace("<", "\\u003c"),
        "SCRIPTS": scripts,
    }
    template = static_file("viewer.html").decode()
    # one pass: what is put in is not searched again
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda found: pieces[found[1]], template).encode()
