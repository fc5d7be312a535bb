"""The options of `enrich`, and what a call leaves behind."""

import datetime as dt
import linecache
import warnings

import pandas as pd
import polars as pl
import pytest

import featkit
from featkit.columns import FeatureColumns, Status
from featkit.errors import (
    DurationError,
    ExpiredWarning,
    FeatkitError,
    InputError,
    MissingEntitiesError,
    MissingWarning,
    RowMismatch,
    StoreError,
    UnknownNameError,
)
from featkit.schema import FeatureRef

pytestmark = pytest.mark.usefixtures("store")

NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
ENUM = [status.value for status in Status]


# -- timestamps and statuses ---------------------------------------------------------------------


def test_timestamps_and_statuses_stand_after_their_feature(constructor):
    frame = constructor({"shop": [1, 3, 9, None]})
    enriched = frame.features.enrich(["shops:visits"], timestamps=True, statuses=True)
    added = ["visits", "visits__event_timestamp", "visits__status"]
    constructor.assert_own_columns_kept(frame, enriched, added=added)
    stamps = constructor.values(enriched, "visits__event_timestamp")
    assert stamps == [NOON, NOON, None, None]
    statuses = constructor.values(enriched, "visits__status")
    assert statuses == ["PRESENT", "NULL", "NOT_FOUND", None]
    dtypes = constructor.dtypes(enriched)
    if constructor.is_pandas:
        assert dtypes[added[1]] == pd.DatetimeTZDtype("us", "UTC")
        assert dtypes[added[2]] == pd.CategoricalDtype(ENUM)
    else:
        assert dtypes[added[1]] == pl.Datetime("us", "UTC")
        assert dtypes[added[2]] == pl.Enum(ENUM)


def test_static_view_has_null_timestamps_of_the_same_dtype(constructor):
    frame = constructor({"city": ["Rome", "?"]})
    enriched = frame.features.enrich(["cities:people"], timestamps=True)
    assert constructor.values(enriched, "people__event_timestamp") == [None, None]
    dtype = constructor.dtypes(enriched)["people__event_timestamp"]
    assert dtype in (pd.DatetimeTZDtype("us", "UTC"), pl.Datetime("us", "UTC"))


def test_each_feature_has_statuses_of_its_own(constructor, scripted_store):
    view = scripted_store.view("shops", "shop", "new", "old", timestamp="at", ttl=dt.timedelta(1))

    def answer(read):
        found = scripted_store.honest(read)
        stamps = {"new": read.now, "old": read.now - dt.timedelta(2)}
        return FeatureColumns(
            found.values,
            found.statuses,
            {
                name: pl.repeat(stamp, len(found), dtype=pl.Datetime("us", "UTC"), eager=True)
                for name, stamp in stamps.items()
            },
        )

    featkit.connect(scripted_store(view, answer=answer))
    frame = constructor({"shop": [1]})
    with pytest.warns(ExpiredWarning, match="shops: 1 of 2 values"):
        enriched = frame.features.enrich(["shops:*"], statuses=True, expired="null")
    assert constructor.values(enriched, "new__status") == ["PRESENT"]
    assert constructor.values(enriched, "old__status") == ["EXPIRED"]
    assert constructor.values(enriched, "old") == [None]
    assert constructor.values(enriched, "new") != [None]


# -- expired -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expired", "kept"), [("keep", 40), ("null", None)])
def test_expired_values_are_kept_or_blanked_and_one_warning_tells(
    constructor, store, expired, kept
):
    frame = constructor({"shop": [4, 1, 4, None, 9]})
    with pytest.warns(ExpiredWarning) as told:
        enriched = frame.features.enrich(["shops:visits"], statuses=True, expired=expired)
    assert len(told) == 1
    assert "shops: 2 of 4 values are older than their ttl (1d)" in str(told[0].message)
    assert constructor.values(enriched, "visits") == [kept, 10, kept, None, None]
    statuses = constructor.values(enriched, "visits__status")
    assert statuses == ["EXPIRED", "PRESENT", "EXPIRED", None, "NOT_FOUND"]
    assert store.last_summary.statuses[Status.EXPIRED] == 2


