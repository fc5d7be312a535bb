"""The lookup flow against stores that lie: an error, or the truth, never a shifted frame."""

import datetime as dt
from dataclasses import replace

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis import given

from featkit.columns import STATUS, FeatureColumns, Status
from featkit.errors import (
    BatchTooLarge,
    FeatkitError,
    MissingEntitiesError,
    NotSupportedError,
    ProtocolError,
    RowMismatch,
    SlowAnswer,
    StoreError,
)
from featkit.online.answering import How
from featkit.online.lookup import LookupOptions, lookup
from featkit.references import Selection, ViewSelection
from featkit.schema import Feature
from tests.examples import examples

NOW = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)
FEATURES = ("a", "b", "c")


def run(store, shops, *, features=FEATURES, view=None, ceilings=None, **options):
    """Run a lookup of one view as a driver would, without threads."""
    view = view or store.views[0]
    chosen = view.select(tuple(features))
    part = ViewSelection(view, chosen, {name: name for name in features})
    flow = lookup(
        store,
        Selection((part,), tuple(features)),
        pl.DataFrame({"shop": pl.Series(shops, dtype=pl.Int64)}),
        LookupOptions(now=NOW, how=How(ceilings={} if ceilings is None else ceilings), **options),
    )
    return driven(flow)


def driven(flow):
    try:
        calls = next(flow)
        while True:
            calls = flow.send([outcome(call) for call in calls])
    except StopIteration as stop:
        return stop.value


def outcome(call):
    try:
        return call.request.run()
    except FeatkitError as error:
        return error


@pytest.fixture(scope="module")
def lying(scripted_store):
    """Make a store whose honest answers a function turns into something else."""

    def make(lie, *, batch_size=None, only=None, **view):
        described = scripted_store.view("v", "shop", *FEATURES, timestamp="at", **view)
        turn = iter(range(10**6))

        def answer(read):
            found = scripted_store.honest(read)
            return lie(found) if only is None or next(turn) == only else found

        return scripted_store(described, answer=answer, batch_size=batch_size)

    return make


def truth(scripted_store, shops):
    keys = pl.DataFrame({"shop": pl.Series(shops, dtype=pl.Int64)})
    return pl.DataFrame([scripted_store.truth(name, keys) for name in FEATURES]).to_dicts()


# -- one lie at a time ---------------------------------------------------------------------------


def each(function):
    """Lie about every series of one kind."""
    return lambda series: {name: function(one) for name, one in series.items()}


def rows(*positions):
    return lambda answer: answer.gather(pl.Series(positions, dtype=pl.UInt32))


def values(function):
    return lambda answer: replace(answer, values=function(answer.values))


def told(function):
    return lambda answer: replace(answer, statuses=function(answer.statuses))


def stamped(function):
    return lambda answer: replace(answer, timestamps=function(answer.timestamps))


def without(name):
    return lambda series: {own: one for own, one in series.items() if own != name}


