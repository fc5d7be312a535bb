"""Training sets from Feast's two offline servers, with Feast's own SDK as the oracle."""

import asyncio
import datetime as dt
import json
from dataclasses import replace

import pandas as pd
import polars as pl
import pytest

import featkit
from featkit.errors import NotSupportedError, RequestRejected, StoreUnavailable
from featkit.stores.base import OnlineRead

pytestmark = pytest.mark.live

HOUR = dt.timedelta(hours=1)
DRIVERS = [1001, 1002, 1003, 1004, 1006, 1007, 9999]
HOURLY = ["driver_hourly_stats:conv_rate", "driver_hourly_stats:avg_daily_trips"]
TYPES = ["all_types", "all_sets", "exotic", "more_exotic", "documents", "proto_only"]


@pytest.fixture(scope="module", params=["file", "duckdb"])
def offline_url(feast, request):
    return {"file": feast.offline_url, "duckdb": feast.offline_duckdb_url}[request.param]


def connected(feast, offline_url, kind=featkit.connect):
    return kind(
        f"feast+{feast.server_url}",
        registry_url=feast.registry_url,
        offline_url=offline_url,
        project=feast.project,
        now=feast.now,
        timeout="60s",
    )


@pytest.fixture(scope="module")
def store(feast, offline_url):
    with connected(feast, offline_url) as client:
        yield client


@pytest.fixture
def spine(feast):
    """Hold what servers drop, collapse and reorder: see the comments."""
    rows = [
        (9999, 0, "unknown to the store"),
        (1001, 0, "two source rows at this very time"),
        (1004, 0, "beyond the ttl"),
        (1001, 0, "the same entity and time once more"),
        (None, 0, "no key"),
        (1006, 0, "as old as the ttl"),
        (1007, 0, "a second older"),
        (1001, 0.5, "an hour earlier"),
        (1004, 72, "long ago"),
        (1001, 10_000, "before all rows"),
    ]
    return pl.DataFrame(
        {
            "driver_id": [driver for driver, _, _ in rows],
            "event_timestamp": [feast.now - hours * HOUR for _, hours, _ in rows],
            "why": [why for _, _, why in rows],
        }
    )


TRIPS = [None, 5555, None, 5555, None, 600, None, 100, 993, None]


def test_each_row_of_the_spine_has_its_answer_in_its_place(store, spine):
    made = store.get_historical_features(spine, HOURLY, at="event_timestamp").frame
    assert made.select(spine.columns).equals(spine)
    assert made["avg_daily_trips"].to_list() == TRIPS
    assert made.schema["avg_daily_trips"] == pl.Int64
    assert made.schema["conv_rate"] == pl.Float32


def test_a_pandas_spine_keeps_its_index_and_its_columns(store, spine):
    frame = spine.to_pandas().set_index("why").convert_dtypes()
    moments = frame["event_timestamp"].astype("datetime64[us, UTC]")
    frame = frame.assign(event_timestamp=moments)
    made = frame.features.training_set(HOURLY, at="event_timestamp", store=store)
    pd.testing.assert_frame_equal(made[frame.columns], frame)
    assert (
        made["avg_daily_trips"].astype("object").where(lambda x: x.notna(), None).tolist() == TRIPS
    )


def test_what_the_server_left_out_is_told(feast, store, offline_url, spine):
    made = store.get_historical_features(spine, HOURLY, at="event_timestamp")
    (view,) = made.report.views
    left_out = [note for note in view.notes if "left out" in note]
    if offline_url == feast.offline_url:
        assert left_out == [
            "the store left out 3 of 8 distinct moments; they were put back, with nulls"
        ]
    else:
        assert left_out == []
    assert "ttl" in str(made.report)


