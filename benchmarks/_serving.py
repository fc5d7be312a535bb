"""Stores that hold the same numbers, each on its own wire: ``python -m benchmarks._serving NAME``.

They answer after 5 ms, in a process of their own, until their standard input ends. Behind each key
are ten floats, so that what differs is the way they are asked for and sent. An answer that was
given before is given again without work, since it is not the fakes that are measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import selectors
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import mmh3

from tests.fakes import sagemaker, tecton
from tests.fakes.feast_format import entity_key, value
from tests.fakes.protobuf import members, part
from tests.fakes.rpc import Methods, serving
from tests.fakes.vertex_grpc import METHOD, answer_message, parts_of
from tests.faults.serving import Reply, Request, Server, read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = 10_000
LATENCY = 0.005  # seconds
FEATURES = [f"f{number}" for number in range(10)]


class Remembering(Server):
    """A server that answers what a function answers, and remembers it.

    Parameters
    ----------
    answer
        Makes the answer to a request that was not there before.
    """

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        # epoll waits whole milliseconds, so that 5 would be 6
        super().__init__(loop=asyncio.SelectorEventLoop(selectors.SelectSelector()))
        self._answer = answer
        self._known: dict[tuple[str, str, bytes], bytes] = {}

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            request = await read_request(reader)
            due = loop.time() + LATENCY
            asked = request.target, request.headers.get("x-amz-target", ""), request.body
            if asked not in self._known:
                self._known[asked] = self._answer(request).encode()
            await asyncio.sleep(due - loop.time())
            writer.write(self._known[asked])
            await writer.drain()


class FeastNumbers:
    """Feast's feature server and registry, as far as the numbers need them."""

    def answer(self, request: Request) -> Reply:
        said: object = _VIEWS
        if request.method == "POST":
            keys = json.loads(request.body)["entities"]["user_id"]
            told = {"statuses": ["PRESENT"] * len(keys), "event_timestamps": [_TIME] * len(keys)}
            columns = [[key + n / 8 for key in keys] for n in range(len(FEATURES))]
            results = [{"values": values, **told} for values in (keys, *columns)]
            names = ["user_id", *(f"numbers__{name}" for name in FEATURES)]
            said = {"metadata": {"feature_names": names}, "results": results}
        headers = {"content-type": "application/json"}
        return Reply(headers=headers, body=json.dumps(said).encode())


_TIME = "2024-05-01T11:00:00Z"
_VIEWS = {
    "featureViews": [
        {
            "type": "featureView",
            "spec": {
                "name": "numbers",
                "entities": ["user"],
                "features": [{"name": name, "valueType": "DOUBLE"} for name in FEATURES],
                "online": True,
                "entityColumns": [{"name": "user_id", "valueType": "INT64"}],
                "batchSource": {"name": "source", "timestampField": "at"},
            },
        }
    ]
}


class DatabricksNumbers:
    """A workspace with one table and one endpoint, as far as the numbers need them."""

    def answer(self, request: Request) -> Reply:
        said: object = {"name": "fs_ep", "state": {"ready": "READY"}}
        if request.method == "POST":
            keys = [key for (key,) in json.loads(request.body)["dataframe_split"]["data"]]
            said = {"outputs": [{"user_id": key, **_values(key)} for key in keys]}
        elif "/unity-catalog/tables/" in request.target:
            said = _TABLE
        return _json(said)


class VertexNumbers:
    """An online store and its registry, as far as the numbers need them."""

    def answer(self, request: Request) -> Reply:
        said: object = {"name": "x/fos", "state": "STABLE"}
        if request.method == "POST":
            said = self.entity(json.loads(request.body)["dataKey"]["key"])
        elif "/tables/" in request.target:
            kinds = {"user_id": "INTEGER", "at": "TIMESTAMP", **dict.fromkeys(FEATURES, "FLOAT")}
            said = {"schema": {"fields": [{"name": n, "type": t} for n, t in kinds.items()]}}
        elif "/featureViews/" in request.target:
            source = {"uri": "bq://p.lake.numbers", "entityIdColumns": ["user_id"]}
            said = {"name": "x/featureViews/numbers", "bigQuerySource": source}
        return _json(said)

    @staticmethod
    def entity(key: str) -> dict[str, Any]:
        stamp = {"metadata": {"generateTime": _TIME}}
        values = _values(int(key)).items()
        pairs = [{"name": name, "value": {"doubleValue": value} | stamp} for name, value in values]
        return {"keyValues": {"features": pairs}}


