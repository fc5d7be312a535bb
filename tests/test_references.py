"""From what is asked for to the features of each view, under the names they will have."""

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis import given

from featkit.errors import FeatkitError, InputError, NameClashError, UnknownNameError
from featkit.references import refuse_taken, select
from featkit.schema import FeatureRef, FeatureService


@pytest.fixture(scope="module")
def store(scripted_store):
    services = [
        FeatureService("model", (FeatureRef("shops", "visits"), FeatureRef("cities", "people"))),
        FeatureService("empty", ()),
    ]
    return scripted_store(
        scripted_store.view("shops", "shop", "visits", "rating", "people"),
        scripted_store.view("cities", "city", "people"),
        scripted_store.view("routes", ["origin", "dest"], "km"),
        scripted_store.view("from", ["origin"], "kin"),
        services=services,
    )


def chosen(store, features, **options):
    """Run the selection; what a store in memory is asked for needs no driver."""
    flow = select(store, features, **options)
    with pytest.raises(StopIteration) as stop:
        next(flow)
    return stop.value.value


def refused(store, features, **options):
    with pytest.raises(FeatkitError) as caught:
        next(select(store, features, **options))
    return caught.value


# -- references ----------------------------------------------------------------------------------

names = some.text(min_size=1).filter(lambda text: ":" not in text)


@given(view=names, feature=names)
def test_reference_is_read_as_it_is_written(view, feature):
    ref = FeatureRef(view, feature)
    assert FeatureRef.parse(str(ref)) == ref
    assert hash(FeatureRef.parse(str(ref))) == hash(ref)
    assert repr(ref) == f"FeatureRef({str(ref)!r})"


@pytest.mark.parametrize("text", ["", ":", "view", "view:", ":feature", "a:b:c", "::"])
def test_other_text_is_no_reference(text):
    with pytest.raises(InputError, match=r"is no feature reference; write 'view:feature'"):
        FeatureRef.parse(text)


# -- selecting -----------------------------------------------------------------------------------


def test_features_are_grouped_by_view_and_named_in_the_order_asked(store):
    selection = chosen(store, ["shops:rating", "cities:people", "shops:visits"])
    assert selection.columns == ("rating", "people", "visits")
    assert [part.view.name for part in selection.views] == ["shops", "cities"]
    first = selection.views[0]
    assert [feature.name for feature in first.features] == ["rating", "visits"]
    assert first.names == {"rating": "rating", "visits": "visits"}


def test_star_is_all_features_of_a_view(store):
    assert chosen(store, "shops:*").columns == ("visits", "rating", "people")
    assert chosen(store, FeatureRef("shops", "*")).columns == ("visits", "rating", "people")


def test_service_is_its_references(store):
    assert chosen(store, "model").columns == ("visits", "people")
    assert chosen(store, ["model", "routes:km"]).columns == ("visits", "people", "km")
    assert chosen(store, "empty").views == ()


def test_nothing_selects_nothing(store):
    selection = chosen(store, [])
    assert (selection.views, selection.columns, selection.join_keys) == ((), (), ())


def test_join_keys_are_those_of_all_views_each_once(store):
    selection = chosen(store, ["routes:km", "from:kin", "shops:visits"])
    assert selection.join_keys == ("origin", "dest", "shop")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (None, ("visits", "kin")),
        ("", ("visits", "kin")),
        ("x_", ("x_visits", "x_kin")),
        ("{view}__", ("shops__visits", "from__kin")),
        ("{view}.{view}.", ("shops.shops.visits", "from.from.kin")),
        ("{", ("{visits", "{kin")),
        ("{feature}", ("{feature}visits", "{feature}kin")),
    ],
)
def test_prefix_is_put_before_each_name(store, prefix, expected):
    assert chosen(store, ["shops:visits", "from:kin"], prefix=prefix).columns == expected


def test_added_columns_are_named_feature_by_feature(store):
    selection = chosen(store, ["shops:visits", "from:kin"])
    assert selection.added(timestamps=False, statuses=False) == ["visits", "kin"]
    assert selection.added(timestamps=True, statuses=True) == [
        *("visits", "visits__event_timestamp", "visits__status"),
        *("kin", "kin__event_timestamp", "kin__status"),
    ]


# -- a view under other join keys ----------------------------------------------------------------

KIN = FeatureRef("from", "kin")
BOTH = [KIN.under("start", origin="start_id"), KIN.under("end", origin="end_id")]