@pytest.mark.parametrize("name", ["driver_hourly_stats", "affinity", "merchant_profile"])
def test_many_moments_are_what_the_sdk_joins(feast, store, name):
    view = store.get_feature_metadata(name)
    known = {
        "driver_id": DRIVERS,
        "customer_id": ["C1", "C2", "C3", "x"],
        "merch_key": ["m-1", "?"],
    }
    rows = 200
    spine = pl.DataFrame(
        {
            "row": range(rows),
            **{
                key: [known[key][n % len(known[key])] for n in range(rows)]
                for key in view.join_keys
            },
            "event_timestamp": [feast.now - n * 7 % 100 * HOUR for n in range(rows)],
        }
    )
    refs = [f"{name}:{feature}" for feature in view.feature_names]
    made = store.get_historical_features(spine, refs, at="event_timestamp").frame
    table = spine.to_arrow(compat_level=pl.CompatLevel.oldest())
    oracle = pl.from_arrow(feast.oracle_history(table, refs, engine="duckdb")).sort("row")
    for feature in view.feature_names:
        expected = (
            oracle[feature].cast(view[feature].dtype).fill_nan(None)
            if view[feature].dtype.is_float()
            else oracle[feature].cast(view[feature].dtype)
        )
        assert made[feature].equals(expected, null_equal=True), feature


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_the_dtype_and_the_values_that_it_has_online(feast, store, name):
    view = store.get_feature_metadata(name)
    spine = pl.DataFrame({"driver_id": [1001, 9999], "t": [feast.now + HOUR] * 2})
    made = store.get_historical_features(spine, f"{name}:*", at="t").frame
    online = store.lookup([1001, 9999], f"{name}:*").values
    assert made.select(online.columns).schema == online.schema
    for feature in online.columns:
        was, now = (plain(frame[feature].to_list(), view[feature]) for frame in (made, online))
        assert was == now or feature in {"f_int64", "f_ts", "p_scalar_map"}, feature


def plain(values, feature):
    kind = feature.store_type
    if kind in {"MAP", "MAP_LIST", "JSON"}:
        return [text and json.loads(text) for text in values]
    if kind.endswith("_SET"):
        return [value and sorted(value, key=str) for value in values]
    return values


def test_a_view_without_entities_is_joined_to_all_rows(feast, store):
    spine = pl.DataFrame({"t": [feast.now, feast.now]})
    made = store.get_historical_features(spine, ["global_stats:surge"], at="t").frame
    assert made["surge"].to_list() == [1.7, 1.7]


def test_a_service_reads_a_view_under_renamed_keys(feast, store):
    spine = pl.DataFrame(
        {"first_id": [1001, 1006, None], "second_id": [1006, 9999, 1001], "t": [feast.now] * 3}
    )
    made = store.get_historical_features(spine, "pair_v1", at="t").frame
    plain = store.get_historical_features(
        pl.DataFrame({"driver_id": [1001, 1006], "t": [feast.now] * 2}),
        ["driver_hourly_stats:conv_rate"],
        at="t",
    ).frame["conv_rate"]
    assert made["first__conv_rate"].to_list() == [*plain, None]
    assert made["second__conv_rate"].to_list() == [plain[1], None, plain[0]]


def test_options_that_the_server_does_not_heed_are_refused(store, spine):
    with pytest.raises(NotSupportedError, match="does not heed known_by="):
        store.get_historical_features(spine, HOURLY, at="event_timestamp", known_by="created")


def test_what_is_computed_on_demand_has_no_history(store, spine):
    with pytest.raises(NotSupportedError, match="'trip_fare' has no history"):
        store.get_historical_features(
            spine.with_columns(km=1.0, vip=1), ["trip_fare:fare"], at="event_timestamp"
        )


def test_asyncio_makes_the_same(feast, offline_url, store, spine):
    async def made():
        async with connected(feast, offline_url, featkit.connect_async) as client:
            return await client.get_historical_features(spine, HOURLY, at="event_timestamp")

    right = store.get_historical_features(spine, HOURLY, at="event_timestamp").frame
    assert asyncio.run(made()).frame.equals(right)


def test_a_server_is_asked_for_by_name(feast, spine):
    with connected(feast, None) as client, pytest.raises(NotSupportedError, match="offline_url="):
        client.get_historical_features(spine, HOURLY, at="event_timestamp")


