"""The embedded store: over what `write_view` writes, over anybody's Parquet, and what is broken."""

import os
import random
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import featkit
from featkit.columns import Status
from featkit.errors import (
    DefinitionError,
    ExpiredWarning,
    FeatkitError,
    InputError,
    SettingsError,
    SourceError,
    TimestampError,
    UnknownNameError,
    ViewWarning,
)
from featkit.stores.base import open_store
from featkit.testing import MemoryStore, StoreContract, contract_views, described
from tests.examples import examples

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
MOMENT = pl.Datetime("us", "UTC")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write the contract's data with `write_view`."""
    folder = tmp_path_factory.mktemp("written")
    for view, rows in contract_views():
        featkit.write_view(
            folder,
            rows,
            name=view.name,
            join_keys=view.join_keys,
            timestamp=view.timestamp,
            created=view.created,
            ttl=view.ttl,
            description=view.description,
            owner=view.owner,
            tags=view.tags,
            features={feature.name: feature.description for feature in view.features},
        )
    return folder


class TestParquetStore(StoreContract):
    @pytest.fixture
    def store(self, written):
        return open_store(f"parquet:{written}", {})


BY_HAND = """
[store]
timezone = "Asia/Tokyo"  # what connect() says goes before this

[views.customers]
source = "customers"  # a folder
join_keys = ["customer_id"]
timestamp = "event_timestamp"
created = "created_timestamp"
ttl = "3h"
description = "One row per customer and change."
[views.customers.features]  # not the column that the folders make
visits = {}
score = {}
active = {}
name = { dtype = "string" }
seen_at = { dtype = "timestamp" }
embedding = {}

[views.parcels]
source = "[p]arcels/*/part-?.parquet"
join_keys = ["depot", "code"]
timestamp = "event_timestamp"
description = "Where a parcel is; for ever good."

[views.routes]
source = "routes/**/*.parquet"
join_keys = ["start_id", "end_id"]
description = "Static, composite."

[views.notes]
source = ["notes-1.parquet", "notes-2.pq"]
join_keys = ["note_id"]
description = "Static, odd keys."
features = { number = { dtype = "int64" }, beginning = {} }

[views.quiet]
source = "quiet.parquet"
join_keys = ["sensor_id"]
timestamp = "event_timestamp"
ttl = "24h"
description = "A view that nobody has written to yet."
"""


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """Write the contract's data unsorted, in several files and folders, other units and zones."""
    folder = tmp_path_factory.mktemp("env=prod") / "stores [by hand]"
    rows = {
        view.name: own.sample(fraction=1.0, shuffle=True, seed=7) for view, own in contract_views()
    }
    new_york = pl.col("event_timestamp").dt.convert_time_zone("America/New_York")
    naive = new_york.dt.replace_time_zone(None)
    customers = rows["customers"].with_columns(
        naive.dt.cast_time_unit("ns"),
        pl.col("created_timestamp").dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ms"),
        pl.col("seen_at").dt.convert_time_zone("Europe/Paris").dt.cast_time_unit("ms"),
        pl.col("name").cast(pl.Categorical),
    )
    parcels = rows["parcels"].with_columns(
        pl.col("event_timestamp").dt.cast_time_unit("ns"),
        pl.col("depot", "label").cast(pl.Categorical),
        pl.col("code").cast(pl.Enum(rows["parcels"]["code"].unique())),
    )
    notes = rows["notes"].with_columns(
        pl.col("note_id").cast(pl.Categorical), pl.col("number").cast(pl.Float64)
    )
    files = {
        "customers/half=1/a.parquet": customers[::2],
        "customers/half=2/b/c.parquet": customers[1::2],
        "parcels/x/part-1.parquet": parcels[:5],
        "parcels/y/part-2.parquet": parcels[5:],
        "parcels/y/else.parquet": pl.DataFrame({"not": ["of the view"]}),
        "notes-1.parquet": notes[:20],
        "notes-2.pq": notes[20:],
        "quiet.parquet": rows["quiet"].with_columns(naive),
        ".featkit-gone/quiet.parquet": pl.DataFrame({"left": ["by an interrupted writer"]}),
        "customers/.featkit-gone/a.parquet": pl.DataFrame({"left": ["behind"]}),
    }
    for (start,), own in rows["routes"].group_by("start_id"):
        files[f"routes/start_id={start}/part.parquet"] = own.drop("start_id")
    for name, frame in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(folder / name)
    (folder / "feature_views.toml").write_text(BY_HAND, "utf-8")
    return folder


