"""What audits of every store must find: a part of the contract."""
# ruff: noqa: S101 - an assertion is the point

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import polars as pl
import pytest
from polars.testing import assert_series_equal

import featkit
from featkit.dtypes import TIMESTAMP
from featkit.errors import NotSupportedError
from featkit.reports.rows import COUNTS
from featkit.staleness import compare
from featkit.staleness.measures import time_column
from featkit.stores.base import OnlineRead
from featkit.testing.data import CONTRACT_NOW, contract_keys, contract_views

if TYPE_CHECKING:
    from featkit.clients.client import FeatureStoreClient
    from featkit.schema import FeatureView
    from featkit.stores.base import Store

_VIEWS = [view.name for view, _ in contract_views()]
_TIMED = pytest.mark.parametrize(
    "view", [view for view, _ in contract_views() if view.timestamp], ids=lambda view: view.name
)


class AuditContract:
    """The tests of the contract about staleness; `StoreContract` has them.

    Attributes
    ----------
    has_history
        Whether audits can compare with an offline store; None: as the capabilities say. A fixture
        `past` returns the store that has it, where `store` does not.
    """

    has_history: ClassVar[bool | None] = None

    @pytest.fixture
    def past(self, store: Store) -> Store:
        """Return the store with its history, where that is not `store` itself."""
        return store

    @_TIMED
    def test_offline_times_are_those_of_the_latest_rows(
        self, past: Store, view: FeatureView
    ) -> None:
        """Each entity's newest row counts that was known; without a history, the reason is told."""
        keys = contract_keys(view.name).reverse()
        with featkit.connect(past, now=CONTRACT_NOW, cache=None) as client:
            described = client.get_feature_metadata(view.name)
            read = OnlineRead(described, described.features, keys, CONTRACT_NOW)
            if not self._has_history(past):
                with pytest.raises(NotSupportedError, match=r"offline"):
                    client.run(past.read_offline_times(read))
                return
            found = client.run(past.read_offline_times(read))
        right = _newest(view, keys, revised=_knows_when_written(past, described))
        assert_series_equal(found, right, check_names=False)

    @_TIMED
    def test_online_is_compared_with_offline(self, past: Store, view: FeatureView) -> None:
        """The report tells the lag, or why there is none; asyncio tells the same."""
        keys = contract_keys(view.name)
        with featkit.connect(past, now=CONTRACT_NOW, cache=None) as client:
            found = client.staleness([f"{view.name}:*"], keys, compare_offline=True)[view.name]
            described = client.get_feature_metadata(view.name)
        timeless = past.capabilities.timestamp_level == "none"
        if timeless or not self._has_history(past):
            assert found.lag is None
            assert "not compared with offline: " in " ".join(found.notes)
        else:
            offline = _newest(view, keys, revised=_knows_when_written(past, described))
            assert found.lag == compare(found.times[time_column(view.join_keys)], offline)

        async def again() -> None:
            client = featkit.connect_async(past, now=CONTRACT_NOW, cache=None)
            twin = await client.staleness([f"{view.name}:*"], keys, compare_offline=True)
            assert twin[view.name] == found
            await client.close()

        asyncio.run(again())

    def _has_history(self, past: Store) -> bool:
        told = past.capabilities.history != "none"
        return told if self.has_history is None else self.has_history

    @pytest.mark.parametrize("view", _VIEWS)
    def test_audits_see_what_lookups_see(self, client: FeatureStoreClient, view: str) -> None:
        """Each entity is counted once; a store that lists its entities lists those it knows."""
        features, keys = [f"{view}:*"], contract_keys(view)
        looked_up = client.staleness(features, keys)[view]
        for feature in looked_up.features:
            counts = [getattr(feature, name) for name in COUNTS]
            assert sum(counts) == feature.n == keys.height
        listed = client.staleness(features)[view]
        if listed.n:
            there = [
                replace(each, n=each.n - each.missing, missing=0) for each in looked_up.features
            ]
            assert listed.features == tuple(there)
        else:
            assert listed.verdict == "unknown"


def _knows_when_written(past: Store, described: FeatureView) -> bool:
    """Tell whether rows that were written later do not count."""
    if past.capabilities.history != "joined":
        return True
    return described.created is not None and "known_by" in past.capabilities.history_options


def _newest(view: FeatureView, keys: pl.DataFrame, *, revised: bool) -> pl.Series:
    rows = next(rows for own, rows in contract_views() if own.name == view.name)
    assert view.timestamp
    rows = rows.filter(pl.col(view.timestamp) <= CONTRACT_NOW)
    if revised and view.created:
        written = pl.col(view.created)
        rows = rows.filter(written.is_null() | (written <= CONTRACT_NOW))
    newest = rows.group_by(view.join_keys).agg(pl.col(view.timestamp).max())
    found = keys.join(newest, on=view.join_keys, how="left", maintain_order="left")
    return found[view.timestamp].cast(TIMESTAMP)
