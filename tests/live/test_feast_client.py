"""featkit against real Feast servers, with Feast's own SDK as the oracle."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pandas as pd
import polars as pl
import pytest

import featkit
from featkit import Status
from featkit.errors import (
    ExpiredWarning,
    KeyTypeError,
    NotSupportedError,
    RequestRejected,
    UnknownNameError,
)
from featkit.stores.base import OnlineRead
from tests.live.direct import DRIVERS, KEYS, VIEWS, plain

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning"),
]
ASKED = KEYS | {
    "km": [1.0, 2.0, 0.5, 10.0, 0.0, 1.5, 2.5, 3.0],
    "vip": [1, 0, 1, 0, 1, 0, 1, 0],
}


@pytest.fixture(scope="module", params=["http", "grpc"])
def target(feast, request):
    """Name the feature server, as each protocol reaches it."""
    places = {"http": feast.server_url, "grpc": f"grpc://{feast.grpc_address}"}
    return f"feast+{places[request.param]}"


@pytest.fixture(scope="module")
def store(feast, target):
    with featkit.connect(
        target,
        registry_url=feast.registry_url,
        project=feast.project,
        now=feast.now,
        cache=None,
    ) as client:
        yield client


@pytest.fixture(scope="module")
def over_http(feast):
    with featkit.connect(
        f"feast+{feast.server_url}",
        registry_url=feast.registry_url,
        project=feast.project,
        now=feast.now,
        cache=None,
    ) as client:
        yield client


def json_map(value):
    """Write a map whose keys are no text as featkit does."""
    return json.dumps({str(key): item for key, item in value.items()}, separators=(",", ":"))


def as_featkit(value, feature, view, *, binary):
    """Say how featkit gives what Feast's SDK gives; each line is a documented difference."""
    kind = view[feature].store_type
    if kind == "SCALAR_MAP":  # the HTTP server sends null for it
        return None if value is None or not binary else json_map(value)
    if value is not None and kind in {"MAP", "MAP_LIST"}:
        return value  # compared after json.loads
    if isinstance(value, float) and kind == "FLOAT":
        return value
    return plain(value)


@pytest.mark.parametrize("name", VIEWS)
def test_every_value_is_what_feasts_own_sdk_says(feast, store, target, name):
    view = store.get_feature_metadata(name)
    keys = {key: ASKED[key] for key in view.join_keys}
    frame = pl.DataFrame(keys) if keys else pl.DataFrame({"x": [1]})
    found = store.lookup(frame, [f"{name}:*"])
    refs = [f"{name}:{feature}" for feature in view.feature_names]
    oracle = feast.oracle({"features": refs, "entities": keys or {"__dummy_id": [""]}})
    for feature in view.feature_names:
        column = oracle[feature]
        got = found.values[feature].to_list()
        if view[feature].store_type in {"MAP", "MAP_LIST", "JSON"}:
            got = [text and json.loads(text) for text in got]
        if view[feature].store_type == "JSON_LIST":
            got = [texts and list(map(json.loads, texts)) for texts in got]
        if view[feature].store_type.endswith("_SET"):
            got = [value and sorted(value, key=str) for value in got]
        binary = "grpc" in target
        expected = [as_featkit(value, feature, view, binary=binary) for value in column.values]
        assert list(map(plain, got)) == expected, feature
        times = [moment and moment.astimezone(UTC) for moment in column.event_timestamps]
        assert found.timestamps[feature].to_list() == times, feature


def test_statuses_tell_what_the_server_does_not(store):
    keys = [1001, 1002, 1003, 1004, 1006, 1007, 1008, 9999, None]
    found = store.lookup({"driver_id": keys}, ["driver_hourly_stats:conv_rate"])
    assert found.statuses["conv_rate"].to_list() == [
        Status.PRESENT,
        Status.NULL,
        Status.NULL,
        Status.EXPIRED,  # 72 hours old with a ttl of a day; Feast says PRESENT
        Status.PRESENT,  # as old as the ttl
        Status.EXPIRED,  # one second older
        Status.FUTURE,
        Status.NOT_FOUND,
        None,
    ]


