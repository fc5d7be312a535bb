"""A feature server of one view, fast and strict, in Feast's words: what lies behind the faults.

``python -m tests.faults.upstream`` serves in a process of its own, prints the URL, and ends with
its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from tests.faults.serving import Reply, Request, Server, read_request

if TYPE_CHECKING:
    import ssl

PROJECT = "rides"
VIEW = "drivers"
KEY = "driver_id"
NOW = "2026-11-01T00:00:00Z"
_PATIENCE = 10.0  # seconds that a request waits for others
TYPES = {"trips": "INT64", "rate": "DOUBLE", "plate": "STRING"}


def truth(feature: str, key: int) -> Any:
    """Tell the true value of a feature."""
    return {"trips": key * 3, "rate": key / 10, "plate": f"car-{key}"}[feature]


class Upstream(Server):
    """The server.

    Parameters
    ----------
    token
        The bearer token that is asked for; None: any request will do.
    most
        How many entities a lookup may ask for, beyond which it is too large.

    Attributes
    ----------
    barrier
        Where requests wait for each other before they are answered.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        most: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls=tls)
        self.token = token
        self.most = most
        self.barrier: asyncio.Barrier | None = None
        self.requests: list[Request] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            self.requests.append(request)
            if self.barrier is not None:
                await asyncio.wait_for(self.barrier.wait(), _PATIENCE)
            writer.write(self.answer(request).encode())
            await writer.drain()

    def answer(self, request: Request) -> Reply:
        """Answer, or say what is wrong with the request."""
        if (
            self.token is not None
            and request.headers.get("authorization") != f"Bearer {self.token}"
        ):
            return _json(401, {"detail": f"not a token: {request.headers.get('authorization')}"})
        match request.method, request.path:
            case "POST", "/get-online-features":
                return self._online(request)
            case "GET", "/health":
                return Reply(status=200)
            case "GET", path if path == f"/api/v1/projects/{PROJECT}":
                meta = {"lastUpdatedTimestamp": NOW}
                return _json(200, {"spec": {"name": PROJECT}, "meta": meta})
            case "GET", "/api/v1/feature_views":
                return _json(200, {"featureViews": [_ITEM]})
            case "GET", path if path == f"/api/v1/feature_views/{VIEW}":
                return _json(200, _ITEM)
            case "GET", "/api/v1/feature_services":
                return _json(200, {"featureServices": []})
        return _json(404, {"detail": "Not Found"})

    def _online(self, request: Request) -> Reply:
        if request.headers.get("content-type") != "application/json":
            return _json(422, {"detail": "no JSON"})
        try:
            asked = json.loads(request.body)
            ((name, keys),) = asked["entities"].items()
            features = [ref.removeprefix(f"{VIEW}:") for ref in asked["features"]]
        except (ValueError, LookupError, AttributeError):
            return _json(422, {"detail": "no lookup"})
        if name != KEY or not keys or {type(key) for key in keys} != {int}:
            return _json(500, "All entity rows must have the same columns.")
        if self.most is not None and len(keys) > self.most:
            return _json(413, {"detail": f"more than {self.most} entities"})
        present = ["PRESENT"] * len(keys)
        columns = {name: (keys, ["1970-01-01T00:00:00Z"] * len(keys))}
        for feature in features:
            values = [truth(feature, key) for key in keys]
            columns[f"{VIEW}__{feature}"] = (values, [NOW] * len(keys))
        results = [
            {"values": values, "statuses": present, "event_timestamps": times}
            for values, times in columns.values()
        ]
        return _json(200, {"metadata": {"feature_names": list(columns)}, "results": results})


def _json(status: int, content: object) -> Reply:
    headers = {"content-type": "application/json"}
    return Reply(status=status, headers=headers, body=json.dumps(content).encode())


_ITEM = {
    "type": "featureView",
    "spec": {
        "name": VIEW,
        "entities": ["driver"],
        "features": [{"name": name, "valueType": kind} for name, kind in TYPES.items()],
        "online": True,
        "entityColumns": [{"name": KEY, "valueType": "INT64"}],
        "batchSource": {"name": "source", "timestampField": "event_timestamp"},
    },
}


if __name__ == "__main__":
    with Upstream() as upstream:
        print(upstream.url, flush=True)  # noqa: T201 - whoever started it reads it
        sys.stdin.read()
