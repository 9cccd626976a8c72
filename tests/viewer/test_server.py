from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from wsiparse.errors import OutputError
from wsiparse.viewer.server import Routes, ViewServer
from wsiparse.viewer.view import View

Serving = Callable[[View], ViewServer]


@pytest.fixture
def server(serving: Serving, view: View) -> ViewServer:
    return serving(view)


class Answer:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()


def ask(server: ViewServer, path: str, method: str = "GET", **headers: str) -> Answer:
    """A request whose path goes out exactly as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        # not connection.request, which refuses some of the paths a stranger would send
        connection.putrequest(method, "/", skip_host=True)
        connection._buffer[0] = f"{method} {path} HTTP/1.1".encode("latin-1")  # type: ignore[attr-defined]
        for name, value in ({"Host": f"127.0.0.1:{server.server_port}"} | headers).items():
            if value:
                connection.putheader(name, value)
        connection.endheaders()
        return Answer(connection.getresponse())
    finally:
        connection.close()


def test_it_listens_on_the_loopback_interface_only(server: ViewServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.socket.family == socket.AF_INET


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html; charset=utf-8"),
        ("viewer.js", "text/javascript; charset=utf-8"),
        ("openseadragon.js", "text/javascript; charset=utf-8"),
        ("class/empty.gif", "image/gif"),
        ("class/1/0/0_0.png", "image/png"),
        ("class/3/4/4_3.png", "image/png"),
    ],
)
def test_routes_answer_with_their_type(server: ViewServer, path: str, kind: str) -> None:
    got = ask(server, f"/{server.secret}/{path}")
    assert (got.status, got.headers["Content-Type"]) == (200, kind)
    assert len(got.body) == int(got.headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../",
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "%252e%252e%252fetc%252fpasswd",
        "..\\..\\..\\etc\\passwd",
        "..%5c..%5cetc%5cpasswd",
        "/etc/passwd",
        "//etc/passwd",
        "file:///etc/passwd",
        "C:\\Windows\\win.ini",
        "DONE.json",
        "objects.zarr/zarr.json",
        "viewer.html",
        "viewer.css",
        "vendor/openseadragon.min.js",
        "vendor/VERSION",
        ".gitignore",
        "viewer.js/..",
        "./viewer.js",
        "viewer.js?x=1",
        "viewer.js%00",
        "class/../viewer.js",
        "class/1/0/../../../viewer.js",
        "class/1/0/0_0.png/../../../../viewer.js",
        "class/1/0/0_0.png%0a",
        "class/1/0/0_0.png.",
        "class/\u0661/0/0_0.png".encode().decode("latin-1"),
        "class/-1/0/0_0.png",
        "class/0/0/0_0.png",
        "class/9/0/0_0.png",
        "class/1/99/0_0.png",
        "class/1/0/1_0.png",
        "class/1/0/0_9999999999999999999.png",
        "slide/0/0_0.jpg",
        "slide/0/../0_0.jpg",
    ],
)
def test_nothing_else_is_reachable(server: ViewServer, path: str) -> None:
    got = ask(server, f"/{server.secret}/{path}")
    assert (got.status, got.body) == (404, b"404 Not Found\n")


@pytest.mark.parametrize(
    "path", ["/", "*", "/x/", "/viewer.js", "/../etc/passwd", "/etc/passwd", "http://127.0.0.1/", "/%2e%2e/"]
)
def test_without_the_secret_there_is_nothing(server: ViewServer, path: str) -> None:
    assert ask(server, path).status in (400, 404)
    assert ask(server, f"/{server.secret}").status == 404
    assert ask(server, f"/{server.secret[:-1]}/").status == 404


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.2:{port}",
        "0.0.0.0:{port}",
        "[::1]:{port}",
        "user@127.0.0.1:{port}",
    ],
)
def test_foreign_hosts_are_refused(server: ViewServer, host: str) -> None:
    got = ask(server, f"/{server.secret}/", Host=host.format(port=server.server_port))
    assert got.status == 403


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST:{port}", "127.0.0.1:{port}"])
def test_its_own_names_are_taken(server: ViewServer, host: str) -> None:
    assert ask(server, f"/{server.secret}/", Host=host.format(port=server.server_port)).status == 200


def test_two_host_headers_are_refused(server: ViewServer) -> None:
    own = f"127.0.0.1:{server.server_port}"
    request = f"GET /{server.secret}/ HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(request.encode())
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused(server: ViewServer, method: str) -> None:
    got = ask(server, f"/{server.secret}/", method)
    assert (got.status, got.headers["Allow"]) == (405, "GET, HEAD")


def test_head_is_get_without_the_body(server: ViewServer) -> None:
    for path in ("", "class/1/0/0_0.png", "nothing"):
        head, get = (ask(server, f"/{server.secret}/{path}", method) for method in ("HEAD", "GET"))
        assert head.body == b""
        assert head.status == get.status
        assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.body))


def test_every_answer_carries_its_policy(server: ViewServer) -> None:
    for path, status in (("", 200), ("viewer.js", 200), ("class/1/0/0_0.png", 200), ("nothing", 404)):
        got = ask(server, f"/{server.secret}/{path}")
        assert got.status == status
        assert got.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert got.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in got.headers


def test_a_connection_serves_many_requests(server: ViewServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    for path in ("class/1/0/0_0.png", "nothing", "class/2/0/0_0.png"):
        connection.request("GET", f"/{server.secret}/{path}")
        answer = connection.getresponse()
        assert answer.version == 11
        answer.read()
    connection.close()


def test_a_browser_that_goes_away_is_no_news(server: ViewServer, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
            # closed with the answer unread: a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            request = f"GET /{server.secret}/openseadragon.js HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
            connection.sendall(request.encode() * 5)
    assert ask(server, f"/{server.secret}/").status == 200
    assert capfd.readouterr() == ("", "")


def test_addresses_differ_each_time(serving: Serving, view: View) -> None:
    first, second = serving(view), serving(view)
    assert first.secret != second.secret
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{24}/", first.url)


def test_a_port_that_is_taken_is_an_error(server: ViewServer) -> None:
    with pytest.raises(OutputError, match=f"port {server.server_port} on 127.0.0.1 cannot be had"):
        ViewServer(server.routes, server.server_port)


def test_a_tile_is_made_once(library: None, view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    whole = View.overlay_tile

    def counting(self: View, *place: int) -> bytes:
        made.append(place)
        return whole(self, *place)

    monkeypatch.setattr(View, "overlay_tile", counting)
    routes = Routes(view)
    assert routes.reply("class/1/0/0_0.png") == routes.reply("class/1/0/0_0.png")
    assert len(made) == 1


def test_damage_met_while_drawing_is_told(library: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.viewer.made import make, truth
    from wsiparse.store import read
    from wsiparse.viewer.source import find_shown

    monkeypatch.setattr(read, "_KEPT_BYTES", -1)  # of a large slide nothing is kept

    folder = make(tmp_path, truth((300, 200)), size=(300, 200))
    routes = Routes(View(find_shown(folder)))
    for chunk in (folder / "objects.zarr" / "cells" / "coords" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"not zstd")
    got = routes.reply("class/1/0/0_0.png")
    assert got.status == 500
    assert b"cells/coords" in got.body
