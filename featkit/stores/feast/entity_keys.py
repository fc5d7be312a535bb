"""Entity keys, and names of fields, as Feast writes them into its online stores.

The layout is version 3 of Feast's ``entity_key_serialization_version``; all numbers are unsigned,
of four bytes, little-endian::

    number of join keys
    for each join key, by name:   2 (STRING), length, name
    for each value, in that order: type, length, value

Keys of a whole column are put together by Arrow, without an object per key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from featkit.codecs.binary_columns import BinaryColumn, binaries, constant
from featkit.errors import NotSupportedError
from featkit.stores.feast.murmur import murmur3_32, murmur3_128
from featkit.stores.feast.registry import DUMMY_KEY
from featkit.stores.feast.types import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.schema import Entity

_FIXED = {"INT32": "<i4", "INT64": "<i8", "UNIX_TIMESTAMP": "<i8"}
_TEXTS = ("STRING", "BYTES")


def encode(
    keys: pl.DataFrame, entities: Sequence[Entity], *, suffix: bytes = b"", counted: bool = True
) -> pa.Array:
    """Write the entity keys of a frame of keys.

    Parameters
    ----------
    keys
        One column per join key, without nulls; no columns for a view without entities.
    entities
        Their entities, with Feast's type in ``store_type``.
    suffix
        What stands behind each key: in Redis the project.
    counted
        False: as version 2 has it, which says neither how many join keys there are nor how long
        their names are.

    Returns
    -------
    pyarrow.Array
        One key per row (large binary).

    Raises
    ------
    NotSupportedError
        Feast has no keys of that type in its stores.
    """
    if not entities:
        value = _number(NUMBERS["STRING"]) + _number(0)
        return binaries([_head([DUMMY_KEY], counted) + value + suffix] * keys.height)
    ordered = sorted(entities, key=lambda entity: entity.join_key)
    head = _head([each.join_key for each in ordered], counted)
    if all(each.store_type in _FIXED for each in ordered):
        return _alike(keys, ordered, head, suffix)
    columns = [part for each in ordered for part in _value(keys[each.join_key], each)]
    return pc.binary_join_element_wise(constant(head), *columns, constant(suffix), constant(b""))


def _head(join_keys: Sequence[str], counted: bool) -> bytes:  # noqa: FBT001 - as its caller has it
    """Write the join keys."""
    parts = [_number(len(join_keys))] if counted else []
    for name in (join_key.encode() for join_key in join_keys):
        parts += [_number(NUMBERS["STRING"]), _number(len(name)) if counted else b"", name]
    return b"".join(parts)


def _alike(keys: pl.DataFrame, entities: Sequence[Entity], head: bytes, suffix: bytes) -> pa.Array:
    """Write keys of numbers alone: copies of one key, with the numbers put in."""
    one, places = bytearray(head), []
    for entity in entities:
        width = np.dtype(_FIXED[entity.store_type]).itemsize
        one += _number(NUMBERS[entity.store_type]) + _number(width)
        places.append(slice(len(one), len(one) + width))
        one += bytes(width)
    one += suffix
    written = np.empty((keys.height, len(one)), np.uint8)
    written[:] = np.frombuffer(one, np.uint8)
    for entity, place in zip(entities, places, strict=True):
        numbers = _numbers(keys[entity.join_key], entity.store_type)
        written[:, place] = numbers.view(np.uint8).reshape(-1, numbers.itemsize)
    return fixed_binary(written)


def _value(column: pl.Series, entity: Entity) -> list[pa.Array | pa.Scalar]:
    """Write type, length and value of one part of each key."""
    kind = entity.store_type
    if kind in _FIXED:
        numbers = _numbers(column, kind)
        head = constant(_number(NUMBERS[kind]) + _number(numbers.itemsize))
        return [head, fixed_binary(numbers)]
    if kind in _TEXTS:
        values = column.cast(pl.Binary).to_arrow().cast(pa.large_binary())
        lengths = fixed_binary(pl.Series(pc.binary_length(values)).to_numpy().astype("<u4"))
        return [constant(_number(NUMBERS[kind])), lengths, values]
    msg = (
        f"the join key {entity.join_key!r} is of type {kind}, and Feast's online stores have keys "
        f"of type {', '.join([*_TEXTS, *_FIXED])} only"
    )
    raise NotSupportedError(msg)


def _numbers(column: pl.Series, kind: str) -> np.ndarray:
    """Return the numbers of one part of each key, one after the other, as Feast writes them."""
    numbers = column.dt.epoch("s") if kind == "UNIX_TIMESTAMP" else column
    return np.ascontiguousarray(numbers.to_numpy().astype(_FIXED[kind]))


def fixed_binary(numbers: np.ndarray) -> pa.Array:
    """Return the bytes of each number (or row of numbers) as an Arrow column (large binary)."""
    count, width = len(numbers), numbers.itemsize * (numbers.size // max(len(numbers), 1))
    offsets = np.arange(count + 1, dtype=np.int64) * width
    data = pa.py_buffer(np.ascontiguousarray(numbers))
    return pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), data])


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def entity_ids(keys: pa.Array) -> pa.Array:
    """Return what names a row in DynamoDB and Bigtable: the hash of each entity key, in hex."""
    hashed = murmur3_128(BinaryColumn.of(keys)).astype("<u8")
    written = pl.Series(fixed_binary(hashed), dtype=pl.Binary()).bin.encode("hex")
    return written.to_arrow().cast(pa.large_string())


def field_names(view: str, features: Sequence[str]) -> list[bytes]:
    """Return the fields of a hash in Redis that hold these features of a view."""
    names = binaries([f"{view}:{feature}".encode() for feature in features])
    hashes = murmur3_32(BinaryColumn.of(names)).astype("<u4")
    return [hashed.tobytes() for hashed in hashes]


def time_field(view: str) -> bytes:
    """Return the field of a hash in Redis that holds the event timestamp of a view's row."""
    return f"_ts:{view}".encode()


def project_of(key: bytes) -> str | None:
    """Read whose key in Redis this is; None: it is no entity key of this layout.

    Raises
    ------
    ValueError
        It is one of an older layout.
    """
    count, at = int.from_bytes(key[:4], "little"), 4
    if count == NUMBERS["STRING"] and key[4:8] != _number(NUMBERS["STRING"]):
        msg = "it begins with a type, as before version 3"
        raise ValueError(msg)
    for _ in range(2 * min(count, _MOST_KEYS)):  # names, then values
        at += 8 + int.from_bytes(key[at + 4 : at + 8], "little")
    if not 0 < count <= _MOST_KEYS or at >= len(key):
        return None
    try:
        return key[at:].decode()
    except UnicodeDecodeError:
        return None


_MOST_KEYS = 64  # of a view; what says more is no entity key
