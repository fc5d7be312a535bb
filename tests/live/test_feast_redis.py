"""Redis read without Feast's server, with Feast's own SDK over the same Redis as the oracle."""

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import redis

import featkit
from featkit import Status
from featkit.errors import NotSupportedError, ProtocolError, SettingsError, StoreError
from featkit.stores.feast.entity_keys import field_names
from tests.live.direct import DRIVERS, ReadsLikeFeast, agrees, filled
from tests.programs.running import redis_server

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning"),
]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="module")
def direct(feast, redis_url, tmp_path_factory):
    online_store = {"type": "redis", "connection_string": redis_url.split("/")[2]}
    with filled(feast, tmp_path_factory.mktemp("direct"), online_store) as found:
        yield found


@pytest.fixture(scope="module")
def open_store(direct, redis_url):
    def connect(kind=featkit.connect, url=redis_url, **options):
        # every answer is to come from Redis, not from what an earlier test fetched
        place = {"registry_url": direct.registry_url, "project": direct.project, "cache": None}
        return kind(f"feast+{url}", now=direct.now, **place | options)

    return connect


@pytest.fixture(scope="module")
def store(open_store):
    with open_store() as client:
        yield client


class TestRedis(ReadsLikeFeast):
    STRANGERS = 12_000  # more than one command asks for


def test_the_registry_file_says_what_the_registry_server_says(direct, open_store, store):
    with open_store(registry_url=None, registry=str(direct.folder / "data/registry.db")) as other:
        ours, theirs = (
            {view.name: view for view in client.list_feature_views()} for client in (other, store)
        )
        assert ours == theirs
        assert sorted(other.list_entities(), key=str) == sorted(store.list_entities(), key=str)
        services = [
            {service.name: service for service in client.list_feature_services()}
            for client in (other, store)
        ]
        assert services[0] == services[1]
        assert other.check_health().healthy
        found = other.lookup(DRIVERS, ["driver_hourly_stats:*"])
    right = store.lookup(DRIVERS, ["driver_hourly_stats:*"])
    assert found.to_polars(timestamps=True, statuses=True).equals(
        right.to_polars(timestamps=True, statuses=True)
    )


def test_several_views_of_an_entity_are_read_in_one_command(direct, store, redis_url):
    server = redis.Redis.from_url(redis_url)
    server.ping()
    with server.monitor() as monitor:
        found = store.lookup(
            [1001, 1002],
            ["driver_hourly_stats:conv_rate", "all_types:f_int64", "bench_a:f8"],
        )
        server.ping()
        told = []
        while not told or told[-1] != "PING":
            told.append(monitor.next_command()["command"].split()[0])
    assert told.count("HMGET") == 2
    assert found.values.columns == ["conv_rate", "f_int64", "f8"]
    # not what its source holds: Feast rounds some whole numbers beyond 2**53 as it fills the store
    oracle = direct.oracle(
        {"features": ["all_types:f_int64"], "entities": {"driver_id": [1001, 1002]}}
    )
    assert found.values["f_int64"].to_list() == oracle["f_int64"].values


def test_what_a_server_computes_is_refused_by_name(store):
    with pytest.raises(NotSupportedError, match=r"'trip_fare' is computed on demand.*feast\+http"):
        store.lookup({"driver_id": [1001], "km": [1.0], "vip": [1]}, ["trip_fare:fare"])
    with pytest.raises(NotSupportedError, match=r"'driver_activity_v1'.*'trip_fare'.*on demand"):
        store.lookup({"driver_id": [1001], "customer_id": ["C1"]}, "driver_activity_v1")


def test_a_service_of_stored_views_is_read(store):
    assert store.lookup([1001], "simple_v1").values["avg_daily_trips"].to_list() == [5555]


@contextmanager
def spoilt(redis_url, driver, feature, value):
    """Have a Redis hold something else for a while."""
    (field,) = field_names("driver_stream", [feature])
    server = redis.Redis.from_url(redis_url)
    keys = [each for each in server.scan_iter(count=5000) if server.hexists(each, field)]
    (key,) = [each for each in keys if int.from_bytes(each[-13:-5], "little") == driver]
    before = server.hget(key, field)
    server.hset(key, field, value)
    try:
        yield
    finally:
        server.hset(key, field, before)


def test_a_mismatch_refuses_the_direct_way(direct, open_store, redis_url):
    with (
        spoilt(redis_url, 1003, "last_speed", b"\x29" + bytes(8)),
        open_store(verify=True, server_url=direct.server_url) as client,
        pytest.raises(
            StoreError, match=r"verify: .*'driver_stream'.*'last_speed'.* 0\.0 and 30\.5"
        ),
    ):
        client.lookup([1001, 1003], ["driver_stream:*"])


