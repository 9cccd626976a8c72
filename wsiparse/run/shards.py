"""Which share of the work a job of an array does. Pure, but for the environment it is handed.

Shares are static: every job derives the same split from the same list of slides, nobody talks to anybody, and no file
is shared. Whole slides are split by size, longest first; one huge slide is split by its parts.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from wsiparse.errors import ConfigError

__all__ = [
    "Shard",
    "array_job",
    "array_variables",
    "imbalance",
    "longest_first",
    "shard_from_environment",
    "shard_from_text",
]


#: More jobs than any array has.
MOST_SHARES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Shard:
    """Share `index` of `count` equal ones.

    Parameters
    ----------
    index : 1-based
    count : >= 1
    source : where that was read, for people

    Raises
    ------
    ConfigError
        If `index` is not in 1..`count`, or there are more than `MOST_SHARES`.
    """

    index: int
    count: int
    source: str = "--shard"

    def __post_init__(self) -> None:
        if self.count > MOST_SHARES:
            raise ConfigError(f"{self.count} shares (from {self.source}) are too many: at most {MOST_SHARES}.")
        if not 1 <= self.index <= self.count:
            raise ConfigError(
                f"shard {self.index}/{self.count} (from {self.source}): the first of N shards is 1/N, the last is N/N. "
                f"Choose a number between 1 and {max(self.count, 1)}."
            )

    def of(self, n: int) -> slice:
        """This share of n things in a row; all shares together are all of them, sizes differ by at most one."""
        return slice((self.index - 1) * n // self.count, self.index * n // self.count)

    def of_slide(self, name: str) -> Shard:
        """This job's share of one slide's parts: turned by the slide's name, or the last would get all small slides."""
        return replace(self, index=(self.index - 1 + zlib.crc32(name.encode())) % self.count + 1)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def shard_from_text(text: str) -> Shard:
    """What ``--shard i/N`` says.

    Raises
    ------
    ConfigError
        If it is not ``i/N`` with 1 <= i <= N.
    """
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if match is None:
        raise ConfigError(f"--shard '{text}': expected i/N such as 3/64 (the third of 64 shares), auto or none.")
    return Shard(int(match[1]), int(match[2]))


def array_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of array jobs that are set, by name."""
    return {name: environment[name] for name in sorted(_VARIABLES) if environment.get(name)}


def array_job(environment: Mapping[str, str]) -> str | None:
    """The variable that says which job of an array this is, or None outside of an array."""
    for name, *_ in _ARRAYS:
        index = environment.get(name, "")
        # SGE says "undefined" outside of arrays, LSF 0
        if index.isdigit() and not (name == "LSB_JOBINDEX" and index == "0"):
            return name
    return None


def shard_from_environment(environment: Mapping[str, str]) -> Shard | None:
    """The share that a Slurm, PBS, SGE or LSF array job is, or None outside of an array.

    Slurm tells index, first, last and step; SGE too; LSF index, end and step; PBS only the index. A missing count is
    taken from ``WSIPARSE_SHARD_COUNT``; where that is set it wins, and indices count from 1 (from 0 if the first is 0),
    so that single jobs of an array can be submitted again.

    Raises
    ------
    ConfigError
        If an index is given but the number of jobs is not known, or the indices are not evenly spaced.
    """
    name = array_job(environment)
    if name is None:
        return None
    index = environment[name]
    first, last, step, count = next(row[1:] for row in _ARRAYS if row[0] == name)
    told = environment.get("WSIPARSE_SHARD_COUNT") or ""
    low = int(environment.get(first) or 1) if first else 1
    stride = _number(environment, step, 1)
    if told:
        if not told.isdigit():
            raise ConfigError(f"WSIPARSE_SHARD_COUNT is '{told}': expected the number of array jobs, such as 64.")
        # some jobs of an array submitted again have other first and last indices than the whole array
        return Shard(int(index) + (low == 0), int(told), name)
    high = environment.get(last) or ""
    if not high.isdigit():
        raise ConfigError(
            f"{name} is {index}, but the number of array jobs is not given. Set WSIPARSE_SHARD_COUNT=N, give "
            "--shard i/N, or leave --shard out to do everything here."
        )
    n = (int(high) - low) // stride + 1
    if count and environment.get(count, "").isdigit() and int(environment[count]) != n:
        raise ConfigError(
            f"{name}: {environment[count]} array jobs with indices {low}-{high} are not evenly spaced. Use an "
            "array such as 1-64, or give --shard i/N."
        )
    return Shard(_rank(int(index), low, stride, name), n, name)


def longest_first(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Positions of the items of each of `count` shares: the largest item goes to the emptiest share, and so on.

    Graham's LPT rule: the fullest share is at most 4/3 - 1/(3 count) of the best possible split (SIAM J. Appl. Math.
    17:416, 1969). Ties go to the lower position and the lower share, so every job finds the same split.

    Parameters
    ----------
    sizes : sizes of the items, any unit, >= 0
    count : number of shares, >= 1

    Returns
    -------
    For each share its items, largest first

    Raises
    ------
    ValueError
        If `count` < 1.
    """
    if count < 1:
        raise ValueError(f"count must be >= 1, got {count}")
    loads = np.zeros(count, np.int64)
    items = np.zeros(count, np.int64)
    shares: list[list[int]] = [[] for _ in range(count)]
    for position in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        # among the emptiest the one with fewest items: slides of unknown size are spread too
        emptiest = int(np.lexsort((items, loads))[0])
        shares[emptiest].append(position)
        loads[emptiest] += sizes[position]
        items[emptiest] += 1
    return shares


def imbalance(sizes: Sequence[int], shares: Sequence[Sequence[int]]) -> tuple[float, float]:
    """How uneven shares are: the largest over the mean, and the part of all workers' time that is spent waiting.

    Parameters
    ----------
    sizes : sizes of the items; time is taken to be proportional to it
    shares : positions of the items of each share
    """
    loads = [sum(sizes[i] for i in share) for share in shares]
    largest, mean = max(loads), sum(loads) / len(loads)
    if largest == 0:
        return 1.0, 0.0
    return largest / mean, 1 - mean / largest


#: Index, first, last, step and count variable of each batch system.
_ARRAYS = (
    (
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_STEP",
        "SLURM_ARRAY_TASK_COUNT",
    ),
    ("PBS_ARRAY_INDEX", "", "", "", ""),
    ("PBS_ARRAYID", "", "", "", ""),
    ("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE", ""),
    ("LSB_JOBINDEX", "", "LSB_JOBINDEX_END", "LSB_JOBINDEX_STEP", ""),
)
_VARIABLES = {name for row in _ARRAYS for name in row if name} | {"WSIPARSE_SHARD_COUNT"}


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "") if name else ""
    return int(text) if text.isdigit() and int(text) > 0 else default


def _rank(index: int, low: int, stride: int, name: str) -> int:
    if (index - low) % stride:
        raise ConfigError(
            f"{name} is {index}, which is not {low} plus a multiple of {stride}. Give --shard i/N instead."
        )
    return (index - low) // stride + 1
