#!/usr/bin/env python3
"""Write a painted H&E-like slide (2048 x 2048 px, 0.5 um/px) and truth.geojson, its nuclei, beside it.

Usage: make_demo_slide.py TARGET.svs

`wsiparse demo` does this and analyses the slide.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wsiparse.doctor.demo import paint_slide
from wsiparse.errors import OutputError


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        painted = paint_slide(Path(sys.argv[1]), size_px=2048, seed=0)
    except OutputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"generated demo slide with {len(painted.truth)} nuclei: {painted.slide}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
