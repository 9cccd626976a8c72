#!/usr/bin/env python3
"""Write a generated H&E-like slide (2048 x 2048 px, 0.5 um/px, nuclei with known positions).

Usage: make_demo_slide.py TARGET.svs
"""

from __future__ import annotations

import sys
from pathlib import Path

from wsiparse.slides.synthetic import paint_he, write_svs


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    field = paint_he(2048, 2048)
    write_svs(target, field.image)
    print(f"generated demo slide with {len(field.inflammatory)} nuclei: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