def test_a_server_that_is_gone_is_said_so(feast, spine):
    with (
        connected(feast, "grpc://127.0.0.1:9") as client,
        pytest.raises(StoreUnavailable, match="is the server running"),
    ):
        client.get_historical_features(spine, HOURLY, at="event_timestamp")


def test_a_refusal_of_the_server_is_told_in_its_words(feast, offline_url, spine):
    view = "driver_hourly_stats"
    with connected(feast, offline_url) as client:
        ghost = featkit.Feature("ghost", pl.Int64(), store_type="INT64")
        known = client.get_feature_metadata(view)
        client.operations.store.feature_views = lambda _: (yield from _one(known, ghost))
        with pytest.raises(RequestRejected, match=r"get_historical_features of .*ghost"):
            client.get_historical_features(spine, [f"{view}:ghost"], at="event_timestamp")


def _one(view, ghost):
    return [replace(view, features=(ghost,))]
    yield


# -- audits that compare with the offline server ---------------------------------------------------

NANOSECONDS = ["affinity", "merchant_profile", "driver_stream", "global_stats"]
TIMED = ["driver_hourly_stats", *NANOSECONDS]


def newest_of(feast, view, keys):
    """Tell the newest times up to now from the very file that the source names."""
    file = {"merchant_profile": "merchant", "driver_stream": "stream", "global_stats": "global"}
    name = file.get(view.name, view.name.removesuffix("_stats"))
    rows = pl.read_parquet(feast.folder / "data" / f"{name}.parquet")
    event = pl.col("event_timestamp").cast(pl.Datetime("us", "UTC"))
    rows = rows.with_columns(event).filter(event <= feast.now)
    if not view.join_keys:
        return [rows["event_timestamp"].max()]
    newest = rows.group_by(view.join_keys).agg(event.max())
    found = keys.join(newest, on=view.join_keys, how="left", maintain_order="left")
    return found["event_timestamp"].to_list()


@pytest.mark.parametrize("name", TIMED)
def test_offline_times_are_those_of_the_source(feast, offline_url, store, name):
    view = store.get_feature_metadata(name)
    known = {
        "driver_id": [1001, 1004, 1008, 1009, 1099, 9999],
        "customer_id": ["C1", "C2", "C3", "x", "", "C1"],
        "merch_key": ["m-1", "m-2", "m-3", "m-4", "?", ""],
    }
    keys = pl.DataFrame({key: known[key] for key in view.join_keys})
    keys = keys if view.join_keys else pl.DataFrame(height=1)
    flow = store.operations.store.read_offline_times(
        OnlineRead(view, view.features, keys, feast.now)
    )
    if offline_url == feast.offline_duckdb_url and name in NANOSECONDS:
        # the server's own query fails, as it would when it materialises
        with pytest.raises(RequestRejected, match="TIMESTAMPTZ_NS"):
            store.run(flow)
        return
    found = store.run(flow)
    assert found.to_list() == newest_of(feast, view, keys)
    assert found.dtype == pl.Datetime("us", "UTC")


def test_online_is_compared_with_the_offline_server(store):
    drivers = [1001, 1004, 1099, 9999]
    report = store.staleness(["driver_hourly_stats:*"], drivers, compare_offline=True)
    lag = report["driver_hourly_stats"].lag
    # 1099 is older than what was materialised, so that the offline store alone knows it
    assert (lag.compared, lag.behind, lag.only_offline, lag.only_online) == (2, 0, 1, 0)
    assert "online is up to date for 2" in str(report)
    assert store.staleness(["trip_fare:fare"], FARE, compare_offline=True)["trip_fare"].lag is None


FARE = {"driver_id": [1001], "km": [1.0], "vip": [1]}


def test_a_later_row_offline_makes_online_late(feast, store):
    later = feast.now + 2 * HOUR  # there is a row of an hour later, which was materialised
    report = store.staleness(
        ["driver_hourly_stats:*"], [1001, 1008], compare_offline=True, now=later
    )
    lag = report["driver_hourly_stats"].lag
    assert (lag.compared, lag.behind, lag.ahead) == (2, 0, 0)
