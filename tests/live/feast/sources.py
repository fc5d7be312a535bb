"""The rows behind the feature repository: the same ones on every machine, in every year.

Runs in Feast's environment. Nothing here asks for the time: event times lie around `MOMENT`,
which tests hand on as `now`.
"""

import datetime as dt
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MOMENT = dt.datetime(2026, 11, 22, 22, tzinfo=dt.UTC)
# What is materialised. The end lies behind MOMENT, so that the online store holds a row of the
# future as well; a row from before the start is known to the offline store alone.
START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
END = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)

SEED = 20261122
HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
BEYOND_FLOAT = 2**53 + 1

UTC = pa.timestamp("us", tz="UTC")


def before(hours):
    return MOMENT - hours * HOUR


def uid(number):
    return str(uuid.UUID(int=number))


def time_uid(number):
    return str(uuid.UUID(fields=(number, 0, 0x1000, 0x80, 0, 1)))


def driver_hourly():
    """Five days of hourly rows for 1011 to 1050, and cases of their own below those."""
    rng = np.random.default_rng(SEED)
    drivers = np.arange(1011, 1051)
    hours = np.arange(120)
    driver, hour = (grid.ravel() for grid in np.meshgrid(drivers, hours, indexing="ij"))
    size = len(driver)
    event = pd.Timestamp(MOMENT) - pd.to_timedelta(hour, unit="h")
    # one row in ten was written a day late
    late = pd.to_timedelta(np.where(rng.random(size) < 0.1, 24 * 60, 5), unit="min")
    history = pd.DataFrame(
        {
            "driver_id": driver,
            "event_timestamp": event,
            "created": event + late,
            "conv_rate": rng.random(size),
            "acc_rate": rng.random(size),
            "avg_daily_trips": rng.integers(0, 1000, size),
        }
    )
    cases = [
        # 1001: two rows of one event time, of which the one written later counts
        (1001, before(0), MINUTE, 0.1, 0.2, 111),
        (1001, before(0), 10 * MINUTE, 0.5, 0.7691717147827148, 5555),
        (1001, before(1), MINUTE, 0.25, 0.75, 100),
        (1001, before(30), MINUTE, 0.125, 0.5, 90),
        # 1002: everything is null; 1003: one of three is
        (1002, before(0), MINUTE, None, None, None),
        (1002, before(3), MINUTE, 0.3, 0.6, 200),
        (1003, before(0), MINUTE, None, 0.7746796011924744, 115),
        (1003, before(2), MINUTE, 0.4, 0.8, 120),
        # 1004: three days old, of a ttl of one
        (1004, before(72), MINUTE, 0.6831146478652954, 0.033046454191207886, 993),
        (1005, before(0), MINUTE, 0.06599744409322739, 0.12117143720388412, 530),
        # 1006 is as old as its ttl, 1007 one second older, 1008 of the future
        (1006, before(24), MINUTE, 0.6, 0.61, 600),
        (1007, before(24) - dt.timedelta(seconds=1), MINUTE, 0.7, 0.71, 700),
        (1008, before(-1), MINUTE, 0.8, 0.81, 800),
        # 1009: a fraction of a second, which Feast's SQLite store cuts off
        (1009, before(1) + dt.timedelta(microseconds=123456), MINUTE, 0.9, 0.91, 900),
        # 1010: corrected two days later, which a training set as of then could not know
        (1010, before(48), MINUTE, 0.01, 0.02, 1),
        (1010, before(48), 48 * HOUR, 0.99, 0.98, 2),
        # 1099: older than what was materialised, so nowhere online
        (1099, MOMENT - dt.timedelta(days=90), MINUTE, 0.11, 0.12, 99),
    ]
    special = pd.DataFrame(cases, columns=list(history.columns))
    special["created"] = special["event_timestamp"] + special["created"]
    frame = pd.concat([special, history], ignore_index=True)
    return frame.astype(
        {
            "event_timestamp": "datetime64[us, UTC]",
            "created": "datetime64[us, UTC]",
            "conv_rate": "float32",
            "acc_rate": "float32",
            "avg_daily_trips": "Int64",
        }
    )


def affinity():
    rows = [
        (1001, "C1", before(24), 0.46879562742758685, 30),
        (1002, "C2", before(48), 0.9601729924873732, 34),
        (1003, "C3", before(96), 0.25, 3),  # beyond its ttl of three days
        (1001, "C2", before(1), None, 7),
        (1002, "C1", before(1), 0.5, None),
        (1004, "", before(1), 0.125, 1),  # a key that is empty and not missing
        (1005, "Zoë ☃", before(1), 0.0625, 2),
    ]
    frame = pd.DataFrame(
        rows, columns=["driver_id", "customer_id", "event_timestamp", "affinity", "trips_together"]
    )
    frame["created"] = frame["event_timestamp"] + MINUTE
    return frame.astype({"trips_together": "Int64"})


