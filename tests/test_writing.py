"""Writing feature views: what is written, what is refused, and that nothing old is harmed."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit.definitions import parse
from featkit.errors import (
    DefinitionError,
    DurationError,
    InputError,
    KeyColumnError,
    KeyTypeError,
    NameClashError,
    SourceError,
    TimestampError,
    UnknownNameError,
)
from featkit.writing import ROW_GROUP, SORTED_BY, freeze_clock

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
SHOPS = pl.DataFrame({"shop": [2, 1], "at": [NOON, NOON], "rating": [3.9, 4.5]})
ROLES = {"name": "shops", "join_keys": "shop", "timestamp": "at"}


def written(folder):
    return (folder / "feature_views.toml").read_text("utf-8")


def definition(folder):
    return parse(written(folder), folder / "feature_views.toml")


def rating(folder, shop=1):
    return featkit.connect(f"parquet:{folder}", now=NOON).get_online_features("shops", shop)


# -- what is written


def test_the_definition_reads_as_a_person_would_write_it(tmp_path):
    featkit.write_view(
        tmp_path,
        SHOPS.with_columns(pl.Series("tags", [["new"], []]), opened=date(2020, 1, 1)),
        **ROLES,
        ttl=timedelta(days=1, hours=12),
        description="Shops.",
        owner="retail",
        tags={"team": "ops"},
        features={"rating": "stars, 1 to 5"},
    )
    featkit.write_service(tmp_path, name="model", features=["shops:rating", "shops:tags"])
    assert (
        written(tmp_path)
        == """[views.shops]
source = "shops/part-0.parquet"
join_keys = ["shop"]
timestamp = "at"
ttl = "1d12h"
description = "Shops."
owner = "retail"
tags = {team = "ops"}

[views.shops.features]
rating = {description = "stars, 1 to 5", dtype = "float64"}
tags = {dtype = "list[string]"}
opened = {dtype = "date"}

