"""Each store over its fake: little slower than its network, little dearer than the Feast route.

The ideal is what the calls must wait, eight at once and 5 ms each, and after that the time that it
takes to decode all replies, one after the other. What they do wait is more, since the fakes run on
the same cores and take time to send their replies: so the same requests are sent by bare sockets as
well, of which the time to decode is added in the same way.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, Any

import polars as pl

import featkit
from benchmarks._bare import AT_ONCE, Bare, noting
from benchmarks._measuring import ROOT, Claim, side_by_side
from benchmarks._serving import FEATURES, LATENCY, ROWS
from featkit.clients.operations import EnrichOptions
from featkit.online.gathering import gathered
from featkit.stores.base import OnlineRead, open_store
from tests.fakes import sagemaker, tecton

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from featkit.calls import Call, Flow, HttpReply
    from featkit.columns import FeatureColumns
    from featkit.stores.base import Store

NOW = "2024-05-01T12:00:00Z"
KEYS = pl.Series("user_id", range(ROWS))
MANY = 1000  # calls, with which three rounds are enough


@dataclass(frozen=True)
class Route:
    """One store, one way to ask it."""

    name: str
    server: str
    view: str
    open: Callable[..., Store]
    beside: str = ""  # another server that it needs


def _feast(url: str) -> Store:
    return open_store(f"feast+{url}", {"registry_url": url, "project": "p"})


def _tecton(url: str, batch_size: int) -> Store:
    known = {"workspace": tecton.WORKSPACE, "api_key": tecton.KEY, "feature_services": ["numbers"]}
    return open_store(f"tecton+{url}", known | {"batch_size": batch_size})


def _sagemaker(url: str) -> Store:
    known = {"endpoint_url": url, "control_url": url, "access_key_id": sagemaker.KEY_ID}
    secret = {"secret_access_key": sagemaker.SECRET}
    return open_store(f"sagemaker:{sagemaker.REGION}", known | secret)


def _databricks(url: str) -> Store:
    known = {"catalog": "main", "schema": "f", "token": "t", "endpoint": "fs_ep"}
    return open_store(f"databricks+{url}", known)


def _vertex(url: str, **options: object) -> Store:
    known = {"api_endpoint": url, "bigquery_endpoint": url, "token": "t"}
    views = {"views": {"numbers": {"timestamp": "at"}}}
    return open_store("vertex:p/us-central1/fos", known | views | options)


def _streams(url: str, beside: str) -> Store:
    return _vertex(url, grpc=True, grpc_endpoint=beside)


ROUTES = [
    Route("Feast, 4,000 keys a call", "feast", "numbers", _feast),
    Route("Tecton, 5 keys a call", "tecton", "user", lambda url: _tecton(url, 5)),
    Route("Tecton, 100 keys a call", "tecton", "user", lambda url: _tecton(url, 100)),
    Route("SageMaker, 100 keys a call", "sagemaker", "numbers", _sagemaker),
    Route("Databricks, 2,000 keys a call", "databricks", "numbers", _databricks),
    Route("Vertex AI, a key a call", "vertex", "numbers", _vertex),
    Route("Vertex AI, streams of 500 keys", "vertex", "numbers", _streams, "stream"),
]


@contextmanager
def served(name: str) -> Iterator[str]:
    """Run a fake in a process of its own, and give its URL."""
    command = [sys.executable, "-m", "benchmarks._serving", name]
    with subprocess.Popen(  # noqa: S603 - ours
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def asked(client: featkit.FeatureStoreClient, route: Route) -> list[list[Any]]:
    """Note what a lookup asks: first what there is, then for the values."""
    checked(client, route)  # what is asked once only is not noted
    rounds: list[list[Any]] = []
    wanted = [f"{route.view}:{name}" for name in FEATURES]
    client.run(noting(client.operations.lookup(KEYS, wanted, EnrichOptions()), rounds))
    return rounds


def checked(client: featkit.FeatureStoreClient, route: Route) -> FeatureColumns:
    found = client.lookup(KEYS, [f"{route.view}:{name}" for name in FEATURES])
    assert found.values["f8"].sum() == float(KEYS.sum() + ROWS)
    return found


def decoding(client: featkit.FeatureStoreClient, route: Route, rounds: int) -> float:
    """Tell how many milliseconds it takes to decode all replies, one after the other."""
    store = client.operations.store
    view = client.get_feature_metadata(route.view)
    now = client.run(client.operations.now())
    chunks = KEYS.to_frame().iter_slices(store.batch_size(view) or ROWS)
    reads = [OnlineRead(view, view.features, keys, now) for keys in chunks]
    replies = client.run(_replies(store.read_together(reads)))
    times = []
    for _ in range(rounds):
        calls = store.read_together(reads)
        started = time.perf_counter()
        answers = [call.decode(reply) for call, reply in zip(calls, replies, strict=True)]
        gathered(list(zip(reads, answers, strict=True)))
        times.append((time.perf_counter() - started) * 1e3)
    return median(times)


def _replies(calls: Sequence[Call[Any]]) -> Flow[list[HttpReply]]:
    replies: list[HttpReply] = yield [replace(call, decode=_as_it_is) for call in calls]
    return replies


def _as_it_is(reply: HttpReply) -> HttpReply:
    return reply


def claims_of(
    route: Route, client: featkit.FeatureStoreClient, feast: Callable[[], object]
) -> list[Claim]:
    rounds = asked(client, route)
    calls = max(map(len, rounds))
    with Bare(rounds) as sockets:
        functions = {"lookup": partial(checked, client, route), "bare": sockets.send}
        times = side_by_side(
            functions | {"feast": feast}, rounds=3 if calls > MANY else 9, warm_up=1
        )
    decode = decoding(client, route, 3)
    ideal = ceil(calls / AT_ONCE) * LATENCY * 1e3 + decode
    what = f"{route.name}, 10,000 keys x 10 features, {calls:,} calls of 5 ms"
    wall, bare = median(times["lookup"].wall), median(times["bare"].wall)
    cpu, feast_cpu = median(times["lookup"].cpu), median(times["feast"].cpu)
    return [
        Claim(
            text=f"{what}: wall to the ideal",
            measured=wall / ideal,
            limit=1.3,
            note=f"{wall:,.0f} ms to {ideal:,.0f} ms, of which {decode:,.0f} decode",
        ),
        Claim(
            text=f"{what}: wall to bare sockets and decoding",
            measured=wall / (bare + decode),
            note=f"{wall:,.0f} ms to {bare + decode:,.0f} ms, of which {bare:,.0f} sockets",
        ),
        Claim(
            text=f"{what}: client CPU to the Feast route",
            measured=cpu / feast_cpu,
            limit=3.0,
            note=f"{cpu:,.0f} ms to {feast_cpu:,.0f} ms",
        ),
    ]


def measure() -> list[Claim]:
    with ExitStack() as stack:
        servers = {name for r in ROUTES for name in (r.server, r.beside) if name}
        urls = {name: stack.enter_context(served(name)) for name in servers}
        clients = {
            route.name: stack.enter_context(
                featkit.connect(
                    route.open(*(urls[name] for name in (route.server, route.beside) if name)),
                    now=NOW,
                    cache=None,
                )
            )
            for route in ROUTES
        }
        feast = partial(checked, clients[ROUTES[0].name], ROUTES[0])
        return [claim for route in ROUTES for claim in claims_of(route, clients[route.name], feast)]