OTHER_ROWS = {
    "first row dropped": rows(1, 2),
    "last row dropped": rows(0, 1),
    "all rows dropped": rows(),
    "row repeated": rows(0, 1, 1, 2),
    "row added": rows(0, 1, 2, 0),
    "values short": values(lambda frame: frame.head(2)),
    "values long": values(lambda frame: pl.concat([frame, frame.head(1)])),
    "all statuses short": told(each(lambda one: one.head(2))),
    "a status short": told(lambda series: {**series, "b": series["b"].head(2)}),
    "a status long": told(lambda series: {**series, "b": series["b"].extend_constant(None, 1)}),
    "all timestamps short": stamped(each(lambda one: one.head(2))),
    "a timestamp long": stamped(
        lambda series: {**series, "b": series["b"].extend_constant(None, 1)}
    ),
}
OTHER_FORM = {
    "feature missing": values(lambda frame: frame.drop("b")),
    "feature missing everywhere": lambda answer: FeatureColumns(
        answer.values.drop("b"), without("b")(answer.statuses), without("b")(answer.timestamps)
    ),
    "feature added": values(lambda frame: frame.with_columns(d=1)),
    "feature renamed": values(lambda frame: frame.rename({"b": "B"})),
    "feature renamed everywhere": lambda answer: answer.rename({"a": "a", "b": "B", "c": "c"}),
    "status missing": told(without("b")),
    "status of something else": told(lambda series: {**series, "d": series["a"]}),
    "timestamp of something else": stamped(lambda series: {**series, "d": series["a"]}),
    "text for numbers": values(lambda frame: frame.cast({"a": pl.String})),
    "floats for integers": values(lambda frame: frame.cast({"a": pl.Float64})),
    "smaller integers": values(lambda frame: frame.cast({"a": pl.Int32}, strict=False)),
    "lists for numbers": values(lambda frame: frame.with_columns(pl.concat_list("a").alias("a"))),
    "statuses as text": told(each(lambda one: one.cast(pl.String))),
    "statuses of other words": told(
        each(lambda one: one.cast(pl.String).cast(pl.Enum(["PRESENT"])))
    ),
    "null status": told(each(lambda one: one.set(one == "PRESENT", None))),
    "statuses as lists": told(each(pl.Series.to_list)),
    "no statuses": told(lambda _: None),
    "timestamps naive": stamped(each(lambda one: one.dt.replace_time_zone(None))),
    "timestamps of another zone": stamped(
        each(lambda one: one.dt.convert_time_zone("Europe/Paris"))
    ),
    "timestamps in nanoseconds": stamped(each(lambda one: one.cast(pl.Datetime("ns", "UTC")))),
    "timestamps as numbers": stamped(each(pl.Series.to_physical)),
    "timestamps as text": stamped(each(lambda one: one.cast(pl.String))),
    "no timestamps at all": stamped(lambda _: None),
    "timestamps of nothing": stamped(each(lambda _: None)),
    "no values": values(lambda _: None),
    "values in pandas": values(pl.DataFrame.to_pandas),
    "values lazy": values(pl.DataFrame.lazy),
    "nested in a list": lambda answer: [answer],
    "nested in itself": values(lambda frame: FeatureColumns(frame, {})),
    "a plain frame": lambda answer: answer.values,
    "dicts": FeatureColumns.to_dicts,
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("lie", OTHER_ROWS.values(), ids=OTHER_ROWS)
def test_other_rows_than_asked_for_are_a_row_mismatch(lying, lie):
    with pytest.raises(RowMismatch, match=r"'v': expected 3 rows, got \[.*nothing was joined"):
        run(lying(lie), [1, 2, None, 3, 1])


@pytest.mark.parametrize("lie", OTHER_FORM.values(), ids=OTHER_FORM)
def test_another_form_than_asked_for_is_a_protocol_error(lying, lie):
    with pytest.raises(ProtocolError, match="feature view 'v'"):
        run(lying(lie), [1, 2, None, 3, 1])


@pytest.mark.parametrize(
    "lie", {**OTHER_ROWS, **OTHER_FORM}.values(), ids=[*OTHER_ROWS, *OTHER_FORM]
)
def test_a_lie_in_one_batch_leaves_the_others(lying, scripted_store, lie):
    shops = [1, 2, None, 3, 4, 5, 6, 1]
    store = lying(lie, batch_size=3, only=1)
    with pytest.raises(ProtocolError) as caught:
        run(store, shops)
    expected = truth(scripted_store, shops)
    hidden = {4, 5, 6}
    for shop, row, true in zip(shops, caught.value.partial.to_dicts(), expected, strict=True):
        assert row == (dict.fromkeys(FEATURES) if shop in hidden or shop is None else true)
    found = run(lying(lie, batch_size=3, only=1), shops, on_error="null").columns()
    assert found.to_dicts() == caught.value.partial.to_dicts()
    statuses = found.statuses["a"].to_list()
    assert statuses == ["PRESENT", "PRESENT", None, "PRESENT", *["ERROR"] * 3, "PRESENT"]


# -- thousands of falsified answers --------------------------------------------------------------


@some.composite
def falsification(draw):
    """Draw one to three changes to an answer, harmless ones among them."""
    name = draw(some.sampled_from(FEATURES))
    positions = draw(some.lists(some.sampled_from([None, *range(6)]), max_size=6))
    dtype = draw(some.sampled_from([pl.String, pl.Float64, pl.Int32, pl.Int64, pl.UInt64]))
    other = draw(some.sampled_from([*FEATURES, "d", "A"]))

    def shift(one):
        return (
            one.gather([p % len(one) if p is not None else None for p in positions])
            if len(one)
            else one
        )

    changes = {
        "rows": lambda answer: (
            FeatureColumns(
                answer.values.select(shift(one) for one in answer.values),
                each(shift)(answer.statuses),
                each(shift)(answer.timestamps),
            )
            if len(positions) != len(answer)
            else answer
        ),
        "values": values(lambda frame: frame.head(len(positions))),
        "order of columns": values(lambda frame: frame.select(sorted(frame.columns, reverse=True))),
        "statuses": told(lambda series: {**series, name: series[name].head(len(positions))}),
        "timestamps": stamped(lambda series: {**series, name: series[name].head(len(positions))}),
        "dtype": values(lambda frame: frame.cast({name: dtype}, strict=False)),
        "rename": values(lambda frame: frame.rename({name: "d"})),
        "rename a status": told(lambda series: {**without(name)(series), other: series[name]}),
        "drop": values(lambda frame: frame.drop(name)),
        "no timestamp": stamped(without(name)),
        "foreign": told(each(lambda one: one.cast(pl.String))),
        "nested": lambda answer: (answer,),
    }
    chosen = draw(some.lists(some.sampled_from(list(changes)), min_size=1, max_size=3, unique=True))

    def lie(answer):
        for change in chosen:
            try:
                answer = changes[change](answer)
            except Exception:  # noqa: BLE001 - the next change does not fit what the last one made
                break
        return answer

    return lie


@given(
    lies=some.lists(falsification(), min_size=8, max_size=8),
    shops=some.lists(some.sampled_from([None, 1, 2, 3, 7, 8]), min_size=1, max_size=6),
    batch_size=some.sampled_from([None, 2]),
)
@examples(125)
def test_falsified_answers_never_shift_a_frame(lying, scripted_store, lies, shops, batch_size):
    expected = truth(scripted_store, shops)
    for number, lie in enumerate(lies):
        try:
            on_error = "raise" if number % 2 else "null"
            lookup = run(lying(lie, batch_size=batch_size), shops, on_error=on_error)
            found = lookup.columns()
        except ProtocolError as error:
            found = error.partial
        assert found.values.schema == pl.Schema(dict.fromkeys(FEATURES, pl.Int64))
        for name in FEATURES:
            statuses = found.statuses[name].to_list()
            for value, true, status in zip(found.values[name], expected, statuses, strict=True):
                assert value == true[name] or (value is None and status == "ERROR")


# -- lies that one can live with -----------------------------------------------------------------


def test_columns_in_another_order_are_put_right(lying, scripted_store):
    store = lying(values(lambda frame: frame.select("c", "a", "b")))
    found = run(store, [1, 2]).columns()
    assert found.values.columns == list(FEATURES)
    assert found.to_dicts() == truth(scripted_store, [1, 2])


def test_null_that_is_called_present_is_null(lying):
    found = run(lying(lambda answer: answer), [7, 1]).columns()
    assert found.statuses["a"].to_list() == ["NULL", "PRESENT"]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOW + dt.timedelta(days=365), "FUTURE"),
        (dt.datetime(1, 1, 1, tzinfo=dt.UTC), "EXPIRED"),
        (dt.datetime(9999, 12, 31, tzinfo=dt.UTC), "FUTURE"),
        (NOW, "PRESENT"),
    ],
)
def test_odd_times_are_judged_and_never_fresh_by_accident(lying, moment, expected):
    lie = stamped(each(lambda one: pl.repeat(moment, len(one), dtype=one.dtype, eager=True)))
    found = run(lying(lie, ttl=dt.timedelta(days=1)), [1]).columns()
    assert found.statuses["a"].to_list() == [expected]


