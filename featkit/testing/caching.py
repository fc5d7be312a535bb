"""What a store must do so that its answers can be kept: part of the contract of stores."""
# ruff: noqa: S101 - an assertion is the point

from __future__ import annotations

from typing import TYPE_CHECKING

from polars.testing import assert_frame_equal

import featkit
from featkit.testing.data import CONTRACT_NOW, contract_keys, contract_views

if TYPE_CHECKING:
    from featkit.stores.base import Store


class CacheContract:
    """The tests of `featkit.testing.StoreContract` that ask everything twice."""

    def test_the_cache_answers_as_the_store_does(self, store: Store) -> None:
        """Values, statuses and times are the same the second time, and no call is made."""
        with featkit.connect(store, now=CONTRACT_NOW, cache="memory") as client:
            for view, _ in contract_views():
                keys, wanted = contract_keys(view.name), f"{view.name}:*"
                asked = client.lookup(keys, wanted).to_polars(timestamps=True, statuses=True)
                kept = client.lookup(keys, wanted).to_polars(timestamps=True, statuses=True)
                assert client.last_summary is not None
                assert client.last_summary.calls == 0
                assert_frame_equal(kept, asked)
