"""What every store must say of what it cannot do: a part of the contract."""
# ruff: noqa: S101 - an assertion is the point

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from featkit.capabilities import ABILITIES, UNTOLD, Mark
from featkit.errors import NotSupportedError
from featkit.populations import PopulationRead
from featkit.stores.base import OnlineRead, Store
from featkit.testing.data import CONTRACT_NOW, contract_keys

if TYPE_CHECKING:
    from featkit.calls import Flow
    from featkit.clients.client import FeatureStoreClient

_VIEW = "customers"


class GapContract:
    """The tests of the contract about what a store lacks; `StoreContract` has them."""

    def test_what_it_lacks_is_what_it_says(self, store: Store, client: FeatureStoreClient) -> None:
        """Each thing that it cannot do is named, and nothing that it can: a mended gap shows."""
        lacking = {name for name in ABILITIES if not _has(name, store, client)}
        assert lacking == set(store.capabilities.lacking)

    def test_each_gap_has_a_reason(self, store: Store) -> None:
        """A mark, and a sentence that is more than the mark."""
        for name, lack in store.capabilities.lacking.items():
            assert lack.mark in Mark, name
            assert len(lack.reason.split()) > len(lack.mark.meaning.split()) // 2, name
            assert lack != UNTOLD, name

    def test_errors_give_the_reason(self, store: Store, client: FeatureStoreClient) -> None:
        """Who asks for what is lacking reads why, and whether it may come."""
        lacking = store.capabilities.lacking
        if lack := lacking.get("get_historical_features"):
            spine = contract_keys(_VIEW).with_columns(at=CONTRACT_NOW)
            with pytest.raises(NotSupportedError) as caught:
                client.get_historical_features(spine, [f"{_VIEW}:visits"], at="at")
            assert str(lack) in str(caught.value)
        if lack := lacking.get("sample_entities"):
            view = client.get_feature_metadata(_VIEW)
            with pytest.raises(NotSupportedError) as caught:
                client.run(store.sample_entities(view, 1, CONTRACT_NOW))
            assert str(lack) in str(caught.value)
        if lack := lacking.get("read_population"):
            assert str(lack) in client.staleness([f"{_VIEW}:*"])[_VIEW].reason
        tells_times = "row_timestamps" not in lacking
        if tells_times and (lack := lacking.get("read_offline_times")):
            report = client.staleness([f"{_VIEW}:*"], contract_keys(_VIEW), compare_offline=True)
            assert str(lack) in "\n".join(report[_VIEW].notes)


def _has(ability: str, store: Store, client: FeatureStoreClient) -> bool:
    """Try what a store can do, or look whether its class says how."""
    view = client.get_feature_metadata(_VIEW)
    read = OnlineRead(view, view.features, contract_keys(_VIEW), CONTRACT_NOW)
    match ability:
        case "get_historical_features":
            return store.capabilities.history != "none"
        case "list_feature_views":
            return bool(client.list_feature_views())
        case "sample_entities":
            return _answers(client, store.sample_entities(view, 1, CONTRACT_NOW))
        case "read_population":
            question = PopulationRead(view, view.features, CONTRACT_NOW)
            return store.read_population(question) is not None or _answers(
                client, store.name_entities(question)
            )
        case "read_arrivals":
            return store.read_arrivals(view, CONTRACT_NOW) is not None
        case "read_offline_times":
            return store.capabilities.history != "none" or _answers(
                client, store.read_offline_times(read)
            )
        case "row_timestamps":
            return store.capabilities.timestamp_level == "row"
        case "tell_missing":
            return store.capabilities.tells_missing
        case _:
            return getattr(type(store), ability) is not getattr(Store, ability)


def _answers(client: FeatureStoreClient, flow: Flow[object]) -> bool:
    try:
        client.run(flow)
    except NotSupportedError:
        return False
    return True
