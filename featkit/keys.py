"""Entity keys as columns: checked, cast without loss, each asked for once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from featkit.dtypes import TIMESTAMP, format_dtype, instance
from featkit.errors import KeyTypeError, TimestampError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from featkit.schema import Entity, FeatureView

RowLabel = Callable[[int], str]
"""Says how the user calls a row, given its position: ``row 3``, ``row 'ORD'``."""

_MANY = 2**20  # rows, from which on memory is worth some care
_LARGE = 2**19  # rows, from which on what Arrow holds on to is worth giving back
_FEW = 2**10  # rows that tell of most columns that they are in no order
_WHOLE: dict[type[pl.DataType], int] = {pl.Float16: 2**11, pl.Float32: 2**24, pl.Float64: 2**53}
"""From which whole number on floats stand for several: the first that its successor becomes."""


def row_number(position: int) -> str:
    """Call a row by its position, counted from 0."""
    return f"row {position}"


@dataclass(frozen=True, eq=False)
class EntityKeys:
    """The keys of one view's entities for the rows of a frame.

    Attributes
    ----------
    unique
        One row per distinct key without null, in order of first appearance; one column per join
        key, in the entity's dtype.
    positions
        For each row of the frame the row of `unique` that holds its key (UInt32); null where any
        part of the key is null.

    Examples
    --------
    >>> keys = EntityKeys.of(pl.DataFrame({"tailnum": ["N1", None, "N2", "N1"]}))
    >>> keys.unique["tailnum"].to_list(), keys.positions.to_list()
    (['N1', 'N2'], [0, None, 1, 0])
    """

    unique: pl.DataFrame
    positions: pl.Series

    @classmethod
    def of(cls, columns: pl.DataFrame) -> EntityKeys:
        """Find the distinct keys among the rows of `columns`, which has one column per join key."""
        if not columns.width:  # an entityless view: one row of features for all
            one = pl.DataFrame(height=min(columns.height, 1))
            return cls(one, pl.repeat(0, columns.height, dtype=pl.UInt32, eager=True))
        first_column, *more_columns = columns.get_columns()
        codes, distinct = _encode(first_column)
        if not more_columns:
            return cls(distinct.to_frame(), codes)
        taken = [np.arange(len(distinct))]
        values = [distinct]
        for column in more_columns:
            more, distinct = _encode(column)
            width = max(len(distinct), 1)
            # both codes are below 2**32, so that their pair fits an unsigned 64-bit integer
            wide = pl.UInt32 if len(taken[0]) * width < 2**32 else pl.UInt64
            codes, pairs = _encode(codes.cast(wide) * width + more.cast(wide))
            first, last = np.divmod(pairs.to_numpy(), width)
            taken = [*(rows[first] for rows in taken), last]
            values.append(distinct)
        unique = pl.DataFrame(
            [column.gather(pl.Series(rows)) for column, rows in zip(values, taken, strict=True)]
        )
        return cls(unique, codes)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def null_rows(self) -> int:
        """How many rows have no key."""
        return self.positions.null_count()

    @cached_property
    def rows_per_key(self) -> pl.Series:
        """For each key of `unique`, how many rows have it (UInt32)."""
        height = self.unique.height
        if self.one_to_one:
            return pl.repeat(1, height, dtype=pl.UInt32, eager=True)
        counts = np.zeros(height, np.int64)
        # some rows at a time, since numpy counts on a copy of eight bytes a row
        for piece in self.positions.to_frame().iter_slices(max(height, _MANY)):
            counts += np.bincount(piece.to_series().drop_nulls(), minlength=height)
        return pl.Series(counts.astype(np.uint32))

    def counted(self, rows: pl.Series | None) -> npt.NDArray[Any]:
        """For each key of `unique`, how many rows have it.

        Parameters
        ----------
        rows
            How many rows each position stands for; None: one.
        """
        if rows is None:
            return self.rows_per_key.to_numpy()
        known = self.positions.is_not_null()
        height = self.unique.height
        return np.bincount(self.positions.filter(known), rows.filter(known), minlength=height)

    @property
    def one_to_one(self) -> bool:
        """Whether every row has a key of its own, so that `unique` is the keys as they are."""
        return self.unique.height == len(self) and not self.null_rows

    def chunks(self, size: int | None) -> Iterator[pl.DataFrame]:
        """Cut `unique` into slices of at most `size` keys; no keys make no slice."""
        if self.unique.height:
            yield from self.unique.iter_slices(size or self.unique.height)


def _encode(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return for each row the position of its value among the distinct ones, and these."""
    if not len(column):
        return pl.Series(dtype=pl.UInt32), column
    if _ascends(column):
        return pl.int_range(len(column), dtype=pl.UInt32, eager=True), column
    try:
        encoded = _arrow(column, pl.CompatLevel.newest()).dictionary_encode()
    except pa.ArrowNotImplementedError:  # an older pyarrow, which cannot encode views
        encoded = _arrow(column, pl.CompatLevel.oldest()).dictionary_encode()
    codes = pl.concat(
        [pl.Series(chunk.indices.view(pa.uint32())) for chunk in encoded.chunks], rechunk=True
    )
    distinct = pl.Series(column.name, encoded.chunks[-1].dictionary, dtype=column.dtype)
    del encoded
    if len(column) > _LARGE:
        # else Arrow holds on to what its hash table took: 100 MB for a million keys; where it took
        # little, asking for it again costs more than it is worth
        pa.default_memory_pool().release_unused()
    return codes, distinct


