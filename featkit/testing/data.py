"""The data set of the store contract: small, and every row is there for a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.testing.memory import described

if TYPE_CHECKING:
    from featkit.schema import FeatureView

CONTRACT_NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
"""The moment at which a store is held to the contract."""

_BIG = 2**53 + 1  # the first whole number that no float holds
_S, _H, _D = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
_SEEN = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
_NAN, _INFINITE = float("nan"), float("inf")

# customer, age of the row, age of its writing; visits, score, active, name, seen_at, embedding
_CUSTOMERS: list[tuple[Any, ...]] = [
    (1, 1 * _H, 1 * _H, _BIG, -0.25, True, "🦉 o'wl", _SEEN, [0.5, -1.5]),
    (1, 2 * _H, 2 * _H, 1, 1.0, False, "older", _SEEN, [1.0]),  # not the latest, though it is last
    (2, 3 * _H, 3 * _H, 2, _NAN, False, "", _SEEN, []),  # as old as the ttl: fresh
    (3, 3 * _H + _S, 3 * _H, 3, 3.0, True, "late", _SEEN, [3.0]),  # expired
    (4, 1 * _H, 1 * _H, None, None, None, None, None, None),  # there, and null
    (5, -1 * _H, 1 * _H, 5, 5.0, True, "to come", _SEEN, [5.0]),  # only in the future
    (6, -1 * _H, 1 * _H, -6, 6.5, True, "to come", _SEEN, [6.5]),  # in the future
    (6, 2 * _H, 1 * _H, 6, 6.0, True, "now", _SEEN, [6.0]),
    (7, 30 * _D, 29 * _D, 7, None, False, "old", None, [7.0]),  # expired, and null in places
    (8, 1 * _H, 10 * _S, 8, 8.0, True, "corrected", _SEEN, [8.0]),  # the same hour, written again
    (8, 1 * _H, 1 * _H, -8, 8.5, False, "wrong", _SEEN, [8.5]),
    (9, 1 * _H, -1 * _H, -9, 9.5, True, "not yet written", _SEEN, [9.5]),
    (9, 2 * _H, 2 * _H, 9, 9.0, True, "written", _SEEN, [9.0]),
    (10, 1 * _H, None, 10, _INFINITE, True, "written at some time", _SEEN, [10.0]),
    (0, 1 * _H, 1 * _H, 0, 0.0, False, "zero", _SEEN, [0.0]),
    (-1, 1 * _H, 1 * _H, -1, -_INFINITE, True, "below zero", _SEEN, [-1.0]),
    (_BIG, 1 * _H, 1 * _H, 2**63 - 1, 0.1, True, "odd", _SEEN, [0.1, 0.2]),
    (_BIG - 1, 1 * _H, 1 * _H, -(2**63), 0.2, True, "even", _SEEN, [0.3]),  # the same as a float
    (2**63 - 1, 1 * _H, 1 * _H, 63, 6.3, True, "the last", _SEEN, [6.3]),
]
_PARCELS = [  # pairs that are one text when joined by what is often used to join
    *[("a|b", "c"), ("a", "b|c"), ("a,b", "c"), ("a", "b,c"), ("a:b", "c"), ("a", "b:c")],
    *[("a\x1fb", "c"), ("a", "b\x1fc"), ("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")],
    *[("c", "a|b"), ('["a"', '"b"]'), ("a", "b"), ("b", "a")],
]
_ROUTES = [(1, 11), (11, 1), (111, 1), (1, 111), (1, -11), (-1, 11), (0, 0)]
_NOTES = [
    *["", " ", "a", "A", " a", "a ", "null", "None", "NaN", "1", "1.0", "01", "true"],
    *["🦉", "é", "e\u0301", "nul\0l", "line\nbreak", 'quo"te', "back\\slash"],
    *["a|b", "a:b", "%2F", "*"],
    *["'; DROP TABLE notes; --", "../..", "<script>", "a&b=c", "x" * 100_000, "x" * 99_999],
]
_STRANGERS: dict[str, list[tuple[Any, ...]]] = {
    "customers": [(404,), (-2,), (2**63 - 2,)],
    "parcels": [("a|b|c", ""), ("c", "a"), ("", "")],
    "routes": [(11, 11), (1, 1), (-11, 1)],
    "notes": [("nobody",), ("🦉🦉",), ("x" * 99_998,)],
    "quiet": [(1,), (2,)],
}


def contract_views() -> list[tuple[FeatureView, pl.DataFrame]]:
    """Return what a store must hold to be held to `StoreContract`.

    Returns
    -------
    list of (FeatureView, polars.DataFrame)
        The descriptions and their rows, in no order. ``customers``: many dtypes, several rows per
        entity, fresh, expired, null, later than now. ``parcels`` and ``routes``: composite keys,
        without ttl and static. ``notes``: keys that are odd texts. ``quiet``: no rows.

    Examples
    --------
    >>> for view, rows in contract_views():
    ...     print(view.name, view.join_keys, rows.height)
    customers ('customer_id',) 19
    parcels ('depot', 'code') 17
    routes ('start_id', 'end_id') 7
    notes ('note_id',) 30
    quiet ('sensor_id',) 0
    """
    return list(_views())


def contract_keys(view: str) -> pl.DataFrame:
    """Return keys of a view of the contract: each that has a row, then some that have none.

    Examples
    --------
    >>> contract_keys("routes")["start_id"].to_list()
    [1, 11, 111, 1, 1, -1, 0, 11, 1, -11]
    """
    described_, rows = next(pair for pair in contract_views() if pair[0].name == view)
    known = rows.select(described_.join_keys).unique(maintain_order=True)
    return pl.concat([known, pl.DataFrame(_STRANGERS[view], known.schema, orient="row")])


@cache
def _views() -> tuple[tuple[FeatureView, pl.DataFrame], ...]:
    return (_customers(), _parcels(), _routes(), _notes(), _quiet())


def _customers() -> tuple[FeatureView, pl.DataFrame]:
    schema = {
        "customer_id": pl.Int64(),
        "age": pl.Duration("us"),
        "written": pl.Duration("us"),
        "visits": pl.Int64(),
        "score": pl.Float64(),
        "active": pl.Boolean(),
        "name": pl.String(),
        "seen_at": TIMESTAMP,
        "embedding": pl.List(pl.Float64()),
    }
    now = pl.lit(CONTRACT_NOW, TIMESTAMP)
    rows = pl.DataFrame(_CUSTOMERS, schema, orient="row").select(
        "customer_id",
        (now - pl.col("age")).alias("event_timestamp"),
        (now - pl.col("written")).alias("created_timestamp"),
        *list(schema)[3:],
    )
    return described(
        rows,
        name="customers",
        join_keys="customer_id",
        timestamp="event_timestamp",
        created="created_timestamp",
        ttl="3h",
        description="One row per customer and change.",
        owner="loyalty",
        tags={"team": "growth"},
        features={"visits": "visits so far, count", "score": "how loyal, 0 to 1"},
    )


def _parcels() -> tuple[FeatureView, pl.DataFrame]:
    # the keys are not in alphabetical order, nor is the first pair complete without the second
    rows = pl.DataFrame(_PARCELS, ["depot", "code"], orient="row").with_columns(
        pl.lit(CONTRACT_NOW - 365 * _D, TIMESTAMP).alias("event_timestamp"),
        pl.format("{}/{}", "depot", "code").alias("label"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("number"),
    )
    later = rows.head(1).with_columns(
        pl.lit(CONTRACT_NOW, TIMESTAMP).alias("event_timestamp"), pl.lit("moved").alias("label")
    )
    return described(
        pl.concat([later, rows]),
        name="parcels",
        join_keys=["depot", "code"],
        timestamp="event_timestamp",
        description="Where a parcel is; for ever good.",
    )


def _routes() -> tuple[FeatureView, pl.DataFrame]:
    rows = pl.DataFrame(_ROUTES, ["start_id", "end_id"], orient="row").with_columns(
        (pl.col("start_id") * 1000.5 + pl.col("end_id")).alias("length_km")
    )
    return described(
        rows, name="routes", join_keys=["start_id", "end_id"], description="Static, composite."
    )


def _notes() -> tuple[FeatureView, pl.DataFrame]:
    rows = pl.DataFrame({"note_id": _NOTES}).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("number"),
        pl.col("note_id").str.slice(0, 20).alias("beginning"),
    )
    return described(rows, name="notes", join_keys="note_id", description="Static, odd keys.")


def _quiet() -> tuple[FeatureView, pl.DataFrame]:
    schema = {
        "sensor_id": pl.Int64(),
        "event_timestamp": TIMESTAMP,
        "level": pl.Float64(),
        "alarm": pl.Boolean(),
    }
    return described(
        pl.DataFrame(schema=schema),
        name="quiet",
        join_keys="sensor_id",
        timestamp="event_timestamp",
        ttl="1d",
        description="A view that nobody has written to yet.",
    )