def test_view_under_other_keys_is_a_part_of_its_own(store):
    selection = chosen(store, ["from:*", *BOTH])
    assert selection.join_keys == ("origin", "start_id", "end_id")
    assert selection.columns == ("kin", "start__kin", "end__kin")
    own, start, end = selection.views
    assert [part.key_columns for part in selection.views] == [
        ("origin",),
        ("start_id",),
        ("end_id",),
    ]
    assert own.view == start.view == end.view
    assert len({id(part.view) for part in selection.views}) == 3
    keys = pl.DataFrame({"end_id": [1], "start_id": [2], "origin": [3]})
    assert [part.keys_of(keys)["origin"].item() for part in selection.views] == [3, 2, 1]


def test_only_the_keys_that_are_named_have_other_names(store):
    (part,) = chosen(store, FeatureRef("routes", "km").under("back", origin="dest")).views
    assert part.key_columns == ("dest", "dest")
    keys = pl.DataFrame({"dest": [1]})
    assert part.keys_of(keys).to_dicts() == [{"origin": 1, "dest": 1}]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("x_", ("x_start__kin", "x_end__kin")),
        ("{view}.", ("start.kin", "end.kin")),
    ],
)
def test_prefix_knows_the_alias(store, prefix, expected):
    assert chosen(store, BOTH, prefix=prefix).columns == expected


def test_key_that_the_view_does_not_have_cannot_be_renamed(store):
    error = refused(store, KIN.under("x", orign="y"))
    assert isinstance(error, UnknownNameError)
    assert "no join key 'orign' to rename; did you mean 'origin'" in str(error)


def test_reference_shows_what_it_is_read_under():
    assert repr(BOTH[0]) == "FeatureRef('from:kin').under('start', origin='start_id')"
    assert len({KIN, *BOTH}) == 3


# -- refusing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "kind", "words"),
    [
        ("shop:visits", UnknownNameError, ["feature view 'shop'", "did you mean 'shops'"]),
        ("shops:visit", UnknownNameError, ["'shops' has no feature 'visit'", "'visits'"]),
        ("shops:zzz", UnknownNameError, ["there are: 'people', 'rating', 'visits'"]),
        ("modell", UnknownNameError, ["feature service 'modell'", "did you mean 'model'"]),
        ("shops", UnknownNameError, ["'shops' is a feature view", "'shops:*'"]),
        ("visits", UnknownNameError, ["'visits' is a feature; write", ": 'shops:visits'"]),
        ("people", UnknownNameError, ["'shops:people' or 'cities:people'"]),
        ("", UnknownNameError, ["feature service ''"]),
        ([""], UnknownNameError, ["feature service ''"]),
        ("shops:", InputError, ["'shops:' is no feature reference"]),
        (["shops:visits"] * 2, InputError, ["twice", "'shops:visits'"]),
        (["shops:*", "shops:visits"], InputError, ["twice", "'shops:visits'"]),
        (["model", "shops:visits"], InputError, ["twice", "'shops:visits'"]),
        ([1], InputError, ["1 is no feature"]),
        ([["shops:visits"]], InputError, ["['shops:visits'] is no feature"]),
        (b"shops:visits", InputError, ["is no feature"]),
        (5, InputError, ["must be a list of references", "not 5"]),
        (None, InputError, ["not None"]),
    ],
)
def test_what_cannot_be_selected_is_refused_in_words(store, features, kind, words):
    error = refused(store, features)
    assert type(error) is kind
    assert [word for word in words if word not in str(error)] == []


def test_two_features_of_one_name_are_refused_with_the_way_out(store):
    error = refused(store, ["shops:people", "cities:people"])
    assert type(error) is NameClashError
    assert "'shops:people' and 'cities:people' would both become the column 'people'" in str(error)
    assert "prefix='{view}__'" in str(error)
    assert isinstance(refused(store, ["shops:people", "cities:people"], prefix="x"), NameClashError)
    told_apart = chosen(store, ["shops:people", "cities:people"], prefix="{view}__")
    assert told_apart.columns == ("shops__people", "cities__people")


@pytest.mark.parametrize(
    ("added", "present", "words"),
    [
        (["a"], ["a"], ["a column 'a' already"]),
        (["a", "b"], ["b", "a"], ["columns 'a', 'b' already"]),
        (list("abcdefg"), list("abcdefg"), ["'e', ... already"]),
    ],
)
def test_name_that_is_taken_is_refused_with_the_way_out(added, present, words):
    with pytest.raises(NameClashError) as caught:
        refuse_taken(added, present)
    assert [word for word in [*words, "prefix='...'"] if word not in str(caught.value)] == []


def test_labels_that_are_no_text_take_no_name():
    refuse_taken(["0", "None"], [0, None, ("0",), b"0"])
