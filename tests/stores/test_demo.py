"""The demo store: what is in it is what flew, and nothing is known before it happened."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featkit
import featkit.demo
from featkit.errors import ExpiredWarning, InputError, SettingsError
from featkit.stores.demo import NOW, build, flights, views

pytestmark = pytest.mark.slow  # all the flights of 2013


@pytest.fixture(scope="module")
def spine():
    return flights()


@pytest.fixture(scope="module")
def tables(spine):
    return views(spine)


@pytest.fixture
def store():
    with featkit.connect("demo:flights") as client:
        yield client


# -- the flights


def test_every_flight_of_2013_is_there(spine):
    assert spine.height == 336_776
    assert spine["departs_at"].dtype == pl.Datetime("us", "UTC")
    assert spine["departs_at"].min() == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)
    assert spine["departs_at"].max() == datetime(2014, 1, 1, 4, 59, tzinfo=UTC)
    distinct = {name: spine[name].drop_nulls().n_unique() for name in ("carrier", "origin", "dest")}
    assert distinct == {"carrier": 16, "origin": 3, "dest": 105}
    assert spine["tailnum"].drop_nulls().n_unique() == 4_043


@pytest.mark.usefixtures("store")
def test_what_is_kept_beside_the_store_is_what_the_data_set_has(tmp_path, monkeypatch):
    kept = flights()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert_frame_equal(kept, flights(), check_exact=True)
    assert list(tmp_path.iterdir()) == []


def test_cancelled_and_diverted_flights_have_no_outcome(spine):
    nulls = spine.null_count().row(0, named=True)
    assert nulls["tailnum"] == 2_512
    assert nulls["dep_delay"] == nulls["dep_time"] == 8_255
    assert nulls["arr_delay"] == nulls["arrived_at"] == 9_430
    assert spine.filter(
        pl.col("dep_delay").is_null() & pl.col("arr_delay").is_not_null()
    ).is_empty()


def test_the_mean_delays_are_those_of_the_data_set(spine):
    assert spine["dep_delay"].mean() == pytest.approx(12.639070)
    assert spine["arr_delay"].mean() == pytest.approx(6.895377)
    assert (spine["dep_delay"].max(), spine["arr_delay"].max()) == (1301, 1272)


def test_the_local_clocks_agree_with_the_moments(spine):
    local = pl.col("departs_at").dt.convert_time_zone("America/New_York")
    clock = local.dt.hour().cast(pl.Int64) * 100 + local.dt.minute()
    assert spine.select((clock == pl.col("sched_dep_time")).all()).item()
    took = spine["arrived_at"] - spine["departs_at"]
    assert timedelta(0) < took.min() < took.max() < timedelta(days=2)


def test_a_library_that_has_no_flights_is_told():
    with pytest.raises(
        InputError, match="library='arrow' is not an option; choose one of 'pandas'"
    ):
        featkit.demo.flights("arrow")


def test_pandas_gets_the_same_flights():
    frame = featkit.demo.flights()
    assert frame.shape == (336_776, 15)
    assert frame["tailnum"].isna().sum() == 2_512
    assert str(frame["departs_at"].dtype) == "datetime64[us, UTC]"


# -- the views


@pytest.mark.parametrize(
    ("view", "rows", "entities"),
    [
        ("origin_weather", 26_115, 3),
        ("aircraft", 3_322, 3_322),
        ("carrier_history", 5_548, 16),
        ("tail_history", 327_096, 4_037),
        ("route_history", 70_253, 223),
    ],
)
def test_the_views_have_the_rows_of_the_data_set(tables, store, view, rows, entities):
    described = store.get_feature_metadata(view)
    assert tables[view].height == rows
    assert tables[view].select(described.join_keys).n_unique() == entities
    assert set(described.feature_names) < set(tables[view].columns)


def test_every_view_and_feature_is_described(store):
    for view in store.list_feature_views():
        assert view.description
        assert view.owner
        assert [feature.name for feature in view.features if not feature.description] == []


def test_nothing_was_written_after_the_clock_stopped(tables):
    for table in tables.values():
        for name in {"event_timestamp", "created_timestamp"} & set(table.columns):
            assert table[name].max() <= NOW


def test_no_entity_has_two_rows_of_one_moment(tables, store):
    twice = {}
    for view in store.list_feature_views():
        keys = tables[view.name].select(*view.join_keys, *filter(None, [view.timestamp]))
        twice[view.name] = keys.filter(keys.is_duplicated())
    # an error of the source: this aircraft is in Seattle and in Los Angeles at once
    assert twice.pop("tail_history")["tailnum"].to_list() == ["N710TW", "N710TW"]
    assert all(rows.is_empty() for rows in twice.values())


def test_carrier_history_is_the_mean_of_seven_days(spine, store):
    end = datetime(2013, 12, 31, tzinfo=UTC)
    start = end - timedelta(days=7)
    own = spine.filter(pl.col("carrier") == "UA")
    left = own.filter(
        (pl.col("departs_at") + pl.duration(minutes="dep_delay")).is_between(start, end, "left")
    )
    arrived = own.filter(pl.col("arrived_at").is_between(start, end, "left"))
    cancelled = own.filter(
        pl.col("dep_delay").is_null() & pl.col("departs_at").is_between(start, end, "left")
    )
    values, times = store.get_online_features_with_timestamps("carrier_history", "UA")
    assert set(times.values()) == {end}
    assert values == {
        "mean_dep_delay_7d": pytest.approx(left["dep_delay"].mean()),
        "mean_delay_7d": pytest.approx(arrived["arr_delay"].mean()),
        "cancelled_share_7d": pytest.approx(cancelled.height / (left.height + cancelled.height)),
        "flights_7d": arrived.height,
    }


def test_route_history_is_the_mean_of_thirty_days(spine, store):
    arrived = spine.filter(
        (pl.col("origin") == "JFK") & (pl.col("dest") == "LAX"),
        pl.col("arrived_at").is_between(NOW - timedelta(days=30), NOW, "left"),
    )
    assert store.get_online_features("route_history", ("JFK", "LAX")) == {
        "mean_air_time_30d": pytest.approx(arrived["air_time"].mean()),
        "mean_arr_delay_30d": pytest.approx(arrived["arr_delay"].mean()),
        "flights_30d": arrived.height,
    }


def test_tail_history_is_what_the_aircraft_did_last(spine, store):
    own = spine.filter(pl.col("tailnum") == "N14228", pl.col("arrived_at") <= NOW)
    own = own.sort("arrived_at")
    values, times = store.get_online_features_with_timestamps("tail_history", "N14228")
    assert set(times.values()) == {own["arrived_at"][-1]}
    assert values == {
        "flights_so_far": own.height,
        "last_arr_delay": own["arr_delay"][-1],
        "mean_arr_delay_10": pytest.approx(own["arr_delay"].tail(10).mean()),
        "last_dest": own["dest"][-1],
    }


def test_the_registry_knows_some_aircraft(store):
    assert store.get_online_features("aircraft", "N14228") == {
        "manufactured_year": 1999,
        "manufacturer": "BOEING",
        "model": "737-824",
        "type": "Fixed wing multi engine",
        "engine": "Turbo-fan",
        "engines": 2,
        "seats": 149,
    }
    assert store.get_online_features("aircraft", "N3ALAA", ["seats"]) == {"seats": None}


def test_the_weather_of_the_last_day_is_expired(store):
    with pytest.warns(ExpiredWarning, match="origin_weather"):
        values, times = store.get_online_features_with_timestamps(
            "origin_weather", "JFK", ["temperature"]
        )
    assert values == {"temperature": 30.02}
    assert times == {"temperature": datetime(2013, 12, 30, 23, tzinfo=UTC)}


def test_the_service_names_features_that_exist(store):
    (service,) = store.list_feature_services()
    names = {
        f"{view.name}:{name}" for view in store.list_feature_views() for name in view.feature_names
    }
    assert {str(ref) for ref in service.features} <= names


# -- how it is built


def test_an_unknown_demo_is_told():
    with pytest.raises(SettingsError, match="no demo store 'flight'; did you mean 'flights'"):
        featkit.connect("demo:flight")


@pytest.mark.slow
def test_two_processes_build_one_store(tmp_path):
    root = tmp_path / "cache" / "flights"
    program = "import sys, pathlib, featkit.stores.demo as d; d.build(pathlib.Path(sys.argv[1]))"
    both = [subprocess.Popen([sys.executable, "-c", program, root]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert [path.name for path in root.parent.iterdir()] == ["flights"]
    store = featkit.connect(f"parquet:{root}")
    assert store.get_online_features("aircraft", "N14228", ["seats"]) == {"seats": 149}
    assert len(store.list_feature_views()) == 5


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "flights").mkdir()
    (tmp_path / "flights" / "mine.txt").write_text("mine")
    with pytest.raises(OSError, match="flights"):
        build(tmp_path / "flights")
    assert [path.name for path in tmp_path.rglob("*")] == ["flights", "mine.txt"]
