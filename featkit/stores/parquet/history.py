"""All rows of a view over time, and what the footers of its files tell about them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from featkit.history import HistoryFile, HistoryPiece, HistoryRows
from featkit.stores.parquet.source import key_expression

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from featkit.history import HistoryRead
    from featkit.stores.parquet.source import Source

_READERS = 8  # footers read at once
_MICROSECONDS = {  # of one unit of Parquet's timestamps: times, divided by
    "milliseconds": (1000, 1),
    "microseconds": (1, 1),
    "nanoseconds": (1, 1000),
}


def history(source: Source, read: HistoryRead) -> HistoryRows:
    """Describe all rows of a view; only the footers of its files are read."""
    entry = source.definition.entry
    scan = source.scan(numbered=False)
    found = source.schema(scan)
    paths, _ = source.files()
    columns = _Columns(
        key=entry.join_keys[0],
        timestamp=entry.timestamp,
        needed=frozenset(
            [
                *entry.join_keys,
                *filter(None, (entry.timestamp, entry.created)),
                *(feature.name for feature in read.features),
            ]
        ),
    )
    files, pieces = _footers(source, paths, columns)
    return HistoryRows(
        scan=scan,
        keys=tuple(
            key_expression(entity.join_key, found, entity.dtype) for entity in read.view.entities
        ),
        event=source.time(entry.timestamp, found[entry.timestamp]) if entry.timestamp else None,
        created=source.time(entry.created, found[entry.created]) if entry.created else None,
        convert=source.value,
        unreadable=source.unreadable,
        origin=(tuple(paths), *entry.join_keys, entry.timestamp, entry.created, source.timezone),
        files=files,
        pieces=pieces,
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of the files matter."""

    key: str
    timestamp: str | None
    needed: frozenset[str]


def _footers(
    source: Source, paths: Sequence[Path], columns: _Columns
) -> tuple[tuple[HistoryFile, ...], tuple[HistoryPiece, ...]]:
    try:
        with ThreadPoolExecutor(_READERS) as pool:
            read = list(pool.map(partial(_footer, columns), paths))
    except (OSError, pa.ArrowException) as error:
        raise source.unreadable(error) from error
    return tuple(file for file, _ in read), tuple(piece for _, pieces in read for piece in pieces)


def _footer(columns: _Columns, path: Path) -> tuple[HistoryFile, list[HistoryPiece]]:
    status, footer = path.stat(), pq.read_metadata(path)
    file = HistoryFile(
        path=str(path),
        size=status.st_size,
        modified=datetime.fromtimestamp(status.st_mtime, UTC),
        rows=footer.num_rows,
    )
    places = {footer.schema.column(n).path: n for n in range(footer.num_columns)}
    needed = [n for name, n in places.items() if name.partition(".")[0] in columns.needed]
    pieces = []
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        earliest, latest = _times(footer, group, places.get(columns.timestamp or ""))
        lowest, highest = _range(group, places.get(columns.key))
        pieces.append(
            HistoryPiece(
                rows=group.num_rows,
                size=sum(group.column(n).total_uncompressed_size for n in needed),
                lowest=lowest,
                highest=highest,
                earliest=earliest,
                latest=latest,
            )
        )
    return file, pieces


def _times(footer: Any, group: Any, place: int | None) -> tuple[int | None, int | None]:  # noqa: ANN401 - pyarrow has no types
    """Read the range of an aware timestamp, in microseconds since 1970; else nothing is known."""
    if place is None or (found := group.column(place).statistics) is None or not found.has_min_max:
        return None, None
    logical = json.loads(footer.schema.column(place).logical_type.to_json())
    if logical.get("Type") != "Timestamp" or not logical.get("isAdjustedToUTC"):
        return None, None
    times, divided = _MICROSECONDS[logical["timeUnit"]]
    return found.min_raw * times // divided, found.max_raw * times // divided


def _range(group: Any, place: int | None) -> tuple[Any, Any]:  # noqa: ANN401 - pyarrow has no types
    """Read the range of the first join key where it is a whole number or text."""
    if place is None or (found := group.column(place).statistics) is None or not found.has_min_max:
        return None, None
    plain = isinstance(found.min, int | str) and not isinstance(found.min, bool)
    return (found.min, found.max) if plain else (None, None)
