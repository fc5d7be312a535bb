"""What an engine is asked, and what all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.history import EVENT, NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from featkit.engines.spine import Spine
    from featkit.history import HistoryRows, Rule

CREATED = "featkit_created_timestamp"
_ENOUGH = 100_000  # rows of a piece


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinTask:
    """One join: the spine, the rows of one source, and from when on they are known.

    Attributes
    ----------
    spine
        The moments of the entities of this source.
    history
        The rows.
    features
        Names of the features that are wanted, each once.
    rule
        What counts as known; its limit is the caller's business, who knows it for each view.
    oldest
        How old a row may be to be of use to any view, in microseconds; None: any age.
    """

    spine: Spine
    history: HistoryRows
    features: tuple[str, ...]
    rule: Rule
    oldest: int | None

    @property
    def static(self) -> bool:
        """Whether the rows have no time, so that each counts always."""
        return self.history.event is None

    @property
    def created(self) -> pl.Expr | None:
        """What makes the created timestamps; None: none, or they decide nothing here."""
        history = self.history
        return None if history.in_order and not self.rule.created else history.created

    def keys(self) -> list[pl.Expr]:
        """Select the keys as ``k0``, ``k1``, ..."""
        return [key.alias(f"k{n}") for n, key in enumerate(self.history.keys)]

    def times(self) -> list[pl.Expr]:
        """Select the times, of which each may be missing."""
        event, created = self.history.event, self.created
        chosen = [] if event is None else [event.alias(EVENT)]
        return [*chosen, *([] if created is None else [created.alias(CREATED)])]

    def rows(self, *predicates: pl.Expr, timed: bool = True, valued: bool = True) -> pl.LazyFrame:
        """Select of the rows for which the predicates hold keys and times, and the features.

        Parameters
        ----------
        predicates
            What rows are read.
        timed, valued
            Whether keys and times, and whether features are wanted.
        """
        scan = self.history.scan.filter(*predicates) if predicates else self.history.scan
        return scan.select(
            *(self.keys() if timed else ()),
            *(self.times() if timed else ()),
            *(map(pl.col, self.features) if valued else ()),
        )

    def none(self) -> pl.DataFrame:
        """Return what is kept of rows, without a row."""
        schema = self.rows().collect_schema()
        return pl.DataFrame(schema={name: schema[name] for name in self.kept()})

    def kept(self) -> list[str]:
        """Name the columns of which the answer is made."""
        return [*([] if self.static else [EVENT]), *self.features]

    def usable(
        self, frame: pl.DataFrame
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
        """Read of each row the code of its entity, -1 where it cannot match; and its times."""
        codes = self.spine.entities.codes(self.keys_of(frame))
        if not self.static and frame[EVENT].null_count():
            codes = np.where(frame[EVENT].is_not_null().to_numpy(), codes, -1)
        return codes, *self.times_of(frame)

    def keys_of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the keys of rows that were read."""
        return pl.DataFrame([frame[f"k{n}"] for n in range(len(self.history.keys))])

    def times_of(
        self, frame: pl.DataFrame
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
        """Read event and created timestamps, in microseconds; `NEVER` for null."""
        event = np.zeros(frame.height, np.int64) if self.static else _integers(frame[EVENT])
        return event, _integers(frame[CREATED]) if CREATED in frame.columns else None


def _integers(times: pl.Series) -> npt.NDArray[np.int64]:
    whole = times.to_physical()
    found: npt.NDArray[np.int64] = (
        whole.fill_null(NEVER) if whole.null_count() else whole
    ).to_numpy()
    return found


def timestamp(microseconds: int) -> pl.Expr:
    """Write a moment as polars has it."""
    return pl.lit(microseconds, pl.Int64).cast(TIMESTAMP)


def in_pieces(frame: pl.LazyFrame, *, rows: int = _ENOUGH) -> Iterator[pl.DataFrame]:
    """Read rows in their order, some at a time, while the next ones are read already.

    Parameters
    ----------
    frame
        The rows.
    rows
        As many at least are put together: each piece has its cost.
    """
    waiting: list[pl.DataFrame] = []
    for piece in frame.collect_batches(maintain_order=True, engine="streaming"):
        waiting.append(piece)
        if sum(each.height for each in waiting) >= rows:
            yield pl.concat(waiting) if len(waiting) > 1 else piece
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def numbered(pieces: Iterable[pl.DataFrame]) -> Iterator[tuple[int, pl.DataFrame]]:
    """Tell of each piece the number of its first row."""
    first = 0
    for piece in pieces:
        yield first, piece
        first += piece.height
