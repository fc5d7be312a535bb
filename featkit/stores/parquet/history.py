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
from featkit.writing import SORTED_BY

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
    order = [*entry.join_keys, *filter(None, (entry.timestamp, entry.created))]
    footers = _footers(source, paths, columns)
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
        files=tuple(each.file for each in footers),
        pieces=tuple(piece for each in footers for piece in each.pieces),
        in_order=len(footers) == 1
        and list(footers[0].sorted_by) == order
        and not any(found[key].is_float() for key in entry.join_keys),  # -0.0 is 0.0, elsewhere
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of the files matter."""

    key: str
    timestamp: str | None
    needed: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Footer:
    """What a file tells of itself: its size, its row groups, and by what it is sorted."""

    file: HistoryFile
    pieces: list[HistoryPiece]
    sorted_by: list[str]


def _footers(source: Source, paths: Sequence[Path], columns: _Columns) -> list[_Footer]:
    try:
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(partial(_footer, columns), paths))
    except (OSError, pa.ArrowException) as error:
        raise source.unreadable(error) from error


def _footer(columns: _Columns, path: Path) -> _Footer:
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
    return _Footer(file, pieces, _sorted_by(footer.metadata or {}))


def _sorted_by(metadata: dict[bytes, bytes]) -> list[str]:
    """Read by which columns `featkit.write_view` sorted a file; no other writer says it there."""
    try:
        found = json.loads(metadata.get(SORTED_BY.encode(), b"[]"))
    except ValueError:
        return []
    return found if isinstance(found, list) else []


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
