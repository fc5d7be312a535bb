"""Stores that hold the same numbers, each on its own wire: ``python -m benchmarks._serving NAME``.

They answer after 5 ms, in a process of their own, until their standard input ends. Behind each key
are ten floats, so that what differs is the way they are asked for and sent. An answer that was
given before is given again without work, since it is not the fakes that are measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from tests.fakes import sagemaker, tecton
from tests.faults.serving import Reply, Request, Server, read_request

if TYPE_CHECKING:
    from collections.abc import Callable

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
        super().__init__()
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
FAKES: dict[str, Callable[[], Any]] = {
    "feast": FeastNumbers,
    "tecton": lambda: tecton.TectonFake({"numbers": tecton.numbers(ROWS)}, most=1000),
    "sagemaker": lambda: sagemaker.SageMakerFake(sagemaker.numbers(ROWS)),
}

if __name__ == "__main__":
    with Remembering(FAKES[sys.argv[1]]().answer) as server:
        print(server.url, flush=True)
        sys.stdin.read()