def test_failure_that_a_store_returns_is_a_failure(lying):
    store = lying(lambda _: StoreError("no"))
    with pytest.raises(StoreError, match="no"):
        run(store, [1])


# -- dtypes that the view does not tell ----------------------------------------------------------


@pytest.fixture
def untold(scripted_store):
    """Make a store that does not tell the dtype of its feature, and answers as given."""

    def make(*answers):
        view = replace(scripted_store.view("v", "shop", "a"), features=(Feature("a"),))

        def answer(read):
            column = answers[read.keys["shop"][0]]
            if isinstance(column, Exception):
                raise column
            present = pl.repeat(Status.PRESENT, len(column), dtype=STATUS, eager=True)
            return FeatureColumns(pl.DataFrame({"a": column}), {"a": present})

        return scripted_store(view, answer=answer, batch_size=1)

    return make


def test_untold_dtype_is_that_of_the_first_batch_with_values(untold):
    store = untold(pl.Series([None]), pl.Series([2**62 + 1]), pl.Series([None]), pl.Series([3]))
    found = run(store, [0, 1, 2, 3], features=["a"]).columns()
    assert found.values["a"].dtype == pl.Int64
    assert found.values["a"].to_list() == [None, 2**62 + 1, None, 3]


def test_failed_batch_has_the_dtype_of_the_others(untold):
    store = untold(StoreError("down"), pl.Series(["x"]))
    found = run(store, [0, 1], features=["a"], on_error="null").columns()
    assert found.values["a"].to_list() == [None, "x"]
    assert found.statuses["a"].to_list() == ["ERROR", "PRESENT"]


