"""Training sets that go to a file, some rows at a time."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq

from featkit.columns import KeyedColumn
from featkit.errors import InputError
from featkit.replacing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from featkit.frames import UserFrame

_ROWS = 2**18


@contextmanager
def scratch(spine: object, sink: str | Path | None) -> Iterator[Path | None]:
    """Name a file in which a lazy spine gets an order, beside the file that the result goes to.

    None for other spines. Nobody knows twice in which order a plan gives its rows.
    """
    if sink is None or not isinstance(spine, pl.LazyFrame):
        yield None
        return
    with tempfile.TemporaryDirectory(dir=Path(sink).parent, prefix=".featkit-") as folder:
        yield Path(folder, "spine.arrow")


def check_target(target: Path) -> None:
    """Raise `InputError` where a result cannot be written; its folder is made if there is none."""
    if target.suffix != ".parquet":
        msg = f"sink={str(target)!r}: the result is written as Parquet; end the name with .parquet"
        raise InputError(msg)
    if target.is_dir():
        msg = f"sink={str(target)!r} is a folder; name a file in it"
        raise InputError(msg)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"sink={str(target)!r} cannot be written: {error}"
        raise InputError(msg) from error


def write(frame: UserFrame, columns: Sequence[KeyedColumn], sink: str | Path) -> pl.LazyFrame:
    """Write a frame with these columns after its own; return the file as a LazyFrame."""
    target = Path(sink)
    with replacing(target) as file:
        writer = None
        try:
            begin = 0
            for piece, height in frame.pieces(_ROWS):
                made = piece.with_columns([_cut(each, begin, height) for each in columns])
                arrow = frame.to_arrow(made)
                if writer is None:
                    writer = pq.ParquetWriter(file, arrow.schema, compression="zstd")
                writer.write_table(arrow)
                begin += height
        finally:
            if writer is not None:
                writer.close()
    return pl.scan_parquet(target, glob=False, hive_partitioning=False)


def _cut(column: KeyedColumn, begin: int, height: int) -> KeyedColumn:
    if column.positions is None:
        return KeyedColumn(column.values.slice(begin, height), None)
    return KeyedColumn(column.values, column.positions.slice(begin, height))
