"""The flights of 2013 and their features, joined by hand: what `enrich` is measured against."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import pandas as pd
import polars as pl

import featkit
import featkit.demo
from featkit.errors import ExpiredWarning
from featkit.stores.demo import NOW, build

if TYPE_CHECKING:
    from collections.abc import Iterator

Engine = Literal["in-memory", "auto"]

FEATURES: dict[str, list[str]] = {
    "route_history": ["mean_air_time_30d", "mean_arr_delay_30d", "flights_30d"],
    "aircraft": ["manufactured_year", "manufacturer", "model", "engines", "seats"],
    "carrier_history": [
        *("mean_dep_delay_7d", "mean_delay_7d", "cancelled_share_7d", "flights_7d"),
    ],
    "tail_history": ["flights_so_far", "last_arr_delay", "mean_arr_delay_10", "last_dest"],
}
KEYS: dict[str, list[str]] = {
    "route_history": ["origin", "dest"],
    "aircraft": ["tailnum"],
    "carrier_history": ["carrier"],
    "tail_history": ["tailnum"],
}
WORKLOADS = (
    ("route_history", "aircraft", "carrier_history"),
    ("route_history", "aircraft", "tail_history"),
)
"""Twelve features each: of a composite key, of a static view, of a short and of a long history."""


def references(views: tuple[str, ...]) -> list[str]:
    return [f"{view}:{feature}" for view in views for feature in FEATURES[view]]


@dataclass(frozen=True, slots=True)
class Flights:
    """The store on disk, a client of it, and the frame to enrich."""

    folder: Path
    client: featkit.FeatureStoreClient
    frame: pl.DataFrame
    pandas: pd.DataFrame

    def by_hand(self, views: tuple[str, ...], engine: Engine) -> pl.DataFrame:
        """Join the features as somebody would who knows polars and the four files."""
        frame = self.frame.lazy()
        for view in views:
            frame = frame.join(self.newest(view), on=KEYS[view], how="left", maintain_order="left")
        return frame.collect(engine=engine)

    def newest(self, view: str) -> pl.LazyFrame:
        """Take the newest row of each entity among those that the store's clock lets see."""
        keys, features = KEYS[view], FEATURES[view]
        rows = pl.scan_parquet(self.folder / view / "*.parquet")
        order = ["event_timestamp"]
        match view:
            case "aircraft":
                return rows.select(*keys, *features)
            case "carrier_history":
                rows = rows.filter(pl.col("created_timestamp") <= NOW)
                order += ["created_timestamp"]
        rows = rows.filter(pl.col("event_timestamp") <= NOW)
        # the fastest of ten ways to write it; sort and unique take half as long again
        return rows.group_by(keys).agg(pl.col(features).sort_by(*order).last())

    def by_hand_in_pandas(self, views: tuple[str, ...]) -> pd.DataFrame:
        """Join the features the way pandas users do: sort, drop duplicates, merge."""
        frame = self.pandas
        for view in views:
            times = {"aircraft": [], "carrier_history": ["event_timestamp", "created_timestamp"]}
            order = times.get(view, ["event_timestamp"])
            columns = [*KEYS[view], *FEATURES[view], *order]
            rows = pd.read_parquet(self.folder / view / "part-0.parquet", columns=columns)
            for column in order:
                rows = rows[rows[column] <= NOW]
            if order:
                rows = rows.sort_values(order, kind="stable").drop_duplicates(
                    KEYS[view], keep="last"
                )
            frame = frame.merge(rows.drop(columns=order), on=KEYS[view], how="left")
        return frame


@contextmanager
def flights() -> Iterator[Flights]:
    """Build the demo store in a folder of its own, and read its files once to warm them."""
    with TemporaryDirectory(prefix="featkit-bench-") as scratch:
        folder = Path(scratch) / "flights"
        build(folder)
        with featkit.connect(f"parquet:{folder}", cache=None) as client, warnings.catch_warnings():
            warnings.simplefilter("ignore", ExpiredWarning)  # some of the values are old
            polars, pandas = featkit.demo.flights("polars"), featkit.demo.flights("pandas")
            yield Flights(folder, client, polars, pandas)


def same_values(frame: pd.DataFrame, expected: pl.DataFrame) -> bool:
    """Tell whether a pandas frame has these values, whatever dtypes a merge has left."""
    found = pl.DataFrame({name: pl.from_pandas(frame[name]) for name in expected.columns})
    return found.cast(dict(expected.schema)).fill_nan(None).equals(expected.fill_nan(None))