def test_null_keys_and_repeated_keys_reach_the_frame_and_not_the_server(store):
    frame = pd.DataFrame({"driver_id": [1001, None, 1001, 9999]}, index=["a", "b", "c", "d"])
    enriched = frame.features.enrich(
        ["driver_hourly_stats:avg_daily_trips"], store=store, statuses=True
    )
    assert enriched.index.tolist() == ["a", "b", "c", "d"]
    assert enriched["avg_daily_trips"].tolist() == [5555, pd.NA, 5555, pd.NA]
    assert store.last_summary.unique == 2
    assert store.last_summary.calls == 1


def test_composite_keys_are_sent_whole(store):
    pairs = [(1001, "C1"), (1001, "C2"), (1002, "C2")]
    found = store.get_online_features_batch("affinity", pairs, ["trips_together"])
    assert [row["trips_together"] for row in found] == [30, 7, 34]


def test_request_data_is_not_asked_of_the_grpc_server_which_cannot_read_it(feast):
    frame = pl.DataFrame({"driver_id": [1001], "km": [2.0], "vip": [1]})
    place = {"registry_url": feast.registry_url, "project": feast.project}
    with (
        featkit.connect(f"feast+grpc://{feast.grpc_address}", **place) as client,
        pytest.raises(NotSupportedError, match=r"request data km, vip.*feast\+http"),
    ):
        client.lookup(frame, ["trip_fare:fare"])


def test_on_demand_features_take_request_data_from_the_frame(feast, over_http):
    store = over_http
    frame = pl.DataFrame({"driver_id": [1001, 1002], "km": [2.0, 1.0], "vip": [1, None]})
    found = store.lookup(frame, ["trip_fare:fare"])
    oracle = feast.oracle(
        {
            "features": ["trip_fare:fare"],
            "entities": {"driver_id": [1001], "km": [2.0], "vip": [1]},
        }
    )
    assert found.values["fare"].to_list() == [oracle["fare"].values[0], None]
    # as old as what it was computed from
    assert found.timestamps["fare"].to_list() == [feast.now, None]
    assert found.statuses["fare"].to_list() == [Status.PRESENT, None]


def test_an_entityless_view_is_the_same_for_all_rows(store):
    frame = pl.DataFrame({"trip": [1, 2, 3]})
    enriched = featkit.features(frame).enrich(["global_stats:surge"], store=store)
    assert enriched["surge"].to_list() == [1.7, 1.7, 1.7]
    lazy = featkit.features(frame.lazy()).enrich(["global_stats:surge"], store=store)
    assert lazy.collect().equals(enriched)


def test_a_service_is_read_with_its_on_demand_features(feast, over_http):
    store = over_http
    frame = pl.DataFrame({"driver_id": [1001], "customer_id": ["C1"], "km": [2.0], "vip": [1]})
    enriched = featkit.features(frame).enrich("driver_activity_v1", store=store, prefix="s_")
    oracle = feast.oracle(
        {"feature_service": "driver_activity_v1", "entities": frame.to_dict(as_series=False)}
    )
    for column in ("conv_rate", "avg_daily_trips", "affinity", "trips_together", "fare"):
        assert enriched[f"s_{column}"].item() == oracle[column].values[0]


def test_a_service_reads_a_view_under_renamed_keys(feast, store):
    entities = {"first_id": [1001, 1005, 1002, 1001], "second_id": [1005, 9999, 1001, 1001]}
    oracle = feast.oracle(
        {"feature_service": "pair_v1", "entities": entities, "full_feature_names": True}
    )
    found = store.lookup(entities, "pair_v1")
    assert found.values.columns == ["first__conv_rate", "second__conv_rate"]
    for name in found.values.columns:
        assert found.values[name].to_list() == oracle[name].values
        times = [moment and moment.astimezone(UTC) for moment in oracle[name].event_timestamps]
        assert found.timestamps[name].to_list() == times
    frame = pl.DataFrame({"here": entities["first_id"], "there": entities["second_id"]})
    enriched = featkit.features(frame).enrich(
        "pair_v1", store=store, on={"first_id": "here", "second_id": "there"}
    )
    assert enriched.select(found.values.columns).equals(found.values)