def test_verifying_needs_a_server(open_store):
    with pytest.raises(SettingsError, match="server_url="):
        open_store(verify=True)


def test_another_type_than_the_registry_says_is_named(open_store, redis_url):
    with (
        spoilt(redis_url, 1002, "n_events", b"\x12\x03two"),
        open_store() as client,
        pytest.raises(ProtocolError, match=r"'n_events'.*INT64.*STRING"),
    ):
        client.lookup([1001, 1002], ["driver_stream:*"])


def test_a_truncated_value_is_named_and_spoils_no_other_view(open_store, redis_url):
    reads = ["driver_stream:last_speed", "driver_hourly_stats:conv_rate"]
    with spoilt(redis_url, 1002, "last_speed", b"\x29\x00"), open_store() as client:
        with pytest.raises(ProtocolError, match="'last_speed'") as caught:
            client.lookup([1001, 1002], reads)
        assert caught.value.partial.values["conv_rate"].to_list() == [0.5, None]
        found = client.get_online_features_batch("driver_stream", [1001, 1003], ["last_speed"])
    assert found == [{"last_speed": 10.5}, {"last_speed": 30.5}]


@pytest.mark.parametrize(
    ("database", "key", "reason"),
    [
        (1, None, "the database 1 of the Redis is empty"),
        (2, "01000000 02000000 01000000 61 04000000 08000000 0000000000000000", "'elsewhere'"),
        (3, "02000000 61 04000000 08000000 0000000000000000", "serialization_version: 3"),
    ],
)
def test_where_nothing_is_found_it_says_what_to_check(open_store, redis_url, database, key, reason):
    url = f"{redis_url[:-1]}{database}"
    if key:
        project = b"rides" if database == 3 else b"elsewhere"
        redis.Redis.from_url(url).hset(bytes.fromhex(key) + project, "f", "")
    with open_store(url=url) as client:
        for _ in range(2):  # no cache makes of it that the entity is unknown
            with pytest.raises(StoreError, match=f"no entity of 'driver_hourly_stats'.*{reason}"):
                client.lookup([1001], ["driver_hourly_stats:conv_rate"])
        assert reason.strip("'") in client.check_health().reason


def test_where_others_are_found_nothing_is_said(open_store):
    with open_store() as client:
        found = client.lookup([9999], ["driver_hourly_stats:conv_rate"])
    assert found.statuses["conv_rate"].to_list() == [Status.NOT_FOUND]


def test_health_tells_what_answers(store, open_store):
    report = store.check_health()
    assert report.healthy
    assert [check.name for check in report.checks] == ["redis", "registry"]
    with open_store(url="redis://127.0.0.1:1/0") as client:
        assert not client.check_health().reachable


def test_an_event_time_is_told_to_the_microsecond(store):
    _, times = store.get_online_features_with_timestamps("driver_hourly_stats", 1009)
    assert times["conv_rate"] == datetime(2026, 11, 22, 21, 0, 0, 123456, tzinfo=UTC)


def test_a_version_of_a_view_is_read_under_its_name_in_the_store(feast, tmp_path):
    with redis_server(tmp_path) as url:
        online_store = {"type": "redis", "connection_string": url.split("/")[2]}
        options = ["--views", "merchant_profile", "--changed", "merchant_profile"]
        with filled(feast, tmp_path, online_store, *options) as direct:
            place = {"registry": str(direct.folder / "data/registry.db"), "project": direct.project}
            how = {"now": direct.now, "cache": None} | place
            with featkit.connect(f"feast+{url}", versioned=True, **how) as client:
                assert client.get_feature_metadata("merchant_profile").version == 1
                agrees(client, direct, "merchant_profile")
                found = client.lookup({"merch_key": ["m-1"]}, ["merchant_profile:*"])
                assert found.values.row(0) != (None,) * found.values.width
            with featkit.connect(f"feast+{url}", **how) as client:
                found = client.lookup({"merch_key": ["m-1"]}, ["merchant_profile:*"])
                assert set(found.statuses["rating"]) == {Status.NOT_FOUND}


def test_keys_of_version_2_are_told_as_what_they_are(feast, tmp_path):
    with redis_server(tmp_path) as url:
        online_store = {"type": "redis", "connection_string": url.split("/")[2]}
        version = {"entity_key_serialization_version": 2}
        options = ["--views", "driver_hourly_stats"]
        with (
            filled(feast, tmp_path, online_store, *options, **version) as direct,
            featkit.connect(
                f"feast+{url}", registry_url=direct.registry_url, project="rides", cache=None
            ) as client,
            pytest.raises(StoreError, match="entity_key_serialization_version: 3"),
        ):
            client.lookup(DRIVERS, ["driver_hourly_stats:*"])