def test_batches_that_disagree_on_an_untold_dtype_are_refused(untold):
    store = untold(pl.Series([1]), pl.Series(["x"]))
    with pytest.raises(ProtocolError, match="'a' should be Int64, the store sent String"):
        run(store, [0, 1], features=["a"])


def test_untold_dtype_of_nothing_but_nulls_is_null(untold):
    found = run(untold(pl.Series([None])), [0], features=["a"]).columns()
    assert found.values["a"].dtype == pl.Null


# -- what is asked -------------------------------------------------------------------------------


def test_nothing_is_asked_without_keys_or_features(scripted_store):
    store = scripted_store(scripted_store.view("v", "shop", *FEATURES))
    for shops in ([], [None, None]):
        found = run(store, shops)
        assert len(found.columns()) == len(shops)
        assert found.summary.calls == 0
    assert store.reads == []


def test_batch_that_is_too_large_is_halved_and_the_ceiling_remembered(scripted_store):
    def answer(read):
        if read.keys.height > 3:
            raise BatchTooLarge("at most 3")
        return scripted_store.honest(read)

    view = scripted_store.view("v", "shop", *FEATURES)
    store = scripted_store(view, answer=answer, batch_size=10)
    shops, ceilings = [*range(1, 24), None, 5], {}
    found = run(store, shops, ceilings=ceilings).columns()
    assert found.to_dicts() == [
        row if shop is not None else dict.fromkeys(FEATURES)
        for shop, row in zip(shops, truth(scripted_store, shops), strict=True)
    ]
    (ceiling,) = ceilings.values()
    assert 1 <= ceiling <= 3
    store.reads.clear()
    run(store, shops, ceilings=ceilings)
    assert {read.keys.height for read in store.reads[:-1]} == {ceiling}