def test_the_registry_is_read_as_the_catalogue(store):
    views = {view.name: view for view in store.list_feature_views()}
    assert set(VIEWS) <= set(views)
    stats = views["driver_hourly_stats"]
    assert stats.join_keys == ("driver_id",)
    assert stats.ttl.days == 1
    assert stats["conv_rate"].description == "Conversion rate"
    assert views["trip_fare"].join_keys == ("driver_id", "km", "vip")
    assert not views["bench_b"].online
    assert {entity.join_key for entity in store.list_entities()} == {
        "driver_id",
        "customer_id",
        "merch_key",
    }
    assert "simple_v1" in {service.name for service in store.list_feature_services()}


def test_a_view_that_is_not_online_is_refused(store):
    with pytest.raises(NotSupportedError, match="bench_b"):
        store.lookup([1], ["bench_b:b0"])


@pytest.mark.parametrize("key", ["abc", 1001.5, True, 2**63])
def test_keys_that_feast_would_bend_are_refused(store, key):
    with pytest.raises(KeyTypeError, match="driver_id"):
        store.lookup([key], ["driver_hourly_stats:conv_rate"])


def test_unknown_names_get_the_nearest(store):
    with pytest.raises(UnknownNameError, match="driver_hourly_stats"):
        store.lookup([1001], ["driver_hourly_stat:conv_rate"])
    with pytest.raises(UnknownNameError, match="conv_rate"):
        store.lookup([1001], ["driver_hourly_stats:conv_rat"])


def test_what_was_pushed_is_read_at_once(feast, store):
    body = {
        "push_source_name": "driver_push",
        "df": {
            "driver_id": [777],
            "event_timestamp": ["2026-11-22 21:59:00"],
            "created": ["2026-11-22 21:59:00"],
            "last_speed": [12.5],
            "n_events": [3],
        },
        "to": "online",
    }
    httpx.post(f"{feast.server_url}/push", json=body, timeout=30).raise_for_status()
    values, times = store.get_online_features_with_timestamps("driver_stream", 777)
    assert values == {"last_speed": 12.5, "n_events": 3}
    assert times["last_speed"] == datetime(2026, 11, 22, 21, 59, tzinfo=UTC)


def test_async_reads_the_same(feast, store, target):
    async def read():
        async with featkit.connect_async(
            target,
            registry_url=feast.registry_url,
            project=feast.project,
            now=feast.now,
        ) as client:
            calls = [client.lookup(DRIVERS, ["driver_hourly_stats:*"]) for _ in range(20)]
            return await asyncio.gather(*calls)

    right = store.lookup(DRIVERS, ["driver_hourly_stats:*"]).to_polars(timestamps=True)
    for found in asyncio.run(read()):
        assert found.to_polars(timestamps=True).equals(right)


def test_many_keys_come_back_in_order(store):
    keys = [*range(1, 1001), *range(2000, 5000), *range(1000, 0, -1)]
    found = store.lookup(keys, ["bench_a:f5", "bench_a:f8"])
    again = store.lookup(keys[:1000], ["bench_a:f5", "bench_a:f8"])
    assert store.last_summary.unique == 1000
    first = found.values.head(1000)
    assert first.equals(again.values)
    assert found.values.tail(1000).reverse().equals(first)
    assert found.values["f5"].null_count() == 3000


def test_health_tells_what_answers(feast, store):
    report = store.check_health()
    assert report.healthy
    assert [check.name for check in report.checks] == ["feature server", "registry"]
    with featkit.connect(
        f"feast+{feast.server_url}", registry_url=feast.registry_url, project="nothing"
    ) as client:
        assert "nothing" in client.check_health().reason


def test_a_refusal_of_the_server_is_told_in_its_words(store):
    # a feature that the registry knows and the server does not, as just after an apply
    view = store.get_feature_metadata("driver_hourly_stats")
    ghost = featkit.Feature("ghost", pl.Int64(), store_type="INT64")
    read = store.operations.store.read_online

    def flow():
        keys = pl.DataFrame({"driver_id": [1001]})
        question = OnlineRead(replace(view, features=(ghost,)), (ghost,), keys, datetime.now(UTC))
        return (yield read(question))

    with pytest.raises(RequestRejected, match=r"Feast says: .*ghost"):
        store.run(flow())


def test_expired_values_warn_once_per_view(store):
    with pytest.warns(ExpiredWarning, match="driver_hourly_stats: 4 of 8"):
        store.lookup(
            [1001, 1002, 1004, 1007],
            ["driver_hourly_stats:conv_rate", "driver_hourly_stats:acc_rate"],
        )