def _ascends(column: pl.Series) -> bool:
    """Tell whether whole numbers grow from row to row, so that they are distinct as they are."""
    if not column.dtype.is_integer() or column.null_count():
        return False
    return all((part[1:] > part[:-1]).all() for part in (column.head(_FEW), column))


def _arrow(column: pl.Series, level: pl.CompatLevel) -> pa.ChunkedArray:
    """Hand a column to Arrow piece by piece; of the newest level without a copy."""
    return pa.chunked_array([chunk.to_arrow(compat_level=level) for chunk in column.get_chunks()])


def check(
    columns: pl.DataFrame, view: FeatureView, *, zone: str | None, row: RowLabel = row_number
) -> pl.DataFrame:
    """Cast the key columns of a frame to the types of the view's entities.

    Parameters
    ----------
    columns
        One column per join key, named by it.
    view
        Whose entities they are.
    zone
        What naive timestamps mean; None: they are refused.
    row
        How the user calls a row.

    Raises
    ------
    KeyTypeError
        A column's type, or one of its values, cannot become the entity's type without loss.
    TimestampError
        A key is a naive timestamp and there is no `zone`.
    """
    if not view.entities:
        return pl.DataFrame(height=columns.height)
    return pl.DataFrame(
        [
            _Key(view.name, entity, row, zone).cast(columns[entity.join_key])
            for entity in view.entities
        ]
    )


@dataclass(frozen=True, slots=True)
class _Key:
    """The rules for one key column."""

    view: str
    entity: Entity
    row: RowLabel
    zone: str | None

    def cast(self, column: pl.Series) -> pl.Series:
        target = self.entity.dtype
        if target is not None and not can_be_key(target):
            msg = (
                f"the key {self.entity.join_key!r} of feature view {self.view!r} is "
                f"{format_dtype(target)}, which cannot be a key; change it in the store"
            )
            raise KeyTypeError(msg)
        if column.dtype.is_float():
            column = column.fill_nan(None)
        if target is not None and column.null_count() == len(column):
            return pl.repeat(None, len(column), dtype=target, eager=True).alias(column.name)
        if column.dtype != pl.Datetime or isinstance(target, pl.Datetime | None):
            column = self._plain(column)
        if target is None or column.dtype == target:
            return column
        if not _castable(column.dtype, target):
            raise self._wrong_type(column.dtype)
        return self._exactly(column, target)

    def _exactly(self, column: pl.Series, target: pl.DataType) -> pl.Series:
        made = column.cast(target, strict=False)
        back = made.cast(column.dtype, strict=False)
        lost = (made.is_null() & column.is_not_null()) | (back != column).fill_null(value=False)
        if column.dtype.is_float() and not target.is_float():
            lost |= column.abs() >= _WHOLE[type(column.dtype)]
        elif target.is_float() and not column.dtype.is_float():
            lost |= made.abs() >= _WHOLE[type(target)]
        if (first := lost.arg_max()) is not None and lost[first]:
            raise self._wrong_value(column, first)
        return made

    def _plain(self, column: pl.Series) -> pl.Series:
        """Take off what is only a way of storing: categories, units and zones."""
        match column.dtype:
            case pl.Categorical() | pl.Enum():
                return column.cast(pl.String)
            case pl.Datetime(time_zone=None) if self.zone is None:
                msg = (
                    f"the key {self.entity.join_key!r} of feature view {self.view!r} is a naive "
                    "timestamp; say what it means: connect(..., timezone='UTC'), or give the "
                    "column a zone"
                )
                raise TimestampError(msg)
            case pl.Datetime(time_zone=None):
                return self._in_utc(self._aware(column))
            case pl.Datetime():
                return self._in_utc(column)
            case pl.Map(key=key, value=value) if self._takes_json():
                return self._json(column.cast(pl.List(pl.Struct({"key": key, "value": value}))))
            case pl.List() | pl.Struct() if self._takes_json():
                return self._json(column)
            case pl.Int128() | pl.UInt128() if self.entity.dtype and self.entity.dtype.is_numeric():
                return column  # as wide as polars makes sums; they may fit all the same
            case dtype if not can_be_key(dtype):
                raise self._wrong_type(dtype)
            case _:
                return column

    def _in_utc(self, column: pl.Series) -> pl.Series:
        made = column.dt.convert_time_zone("UTC").cast(TIMESTAMP)
        if in_nanoseconds(column.dtype) and (fine := between_microseconds(column)).any():
            first = self.row(int(fine.arg_max() or 0))
            msg = (
                f"the key {self.entity.join_key!r} of feature view {self.view!r} has moments that "
                f"differ by nanoseconds ({first}), and keys are compared in microseconds; round "
                "the column first: .dt.round('1us')"
            )
            raise TimestampError(msg)
        return made

    def _takes_json(self) -> bool:
        """Tell whether the key is a parameter of the question that the store holds as JSON."""
        return self.entity.request_data and isinstance(self.entity.dtype, pl.String)

    def _json(self, column: pl.Series) -> pl.Series:
        """Write lists and structs as JSON; what JSON cannot say is refused."""
        odd = column.to_frame().select(_endless(pl.col(column.name), column.dtype)).to_series()
        if odd.any():
            raise self._wrong_value(column, int(odd.arg_max() or 0))
        text = pl.struct(pl.lit(column).alias("")).struct.json_encode()  # {"":[...]}
        held = column.to_frame().select(text.str.slice(4).str.head(-1)).to_series()
        return held.set(column.is_null(), None).alias(column.name)

    def _aware(self, column: pl.Series) -> pl.Series:
        """Read naive timestamps as local ones; refuse those that daylight saving makes unclear."""
        made = column.dt.replace_time_zone(self.zone, ambiguous="null", non_existent="null")
        unclear = (made.is_null() & column.is_not_null()).arg_true()
        if len(unclear):
            msg = (
                f"the key {self.entity.join_key!r} of feature view {self.view!r} is a naive "
                f"timestamp, and {column[unclear[0]]} ({self.row(unclear[0])}) came twice or never "
                f"in {self.zone}; give the column a zone"
            )
            raise TimestampError(msg)
        return made

    def _wrong_type(self, found: pl.DataType) -> KeyTypeError:
        wanted = format_dtype(self.entity.dtype) if self.entity.dtype else "a plain value"
        return KeyTypeError(
            f"the key {self.entity.join_key!r} of feature view {self.view!r} is {wanted}, but the "
            f"frame's column is {format_dtype(found)}; cast the column, or name another with "
            f"on={{{self.entity.join_key!r}: <column>}}"
        )

    def _wrong_value(self, column: pl.Series, position: int) -> KeyTypeError:
        why = ""
        if column.dtype.is_float() and isfinite(found := column[position]):
            whole = _WHOLE[type(column.dtype)]
            if abs(found) >= whole:
                power = whole.bit_length() - 1
                why = f" (from 2**{power} on a {format_dtype(column.dtype)} stands for several)"
        return KeyTypeError(
            f"the key {self.entity.join_key!r} of feature view {self.view!r} is "
            f"{format_dtype(self.entity.dtype)}, and {column[position]!r} "
            f"({format_dtype(column.dtype)}, {self.row(position)}) cannot become one without "
            f"loss{why}; mend the value or make it null"
        )


