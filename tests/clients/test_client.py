"""The two clients: the same methods, sync and to be awaited."""

import asyncio
import copy
import datetime as dt
import decimal
import inspect
import pickle
import threading
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import featkit
from featkit.errors import (
    ClosedError,
    InputError,
    KeyTypeError,
    UnknownNameError,
)

NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
SYNC, ASYNC = featkit.FeatureStoreClient, featkit.AsyncFeatureStoreClient
PINNED = {
    *("get_online_features", "get_online_features_batch", "get_online_features_with_timestamps"),
    *("lookup", "get_historical_features", "get_feature_metadata", "list_feature_views"),
    *("list_entities", "list_feature_services", "search", "health_check", "check_health"),
    *("monitor_health", "staleness", "browse", "close"),
}


def public_methods(kind):
    return {
        name
        for name, value in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name not in {"run", "arun"}
    }


# -- two clients, one set of methods -------------------------------------------------------------


def test_every_pinned_method_is_there():
    assert public_methods(SYNC) >= PINNED


@pytest.mark.parametrize("kind", [SYNC, ASYNC])
def test_what_the_store_can_do_is_told(kind, scripted_store):
    asked = scripted_store()
    assert kind(asked, "x").capabilities is asked.capabilities


def test_both_clients_have_the_same_methods():
    assert public_methods(SYNC) == public_methods(ASYNC)


@pytest.mark.parametrize("name", sorted(public_methods(SYNC)))
def test_both_take_and_return_the_same(name):
    own, twin = getattr(SYNC, name), getattr(ASYNC, name)
    assert inspect.signature(own) == inspect.signature(twin)
    assert inspect.iscoroutinefunction(twin)
    assert not inspect.iscoroutinefunction(own)


@pytest.mark.parametrize("kind", [SYNC, ASYNC])
def test_every_method_is_described(kind):
    undescribed = [
        name for name in public_methods(kind) if not (getattr(kind, name).__doc__ or "").strip()
    ]
    assert undescribed == []


@pytest.mark.anyio
async def test_both_answer_the_same(store_folder, now):
    client = featkit.connect(f"parquet:{store_folder}", now=now)
    twin = featkit.connect_async(f"parquet:{store_folder}", now=now)
    calls = {
        "get_online_features": ("shops", 1, ["visits", "title"]),
        "get_online_features_batch": ("shops", [1, None, 9], ["visits"]),
        "get_online_features_with_timestamps": ("shops", 1, ["visits"]),
        "get_feature_metadata": ("shops",),
        "list_feature_views": (),
        "list_entities": (),
        "list_feature_services": (),
        "search": ("visits",),
        "health_check": (),
    }
    for name, arguments in calls.items():
        expected = getattr(client, name)(*arguments)
        assert await getattr(twin, name)(*arguments) == expected, name
    looked_up = await twin.lookup([1, 9], ["shops:visits"])
    assert looked_up.to_dicts() == client.lookup([1, 9], ["shops:visits"]).to_dicts()


# -- entities, one and many ----------------------------------------------------------------------


def test_one_entity_is_a_dict_of_python_values(store):
    assert store.get_online_features("shops", 1) == {
        "visits": 10,
        "rating": 4.5,
        "title": "one",
        "open": True,
        "tags": ["new", "big"],
        "opened": dt.date(2020, 2, 29),
        "rent": decimal.Decimal("1.10"),
        "logo": b"\x00\xff",
        "seen": NOON,
    }
    assert set(store.get_online_features("shops", 9).values()) == {None}
    assert set(store.get_online_features("shops", None).values()) == {None}
    assert store.get_online_features("shops", 1, "visits") == {"visits": 10}


@pytest.mark.parametrize(
    "asked",
    [
        (["shops:visits"], [{"shop": 1}]),
        ({"shop": [1]}, ["shops:visits"]),
        ("shops", 1, [3]),
        ("shops", 1, {"visits": None, 3: None}),
    ],
)
def test_names_that_are_no_text_are_refused_with_the_order(store, asked):
    with pytest.raises(InputError, match=r"named by text, in the order view, entities, features"):
        store.get_online_features(*asked)
    with pytest.raises(InputError, match=r"for a frame there is frame\.features\.enrich"):
        store.get_online_features_batch(*asked)


@pytest.mark.parametrize("asked", [("shops:visits", 1), ("shops", 1, ["shops:visits"])])
def test_references_are_not_names(store, asked):
    with pytest.raises(InputError, match=r"without colons: .*shops:visits.* for lookup\(\) and"):
        store.get_online_features(*asked)


