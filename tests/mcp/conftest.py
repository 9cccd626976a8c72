from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ask.cohort import painted_cohort
from tests.conftest import ROOT

pytest.importorskip("mcp", reason="needs the package mcp: pip install 'wsiparse[mcp]'")

#: Tool and its arguments.
Call = tuple[str, dict[str, Any]]


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The painted cohort; no test writes into it."""
    return painted_cohort(tmp_path_factory.mktemp("served") / "results")


async def _call(arguments: Sequence[str], calls: Sequence[Call]) -> tuple[list[Any], list[Any]]:
    from mcp import Client, StdioServerParameters, stdio_client

    started = StdioServerParameters(
        command=sys.executable, args=["-W", "error", "-m", "wsiparse", "mcp", *arguments], cwd=str(ROOT)
    )
    async with Client(stdio_client(started)) as client:
        listed = await client.list_tools()
        return list(listed.tools), [await client.call_tool(name, values) for name, values in calls]


@pytest.fixture
def client() -> Callable[..., tuple[list[Any], list[Any]]]:
    """Start the server as a program of its own; the tools that the official client lists, and what its calls return."""

    def call(arguments: Sequence[object], calls: Sequence[Call] = ()) -> tuple[list[Any], list[Any]]:
        return asyncio.run(_call(list(map(str, arguments)), calls))

    return call
