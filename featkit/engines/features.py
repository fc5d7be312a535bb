"""The features of the rows that are chosen: read with keys and times and kept, or read later."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.engines.base import in_pieces, numbered
from featkit.engines.memory import give_back
from featkit.engines.threads import in_turn
from featkit.failures import FAILURES

if TYPE_CHECKING:
    import numpy.typing as npt

    from featkit.engines.base import JoinTask
    from featkit.engines.plan import Strategy
    from featkit.engines.runs import Best
    from featkit.engines.winners import Winners

_SPARE = 2**17  # rows that may be kept in vain before they are dropped


class HeldFeatures:
    """Features that are read with keys and times; those of rows that lost are dropped in between.

    Parameters
    ----------
    task, strategy, winners
        The join, how it is done, and which rows win so far.
    """

    def __init__(self, task: JoinTask, strategy: Strategy, winners: Winners) -> None:
        self._task, self._winners = task, winners
        self._predicates = tuple(strategy.predicates(task))
        self._numbers = np.empty(0, np.int64)
        self._frame = task.none().select(task.features)

    def scan(self) -> pl.LazyFrame:
        """Select what is read to find the rows."""
        return self._task.rows(*self._predicates)

    def take(self, best: Best, first: int, frame: pl.DataFrame) -> None:
        """Keep the features of the best rows of a run.

        Parameters
        ----------
        best
            The rows.
        first, frame
            Number of the first row of the run, and all of its rows.
        """
        numbers = np.sort(best.numbers)
        rows = frame.select(self._task.features)[numbers - first]
        self._numbers = np.append(self._numbers, numbers)
        self._frame = pl.concat([self._frame, rows])
        if len(self._numbers) > 2 * len(self._task.spine) + _SPARE:
            self._keep(self._winners.numbers())

    def _keep(self, numbers: npt.NDArray[np.int64]) -> None:
        self._frame = self._frame[np.searchsorted(self._numbers, numbers)]
        self._numbers = numbers

    def of(self, numbers: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Give the features of the rows that have these numbers, ascending."""
        self._keep(numbers)
        return self._frame


class LaterFeatures:
    """Features that are read once it is known which rows are chosen.

    Parameters
    ----------
    task, strategy
        The join, and how it is done.
    """

    def __init__(self, task: JoinTask, strategy: Strategy) -> None:
        self._task, self._threads = task, strategy.threads
        self._tight = strategy.memory is not None
        self._predicates = tuple(strategy.predicates(task))

    def scan(self) -> pl.LazyFrame:
        """Select what is read to find the rows."""
        return self._task.rows(*self._predicates, valued=False)

    def take(self, best: Best, first: int, frame: pl.DataFrame) -> None:
        """Keep nothing."""

    def of(self, numbers: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Read the features of the rows that have these numbers, ascending.

        Raises
        ------
        OSError
            The files are not what they were when the rows were numbered.
        """
        if self._tight:
            give_back()
        try:
            frames = self._read(numbers)
        except FAILURES as error:
            if self._changed():
                raise _written_again() from error
            raise
        if self._changed():
            raise _written_again()
        return frames

    def _read(self, numbers: npt.NDArray[np.int64]) -> pl.DataFrame:
        frames = [self._task.none().select(self._task.features)]
        pieces = numbered(in_pieces(self._task.rows(*self._predicates, timed=False)))
        return pl.concat(
            [*frames, *in_turn(partial(_picked, numbers), pieces, ahead=self._threads)]
        )

    def _changed(self) -> bool:
        for file in self._task.history.files:
            status = Path(file.path).stat()
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            if (status.st_size, modified) != (file.size, file.modified):
                return True
        return False


def _written_again() -> OSError:
    return OSError("the files were written again while they were read; call again")


def _picked(numbers: npt.NDArray[np.int64], piece: tuple[int, pl.DataFrame]) -> pl.DataFrame:
    """Pick rows of a piece by their numbers, which ascend."""
    first, frame = piece
    begin, stop = np.searchsorted(numbers, [first, first + frame.height])
    return frame[numbers[begin:stop] - first]
