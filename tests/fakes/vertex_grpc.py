"""The gRPC face of the Vertex AI fake: what it answers over REST, as a stream of protobuf.

The messages are put together here by hand, value by value, so that nothing is shared with the code
under test.
"""

from __future__ import annotations

import base64
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from tests.fakes.feast_grpc import stamp
from tests.fakes.protobuf import members, part, varint
from tests.fakes.rpc import Methods, serving
from tests.fakes.vertex import PLACE, STORE
from tests.fakes.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.vertex import VertexFake

METHOD = "/google.cloud.aiplatform.v1beta1.FeatureOnlineStoreService/StreamingFetchFeatureValues"
AT_ONCE = 7  # answers of one message
NUMBERS = {"boolValue": 1, "doubleValue": 2, "int64Value": 5, "stringValue": 6, "bytesValue": 13}
ARRAYS = {"boolArrayValue": 7, "doubleArrayValue": 8, "int64ArrayValue": 11, "stringArrayValue": 12}


def number(value: float | str) -> bytes:
    return struct.pack("<d", float(value))


def value_message(said: dict[str, Any]) -> bytes:
    """Write a value that JSON says as protobuf."""
    whole = b""
    for name, held in said.items():
        match name:
            case "boolValue":
                whole += varint(1 << 3) + varint(int(held))
            case "int64Value":
                whole += varint(5 << 3) + varint(int(held))
            case "doubleValue":
                whole += varint(2 << 3 | 1) + number(held)
            case "stringValue":
                whole += part(6, held.encode())
            case "bytesValue":
                whole += part(13, base64.b64decode(held))
            case "structValue":
                inner = [
                    part(1, each["name"].encode()) + part(2, value_message(each["value"]))
                    for each in held.get("values", [])
                ]
                whole += part(15, b"".join(part(1, each) for each in inner))
            case "metadata":
                whole += part(14, part(1, stamp(held["generateTime"])))
            case _:
                whole += part(ARRAYS[name], array(name, held.get("values", [])))
    return whole


def array(name: str, items: list[Any]) -> bytes:
    if name == "stringArrayValue":
        return b"".join(part(1, item.encode()) for item in items)
    written = [number(item) if name[0] == "d" else varint(int(item)) for item in items]
    return part(1, b"".join(written)) if items else b""


def answer_message(said: dict[str, Any], key: bytes) -> bytes:
    pairs = [
        part(1, each["name"].encode()) + part(2, value_message(each["value"]))
        for each in said["keyValues"]["features"]
    ]
    return part(3, b"".join(part(1, pair) for pair in pairs)) + part(4, key)


def parts_of(key: bytes) -> list[str]:
    ((kind, held),) = members(key)
    return [held.decode()] if kind == 1 else [each.decode() for _, each in members(held)]


def answers(fake: VertexFake, body: bytes) -> Iterator[bytes]:
    """Answer a request: out of order, some at a time, and those that are unknown by themselves."""
    asked = list(members(body))
    (view,) = [held.decode() for kind, held in asked if kind == 1]
    keys = [held for kind, held in asked if kind == 2]
    assert [held for kind, held in asked if kind == 3] == [1], "KEY_VALUE is asked for"
    prefix = f"{PLACE}/featureOnlineStores/{STORE}/featureViews/"
    assert view.startswith(prefix)
    found, rows = fake.named(view.removeprefix(prefix))
    fake.streams.append(len(keys))
    known, unknown = [], []
    for key in keys:
        try:
            said = fake.values_of(found, rows, parts_of(key))
        except Answer as refusal:
            said = refusal
        if said.status == 200:
            known.append(part(2, answer_message(said.body, key)))
        else:
            unknown.append(part(3, key))
    known.reverse()
    if unknown:
        status = varint(1 << 3) + varint(5) + part(2, b"Requested entity was not found.")
        yield part(1, status) + b"".join(unknown)
    for start in range(0, len(known), AT_ONCE):
        yield b"".join(known[start : start + AT_ONCE])


@contextmanager
def streamed(fake: VertexFake, *, longest: int | None = None) -> Iterator[str]:
    """Serve a fake's lookups over gRPC, and give the address as a URL.

    Parameters
    ----------
    fake
        What it knows.
    longest
        Milliseconds after which a connection is told to go away, and as long again until it is
        closed; None: never.
    """

    def serve(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        told = dict(context.invocation_metadata())
        good = [f"Bearer {token}" for token in (fake.token, *fake.tokens)]
        if told.get("authorization") not in good:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "invalid authentication credentials")
        for body in requests:
            try:
                if sum(kind == 2 for kind, _ in members(body)) > fake.most_keys:
                    context.abort(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        f"The number of data keys exceeds the limit of {fake.most_keys}.",
                    )
                said = list(fake.lie(answers(fake, body)))
            except Answer as refusal:
                message = refusal.body["error"]["message"]
                context.abort(grpc.StatusCode.NOT_FOUND, message)
            after, code = fake.breaks.pop(0) if fake.breaks else (len(said), "")
            for message in said[:after]:
                time.sleep(fake.pause)
                yield message
            if code:
                context.abort(grpc.StatusCode[code], "it broke off")

    ages = ("grpc.max_connection_age_ms", "grpc.max_connection_age_grace_ms")
    options = [(age, longest) for age in ages if longest is not None]
    methods = Methods({METHOD: grpc.stream_stream_rpc_method_handler(serve)})
    with serving(methods, threads=16, options=options) as address:
        yield f"http://{address}"
