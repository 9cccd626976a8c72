"""The viewer's server: this machine only, for one person, the viewer's own routes and nothing else.

It listens on 127.0.0.1 and answers GET and HEAD. The path begins with a secret that is new each time, so another
user of the machine who finds the port sees nothing. A request whose Host is not this server's own address is refused,
so a web page elsewhere cannot reach it by pointing its own name here (DNS rebinding). A path is matched whole against
the list of routes; no part of it ever becomes a file name.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from wsiparse.errors import OutputError, WsiparseError
from wsiparse.viewer.cache import BoundedCache
from wsiparse.viewer.overlay import EMPTY_TILE
from wsiparse.viewer.pages import LIBRARY, served_page, static_file
from wsiparse.viewer.view import View

__all__ = ["Reply", "Routes", "ViewServer"]

#: Tiles kept, bytes as sent.
_TILE_BYTES: Final = 64 << 20

#: Seconds after which a connection that says nothing is closed.
_IDLE_S: Final = 60

_JS: Final = "text/javascript; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, content type, body, and for the page its policy."""

    status: HTTPStatus
    kind: str
    body: bytes
    policy: str = "default-src 'none'"


def _plain(status: HTTPStatus) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n".encode())


class Routes:
    """What there is to be had, by path below the secret.

    Parameters
    ----------
    view : the slide
    notes : lines for whoever looks

    Raises
    ------
    OutputError
        If the viewer's library has not been fetched.
    """

    def __init__(self, view: View, notes: list[str] | None = None) -> None:
        self._view = view
        page, policy = served_page(view.facts(notes or []))
        self._fixed = {
            "": Reply(HTTPStatus.OK, "text/html; charset=utf-8", page, policy),
            "viewer.js": Reply(HTTPStatus.OK, _JS, static_file("viewer.js")),
            "openseadragon.js": Reply(HTTPStatus.OK, _JS, static_file(LIBRARY)),
            "class/empty.gif": Reply(HTTPStatus.OK, "image/gif", EMPTY_TILE),
        }
        number = r"(\d{1,6})"
        self._tiles: tuple[tuple[re.Pattern[str], str, Callable[..., bytes]], ...] = (
            (re.compile(rf"slide/{number}/{number}_{number}\.jpg", re.ASCII), "image/jpeg", view.slide_tile),
            (re.compile(rf"class/{number}/{number}/{number}_{number}\.png", re.ASCII), "image/png", view.overlay_tile),
        )
        self._kept: BoundedCache[bytes] = BoundedCache(_TILE_BYTES, len)

    def reply(self, path: str) -> Reply:
        """The answer to a path, exactly as it stands in the request less the secret in front."""
        if path in self._fixed:
            return self._fixed[path]
        for pattern, kind, make in self._tiles:
            if found := pattern.fullmatch(path):
                place = [int(part) for part in found.groups()]
                try:
                    body = self._kept.get(path, partial(make, *place))
                except ValueError:
                    return _plain(HTTPStatus.NOT_FOUND)
                except WsiparseError as error:
                    text = f"{error}\n".encode(errors="replace")
                    return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text)
                return Reply(HTTPStatus.OK, kind, body)
        return _plain(HTTPStatus.NOT_FOUND)


class ViewServer(ThreadingHTTPServer):
    """Serves `Routes` on 127.0.0.1.

    Parameters
    ----------
    routes : what there is
    port : 0 for any that is free

    Raises
    ------
    OutputError
        If the port cannot be had.
    """

    daemon_threads = True  # a tile that is being made does not hold up the end

    def __init__(self, routes: Routes, port: int = 0) -> None:
        self.routes = routes
        self.secret = secrets.token_urlsafe(18)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise OutputError(f"port {port} on 127.0.0.1 cannot be had ({error}); leave out --port.") from error

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.server_port}/{self.secret}/"

    def is_own(self, host: str) -> bool:
        """Is this value of a Host header the server's own address?"""
        return host.lower() in (f"127.0.0.1:{self.server_port}", f"localhost:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version = "wsiparse"
    sys_version = ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        self._send(self._reply())

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self) -> None:
        self.close_connection = True  # a body may follow, which is not read
        self._send(_plain(HTTPStatus.METHOD_NOT_ALLOWED))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815

    def _reply(self) -> Reply:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.is_own(hosts[0]):
            return _plain(HTTPStatus.FORBIDDEN)
        rest = self._below_secret()
        return _plain(HTTPStatus.NOT_FOUND) if rest is None else self.server.routes.reply(rest)

    def _below_secret(self) -> str | None:
        root = f"/{self.server.secret}/"
        begins = hmac.compare_digest(self.path[: len(root)].encode(errors="replace"), root.encode())
        return self.path[len(root) :] if begins else None

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in (
            ("Content-Type", reply.kind),
            ("Content-Length", str(len(reply.body))),
            ("Content-Security-Policy", reply.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),  # pictures of patients stay out of the browser's files
        ):
            self.send_header(name, value)
        if reply.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def handle(self) -> None:
        """Serve a connection; a browser that goes away in the middle is no news."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the terminal shows the address."""
