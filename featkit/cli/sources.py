"""Files that commands read: the dtypes of their keys, their moments, and what goes wrong."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the functions, so that help stays quick

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from featkit.errors import (
    FeatkitError,
    InputError,
    KeyColumnError,
    TimestampError,
    nearest,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from featkit.references import Selection

MOMENT = "featkit_moment"
"""The column of the moments of a CSV file, in which they are text."""
_ZONED = ("%FT%T%.f%#z", "%FT%R%#z")
_NAIVE = ("%FT%T%.f", "%FT%R", "%F")


def key_dtypes(selection: "Selection", columns: Mapping[str, str]) -> "dict[str, pl.DataType]":
    """Tell which dtypes the key columns of the file are to have, by column."""
    entities = [entity for part in selection.views for entity in part.view.entities]
    return {columns.get(key.join_key, key.join_key): key.dtype for key in entities if key.dtype}


@contextmanager
def troubles(source: Path, aim: str, *, at: str = "") -> "Iterator[None]":
    """Turn what goes wrong with a file into an error that is one message."""
    from featkit.failures import FAILURES

    try:
        yield
    except TimestampError as error:
        raise TimestampError(str(error).replace(MOMENT, at)) from error
    except FeatkitError:
        raise
    except FAILURES as error:
        raise InputError(f"{source} cannot {aim}: {reason_of(error)}") from error


def opened(source: Path, at: str, *, to: Path, dtypes: "dict[str, pl.DataType]") -> "pl.LazyFrame":
    """Open a file; its moments are text where it is CSV."""
    import polars as pl

    from featkit import files

    if not source.is_file():
        raise InputError(f"there is no file {source}")
    if files.format_of(source) != "csv":
        return files.scan(source, to=to, dtypes=dtypes)
    frame = files.scan(source, to=to, dtypes={**dtypes, at: pl.String()})
    names = frame.collect_schema().names()
    if at not in names:
        raise KeyColumnError(f"--at {at}: the file has no such column; {nearest(at, names)}")
    return frame


def times(frame: "pl.LazyFrame", column: str) -> "pl.Expr":
    """Read times from text: ISO 8601, all with a zone or all without."""
    import polars as pl

    text = pl.col(column).str.strip_chars().str.replace(" ", "T", literal=True)
    zoned = _read(text, _ZONED, "UTC")
    naive = _read(text, _NAIVE, None)
    odd = text.is_not_null() & zoned.is_null() & naive.is_null()
    told = frame.select(
        pl.col(column).filter(odd).first().alias("odd"),
        pl.col(column).filter(naive.is_not_null()).first().alias("naive"),
        zoned.is_not_null().any().alias("zoned"),
    )
    (found,) = told.collect().to_dicts()
    if found["odd"] is not None:
        raise TimestampError(
            f"{column!r} has {found['odd']!r}, which is no ISO 8601 time, such as "
            "2013-01-01T12:00:00Z"
        )
    if found["naive"] is not None and found["zoned"]:
        raise TimestampError(f"times in {column!r} have a zone, but {found['naive']!r} has none")
    return zoned if found["zoned"] else naive


def _read(text: "pl.Expr", formats: tuple[str, ...], zone: str | None) -> "pl.Expr":
    """Read times that are written in one of some ways; null for other ones."""
    import polars as pl

    return pl.coalesce(
        text.str.to_datetime(each, time_unit="us", time_zone=zone, strict=False) for each in formats
    )
