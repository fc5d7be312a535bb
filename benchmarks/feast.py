"""Against a real Feast: as fast as its server can answer, and far faster than its own client.

The floor is bare httpx that posts the same distinct keys, in the chunking and at the concurrency
that turn out best, and throws the bodies away.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl

import featkit
from benchmarks._measuring import ROOT, Claim, Times, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVE = ROOT / "tests" / "live" / "feast" / "serve.py"
FEATURES = [f"bench_a:f{number}" for number in range(10)]
CHUNKINGS = [(1000, 1), (1000, 2), (2000, 2), (5000, 1), (5000, 2)]  # keys a call, calls at once
SIZES = {10_000: 5, 100_000: 1}  # distinct keys, rounds
SDK = """
import json, sys, time
from feast import FeatureStore
folder, count, repeat, rounds = sys.argv[1], *map(int, sys.argv[2:])
store = FeatureStore(folder)
keys = [key for key in range(1, count + 1) for _ in range(repeat)]
features = [f"bench_a:f{number}" for number in range(10)]
def once():
    wall, cpu = time.perf_counter(), time.process_time()
    rows = [{"driver_id": key} for key in keys]
    store.get_online_features(features=features, entity_rows=rows).to_df()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3
store.get_online_features(features=features, entity_rows=[{"driver_id": 1}]).to_df()
wall, cpu = zip(*(once() for _ in range(rounds)))
print(json.dumps({"wall": wall, "cpu": cpu}))
"""


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Start Feast with 100,000 entities, and stop it in the end."""
    command = [sys.executable, str(SERVE), "--bench"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def floor(url: str, keys: list[int], chunk: int, calls: int) -> Callable[[], object]:
    bodies = [
        json.dumps({"features": FEATURES, "entities": {"driver_id": keys[start : start + chunk]}})
        for start in range(0, len(keys), chunk)
    ]
    client = httpx.Client(timeout=None)  # noqa: S113 - it is bounded by the run

    def post(body: str) -> None:
        json_body = {"Content-Type": "application/json"}
        reply = client.post(f"{url}/get-online-features", content=body, headers=json_body)
        reply.raise_for_status()

    def run() -> None:
        with ThreadPoolExecutor(calls) as pool:
            list(pool.map(post, bodies))

    return run


def by_feast(at: dict[str, str], count: int, repeat: int, rounds: int) -> Times:
    """Time Feast's remote client, in Feast's own environment."""
    folder = Path(at["folder"]) / "remote"
    folder.mkdir(exist_ok=True)
    (folder / "feature_store.yaml").write_text(
        "project: rides\nprovider: local\nentity_key_serialization_version: 3\n"
        f"registry: {Path(at['folder']) / 'data' / 'registry.db'}\n"
        f"online_store:\n  type: remote\n  path: {at['server_url']}\n"
    )
    words = [at["python"], "-c", SDK, str(folder), str(count), str(repeat), str(rounds)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    return Times(**json.loads(done.stdout.splitlines()[-1]))


def distinct(at: dict[str, str], store: featkit.FeatureStoreClient, count: int) -> list[Claim]:
    keys = list(range(1, count + 1))
    column = pl.Series(keys)
    rounds = SIZES[count]
    bare = {
        f"{chunk} keys, {calls} at once": floor(at["server_url"], keys[:10_000], chunk, calls)
        for chunk, calls in CHUNKINGS
    }
    probed = side_by_side(bare, rounds=1, warm_up=0)
    best = min(probed, key=lambda name: probed[name].wall[0])
    chunk, calls = CHUNKINGS[list(bare).index(best)]
    times = side_by_side(
        {
            "floor": floor(at["server_url"], keys, chunk, calls),
            "featkit": lambda: store.lookup(column, FEATURES),
        },
        rounds=rounds,
        warm_up=0,
    )
    feast = by_feast(at, count, 1, rounds)
    ours = times["featkit"]
    what = f"Feast, {count:,} distinct keys x 10 features"
    return [
        Claim(
            text=f"{what}: wall to the floor ({best})",
            measured=ours.over(times["floor"]),
            limit=1.10,
            note=ours.beside(times["floor"]),
        ),
        Claim(
            text=f"{what}: client CPU to that of Feast's remote client",
            measured=median(ours.cpu) / median(feast.cpu),
            limit=0.03,
            note=f"{median(ours.cpu):,.0f} ms to {median(feast.cpu):,.0f} ms",
        ),
        Claim(
            text=f"{what}: wall to Feast's remote client",
            measured=ours.over(feast),
            limit=1 / 1.9,
            note=f"{median(ours.wall):,.0f} ms to {median(feast.wall):,.0f} ms",
        ),
    ]


def repeated(at: dict[str, str], store: featkit.FeatureStoreClient) -> Claim:
    """Each key ten times in the frame."""
    frame = pl.DataFrame({"driver_id": [key for key in range(1, 1001) for _ in range(10)]})
    ours = []
    for _ in range(4):  # the first, which also imports and connects, does not count
        started = time.perf_counter()
        featkit.features(frame).enrich(FEATURES, store=store)
        ours.append((time.perf_counter() - started) * 1e3)
    feast = median(by_feast(at, 1000, 10, 3).wall)
    return Claim(
        text="Feast, 10,000 rows of 1,000 keys x 10 features: wall to Feast's remote client",
        measured=median(ours[1:]) / feast,
        limit=0.1,
        note=f"{median(ours[1:]):,.0f} ms to {feast:,.0f} ms",
    )


def measure(sizes: Any = None) -> list[Claim]:  # noqa: ANN401 - the keys of SIZES
    with servers() as at:
        options = {"registry_url": at["registry_url"], "project": "rides"}
        now = "2026-11-22T22:00:00Z"
        with featkit.connect(f"feast+{at['server_url']}", now=now, cache=None, **options) as store:
            claims = [repeated(at, store)]
            for count in sizes or SIZES:
                claims += distinct(at, store, count)
    return claims
