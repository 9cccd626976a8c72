from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.qupath.bench import ROOT, SCRIPTS

README = (SCRIPTS / "README.md").read_text(encoding="utf-8")


def test_every_script_and_picture_is_shown_and_every_one_shown_is_there() -> None:
    assert set(re.findall(r"\b(\w+)\.groovy", README)) == {path.stem for path in SCRIPTS.glob("*.groovy")}
    assert set(re.findall(r"\((pictures/\w+\.svg)\)", README)) == {
        path.relative_to(SCRIPTS).as_posix() for path in SCRIPTS.glob("pictures/*")
    }


def test_every_argument_in_a_command_is_one_its_script_knows() -> None:
    commands = [line.rsplit(" ", 1) for line in re.findall(r"^QuPath script (.+)\.groovy$", README, re.MULTILINE)]
    assert len(commands) >= 8
    for options, script in commands:
        text = (SCRIPTS / f"{script}.groovy").read_text(encoding="utf-8")
        for name in re.findall(r"-a (\w+)=", options):
            assert re.search(rf"readArguments\(\[.*'{name}'", text), (script, name)


def test_the_pictures_are_those_the_script_draws(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "draw_qupath_pictures.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in (SCRIPTS / "pictures").iterdir()}
    assert sum(map(len, drawn.values())) < 50_000
