"""Online stores that Feast fills, and how what its SDK says and what featkit says are compared."""

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

HERE = Path(__file__).parent

KEYS = {
    "driver_id": [1001, 1002, 1003, 1004, 1006, 1007, 1009, 9999],
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
