"""What audits of every store must find: a part of the contract."""
# ruff: noqa: S101 - an assertion is the point

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from featkit.reports.rows import COUNTS
from featkit.testing.data import contract_keys, contract_views

if TYPE_CHECKING:
    from featkit.clients.client import FeatureStoreClient

_VIEWS = [view.name for view, _ in contract_views()]


class AuditContract:
    """The tests of the contract about staleness; `StoreContract` has them."""

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