@pytest.mark.slow
class TestParquetStoreByHand(StoreContract):
    @pytest.fixture
    def store(self, by_hand):
        return open_store(f"parquet:{by_hand}", {}, timezone="America/New_York")


# -- what is broken is told by name


@pytest.fixture
def put(tmp_path):
    """Write Parquet files and a definition, and give the target."""

    def put(definition, **frames):
        for name, frame in frames.items():
            frame.write_parquet(tmp_path / f"{name}.parquet")
        (tmp_path / "feature_views.toml").write_text(definition, "utf-8")
        return f"parquet:{tmp_path}"

    return put


SHOPS = pl.DataFrame({"shop": [1, 2], "at": [NOON, NOON], "rating": [4.5, 3.9]})
SHOPS_TOML = """[views.shops]
source = "shops.parquet"
join_keys = ["shop"]
timestamp = "at"
"""


def look_up(target, **options):
    return featkit.connect(target, now=NOON, **options).get_online_features("shops", 1)


def test_a_folder_without_definitions_says_how_to_make_them(tmp_path):
    with pytest.raises(SettingsError, match=r"feature_views\.toml.*featkit\.write_view\("):
        featkit.connect(f"parquet:{tmp_path}")


def test_the_definition_file_itself_is_a_target_too(put, tmp_path):
    put(SHOPS_TOML, shops=SHOPS)
    assert look_up(f"parquet:{tmp_path}/feature_views.toml") == {"rating": 4.5}


def test_a_relative_path_stays_where_it_was(put, tmp_path, monkeypatch):
    put(SHOPS_TOML, shops=SHOPS)
    monkeypatch.chdir(tmp_path)
    store = featkit.connect("parquet:.", now=NOON)
    monkeypatch.chdir(tmp_path.parent)
    assert store.get_online_features("shops", 1) == {"rating": 4.5}


def test_an_unknown_option_is_told(put):
    with pytest.raises(SettingsError, match="no option 'tiemzone'"):
        featkit.connect(put(SHOPS_TOML, shops=SHOPS), tiemzone="UTC")


def test_an_unknown_view_names_file_and_nearest_view(put, tmp_path):
    store = featkit.connect(put(SHOPS_TOML, shops=SHOPS))
    with pytest.raises(UnknownNameError) as caught:
        store.get_online_features("shop", 1)
    assert "'shop'" in str(caught.value)
    assert str(tmp_path / "feature_views.toml") in str(caught.value)
    assert "did you mean 'shops'?" in str(caught.value)


def test_an_unknown_feature_names_the_nearest(put):
    store = featkit.connect(put(SHOPS_TOML, shops=SHOPS))
    with pytest.raises(UnknownNameError, match=r"'shops' has no feature 'ratin'.*'rating'"):
        store.get_online_features("shops", 1, ["ratin"])


def test_a_feature_asked_for_twice_is_told(put):
    store = featkit.connect(put(SHOPS_TOML, shops=SHOPS))
    with pytest.raises(InputError, match="requested twice: 'shops:rating'"):
        store.lookup([1], ["shops:rating", "shops:rating"])


def test_a_broken_definition_is_told_by_every_call(put):
    store = featkit.connect(put(SHOPS_TOML + "ttll = '1d'\n", shops=SHOPS))
    for call in (store.list_feature_views, lambda: store.get_feature_metadata("shops")):
        with pytest.raises(DefinitionError, match=r"line 5: .*'ttll'.*'ttl'"):
            call()
    assert not store.health_check()
    assert "line 5" in store.check_health().reason


