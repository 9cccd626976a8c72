from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from wsiparse.cli.main import main
from wsiparse.slides.synthetic import paint_he, write_svs

# a kernel's first call compiles, and tmp_path is made once per test on purpose
settings.register_profile("wsiparse", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("wsiparse")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real slides and tiles that lies beside the checkout; tests that need it skip without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs ../shared/data (real slides and annotated tiles), which is not here")
    return SHARED


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def wsiparse(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command line in this process: exit code and what it printed."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        got = capsys.readouterr()
        return Said(int(stop.value.code or 0), got.out, got.err)

    return call


@pytest.fixture(scope="session")
def demo_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small H&E-like slide, 640 x 512 px at 0.5 um/px."""
    path = tmp_path_factory.mktemp("demo") / "demo.svs"
    write_svs(path, paint_he(640, 512, seed=7).image)
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was captured may hold file names that are not text, which test processes cannot tell each other."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
