"""Stores that join by themselves: asked for distinct moments, and not trusted."""

import polars as pl
import pytest

import featkit
from featkit.capabilities import Capabilities
from featkit.errors import NotSupportedError, ProtocolError, RowMismatch
from featkit.history import AT, EVENT, ROW
from featkit.stores.base import Store

from .conftest import hours


@pytest.fixture
def joining(scripted_store):
    """Make a store that joins by itself, as a function of the question says."""

    class JoiningStore(scripted_store):
        def __init__(self, answer, **capabilities):
            view = self.view("v", "k", "x", timestamp="t")
            super().__init__(view)
            rules = ("a ttl of 0 means no limit",)
            self.capabilities = Capabilities(history="joined", history_rules=rules, **capabilities)
            self.asked = []
            self._join = answer

        def join_history(self, reads):
            self.asked += reads
            return [self._join(read) for read in reads]
            yield

    assert issubclass(JoiningStore, Store)
    return JoiningStore


def honest(read):
    """Answer with ten times the key."""
    return read.spine.select(ROW, (pl.col("k") * 10).alias("x"))


SPINE = {"k": [1, None, 2, 1, 3], "at": hours(1, 1, 1, 1, None), "note": list("abcde")}


def joined(constructor, store, **options):
    with featkit.connect(store) as client:
        return client.get_historical_features(constructor(SPINE), "v:x", at="at", **options)


def test_distinct_moments_are_asked_and_brought_to_their_rows(constructor, joining):
    store = joining(honest)
    made = joined(constructor, store)
    assert constructor.values(made.frame, "x") == [10, None, 20, 10, None]
    assert constructor.values(made.frame, "note") == list("abcde")
    (read,) = store.asked
    assert read.spine.columns == [ROW, "k", AT]
    assert read.spine["k"].to_list() == [1, 2]
    (view,) = made.report.views
    assert (view.hit, view.null_key_or_time, view.unexplained) == (3, 2, 0)
    assert view.tied is None
    assert "scripted: a ttl of 0 means no limit" in str(made.report)


def test_rows_that_are_left_out_are_put_back_and_reported(constructor, joining):
    made = joined(constructor, joining(lambda read: honest(read).filter(pl.col("x") == 20)))
    assert constructor.values(made.frame, "x") == [None, None, 20, None, None]
    (view,) = made.report.views
    assert (view.hit, view.unexplained) == (1, 2)
    assert "left out 1 of 2 distinct moments; they were put back" in str(made.report)
    assert "plan" not in made.report._repr_html_()  # there is none to unfold


def test_nothing_but_nulls_is_no_row_where_times_are_not_told(constructor, joining):
    """Feast answers for entities that it does not know, too."""
    empty = pl.col("x").replace(20, None)
    made = joined(constructor, joining(lambda read: honest(read).with_columns(x=empty)))
    (view,) = made.report.views
    assert (view.hit, view.unexplained, view.null_value) == (2, 1, 0)
    assert "of 1 of 2 distinct moments the store gave nothing but nulls" in str(made.report)


def test_row_without_event_timestamp_is_none_where_times_are_told(constructor, joining):
    """Warehouses answer for each row of the spine; a row of nulls has a time of its own."""

    def answer(read):
        known = pl.col("k") == 1
        stamps = pl.when(known).then(pl.col(AT)).alias(EVENT)
        return read.spine.select(ROW, pl.lit(None, pl.Int64).alias("x"), stamps)

    made = joined(constructor, joining(answer))
    (view,) = made.report.views
    assert (view.hit, view.unexplained, view.null_value) == (2, 1, 2)
    assert "nothing but nulls" not in str(made.report)


def test_order_of_the_answer_does_not_matter(constructor, joining):
    made = joined(constructor, joining(lambda read: honest(read).reverse()))
    assert constructor.values(made.frame, "x") == [10, None, 20, 10, None]


def test_whole_numbers_that_came_as_floats_are_cast_back(constructor, joining):
    made = joined(constructor, joining(lambda read: honest(read).cast({"x": pl.Float64})))
    assert constructor.values(made.frame, "x") == [10, None, 20, 10, None]


def test_timestamps_are_given_where_the_store_tells_them(constructor, joining):
    store = joining(
        lambda read: honest(read).with_columns(read.spine[AT].alias(EVENT)),
        history_options=frozenset({"feature_timestamps"}),
    )
    made = joined(constructor, store, feature_timestamps=True)
    stamps = constructor.values(made.frame, "v__event_timestamp")
    assert [each is None for each in stamps] == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        (lambda read: pl.concat([honest(read)] * 2), RowMismatch, "several answers for one row"),
        (lambda read: honest(read).with_columns(pl.col(ROW) + 5), RowMismatch, "not asked for"),
        (lambda read: honest(read).with_columns(pl.lit(None).alias(ROW)), RowMismatch, "not asked"),
        (lambda read: honest(read).drop("x"), ProtocolError, "without the column 'x'"),
        (lambda read: honest(read).with_columns(x=0.5), ProtocolError, "'v:x' cannot become int64"),
    ],
)
def test_answers_that_cannot_be_right_are_refused(constructor, joining, answer, error, match):
    with pytest.raises(error, match=match):
        joined(constructor, joining(answer))


@pytest.mark.parametrize(
    "options",
    [
        {"strict": True},
        {"known_by": "created"},
        {"lookback": "1d"},
        {"feature_timestamps": True},
    ],
    ids=str,
)
def test_options_that_are_not_heeded_are_refused(constructor, joining, options):
    (name,) = options
    with pytest.raises(NotSupportedError, match=f"does not heed {name}="):
        joined(constructor, joining(honest), **options)


def test_plan_says_who_joins(constructor, joining):
    assert str(joined(constructor, joining(honest), explain=True)) == (
        "the store 'scripted' joins by itself"
    )


def test_store_without_history_says_so(constructor, scripted_store):
    with (
        featkit.connect(scripted_store()) as client,
        pytest.raises(NotSupportedError, match=r"get_historical_features\(\)"),
    ):
        client.get_historical_features(
            constructor({"shop": [1], "at": hours(1)}), "shops:visits", at="at"
        )


def test_view_that_is_online_only_is_refused(constructor, scripted_store, joining):
    store = joining(honest)
    store.views = [scripted_store.view("v", "k", "x", offline=False)]
    with pytest.raises(NotSupportedError, match="'v' has no history"):
        joined(constructor, store)