def test_a_definition_that_is_no_text_is_told(put, tmp_path):
    target = put(SHOPS_TOML, shops=SHOPS)
    (tmp_path / "feature_views.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DefinitionError, match=r"feature_views\.toml cannot be read"):
        look_up(target)


def test_a_missing_file_is_named_with_the_line_that_wants_it(put, tmp_path):
    target = put(SHOPS_TOML)
    with pytest.raises(SourceError) as caught:
        look_up(target)
    assert str(tmp_path / "shops.parquet") in str(caught.value)
    assert f"{tmp_path / 'feature_views.toml'}, line 2" in str(caught.value)


def test_a_pattern_without_a_match_is_named(put):
    with pytest.raises(SourceError, match=r"no file matches .*shops/\*\.parquet"):
        look_up(put(SHOPS_TOML.replace("shops.parquet", "shops/*.parquet")))


def test_a_pattern_that_cannot_be_one_is_named(put):
    with pytest.raises(SourceError, match=r"shops\*\*\.parquet cannot be read"):
        look_up(put(SHOPS_TOML.replace("shops.parquet", "shops**.parquet")))


@pytest.mark.parametrize("pattern", ["deep/**", "deep/**/*.parquet", "deep/**/**", "deep"])
def test_files_at_any_depth_are_found(put, tmp_path, pattern):
    for folder in ("deep", "deep/er", "deep/er/still"):
        (tmp_path / folder).mkdir()
        depth = pl.lit(folder.count("/"))
        rows = SHOPS[:1].with_columns(shop=depth, rating=depth)
        rows.write_parquet(tmp_path / folder / "part.parquet")
    text = SHOPS_TOML.replace("shops.parquet", pattern)
    found = featkit.connect(put(text), now=NOON).get_online_features_batch("shops", range(4))
    assert [row["rating"] for row in found] == [0, 1, 2, None]


def test_one_missing_source_does_not_hide_the_other_views(put):
    target = put(SHOPS_TOML + SHOPS_TOML.replace("shops", "gone"), shops=SHOPS)
    assert look_up(target) == {"rating": 4.5}
    with pytest.warns(
        ViewWarning, match="'gone' is left out: feature view 'gone': no file matches"
    ):
        assert [view.name for view in featkit.connect(target).list_feature_views()] == ["shops"]
    alone = put(SHOPS_TOML.replace("shops", "gone"))
    with pytest.raises(SourceError, match="'gone'"):
        featkit.connect(alone).list_feature_views()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no Parquet at all, but text" * 9])
def test_what_is_no_parquet_is_named(put, tmp_path, content):
    target = put(SHOPS_TOML)
    (tmp_path / "shops.parquet").write_bytes(content)
    with pytest.raises(SourceError) as caught:
        look_up(target)
    assert f"{tmp_path / 'shops.parquet'} cannot be read" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_damaged_file_never_raises_anything_else(put, tmp_path):
    wide = pl.DataFrame({"shop": range(500), "at": [NOON] * 500}).with_columns(
        pl.format("{}", "shop").alias("text"), pl.col("shop").cast(pl.Float64).alias("number")
    )
    target = put(SHOPS_TOML, shops=wide)
    path = tmp_path / "shops.parquet"
    whole = path.read_bytes()
    chance = random.Random(0)
    failed = 0
    for number in range(60):
        damaged = bytearray(whole)
        if number % 2:
            del damaged[chance.randrange(len(damaged)) :]
        else:
            for _ in range(30):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            look_up(target)
        except FeatkitError as error:
            failed += str(path) in str(error)
    assert failed > 30


@pytest.mark.parametrize("name", ["*", "^r.*$"])
def test_a_column_whose_name_is_a_pattern_is_refused(put, name):
    with pytest.raises(DefinitionError, match=r"'shops': .* reads like a pattern, no name; rename"):
        look_up(put(SHOPS_TOML, shops=SHOPS.with_columns(pl.lit(1).alias(name))))


def test_a_ttl_of_nothing_is_told_as_one(put):
    target = put(SHOPS_TOML + 'ttl = "0s"', shops=SHOPS)
    with pytest.warns(ExpiredWarning, match=r"older than their ttl \(0s\)"):
        featkit.connect(target, now=NOON + timedelta(1)).lookup([1], "shops:*")


@pytest.mark.parametrize(
    ("line", "column", "number"),
    [
        ('join_keys = ["shopp"]', "shopp", 3),
        ('timestamp = "att"', "att", 4),
        ('timestamp = "at"\ncreated = "made"', "made", 5),
        ('timestamp = "at"\n[views.shops.features]\nrating = {}\nratin = {}', "ratin", 7),
    ],
)
def test_a_column_that_the_source_lacks_is_named_with_its_line(put, line, column, number):
    setting = line.partition(" ")[0]
    lines = [line if own.startswith(setting) else own for own in SHOPS_TOML.splitlines()]
    with pytest.raises(DefinitionError) as caught:
        look_up(put("\n".join(lines), shops=SHOPS))
    assert f"line {number}: the source has no column {column!r}" in str(caught.value)


def test_a_text_is_no_timestamp(put):
    frame = SHOPS.with_columns(pl.col("at").dt.to_string())
    with pytest.raises(TimestampError, match="line 4: 'at' is string, not a timestamp"):
        look_up(put(SHOPS_TOML, shops=frame))


@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("ns"), pl.Date()])
def test_naive_timestamps_are_refused_until_somebody_says_what_they_mean(put, dtype):
    target = put(SHOPS_TOML, shops=SHOPS.with_columns(pl.col("at").cast(dtype)))
    with pytest.raises(TimestampError, match=r"'at' are naive.*timezone='UTC'.*line 4"):
        look_up(target)
    assert look_up(target, timezone="UTC") == {"rating": 4.5}
    put('[store]\ntimezone = "UTC"\n' + SHOPS_TOML)
    assert look_up(target) == {"rating": 4.5}


