"""Feast's feature server over HTTP: questions and answers in JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from featkit.calls import Call, HttpRequest
from featkit.codecs import json_columns, json_messages
from featkit.columns import STATUS, FeatureColumns
from featkit.errors import ProtocolError
from featkit.stores.feast.answers import STATUSES, Question
from featkit.stores.feast.refusals import explained
from featkit.stores.feast.registry import DUMMY_KEY
from featkit.stores.feast.types import decode_column, finished

if TYPE_CHECKING:
    from collections.abc import Callable

    from featkit.calls import HttpReply
    from featkit.stores.base import OnlineRead
    from featkit.stores.feast.types import FeastType

_NO_TIME = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class HttpServer:
    """The feature server as `feast serve` starts it."""

    url: str

    def read(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask for features."""
        question = Question(read)
        request = HttpRequest(
            url=f"{self.url}/get-online-features?status=true",  # Feast's Go server wants it
            method="POST",
            headers={"Content-Type": "application/json"},
            body=_written(question),
        )
        return Call(
            request,
            decode=lambda reply: _answer(question, reply),
            keys=read.keys.height,
            explain=explained,
        )

    def health(self) -> Call[str]:
        """Ask whether it is well."""
        return Call(
            HttpRequest(url=f"{self.url}/health"), decode=lambda _: "answers", explain=explained
        )

    def __str__(self) -> str:
        return self.url


def _written(question: Question) -> bytes:
    """Write the request, its keys column by column."""
    refs = [str(ref) for ref in question.refs + question.parents]
    wanted = json.dumps({"features": refs, "full_feature_names": True})
    keys = question.read.keys
    if keys.width:
        columns = pl.struct(_json_key(name, dtype) for name, dtype in keys.schema.items())
        entities = keys.select(columns.struct.json_encode()).item()
    else:
        entities = json.dumps({DUMMY_KEY: [""]})
    return f'{wanted[:-1]}, "entities": {entities}}}'.encode()


def _json_key(name: str, dtype: pl.DataType) -> pl.Expr:
    """Write a column of keys as the server reads it: times in seconds, bytes in base64."""
    keys = pl.col(name)
    if isinstance(dtype, pl.Binary):
        keys = keys.bin.encode("base64")
    elif isinstance(dtype, pl.Datetime):
        keys = keys.dt.epoch("s")
    return keys.implode().alias(name)


class _Vector(msgspec.Struct):
    values: msgspec.Raw
    statuses: msgspec.Raw = msgspec.Raw(b"")
    event_timestamps: msgspec.Raw = msgspec.Raw(b"")


class _Metadata(msgspec.Struct):
    feature_names: list[str]


class _Response(msgspec.Struct):
    metadata: _Metadata
    results: list[_Vector]


class _Values:
    """What JSON holds of the values of all columns, read at once when the first is wanted."""

    def __init__(self, question: Question, said: _Response) -> None:
        wires = question.wires()
        self._wanted = {
            place: (vector.values, wires[name])
            for place, (name, vector) in enumerate(
                zip(said.metadata.feature_names, said.results, strict=False)
            )
            if name in wires
        }
        self._read: dict[int, pl.Series] | None = None

    def of(self, place: int) -> pl.Series | None:
        """Return a column; None: one of them is not of its type, so that each is to be read."""
        if self._read is None:
            raws, wires = zip(*self._wanted.values(), strict=True)
            columns = json_columns.decode_together(raws, wires)
            self._read = {} if columns is None else dict(zip(self._wanted, columns, strict=True))
        return self._read.get(place)


@dataclass(frozen=True, slots=True)
class _Column:
    """A `Vector` in JSON."""

    place: int
    raw: _Vector
    together: _Values
    read_statuses: Callable[[bytes | memoryview, str], pl.Series]
    read_times: Callable[[bytes | memoryview, str], pl.Series]

    def values(self, kind: FeastType, name: str) -> pl.Series:
        decoded = self.together.of(self.place)
        if decoded is None:
            return decode_column(self.raw.values, kind, name)
        return finished(decoded.alias(name), kind, name)

    def statuses(self, name: str) -> pl.Series:
        return self.read_statuses(self.raw.statuses, name)

    def times(self, name: str) -> pl.Series:
        return self.read_times(self.raw.event_timestamps, name)


def _answer(question: Question, reply: HttpReply) -> FeatureColumns:
    said = json_messages.read(_Response, reply.body, "Feast's feature server")
    statuses, times = json_columns.shared(_statuses), json_columns.shared(_times)
    together = _Values(question, said)
    columns = [
        _Column(place, vector, together, statuses, times)
        for place, vector in enumerate(said.results)
    ]
    return question.answer(said.metadata.feature_names, columns)


def _times(raw: bytes, name: str) -> pl.Series:
    return _read_once(_parsed_times, raw, name)


def _statuses(raw: bytes, name: str) -> pl.Series:
    return _read_once(_parsed_statuses, raw, name)


def _read_once(read: Callable[[bytes, str], pl.Series], raw: bytes, name: str) -> pl.Series:
    """Read an array that repeats one value by reading that; other answers mostly have the same."""
    if (found := json_columns.repeated(raw)) is None:
        return read(raw, name)
    try:
        return _one(read, found[0]).new_from_index(0, found[1])
    except ProtocolError:
        return read(found[0], name)  # which says of which column


@lru_cache(maxsize=256)
def _one(read: Callable[[bytes, str], pl.Series], raw: bytes) -> pl.Series:
    return read(raw, "")


def _parsed_times(raw: bytes, name: str) -> pl.Series:
    text = json_columns.decode(raw, pl.String(), name)
    read = partial(text.str.to_datetime, time_unit="us", time_zone="UTC", strict=False)
    times = read("%Y-%m-%dT%H:%M:%SZ", cache=False)  # the usual form, in a third of the time
    if times.null_count() > text.null_count():
        times = read("%+")
    return times.set(text == _NO_TIME, None) if _NO_TIME.encode() in raw else times


def _parsed_statuses(raw: bytes, name: str) -> pl.Series:
    words = json_columns.decode(raw, pl.String(), name)
    if words.null_count():
        msg = f"{name}: the feature server sent a value without a status"
        raise ProtocolError(msg)
    try:
        return words.replace_strict(STATUSES, return_dtype=STATUS)
    except pl.exceptions.PolarsError as error:
        unknown = sorted(set(words.unique()) - set(STATUSES), key=str)
        msg = f"{name}: the feature server sent the unknown status {unknown[0]!r}"
        raise ProtocolError(msg) from error
