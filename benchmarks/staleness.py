"""A staleness report of a million entities costs at most 2.5 times one scan of the same columns.

The scan reads keys, event timestamps and the twenty features of the embedded store's file with
polars, and does nothing with them. The report counts, ages and judges all of it, and learns the
rhythm of arrivals. Of a hundred thousand entities that are in the cache it takes half a second at
most.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

import featkit
from benchmarks._measuring import Claim, side_by_side

ENTITIES, FEATURES, ROUNDS = 1_000_000, 20, 15
LIMIT = 2.5
CACHED, CACHE_LIMIT = 100_000, 0.5  # entities, seconds
NOW = datetime(2025, 1, 2, tzinfo=UTC)


def users(random: np.random.Generator) -> pl.DataFrame:
    """Make one row per entity, of the day before; half of the features have nulls."""
    ages = pl.Series(random.integers(0, 86_400_000_000, ENTITIES)).cast(pl.Duration("us"))
    columns = {}
    for number in range(FEATURES):
        if number % 2:
            null = pl.Series(random.random(ENTITIES) < 0.05)
            columns[f"share_{number}"] = pl.Series(random.random(ENTITIES)).set(null, None)
        else:
            columns[f"count_{number}"] = pl.Series(random.integers(0, 1000, ENTITIES))
    frame = pl.DataFrame({"user": random.permutation(3 * ENTITIES)[:ENTITIES], **columns})
    return frame.with_columns(event_timestamp=pl.lit(NOW) - ages)


def of_the_store(folder: Path) -> list[Claim]:
    frame = users(np.random.default_rng(20250102))
    featkit.write_view(
        folder, frame, name="users", join_keys="user", timestamp="event_timestamp", ttl="23h"
    )
    files = list((folder / "users").glob("*.parquet"))
    client = featkit.connect(f"parquet:{folder}", now=NOW)
    report = client.staleness()["users"]
    expected = frame["event_timestamp"] < NOW - timedelta(hours=23)
    assert report.n == ENTITIES
    assert report.features[0].expired == expected.sum()
    times = side_by_side(
        {
            "report": client.staleness,
            "scan": lambda: pl.scan_parquet(files).collect(),
        },
        rounds=ROUNDS,
    )
    return [
        Claim(
            text=f"report on {ENTITIES:,} entities x {FEATURES} features of the embedded store, "
            "to one scan",
            measured=times["report"].over(times["scan"]),
            limit=LIMIT,
            note=times["report"].beside(times["scan"]),
        )
    ]


def of_the_cache(folder: Path) -> Claim:
    """Report again on entities whose values are cached already."""
    frame = users(np.random.default_rng(20250102)).head(CACHED)
    featkit.write_view(
        folder, frame, name="users", join_keys="user", timestamp="event_timestamp", ttl="23h"
    )
    keys = frame.select("user")
    with featkit.connect(f"parquet:{folder}", now=NOW, cache="memory") as client:
        seconds = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            report = client.staleness(["users:*"], keys)["users"]
            seconds.append(time.perf_counter() - started)
            assert report.n == CACHED
        assert client.cache.stats().hits == (ROUNDS - 1) * CACHED
        assert "(9" in str(client.cache.stats())  # nine in ten keys, or more, came from the cache
    return Claim(
        text=f"report on {CACHED:,} entities x {FEATURES} features from the cache",
        measured=median(seconds[1:]),
        limit=CACHE_LIMIT,
        unit="s",
        note=f"the first, which fills it, {seconds[0] * 1e3:.0f} ms",
    )


def measure() -> list[Claim]:
    with TemporaryDirectory(prefix="featkit-bench-") as scratch:
        folder = Path(scratch)
        return [*of_the_store(folder / "store"), of_the_cache(folder / "cache")]
