"""Stores that hold the same numbers, each on its own wire: ``python -m benchmarks._serving NAME``.

They answer after 5 ms, in a process of their own, until their standard input ends. Behind each key
are ten floats, so that what differs is the way they are asked for and sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from tests.fakes import sagemaker, tecton
from tests.faults.serving import Reply, Request, Server, read_request

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 10_000
LATENCY = 0.005  # seconds
FEATURES = [f"f{number}" for number in range(10)]


class FeastNumbers(Server):
    """Feast's feature server and registry, as far as the numbers need them."""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            await asyncio.sleep(LATENCY)
            writer.write(self._answer(request).encode())
            await writer.drain()

    def _answer(self, request: Request) -> Reply:
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
SERVERS: dict[str, Callable[[], Server]] = {
    "feast": FeastNumbers,
    "tecton": lambda: tecton.TectonFake(
        {"numbers": tecton.numbers(ROWS)}, most=1000, delay=LATENCY
    ),
    "sagemaker": lambda: sagemaker.SageMakerFake(sagemaker.numbers(ROWS), delay=LATENCY),
}

if __name__ == "__main__":
    with SERVERS[sys.argv[1]]() as server:
        print(server.url, flush=True)
        sys.stdin.read()
