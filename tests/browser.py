"""Headless Chromium, told what to do in the words of W3C WebDriver, which chromedriver understands.

Three dozen lines of HTTP take the place of a package that the tests alone would need.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Browser", "missing"]

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def missing() -> str:
    """Why there is no browser, "" if there is one."""
    gone = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"needs {' and '.join(gone)} (Debian packages chromium and chromium-driver)" if gone else ""


class Browser:
    """One window, a profile of its own that is gone at the end."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._root = f"http://127.0.0.1:{free.getsockname()[1]}"
            port = free.getsockname()[1]
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._until(self._answers, 30, "chromedriver does not answer")
        options = {
            "binary": shutil.which("chromium"),
            "args": [*_FLAGS, f"--user-data-dir={self._profile.name}"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        try:
            self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait()
            self._profile.cleanup()

    def _answers(self) -> bool:
        try:
            return bool(self._call("GET", "/status")["ready"])
        except (urllib.error.URLError, ConnectionError):
            return False

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(json.load(error)["value"]["message"]) from error

    @staticmethod
    def _until(true: Any, seconds: float, otherwise: str) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, otherwise
            time.sleep(0.02)

    def js(self, code: str, *values: object) -> Any:
        """The value of a JavaScript function body; `values` are its arguments."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": code, "args": list(values)})

    def cdp(self, command: str, **values: object) -> Any:
        """The answer to a command of the Chrome DevTools Protocol."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": values})

    def resize(self, width: int, height: int) -> None:
        """Make the page this large, CSS px."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url: str, size: tuple[int, int] = (1280, 800)) -> None:
        """Load a page, forgetting what was said about earlier ones, and wait until it rests."""
        self._call("POST", f"{self._session}/url", {"url": "about:blank"})
        self.resize(*size)
        self.said()
        self.requested()
        self._call("POST", f"{self._session}/url", {"url": url})
        self.settle()

    def settle(self) -> None:
        """Wait until the page is loaded and what was asked of it is drawn."""
        self._until(lambda: self.js("return document.readyState") == "complete", 60, "the page does not load")
        self._call(
            "POST",
            f"{self._session}/execute/async",
            {"script": "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))", "args": []},
        )

    def click(self, selector: str) -> None:
        """Click, and wait for what it does."""
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        self._call("POST", f"{self._session}/element/{next(iter(found.values()))}/click")
        self.settle()

    def press(self, *keys: str) -> None:
        """Press keys one after the other (as WebDriver numbers them, Enter is \\ue007), and wait for what they do."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", f"{self._session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})
        self.settle()

    def downloaded(self, selector: str, folder: Path) -> Path:
        """Click, and wait for the one file that comes of it."""
        before = set(folder.iterdir())
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.click(selector)

        def new() -> list[Path]:
            return [f for f in set(folder.iterdir()) - before if f.suffix != ".crdownload"]

        self._until(new, 30, "nothing was downloaded")
        (file,) = new()
        return file

    def pdf(self) -> bytes:
        """The page as it is printed, with the page size and margins its style asks for."""
        printed = self.cdp("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        return base64.b64decode(printed["data"])

    def whole(self, save: str) -> None:
        """Keep the whole page, however long, as a PNG in $WSIPARSE_SCREENSHOTS, if that is set."""
        folder = os.environ.get("WSIPARSE_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            taken = self.cdp("Page.captureScreenshot", captureBeyondViewport=True)
            (Path(folder) / f"{save}.png").write_bytes(base64.b64decode(taken["data"]))

    def picture(self, save: str = "") -> NDArray[np.uint8]:
        """The page's pixels, (H, W, 3) uint8; kept as a PNG in $WSIPARSE_SCREENSHOTS, if that is set."""
        data = base64.b64decode(self._call("GET", f"{self._session}/screenshot"))
        folder = os.environ.get("WSIPARSE_SCREENSHOTS")
        if save and folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{save}.png").write_bytes(data)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def said(self) -> list[str]:
        """What the console was told since the last call, warnings and worse."""
        return [e["message"] for e in self._log("browser") if e["level"] in ("WARNING", "SEVERE")]

    def requested(self) -> list[str]:
        """Addresses asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def _log(self, kind: str) -> list[dict[str, str]]:
        entries: list[dict[str, str]] = self._call("POST", f"{self._session}/se/log", {"type": kind})
        return entries