[services.model]
features = [
    "shops:rating",
    "shops:tags",
]
"""
    )


def test_what_was_said_is_what_the_store_says(tmp_path):
    featkit.write_view(
        tmp_path,
        SHOPS,
        **ROLES,
        ttl="36h",
        description='Quotes " and \\ and\nlines.',
        tags={"a key": "ü"},
        features={"rating": "stars"},
    )
    view = featkit.connect(f"parquet:{tmp_path}").get_feature_metadata("shops")
    assert (view.ttl, view.tags) == (timedelta(hours=36), {"a key": "ü"})
    assert view.description == 'Quotes " and \\ and\nlines.'
    assert view["rating"].description == "stars"


@pytest.mark.parametrize("convert", [pl.DataFrame.lazy, pl.DataFrame.to_pandas, lambda f: f])
def test_every_kind_of_frame_is_written_and_left_as_it_was(tmp_path, convert):
    frame = convert(SHOPS)
    before = frame.copy() if isinstance(frame, pd.DataFrame) else frame.clone()
    featkit.write_view(tmp_path, frame, **ROLES)
    assert rating(tmp_path) == {"rating": 4.5}
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(frame, before)
    else:
        assert_frame_equal(frame, before)


def test_of_rows_within_a_microsecond_the_last_wins(tmp_path):
    nanoseconds = pl.Series([1_900, 1_100, 900]).cast(pl.Datetime("ns", "UTC"))
    frame = pl.DataFrame({"shop": [1, 1, 1], "at": nanoseconds, "rating": [5.0, 4.0, 3.0]})
    featkit.write_view(tmp_path, frame, **ROLES)
    assert rating(tmp_path) == {"rating": 5.0}
    assert pl.read_parquet(tmp_path / "shops/part-0.parquet")["at"].to_physical().to_list() == [
        *(0, 1, 1)
    ]


def test_keys_between_two_microseconds_are_refused(tmp_path):
    featkit.write_view(tmp_path, SHOPS, **ROLES)
    keys = pl.Series([1_000, 1_001]).cast(pl.Datetime("ns", "UTC"))
    told = r"the key 'shop' has moments that differ by nanoseconds.*round the column first"
    with pytest.raises(KeyTypeError, match=told):
        featkit.write_view(tmp_path, SHOPS.with_columns(shop=keys), **ROLES, overwrite=True)
    assert rating(tmp_path) == {"rating": 4.5}  # nothing was replaced
    whole = SHOPS.with_columns(shop=pl.Series([1_000, 2_000]).cast(pl.Datetime("ns", "UTC")))
    featkit.write_view(tmp_path, whole, **ROLES, overwrite=True)
    assert rating(tmp_path, whole["shop"][1]) == {"rating": 4.5}


def test_an_index_of_pandas_is_not_written(tmp_path):
    frame = SHOPS.to_pandas().set_index(pd.Index(["x", "y"], name="label"))
    featkit.write_view(tmp_path, frame, **ROLES)
    assert rating(tmp_path) == {"rating": 4.5}


def test_keys_and_times_in_an_index_of_pandas_are_written(tmp_path):
    frame = SHOPS.to_pandas().groupby(["shop", "at"])[["rating"]].max()
    frame = frame.set_index(pd.Index(["x", "y"], name="label"), append=True)
    before = frame.copy()
    featkit.write_view(tmp_path, frame, **ROLES)
    pd.testing.assert_frame_equal(frame, before)
    assert rating(tmp_path) == {"rating": 4.5}


def test_a_column_comes_before_a_level_of_its_name(tmp_path):
    frame = SHOPS.to_pandas().set_index(pd.Index([8, 9], name="shop"))
    featkit.write_view(tmp_path, frame, **ROLES)
    assert rating(tmp_path) == {"rating": 4.5}


def test_dates_are_the_midnights_of_the_zone_that_was_said(tmp_path):
    days = SHOPS.with_columns(at=pl.lit(datetime(2024, 4, 2, tzinfo=UTC).date()))
    featkit.write_view(tmp_path, days, **ROLES, timezone="Europe/Paris")
    store = featkit.connect(f"parquet:{tmp_path}", now=NOON)
    found = store.lookup([1], ["shops:rating"]).timestamps["rating"].item()
    assert found == datetime(2024, 4, 1, 22, tzinfo=UTC)
    with pytest.raises(TimestampError, match=r"'at' are naive.*timezone='UTC'"):
        featkit.write_view(tmp_path, days, **ROLES | {"name": "other"})


@pytest.mark.parametrize(
    ("moment", "why"),
    [("2024-03-31T02:30", "is non-existent"), ("2024-10-27T02:30", "is ambiguous")],
)
def test_an_hour_that_never_was_or_came_twice_is_told_in_one_line(tmp_path, moment, why):
    naive = SHOPS.with_columns(at=pl.lit(datetime.fromisoformat(moment)))
    with pytest.raises(InputError) as caught:
        featkit.write_view(tmp_path, naive, **ROLES, timezone="Europe/Paris")
    assert str(caught.value).endswith(f"{why} in time zone 'Europe/Paris'")


def test_every_dtype_comes_back(tmp_path):
    frame = pl.DataFrame(
        {
            "k": [1],
            "int8": pl.Series([-1], dtype=pl.Int8),
            "uint64": pl.Series([2**64 - 1], dtype=pl.UInt64),
            "float32": pl.Series([0.5], dtype=pl.Float32),
            "bytes": [b"\x00\xff"],
            "time": [datetime(2024, 1, 1, 1, 2, 3, tzinfo=UTC).time()],
            "duration": [timedelta(seconds=1)],
            "categorical": pl.Series(["a"], dtype=pl.Categorical),
            "decimal": pl.Series(["1.50"]).str.to_decimal(scale=2),
            "struct": [{"a": 1, "b": [None, "x"]}],
            "null": [None],
            "ns": pl.Series([NOON]).dt.cast_time_unit("ns"),
            "paris": pl.Series([NOON]).dt.convert_time_zone("Europe/Paris"),
        }
    )
    featkit.write_view(tmp_path, frame, name="all", join_keys="k")
    store = featkit.connect(f"parquet:{tmp_path}")
    assert store.get_online_features("all", 1) == frame.drop("k").to_dicts()[0]
    dtypes = {item.name: item.dtype for item in store.get_feature_metadata("all").features}
    assert dtypes["ns"] == dtypes["paris"] == pl.Datetime("us", "UTC")
    assert dtypes["categorical"] == pl.String
    del dtypes["ns"], dtypes["paris"], dtypes["categorical"]
    assert dtypes == {name: frame.schema[name] for name in dtypes}


def test_naive_timestamps_become_utc_in_the_zone_that_was_said(tmp_path):
    naive = SHOPS.with_columns(
        pl.col("at").dt.convert_time_zone("America/New_York").dt.replace_time_zone(None)
    )
    featkit.write_view(tmp_path, naive, **ROLES, timezone="America/New_York")
    store = featkit.connect(f"parquet:{tmp_path}", now=NOON)
    _, times = store.get_online_features_with_timestamps("shops", 1)
    assert times == {"rating": NOON}


def test_timestamps_of_pandas_may_be_in_any_zone(tmp_path):
    frame = SHOPS.to_pandas()
    frame["at"] = (
        frame["at"].dt.tz_convert(ZoneInfo("Asia/Tokyo")).astype("datetime64[s, Asia/Tokyo]")
    )
    featkit.write_view(tmp_path, frame, **ROLES)
    assert pl.read_parquet_schema(tmp_path / "shops/part-0.parquet")["at"] == pl.Datetime(
        "us", "UTC"
    )
    assert rating(tmp_path) == {"rating": 4.5}


def test_timestamps_of_pandas_may_be_at_an_offset_that_no_zone_has(tmp_path):
    frame = SHOPS.to_pandas()
    frame["at"] = frame["at"].dt.tz_convert(timezone(timedelta(hours=5, minutes=45)))
    featkit.write_view(tmp_path, frame, **ROLES)
    assert rating(tmp_path) == {"rating": 4.5}


def test_a_frame_without_rows_makes_a_view_without_entities(tmp_path):
    featkit.write_view(tmp_path, SHOPS.clear(), **ROLES)
    assert rating(tmp_path) == {"rating": None}


# -- the file is made for reading


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Write a view of five row groups, out of order."""
    folder = tmp_path_factory.mktemp("large")
    number = np.random.default_rng(0).permutation(5 * ROW_GROUP)
    frame = pl.DataFrame({"shop": number // 2, "rating": number}).with_columns(
        at=pl.lit(NOON, pl.Datetime("us", "UTC")) + pl.duration(hours=pl.col("rating") % 2 - 1)
    )
    featkit.write_view(folder, frame, **ROLES)
    return folder


def test_rows_are_sorted_by_keys_and_time(large):
    rows = pl.read_parquet(large / "shops/part-0.parquet")
    assert_frame_equal(rows, rows.sort("shop", "at"))


def test_row_groups_have_statistics_and_do_not_overlap(large):
    metadata = pq.ParquetFile(large / "shops/part-0.parquet").metadata
    assert metadata.num_row_groups >= 5
    ranges = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        assert group.num_rows <= ROW_GROUP
        assert all(group.column(column).is_stats_set for column in range(metadata.num_columns))
        statistics = group.column(metadata.schema.names.index("shop")).statistics
        ranges.append((statistics.min, statistics.max))
    assert all(low[1] <= high[0] for low, high in pairwise(ranges))


def test_a_lookup_reads_the_row_groups_of_its_keys_only(large, tmp_path):
    path = large / "shops/part-0.parquet"
    metadata = pq.ParquetFile(path).metadata
    content = bytearray(path.read_bytes())
    for number in range(metadata.num_row_groups - 1):  # spoil all but the last
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(number).column(column)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            content[start : start + chunk.total_compressed_size] = bytes(
                chunk.total_compressed_size
            )
    (tmp_path / "shops").mkdir()
    (tmp_path / "shops/part-0.parquet").write_bytes(content)
    (tmp_path / "feature_views.toml").write_text(written(large), "utf-8")
    last = 5 * ROW_GROUP // 2 - 1
    assert rating(tmp_path, last) == {"rating": 2 * last + 1}
    with pytest.raises(SourceError, match=r"part-0\.parquet cannot be read"):
        rating(tmp_path, 1)


# -- the definition file belongs to people

COMMENTED = """# These views are the business of team ops.

[store]  # frozen
now = "2024-05-01T12:00:00Z"

# fares: ask Ada
[views.fares]
source = "fares.parquet"  # from the till
join_keys = ["k"]

# shops: ask Bob
[views.shops]
source = "old/*.parquet"
join_keys = ["shop"]

# the model of May
[services.model]  # in use
features = ["fares:x"]  # more to come

[views.last]
source = "last.parquet"
join_keys = ["k"]
# the end
"""


@pytest.mark.parametrize("name", ["shops", "new", "fares"])
def test_comments_and_other_tables_stay(tmp_path, name):
    path = tmp_path / "feature_views.toml"
    path.write_text(COMMENTED, "utf-8")
    featkit.write_view(tmp_path, SHOPS, **ROLES | {"name": name}, overwrite=True)
    featkit.write_service(tmp_path, name="other", features=["fares:x"])
    freeze_clock(tmp_path, "2025-01-01T00:00:00Z")
    text = written(tmp_path)
    comments = [line for line in COMMENTED.splitlines() if line.startswith("#")]
    assert [line for line in text.splitlines() if line.startswith("#")] == comments
    for line in ("[store]  # frozen", "[services.model]  # in use", "# more to come"):
        assert line in text
    before, after = parse(COMMENTED, path), definition(tmp_path)
    assert set(after.views) == {*before.views, name}
    for other in set(before.views) - {name}:
        assert after.views[other].entry == before.views[other].entry
    assert after.services.keys() == {"model", "other"}
    assert after.now == datetime(2025, 1, 1, tzinfo=UTC)


def test_the_ends_of_lines_stay(tmp_path):
    (tmp_path / "feature_views.toml").write_bytes(b"# one\r\n[store]\r\n# two\r\n")
    featkit.write_view(tmp_path, SHOPS, **ROLES)
    assert (
        (tmp_path / "feature_views.toml").read_bytes().startswith(b"# one\r\n[store]\r\n# two\r\n")
    )


def test_what_others_define_while_a_view_is_written_stays(tmp_path):
    frame = pl.DataFrame({"k": [1], "f": [2]})

    def meanwhile(part):
        featkit.write_view(tmp_path, frame, name="other", join_keys="k", overwrite=True)
        return part

    slowly = frame.lazy().map_batches(meanwhile, schema=frame.schema)
    featkit.write_view(tmp_path, slowly, name="own", join_keys="k")
    with featkit.connect(f"parquet:{tmp_path}") as client:
        assert {view.name for view in client.list_feature_views()} == {"other", "own"}


@pytest.mark.parametrize(
    "text",
    [
        'views = { fares = { source = "fares.parquet", join_keys = ["k"] } }\n',
        'views.fares.source = "fares.parquet"\nviews.fares.join_keys = ["k"]\n',
    ],
)
def test_a_definition_that_cannot_be_edited_is_left_alone(tmp_path, text):
    path = tmp_path / "feature_views.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(DefinitionError, match=r"cannot be edited.*\[views\.NAME\]"):
        featkit.write_view(tmp_path, SHOPS, **ROLES)
    assert [each.name for each in tmp_path.iterdir()] == ["feature_views.toml"]
    assert written(tmp_path) == text


# -- what is refused


def test_a_view_is_replaced_only_on_request(tmp_path):
    featkit.write_view(tmp_path, SHOPS, **ROLES)
    with pytest.raises(NameClashError, match=r"has a view 'shops' already.*overwrite=True"):
        featkit.write_view(tmp_path, SHOPS.clear(), **ROLES)
    assert rating(tmp_path) == {"rating": 4.5}
    featkit.write_view(tmp_path, SHOPS.with_columns(rating=7), **ROLES, overwrite=True)
    assert rating(tmp_path) == {"rating": 7}


def test_other_files_in_the_folder_of_a_view_are_none_of_its_rows(tmp_path):
    (tmp_path / "shops").mkdir()
    SHOPS.with_columns(rating=0.0, at=NOON + timedelta(hours=1)).write_parquet(
        tmp_path / "shops/part-1.parquet"
    )
    featkit.write_view(tmp_path, SHOPS.with_columns(at=NOON - timedelta(hours=9)), **ROLES)
    assert rating(tmp_path) == {"rating": 4.5}


@pytest.mark.parametrize(
    "name", ["../shops", "a/b", "..", ".", "", "a b", "a\n", "C:\\shops", "~", ".hidden", "a\0b"]
)
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot name a feature view; use letters"):
        featkit.write_view(tmp_path / "store", SHOPS, **ROLES | {"name": name})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "error", "told"),
    [
        ({"join_keys": "shopp"}, KeyColumnError, r"no column 'shopp'; did you mean 'shop'\?"),
        ({"join_keys": []}, InputError, r"at least one join key: join_keys="),
        ({"join_keys": ["shop", "shop"]}, NameClashError, "the column 'shop' has two roles"),
        ({"timestamp": "rating"}, TimestampError, "'rating' is float64, not a timestamp"),
        ({"timestamp": "att"}, UnknownNameError, r"no column 'att'; did you mean 'at'\?"),
        ({"timestamp": "shop"}, NameClashError, "the column 'shop' has two roles"),
        ({"created": "at"}, NameClashError, "the column 'at' has two roles"),
        ({"created": "text"}, TimestampError, "'text' is string, not a timestamp"),
        ({"created": "naive"}, TimestampError, r"'naive' are naive.*write_view\(.*timezone='UTC'"),
        ({"created": "naive", "timezone": "Mars"}, TimestampError, "'Mars' is no time zone"),
        ({"timestamp": None, "ttl": "1d"}, InputError, "a ttl .* needs an event timestamp"),
        ({"ttl": "soon"}, DurationError, "ttl 'soon' cannot be read"),
        ({"ttl": -1}, DurationError, "ttl -1 cannot be read"),
        ({"timezone": "Mars"}, TimestampError, "'Mars' is no time zone"),
        ({"name": 5}, InputError, "5 cannot name a feature view"),
        ({"join_keys": None}, InputError, "join_keys= takes a list of names, not None"),
        ({"features": ["rating"]}, InputError, "features= takes a mapping from names to text, not"),
        ({"features": {"rating": 5}}, InputError, "features= is not what it should be: Expected"),
        ({"tags": ["a"]}, InputError, r"tags= takes a mapping from names to text, not \['a'\]"),
        ({"tags": {"a": 1}}, InputError, "tags= is not what it should be: Expected `str`"),
        ({"owner": None}, InputError, "owner= is not what it should be: Expected `str`"),
        ({"features": {"ratin": "x"}}, UnknownNameError, "no column 'ratin'.*'rating'"),
        ({"features": {"shop": "x"}}, NameClashError, "'shop', which is a key or a timestamp"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_view_is_refused_before_anything_is_written(
    tmp_path, changed, error, told
):
    frame = SHOPS.with_columns(text=pl.lit("x"), naive=pl.lit(datetime(2024, 1, 1)))  # noqa: DTZ001 - naive is the point
    with pytest.raises(error, match=told):
        featkit.write_view(tmp_path, frame, **ROLES | changed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ({"shop": [1]}, "takes a pandas or polars frame, not dict"),
        (SHOPS.drop("rating"), "needs at least one feature"),
        (pd.DataFrame([[1, NOON, 2, 3]], columns=["shop", "at", "v", "v"]), "unique"),
        (pd.DataFrame({"shop": [1], "at": NOON, "v": [object()]}), "Parquet cannot hold: 'v': "),
        (pd.DataFrame({"shop": [1, "a"], "at": NOON, "v": 1}), "Parquet cannot hold: 'shop': "),
        (SHOPS.with_columns(pl.lit(1).alias("*")), r"'\*' cannot name a feature: it reads like"),
        (SHOPS.with_columns(pl.lit(1).alias("^r.*$")), "cannot name a feature: it reads like"),
    ],
    ids=["dict", "no features", "two of a name", "objects", "mixed", "star", "pattern"],
)
def test_what_is_no_frame_of_features_is_refused(tmp_path, frame, told):
    with pytest.raises(InputError, match=told):
        featkit.write_view(tmp_path, frame, **ROLES)
    assert list(tmp_path.iterdir()) == []


def test_a_service_is_not_named_by_one_text(tmp_path):
    with pytest.raises(InputError, match="features= takes a list of names, not 'shops:rating'"):
        featkit.write_service(tmp_path, name="s", features="shops:rating")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reference", ["shops", "shops:", ":x", "a:b:c"])
def test_a_service_lists_references(tmp_path, reference):
    with pytest.raises(InputError, match="is no feature reference; write 'view:feature'"):
        featkit.write_service(tmp_path, name="model", features=["shops:x", reference])
    assert list(tmp_path.iterdir()) == []


# -- the old store survives


@pytest.fixture
def store(tmp_path):
    """Write a store, and tell what is in its files."""
    featkit.write_view(tmp_path, SHOPS, **ROLES, description="old")
    return tmp_path


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fails(rows):
    raise RuntimeError(f"the source broke after {len(rows)} rows")


TWICE = datetime(2023, 10, 29, 2, 30)  # noqa: DTZ001 - the clocks of Paris showed it twice


@pytest.mark.parametrize(
    ("frame", "changed"),
    [
        (SHOPS.lazy().map_batches(fails, schema=SHOPS.schema), {}),
        (SHOPS.with_columns(at=TWICE), {"timezone": "Europe/Paris"}),
        (SHOPS, {"ttl": "soon"}),
        (SHOPS, {"timestamp": "rating"}),
    ],
    ids=["the source breaks", "an hour that was twice", "no ttl", "no timestamp"],
)
def test_a_write_that_fails_leaves_the_old_view(store, frame, changed):
    before = files(store)
    with pytest.raises((InputError, RuntimeError)):
        featkit.write_view(store, frame, **ROLES | changed, overwrite=True)
    assert files(store) == before
    assert rating(store) == {"rating": 4.5}


def test_a_broken_definition_is_found_before_the_view_is_replaced(store):
    path = store / "feature_views.toml"
    path.write_text(written(store) + "ttll = 1\n[views.shops.features", "utf-8")
    before = files(store)
    with pytest.raises(DefinitionError, match="is not valid TOML"):
        featkit.write_view(store, SHOPS.clear(), **ROLES, overwrite=True)
    assert files(store) == before


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_writer_that_is_killed_leaves_the_old_store(store):
    before = files(store)
    program = f"""
import os, signal
import featkit, polars as pl
rows = pl.DataFrame({{"shop": range(10**6), "rating": 0.0}})
def die(rows):
    os.kill(os.getpid(), signal.SIGKILL)
frame = pl.concat([rows.lazy(), rows.lazy().map_batches(die, schema=rows.schema)])
featkit.write_view({str(store)!r}, frame, name="shops", join_keys="shop", overwrite=True)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert {name: files(store)[name] for name in before} == before
    assert rating(store) == {"rating": 4.5}
    featkit.write_view(store, SHOPS.with_columns(rating=7.0), **ROLES, overwrite=True)
    assert rating(store) == {"rating": 7.0}


@contextmanager
def as_nobody():
    """Act as a user without rights, where the tests are run by root, who may write anywhere."""
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="there are no such permissions here")
def test_a_folder_that_cannot_be_written_is_an_os_error(store):
    store.chmod(0o500)
    try:
        with as_nobody(), pytest.raises(PermissionError):
            featkit.write_view(store, SHOPS, **ROLES | {"name": "more"})
    finally:
        store.chmod(0o700)
    assert rating(store) == {"rating": 4.5}


@pytest.mark.slow
def test_writers_at_once_keep_each_others_views(tmp_path):
    program = """
import sys
import featkit, polars as pl
for number in range(8):
    name = f"view_{sys.argv[2]}_{number}"
    featkit.write_view(sys.argv[1], pl.DataFrame({"k": [1], "x": [2]}), name=name, join_keys="k")
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(number)])
        for number in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(featkit.connect(f"parquet:{tmp_path}").list_feature_views()) == 24


def test_the_footer_tells_the_order(tmp_path):
    frame = pl.DataFrame({"b": [2, 1], "a": [1, 2], "x": [1.0, 2.0]})
    featkit.write_view(tmp_path, frame, name="v", join_keys=["b", "a"])
    footer = pq.read_metadata(tmp_path / "v" / "part-0.parquet")
    assert footer.metadata[SORTED_BY.encode()] == b'["b", "a"]'