def test_single_entity_that_is_too_large_is_a_failure(scripted_store):
    def answer(_):
        raise BatchTooLarge("at most 0")

    store = scripted_store(scripted_store.view("v", "shop", *FEATURES), answer=answer)
    with pytest.raises(BatchTooLarge):
        run(store, [1, 2, 3])
    assert len(store.reads) <= 7


def test_what_the_store_takes_too_long_over_is_halved_this_time(scripted_store):
    def answer(read):
        if read.keys.height > 3:
            raise SlowAnswer("no answer")
        return scripted_store.honest(read)

    view = scripted_store.view("v", "shop", *FEATURES)
    store = scripted_store(view, answer=answer, batch_size=10)
    shops, ceilings = [*range(23)], {}
    found = run(store, shops, ceilings=ceilings).columns()
    assert found.to_dicts() == truth(scripted_store, shops)
    assert ceilings == {}


def test_a_store_that_answers_neither_half_is_not_asked_for_quarters(scripted_store):
    def answer(_):
        raise SlowAnswer("no answer")

    store = scripted_store(scripted_store.view("v", "shop", *FEATURES), answer=answer)
    with pytest.raises(SlowAnswer):
        run(store, range(16))
    assert [read.keys.height for read in store.reads] == [16, 8, 8]


def test_views_with_the_same_keys_share_them(scripted_store):
    views = [scripted_store.view(name, "shop", name) for name in ("v", "w")]
    store = scripted_store(*views)
    parts = tuple(ViewSelection(view, view.features, {view.name: view.name}) for view in views)
    flow = lookup(
        store,
        Selection(parts, ("w", "v")),
        pl.DataFrame({"shop": [1, 2, 1]}),
        LookupOptions(now=NOW),
    )
    calls = next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.send([outcome(call) for call in calls])
    assert [read.keys["shop"].to_list() for read in store.reads] == [[1, 2], [1, 2]]
    assert stop.value.value.columns().values.columns == ["w", "v"]


def test_view_under_two_sets_of_keys_is_asked_for_each(scripted_store):
    store = scripted_store(scripted_store.view("v", "shop", "a"))
    parts = tuple(
        ViewSelection(replace(view), view.features, {"a": f"{held}__a"}, {"shop": held})
        for view in store.views
        for held in ("from", "to")
    )
    flow = lookup(
        store,
        Selection(parts, ("from__a", "to__a")),
        pl.DataFrame({"to": [3, 3, None], "from": [1, 2, 3]}),
        LookupOptions(now=NOW),
    )
    found = driven(flow).columns().values
    (first, second, third) = (row["a"] for row in _truth_of_a(scripted_store, [1, 2, 3]))
    assert found["from__a"].to_list() == [first, second, third]
    assert found["to__a"].to_list() == [third, third, None]


def _truth_of_a(scripted_store, shops):
    keys = pl.DataFrame({"shop": pl.Series(shops, dtype=pl.Int64)})
    return pl.DataFrame([scripted_store.truth("a", keys)]).to_dicts()


def test_view_that_is_not_online_is_refused_before_any_call(scripted_store):
    store = scripted_store(scripted_store.view("v", "shop", *FEATURES, online=False))
    with pytest.raises(NotSupportedError, match="'v' is not served online"):
        run(store, [1])
    assert store.reads == []


def test_missing_entities_name_the_first_with_its_row(scripted_store):
    def answer(read):
        found = scripted_store.honest(read)
        lost = read.keys["shop"] > 2
        statuses = each(lambda one: one.set(lost, "NOT_FOUND"))(found.statuses)
        return FeatureColumns(found.values, statuses)

    store = scripted_store(scripted_store.view("v", "shop", *FEATURES), answer=answer)
    with pytest.raises(MissingEntitiesError, match=r"2 of 4 entities; the first is 5 \(row 2\)"):
        run(store, [1, None, 5, 2, 4], on_missing="raise")
