from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser import missing
from tests.viewer.browser import ViewerBrowser
from tests.viewer.made import Truth, make, truth
from wsiparse.errors import OutputError
from wsiparse.viewer.pages import LIBRARY, static_file
from wsiparse.viewer.server import Routes, ViewServer
from wsiparse.viewer.source import find_shown
from wsiparse.viewer.view import View


@pytest.fixture(scope="session")
def library() -> None:
    """OpenSeadragon, fetched at build."""
    try:
        static_file(LIBRARY)
    except OutputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def found() -> Truth:
    return truth()


@pytest.fixture(scope="session")
def made(found: Truth, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results without their slide."""
    return make(tmp_path_factory.mktemp("made"), found)


@pytest.fixture(scope="session")
def view(made: Path) -> View:
    return View(find_shown(made))


@pytest.fixture
def serving(library: None) -> Iterator[Callable[[View], ViewServer]]:
    """Starts servers that end with the test."""
    started: list[tuple[ViewServer, threading.Thread]] = []

    def start(view: View) -> ViewServer:
        server = ViewServer(Routes(view))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def browser(library: None) -> Iterator[ViewerBrowser]:
    """Headless Chromium."""
    if why := missing():
        pytest.skip(why)
    with ViewerBrowser() as started:
        yield started