def test_what_connect_says_of_naive_timestamps_goes_before_the_file(put):
    naive = SHOPS.with_columns(pl.col("at").dt.replace_time_zone(None))
    target = put('[store]\ntimezone = "Europe/Paris"\n' + SHOPS_TOML, shops=naive)
    store = featkit.connect(target, now=NOON + timedelta(days=1))
    other = featkit.connect(target, now=NOON + timedelta(days=1), timezone="UTC")
    times = [c.get_online_features_with_timestamps("shops", 1)[1]["rating"] for c in (store, other)]
    assert times == [NOON - timedelta(hours=2), NOON]


def test_a_moment_that_the_clocks_show_twice_is_an_error(put):
    twice = SHOPS.with_columns(pl.lit(datetime(2023, 10, 29, 2, 30)).alias("at"))  # noqa: DTZ001 - naive is the point
    target = put(SHOPS_TOML, shops=twice)
    with pytest.raises(SourceError, match=r"is ambiguous in time zone 'Europe/Paris'$"):
        look_up(target, timezone="Europe/Paris")
    assert look_up(target, timezone="UTC") == {"rating": 4.5}


@pytest.mark.parametrize(
    ("values", "dtype", "told"),
    [
        (["x", "2"], "int64", "string in the source and cannot become int64: conversion"),
        (
            [1.5, 2.0],
            "int64",
            "float64 in the source and cannot become int64 without loss; the first is 1.5",
        ),
        ([300, 1], "int8", "int64 in the source and cannot become int8: conversion"),
        ([2**53 + 1, 1], "float64", "int64 in the source and cannot become float64 without loss"),
        ([[1], [2]], "float64", "list[int64] in the source and cannot become float64: cannot cast"),
        (
            ["2024-05-01", ""],
            "timestamp",
            "string in the source and cannot become timestamp: casting",
        ),
        ([7, 1], "bool", "int64 in the source and cannot become bool without loss; the first is 7"),
    ],
)
def test_values_that_are_not_of_their_declared_dtype_are_told(put, values, dtype, told):
    definition = f'{SHOPS_TOML}[views.shops.features]\nvalue = {{ dtype = "{dtype}" }}\n'
    target = put(definition, shops=SHOPS.with_columns(pl.Series("value", values)))
    with pytest.raises(SourceError) as caught:
        look_up(target)
    assert f"line 6: 'value' is {told}" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "dtype", "value"),
    [
        ([1.0, 2.0], "int64", 1),
        ([1, 0], "bool", True),
        ([1, None], "float64", 1.0),
        (["1", "2"], "int32", 1),
        ([0.5, 0.25], "float32", 0.5),
        ([NOON, NOON], "date", NOON.date()),
        ([[1], [2]], "list[float64]", [1.0]),
    ],
)
def test_values_take_their_declared_dtype(put, values, dtype, value):
    definition = f'{SHOPS_TOML}[views.shops.features]\nvalue = {{ dtype = "{dtype}" }}\n'
    target = put(definition, shops=SHOPS.with_columns(pl.Series("value", values)))
    assert look_up(target) == {"value": value}


