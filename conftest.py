"""Examples in docstrings find a slide, and where they read results those of a run, in the folder they run in."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsiparse.cli.main import main
from wsiparse.slides.synthetic import paint_he, write_svs


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide, settings and results."""
    place = tmp_path_factory.mktemp("examples")
    write_svs(place / "slide.svs", paint_he(320, 256, seed=7).image)
    (place / "settings.yaml").write_text("engine: classical\nprompts: [nuclei]\n", encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["run", str(place / "slide.svs"), "-o", str(place / "results"), "--config", str(place / "settings.yaml")])
    assert not stop.value.code
    return place


@pytest.fixture(autouse=True)
def _place_of_examples(request: pytest.FixtureRequest) -> None:
    if not isinstance(request.node, pytest.DoctestItem):
        return
    text = "".join(example.source for example in request.node.dtest.examples)  # type: ignore[union-attr]
    if any(name in text for name in (".svs", "settings.yaml", "results")):
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("examples"))
