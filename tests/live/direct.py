"""Online stores that Feast fills, and how what its SDK says and what featkit says are compared."""

import asyncio
import dataclasses
import json
import math
import os
import shutil
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import featkit
from featkit import Status

HERE = Path(__file__).parent

DRIVERS = [1001, 1002, 1003, 1004, 1006, 1007, 1009, 9999]
KEYS = {
    "driver_id": DRIVERS,
    "customer_id": ["C1", "C2", "C3", "x", "", "Zoë ☃", "C1", "C1"],
    "merch_key": ["m-1", "m-2", "m-3", "m-4", "m-9", "", "M-1", "m-1 "],
}
VIEWS = [
    "driver_hourly_stats",
    "affinity",
    "merchant_profile",
    "driver_stream",
    "all_types",
    "all_sets",
    "exotic",
    "more_exotic",
    "documents",
    "proto_only",
    "bench_a",
    "global_stats",
]


def plain(value):
    """Write a value so that what Feast's SDK and featkit hold for the same thing is equal."""
    match value:
        case float() if math.isnan(value):
            return "NaN"
        case datetime():
            return int(value.timestamp())
        case set() | frozenset():
            return sorted(map(plain, value), key=str)
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case bool() | int() | float() | bytes() | None:
            return value
        case _:
            return str(value)  # UUID, Decimal


def said(values, kind):
    """Return the values of a featkit column as Feast's SDK has them."""
    got = values.to_list()
    if kind in {"MAP", "MAP_LIST", "SCALAR_MAP", "JSON"}:
        return [text and plain(json.loads(text)) for text in got]
    if kind == "JSON_LIST":
        return [texts and list(map(json.loads, texts)) for texts in got]
    if kind.endswith("_SET"):
        return [value and sorted(map(plain, value), key=str) for value in got]
    return list(map(plain, got))


def moments(column):
    return [moment and moment.astimezone(UTC) for moment in column.event_timestamps]


def agrees(client, feast, name, keys=KEYS):
    """Compare what featkit reads of a view with what Feast's own SDK says, value by value."""
    view = client.get_feature_metadata(name)
    keys = {key: keys[key] for key in view.join_keys}
    frame = pl.DataFrame(keys) if keys else pl.DataFrame({"x": [1]})
    found = client.lookup(frame, [f"{name}:*"])
    refs = [f"{name}:{feature}" for feature in view.feature_names]
    oracle = feast.oracle({"features": refs, "entities": keys or {"__dummy_id": [""]}})
    for feature in view.features:
        column = oracle[feature.name]
        got = said(found.values[feature.name], feature.store_type)
        assert got == [plain(value) for value in column.values], feature.name
        assert found.timestamps[feature.name].to_list() == moments(column), feature.name


class ReadsLikeFeast:
    """What holds of every online store that Feast fills.

    The module has the fixtures `direct`, Feast over the store, `open_store`, which connects
    featkit to it, and `store`, a client.
    """

    STRANGERS = 3000  # keys that the store does not know, beside those that it does

    @pytest.mark.parametrize("name", VIEWS)
    def test_every_value_is_what_feasts_own_sdk_says(self, direct, store, name):
        agrees(store, direct, name)

    def test_statuses_tell_what_is_expired_null_and_missing(self, store):
        keys = [1001, 1002, 1003, 1004, 1006, 1007, 1008, 9999, None]
        found = store.lookup({"driver_id": keys}, ["driver_hourly_stats:conv_rate"])
        assert found.statuses["conv_rate"].to_list() == [
            Status.PRESENT,
            Status.NULL,
            Status.NULL,
            Status.EXPIRED,
            Status.PRESENT,
            Status.EXPIRED,
            Status.FUTURE,
            Status.NOT_FOUND,
            None,
        ]

    def test_many_keys_come_back_in_order(self, store):
        keys = [*range(1, 1001), *range(2000, 2000 + self.STRANGERS), *range(1000, 0, -1)]
        found = store.lookup(keys, ["bench_a:f5", "bench_a:f8"])
        again = store.lookup(keys[:1000], ["bench_a:f5", "bench_a:f8"])
        first = found.values.head(1000)
        assert first.equals(again.values)
        assert first["f5"].null_count() == 0
        assert found.values.tail(1000).reverse().equals(first)
        assert found.values["f5"].null_count() == self.STRANGERS

    def test_async_reads_the_same(self, open_store, store):
        async def read():
            async with open_store(featkit.connect_async) as client:
                calls = [client.lookup(DRIVERS, ["driver_hourly_stats:*"]) for _ in range(10)]
                return await asyncio.gather(*calls)

        right = store.lookup(DRIVERS, ["driver_hourly_stats:*"]).to_polars(timestamps=True)
        for found in asyncio.run(read()):
            assert found.to_polars(timestamps=True).equals(right)

    def test_both_ways_are_compared(self, direct, open_store):
        with open_store(verify=True, server_url=direct.server_url) as client:
            found = client.lookup([1001, 9999], ["driver_hourly_stats:*", "all_types:*"])
        assert found.values["avg_daily_trips"].to_list() == [5555, None]


@contextmanager
def filled(feast, folder, online_store, *options, variables=None, **configuration):
    """Have Feast materialise into another online store; give a `feast` whose oracle reads that."""
    repo = folder / "repo"
    shutil.copytree(feast.folder, repo, ignore=shutil.ignore_patterns("logs"))
    said = json.dumps({"online_store": online_store, **configuration})
    command = [feast.python, HERE / "feast" / "direct.py", repo, said, *options]
    with (
        (folder / "direct.log").open("w") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **(variables or {})},
        ) as process,
    ):
        port = process.stdout.readline().strip()
        assert port, (folder / "direct.log").read_text()
        yield dataclasses.replace(feast, oracle_url=f"http://127.0.0.1:{port}", folder=repo)
        process.stdin.close()