def test_naive_times_among_the_features_become_timestamps_only_in_a_known_zone(put):
    definition = SHOPS_TOML + '[views.shops.features]\nseen = { dtype = "timestamp" }\n'
    target = put(definition, shops=SHOPS.with_columns(pl.lit(date(2024, 1, 1)).alias("seen")))
    with pytest.raises(TimestampError, match=r"'seen' are naive.*timezone='UTC'.*line 6"):
        look_up(target)
    assert look_up(target, timezone="UTC") == {"seen": datetime(2024, 1, 1, tzinfo=UTC)}


def test_a_column_that_later_files_lack_is_null_there(put, tmp_path):
    target = put(SHOPS_TOML.replace("shops.parquet", "*.parquet"), a=SHOPS)
    pl.DataFrame({"shop": [3], "at": [NOON]}).write_parquet(tmp_path / "b.parquet")
    store = featkit.connect(target, now=NOON)
    found = store.lookup([1, 3, 4], "shops:*")
    assert found.statuses["rating"].to_list() == [Status.PRESENT, Status.NULL, Status.NOT_FOUND]


# -- what counts as the latest


def test_the_last_in_the_source_wins_a_tie(put, tmp_path):
    target = put(SHOPS_TOML.replace("shops.parquet", "*.parquet"), a=SHOPS)
    again = SHOPS.with_columns(pl.col("rating") + 1)
    pl.concat([again, again.with_columns(pl.col("rating") + 1)]).write_parquet(
        tmp_path / "b.parquet"
    )
    store = featkit.connect(target, now=NOON)
    assert store.get_online_features_batch("shops", [1, 2]) == [{"rating": 6.5}, {"rating": 5.9}]


def test_rows_without_key_or_time_are_nobodys(put):
    frame = pl.DataFrame(
        {"shop": [None, 1, 2], "at": [NOON, None, NOON], "rating": [1.0, 2.0, 3.0]},
        schema_overrides={"shop": pl.Int64},
    )
    store = featkit.connect(put(SHOPS_TOML, shops=frame), now=NOON)
    found = store.lookup([1, 2, None], "shops:*")
    assert found.statuses["rating"].to_list() == [Status.NOT_FOUND, Status.PRESENT, None]


def test_the_file_may_stop_the_clock(put):
    target = put('[store]\nnow = "2024-05-01T13:59:00+02:00"\n' + SHOPS_TOML, shops=SHOPS)
    assert featkit.connect(target).get_online_features("shops", 1) == {"rating": None}
    assert look_up(target) == {"rating": 4.5}