def test_each_view_warns_once_at_the_line_of_the_caller(scripted_store):
    old = dt.timedelta(1)
    views = [
        scripted_store.view(name, "shop", "a", "b", timestamp="at", ttl=old) for name in ("v", "w")
    ]

    def answer(read):
        found = scripted_store.honest(read)
        stamps = {name: series.dt.offset_by("-3d") for name, series in found.timestamps.items()}
        return FeatureColumns(found.values, found.statuses, stamps)

    featkit.connect(scripted_store(*views, answer=answer, batch_size=1))
    frame = pd.DataFrame({"shop": range(1, 5)})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        frame.features.enrich(["v:*", "w:*"], prefix="{view}_")
    assert [str(each.message).partition(":")[0] for each in told] == ["v", "w"]
    assert {each.filename for each in told} == {__file__}
    assert "features.enrich([" in linecache.getline(__file__, told[0].lineno)


@pytest.mark.anyio
async def test_warning_points_at_the_caller_of_the_async_call_too():
    frame = pl.DataFrame({"shop": [4]})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        await frame.features.enrich_async(["shops:visits"])
    assert [each.filename for each in told] == [__file__]


def test_lookup_on_the_client_warns_at_its_caller(store):
    with pytest.warns(ExpiredWarning) as told:
        store.get_online_features("shops", 4, ["visits"])
    assert [each.filename for each in told] == [__file__]


def test_value_as_old_as_its_ttl_is_fresh(store_folder):
    frame = pl.DataFrame({"shop": [1]})
    at_ttl = featkit.connect(f"parquet:{store_folder}", now=NOON + dt.timedelta(days=1))
    assert (
        frame.features.enrich("shops:visits", statuses=True, store=at_ttl).row(0)[-1] == "PRESENT"
    )
    beyond = featkit.connect(
        f"parquet:{store_folder}", now=NOON + dt.timedelta(days=1, microseconds=1)
    )
    with pytest.warns(ExpiredWarning):
        late = frame.features.enrich("shops:visits", statuses=True, store=beyond)
    assert late.row(0)[-1] == "EXPIRED"


# -- on_missing ----------------------------------------------------------------------------------


def test_missing_entities_are_null_without_a_word(constructor):
    enriched = constructor({"shop": [9]}).features.enrich(["shops:visits"])
    assert constructor.values(enriched, "visits") == [None]