def merchant():
    return pd.DataFrame(
        {
            "merch_key": ["m-1", "m-2", "m-3", "m-4"],
            "event_timestamp": [before(1), before(24 * 30), before(1), before(1)],
            "rating": [4.5, 3.25, None, 2.0],
            "name": ["Zoë's", "B", "C", None],
        }
    )


def global_stats():
    hours = np.arange(6)
    return pd.DataFrame(
        {
            "event_timestamp": [before(int(hour)) for hour in hours],
            "surge": 1.7 - 0.1 * hours,
            "city_open": hours % 2 == 0,
        }
    )


def stream():
    event = [before(2)] * 3
    return pd.DataFrame(
        {
            "driver_id": [1001, 1002, 1003],
            "event_timestamp": event,
            "created": event,
            "last_speed": [10.5, 20.5, 30.5],
            "n_events": [1, 2, 3],
        }
    )


def table(rows, **types):
    """Put rows that begin with a driver and a time into Arrow columns of just these types."""
    types = {"driver_id": pa.int64(), "event_timestamp": UTC, **types}
    columns = zip(*rows, strict=True)
    arrays = [pa.array(*each) for each in zip(columns, types.values(), strict=True)]
    return pa.table(arrays, names=list(types))


def all_types():
    """Six drivers and 1007, whose every value is null but the lists, which are empty."""
    doubles = [0.1, None, float("nan"), float("inf"), float("-inf"), 1e-300]
    strings = ["plain", None, "naïve ☃ 日本", "", 'a"b\\c\n', "null"]
    bools = [True, None, True, False, True, False]
    rows = [
        (
            1001 + i,
            before(i),
            i - 2,
            BEYOND_FLOAT + i,
            i / 10,
            doubles[i],
            bools[i],
            strings[i],
            b"\x00\xff" + bytes([i]),
            MOMENT - dt.timedelta(days=i, microseconds=123456),
            [i, i + 1],
            [BEYOND_FLOAT, i] if i != 3 else [],
            [0.1, 0.2, 0.3],
            [0.1, float("nan")] if i == 2 else [0.1, 0.2],
            [True, False],
            ["a", "b"],
            [b"\x00\xff", b"x"],
            [before(0), before(1)],
        )
        for i in range(6)
    ]
    rows[1] = rows[1][:2] + (None,) * 16
    rows.append((1007, before(6)) + (None,) * 8 + ([],) * 8)
    return table(
        rows,
        f_int32=pa.int32(),
        f_int64=pa.int64(),
        f_float=pa.float32(),
        f_double=pa.float64(),
        f_bool=pa.bool_(),
        f_string=pa.string(),
        f_bytes=pa.binary(),
        f_ts=UTC,
        l_int32=pa.list_(pa.int32()),
        l_int64=pa.list_(pa.int64()),
        l_float=pa.list_(pa.float32()),
        l_double=pa.list_(pa.float64()),
        l_bool=pa.list_(pa.bool_()),
        l_string=pa.list_(pa.string()),
        l_bytes=pa.list_(pa.binary()),
        l_ts=pa.list_(UTC),
    )


def all_sets():
    rows = [
        (
            1001,
            before(0),
            [1, 2],
            [BEYOND_FLOAT, -1],
            [0.5, 0.1],
            [0.1, float("inf")],
            [True, False],
            ["b", "a"],
            [b"\x00\xff", b"x"],
            [before(0), before(1)],
            [uid(1), uid(2)],
            [time_uid(1), time_uid(2)],
            ["1.10", "-0.5"],
        ),
        (1002, before(1), *[None] * 11),
        (
            1003,
            before(2),
            [7],
            [8],
            [0.25],
            [1e-300],
            [True],
            ["☃"],
            [b""],
            [before(24)],
            [uid(3)],
            [time_uid(3)],
            ["123456789012345678901234567890.123456789"],
        ),
    ]
    text = pa.list_(pa.string())
    return table(
        rows,
        s_int32=pa.list_(pa.int32()),
        s_int64=pa.list_(pa.int64()),
        s_float=pa.list_(pa.float32()),
        s_double=pa.list_(pa.float64()),
        s_bool=pa.list_(pa.bool_()),
        s_string=text,
        s_bytes=pa.list_(pa.binary()),
        s_ts=pa.list_(UTC),
        s_uuid=text,
        s_time_uuid=text,
        s_decimal=text,
    )


STRUCT = pa.struct({"city": pa.string(), "n": pa.int64()})


