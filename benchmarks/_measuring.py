"""How claims are measured: side by side in one run, so that a busy machine slows both sides."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One line of the table.

    Attributes
    ----------
    text
        What is claimed.
    measured
        What was found.
    limit
        What must not be exceeded; None: the figure is for information.
    unit
        Of both; "x" for a ratio.
    note
        The figures behind it.
    """

    text: str
    measured: float
    limit: float | None = None
    unit: str = "x"
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the limit is kept."""
        return self.limit is None or self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Times:
    """How long the calls of one function took, in milliseconds.

    Attributes
    ----------
    wall, cpu
        One figure a call: by the clock, and summed over the cores.
    """

    wall: list[float]
    cpu: list[float]

    def over(self, other: Times) -> float:
        """Divide the median of the wall times by that of another function."""
        return median(self.wall) / median(other.wall)

    def beside(self, other: Times) -> str:
        """Tell the figures behind the ratio: medians, and the ratios of the minima."""
        best = min(self.wall) / min(other.wall)
        cpu = min(self.cpu) / min(other.cpu)
        return (
            f"{median(self.wall):.1f} ms to {median(other.wall):.1f} ms; "
            f"ratio of the fastest {best:.2f}, of the least CPU {cpu:.2f}"
        )


def side_by_side(
    functions: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 2
) -> dict[str, Times]:
    """Time functions in turn, each round in another order.

    Parameters
    ----------
    functions
        What to time, by name.
    rounds
        How often each is timed.
    warm_up
        How often each is called before that.
    """
    for function in list(functions.values()) * warm_up:
        function()
    times = {name: Times([], []) for name in functions}
    names = list(functions)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()  # what others left behind is not part of the work
            wall, cpu = time.perf_counter(), time.process_time()
            result = functions[name]()
            times[name].wall.append((time.perf_counter() - wall) * 1e3)
            times[name].cpu.append((time.process_time() - cpu) * 1e3)
            del result  # letting go of it is not part of the work
    return times


def in_a_fresh_process(*arguments: str) -> dict[str, Any]:
    """Run Python with these arguments; return what it prints, which is JSON."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - our own
    found: dict[str, Any] = json.loads(done.stdout)
    return found
