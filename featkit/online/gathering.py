"""Replies that are decoded some at a time, since each decoding has a price of its own.

To turn five rows into columns costs polars as much as to turn a thousand. So a store that answers
few rows a call lets replies gather: the worker that brings the last of a group decodes all of it,
while others still wait, and what is left in the end is decoded when it is wanted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import polars as pl

from featkit.columns import FeatureColumns
from featkit.errors import FeatkitError, RowMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from featkit.stores.base import OnlineRead

Said = TypeVar("Said")

ROWS = 4000
"""Rows of a group: enough that their number does not matter, and little to hold."""


@dataclass(frozen=True, slots=True)
class Piece(Generic[Said]):
    """One reply: what was asked, what was said, and by whom, for messages."""

    read: OnlineRead
    said: Said
    origin: str


class Gathering(Generic[Said]):
    """The replies for one view, until they are decoded.

    Parameters
    ----------
    decode
        Makes the columns of some replies, one row per key that they were asked for, in order.
    rows
        How many make a group.
    """

    def __init__(
        self, decode: Callable[[Sequence[Piece[Said]]], FeatureColumns], *, rows: int = ROWS
    ) -> None:
        self._decode = decode
        self._rows = rows
        self._group = _Group(decode)
        self._lock = threading.Lock()

    def add(self, read: OnlineRead, said: Said, origin: object) -> Later:
        """Add a reply; return what stands for its columns."""
        with self._lock:
            group = self._group
            later = Later(group, len(group.pieces), group.height, read.keys.height)
            group.pieces.append(Piece(read, said, str(origin)))
            group.height += read.keys.height
            full = group.height >= self._rows
            if full:
                self._group = _Group(self._decode)
        if full:
            group.settle()
        return later


@dataclass(eq=False)
class _Group:
    """Replies that are decoded together."""

    decode: Callable[[Sequence[Piece[Any]]], FeatureColumns]
    pieces: list[Piece[Any]] = field(default_factory=list)
    height: int = 0
    columns: FeatureColumns | None = None
    alone: list[FeatureColumns | FeatkitError] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self) -> None:
        """Decode what has gathered; where that fails, each reply alone, to find which is wrong."""
        with self.lock:
            if not self.pieces:
                return
            made = self._made(self.pieces)
            if isinstance(made, FeatureColumns):
                self.columns = made
            elif len(self.pieces) == 1:
                self.alone = [made]
            else:
                self.alone = [self._made([piece]) for piece in self.pieces]
            self.pieces.clear()

    def _made(self, pieces: Sequence[Piece[Any]]) -> FeatureColumns | FeatkitError:
        expected = sum(piece.read.keys.height for piece in pieces)
        try:
            columns = self.decode(pieces)
            if len(columns) != expected:
                msg = f"expected {expected} rows, got {len(columns)}; nothing was joined"
                raise RowMismatch(msg)
        except FeatkitError as error:
            error.args = (f"{pieces[0].origin}: {error}",)
            return error
        return columns


@dataclass(frozen=True, slots=True, eq=False)
class Later:
    """The columns of a reply that may not be decoded yet.

    Attributes
    ----------
    group
        The replies that it is decoded with.
    place, start, height
        Which of these it is, and where its rows are.
    """

    group: _Group
    place: int
    start: int
    height: int

    def columns(self) -> FeatureColumns | FeatkitError:
        """Return the columns, or why there are none."""
        self.group.settle()
        if self.group.columns is None:
            return self.group.alone[self.place]
        rows = pl.int_range(self.start, self.start + self.height, dtype=pl.UInt32, eager=True)
        return self.group.columns.gather(rows)


def gathered(
    asked: Sequence[tuple[OnlineRead, object]],
) -> list[tuple[OnlineRead, object]]:
    """Make one answer of all that were decoded together, with its keys in the order asked.

    Parameters
    ----------
    asked
        What was asked, view by view, with what came: columns, an error, or a `Later`.
    """
    result: list[tuple[OnlineRead, object]] = []
    for _, pairs in groupby(asked, key=lambda pair: id(pair[0].view)):
        own = list(pairs)
        laters = [answer for _, answer in own if isinstance(answer, Later)]
        if laters and len(laters) == len(own) and (whole := _whole(laters)) is not None:
            keys = pl.concat([read.keys for read, _ in own])
            result.append((replace(own[0][0], keys=keys), whole))
        else:
            result += [
                (read, answer.columns() if isinstance(answer, Later) else answer)
                for read, answer in own
            ]
    return result


def _whole(laters: Sequence[Later]) -> FeatureColumns | None:
    """Put the columns of all groups together, in the order of the replies; None: one is wrong."""
    groups = list({id(later.group): later.group for later in laters}.values())
    offsets: dict[int, int] = {}
    height = 0
    parts = []
    for group in groups:
        group.settle()
        if group.columns is None:
            return None
        parts.append(group.columns)
        offsets[id(group)] = height
        height += group.height
    columns = FeatureColumns.concat(parts)
    starts = [offsets[id(later.group)] + later.start for later in laters]
    lengths = [later.height for later in laters]
    if starts == list(np.cumsum([0, *lengths[:-1]])) and sum(lengths) == height:
        return columns
    firsts = np.repeat(np.array(starts) - np.cumsum([0, *lengths[:-1]]), lengths)
    return columns.gather(pl.Series(firsts + np.arange(sum(lengths))).cast(pl.UInt32))
