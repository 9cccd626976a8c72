"""Groovy 4 and the stand-ins for QuPath's classes: compiles the scripts, runs them on images in memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "qupath_scripts"
STUBS = Path(__file__).parent / "stubs"

#: Where Debian's packages libgoogle-gson-java and libjts-java put theirs.
JARS = {"libgoogle-gson-java": Path("/usr/share/java/gson.jar"), "libjts-java": Path("/usr/share/java/jts-core.jar")}


def groovy_jar() -> Path | None:
    """Groovy 4 (QuPath's): beside `groovyc` on PATH, or where CI puts it; Debian's own Groovy is too old."""
    folders = [ROOT / ".tools" / "groovy"]
    compiler = shutil.which("groovyc")
    if compiler is not None:
        folders.insert(0, Path(compiler).resolve().parents[1] / "lib")
    found = [jar for folder in folders for jar in sorted(folder.glob("groovy-4.*.jar"))]
    return found[0] if found else None


def class_path() -> list[Path]:
    """The jars the scripts need; skips the test with what is missing."""
    missing = [f"{package} (Debian)" for package, jar in JARS.items() if not jar.is_file()]
    groovy = groovy_jar()
    if groovy is None:
        missing.append("Groovy 4 (groovy-4.*.jar of the npm package npm-groovy-lint, in .tools/groovy)")
    missing += [f"{tool} (a JDK of 17 or newer)" for tool in ("java", "javac") if shutil.which(tool) is None]
    if missing:
        pytest.skip("QuPath scripts need " + ", ".join(missing))
    assert groovy is not None
    return [groovy, *JARS.values()]


def java(classes: Path, jars: list[Path], *arguments: object) -> list[str]:
    """The command that starts the runner."""
    options = [
        "-XX:+UseSerialGC",
        "-Xmx1g",
        "-Dfile.encoding=UTF-8",
        "-cp",
        os.pathsep.join(map(str, [classes, *jars])),
    ]
    return ["java", *options, "RunScripts", *map(str, arguments)]


@dataclass(frozen=True)
class Bench:
    """The compiled stand-ins, and a Java process that runs scripts with them."""

    classes: Path
    jars: list[Path]
    process: subprocess.Popen[str]

    def check(self, *scripts: Path) -> subprocess.CompletedProcess[str]:
        """Compile with static types."""
        command = java(self.classes, self.jars, "check", *scripts)
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, encoding="utf-8")

    def run(self, folder: Path, images: list[dict[str, Any]], steps: list[dict[str, Any]], **extra: Any) -> list[Any]:
        """Run scripts one after the other on images in memory; what was printed and what the images hold after each.

        A step is ``{"script": name, "args": [...], "open": number of the image in the viewer}``; "each" instead of
        "open" runs it for each image of the project, saving it, as the command line does.
        """
        scenario, result = folder / "scenario.json", folder / "result.json"
        steps = [{**step, "script": str(SCRIPTS / f"{step['script']}.groovy")} for step in steps]
        scenario.write_text(json.dumps({"images": images, "steps": steps, **extra}), encoding="utf-8")
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{scenario}\t{result}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer == "done\n", answer or "the Java process ended"
        return json.loads(result.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def image(name: str = "demo.svs", **fields: Any) -> dict[str, Any]:
    """An image of a scenario, as large as the demo slide."""
    return {
        "name": name,
        "uri": f"file:///slides/{name}",
        "width": 640,
        "height": 512,
        "mpp": [0.5, 0.5],
        "objects": [],
        **fields,
    }
