"""Work on all cores: numpy and polars let other threads run while they work."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")

_LARGE = 2**20  # rows, from which on it pays to have several threads
_SLICE = 2**18  # rows of a slice: what is made of them on the way fits the cache of a core


def cores() -> int:
    """Tell how many threads there may be at once: as many as polars has."""
    return pl.thread_pool_size()


def in_turn(function: Callable[[T], R], things: Iterable[T], *, ahead: int) -> Iterator[R]:
    """Apply a function to things as they come; give the results in their order.

    Parameters
    ----------
    function, things
        What is applied to what.
    ahead
        How many things it is applied to at the same time, while the next ones are made.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(ahead, thread_name_prefix="featkit-join") as pool:
        for thing in things:
            waiting.append(pool.submit(function, thing))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """Do some jobs, as many at the same time as there are cores; return their results."""
    with ThreadPoolExecutor(cores(), thread_name_prefix="featkit-join") as pool:
        return [each.result() for each in [pool.submit(job) for job in jobs]]


def in_slices(work: Callable[[slice], None], edges: Sequence[int]) -> None:
    """Work on slices of arrays, on some at the same time.

    Parameters
    ----------
    work
        What is done with a slice; it must leave alone what belongs to another.
    edges
        Where the slices begin and end: one number more than slices; see `even`.
    """
    slices = [slice(*pair) for pair in pairwise(edges)]
    if len(slices) == 1:
        work(slices[0])
    else:
        at_once(*(partial(work, each) for each in slices))


def even(height: int) -> list[int]:
    """Cut so many rows into equal slices that are easily worked on; one if they are few."""
    parts = height // _SLICE if height >= _LARGE else 1
    return [height * n // parts for n in range(parts + 1)]
