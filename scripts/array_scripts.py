"""Put what the array scripts share (array_shared.sh) into each of them, between two marks.

python scripts/array_scripts.py            write it
python scripts/array_scripts.py --check    only say which scripts are not in step; exit code 1 if any
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = tuple(HERE / name for name in ("slurm_array.sbatch", "pbs_array.sh", "sge_array.sh", "lsf_array.sh"))
BEGIN = "# >>> array_shared.sh: change it there, then run scripts/array_scripts.py\n"
END = "# <<< array_shared.sh\n"


def filled(script: str, shared: str) -> str:
    """A script with the shared part as it is now.

    Raises
    ------
    ValueError
        If the script has not one pair of marks.
    """
    if script.count(BEGIN) != 1 or script.count(END) != 1 or script.index(BEGIN) > script.index(END):
        raise ValueError("expected one pair of marks")
    head, rest = script.split(BEGIN)
    return head + BEGIN + shared + END + rest.split(END)[1]


def main(arguments: list[str]) -> int:
    shared, behind = (HERE / "array_shared.sh").read_text(encoding="utf-8"), 0
    for path in SCRIPTS:
        now = path.read_text(encoding="utf-8")
        want = filled(now, shared)
        if now == want:
            continue
        if "--check" in arguments:
            print(f"{path.name}: not in step with array_shared.sh; run scripts/array_scripts.py")
            behind = 1
        else:
            path.write_text(want, encoding="utf-8", newline="\n")
    return behind


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
