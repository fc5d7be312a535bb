"""The gRPC face of the Feast fake: what it answers over HTTP, in protobuf.

The messages are put together here by hand, value by value, so that nothing is shared with the code
under test.
"""

from __future__ import annotations

import base64
import struct
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc

from tests.fakes.feast import Refused, value_type
from tests.fakes.feast_format import NUMBERS
from tests.fakes.protobuf import members, part, varint
from tests.fakes.rpc import Methods, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.feast import FeastFake

NAMES = {number: name for name, number in NUMBERS.items()}
STATUSES = {"PRESENT": 1, "NULL_VALUE": 2, "NOT_FOUND": 3, "OUTSIDE_MAX_AGE": 4}
METHODS = ("/GrpcFeatureServer/GetOnlineFeatures", "/grpc.health.v1.Health/Check")


def scalar(kind: str, value: Any) -> bytes:
    match kind:
        case "DOUBLE":
            return struct.pack("<d", float(value))
        case "FLOAT":
            return struct.pack("<f", float(value))
        case "BYTES":
            return base64.b64decode(value)
        case "STRING":
            return str(value).encode()
        case _:
            return varint(int(value))


WIRE = {"BYTES": 2, "STRING": 2, "DOUBLE": 1, "FLOAT": 5}


def message(kind: str, value: Any) -> bytes:
    """Write a `Value` as Feast does: null is a message without a field."""
    if value is None:
        return b""
    name = kind.removesuffix("_LIST")
    number, wire = NUMBERS[name], WIRE.get(name, 0)
    if name != kind:
        parts = [scalar(name, each) for each in value]
        packed = b"".join(part(1, each) for each in parts) if wire == 2 else b"".join(parts)
        return part(number + 10, packed if wire == 2 or not parts else part(1, packed))
    written = scalar(name, value)
    return varint(number << 3 | wire) + (varint(len(written)) if wire == 2 else b"") + written


def plain(number: int, held: Any) -> Any:
    """Read what a `Value` holds as the JSON that is sent over HTTP for it."""
    match NAMES[number]:
        case "INT32" | "INT64" | "UNIX_TIMESTAMP":
            return held - 2**64 if held >= 2**63 else held
        case "BOOL":
            return bool(held)
        case "DOUBLE":
            return struct.unpack("<d", held)[0]
        case "FLOAT":
            return struct.unpack("<f", held)[0]
        case "BYTES":
            return base64.b64encode(held).decode()
        case _:
            return held.decode()


def asked(body: bytes) -> dict[str, Any]:
    """Read a request as the JSON that asks for the same over HTTP."""
    found: dict[str, Any] = {"features": [], "entities": {}, "full_feature_names": False}
    for number, held in members(body):
        if number == 2:
            found["features"] = [name.decode() for _, name in members(held)]
        elif number == 3:
            entry = dict(members(held))
            values = [next(members(value), None) for _, value in members(entry[2])]
            found["entities"][entry[1].decode()] = [each and plain(*each) for each in values]
        elif number == 4:
            found["full_feature_names"] = bool(held)
    return found


def stamp(text: str) -> bytes:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    seconds, micros = divmod(
        (moment - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution, 10**6
    )
    whole = varint(1 << 3) + varint(seconds) if seconds else b""
    return whole + (varint(2 << 3) + varint(micros * 1000) if micros else b"")


def answered(fake: FeastFake, said: dict[str, Any]) -> bytes:
    """Write an answer in JSON as protobuf."""
    kinds = {}
    for view, _ in fake.views:
        kinds |= {f"{view.name}__{each.name}": value_type(each.dtype) for each in view.features}
        kinds |= {each.join_key: value_type(each.dtype) for each in view.entities}
    names = said["metadata"]["feature_names"]
    whole = part(1, part(1, b"".join(part(1, name.encode()) for name in names)))
    for name, column in zip(names, said["results"], strict=True):
        values = [part(1, message(kinds[name], each)) for each in column["values"]]
        codes = b"".join(varint(STATUSES[each]) for each in column["statuses"])
        times = [part(3, stamp(each)) for each in column["event_timestamps"]]
        whole += part(2, b"".join([*values, part(2, codes), *times]))
    return whole


@contextmanager
def served_over_grpc(fake: FeastFake) -> Iterator[str]:
    """Serve a fake's lookups over gRPC, and give the address."""

    def answer(body: bytes, context: Any) -> bytes:
        told = dict(context.invocation_metadata()).get("authorization")
        if fake.token is not None and told != f"Bearer {fake.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid or expired access token")
        try:
            return answered(fake, fake.online(asked(body)))
        except Refused as refused:
            raise ValueError(refused.body) from refused

    methods = {
        METHODS[0]: grpc.unary_unary_rpc_method_handler(answer),
        METHODS[1]: grpc.unary_unary_rpc_method_handler(lambda *_: b"\x08\x01"),
    }
    with serving(Methods(methods)) as address:
        yield address
