"""What Tecton sends: protobuf in JSON, where absent means default."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import polars as pl

from featkit.codecs import json_messages
from featkit.codecs.json_kinds import (
    ANYTHING,
    BOOLEANS,
    INSTANTS,
    STRINGS,
    Fields,
    Floats,
    Integers,
    Kind,
    ListOf,
    MapOf,
)
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    ProtocolError,
    RequestRejected,
    StoreUnavailable,
    ThrottledError,
    UnknownNameError,
)

if TYPE_CHECKING:
    from featkit.calls import HttpReply
    from featkit.errors import FeatkitError

T = TypeVar("T")

_REFUSED = (401, 403)
_BATCH, _BEYOND = r"(batch|requestData)", r"(size|too many|large|limit|exceed|most|max|must be)"
_TOO_MANY = re.compile(rf"{_BATCH}.*{_BEYOND}|{_BEYOND}.*{_BATCH}", re.IGNORECASE)


# What answers are made of is a tree, hence gc=False: thousands of objects that the collector would
# count would have it look at all those of the process again and again.


class DataType(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """A type."""

    type: str = ""
    element_type: DataType | None = None
    fields: tuple[Column, ...] = ()
    key_type: DataType | None = None
    value_type: DataType | None = None

    @property
    def shape(self) -> tuple[str, tuple[DataType, ...]]:
        """What it is made of: how, and the types of its parts; ``"plain"`` of none."""
        match self:
            case DataType(type="array", element_type=DataType() as inner):
                return "array", (inner,)
            case DataType(type="struct", fields=fields) if fields:
                return "struct", tuple(own.known for own in fields)
            case DataType(type="map", key_type=DataType() as key, value_type=DataType() as value):
                return "map", (key, value)
            case DataType(type="string_array"):
                return "array", (DataType("string"),)
            case _:
                return "plain", ()

    @property
    def kind(self) -> Kind:
        """How values of this type are read; those of an unknown type stay JSON."""
        match self:
            case DataType(type="array", element_type=DataType() as inner):
                return ListOf(inner.kind)
            case DataType(type="struct", fields=fields) if fields:
                return Fields(tuple((own.name, own.known.kind) for own in fields))
            case DataType(type="map", key_type=DataType() as key, value_type=DataType() as value):
                return MapOf(key.kind, value.kind)
            case _:
                return _KINDS.get(self.type, ANYTHING)

    def __str__(self) -> str:
        match self:
            case DataType(type="array", element_type=DataType() as inner):
                return f"array<{inner}>"
            case DataType(type="struct", fields=fields) if fields:
                return f"struct<{', '.join(f'{own.name}: {own.known}' for own in fields)}>"
            case DataType(type="map", key_type=DataType() as key, value_type=DataType() as value):
                return f"map<{key}, {value}>"
            case _:
                return self.type or "unknown"


_KINDS: dict[str, Kind] = {
    "int64": Integers(),
    "float64": Floats(),
    "float32": Floats(pl.Float32()),
    "boolean": BOOLEANS,
    "string": STRINGS,
    "timestamp": INSTANTS,
    "string_array": ListOf(STRINGS),
}


class Column(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """A join key, a key of the request context, a feature, or a field of a struct."""

    name: str
    data_type: DataType = DataType()
    type: str = ""

    @property
    def known(self) -> DataType:
        """Its type; older servers tell only the name of it."""
        return self.data_type if self.data_type.type else DataType(self.type)


class Service(msgspec.Struct, rename="camel", frozen=True):
    """The schema of a feature service; there is none without features."""

    feature_values: tuple[Column, ...]
    feature_service_type: str = "DEFAULT"
    input_join_keys: tuple[Column, ...] = ()
    input_request_context_keys: tuple[Column, ...] = ()
    output_join_keys: tuple[Column, ...] = ()


class Answered(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """What an answer says about the values of a feature, or of a join key that it found."""

    name: str
    data_type: DataType = DataType()
    effective_time: str | None = None
    status: msgspec.Raw = msgspec.Raw(b"")


class Metadata(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """What an answer says about its values."""

    features: tuple[Answered, ...]
    join_keys: tuple[Answered, ...] = ()


class Row(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """The values for one entity."""

    features: msgspec.Raw
    join_keys: msgspec.Raw = msgspec.Raw(b"[]")


class Single(msgspec.Struct, rename="camel", frozen=True):
    """The answer to a lookup of one entity."""

    result: Row
    metadata: Metadata


class Batch(msgspec.Struct, rename="camel", frozen=True):
    """The answer to a lookup of several entities."""

    result: list[Row]
    metadata: Metadata


class Query(msgspec.Struct, rename="camel", frozen=True):
    """The answer to a wildcard lookup: one row per match."""

    metadata: Metadata
    results: list[Row] = []


Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Ready(msgspec.Struct, frozen=True):
    """Up to when values are materialised; the names come in two spellings."""

    online_latest_ready_time: Moment | None = None
    camel: Moment | None = msgspec.field(default=None, name="onlineLatestReadyTime")

    @property
    def online(self) -> datetime | None:
        """Up to when the online store has them; None: never, or not at all."""
        return self.online_latest_ready_time or self.camel


class _Refusal(msgspec.Struct, frozen=True):
    error: str = ""
    message: str = ""
    code: Any = None

    @property
    def reason(self) -> str:
        """Why, in Tecton's words; empty: it is no refusal, or does not say."""
        return self.message or self.error


def decoded(kind: type[T], reply: HttpReply) -> T:
    """Read a reply; raise an error with Tecton's reason where it is none of that kind."""
    try:
        return json_messages.read(kind, reply.body, "Tecton")
    except ProtocolError as error:
        if refusal := _answered_with(reply):
            raise refusal from error
        raise


def ready(reply: HttpReply) -> Ready:
    """Read up to when values are materialised; what tells of no time may be a refusal."""
    said = decoded(Ready, reply)
    if said.online is None and (refusal := _answered_with(reply)):
        raise refusal
    return said


def _answered_with(reply: HttpReply) -> FeatkitError | None:
    """Read a refusal that came as an answer, with the status 200: the code has to tell all."""
    said = json_messages.read_if(_Refusal, reply.body) or _Refusal()
    if not said.reason:
        return None
    message = f"{reply.status}: Tecton says: {said.reason}"
    match said.code:
        case 8 | "RESOURCE_EXHAUSTED":
            return ThrottledError(message)
        case 4 | 13 | 14 | "DEADLINE_EXCEEDED" | "INTERNAL" | "UNAVAILABLE":
            return StoreUnavailable(message)
        case _:
            return RequestRejected(message)


def _reason(reply: HttpReply) -> str:
    return (json_messages.read_if(_Refusal, reply.body) or _Refusal()).reason


def explained(workspace: str, reply: HttpReply) -> FeatkitError | None:
    """Read why Tecton refuses; None: it does not say, or the status says enough."""
    said = _reason(reply)
    if not said and reply.status in _REFUSED:
        said = "nothing that explains it"
    if not said:
        return None
    message = f"{reply.status}: Tecton says: {said}"
    where = f"the workspace {workspace!r}"
    match reply.status:
        case 401:
            return AuthError(f"{message}; is api_key right, and older than a minute?")
        case 403:
            return AuthError(f"{message}; the key's account needs the role Consumer in {where}")
        case 404:
            return UnknownNameError(
                f"{message}; it is looked for in {where}, among what is materialised online; check "
                "workspace and feature_services"
            )
        case 400 if _TOO_MANY.search(said):
            return BatchTooLarge(message)
        case 400 | 405 | 409 | 422:
            return RequestRejected(message)
        case _:
            return None
