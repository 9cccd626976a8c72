"""Spoil slides for as long as told: ``python -m tests.fuzz.run --minutes 10``.

What makes a reader stumble is kept in tests/fuzz/corpus (one slide for each way of stumbling) and told; the exit code
is then 1.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.fuzz.bench import CORPUS, Bench, keep
from tests.fuzz.mutate import spoil
from tests.fuzz.seeds import make_seeds


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of all choices; the same seed makes the same slides")
    parser.add_argument("--only", default="", help="seeds whose name contains this")
    parser.add_argument("--keep", type=Path, default=CORPUS, help="where finds go")
    given = parser.parse_args()
    rng = Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        seeds = {name: files for name, files in make_seeds(Path(folder)).items() if given.only in name}
    names = sorted(seeds)
    finds: dict[str, int] = {}
    count, began = 0, time.monotonic()
    with Bench() as bench:
        while time.monotonic() - began < 60 * given.minutes:
            name = rng.choice(names)
            spoilt = spoil(rng, seeds[name])
            count += 1
            for fault in bench.show(spoilt, rng.randrange(1 << 30)):
                # numbers differ from slide to slide of the same fault
                kind = re.sub(r"\d+", "#", re.sub(r"(:\d+): .*", r"\1", fault))[:160]
                finds[kind] = finds.get(kind, 0) + 1
                if finds[kind] == 1:
                    path = keep(spoilt, given.keep)
                    print(f"{path.name} (from {name}, slide {count}): {fault}", flush=True)
        print(f"{count} slides with every reader in {time.monotonic() - began:.0f} s")
        for outcome, n in sorted(bench.outcomes.items()):
            print(f"  {outcome}: {n}")
    for kind, n in sorted(finds.items(), key=lambda item: -item[1]):
        print(f"find, {n} x: {kind}")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
