"""Questions to an online store of Vertex AI, and whether what comes back answers them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from featkit.codecs import json_messages
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.dtypes import TIMESTAMP, format_dtype, instance
from featkit.errors import NotSupportedError, ProtocolError, RowMismatch, reason_of
from featkit.stores.vertex.refusals import check_not_found
from featkit.stores.vertex.silence import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from featkit.calls import HttpReply
    from featkit.online.gathering import Gathering, Later, Piece
    from featkit.stores.base import OnlineRead

UNKNOWN = 404
"""The status of an answer for an entity that the store does not know."""

_ARRAYS = {
    "int64ArrayValue": pl.String(),
    "doubleArrayValue": pl.String(),
    "stringArrayValue": pl.String(),
    "boolArrayValue": pl.Boolean(),
}
# numbers are read as text, so that none is rounded, and "NaN" is one of them
_FIELDS: dict[str, pl.DataType] = {
    "int64Value": pl.String(),
    "doubleValue": pl.String(),
    "stringValue": pl.String(),
    "bytesValue": pl.String(),
    "boolValue": pl.Boolean(),
    **{name: pl.Struct({"values": pl.List(inner)}) for name, inner in _ARRAYS.items()},
}
_STRUCT = "structValue"
_SENDER = "an online store of Vertex AI"
_KNOWN = {*_FIELDS, _STRUCT, "metadata"}
_KIND = re.compile(rb'[{,]\s*"(\w+Value)"\s*:')  # in a string, the quotes would be escaped
_KEYED = b'"dataKey"'  # streams repeat keys, and nothing is known that forbids it here
_KEY = pl.Struct({"key": pl.String, "compositeKey": pl.Struct({"parts": pl.List(pl.String)})})


def _row(depth: int, *, keyed: bool) -> pl.Struct:
    """Return the dtype of an answer whose structs are so deep; of deeper ones it has no values."""
    inside = pl.Struct({"name": pl.String()})
    value = pl.Struct(_FIELDS)
    for _ in range(depth + 1):
        value = pl.Struct({**_FIELDS, _STRUCT: pl.Struct({"values": pl.List(inside)})})
        inside = pl.Struct({"name": pl.String(), "value": value})
    timed = {each.name: each.dtype for each in value.fields}
    timed["metadata"] = pl.Struct({"generateTime": pl.String()})
    pairs = pl.List(pl.Struct({"name": pl.String(), "value": pl.Struct(timed)}))
    known = {"keyValues": pl.Struct({"features": pairs})}
    return pl.Struct(known | {"dataKey": _KEY} if keyed else known)


def _depth(dtype: pl.DataType | None) -> int:
    if not isinstance(dtype, pl.Struct):
        return 0
    return 1 + max((_depth(instance(own.dtype)) for own in dtype.fields), default=0)


_LEAVES = {
    pl.Int64(): "int64",
    TIMESTAMP: "int64",  # microseconds, as BigQuery counts them
    pl.Date(): "int64",
    pl.Float64(): "double",
    pl.String(): "string",
    pl.Binary(): "bytes",
    pl.Boolean(): "bool",
}


class _Features(msgspec.Struct):
    features: msgspec.Raw


class _Answer(msgspec.Struct, rename="camel"):
    key_values: _Features


class _Named(msgspec.Struct):
    name: str
    value: dict[str, msgspec.Raw] | None = None


def body_of(parts: Sequence[str]) -> bytes:
    """Write the request for one entity."""
    key: dict[str, object] = {"key": parts[0]}
    if len(parts) > 1:
        key = {"compositeKey": {"parts": list(parts)}}
    return json.dumps({"dataKey": key, "dataFormat": "KEY_VALUE"}).encode()


def keys_of(read: OnlineRead) -> Iterator[tuple[str, ...]]:
    """Give the parts of each key, as texts."""
    return texts_of(read).iter_rows()  # one request each, whatever holds them


def texts_of(read: OnlineRead) -> pl.DataFrame:
    """Write the parts of keys as texts, a column each."""
    return read.keys.select(_text(name, dtype) for name, dtype in read.keys.schema.items())


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    if not (dtype.is_integer() or isinstance(dtype, pl.String)):
        msg = (
            f"the join key {name!r} is {format_dtype(dtype)}: Vertex AI takes text and whole "
            "numbers for the ids of entities, and how it writes others is not known; cast the "
            "column in BigQuery"
        )
        raise NotSupportedError(msg)
    return pl.col(name).cast(pl.String)


def features_of(reply: HttpReply) -> bytes:
    """Return the body of a reply that answers for one entity; `NOTHING` for one not known."""
    if reply.status == UNKNOWN:
        check_not_found(reply)
        return NOTHING
    json_messages.read(_Answer, reply.body, _SENDER)
    return bytes(reply.body)


@dataclass(frozen=True, slots=True)
class Answers:
    """How the answers for several entities are read.

    Attributes
    ----------
    read
        What was asked.
    """

    read: OnlineRead

    def later(self, gathering: Gathering[Sequence[bytes]], bodies: Sequence[bytes]) -> Later:
        """Let the answers gather with those of other calls before they are decoded."""
        return gathering.add(self.read, self._one_each(bodies), f"view {self.read.view.name}")

    @classmethod
    def gathered(cls, pieces: Sequence[Piece[Sequence[bytes]]]) -> FeatureColumns:
        """Make columns of what gathered."""
        keys = pl.concat([piece.read.keys for piece in pieces])
        whole = cls(replace(pieces[0].read, keys=keys))
        return whole.columns([body for piece in pieces for body in piece.said])

    def columns(self, bodies: Sequence[bytes]) -> FeatureColumns:
        """Read one answer per key, in order."""
        bodies = self._one_each(bodies)
        text = b"[" + b",".join(bodies) + b"]"
        try:
            depth = max(_depth(feature.dtype) for feature in self.read.features)
            kind = _row(depth, keyed=_KEYED in text)
            rows = pl.Series([text.decode()]).str.json_decode(pl.List(kind)).item()
        except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
            msg = f"the reply is not what an online store of Vertex AI sends: {reason_of(error)}"
            raise ProtocolError(msg) from error
        known = rows.is_not_null()
        if _KEYED in text:
            self._refuse_other_keys(rows.struct.field("dataKey"))
        long = (
            pl.DataFrame({"row": pl.int_range(len(rows), eager=True), "one": rows})
            .filter(pl.col("one").is_not_null())
            .select("row", pl.col("one").struct["keyValues"].struct["features"])
            .explode("features")
            .select("row", pl.col("features").struct.unnest())
        )
        values, statuses, times = [], {}, {}
        for feature in self.read.features:
            own = self._own(long, feature.name, known)
            values.append(_read(own, feature.name, feature.dtype or pl.String()))
            status = pl.when(known).then(pl.lit(Status.PRESENT)).otherwise(pl.lit(Status.NOT_FOUND))
            statuses[feature.name] = pl.select(status.cast(STATUS)).to_series()
            if self.read.view.timestamp:
                times[feature.name] = _times(own, feature.name)
        nulls = {column.name for column in values if column.null_count() > (~known).sum()}
        _refuse_unknown_kinds(text, nulls)
        return FeatureColumns(pl.DataFrame(values), statuses, times)

    def _one_each(self, bodies: Sequence[bytes]) -> Sequence[bytes]:
        if len(bodies) != self.read.keys.height:
            msg = f"expected {self.read.keys.height} answers, got {len(bodies)}"
            raise RowMismatch(msg)
        return bodies

    def _refuse_other_keys(self, told: pl.Series) -> None:
        """Refuse answers that say that they are about another entity."""
        texts = texts_of(self.read)
        asked = texts.select(pl.concat_list(pl.all())).to_series()
        parts = told.struct.field("compositeKey").struct.field("parts")
        if texts.width == 1:
            one = told.struct.field("key")
            parts = parts.zip_with(one.is_null(), one.reshape((-1, 1)).cast(pl.List(pl.String)))
        if (parts.is_not_null() & (parts != asked)).any():
            msg = (
                "an online store of Vertex AI answered for other entities than were asked for; "
                "nothing was joined"
            )
            raise RowMismatch(msg)

    def _own(self, long: pl.DataFrame, name: str, known: pl.Series) -> pl.DataFrame:
        """Take the values of one feature, one row for each entity, null for those unknown."""
        own = long.filter(pl.col("name") == name)
        if not own["row"].equals(known.arg_true().cast(own.schema["row"])):
            found = sorted(set(long["name"].drop_nulls()))
            msg = (
                f"{self.read.view.name}:{name}: not every entity has one value of it; the answers "
                f"have {found}"
            )
            raise ProtocolError(msg)
        rows = pl.DataFrame({"row": pl.int_range(len(known), eager=True)})
        return rows.join(own, on="row", how="left", maintain_order="left").select(
            pl.col("value").struct.unnest()
        )


def _refuse_unknown_kinds(text: bytes, names: set[str]) -> None:
    """Refuse values of a kind that is not read, which pass for nulls."""
    if not names or {kind.decode() for kind in _KIND.findall(text)} <= _KNOWN:
        return
    # seldom, and what it finds is an error: so value by value
    for answer in json_messages.read(list[_Answer | None], text, _SENDER):
        if answer is None:
            continue
        for each in json_messages.read_if(list[_Named], answer.key_values.features) or ():
            if each.name in names and (odd := (each.value or {}).keys() - _KNOWN):
                msg = (
                    f"{each.name!r}: the online store sent {min(odd)!r}, a kind of value that this "
                    "version does not know"
                )
                raise ProtocolError(msg)


def _read(own: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Series:
    """Take the field of the value that the dtype means; another one is a mistake."""
    is_list = isinstance(dtype, pl.List)
    inner = instance(dtype.inner) if isinstance(dtype, pl.List) else dtype
    is_struct = isinstance(inner, pl.Struct)
    field = _STRUCT if is_struct else f"{_LEAVES[inner]}{'Array' * is_list}Value"
    names = [*_FIELDS, _STRUCT] if _STRUCT in own.columns else _FIELDS
    others = [each for each in names if each != field and own[each].is_not_null().any()]
    if others:
        msg = f"{name!r} should be {format_dtype(dtype)}, but the online store sent {others[0]!r}"
        raise ProtocolError(msg)
    if isinstance(dtype, pl.Struct):
        return _struct(own[_STRUCT], name, dtype)
    column = pl.col(field)
    made = _list(column, field, inner) if is_list else _made(column, inner)
    try:
        return within_years(own.select(made.cast(dtype).alias(name)).to_series(), name)
    except pl.exceptions.PolarsError as error:
        msg = f"{name!r} should be {format_dtype(dtype)}: {reason_of(error)}"
        raise ProtocolError(msg) from error


_YEARS = {  # 1 to 9999, as BigQuery and Python have them
    pl.Datetime: (-62_135_596_800_000_000, 253_402_300_799_999_999),
    pl.Date: (-719_162, 2_932_896),
}


def within_years(values: pl.Series, name: str) -> pl.Series:
    """Return times, or lists of them; refuse such as no calendar has, as of another unit."""
    times = values.explode() if isinstance(values.dtype, pl.List) else values
    if bounds := _YEARS.get(type(times.dtype)):
        beyond = ~times.to_physical().is_between(*bounds)
        if beyond.any():
            found = times.to_physical().filter(beyond)[0]
            unit = "days" if times.dtype == pl.Date else "microseconds"
            msg = f"{name!r}: the online store sent {found:,} {unit}, which is no time"
            raise ProtocolError(msg)
    return values


def _struct(column: pl.Series, name: str, dtype: pl.Struct) -> pl.Series:
    """Read structs: lists of named values, of which each name is there once or not at all."""
    rows = pl.DataFrame({"row": pl.int_range(len(column), eager=True)})
    pairs = (
        rows.with_columns(column.struct.field("values").alias("pair"))
        .explode("pair")
        .drop_nulls("pair")
        .select("row", pl.col("pair").struct.unnest())
    )
    known = {own.name for own in dtype.fields}
    if odd := set(pairs["name"].drop_nulls()) - known:
        msg = f"{name!r} should have the fields {sorted(known)}, but was sent {sorted(odd)} as well"
        raise ProtocolError(msg)
    if pairs.select(pl.struct("row", "name").is_duplicated().any()).item():
        msg = f"{name!r} was sent with a field twice"
        raise ProtocolError(msg)
    parts = []
    for own in dtype.fields:
        held = rows.join(
            pairs.filter(pl.col("name") == own.name), on="row", how="left", maintain_order="left"
        ).select(pl.col("value").struct.unnest())
        parts.append(_read(held, own.name, instance(own.dtype)))
    made = pl.DataFrame(parts).to_struct(name)
    gone = column.is_null()
    return made.to_frame().select(pl.when(~gone).then(pl.col(name)).alias(name)).to_series()


def _list(column: pl.Expr, field: str, inner: pl.DataType) -> pl.Expr:
    """Take the values of an array; an empty one is an empty message."""
    held = column.struct.field("values")
    empty = pl.lit(pl.Series([[]], dtype=pl.List(_ARRAYS[field]))).first()
    lists = pl.when(column.is_not_null() & held.is_null()).then(empty).otherwise(held)
    return lists.list.eval(_made(pl.element(), inner))


def _made(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Turn what JSON holds into values."""
    match dtype:
        case pl.Int64():
            return values.cast(pl.Int64)
        case pl.Datetime():
            return values.cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case pl.Date():
            return values.cast(pl.Int32).cast(pl.Date)
        case pl.Float64():
            return values.cast(pl.Float64)
        case pl.Binary():
            return values.str.decode("base64")
        case _:
            return values


def _times(own: pl.DataFrame, name: str) -> pl.Series:
    """Read when each value was generated."""
    text = own["metadata"].struct.field("generateTime")
    times = text.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    if times.null_count() != text.null_count():
        odd = text.filter(times.is_null() & text.is_not_null())[0]
        msg = f"{name!r}: the online store sent the time {odd!r}"
        raise ProtocolError(msg)
    return times.alias(name)
