"""Questions in pieces that the store bears."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from featkit.online.asking import batches
from featkit.stores.base import Capabilities, OnlineRead
from tests.conftest import ScriptedStore

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def read(store: ScriptedStore, keys: int, features: int) -> OnlineRead:
    view = store.view("shops", "shop", *[f"f{number}" for number in range(features)])
    frame = pl.DataFrame({"shop": range(keys)}, schema={"shop": pl.Int64()})
    return OnlineRead(view, view.features, frame, NOW)


@pytest.mark.parametrize(
    ("keys", "features", "sizes"),
    [
        (0, 1, []),
        (400, 1, [400]),
        (401, 1, [201, 200]),  # rather two alike than a small one at the end
        (1000, 1, [334, 334, 332]),
        (1000, 10, [100] * 10),  # 1,000 values each
        (3, 2000, [1, 1, 1]),  # more values than one call should bring, but there is no less
    ],
)
def test_a_call_asks_for_so_many_entities_and_values(keys, features, sizes):
    store = ScriptedStore(batch_size=400)
    store.capabilities = Capabilities(batch_size=400, values=1000)
    pieces = batches(store, read(store, keys, features), {})
    assert [piece.keys.height for piece in pieces] == sizes
    assert [key for piece in pieces for key in piece.keys["shop"]] == list(range(keys))


def test_what_the_store_took_at_the_most_counts():
    store = ScriptedStore(batch_size=400)
    pieces = batches(store, read(store, 100, 1), {"shops": 60})
    assert [piece.keys.height for piece in pieces] == [60, 40]
