"""How joins are planned, explained, cut to fit memory, and written to a file."""

import asyncio
import datetime as dt
import inspect

import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import featkit
from featkit.errors import InputError
from featkit.training.options import TrainingOptions

from .conftest import DAY, hours

MILLION = 1_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A view of a million rows: a thousand entities, a row each minute in turn."""
    folder = tmp_path_factory.mktemp("large")
    minutes = pl.int_range(MILLION, eager=True)
    frame = pl.DataFrame(
        {
            "k": minutes % 1000,
            "t": pl.select(DAY + pl.duration(minutes=minutes)).to_series(),
            "x": minutes,
            "y": minutes * 2,
        }
    ).cast({"t": pl.Datetime("us", "UTC")})
    featkit.write_view(folder, frame, name="v", join_keys="k", timestamp="t", ttl="1000m")
    (folder / "timed").mkdir()
    frame.write_parquet(folder / "timed" / "rows.parquet", row_group_size=50_000)
    with (folder / "feature_views.toml").open("a") as file:
        for name, feature in (("timed", "x"), ("other", "y")):
            file.write(
                f'\n[views.{name}]\nsource = "timed/*.parquet"\njoin_keys = ["k"]\n'
                f'timestamp = "t"\nttl = "1000m"\n[views.{name}.features]\n{feature} = {{}}\n'
            )
    return folder


@pytest.fixture
def client(large):
    with featkit.connect(f"parquet:{large}") as client:
        yield client


def at_minute(*numbers):
    return [DAY + dt.timedelta(minutes=each) for each in numbers]


def test_few_entities_are_pushed_down_and_said(client):
    spine = pl.DataFrame({"k": [7, 8], "at": at_minute(500_007, 999_999)})
    plan = client.get_historical_features(spine, "v:x", at="at", explain=True)
    assert "pushdown of keys" in str(plan)
    assert "1,000,000 rows in 1 file" in str(plan)
    assert "few of them are of the spine's 2; the others are left out" in str(plan)
    made = client.get_historical_features(spine, "v:x", at="at")
    assert made.frame["x"].to_list() == [500_007, 999_008]
    assert made.report.plan == (str(plan),)


def test_all_entities_are_not_pushed_down(client):
    spine = pl.DataFrame({"k": range(1000), "at": at_minute(*[10_000] * 1000)})
    plan = client.get_historical_features(spine, "v:x", at="at", explain=True)
    assert "too many for leaving out the others to pay" in str(plan)
    assert "pushdown of keys" not in str(plan)


def test_rows_of_another_time_are_skipped_and_still_explained(client):
    spine = pl.DataFrame({"k": [0, 1, 999, 5000], "at": at_minute(600_000, 599_999, 0, 600_000)})
    late = spine.filter(pl.col("at") > DAY + dt.timedelta(minutes=1))
    plan = client.get_historical_features(late, "timed:x", at="at", explain=True)
    assert "pushdown of times" in str(plan)
    (view,) = client.get_historical_features(late, "timed:x", at="at").report.views
    assert (view.hit, view.unknown_entity) == (2, 1)
    early = pl.DataFrame({"k": [999, 0, 5000], "at": at_minute(500, 500, 500)})
    (view,) = client.get_historical_features(early, "timed:x", at="at").report.views
    assert (view.hit, view.future_only, view.unknown_entity) == (1, 1, 1)
    future = pl.DataFrame({"k": [0, 5000], "at": at_minute(2_000_000, 2_000_000)})
    (view,) = client.get_historical_features(future, "timed:x", at="at").report.views
    assert (view.expired, view.unknown_entity) == (1, 1)


def test_views_on_the_same_files_share_one_join(client):
    spine = pl.DataFrame({"k": [7], "at": at_minute(7)})
    features = ["timed:x", "other:y", "v:y"]
    plan = client.get_historical_features(
        spine, features, at="at", explain=True, full_feature_names=True
    )
    assert [step.views for step in plan.steps] == [("timed", "other"), ("v",)]
    assert "one join: same files, same keys" in str(plan)
    made = client.get_historical_features(spine, features, at="at", full_feature_names=True)
    assert made.frame.row(0)[2:] == (7, 14, 14)


def test_delays_that_differ_need_joins_of_their_own(client):
    spine = pl.DataFrame({"k": [7], "at": at_minute(1007)})
    options = {"known_by": {"timed": "1s"}, "lookback": {"timed": None}}
    made = client.get_historical_features(spine, ["timed:x", "other:y"], at="at", **options)
    assert made.frame.row(0)[2:] == (7, 2014)


@pytest.mark.slow
def test_little_memory_means_buckets(client):
    spine = pl.DataFrame({"k": [*range(1000)] * 100, "at": at_minute(*range(100_000))})
    plan = client.get_historical_features(
        spine, "timed:x", at="at", explain=True, memory_limit="100MB"
    )
    assert "16 key buckets" in str(plan)
    assert "more than the limit of 100 MB" in str(plan)
    tight = client.get_historical_features(spine, "timed:x", at="at", memory_limit="100MB")
    free = client.get_historical_features(spine, "timed:x", at="at")
    assert tight.frame.equals(free.frame)
    assert tight.report.views == free.report.views


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_a_limit_that_nothing_fits_in_is_kept_as_far_as_can_be(history, engine):
    history.write({"k": [1, 1], "t": hours(1, 2), "x": [10, 20]})
    spine = {"k": [1, 2], "at": hours(1, 2)}
    assert history.values(spine, engine=engine, memory_limit=1) == [10, None]


@pytest.mark.parametrize("limit", ["a lot", "-1MB", 0, True, 1.5])
def test_limit_that_cannot_be_read_is_refused(client, limit):
    spine = pl.DataFrame({"k": [7], "at": at_minute(7)})
    with pytest.raises(InputError, match=r"memory_limit=.* cannot be read"):
        client.get_historical_features(spine, "v:x", at="at", memory_limit=limit)


def test_engine_of_another_name_is_refused(client):
    spine = pl.DataFrame({"k": [7], "at": at_minute(7)})
    with pytest.raises(InputError, match="engine='spark' is not an option"):
        client.get_historical_features(spine, "v:x", at="at", engine="spark")


@pytest.mark.parametrize("option", ["strict", "feature_timestamps", "full_feature_names"])
def test_what_is_neither_yes_nor_no_is_refused(client, option):
    spine = pl.DataFrame({"k": [7], "at": at_minute(7)})
    with pytest.raises(InputError, match=rf"{option}='no' is not an option; choose one of"):
        client.get_historical_features(spine, "v:x", at="at", **{option: "no"})


# -- sink ----------------------------------------------------------------------------------------


def test_sink_writes_what_would_have_been_returned(history, tmp_path):
    rows = {"k": [1, 1], "t": hours(1, 3), "x": [10, None], "y": ["a", "b"]}
    history.write(rows)
    spine = {"n": range(5), "k": [1, 2, None, 1, 1], "at": hours(4, 4, 4, 2, None)}
    features, target = ["v:x", "v:y"], tmp_path / "out.parquet"
    held, _ = history.join(spine, features, feature_timestamps=True)
    sunk, _ = history.join(spine, features, feature_timestamps=True, sink=target)
    assert isinstance(sunk.frame, pl.LazyFrame)
    written = sunk.frame.collect()
    expected = history.constructor.collect(held.frame)
    for name in expected.columns:
        assert (
            written[name].to_list()
            == pl.Series(history.constructor.values(held.frame, name)).to_list()
        )
    assert sunk.report.views == held.report.views
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.slow
def test_sink_cuts_large_spines(large, tmp_path):
    spine = pl.LazyFrame(
        {"at": pl.select(DAY + pl.duration(minutes=pl.int_range(700_000)))["literal"]}
    ).with_columns(k=pl.int_range(700_000) % 1000)
    target = tmp_path / "out.parquet"
    with featkit.connect(f"parquet:{large}") as client:
        client.get_historical_features(spine, "v:x", at="at", sink=target)
    assert pq.read_metadata(target).num_row_groups > 1
    assert pl.read_parquet(target)["x"].equals(pl.int_range(700_000, eager=True).alias("x"))


def test_sink_of_an_empty_spine(history, tmp_path):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    spine = {"k": pl.Series([], dtype=pl.Int64), "at": hours()}
    made, _ = history.join(spine, sink=tmp_path / "out.parquet")
    assert made.frame.collect().height == 0
    assert "x" in made.frame.collect_schema()


def test_sink_makes_the_folder_that_there_is_not(history, tmp_path):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    made, _ = history.join({"k": [1], "at": hours(1)}, sink=tmp_path / "no" / "such" / "o.parquet")
    assert made.frame.collect()["x"].to_list() == [10]


@pytest.mark.parametrize(
    ("name", "match"),
    [("out.csv", "end the name with .parquet"), ("file/out.parquet", "cannot be written: .*file")],
)
def test_sink_that_cannot_be_written_is_refused(history, tmp_path, name, match):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=match):
        history.join({"k": [1], "at": hours(1)}, sink=tmp_path / name)


def test_sink_that_is_a_folder_is_refused(history, tmp_path):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    (tmp_path / "out.parquet").mkdir()
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        history.join({"k": [1], "at": hours(1)}, sink=tmp_path / "out.parquet")


@pytest.fixture
def sunk(tmp_path):
    """Write the training set of a pandas frame to a file; return it as pandas reads it."""
    rows = {"k": [1, 2], "t": hours(0, 0), "x": [10, None], "tags": [["a"], None]}
    frame = pl.DataFrame(rows)
    featkit.write_view(tmp_path / "store", frame, name="v", join_keys="k", timestamp="t")
    target = tmp_path / "out.parquet"

    def sink(frame):
        with featkit.connect(f"parquet:{tmp_path / 'store'}") as client:
            features = ["v:x", "v:tags"]
            made = client.get_historical_features(frame, features, at="at", sink=target)
        assert made.frame.collect()["x"].head(2).to_list() == [10, None]
        return pd.read_parquet(target)

    return sink


def test_sink_keeps_the_index_of_pandas(sunk):
    frame = pd.DataFrame({"k": [1, 2], "at": [DAY, DAY], "y": [0.5, 1.5]})
    for own in (
        frame,
        frame.set_index("k"),
        frame.set_index(["k", "at"]),
        frame.set_axis([7, 7], axis=0),
        frame.iloc[::-1].iloc[::-1],
    ):
        pd.testing.assert_frame_equal(sunk(own)[own.columns], own, check_index_type=False)


def test_sink_of_columns_that_only_pandas_has(sunk):
    frame = pd.DataFrame({"k": [1, 2], "at": [DAY, DAY], "c": pd.Categorical(["a", "b"])})
    assert list(sunk(frame.assign(y=1).rename(columns={"y": 5}))) == [
        *("k", "at", "c", "5"),
        *("x", "tags"),
    ]
    nested = frame.set_axis(pd.MultiIndex.from_tuples([("k", ""), ("at", ""), ("c", "d")]), axis=1)
    assert list(sunk(nested)) == ["k", "at", "('c', 'd')", "x", "tags"]


def test_sink_looks_at_all_objects_for_their_type(sunk):
    """The first piece has nothing but nulls."""
    words = pd.Series([None] * 300_000 + ["late"], dtype=object)
    frame = pd.DataFrame({"k": [1, 2] + [1] * 299_999, "at": DAY, "word": words})
    assert sunk(frame)["word"].iloc[-1] == "late"


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"y": [1, "a"]}, "Parquet cannot hold.*'a'"),
        ({"y": [object()] * 2}, "Parquet cannot hold"),
        ({5: [1, 2], "5": [3, 4]}, "Parquet cannot hold.*5"),
    ],
)
def test_sink_of_what_parquet_cannot_hold_is_refused(sunk, columns, match):
    frame = pd.DataFrame({"k": [1, 2], "at": [DAY, DAY]} | columns)
    with pytest.raises(InputError, match=match):
        sunk(frame)


def test_sink_of_python_objects_in_polars_is_refused(history, tmp_path):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    frame = pl.DataFrame({"k": [1], "at": hours(1), "y": pl.Series([object()], dtype=pl.Object)})
    with (
        featkit.connect(f"parquet:{history.folder}") as client,
        pytest.raises(InputError, match="'y' holds Python objects"),
    ):
        client.get_historical_features(frame, "v:x", at="at", sink=tmp_path / "out.parquet")


# -- the accessor --------------------------------------------------------------------------------


def test_the_accessor_explains_without_joining(history, constructor):
    history.write({"k": [1], "t": hours(0), "x": [1]})
    frame = constructor({"k": [1], "at": hours(1)})
    with featkit.connect(f"parquet:{history.folder}") as client:
        plan = featkit.features(frame).training_set("v:x", at="at", explain=True, store=client)
        assert client.last_report is None
    assert isinstance(plan, featkit.JoinPlan)
    assert str(plan).startswith("v: full, by polars")


@pytest.mark.parametrize("options", [{}, {"memory_limit": "700MB"}, {"engine": "duckdb"}])
def test_the_accessor_writes_to_a_file(history, constructor, tmp_path, options):
    history.write({"k": [1, 2], "t": hours(0, 3), "x": [1, 2]})
    frame = constructor({"k": [2, 1, 1], "at": hours(1, 1, None)})
    target = tmp_path / "set.parquet"
    with featkit.connect(f"parquet:{history.folder}") as client:
        accessor = featkit.features(frame)
        made = accessor.training_set("v:x", at="at", sink=target, store=client, **options)
        again = asyncio.run(
            accessor.training_set_async("v:x", at="at", sink=target, store=client, **options)
        )
    assert isinstance(made, pl.LazyFrame)
    assert isinstance(again, pl.LazyFrame)
    assert pl.read_parquet(target)["x"].to_list() == [None, 1, None]


def test_the_accessors_twins_have_one_signature():
    own = inspect.signature(featkit.FeaturesAccessor.training_set)
    assert own == inspect.signature(featkit.FeaturesAccessor.training_set_async)
    assert set(own.parameters) >= set(TrainingOptions.__dataclass_fields__)
