"""Each mistake that Feast answers oddly: an error that says the reason, and nothing is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import featkit
from featkit.errors import (
    FeatkitError,
    InputError,
    KeyColumnError,
    KeyTypeError,
    NameClashError,
    NotSupportedError,
    SettingsError,
    UnknownNameError,
)
from featkit.schema import FeatureRef, FeatureService
from featkit.stores.base import open_store
from featkit.testing import CONTRACT_NOW, contract_views
from tests.fakes.feast import PROJECT, FeastFake, served

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = FeatureService("model", (FeatureRef("customers", "visits"),))


@pytest.fixture
def fake() -> FeastFake:
    return FeastFake(contract_views(), services=[SERVICE])


@pytest.fixture
def client(fake: FeastFake) -> Iterator[featkit.FeatureStoreClient]:
    with served(fake) as url:
        store = open_store(f"feast+{url}", {"registry_url": url, "project": PROJECT})
        with featkit.connect(store, now=CONTRACT_NOW) as client:
            yield client


CUSTOMER = {"customer_id": [1]}
VISITS = ["customers:visits"]
ROUTE = ["routes:*"]

# what Feast answers to each is told in `tests/data/feast/http`, in the file that is named
CASES: dict[str, tuple[Any, Any, type[FeatkitError], str]] = {
    "missing_join_key": ({"other": [1]}, VISITS, KeyColumnError, "no column 'customer_id'"),
    "wrong_join_key": ({"customer": [1]}, VISITS, KeyColumnError, "did you mean 'customer'"),
    "composite_missing_key": ({"start_id": [1]}, ROUTE, KeyColumnError, "'end_id'"),
    "string_for_int": ({"customer_id": ["abc"]}, VISITS, KeyTypeError, "is int64.*is string"),
    "string_for_int_numeric": ({"customer_id": ["1"]}, VISITS, KeyTypeError, "cast the column"),
    "float_for_int_frac": ({"customer_id": [1.5]}, VISITS, KeyTypeError, r"1\.5.*without loss"),
    "bool_for_int": ({"customer_id": [True]}, VISITS, KeyTypeError, "bool"),
    "int_for_string": ({"note_id": [1]}, ["notes:*"], KeyTypeError, "is string.*is int64"),
    "bigint_overflow": ({"customer_id": [2**63]}, VISITS, KeyTypeError, "without loss"),
    "mixed_lengths": ({"start_id": [1, 2], "end_id": [1]}, ROUTE, InputError, "differ in length"),
    "scalar_entities": ({"customer_id": 1}, VISITS, InputError, "expected a list of keys"),
    "whole_view": (CUSTOMER, ["customers"], UnknownNameError, r"'customers:\*'"),
    "malformed_ref": (CUSTOMER, ["a:b:c"], InputError, "write 'view:feature'"),
    "unknown_view": (CUSTOMER, ["customer:visits"], UnknownNameError, "did you mean 'customers'"),
    "unknown_feature": (CUSTOMER, ["customers:visit"], UnknownNameError, "'visits'"),
    "unknown_service": (CUSTOMER, "modell", UnknownNameError, "did you mean 'model'"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_told_before_anything_is_sent(
    fake: FeastFake, client: featkit.FeatureStoreClient, case: str
) -> None:
    keys, features, kind, words = CASES[case]
    with pytest.raises(kind, match=words):
        client.lookup(keys, features)
    assert fake.requests == []


def test_two_features_of_one_name_are_told_apart_with_a_prefix(
    fake: FeastFake, client: featkit.FeatureStoreClient
) -> None:  # multi_view_name_collision
    frame = pl.DataFrame({"customer_id": [1], "visits": [0]})
    with pytest.raises(NameClashError, match="prefix="):
        featkit.features(frame).enrich(VISITS, store=client)
    assert fake.requests == []


def test_no_features_and_no_keys_are_nothing_to_ask(
    fake: FeastFake, client: featkit.FeatureStoreClient
) -> None:  # no_features, empty_features, empty_list
    assert len(client.lookup(CUSTOMER, [])) == 1
    none = client.lookup({"customer_id": []}, VISITS)
    assert (len(none), none.values.schema["visits"]) == (0, pl.Int64)
    assert fake.requests == []


def test_null_keys_are_not_sent(fake: FeastFake, client: featkit.FeatureStoreClient) -> None:
    assert client.lookup({"customer_id": [None, None]}, VISITS).values["visits"].null_count() == 2
    assert fake.requests == []


def test_a_view_that_is_not_online_is_refused(
    fake: FeastFake, client: featkit.FeatureStoreClient
) -> None:  # offline_only_view
    fake.views = [(replace(view, online=False), rows) for view, rows in fake.views]
    with pytest.raises(NotSupportedError, match="'customers' is not served online"):
        client.lookup(CUSTOMER, VISITS)
    assert fake.requests == []


@pytest.mark.parametrize(
    "target", ["feast", "feast:x", "feast+grpc:x", "feast+grpc://", "feast+redis2://x"]
)
def test_a_target_that_is_none_is_refused(target: str) -> None:
    with pytest.raises(SettingsError):
        open_store(target, {"registry_url": "http://127.0.0.1", "project": "p"})


@pytest.mark.parametrize("missing", ["project", "registry_url"])
def test_an_option_that_is_missing_is_named(missing: str) -> None:
    options = {"project": "p", "registry_url": "http://127.0.0.1"}
    del options[missing]
    with pytest.raises(SettingsError, match=missing):
        open_store("feast+http://127.0.0.1", options)
