"""What Feast's servers say over the wire, asked without any client of ours in between."""

import contextlib
import datetime as dt
import http.client
import json
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pyarrow as pa
import pyarrow.flight
import pytest

pytestmark = pytest.mark.live

RECORDED = Path(__file__).parents[1] / "data" / "feast"
JSON = {"Content-Type": "application/json"}
NO_PROXY = ("grpc.enable_http_proxy", 0)  # gRPC would take one even to this machine
NEVER = "1970-01-01T00:00:00Z"
HOURLY = [f"driver_hourly_stats:{name}" for name in ("conv_rate", "acc_rate", "avg_daily_trips")]
TYPE_VIEWS = ["all_types", "all_sets", "exotic", "more_exotic", "documents", "proto_only"]

# Those that write would change what other tests read; the UI is not served here.
NOT_REPLAYED = {
    "materialize_inc": "writes",
    "push": "writes",
    "push_read_back": "reads what push wrote",
    "write_online": "writes",
    "redis_missing": "another online store",
    "redis_null_expired": "another online store",
    "service_missing_reqdata": "names the missing inputs in the order of a set",
}
REPLAYED = [
    path for path in sorted((RECORDED / "http").glob("*.json")) if path.stem not in NOT_REPLAYED
]


@contextlib.contextmanager
def client(url):
    """Open a client that reconnects each time, since Feast hangs up after each error."""
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=url, limits=limits, timeout=60, trust_env=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def online(feast):
    with client(feast.server_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def registry(feast):
    with client(feast.registry_url) as opened:
        yield opened


def columns(answer):
    """Map each column's name to its values, statuses and event times; their order is random."""
    names = answer["metadata"]["feature_names"]
    return dict(zip(names, answer["results"], strict=True))


def look_up(online, features, **entities):
    reply = online.post("/get-online-features", json={"features": features, "entities": entities})
    assert reply.status_code == 200, reply.text
    return columns(reply.json())


def without_order(body):
    """Forget the order of columns, and that of the members of a set."""
    if not isinstance(body, dict) or "results" not in body:
        return body
    found = columns(body)
    for name, column in found.items():
        if name == "x_set" or name.startswith("s_"):
            column["values"] = [each and sorted(each, key=str) for each in column["values"]]
    return {**body, "results": found, "metadata": body["metadata"].get("feature_view_metadata")}


@pytest.mark.parametrize("path", REPLAYED, ids=lambda path: path.stem)
def test_recorded_answers_still_hold(online, path):
    recorded = json.loads(path.read_text("utf-8"))
    request, response = recorded["request"], recorded["response"]
    body = request["body"]
    content = body if isinstance(body, str) or body is None else json.dumps(body)
    headers = {**JSON, **request["headers"]}
    reply = online.request(request["method"], request["path"], headers=headers, content=content)
    assert reply.status_code == response["status"]
    said = reply.json() if reply.content else ""
    assert without_order(said) == without_order(response["body"])


def test_ttl_is_not_enforced(online):
    expired = look_up(online, HOURLY, driver_id=[1004])["conv_rate"]
    assert expired == {
        "values": [0.6831146478652954],
        "statuses": ["PRESENT"],
        "event_timestamps": ["2026-11-19T22:00:00Z"],
    }


def test_null_is_present_and_unknown_is_not_found(online):
    trips = look_up(online, HOURLY, driver_id=[1002, 9999, 1099])["avg_daily_trips"]
    assert trips == {
        "values": [None, None, None],
        "statuses": ["PRESENT", "NOT_FOUND", "NOT_FOUND"],
        "event_timestamps": ["2026-11-22T22:00:00Z", NEVER, NEVER],
    }


def test_event_times_lie_around_the_moment_that_tests_call_now(feast, online):
    drivers = look_up(online, HOURLY, driver_id=[1001, 1006, 1007, 1008])["acc_rate"]
    ages = [feast.now - dt.datetime.fromisoformat(each) for each in drivers["event_timestamps"]]
    second, hour = dt.timedelta(seconds=1), dt.timedelta(hours=1)
    assert ages == [0 * hour, 24 * hour, 24 * hour + second, -hour]


def test_null_entity_fails_the_whole_batch(online):
    reply = online.post(
        "/get-online-features", json={"features": HOURLY, "entities": {"driver_id": [1001, None]}}
    )
    assert reply.status_code == 500
    assert reply.json() == "attribute name must be string, not 'NoneType'"


def test_connection_is_closed_after_an_error_without_a_word(feast):
    address = urlsplit(feast.server_url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    with contextlib.closing(connection):
        for view, status in [("driver_hourly_stats", 200), ("nope", 404)]:
            request = {"features": [f"{view}:conv_rate"], "entities": {"driver_id": [1001]}}
            connection.request("POST", "/get-online-features", json.dumps(request), JSON)
            reply = connection.getresponse()
            reply.read()
            assert reply.status == status
            assert reply.getheader("Connection") is None
        assert connection.sock.recv(1) == b""  # would time out were it open


def test_pushed_row_is_read_back(online):
    row = {
        "driver_id": [777],
        "event_timestamp": ["2026-11-22T21:59:00"],
        "created": ["2026-11-22T21:59:30"],
        "last_speed": [99.5],
        "n_events": [7],
    }
    reply = online.post(
        "/push", json={"push_source_name": "driver_push", "df": row, "to": "online"}
    )
    assert reply.status_code == 200
    speed = look_up(online, ["driver_stream:last_speed"], driver_id=[777])["last_speed"]
    assert speed["values"] == [99.5]
    assert speed["event_timestamps"] == ["2026-11-22T21:59:00Z"]


def test_one_view_twice_in_a_service_has_two_join_keys(online):
    request = {
        "feature_service": "pair_v1",
        "entities": {"first_id": [1001], "second_id": [1005]},
        "full_feature_names": True,
    }
    answer = columns(online.post("/get-online-features", json=request).json())
    values = {name: column["values"][0] for name, column in answer.items()}
    assert values == {
        "first_id": 1001,
        "second_id": 1005,
        "first__conv_rate": 0.5,
        "second__conv_rate": 0.06599744409322739,
    }


@pytest.mark.parametrize("view", TYPE_VIEWS)
def test_oracle_knows_what_json_leaves_out(feast, online, registry, view):
    listed = registry.get("/feature_views", params={"project": feast.project}).json()
    (spec,) = [each["spec"] for each in listed["featureViews"] if each["spec"]["name"] == view]
    features = [f"{view}:{feature['name']}" for feature in spec["features"]]
    entities = {"driver_id": [1001, 1002, 1003, 9999]}
    served = look_up(online, features, **entities)
    known = feast.oracle({"features": features, "entities": entities})
    assert served.keys() == known.keys()
    for name, column in known.items():
        assert served[name]["statuses"] == column.statuses
        times = [NEVER if time is None else time for time in column.event_timestamps]
        said = [time if time == NEVER else time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in times]
        assert served[name]["event_timestamps"] == said


def test_oracle_answers_with_python_values(feast):
    features = ["all_types:f_bytes", "all_types:f_ts", "all_types:f_double", "all_sets:s_int64"]
    answer = feast.oracle({"features": features, "entities": {"driver_id": [1001, 1002, 1004]}})
    assert answer["f_bytes"].values == [b"\x00\xff\x00", None, b"\x00\xff\x03"]
    assert answer["f_ts"].values[:2] == [feast.now - dt.timedelta(seconds=1), None]
    assert answer["f_double"].values == [0.1, None, float("inf")]
    assert answer["s_int64"].values == [{2**53 + 1, -1}, None, None]
    assert answer["s_int64"].event_timestamps[2] is None


def test_registry_describes_all_views_in_one_call(feast, registry):
    listed = registry.get("/feature_views", params={"project": feast.project}).json()
    specs = {each["spec"]["name"]: each["spec"] for each in listed["featureViews"]}
    assert {"driver_hourly_stats", "affinity", "trip_fare", *TYPE_VIEWS} < specs.keys()
    assert specs["driver_hourly_stats"]["ttl"] == "86400s"
    assert specs["merchant_profile"]["ttl"] == specs["all_types"]["ttl"] == "0s"
    assert specs["affinity"]["entityColumns"] == [
        {"name": "driver_id", "valueType": "INT64"},
        {"name": "customer_id", "valueType": "STRING"},
    ]
    assert "online" not in specs["bench_b"]


def test_registry_says_two_types_as_numbers_and_fails_on_their_view(feast, registry):
    project = {"project": feast.project}
    listed = registry.get("/feature_views", params=project).json()
    (view,) = [each for each in listed["featureViews"] if each["spec"]["name"] == "documents"]
    types = {feature["name"]: feature["valueType"] for feature in view["spec"]["features"]}
    assert types == {"d_pdf": 30, "d_image": 31}
    assert registry.get("/feature_views/documents", params=project).status_code == 500


def test_unknown_object_of_the_registry(feast, registry):
    reply = registry.get("/feature_views/nope", params={"project": feast.project})
    assert reply.status_code == 404
    assert reply.json().keys() == {"status_code", "detail", "error_type"}


def spine(feast, rows):
    hour = dt.timedelta(hours=1)
    return pa.table(
        {
            "__row": pa.array(range(len(rows)), pa.int64()),
            "driver_id": pa.array([driver for driver, _ in rows], pa.int64()),
            "event_timestamp": pa.array(
                [feast.now - hours * hour for _, hours in rows], pa.timestamp("us", tz="UTC")
            ),
        }
    )


ROWS = [
    (1001, 0),  # two source rows at this time: the one written later counts
    (1001, 0.5),
    (1004, 0),  # beyond the ttl
    (1004, 72),
    (1006, 0),  # as old as its ttl
    (1007, 0),  # a second older
    (9999, 0),  # unknown
]
TRIPS = {0: 5555, 1: 100, 2: None, 3: 993, 4: 600, 5: None, 6: None}


def join(url, table):
    """Ask for a point-in-time join as Feast's own remote client would: one exchange, no SDK."""
    command = json.loads((RECORDED / "flight_command.json").read_text("utf-8"))
    descriptor = pa.flight.FlightDescriptor.for_command(json.dumps(command))
    with pa.flight.FlightClient(url, generic_options=[NO_PROXY]) as flight:
        writer, reader = flight.do_exchange(descriptor)
        with writer:
            writer.begin(table.schema)
            writer.write_table(table)
            writer.done_writing()
            return reader.read_all()


def by_row(table):
    return dict(zip(*table.select(["__row", "avg_daily_trips"]).to_pydict().values(), strict=True))


def test_history_keeps_a_row_id_and_drops_what_lies_beyond_the_ttl(feast):
    answer = by_row(join(feast.offline_url, spine(feast, ROWS)))
    assert answer == {row: trips for row, trips in TRIPS.items() if row not in {2, 5}}


def test_history_over_duckdb_drops_nothing(feast):
    assert by_row(join(feast.offline_duckdb_url, spine(feast, ROWS))) == TRIPS


@pytest.mark.parametrize("engine", ["file", "duckdb"])
def test_history_is_what_the_sdk_joins_in_process(feast, engine):
    url = {"file": feast.offline_url, "duckdb": feast.offline_duckdb_url}[engine]
    table = spine(feast, ROWS)
    known = feast.oracle_history(table, HOURLY, engine=engine)
    order = [("__row", "ascending")]
    served = join(url, table).select(known.column_names)
    assert served.sort_by(order).to_pydict() == known.sort_by(order).to_pydict()


GRPC_CHECK = """
import sys
import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
with grpc.insecure_channel(sys.argv[1], [("grpc.enable_http_proxy", 0)]) as channel:
    print(HealthStub(channel).Check(HealthCheckRequest(), timeout=30).status)
"""


def test_grpc_server_is_serving(feast):
    command = [feast.python, "-c", GRPC_CHECK, feast.grpc_address]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.strip() == "1"
