"""One schema for all files of a view, whose writers need not have had the same one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pyarrow.parquet as pq

from featkit.dtypes import TIMESTAMP, format_dtype
from featkit.keys import too_fine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CASTS = pl.ScanCastOptions(
    integer_cast=["upcast", "allow-float"],
    float_cast="upcast",
    datetime_cast=["upcast", "nanosecond-downcast", "convert-timezone"],
    categorical_to_string="allow",
)
"""How polars reads columns in the types of the shared schema; none loses anything."""

_REMEMBERED = 64  # sources, until one of their files changes
_WHOLE = 2**53  # from here on a float stands for several whole numbers
_BITS: dict[type[pl.DataType], tuple[bool, int]] = {  # whether there are signs, and how many bits
    pl.Int8: (True, 8),
    pl.Int16: (True, 16),
    pl.Int32: (True, 32),
    pl.Int64: (True, 64),
    pl.UInt8: (False, 8),
    pl.UInt16: (False, 16),
    pl.UInt32: (False, 32),
    pl.UInt64: (False, 64),
    pl.Int128: (True, 128),
    pl.UInt128: (False, 128),
}
_WORDS = (pl.String, pl.Categorical, pl.Enum)


class _File(NamedTuple):
    """A file as it is now."""

    path: Path
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> _File:
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)


def shared(paths: Sequence[Path], needed: Sequence[str] = ()) -> dict[str, pl.DataType] | None:
    """Find the columns of all files together, each in a type that holds what every file has of it.

    Parameters
    ----------
    paths
        The files.
    needed
        Columns without which a file is none of the view's, where another one has them.

    Returns
    -------
    dict or None
        The types; None where they are those of each file.

    Raises
    ------
    ValueError
        A column has types in two files that do not go together, or one that is needed is not in
        all of them; the message says which.
    """
    if len(paths) == 1:
        return None
    return _shared(tuple(map(_File.of, paths)), tuple(needed))


def check_keys(paths: Sequence[Path], keys: Sequence[str]) -> None:
    """Raise `ValueError` where a file has keys that differ by less than keys are compared by.

    The shared schema is no help: it has cut them already.
    """
    for path in paths:
        if (key := _too_fine(_File.of(path), tuple(keys))) is not None:
            msg = (
                f"the key {key!r} has moments that differ by nanoseconds in {path.name}, and keys "
                "are compared in microseconds; round the column, then write it again"
            )
            raise ValueError(msg)


@lru_cache(maxsize=_REMEMBERED)
def _too_fine(file: _File, keys: tuple[str, ...]) -> str | None:
    return too_fine(pl.scan_parquet(file.path, glob=False, hive_partitioning=False), keys)


@lru_cache(maxsize=_REMEMBERED)
def _shared(files: tuple[_File, ...], needed: tuple[str, ...]) -> dict[str, pl.DataType] | None:
    paths = [each.path for each in files]
    scans = [pl.scan_parquet(path, glob=False, hive_partitioning=False) for path in paths]
    first, *others = schemas = [each.collect_schema() for each in scans]
    if all(first == each and list(first) == list(each) for each in others):
        return None
    found, told = dict(first), dict.fromkeys(first, paths[0])
    for path, schema in zip(paths[1:], others, strict=True):
        for name, dtype in schema.items():
            before = found.setdefault(name, dtype)
            told.setdefault(name, path)
            made = _wider(before, dtype)
            if made is None:
                msg = (
                    f"{name!r} is {format_dtype(before)} in {told[name].name} and "
                    f"{format_dtype(dtype)} in {path.name}; write it with one type"
                )
                raise ValueError(msg)
            if made != before:
                found[name], told[name] = made, path
    for path, schema in zip(paths, schemas, strict=True):
        if lacks := [name for name in needed if name in found and name not in schema]:
            msg = f"{path.name} has no column {lacks[0]!r}, which {told[lacks[0]].name} has"
            raise ValueError(msg)
        _check_whole(path, [name for name, dtype in schema.items() if _rounds(dtype, found[name])])
    return found


def _wider(one: pl.DataType, two: pl.DataType) -> pl.DataType | None:
    """Find the type that holds the values of both, None where there is none."""
    if two in {one, pl.Null()}:
        return one
    if one == pl.Null:
        return two
    match one, two:
        case pl.Datetime(), pl.Datetime() if bool(one.time_zone) == bool(two.time_zone):
            return TIMESTAMP if one.time_zone else pl.Datetime("us")
        case pl.Decimal(), pl.Decimal() if one.scale == two.scale:
            return max(one, two, key=lambda each: each.precision)
    if isinstance(one, _WORDS) and isinstance(two, _WORDS):
        return pl.String()
    if one.is_float() and two.is_float():
        return max(one, two, key=str)  # Float16, Float32, Float64
    if one.is_integer() and two.is_integer():
        return _wider_integer(one, two)
    if {one.is_integer(), one.is_float()} == {two.is_integer(), two.is_float()} == {True, False}:
        return pl.Float64()
    return None


def _wider_integer(one: pl.DataType, two: pl.DataType) -> pl.DataType | None:
    signed, bits = zip(*(_BITS[type(each)] for each in (one, two)), strict=True)
    if signed[0] == signed[1]:
        return max(one, two, key=lambda each: _BITS[type(each)])
    unsigned = bits[signed.index(False)]  # takes a bit more where there are signs
    wide = [each for each, (sign, size) in _BITS.items() if sign and size > unsigned]
    fit = [each for each in wide if _BITS[each][1] >= max(bits)]
    return fit[0]() if fit else None


def _rounds(dtype: pl.DataType, made: pl.DataType) -> bool:
    return dtype.is_integer() and made.is_float()


def _check_whole(path: Path, names: Sequence[str]) -> None:
    """Raise where whole numbers of a file become floats that may not hold them, by its footer."""
    if not names:
        return
    footer = pq.read_metadata(path)
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            if column.path_in_schema in names and not _small(column.statistics):
                msg = (
                    f"{column.path_in_schema!r} has whole numbers in {path.name} and floats in "
                    "other files, which may not hold them exactly; write it with one type"
                )
                raise ValueError(msg)


def _small(found: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
    if found is None or not found.has_min_max:
        return found is not None and not found.num_values  # all are null
    return bool(found.min > -_WHOLE and found.max < _WHOLE)
