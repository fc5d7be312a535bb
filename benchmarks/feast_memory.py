"""A million rows from Feast hold at most their output + 300 MB at the peak.

The feature server is one that answers at once, in a process of its own; the client runs in a fresh
process, which counts from its first line to its last, libraries included.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import PIPE, Popen

import polars as pl

import featkit
from benchmarks._measuring import ROOT, Claim, in_a_fresh_process
from benchmarks.memory import megabytes, resident

ROWS = 1_000_000
LIMIT = 300.0  # megabytes beyond the output
FEATURES = {
    **{f"f{n}": ("DOUBLE", "0.25") for n in range(5)},
    **{f"f{n}": ("INT64", "123456") for n in range(5, 8)},
    "f8": ("STRING", '"a word or two"'),
    "f9": ("BOOL", "true"),
}


class Handler(BaseHTTPRequestHandler):
    """Feast's registry and feature server, of one view whose values are all the same."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Describe the view."""
        features = [{"name": name, "valueType": kind} for name, (kind, _) in FEATURES.items()]
        spec = {
            "name": "v",
            "entities": ["driver"],
            "entityColumns": [{"name": "driver_id", "valueType": "INT64"}],
            "features": features,
            "online": True,
            "batchSource": {"name": "s", "timestampField": "t"},
        }
        self.reply(json.dumps({"featureViews": [{"type": "featureView", "spec": spec}]}).encode())

    def do_POST(self) -> None:
        """Answer a lookup."""
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        keys = asked.partition(b'"driver_id":')[2].partition(b"]")[0] + b"]"
        rows = keys.count(b",") + 1
        names = json.dumps(["driver_id", *(f"v__{name}" for name in FEATURES)]).encode()
        none = repeated('"1970-01-01T00:00:00Z"', rows)
        stamps = repeated('"2026-11-22T21:00:00.123456Z"', rows)
        values = [keys, *(repeated(value, rows) for _, value in FEATURES.values())]
        present = repeated('"PRESENT"', rows)
        results = b",".join(
            b'{"values":%b,"statuses":%b,"event_timestamps":%b}'
            % (column, present, stamps if place else none)
            for place, column in enumerate(values)
        )
        self.reply(b'{"metadata":{"feature_names":%b},"results":[%b]}' % (names, results))

    def reply(self, body: bytes) -> None:
        """Send an answer."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self.wfile.write(head.encode() + b"\r\n\r\n" + body)  # one write: no wait for Nagle

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def repeated(text: str, rows: int) -> bytes:
    return b"[" + b",".join([text.encode()] * rows) + b"]"


def serve() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def one(url: str, cache: str) -> dict[str, float]:
    """Look a million drivers up and report; what runs in the fresh process."""
    kept = None if cache == "none" else cache
    with featkit.connect(f"feast+{url}", registry_url=url, project="p", cache=kept) as store:
        keys = pl.Series("driver_id", range(ROWS))
        found = store.lookup(keys, "v:*")
        assert len(found) == ROWS
        assert found.values["f5"].sum() == 123456 * ROWS
    return {"peak": resident("VmHWM"), "output": megabytes(found.values)}


def measure() -> list[Claim]:
    command = [sys.executable, "-m", "benchmarks.feast_memory", "serve"]
    with Popen(command, stdout=PIPE, text=True, cwd=ROOT) as server:  # noqa: S603 - ours
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            measured = {
                cache: in_a_fresh_process("-m", "benchmarks.feast_memory", "one", url, cache)
                for cache in ("none", "memory")
            }
        finally:
            server.terminate()
    return [
        Claim(
            text=f"Feast, {ROWS:,} rows x 10, cache {cache}: peak memory beyond the output",
            measured=found["peak"] - found["output"],
            limit=LIMIT if cache == "none" else None,
            unit="MB",
            note=f"peak {found['peak']:,.0f} MB, values {found['output']:,.0f} MB",
        )
        for cache, found in measured.items()
    ]


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "serve":
        serve()
    else:
        print(json.dumps(one(*rest)))