def _endless(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Tell where a float anywhere within values is not finite."""
    match dtype:
        case pl.List(inner=inner):
            within = _endless(pl.element(), instance(inner))
            return values.list.eval(within).list.any().fill_null(value=False)
        case pl.Struct(fields=fields):
            return pl.any_horizontal(
                _endless(values.struct.field(own.name), instance(own.dtype)) for own in fields
            )
        case _ if dtype.is_float():
            return ~values.is_finite().fill_null(value=True)
        case _:
            return pl.lit(value=False)


def can_be_key(dtype: pl.DataType) -> bool:
    """Tell whether values of a type can be keys, which Arrow has to be able to tell apart."""
    wide = isinstance(dtype, pl.Int128 | pl.UInt128)
    return not (dtype.is_nested() or dtype.is_object() or wide)


def too_fine(rows: pl.LazyFrame, keys: Iterable[str]) -> str | None:
    """Name a key of rows that has moments between two microseconds; None: there is none.

    Cut to microseconds, two such keys would become one.
    """
    schema = rows.collect_schema()
    fine = [name for name in keys if in_nanoseconds(schema.get(name))]
    if not fine:
        return None
    odd = (between_microseconds(pl.col(name)).any().alias(name) for name in fine)
    found = rows.select(odd).collect(engine="streaming")
    return next((name for name in fine if found[name].item()), None)


def in_nanoseconds(dtype: pl.DataType | None) -> bool:
    """Tell whether values of a type are moments that may be between two microseconds."""
    return isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns"


def between_microseconds(moments: Any) -> Any:  # noqa: ANN401 - a column, or what makes one
    """Tell which moments are between two microseconds."""
    return moments.dt.nanosecond() % 1000 != 0


def _castable(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Tell whether values of one type can be values of the other at all."""
    if found.is_numeric() and wanted.is_numeric():
        return True
    if wanted == pl.Date:  # pandas has no dates of its own, but naive timestamps at midnight
        return isinstance(found, pl.Datetime) and found.time_zone is None
    return isinstance(found, type(wanted)) and isinstance(wanted, pl.Datetime | pl.Duration)


def spread(frame: pl.DataFrame, count: int) -> pl.DataFrame:
    """Return all rows, or `count` of them with as many rows left out between each two.

    Examples
    --------
    >>> spread(pl.DataFrame({"shop": range(10)}), 3)["shop"].to_list()
    [0, 3, 6]
    """
    if frame.height <= count:
        return frame
    places = pl.int_range(count, dtype=pl.UInt64, eager=True) * frame.height // max(1, count)
    return frame[places]