def test_timestamps_come_by_feature_and_are_none_where_unknown(store):
    values, stamps = store.get_online_features_with_timestamps("shops", 1, ["visits", "title"])
    assert values == {"visits": 10, "title": "one"}
    assert stamps == {"visits": NOON, "title": NOON}
    assert store.get_online_features_with_timestamps("cities", "Rome")[1] == {"people": None}
    assert store.get_online_features_with_timestamps("shops", 9, ["visits"])[1] == {"visits": None}


@pytest.mark.parametrize(
    "shops",
    [
        [1, None, 9, 1],
        (1, None, 9, 1),
        [(1,), None, (9,), [1]],
        [{"shop": 1}, None, {"shop": 9}, {"shop": 1}],
        pd.Series([1, None, 9, 1]),
        pd.array([1, None, 9, 1], dtype="Int64"),
        pl.Series([1, None, 9, 1]),
        np.array([1, np.nan, 9, 1]),
        pa.array([1, None, 9, 1]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_many_entities_answer_in_order_with_duplicates(store, shops):
    found = store.get_online_features_batch("shops", shops, ["visits"])
    assert [row["visits"] for row in found] == [10, None, None, 10]
    assert store.last_summary.unique == 2


@pytest.mark.parametrize(
    "routes",
    [
        [("a", "b"), None, ("z", "z")],
        [["a", "b"], None, ["z", "z"]],
        [{"dest": "b", "origin": "a"}, None, {"origin": "z", "dest": "z"}],
        [{"origin": "a", "dest": "b"}, None, ("z", "z")],
        [("a", "b"), (None, None), ("z", "z")],
        [("a", "b"), ("a", None), ("z", "z")],
    ],
    ids=repr,
)
def test_composite_entities_are_tuples_or_mappings(store, routes):
    found = store.get_online_features_batch("routes", routes, ["km"])
    assert [row["km"] for row in found] == [1, None, None]


@pytest.mark.parametrize(
    "entity", [("a",), ("a", "b", "c"), "ab", "a", 1, {"origin": "a"}, {"origin": "a", "to": "b"}]
)
def test_entity_of_another_shape_is_refused_with_the_right_one(store, entity):
    for entities in ([entity], [("a", "b"), entity], [None, entity]):
        with pytest.raises(KeyTypeError, match=r"'routes' has the join keys \(origin, dest\)"):
            store.get_online_features_batch("routes", entities, ["km"])


def test_parts_of_one_key_are_of_one_type(store):
    with pytest.raises(KeyTypeError, match=r"'dest' mixes types.*int, str"):
        store.get_online_features_batch("routes", [("a", "b"), ("a", 1)])


@pytest.mark.parametrize(
    ("entity", "why"), [(2**64, "does not fit into 64 bits"), ("\ud800", "not Unicode")]
)
def test_what_no_column_holds_is_told(store, entity, why):
    with pytest.raises(KeyTypeError, match=f"the key 'city' holds .*{why}"):
        store.get_online_features("cities", entity)


@pytest.mark.parametrize("entities", [1, "Rome", b"x", {1, 2}, None, {"city": "Rome"}], ids=repr)
def test_what_is_no_list_of_entities_is_refused(store, entities):
    with pytest.raises(InputError, match="expected a list of entity ids"):
        store.get_online_features_batch("cities", entities)


def test_no_entities_no_answers(store):
    assert store.get_online_features_batch("shops", []) == []
    assert store.get_online_features_batch("routes", []) == []
    assert store.get_online_features_batch("routes", [None]) == [{"km": None}]


# -- lookup --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        [1, 9, None, 1],
        (1, 9, None, 1),
        {"shop": [1, 9, None, 1]},
        {"shop": np.array([1, 9, np.nan, 1])},
        pd.Series([1, 9, None, 1]),
        pd.Index([1, 9, None, 1]),
        pd.DataFrame({"shop": [1, 9, None, 1], "more": 0}),
        pd.DataFrame(index=pd.Index([1, 9, None, 1], name="shop")),
        pl.Series([1, 9, None, 1]),
        pl.DataFrame({"shop": [1, 9, None, 1]}),
        pa.chunked_array([[1, 9], [None, 1]]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_keys_are_any_column_or_frame(store, keys):
    found = store.lookup(keys, ["shops:visits"])
    assert found.values["visits"].to_list() == [10, None, None, 10]
    assert found.statuses["visits"].to_list() == ["PRESENT", "NOT_FOUND", None, "PRESENT"]


def test_features_of_several_views_need_all_their_keys(store):
    found = store.lookup({"shop": [1], "city": ["Oslo"]}, "model")
    assert found.to_dicts() == [{"visits": 10, "people": 1}]
    with pytest.raises(InputError, match="no column 'city'"):
        store.lookup({"shop": [1]}, "model")


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        (1, "not int"),
        ((n for n in [1]), "not generator"),
        ({"shop": 1}, "a list of keys for 'shop', not 1"),
        ({"shop": "12"}, "a list of keys for 'shop', not '12'"),
        ({"shop": [1], "more": [1, 2]}, "differ in length"),
        (pl.LazyFrame({"shop": [1]}), r"collect\(\) it first"),
        (pa.table({"shop": [1]}), "not Table"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_keys_of_another_form_are_refused(store, keys, match):
    with pytest.raises(InputError, match=match):
        store.lookup(keys, "shops:visits")


@pytest.mark.parametrize("keys", [1, "a", None, np.int64(1), np.array(1)])
def test_one_key_is_no_list_of_keys(store, keys):
    told = f"expected a list of keys, .* or a frame, not {type(keys).__name__}"
    with pytest.raises(InputError, match=told):
        store.lookup(keys, "shops:visits")


def test_list_of_keys_is_not_enough_for_composite_ones(store):
    with pytest.raises(InputError, match=r"join keys origin, dest; .*\{'origin': \[\.\.\.\]"):
        store.lookup(["a"], "routes:km")


def test_no_features_answer_with_as_many_empty_rows(store):
    for keys in ([1, 9], {"shop": [1, 9]}, pl.DataFrame({"shop": [1, 9]})):
        assert store.lookup(keys, []).to_dicts() == [{}, {}]


def test_uuids_are_their_text(store):
    person = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    assert store.lookup([person, None], "people:count").to_dicts() == [
        {"count": 1},
        {"count": None},
    ]
    assert store.get_online_features("people", person) == {"count": 1}


def test_unknown_names_are_refused_with_the_nearest(store):
    with pytest.raises(UnknownNameError, match="did you mean 'shops'"):
        store.get_online_features("shop", 1)
    with pytest.raises(UnknownNameError, match="did you mean 'visits'"):
        store.get_online_features("shops", 1, ["visit"])
    with pytest.raises(UnknownNameError, match="did you mean 'shops'"):
        store.get_feature_metadata("shop")


# -- life of a client ----------------------------------------------------------------------------


def test_context_manager_closes(scripted_store):
    held = scripted_store()
    with featkit.connect(held) as client:
        assert repr(client) == f"<FeatureStoreClient {client.target}>"
    assert held.closed
    assert repr(client).endswith("(closed)>")
    with pytest.raises(ClosedError, match=r"was closed; make another with featkit\.connect\("):
        client.lookup([1], "shops:visits")
    client.close()


@pytest.mark.anyio
async def test_async_context_manager_closes(scripted_store):
    held = scripted_store()
    async with featkit.connect_async(held) as client:
        assert repr(client).startswith("<AsyncFeatureStoreClient ")
    assert held.closed
    with pytest.raises(ClosedError):
        await client.lookup([1], "shops:visits")
    await client.close()


def test_context_manager_closes_after_an_error_too(scripted_store):
    held = scripted_store()
    with pytest.raises(ZeroDivisionError), featkit.connect(held):
        raise ZeroDivisionError
    assert held.closed


def test_closed_default_client_says_so(constructor, scripted_store):
    featkit.connect(scripted_store()).close()
    with pytest.raises(ClosedError):
        constructor({"shop": [1]}).features.enrich("shops:visits")


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_is_not_copied_and_says_what_to_do(store, way):
    with pytest.raises(InputError, match=r"connect anew .*featkit\.connect\('parquet:"):
        way(store)


def test_sixteen_threads_share_a_client(store):
    truth, wrong = {1: 10, 2: 2**62 + 1, 3: None, 9: None}, []

    def work(number):
        for turn in range(4):
            shop = list(truth)[(number + turn) % 4]
            found = store.lookup([shop, 1, None], "shops:visits").values["visits"].to_list()
            if found != [truth[shop], 10, None]:
                wrong.append((shop, found))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_sync_client_works_from_inside_any_loop(store):
    async def main():
        inside = store.get_online_features("shops", 1, ["visits"])
        in_thread = await asyncio.to_thread(store.get_online_features, "shops", 1, ["visits"])
        return inside, in_thread

    assert asyncio.run(main()) == ({"visits": 10}, {"visits": 10})