def test_a_change_of_the_files_is_seen_at_once(put):
    target = put(SHOPS_TOML, shops=SHOPS)
    store = featkit.connect(target, now=NOON)
    assert store.get_online_features("shops", 1) == {"rating": 4.5}
    put(SHOPS_TOML, shops=SHOPS.with_columns(rating=pl.lit("high")))
    assert store.get_online_features("shops", 1) == {"rating": "high"}
    put("")
    with pytest.raises(UnknownNameError, match=r"no feature view 'shops'.*there are none"):
        store.get_online_features("shops", 1)


def test_a_view_without_features_can_be_described_and_asked(put):
    target = put(SHOPS_TOML, shops=SHOPS.drop("rating"))
    store = featkit.connect(target, now=NOON)
    assert store.get_feature_metadata("shops").features == ()
    assert store.get_online_features_batch("shops", [1, 2]) == [{}, {}]


def test_folders_above_the_pattern_are_no_columns(put, tmp_path):
    for region in ("eu", "us"):
        for year in (2023, 2024):
            folder = tmp_path / "all" / f"region={region}" / f"year={year}"
            folder.mkdir(parents=True)
            rows = SHOPS.with_columns(rating=pl.lit(f"{region} {year}"))
            rows.write_parquet(folder / "part.parquet")
    target = put(SHOPS_TOML.replace("shops.parquet", "all/region=eu/*/*.parquet"))
    assert look_up(target) == {"rating": "eu 2024", "year": 2024}
    put(SHOPS_TOML.replace("shops.parquet", "all").replace('["shop"]', '["region", "shop"]'))
    store = featkit.connect(target, now=NOON)
    found = store.get_online_features_batch("shops", [("eu", 1), ("us", 2), ("cn", 1)], ["rating"])
    assert [row["rating"] for row in found] == ["eu 2024", "us 2024", None]


moments = st.none() | st.integers(-2, 2).map(lambda hours: NOON + timedelta(hours=hours))


@examples(30)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), moments, moments)),
    roles=st.sampled_from([["at", "made"], ["at"], []]),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
)
def test_the_latest_row_is_that_of_the_store_in_memory(tmp_path_factory, rows, roles, sizes):
    folder = tmp_path_factory.mktemp("random")
    schema = {"shop": pl.Int64(), "part": pl.String(), "at": MOMENT, "made": MOMENT}
    frame = pl.DataFrame(rows, schema, orient="row").with_row_index("number")
    frame = frame.drop({"at", "made"} - set(roles))
    keys = ["shop", "part"]
    times = dict(zip(["timestamp", "created"], roles, strict=False))
    view = described(frame, name="random", join_keys=keys, **times)
    featkit.write_view(folder, frame, name="written", join_keys=keys, **times)
    for number, size in enumerate(sizes):  # the same rows, unsorted, in several files
        last = number == len(sizes) - 1
        frame[: None if last else size].write_parquet(folder / f"{number}.parquet")
        frame = frame[size:]
    with (folder / "feature_views.toml").open("a") as file:
        names = "".join(f'{role} = "{column}"\n' for role, column in times.items())
        file.write(f'[views.random]\nsource = "*.parquet"\njoin_keys = {keys}\n{names}')
    asked = {"shop": [0, 1, 2, 0, 1, 2], "part": [*"aaabbb"]}
    whole = {"timestamps": True, "statuses": True}
    right = featkit.connect(MemoryStore([view]), now=NOON).lookup(asked, "random:number")
    store = featkit.connect(f"parquet:{folder}", now=NOON)
    for name in ("written", "random"):
        found = store.lookup(asked, f"{name}:number")
        assert_frame_equal(found.to_polars(**whole), right.to_polars(**whole))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_told_instead_of_hanging(tmp_path):
    program = """
import os, sys
import featkit, polars as pl
featkit.write_view(sys.argv[1], pl.DataFrame({"k": [1], "x": [2]}), name="v", join_keys="k")
store = featkit.connect(f"parquet:{sys.argv[1]}")
store.get_online_features("v", 1)
if os.fork() == 0:
    try:
        store.get_online_features("v", 1)
    except featkit.errors.NotSupportedError as error:
        os._exit(0 if "spawn" in str(error) else 2)
    os._exit(1)
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
