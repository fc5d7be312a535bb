"""Files that hold a frame: Parquet, CSV and Arrow, told apart by their suffix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from featkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMATS = {".parquet": "parquet", ".csv": "csv", ".arrow": "ipc", ".feather": "ipc"}
"""What each suffix stands for."""


def format_of(path: Path) -> str:
    """Tell the format of a file from its suffix; raise `InputError` for one that is not known."""
    if (suffix := path.suffix.lower()) not in FORMATS:
        msg = f"{path}: the suffix tells the format; there are {', '.join(FORMATS)}"
        raise InputError(msg)
    return FORMATS[suffix]


def scan(path: Path, *, to: Path, dtypes: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Open a file to be read in parts.

    Parameters
    ----------
    path
        The file.
    to
        Where its rows will go. From CSV to CSV, text stays as it is written, and to other
        formats, columns of numbers become numbers.
    dtypes
        By column, the dtypes that a CSV file cannot tell: those of keys.
    """
    match format_of(path):
        case "parquet":
            return pl.scan_parquet(path, glob=False, hive_partitioning=False)
        case "ipc":
            return pl.scan_ipc(path, glob=False, hive_partitioning=False)
        case _:
            return pl.scan_csv(
                path,
                glob=False,
                infer_schema=format_of(to) != "csv",
                infer_schema_length=None,
                schema_overrides=dtypes,
            )


def sink(frame: pl.LazyFrame, path: Path) -> None:
    """Write a frame in parts."""
    match format_of(path):
        case "parquet":
            frame.sink_parquet(path)
        case "ipc":
            frame.sink_ipc(path, compression="zstd")
        case _:
            frame.sink_csv(path)
