"""Feast's feature server over gRPC (`feast listen`): questions and answers in protobuf.

The messages are those of Feast's ``ServingService.proto``::

    GetOnlineFeaturesRequest   2: FeatureList {1: names}   4: full_feature_names
                               3: entities, a map {1: join key, 2: {1: Value ...}}
    GetOnlineFeaturesResponse  1: metadata {1: FeatureList}
                               2: results, one per column
                                  {1: Value ...   2: statuses   3: Timestamp ...}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from featkit.calls import Call, GrpcRequest
from featkit.codecs import protobuf
from featkit.codecs import protobuf_writing as writing
from featkit.codecs.binary_columns import BinaryColumn, binaries, padded
from featkit.codecs.protobuf import DELIMITED, FIXED32, FIXED64, VARINT
from featkit.columns import STATUS, FeatureColumns
from featkit.errors import NotSupportedError, ProtocolError, StoreUnavailable
from featkit.stores.feast import values
from featkit.stores.feast.answers import STATUSES, Question
from featkit.stores.feast.refusals import explained_status
from featkit.stores.feast.registry import DUMMY_KEY
from featkit.stores.feast.types import NUMBERS, type_of

if TYPE_CHECKING:
    from featkit.calls import GrpcReply
    from featkit.stores.base import OnlineRead
    from featkit.stores.feast.types import FeastType

_NAMES = ("INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE")
_CODES = {code: STATUSES[name] for code, name in enumerate(_NAMES) if name in STATUSES}
_SERVING = b"\x08\x01"


@dataclass(frozen=True, slots=True)
class GrpcServer:
    """The feature server as `feast listen` starts it."""

    address: str
    tls: bool = False

    def read(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask for features."""
        if asked := [entity.name for entity in read.view.entities if entity.request_data]:
            # it hands the messages themselves to the code of the view, whatever the client
            msg = (
                f"feature view {read.view.name!r} computes from the request data "
                f"{', '.join(asked)}, which Feast's gRPC server cannot read; connect to the HTTP "
                "server for it, with feast+http://..."
            )
            raise NotSupportedError(msg)
        question = Question(read)
        return Call(
            self._request("/GrpcFeatureServer/GetOnlineFeatures", _written(question)),
            decode=lambda reply: _answer(question, reply),
            keys=read.keys.height,
            explain=explained_status,
        )

    def health(self) -> Call[str]:
        """Ask whether it is well."""
        return Call(self._request("/grpc.health.v1.Health/Check"), decode=_well)

    def _request(self, method: str, body: bytes = b"") -> GrpcRequest:
        return GrpcRequest(address=self.address, method=method, body=body, tls=self.tls)

    def __str__(self) -> str:
        return f"{'grpcs' if self.tls else 'grpc'}://{self.address}"


def _well(reply: GrpcReply) -> str:
    if reply.body != _SERVING:
        msg = "the server answers that it is not serving"
        raise StoreUnavailable(msg)
    return "answers"


# -- the question --------------------------------------------------------------------------------


def _written(question: Question) -> bytes:
    """Write the request, its keys column by column."""
    refs = question.refs + question.parents
    names = b"".join(writing.field(1, str(ref).encode()) for ref in refs)
    keys, full_names = question.read.keys, protobuf.tag(4, VARINT) + b"\x01"
    columns = [
        (entity.join_key, _values(keys[entity.join_key], type_of(entity)))
        for entity in question.read.view.entities
    ] or [(DUMMY_KEY, binaries([_EMPTY_TEXT]))]
    entities = [
        writing.field(1, name.encode()) + writing.field(2, _repeated(column))
        for name, column in columns
    ]
    return b"".join(
        [writing.field(2, names), *(writing.field(3, each) for each in entities), full_names]
    )


_EMPTY_TEXT = protobuf.tag(NUMBERS["STRING"], DELIMITED) + b"\x00"


def _repeated(column: pa.Array) -> bytes:
    tagged = writing.joined(protobuf.tag(1, DELIMITED), writing.delimited(column))
    return writing.concatenated(tagged)


def _values(column: pl.Series, kind: FeastType) -> pa.Array:
    """Write keys as messages `Value`."""
    wire_type, payload = _payload(column, kind)
    return writing.joined(protobuf.tag(NUMBERS[kind.name], wire_type), payload)


def _payload(column: pl.Series, kind: FeastType) -> tuple[int, pa.Array]:
    match kind.name:
        case "INT32" | "INT64":
            return VARINT, _varints(column)
        case "BOOL":
            return VARINT, _varints(column.cast(pl.Int64))
        case "UNIX_TIMESTAMP":
            return VARINT, _varints(column.dt.epoch("s"))
        case "DOUBLE":
            return FIXED64, writing.fixed(column.to_numpy().astype(np.float64))
        case "FLOAT":
            return FIXED32, writing.fixed(column.to_numpy().astype(np.float32))
        case "STRING" | "BYTES" | "UUID" | "TIME_UUID" | "DECIMAL" | "JSON":
            return DELIMITED, writing.delimited(column.to_arrow().cast(pa.large_binary()))
        case _:
            msg = f"the key {column.name!r} has a type of Feast's that gRPC is not asked with here"
            raise NotSupportedError(msg)


def _varints(column: pl.Series) -> pa.Array:
    return writing.varints(column.cast(pl.Int64).to_numpy().view(np.uint64))


# -- the answer ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """A `Vector` in protobuf: `shared` remembers, for all of an answer, what was read already."""

    message: BinaryColumn
    shared: dict[bytes, pl.Series] = field(repr=False)

    @cached_property
    def _fields(self) -> dict[int, BinaryColumn]:
        found = protobuf.elements(self.message, {1: DELIMITED, 2: DELIMITED, 3: DELIMITED})
        return {number: payload for number, (payload, _) in found.items()}

    def values(self, kind: FeastType, name: str) -> pl.Series:
        return values.decode(self._fields[1], kind, name)

    def statuses(self, name: str) -> pl.Series:
        raw = _bytes(self._fields[2])
        if raw not in self.shared:
            codes, _ = protobuf.packed_varints(self._fields[2])
            self.shared[raw] = _statuses(pl.Series(codes.view(np.int64)), name)
        return self.shared[raw]

    def times(self, name: str) -> pl.Series:
        raw = b"times" + _bytes(self._fields[3])
        if raw not in self.shared:
            self.shared[raw] = values.decode_times(self._fields[3]).alias(name)
        return self.shared[raw]


def _bytes(column: BinaryColumn) -> bytes:
    data, bounds = column.compact()
    return data[: bounds[-1]].tobytes()


def _statuses(codes: pl.Series, name: str) -> pl.Series:
    try:
        return codes.replace_strict(_CODES, return_dtype=STATUS)
    except pl.exceptions.PolarsError as error:
        unknown = sorted(set(codes.unique()) - set(_CODES))
        msg = f"{name}: the feature server sent the unknown status {unknown[0]}"
        raise ProtocolError(msg) from error


def _answer(question: Question, reply: GrpcReply) -> FeatureColumns:
    whole = memoryview(reply.body)
    names: list[str] = []
    results: list[_Column] = []
    shared: dict[bytes, pl.Series] = {}
    for number, part in protobuf.members(whole):
        if number == 1:
            names += [
                bytes(name).decode(errors="replace")
                for of_metadata, listed in protobuf.members(part)
                if of_metadata == 1
                for _, name in protobuf.members(listed)
            ]
        elif number == 2:  # noqa: PLR2004 - the results
            data = padded(part)
            message = BinaryColumn(data, np.array([0]), np.array([len(part)]))
            results.append(_Column(message, shared))
    return question.answer(names, results)