def _values(key: int) -> dict[str, float]:
    return {name: key + n / 8 for n, name in enumerate(FEATURES)}


def _json(said: object) -> Reply:
    headers = {"content-type": "application/json"}
    return Reply(headers=headers, body=json.dumps(said).encode())


_KEY = {"name": "pk", "child_columns": ["user_id"]}
_TABLE = {
    "full_name": "main.f.numbers",
    "name": "numbers",
    "columns": [
        {"name": name, "type_text": "bigint" if name == "user_id" else "double", "position": n}
        for n, name in enumerate(["user_id", *FEATURES])
    ],
    "table_constraints": [{"primary_key_constraint": _KEY}],
}


class StreamedNumbers:
    """The same as a stream over gRPC: one question, answers for all its keys."""

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    def answers(self, requests: Iterator[bytes], context: object) -> Iterator[bytes]:  # noqa: ARG002 - as grpc calls it
        for body in requests:
            time.sleep(LATENCY)
            if body not in self._known:
                keys = [held for number, held in members(body) if number == 2]
                self._known[body] = b"".join(self._entity(key) for key in keys)
            yield self._known[body]

    @staticmethod
    def _entity(key: bytes) -> bytes:
        (text,) = parts_of(key)
        return part(2, answer_message(VertexNumbers.entity(text), key))


MIXED = {  # by name: Feast's type, and what is behind a key
    **{f"f{number}": ("DOUBLE", lambda key: key / 8) for number in range(5)},
    **{f"n{number}": ("INT64", lambda key: key * 1000) for number in range(3)},
    "text": ("STRING", "user {}".format),
    "even": ("BOOL", lambda key: key % 2 == 0),
}


class DynamoNumbers:
    """DynamoDB as Feast fills it, and Feast's registry."""

    def __init__(self, rows: int = 100_000) -> None:
        self._items = {}
        for key in range(rows):
            name = mmh3.hash_bytes(entity_key({"user_id": "INT64"}, {"user_id": key})).hex()
            values = {own: value(kind, make(key)) for own, (kind, make) in MIXED.items()}
            cells = {own: {"B": base64.b64encode(held).decode()} for own, held in values.items()}
            item = {"entity_id": {"S": name}, "event_ts": {"S": _TIME}, "values": {"M": cells}}
            self._items[name] = json.dumps(item)

    def answer(self, request: Request) -> Reply:
        body = json.dumps(_mixed()).encode()
        if request.method == "POST":
            ((table, wanted),) = json.loads(request.body)["RequestItems"].items()
            names = [key["entity_id"]["S"] for key in wanted["Keys"]]
            items = ",".join(self._items[name] for name in names if name in self._items)
            body = f'{{"Responses": {{"{table}": [{items}]}}, "UnprocessedKeys": {{}}}}'.encode()
        return Reply(headers={"content-type": "application/json"}, body=body)


def _mixed() -> dict[str, Any]:
    (view,) = _VIEWS["featureViews"]
    features = [{"name": name, "valueType": kind} for name, (kind, _) in MIXED.items()]
    return {"featureViews": [{**view, "spec": {**view["spec"], "features": features}}]}


FAKES: dict[str, Callable[[], Any]] = {
    "databricks": DatabricksNumbers,
    "vertex": VertexNumbers,
    "feast": FeastNumbers,
    "dynamodb": DynamoNumbers,
    "tecton": lambda: tecton.TectonFake({"numbers": tecton.numbers(ROWS)}, most=1000),
    "sagemaker": lambda: sagemaker.SageMakerFake(sagemaker.numbers(ROWS)),
}


@contextmanager
def _served(server: Server) -> Iterator[str]:
    with server:
        yield server.url


@contextmanager
def streaming() -> Iterator[str]:
    """Serve the numbers over gRPC."""
    numbers = StreamedNumbers().answers

    methods = {METHOD: grpc.stream_stream_rpc_method_handler(numbers)}
    with serving(Methods(methods), threads=8) as address:
        yield f"http://{address}"


if __name__ == "__main__":
    with ExitStack() as stack:
        name = sys.argv[1]
        where = stack.enter_context(
            streaming() if name == "stream" else _served(Remembering(FAKES[name]().answer))
        )
        print(where, flush=True)
        sys.stdin.read()
