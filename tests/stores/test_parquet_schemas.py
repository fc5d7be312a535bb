"""Files of one view whose schemas differ: what goes together is read together, the rest is told."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

import featkit
from featkit.errors import SourceError

NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def put(tmp_path):
    """Write files, in the order of their names, as the view `v`; return a client of it."""

    def put(*frames, keys=("k",), timestamp=None, source="*.parquet"):
        for number, frame in enumerate(frames):
            frame.write_parquet(tmp_path / f"{number}.parquet")
        lines = ["[views.v]", f'source = "{source}"', f"join_keys = {list(keys)}".replace("'", '"')]
        lines += [f'timestamp = "{timestamp}"'] if timestamp else []
        (tmp_path / "feature_views.toml").write_text("\n".join(lines), "utf-8")
        return featkit.connect(f"parquet:{tmp_path}", now=NOON)

    return put


def two(*pairs):
    """Make a frame with the key 1, and one with the key 2, of a value and its type each."""
    return [
        pl.DataFrame({"k": [n], "x": pl.Series([value], dtype=dtype)})
        for n, (value, dtype) in enumerate(pairs, 1)
    ]


UTC, PARIS = pl.Datetime("us", "UTC"), pl.Datetime("ms", "Europe/Paris")


@pytest.mark.parametrize(
    ("first", "second", "made"),
    [
        ((7, pl.Int32), (2**40, pl.Int64), pl.Int64()),
        ((7, pl.UInt32), (-1, pl.Int16), pl.Int64()),
        ((7, pl.UInt64), (-1, pl.Int8), pl.Int128()),
        ((0.5, pl.Float32), (0.1, pl.Float64), pl.Float64()),
        ((2**53 - 1, pl.Int64), (0.5, pl.Float64), pl.Float64()),
        ((7, pl.Int8), (0.5, pl.Float32), pl.Float64()),
        ((None, pl.Int64), (0.5, pl.Float64), pl.Float64()),
        ((None, pl.Null), ("a", pl.String), pl.String()),
        (("a", pl.Categorical), ("b", pl.String), pl.String()),
        ((Decimal("1.5"), pl.Decimal(4, 1)), (Decimal("2.5"), pl.Decimal(9, 1)), pl.Decimal(9, 1)),
        ((NOON, pl.Datetime("ns", "UTC")), (NOON, UTC), UTC),
        ((NOON, PARIS), (NOON, UTC), UTC),
    ],
    ids=lambda pair: str(pair[1] if isinstance(pair, tuple) else pair),
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_column_gets_the_type_that_holds_what_all_files_have(put, first, second, made, turned):
    frames = two(first, second)
    client = put(*(frames[::-1] if turned else frames))
    assert client.get_feature_metadata("v")["x"].dtype == made
    assert [row["x"] for row in client.get_online_features_batch("v", [1, 2])] == [
        pytest.approx(first[0]) if isinstance(first[0], float) else first[0],
        second[0],
    ]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (
            (7, pl.Int64),
            ("7", pl.String),
            "'x' is int64 in 0.parquet and string in 1.parquet; write",
        ),
        ((True, pl.Boolean), (1, pl.Int64), "'x' is bool in 0.parquet and int64 in 1.parquet"),
        (
            (NOON.date(), pl.Date),
            (NOON, UTC),
            "'x' is date in 0.parquet and timestamp in 1.parquet",
        ),
        ((NOON.replace(tzinfo=None), pl.Datetime), (NOON, UTC), "is naive timestamp in 0.parquet"),
        ((2**53, pl.Int64), (0.5, pl.Float64), "whole numbers in 0.parquet and floats in other"),
        ((-(2**60), pl.Int64), (0.5, pl.Float64), "'x' has whole numbers in 0.parquet"),
    ],
)
def test_types_that_do_not_go_together_are_told_with_their_files(put, first, second, told):
    client = put(*two(first, second))
    with pytest.raises(SourceError, match=f"^feature view 'v': .*{told}.*line 2"):
        client.get_feature_metadata("v")


def test_whole_numbers_of_which_the_footer_tells_nothing_are_not_made_floats(put, tmp_path):
    first, second = two((1, pl.Int64), (0.5, pl.Float64))
    put(first, second)
    first.write_parquet(tmp_path / "0.parquet", statistics=False)
    with pytest.raises(SourceError, match=r"'x' has whole numbers in 0\.parquet"):
        featkit.connect(f"parquet:{tmp_path}").get_feature_metadata("v")


@pytest.mark.parametrize("new_first", [False, True])
def test_a_column_that_only_some_files_have_is_null_in_the_others(put, new_first):
    old = pl.DataFrame({"k": [1], "x": [10]})
    new = pl.DataFrame({"k": [2], "y": ["b"], "x": [20]})
    client = put(*([new, old] if new_first else [old, new]))
    assert client.get_online_features_batch("v", [1, 2, 3]) == [
        {"x": 10, "y": None},
        {"x": 20, "y": "b"},
        {"x": None, "y": None},
    ]


@pytest.mark.parametrize("column", ["k", "t"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_file_without_keys_or_times_is_told(put, column, turned):
    whole = pl.DataFrame({"k": [1], "t": [NOON], "x": [10]})
    frames = [whole, whole.drop(column)]
    lacking, having = (0, 1) if turned else (1, 0)
    client = put(*(frames[::-1] if turned else frames), timestamp="t")
    told = f"{lacking}.parquet has no column '{column}', which {having}.parquet has"
    with pytest.raises(SourceError, match=told):
        client.get_online_features("v", 1)


def test_keys_may_be_in_the_names_of_folders(tmp_path):
    for key, frame in ((1, {"x": [1]}), (2, {"x": [2.5], "y": ["b"]})):
        (tmp_path / f"k={key}").mkdir()
        pl.DataFrame(frame).write_parquet(tmp_path / f"k={key}/part.parquet")
    text = '[views.v]\nsource = "*/*.parquet"\njoin_keys = ["k"]\n'
    (tmp_path / "feature_views.toml").write_text(text, "utf-8")
    client = featkit.connect(f"parquet:{tmp_path}")
    assert client.get_online_features_batch("v", [1, 2]) == [
        {"x": 1, "y": None},
        {"x": 2.5, "y": "b"},
    ]


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_history_is_joined_over_files_of_several_kinds(put, engine):
    units = ["ns", "ms", "us"]
    frames = [
        pl.DataFrame(
            {
                "k": pl.Series([1, 2], dtype=dtype),
                "t": pl.Series([NOON + n * HOUR] * 2).dt.cast_time_unit(unit),
                "x": [n, 10 + n] if n else [0.5, None],
                **({"y": ["a", "b"]} if n == 2 else {}),
            }
        ).with_columns(pl.col("t").dt.convert_time_zone("Asia/Tokyo" if n else "UTC"))
        for n, (dtype, unit) in enumerate(zip([pl.Int8, pl.Int64, pl.UInt16], units, strict=True))
    ]
    client = put(*frames, timestamp="t")
    spine = pl.DataFrame(
        {"k": [2, 1, 1, 2, 1], "at": [NOON + n * HOUR for n in (0, 0, 1.5, 2, -1)]}
    )
    made = client.get_historical_features(spine, "v:*", at="at", engine=engine).frame
    assert made["x"].to_list() == [None, 0.5, 1, 12, None]
    assert made["y"].to_list() == [None, None, None, "b", None]


def test_a_file_that_changes_is_read_anew(put, tmp_path):
    client = put(*two((1, pl.Int64), (2, pl.Int64)))
    assert client.get_online_features("v", 1) == {"x": 1}
    pl.DataFrame({"k": [1], "x": [0.25]}).write_parquet(tmp_path / "0.parquet")
    assert client.get_online_features("v", 1) == {"x": 0.25}


# -- moments finer than microseconds

FINE = pl.Series([1_000, 1_001]).cast(pl.Datetime("ns", "UTC"))


@pytest.mark.parametrize("zone", ["UTC", None])
def test_keys_that_differ_by_nanoseconds_are_refused(put, zone):
    frame = pl.DataFrame({"k": FINE.cast(pl.Datetime("ns", zone)), "x": [1, 2]})
    told = r"the key 'k' has moments that differ by nanoseconds in 0\.parquet.*line 2"
    with pytest.raises(SourceError, match=told):
        put(frame).get_online_features("v", NOON)


def test_keys_that_differ_by_nanoseconds_are_seen_where_other_files_have_microseconds(put):
    frames = [pl.DataFrame({"k": k, "x": [1, 2]}) for k in (FINE.cast(UTC), FINE)]
    spine = pl.DataFrame({"k": FINE.cast(UTC), "at": NOON})
    with pytest.raises(SourceError, match=r"nanoseconds in 1\.parquet"):
        put(*frames).get_historical_features(spine, ["v:x"], at="at")


def test_keys_in_whole_microseconds_may_be_written_as_nanoseconds(put):
    keys = pl.Series([1_000, 2_000, None]).cast(pl.Datetime("ns", "UTC"))
    client = put(pl.DataFrame({"k": keys, "x": [1, 2, 3]}))
    assert client.get_online_features_batch("v", list(keys.cast(UTC)[:2])) == [{"x": 1}, {"x": 2}]


def test_a_file_that_is_written_again_is_looked_at_again(put):
    whole, fine = (
        pl.DataFrame({"k": pl.Series(k).cast(pl.Datetime("ns", "UTC")), "x": [1, 2]})
        for k in ([1_000, 2_000], [1_000, 2_001])
    )
    assert put(whole).get_feature_metadata("v")["x"].dtype == pl.Int64
    with pytest.raises(SourceError, match="nanoseconds"):
        put(fine).get_feature_metadata("v")
