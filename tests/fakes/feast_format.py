"""Feast's online stores, written row by row and field by field: strict, and slow.

Nothing here comes from featkit, so that featkit's reading is compared with another's writing.
"""

from __future__ import annotations

import struct
from datetime import datetime
from typing import TYPE_CHECKING, Any

import mmh3
import polars as pl

from tests.fakes.feast import DUMMY, value_type
from tests.fakes.protobuf import delimited, tag, varint

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from featkit.schema import FeatureView

NUMBERS = {
    "BYTES": 1,
    "STRING": 2,
    "INT32": 3,
    "INT64": 4,
    "DOUBLE": 5,
    "FLOAT": 6,
    "BOOL": 7,
    "UNIX_TIMESTAMP": 8,
    "BYTES_LIST": 11,
    "STRING_LIST": 12,
    "INT32_LIST": 13,
    "INT64_LIST": 14,
    "DOUBLE_LIST": 15,
    "FLOAT_LIST": 16,
    "BOOL_LIST": 17,
    "UNIX_TIMESTAMP_LIST": 18,
    "MAP": 20,
    "VALUE_LIST": 42,
}


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp() // 1)


_WRITE: dict[str, tuple[int, Any]] = {
    "INT32": (0, varint),
    "INT64": (0, varint),
    "BOOL": (0, varint),
    "UNIX_TIMESTAMP": (0, lambda moment: varint(_seconds(moment))),
    "DOUBLE": (1, lambda value: struct.pack("<d", value)),
    "FLOAT": (5, lambda value: struct.pack("<f", value)),
    "STRING": (2, lambda value: delimited(b"", value.encode())),
    "BYTES": (2, lambda value: delimited(b"", value)),
}


def value(name: str, held: Any) -> bytes:
    """Write a `Value` as protobuf does: nothing for null, packed numbers in lists."""
    if held is None:
        return b""
    inner = name.removesuffix("_LIST")
    wire_type, write = _WRITE[inner]
    if inner == name:
        return tag(NUMBERS[name], wire_type) + write(held)
    if wire_type == 2:
        payload = b"".join(b"\x0a" + write(each) for each in held)
    else:
        packed = b"".join(map(write, held))
        payload = delimited(b"\x0a", packed) if held else b""
    return delimited(tag(NUMBERS[name], 2), payload)


def timestamp(moment: datetime) -> bytes:
    """Write a `google.protobuf.Timestamp`."""
    nanos = moment.microsecond * 1000
    return tag(1, 0) + varint(_seconds(moment)) + (tag(2, 0) + varint(nanos) if nanos else b"")


def entity_key(types: dict[str, str], row: dict[str, Any]) -> bytes:
    """Write an entity key of version 3."""
    names = sorted(types)
    parts = [struct.pack("<I", len(names))]
    for name in names:
        parts += [struct.pack("<II", 2, len(name.encode())), name.encode()]
    for name in names:
        kind, held = types[name], row[name]
        match kind:
            case "STRING":
                written = held.encode()
            case "BYTES":
                written = held
            case "INT32":
                written = struct.pack("<i", held)
            case "UNIX_TIMESTAMP":
                written = struct.pack("<q", _seconds(held))
            case _:
                written = struct.pack("<q", held)
        parts += [struct.pack("<II", NUMBERS[kind], len(written)), written]
    return b"".join(parts)


def rows(
    view: FeatureView, frame: pl.DataFrame
) -> Iterator[tuple[bytes, datetime, dict[str, bytes]]]:
    """Give the entity key, the event timestamp and the values of each row, the latest last."""
    types = {each.join_key: value_type(each.dtype or pl.String()) for each in view.entities}
    times = [column for column in (view.timestamp, view.created) if column]
    ordered = frame.sort(*times, maintain_order=True) if times else frame
    for row in ordered.iter_rows(named=True):
        key = entity_key(types or {DUMMY: "STRING"}, row if types else {DUMMY: ""})
        written = {
            each.name: value(value_type(each.dtype or pl.String()), row[each.name])
            for each in view.features
        }
        moment = row[view.timestamp] if view.timestamp else datetime(2000, 1, 1)  # noqa: DTZ001
        yield key, moment, written


def write_redis(
    client: redis.Redis, project: str, views: list[tuple[FeatureView, pl.DataFrame]]
) -> None:
    """Write views as Feast materialises them into Redis."""
    pipeline = client.pipeline(transaction=False)
    for view, frame in views:
        for key, moment, written in rows(view, frame):
            fields = {
                struct.pack("<I", mmh3.hash(f"{view.name}:{name}", signed=False)): held
                for name, held in written.items()
            }
            fields[f"_ts:{view.name}".encode()] = timestamp(moment)
            pipeline.hset(key + project.encode(), mapping=fields)
    pipeline.execute()
