"""The cache on disk, killed at random moments and used by many processes at once.

``python -m tests.torture.cache`` runs it in full and prints what was found; the tests run a short
version. Whatever a lookup had returned before the kill must be in the file after it.
"""

# ruff: noqa: T201 - what it prints is read by the process that began it, or by a person

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import featkit
from featkit.calls import Call, LocalRead
from featkit.capabilities import Capabilities
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.errors import NotCachedError
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FEATURES = ("a", "b", "c")
VIEW = FeatureView(
    name="v",
    entities=(Entity("id", "id", pl.Int64()),),
    features=tuple(Feature(name, pl.String()) for name in FEATURES),
)
KEYS = 2000
AT_ONCE = 5  # keys of a lookup before a kill


class Truth(Store):
    """A remote store of which every process knows what it answers."""

    scheme = "truth"
    capabilities = Capabilities()
    cache_identity = "truth"

    @classmethod
    def open(cls, target: Any, options: Any, *, timezone: str | None) -> Store:
        raise NotImplementedError

    def list_feature_views(self) -> Any:
        return [VIEW]
        yield

    def read_online(self, read: Any) -> Call[Any]:
        run = LocalRead(lambda: told(read), "the truth")
        return Call(run, keys=read.keys.height)


def told(read: Any) -> FeatureColumns:
    names = [feature.name for feature in read.features]
    keys = read.keys["id"].cast(pl.String)
    present = pl.repeat(Status.PRESENT, len(keys), dtype=STATUS, eager=True)
    values = pl.DataFrame(
        [pl.select(pl.lit(name) + keys).to_series().alias(name) for name in names]
    )
    return FeatureColumns(values, dict.fromkeys(names, present))


def opened(path: str) -> featkit.FeatureStoreClient:
    options = featkit.CacheOptions(target=Path(path), ttl="1d", most_stored=2**40)
    return featkit.connect(Truth(), cache=options)


# -- killed --------------------------------------------------------------------------------------


def write_until_killed(path: str, first: str) -> None:
    """Look keys up, and say of each lookup that it has returned."""
    client, key = opened(path), int(first)
    while True:
        keys = list(range(key, key + AT_ONCE))
        client.lookup(keys, ["v:a", "v:b"])
        print(key, flush=True)
        key += AT_ONCE


def kills(count: int, path: Path, *, seed: int = 1) -> dict[str, int]:
    """Kill a writer so often; count what was acknowledged, what is lost, and what is wrong."""
    chance = random.Random(seed)
    acknowledged: list[int] = []
    found = {"kills": count, "acknowledged": 0, "lost": 0, "wrong": 0, "warnings": 0}
    checker = opened(str(path))
    for turn in range(count):
        command = [sys.executable, "-m", "tests.torture.cache", "write_until_killed", str(path)]
        command.append(str(turn * 100_000))
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            time.sleep(chance.uniform(0, 0.12))
            child.send_signal(signal.SIGKILL)
            lines = (first + child.stdout.read()).split("\n")[:-1]
        keys = [int(line) + more for line in lines for more in range(AT_ONCE)]
        acknowledged += keys
        everything = turn % 50 == 49 or turn == count - 1
        if everything:
            checker.close()
            checker = opened(str(path))  # as a process that knows nothing yet
        for name, number in missing(checker, acknowledged if everything else keys).items():
            found[name] += number
    found["acknowledged"] = len(acknowledged)
    checker.close()
    return found


def missing(client: featkit.FeatureStoreClient, keys: list[int]) -> dict[str, int]:
    if not keys:
        return {}
    with warnings.catch_warnings(record=True) as told_of:
        warnings.simplefilter("always")
        try:
            columns = client.lookup(keys, ["v:a", "v:b"], only_cached=True)
        except NotCachedError as error:
            columns = error.partial
    frame = columns.values.with_columns(pl.Series("id", keys).cast(pl.String))
    lost = frame.select((pl.col("a").is_null() | pl.col("b").is_null()).sum()).item()
    wrong = frame.select(
        ((pl.col("a") != "a" + pl.col("id")) | (pl.col("b") != "b" + pl.col("id"))).sum()
    ).item()
    return {"lost": lost, "wrong": wrong, "warnings": len(told_of)}


# -- a crowd -------------------------------------------------------------------------------------


def one_of_a_crowd(path: str, operations: str, seed: str) -> None:
    """Do all kinds of things at random, and print how many went wrong."""
    chance = random.Random(int(seed))
    found = {"operations": int(operations), "wrong": 0, "errors": 0}
    client = opened(path)
    warnings.simplefilter("error")
    for _ in range(int(operations)):
        try:
            kind = chance.random()
            if kind < 0.9:
                keys = chance.choices(range(KEYS), k=chance.randint(1, 60))
                names = chance.sample(FEATURES, chance.randint(1, 3))
                found["wrong"] += looked_up(client, keys, names, refresh=kind < 0.05)
            elif kind < 0.95:
                client.cache.clear("v", entities=chance.sample(range(KEYS), 5))
            elif kind < 0.97:
                client.cache.clear(older_than=chance.choice([0.05, 1]))
            elif kind < 0.975:
                client.cache.clear()
            else:
                client.close()
                client = opened(path)
        except Exception as error:  # noqa: BLE001 - it is counted
            found["errors"] += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
    print(json.dumps(found))


def looked_up(
    client: featkit.FeatureStoreClient, keys: list[int], names: list[str], *, refresh: bool
) -> int:
    columns = client.lookup(keys, [f"v:{name}" for name in names], refresh=refresh)
    expected = pl.DataFrame({name: [f"{name}{key}" for key in keys] for name in names})
    return int(not columns.values.equals(expected))


def crowd(processes: int, operations: int, path: Path) -> dict[str, int]:
    """Let processes use one file at once; count what they did, and what went wrong."""
    command = [sys.executable, "-m", "tests.torture.cache", "one_of_a_crowd", str(path)]
    children = [
        subprocess.Popen(
            [*command, str(operations), str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    found = {"processes": processes, "operations": 0, "wrong": 0, "errors": 0}
    for output, complaints in [child.communicate() for child in children]:
        sys.stderr.write(complaints)
        for name, number in json.loads(output).items():
            found[name] += number
    return found


def report() -> Iterator[str]:
    for what, run in (
        ("killed 1,000 times", lambda path: kills(1000, path)),
        ("8 processes, 5,000 operations each", lambda path: crowd(8, 5000, path)),
    ):
        with tempfile.TemporaryDirectory(prefix="featkit-torture-") as folder:
            started = time.monotonic()
            found = run(Path(folder) / "cache.sqlite")
            yield f"{what}: {found}, {time.monotonic() - started:.0f} s"


if __name__ == "__main__":
    if sys.argv[1:]:
        {"write_until_killed": write_until_killed, "one_of_a_crowd": one_of_a_crowd}[sys.argv[1]](
            *sys.argv[2:]
        )
    else:
        for line in report():
            print(line, flush=True)