def test_missing_entities_warn_on_request(constructor):
    frame = constructor({"shop": [9, 1, 8, None]})
    with pytest.warns(MissingWarning, match="shops: .* 2 of 3 values") as told:
        enriched = frame.features.enrich(["shops:visits"], on_missing="warn")
    assert len(told) == 1
    assert told[0].filename == __file__
    assert constructor.values(enriched, "visits") == [None, 10, None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constructor({"shop": [1, None]}).features.enrich(["shops:visits"], on_missing="warn")


def test_missing_entities_raise_on_request_with_what_was_found(constructor):
    frame = constructor({"shop": [1, 9, 1, 8]})
    if constructor.is_pandas:
        frame.index = list("abcd")
    with pytest.raises(MissingEntitiesError) as caught:
        frame.features.enrich(["shops:visits"], on_missing="raise")
    message = str(caught.value)
    assert "'shops' does not know 2 of 3 entities; the first is 9" in message
    if constructor.is_pandas:
        assert "(row 'b')" in message
    values = caught.value.partial.to_dicts()
    assert {"visits": 10} in values
    assert {"visits": None} in values


def test_missing_composite_entity_is_shown_whole():
    frame = pl.DataFrame({"origin": ["a", "z"], "dest": ["b", "z"]})
    with pytest.raises(MissingEntitiesError, match=r"\('z', 'z'\) \(row 1\)"):
        frame.features.enrich(["routes:km"], on_missing="raise")


# -- on_error ------------------------------------------------------------------------------------


def failing_beyond(scripted_store, limit):
    def answer(read):
        if read.keys["shop"].min() >= limit:
            raise StoreError(f"the store is down at {limit}")
        return scripted_store.honest(read)

    return answer


def test_failure_raises_and_keeps_what_was_fetched(constructor, scripted_store):
    asked = scripted_store(answer=failing_beyond(scripted_store, 3), batch_size=1)
    client = featkit.connect(asked)
    frame = constructor({"shop": [1, 3, None, 2, 4, 1]})
    with pytest.raises(StoreError, match="down at 3") as caught:
        frame.features.enrich(["shops:visits"])
    partial = caught.value.partial
    assert isinstance(partial, FeatureColumns)
    known = {next(iter(row.values())) is not None for row in partial.to_dicts()}
    assert known == {True, False}
    if not constructor.is_lazy:  # which has its distinct keys only
        fetched = [row["visits"] is not None for row in partial.to_dicts()]
        assert fetched == [True, False, False, True, False, True]
    statuses = partial.statuses["visits"].to_list()
    assert sorted(set(statuses), key=str) == ["ERROR", None, "PRESENT"]
    assert len(asked.reads) == 4
    assert client.last_summary is None or client.last_summary.statuses


def test_failure_becomes_nulls_on_request(constructor, scripted_store):
    asked = scripted_store(answer=failing_beyond(scripted_store, 3), batch_size=1)
    client = featkit.connect(asked)
    frame = constructor({"shop": [1, 3, None]})
    enriched = frame.features.enrich(["shops:visits"], on_error="null", statuses=True)
    constructor.assert_own_columns_kept(frame, enriched, added=["visits", "visits__status"])
    assert [value is None for value in constructor.values(enriched, "visits")] == [
        False,
        True,
        True,
    ]
    assert constructor.values(enriched, "visits__status") == ["PRESENT", "ERROR", None]
    assert client.last_summary.statuses == {Status.PRESENT: 1, Status.ERROR: 1}


def test_failure_of_one_view_leaves_the_other(constructor, scripted_store):
    views = [scripted_store.view(name, "shop", f"{name}_n") for name in ("good", "bad")]

    def answer(read):
        if read.view.name == "bad":
            raise StoreError("bad is down")
        return scripted_store.honest(read)

    featkit.connect(scripted_store(*views, answer=answer))
    frame = constructor({"shop": [1, 2]})
    enriched = frame.features.enrich(["bad:*", "good:*"], on_error="null")
    assert constructor.values(enriched, "bad_n") == [None, None]
    assert None not in constructor.values(enriched, "good_n")
    with pytest.raises(StoreError, match="bad is down") as caught:
        frame.features.enrich(["bad:*", "good:*"])
    assert caught.value.partial.values["good_n"].null_count() == 0


def test_untrustworthy_answer_is_a_failure_like_any_other(constructor, scripted_store):
    def answer(read):
        return scripted_store.honest(read).gather(pl.Series([0]))

    featkit.connect(scripted_store(answer=answer))
    frame = constructor({"shop": [1, 2]})
    with pytest.raises(RowMismatch, match="expected 2 rows"):
        frame.features.enrich(["shops:visits"])
    enriched = frame.features.enrich(["shops:visits"], on_error="null")
    assert constructor.values(enriched, "visits") == [None, None]


def test_programming_error_in_a_store_is_not_hidden(scripted_store):
    def answer(_):
        raise ZeroDivisionError("a bug")

    featkit.connect(scripted_store(answer=answer))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        pl.DataFrame({"shop": [1]}).features.enrich(["shops:visits"], on_error="null")


def test_metadata_that_cannot_be_had_raises_whatever_on_error_says(scripted_store):
    class Broken(scripted_store):
        def list_feature_views(self):
            raise StoreError("the registry is down")
            yield

    featkit.connect(Broken())
    with pytest.raises(StoreError, match="registry is down"):
        pl.DataFrame({"shop": [1]}).features.enrich(["shops:visits"], on_error="null")


# -- what to ask for -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "features",
    [
        "model",
        ["model"],
        ["shops:visits", "cities:people"],
        ["shops:visits", FeatureRef("cities", "*")],
        (FeatureRef("shops", "visits"), "cities:people"),
        dict.fromkeys(["shops:visits", "cities:*"]).keys(),
        pl.Series(["shops:visits", "cities:people"]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_features_are_references_or_services(features):
    frame = pl.DataFrame({"shop": [1], "city": ["Oslo"]})
    enriched = frame.features.enrich(features)
    assert enriched.columns == ["shop", "city", "visits", "people"]
    assert enriched.row(0) == (1, "Oslo", 10, 1)


def test_star_is_every_feature_in_the_order_of_the_source(constructor, store):
    enriched = constructor({"shop": [1]}).features.enrich("shops:*")
    described = store.get_feature_metadata("shops")
    assert constructor.names(enriched) == ["shop", *described.feature_names]


@pytest.mark.parametrize(
    ("features", "error", "match"),
    [
        ("shop:visits", UnknownNameError, "'shop'.*did you mean 'shops'"),
        ("shops:visit", UnknownNameError, "'shops' has no feature 'visit'.*'visits'"),
        ("modle", UnknownNameError, "service 'modle'.*'model'"),
        ("shops", UnknownNameError, r"'shops:\*'"),
        (["shops:visits", "shops:visits"], InputError, "twice"),
        (["shops:*", "shops:visits"], InputError, "twice"),
        ([1], InputError, "1 is no feature"),
        (None, InputError, "not None"),
        (["shops:a:b"], InputError, "view:feature"),
    ],
)
def test_unknown_features_are_named_with_the_nearest(features, error, match):
    with pytest.raises(error, match=match):
        pl.DataFrame({"shop": [1]}).features.enrich(features)


@pytest.mark.parametrize(
    ("option", "error", "match"),
    [
        ({"on_missing": "ignore"}, InputError, "on_missing='ignore'.*'null', 'warn', 'raise'"),
        ({"on_error": "warn"}, InputError, "on_error='warn'"),
        ({"expired": "drop"}, InputError, "expired='drop'"),
        ({"dtype_backend": "numpy"}, InputError, "dtype_backend='numpy'"),
        ({"max_age": "soon"}, DurationError, "max_age 'soon'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_asked(scripted_store, option, error, match):
    asked = scripted_store()
    featkit.connect(asked)
    with pytest.raises(error, match=match):
        pl.DataFrame({"shop": [1]}).features.enrich("shops:visits", **option)
    assert asked.reads == []


# -- what stays behind ---------------------------------------------------------------------------


def test_last_summary_counts_what_was_done(constructor, scripted_store):
    views = [scripted_store.view(name, "shop", f"{name}_a", f"{name}_b") for name in ("v", "w")]
    client = featkit.connect(scripted_store(*views, batch_size=2))
    assert client.last_summary is None
    constructor({"shop": [7, 1, 2, 3, 1, None]}).features.enrich(["v:*", "w:w_a"])
    summary = client.last_summary
    assert (summary.rows, summary.unique, summary.fetched, summary.cached) == (6, 8, 8, 0)
    assert summary.keys == 10
    assert summary.calls == 4
    assert summary.statuses == {Status.PRESENT: 12, Status.NULL: 3}
    assert summary.seconds > 0
    first = summary.views[0]
    assert (first.view, first.rows, first.null_keys, first.unique) == ("v", 6, 1, 4)


def test_keys_are_asked_for_once_and_in_batches(constructor, scripted_store):
    asked = scripted_store(batch_size=3)
    featkit.connect(asked)
    constructor({"shop": [5, 1, 5, 2, 3, 1, 4]}).features.enrich(["shops:visits"])
    assert [read.keys["shop"].to_list() for read in asked.reads] == [[5, 1, 2], [3, 4]]


def test_all_reads_of_a_call_share_one_now(scripted_store):
    views = [scripted_store.view(name, "shop", name) for name in ("v", "w")]
    asked = scripted_store(*views, batch_size=1)
    featkit.connect(asked)
    pl.DataFrame({"shop": [1, 2]}).features.enrich(["v:*", "w:*"])
    (now,) = {read.now for read in asked.reads}
    assert now.utcoffset() == dt.timedelta(0)
    assert abs(dt.datetime.now(dt.UTC) - now) < dt.timedelta(minutes=1)


def test_callable_clock_is_asked_at_each_call(scripted_store):
    moments = iter(dt.datetime(2024, 1, day, tzinfo=dt.UTC) for day in (1, 2))
    asked = scripted_store()
    client = featkit.connect(asked, now=lambda: next(moments))
    client.lookup([1], "shops:visits")
    client.lookup([1], "shops:visits")
    assert [read.now.day for read in asked.reads] == [1, 2]


def test_every_error_of_a_call_is_a_featkit_error():
    for wrong in ("shops:nope", "nope", "nope:x", [object()]):
        with pytest.raises(FeatkitError):
            pl.DataFrame({"shop": [1]}).features.enrich(wrong)


# -- search --------------------------------------------------------------------------------------


def test_search_ranks_own_names_before_what_is_around(tmp_path):
    frame = pl.DataFrame({"shop": [1], "visits": [1], "rating": [1.0]})
    featkit.write_view(
        tmp_path,
        frame,
        name="visits_daily",
        join_keys="shop",
        features={"rating": "stars, of Visits"},
        owner="Sales",
        tags={"team": "ops"},
    )
    client = featkit.connect(f"parquet:{tmp_path}")
    found = list(map(str, client.search("VISITS")))
    assert found == ["visits_daily:visits", "visits_daily:rating"]
    assert list(map(str, client.search("stars"))) == ["visits_daily:rating"]
    for word in ("sales", "ops", "shop", "parquet", "daily rating"):
        assert FeatureRef("visits_daily", "rating") in client.search(word)
    assert client.search("nothing of the kind") == []
    assert len(client.search("")) == 2
