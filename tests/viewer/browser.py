"""The browser, waiting for the viewer's tiles."""

from __future__ import annotations

import time

from tests.browser import Browser

__all__ = ["ViewerBrowser"]


class ViewerBrowser(Browser):
    """A browser that shows the viewer's page."""

    def settle(self) -> None:
        """Wait until nothing moves and every tile is there: a quarter of a second without a change."""

        def still() -> bool:
            before = self._state()
            time.sleep(0.25)
            return before == self._state() and before[0] == "false"

        self._until(still, 60, "the page does not come to rest")

    def _state(self) -> list[str]:
        state: list[str] = self.js(
            "const by = (id) => document.getElementById(id);"
            "return [by('picture').getAttribute('aria-busy'), by('scale-bar').style.width,"
            " document.querySelector('.displayregion')?.style.cssText]"
        )
        return state
