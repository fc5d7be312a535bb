"""Feast's values read from Redis itself: against Feast's server, its client, and a bare socket.

The bare socket sends the same commands, written beforehand, ten thousand at a time over one
connection, and throws the replies away.
"""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl
import redis

import featkit
from benchmarks._measuring import ROOT, Claim, side_by_side
from benchmarks.feast import CHUNKINGS, FEATURES, by_feast, floor, servers
from featkit.schema import Entity
from featkit.stores.feast.entity_keys import encode, field_names, time_field
from featkit.transports.resp import Replies, commands
from tests.programs.running import redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILL = ROOT / "tests" / "live" / "feast" / "direct.py"
NOW = "2026-11-22T22:00:00Z"
COUNT = 100_000
CHUNK = 10_000
KEYS = list(range(1, COUNT + 1))
FIXED = [f"f{number}" for number in range(5)]  # doubles, whose rows are all of one length
MIXED = [f"f{number}" for number in range(10)]  # doubles, integers, a string, a boolean


@contextmanager
def filled(at: dict[str, str]) -> Iterator[str]:
    """Have Feast materialise its 100,000 entities into a Redis; give its URL."""
    with TemporaryDirectory() as name, redis_server(Path(name)) as url:
        place = {"type": "redis", "connection_string": url.split("/")[2]}
        online = json.dumps({"online_store": place})
        command = [at["python"], str(FILL), at["folder"], online]
        with subprocess.Popen(  # noqa: S603 - ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline()
            process.stdin.close()
            process.wait()
        assert redis.Redis.from_url(url).dbsize() > COUNT
        yield url


def bare(url: str, features: list[str]) -> Callable[[], object]:
    """Send the commands and drop the replies, whose sizes were found out before."""
    host, _, port = url.split("/")[2].partition(":")
    driver = Entity("driver", "driver_id", pl.Int64(), store_type="INT64")
    fields = [time_field("bench_a"), *field_names("bench_a", features)]
    connection = socket.create_connection((host, int(port)))
    written = [
        commands(encode(pl.DataFrame({"driver_id": part}), [driver], suffix=b"rides"), fields)
        for part in (KEYS[start : start + CHUNK] for start in range(0, COUNT, CHUNK))
    ]
    sizes = []
    for each in written:
        connection.sendall(each)
        replies = Replies(CHUNK, len(fields))
        while replies.read(quiet=True) is None:
            replies.received(connection.recv_into(replies.room()))
        sizes.append(replies.size)
    dropped = memoryview(bytearray(1 << 20))

    def run() -> None:
        for each, size in zip(written, sizes, strict=True):
            connection.sendall(each)
            left = size
            while left:
                left -= connection.recv_into(dropped)

    return run


def against_a_socket(url: str, store: featkit.FeatureStoreClient) -> list[Claim]:
    column = pl.Series(KEYS)
    claims = []
    for what, names, limit in (("5 doubles", FIXED, 1.5), ("10 mixed features", MIXED, None)):
        refs = [f"bench_a:{name}" for name in names]
        times = side_by_side(
            {
                "bare": bare(url, names),
                "featkit": lambda refs=refs: store.lookup(column, refs),  # type: ignore[misc]
            },
            rounds=7,
        )
        ours = times["featkit"]
        claims.append(
            Claim(
                text=f"Redis, 100,000 keys x {what}: wall to a bare socket that drops the replies",
                measured=ours.over(times["bare"]),
                limit=limit,
                note=ours.beside(times["bare"]),
            )
        )
        if limit is None:
            claims.append(
                Claim(
                    text=f"Redis, 100,000 keys x {what}: client CPU",
                    measured=median(ours.cpu) / 1000,
                    limit=1.0,
                    unit="s",
                    note=f"wall {median(ours.wall):,.0f} ms",
                )
            )
    return claims


def against_feast(at: dict[str, str], store: featkit.FeatureStoreClient) -> list[Claim]:
    column = pl.Series(KEYS)
    probes = {
        f"{chunk} keys, {calls} at once": floor(at["server_url"], KEYS[:10_000], chunk, calls)
        for chunk, calls in CHUNKINGS
    }
    probed = side_by_side(probes, rounds=1, warm_up=0)
    best = min(probed, key=lambda name: probed[name].wall[0])
    chunk, calls = CHUNKINGS[list(probes).index(best)]
    times = side_by_side(
        {"server": floor(at["server_url"], KEYS, chunk, calls)}, rounds=1, warm_up=0
    )
    ours = side_by_side({"featkit": lambda: store.lookup(column, FEATURES)}, rounds=3)["featkit"]
    client = by_feast(at, COUNT, 1, 1)
    what = "Redis, 100,000 keys x 10 mixed features: wall to"
    return [
        Claim(
            text=f"{what} Feast's HTTP server ({best}), bodies dropped",
            measured=ours.over(times["server"]),
            limit=1 / 10,
            note=f"{median(ours.wall):,.0f} ms to {times['server'].wall[0]:,.0f} ms",
        ),
        Claim(
            text=f"{what} Feast's remote client",
            measured=ours.over(client),
            limit=1 / 20,
            note=f"{median(ours.wall):,.0f} ms to {client.wall[0]:,.0f} ms",
        ),
    ]


def measure() -> list[Claim]:
    with ExitStack() as stack:
        at = stack.enter_context(servers())
        url = stack.enter_context(filled(at))
        store = stack.enter_context(
            featkit.connect(
                f"feast+{url}",
                registry_url=at["registry_url"],
                project="rides",
                now=NOW,
                cache=None,  # Redis itself is measured
            )
        )
        return [*against_a_socket(url, store), *against_feast(at, store)]
