"""The keys and moments of a spine, checked; and what was joined to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from featkit.dtypes import TIMESTAMP, format_dtype
from featkit.engines.spine import Spine, without_sign_of_zero
from featkit.errors import KeyTypeError, TimestampError
from featkit.keys import EntityKeys, check

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import numpy as np
    import numpy.typing as npt

    from featkit.frames import UserFrame
    from featkit.history import HistoryFile, Match, Rule
    from featkit.keys import RowLabel
    from featkit.references import ViewSelection

AT_COLUMN = "featkit_at"
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999


@dataclass(frozen=True, kw_only=True, eq=False)
class SpineColumns:
    """What of a spine takes part in the joins.

    Attributes
    ----------
    keys
        One column per join key, as they are in the user's frame.
    at
        The moments, UTC in microseconds.
    weights
        How many rows of the user's frame each row stands for; None: one.
    row, zone
        How the user calls a row, and what naive timestamps mean.
    """

    keys: pl.DataFrame
    at: pl.Series
    weights: npt.NDArray[np.int64] | None
    row: RowLabel
    zone: str | None
    _ready: dict[object, tuple[EntityKeys, Spine]] = field(default_factory=dict)

    @cached_property
    def rows(self) -> int:
        """How many rows the user's frame has."""
        return len(self.at) if self.weights is None else int(self.weights.sum())

    @property
    def moments(self) -> npt.NDArray[np.int64]:
        """The moments as whole numbers; 0 for null."""
        found: npt.NDArray[np.int64] = self.at.to_physical().fill_null(0).to_numpy()
        return found

    def of(self, part: ViewSelection) -> tuple[EntityKeys, Spine]:
        """Return the entities of a view, and the spine sorted by them; made once for equal keys."""
        view = part.view
        same = part.key_columns, tuple(str(entity.dtype) for entity in view.entities)
        if same not in self._ready:
            keys = EntityKeys.of(self._checked(part))
            self._ready[same] = keys, Spine(keys, self.at)
        return self._ready[same]

    def _checked(self, part: ViewSelection) -> pl.DataFrame:
        view = part.view
        if not view.join_keys:
            return pl.DataFrame(height=len(self.at))
        chosen = part.keys_of(self.keys).select(view.join_keys)
        checked = check(chosen, view, zone=self.zone, row=self.row)
        return checked.select(map(without_sign_of_zero, checked))

    def usable(self, part: ViewSelection) -> npt.NDArray[np.bool_]:
        """Tell which rows have a key of the view, and a moment."""
        keys, _ = self.of(part)
        found: npt.NDArray[np.bool_] = (
            keys.positions.is_not_null() & self.at.is_not_null()
        ).to_numpy()
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Joined:
    """One view, joined.

    Attributes
    ----------
    part
        The view and its features.
    rule
        What counted.
    match
        What was found, whatever its age.
    positions
        As in the match, without rows that are too old.
    values
        By feature, the values of the rows in the match, in the view's dtypes.
    usable
        Which rows of the spine have a key and a moment.
    files
        Where the rows come from.
    notes
        What there is to know.
    """

    part: ViewSelection
    rule: Rule
    match: Match
    positions: npt.NDArray[np.int64]
    values: Mapping[str, pl.Series]
    usable: npt.NDArray[np.bool_]
    files: tuple[HistoryFile, ...] = ()
    notes: tuple[str, ...] = ()

    def by_row(self) -> dict[str, pl.Series]:
        """Give for each feature the value of each row of the spine, null where it has none."""
        places = pl.Series(self.positions).set(pl.Series(self.positions < 0), None)
        return {name: values.gather(places) for name, values in self.values.items()}


def read_spine(frame: UserFrame, labels: Mapping[str, Hashable], at: Hashable) -> pl.DataFrame:
    """Read the join keys of a spine, and its moments as `AT_COLUMN`.

    Raises
    ------
    TimestampError
        The moments are Python objects that do not belong together.
    """
    try:
        return frame.key_columns({**labels, AT_COLUMN: at})
    except (KeyTypeError, TimestampError) as error:
        if AT_COLUMN not in (told := str(error)):
            raise
        told = told.replace(f"the key {AT_COLUMN!r}", "it").replace("a key", "a moment")
        raise TimestampError(told if repr(at) in told else f"column {at!r}: {told}") from error


def check_moments(
    column: pl.Series, *, name: Hashable, zone: str | None, row: RowLabel, option: str = "at"
) -> pl.Series:
    """Read the moments of a spine, or other times that an option names, as UTC microseconds.

    Raises
    ------
    TimestampError
        They are no timestamps, naive where there is no `zone`, or beyond the years 1 to 9999.
    """
    if column.null_count() == len(column):
        return pl.repeat(None, len(column), dtype=TIMESTAMP, eager=True).alias(column.name)
    _refuse_far(column, name)
    match column.dtype:
        case pl.Datetime(time_zone=None) | pl.Date() if zone is None:
            msg = (
                f"the moments in {name!r} are naive; say what they mean: "
                "connect(..., timezone='UTC'), or give the column a zone"
            )
            raise TimestampError(msg)
        case pl.Datetime(time_zone=None) | pl.Date():
            naive = column.cast(pl.Datetime("us"))
            column = naive.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
            unclear = (column.is_null() & naive.is_not_null()).arg_true()
            if len(unclear):
                msg = (
                    f"the moments in {name!r} are naive, and {naive[unclear[0]]} "
                    f"({row(unclear[0])}) came twice or never in {zone}; give the column a zone"
                )
                raise TimestampError(msg)
        case pl.Datetime():
            pass
        case dtype:
            msg = (
                f"{option}={name!r}: the column is {format_dtype(dtype)}, not a timestamp; "
                "convert it first, to aware timestamps"
            )
            raise TimestampError(msg)
    return column.dt.convert_time_zone("UTC").cast(TIMESTAMP)


def _refuse_far(column: pl.Series, name: Hashable) -> None:
    """Refuse moments that Python's timestamps do not reach: no report could tell them."""
    match column.dtype:
        case pl.Date():
            unit, size = "days", 86_400_000_000
        case pl.Datetime(time_unit="ms"):
            unit, size = "milliseconds", 1000
        case pl.Datetime(time_unit="us"):
            unit, size = "microseconds", 1
        case _:  # nanoseconds end in the year 2262
            return
    numbers = column.to_physical()
    near = numbers.is_between(_FIRST // size, _LAST // size)
    if not near.all():
        msg = (
            f"the moments in {name!r} must lie in the years 1 to 9999, and one is "
            f"{numbers.filter(~near)[0]:,} {unit} from 1970; is the unit right?"
        )
        raise TimestampError(msg)
