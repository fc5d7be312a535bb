"""The cache against a dict of tuples and a bare join: what it costs, and what room it takes."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

import featkit
from benchmarks._flights import WORKLOADS, flights, references
from benchmarks._measuring import Claim, Times, in_a_fresh_process, side_by_side
from featkit.cache.entities import EntityCache
from featkit.cache.sqlite import SqliteContainer
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.dtypes import TIMESTAMP
from featkit.online.caching import CachePolicy, Wishes
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.base import OnlineRead

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from featkit.cache.containers import Container

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
MANY, SOME, UPSERT = 1_000_000, 100_000, 10_000
BATCH = 100_000  # keys that came together
POLICY = CachePolicy(ttl="1h")
ROUNDS = 11
SELF = "benchmarks.cache"


def values(count: int, seed: int = 0) -> pl.DataFrame:
    """Make ten features of mixed types, as rows of a store have them."""
    chance = np.random.default_rng(seed)
    words = pl.Series([f"segment {n}" for n in range(50)])
    return pl.DataFrame(
        {
            "visits": chance.poisson(20, count),
            "orders": chance.poisson(3, count).astype(np.int32),
            "account": chance.integers(0, 10**9, count),
            "spend": chance.gamma(2, 50, count).round(2),
            "score": chance.random(count),
            "rate": chance.random(count).astype(np.float32),
            "active": chance.random(count) < 0.7,
            "segment": words.gather(chance.integers(0, 50, count)),
            "name": pl.select(
                "customer " + pl.lit(pl.Series(chance.integers(0, 10**6, count))).cast(pl.String)
            ).to_series(),
            "seen": moments(chance.integers(0, 10**7, count)),
        }
    )


def moments(ages: npt.NDArray[Any]) -> pl.Series:
    """Make times so many seconds ago."""
    seconds = pl.Series(int(NOW.timestamp()) - ages)
    return pl.from_epoch(seconds, "s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def keys(count: int, kind: str = "int64") -> pl.DataFrame:
    numbers = pl.Series("id", np.random.default_rng(1).permutation(count * 7)[:count])
    match kind:
        case "int64":
            return numbers.to_frame()
        case "text":
            return pl.select(id="customer-" + pl.lit(numbers).cast(pl.String))
        case _:
            return pl.select(id=pl.lit(numbers) // 100, other=pl.lit(numbers).cast(pl.String))


def question(asked: pl.DataFrame, frame: pl.DataFrame) -> OnlineRead:
    view = FeatureView(
        name="customers",
        entities=tuple(Entity(name, name, dtype) for name, dtype in asked.schema.items()),
        features=tuple(Feature(name, dtype) for name, dtype in frame.schema.items()),
        timestamp="at",
        ttl=timedelta(days=30),
    )
    return OnlineRead(view, view.features, asked, NOW)


def answer(frame: pl.DataFrame, seed: int = 2) -> FeatureColumns:
    """Make an answer as stores give them: one status and one event timestamp a row."""
    height = frame.height
    stamps = moments(np.random.default_rng(seed).integers(0, 10**6, height))
    present = pl.repeat(Status.PRESENT, height, dtype=STATUS, eager=True)
    return FeatureColumns(
        frame, dict.fromkeys(frame.columns, present), dict.fromkeys(frame.columns, stamps)
    )


def filled(
    count: int, kind: str = "int64", container: Container | None = None
) -> tuple[EntityCache, OnlineRead]:
    """Make a cache as lookups leave it: batch after batch."""
    cache = EntityCache("benchmark", POLICY, container)
    asked, frame = keys(count, kind), values(count)
    for start in range(0, count, BATCH):
        part = frame.slice(start, BATCH)
        cache.keep(question(asked.slice(start, BATCH), part), answer(part))
    return cache, question(asked, frame)


def find(cache: EntityCache, read: OnlineRead) -> FeatureColumns:
    (piece,) = cache.find(read, Wishes()).pieces
    assert not piece.missing
    assert piece.known is not None
    return piece.known


def cpu(times: Times) -> float:
    found: float = median(times.cpu)
    return found


def against_a_dict() -> list[Claim]:
    """Hit all keys, in the order in which they came and in another one.

    The plain dict gives values and nothing else. The other one gives what the cache gives: the
    status and the event timestamp of each row, after a look at whether it is still good.
    """
    cache, first = filled(SOME)
    frame, stamps = values(SOME), answer(values(SOME)).timestamps["visits"].to_list()
    good_until = NOW.timestamp() + 3600
    rows = dict(zip(first.keys["id"], frame.rows(), strict=True))
    told = dict(
        zip(
            first.keys["id"],
            zip(frame.rows(), stamps, [good_until] * SOME, strict=True),
            strict=True,
        )
    )
    schema, now = frame.schema, NOW.timestamp()

    def of_values(asked: pl.Series) -> pl.DataFrame:
        return pl.DataFrame([rows[key] for key in asked], schema=schema, orient="row")

    def of_answers(asked: pl.Series) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
        found = [told[key] for key in asked]
        states = ["PRESENT" if until > now else "STALE" for _, _, until in found]
        return (
            pl.DataFrame([row for row, _, _ in found], schema=schema, orient="row"),
            pl.Series([at for _, at, _ in found], dtype=TIMESTAMP),
            pl.Series(states, dtype=STATUS),
        )

    another = np.random.default_rng(9).permutation(SOME)
    orders = {
        "in the order they came": first,
        "in another order": question(first.keys[another], frame),
    }
    claims = []
    for how, read in orders.items():
        asked = read.keys["id"]
        assert find(cache, read).values.equals(of_values(asked))
        times = side_by_side(
            {
                "cache": lambda: find(cache, read),  # noqa: B023
                "values": lambda: of_values(asked),  # noqa: B023
                "answers": lambda: of_answers(asked),  # noqa: B023
            },
            rounds=5,
            warm_up=1,
        )
        claims += [
            Claim(
                text=f"cache, hit all of {SOME:,} keys x 10 {how}: CPU to a dict of {what}",
                measured=cpu(times["cache"]) / cpu(times[kind]),
                limit=1 / 60,
                note=f"{cpu(times['cache']):.2f} ms to {cpu(times[kind]):,.0f} ms of CPU",
            )
            for kind, what in (("values", "tuples"), ("answers", "tuples with times and statuses"))
        ]
    return claims


def of_many() -> list[Claim]:
    cache, everything = filled(MANY)
    chosen = np.random.default_rng(3).permutation(MANY)[:UPSERT]
    frame = values(MANY)
    read = question(everything.keys[chosen], frame)
    one = question(everything.keys[:1], frame)
    held = everything.keys.with_columns(frame)
    fresh = values(UPSERT, seed=5)

    def join() -> pl.DataFrame:
        return read.keys.join(held, on="id", how="left", maintain_order="left")

    assert find(cache, read).values.equals(join().drop("id"))
    times = side_by_side(
        {
            "hit": lambda: find(cache, read),
            "join": join,
            "one": lambda: find(cache, one),
            "upsert": lambda: cache.keep(read, answer(fresh)),
            "after": lambda: find(cache, read),
        },
        rounds=ROUNDS,
    )
    what = f"cache of {MANY:,} rows x 10 features"
    return [
        Claim(
            text=f"{what}, hit {UPSERT:,}: CPU",
            measured=cpu(times["hit"]),
            limit=10,
            unit="ms",
            note=f"right after an upsert {cpu(times['after']):.1f} ms",
        ),
        Claim(
            text=f"{what}, hit {UPSERT:,}: CPU to polars' join",
            measured=cpu(times["hit"]) / cpu(times["join"]),
            limit=0.1,
            note=f"{cpu(times['hit']):.1f} ms to {cpu(times['join']):.1f} ms",
        ),
        Claim(
            text=f"{what}, upsert {UPSERT:,}: CPU",
            measured=cpu(times["upsert"]),
            limit=25,
            unit="ms",
            note=f"in memory; slowest {max(times['upsert'].cpu):.1f} ms",
        ),
        Claim(text=f"{what}, one key: CPU", measured=cpu(times["one"]), limit=3, unit="ms"),
        Claim(
            text=f"{what}: memory",
            measured=sum(view.nbytes for view in cache._views.values()) / 1e6,  # noqa: SLF001
            limit=600,
            unit="MB",
            note="as counted; see the next line for the process",
        ),
    ]


def of_other_keys() -> list[Claim]:
    caches = {kind: filled(SOME, kind) for kind in ("int64", "text", "composite")}
    times = side_by_side(
        {kind: lambda pair=pair: find(*pair) for kind, pair in caches.items()}, rounds=ROUNDS
    )
    return [
        Claim(
            text=f"cache, hit all of {SOME:,}: {kind} keys to int64 keys, CPU",
            measured=cpu(times[kind]) / cpu(times["int64"]),
            limit=3,
            note=f"{cpu(times[kind]):.1f} ms to {cpu(times['int64']):.1f} ms",
        )
        for kind in ("text", "composite")
    ]


@contextmanager
def on_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="featkit-bench-") as folder:
        yield Path(folder) / "cache.sqlite"


def of_disk() -> list[Claim]:
    with on_disk() as path:
        found = in_a_fresh_process("-m", SELF, "fill", str(path))
        opened = [in_a_fresh_process("-m", SELF, "open", str(path)) for _ in range(5)]
        size = path.stat().st_size
        wall = median(each["wall"] for each in opened)
        container = SqliteContainer(path)
        cache = EntityCache("benchmark", POLICY, container)
        read = question(keys(MANY)[:UPSERT], values(UPSERT))
        find(cache, read)
        fresh = values(UPSERT, seed=5)
        times = side_by_side(
            {"upsert": lambda: cache.keep(read, answer(fresh)), "hit": lambda: find(cache, read)},
            rounds=ROUNDS,
        )
        cache.close()
    what = f"cache of {MANY:,} rows x 10 features on disk"
    return [
        Claim(text=f"{what}: bytes a row", measured=size / MANY, limit=100, unit="B"),
        Claim(
            text=f"{what}: memory of the process above that without it",
            measured=max(each["rss"] for each in opened) / 1e6,
            limit=600,
            unit="MB",
            note=f"after filling it {found['rss'] / 1e6:,.0f} MB, its own data among it",
        ),
        Claim(
            text=f"{what}: open it and hit {UPSERT:,}, wall",
            measured=wall,
            limit=0.7,
            unit="s",
            note=(
                f"{median(each['cpu'] for each in opened):.2f} s of CPU, fastest of five "
                f"{min(each['wall'] for each in opened):.2f} s; imports not counted"
            ),
        ),
        Claim(
            text=f"{what}, hit {UPSERT:,}: CPU",
            measured=cpu(times["hit"]),
            limit=10,
            unit="ms",
        ),
        Claim(
            text=f"{what}, upsert {UPSERT:,}: CPU",
            measured=cpu(times["upsert"]),
            limit=25,
            unit="ms",
            note=f"slowest, which puts segments together, {max(times['upsert'].cpu):,.0f} ms",
        ),
    ]


def resident() -> int:
    import psutil  # noqa: PLC0415 - of the tests

    found: int = psutil.Process().memory_info().rss
    return found


def fill(path: str) -> dict[str, float]:
    before = resident()
    filled(MANY, container=SqliteContainer(Path(path)))
    return {"rss": resident() - before}


def open_it(path: str) -> dict[str, float]:
    read = question(keys(MANY)[:UPSERT], values(UPSERT))
    find(filled(1000)[0], question(keys(1000), values(1000)))  # polars' threads have begun
    before, wall, used = resident(), time.perf_counter(), time.process_time()
    cache = EntityCache("benchmark", POLICY, SqliteContainer(Path(path)))
    find(cache, read)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - used,
        "rss": resident() - before,
    }


def of_flights() -> list[Claim]:
    """Enrich the flights twice from a server, and from the embedded store."""
    from tests.fakes.feast import PROJECT, FeastFake, served  # noqa: PLC0415 - of the tests

    claims = []
    with flights() as data:
        views = {name: data.client.get_feature_metadata(name) for name in data_views()}
        fake = FeastFake([(views[name], rows(data.folder, name)) for name in views])
        accessor = featkit.features(data.frame)
        options = {"project": PROJECT, "now": "2014-01-01T00:00:00Z"}
        for wanted in WORKLOADS:
            features = references(wanted)
            with served(fake) as url:
                remote = featkit.connect(f"feast+{url}", registry_url=url, **options)
                first = accessor.enrich(features, store=remote)
                assert first.equals(accessor.enrich(features, store=data.client))
            # the server is gone: a call would fail
            times = side_by_side(
                {
                    "cached": lambda: accessor.enrich(features, store=remote),  # noqa: B023
                    "embedded": lambda: accessor.enrich(features, store=data.client),  # noqa: B023
                },
                rounds=21,
            )
            accessor.enrich(features, store=remote)
            assert remote.last_summary is not None
            text = f"second enrich of {data.frame.height:,} flights, {', '.join(wanted)}"
            claims += [
                Claim(
                    text=f"{text}: calls to the store",
                    measured=remote.last_summary.calls,
                    limit=0,
                    unit="calls",
                ),
                Claim(
                    text=f"{text}: wall to the embedded store",
                    measured=times["cached"].over(times["embedded"]),
                    limit=1.5,
                    note=times["cached"].beside(times["embedded"]),
                ),
            ]
            remote.close()
    return claims


def data_views() -> list[str]:
    return sorted({name for wanted in WORKLOADS for name in wanted})


def rows(folder: Path, view: str) -> pl.DataFrame:
    """Read the newest rows of a view, as they would have been materialised."""
    frame = pl.read_parquet(folder / view / "*.parquet")
    now = datetime(2014, 1, 1, tzinfo=UTC)
    for column in ("event_timestamp", "created_timestamp"):
        if column in frame.columns:
            frame = frame.filter(pl.col(column) <= now)
    return frame


def measure() -> list[Claim]:
    return [*against_a_dict(), *of_many(), *of_other_keys(), *of_disk(), *of_flights()]


if __name__ == "__main__":
    print(json.dumps({"fill": fill, "open": open_it}[sys.argv[1]](sys.argv[2])))