def exotic():
    rows = [
        (
            1001,
            before(0),
            {"a": "1", "b": "2"},
            '{"a": [1, {"b": null}]}',
            {"city": "Rome", "n": 3},
            uid(1),
            "1.10",
            ["a", "b"],
            [[1, 2], [3]],
        ),
        (1002, before(1), *[None] * 7),
        (
            1003,
            before(2),
            {"a": "k", "b": "v"},
            "[1, 2]",
            {"city": "Oslo", "n": 9},
            uid(3),
            "123456789012345678901234567890.123456789",
            ["c"],
            [[4]],
        ),
    ]
    return table(
        rows,
        x_map=pa.struct({"a": pa.string(), "b": pa.string()}),
        x_json=pa.string(),
        x_struct=STRUCT,
        x_uuid=pa.string(),
        x_decimal=pa.string(),
        x_set=pa.list_(pa.string()),
        x_nested=pa.list_(pa.list_(pa.int64())),
    )


def more_exotic():
    rows = [
        (
            1001,
            before(0),
            time_uid(1),
            [uid(1), uid(2)],
            [time_uid(1)],
            ["1.10", "-0.5"],
            ['{"a": 1}', "[]"],
            '[{"a": 1, "b": [1.5, 2.0]}, {"c": null}]',
            [{"city": "Rome", "n": 3}, {"city": "Oslo", "n": 9}],
            [["a"], ["b", "c"]],
            [[1, 2], [3]],
            [[[0.5], [0.25]], [[1.0]]],
        ),
        (1002, before(1), *[None] * 10),
        (
            1003,
            before(2),
            time_uid(3),
            [],
            [],
            [],
            [],
            "[]",
            [],
            [[]],
            [[]],
            [[[]]],
        ),
    ]
    text = pa.list_(pa.string())
    return table(
        rows,
        y_time_uuid=pa.string(),
        y_uuids=text,
        y_time_uuids=text,
        y_decimals=text,
        y_jsons=text,
        y_maps=pa.string(),  # Feast reads lists of maps from JSON alone
        y_structs=pa.list_(STRUCT),
        y_list_of_sets=pa.list_(text),
        y_set_of_lists=pa.list_(pa.list_(pa.int64())),
        y_deep=pa.list_(pa.list_(pa.list_(pa.float64()))),
    )


def documents():
    rows = [
        (1001, before(0), b"%PDF-1.4", b"\x89PNG\r\n"),
        (1002, before(1), None, None),
        (1003, before(2), b"", b"\x00"),
    ]
    return table(rows, d_pdf=pa.binary(), d_image=pa.binary())


def proto_only():
    """Return the rows that `build.py` writes online itself, since Feast cannot materialise them."""
    rows = [
        (1001, before(0), before(1), '{"1": "a", "2": "b"}'),
        (1002, before(1), None, None),
        (1003, before(2), before(24), "{}"),
    ]
    return table(rows, p_zoned=UTC, p_scalar_map=pa.string())


def bench(letter, count, entities):
    """Two rows for each of many drivers, within two days before `MOMENT`."""
    rng = np.random.default_rng([SEED, ord(letter)])
    size = 2 * entities
    age = rng.integers(0, 48 * 3600, size)
    event = pd.Timestamp(MOMENT) - pd.to_timedelta(age, unit="s")
    columns = {
        "driver_id": np.tile(np.arange(1, entities + 1), 2),
        "event_timestamp": event,
        "created": event + MINUTE,
    }
    prefix = {"a": "f", "b": "b", "c": "c"}[letter]
    for i in range(count):
        columns[f"{prefix}{i}"] = rng.random(size)
    if letter == "a":
        for i in range(5, 8):
            columns[f"f{i}"] = rng.integers(0, 10**9, size)
        columns["f8"] = rng.choice(["bronze", "silver", "gold"], size)
        columns["f9"] = rng.random(size) < 0.5
    return pd.DataFrame(columns)


def write(folder, bench_entities):
    """Write every source as a Parquet file into an existing folder."""
    sources = {
        "driver_hourly": driver_hourly(),
        "affinity": affinity(),
        "merchant": merchant(),
        "global": global_stats(),
        "stream": stream(),
        "all_types": all_types(),
        "all_sets": all_sets(),
        "exotic": exotic(),
        "more_exotic": more_exotic(),
        "documents": documents(),
        "proto_only": proto_only(),
        "bench_a": bench("a", 10, bench_entities),
        "bench_b": bench("b", 5, bench_entities),
        "bench_c": bench("c", 5, bench_entities),
    }
    for name, data in sources.items():
        path = Path(folder) / f"{name}.parquet"
        if isinstance(data, pa.Table):
            pq.write_table(data, path)
        else:
            data.to_parquet(path, index=False)
