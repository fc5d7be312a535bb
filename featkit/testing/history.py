"""What training sets of every store must hold: a part of the contract."""
# ruff: noqa: S101 - an assertion is the point

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit.dtypes import TIMESTAMP
from featkit.errors import NotSupportedError
from featkit.testing.data import CONTRACT_NOW, contract_keys, contract_views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.clients.client import FeatureStoreClient
    from featkit.schema import FeatureView
    from featkit.stores.base import Store

_NEVER = datetime.min.replace(tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_AT = "moment_of_the_row"  # no name of a feature
_EACH = pytest.mark.parametrize(
    ("view", "rows"), contract_views(), ids=[view.name for view, _ in contract_views()]
)


class HistoryContract:
    """The tests of the contract about history; `StoreContract` has them.

    A store that gives its rows is held to the rules. One that joins by itself has rules of its own,
    which its capabilities tell: it must refuse the options that it does not heed.
    """

    @_EACH
    @pytest.mark.parametrize("known_by", ["event", "created"])
    def test_each_row_gets_what_was_known_then(
        self,
        store: Store,
        view: FeatureView,
        rows: pl.DataFrame,
        known_by: Literal["event", "created"],
    ) -> None:
        """At, just before and just after each event, each writing and the end of each ttl."""
        spine = _spine(view, rows)
        with featkit.connect(store, now=CONTRACT_NOW, cache=None) as client:
            if store.capabilities.history == "joined":
                _refuses_what_it_does_not_heed(store, client, spine, view)
                return
            if store.capabilities.history == "none":
                with pytest.raises(NotSupportedError, match="get_historical_features"):
                    client.get_historical_features(spine, f"{view.name}:*", at=_AT)
                return
            if not client.get_feature_metadata(view.name).offline:
                with pytest.raises(NotSupportedError, match="has no history"):
                    client.get_historical_features(spine, f"{view.name}:*", at=_AT)
                return
            made = client.get_historical_features(
                spine,
                f"{view.name}:*",
                at=_AT,
                known_by=known_by,
            )
        names = [feature.name for feature in view.features]
        places = pl.Series(list(_places(view, rows, spine, known_by)), dtype=pl.UInt32)
        assert_frame_equal(made.frame.select(names), rows.select(names)[places])
        assert_frame_equal(made.frame.select(spine.columns), spine)
        (told,) = made.report.views
        assert told.hit == len(places) - places.null_count()


def _refuses_what_it_does_not_heed(
    store: Store, client: FeatureStoreClient, spine: pl.DataFrame, view: FeatureView
) -> None:
    options: dict[str, Any] = {
        "known_by": "created",
        "lookback": "1d",
        "strict": True,
        "feature_timestamps": True,
    }
    assert store.capabilities.history_options <= options.keys()
    for name in options.keys() - store.capabilities.history_options:
        with pytest.raises(NotSupportedError, match=f"does not heed {name}="):
            client.get_historical_features(spine, f"{view.name}:*", at=_AT, **{name: options[name]})


def _spine(view: FeatureView, rows: pl.DataFrame) -> pl.DataFrame:
    """Put each entity beside each moment at which something changes; and one without a key."""
    moments = pl.Series([CONTRACT_NOW], dtype=TIMESTAMP)
    if view.timestamp and rows.height:
        ends = rows[view.timestamp] + view.ttl if view.ttl else moments
        written = rows[view.created] if view.created else moments
        changes = pl.concat([rows[view.timestamp], ends, written]).drop_nulls().unique()
        moments = pl.concat([changes - _TICK, changes, changes + _TICK]).unique().sort()
    keys = contract_keys(view.name)
    keys = pl.concat([keys, pl.DataFrame([dict.fromkeys(keys.columns)], keys.schema)])
    return keys.join(moments.alias(_AT).to_frame(), how="cross")


def _places(
    view: FeatureView, rows: pl.DataFrame, spine: pl.DataFrame, known_by: str
) -> Iterator[int | None]:
    """Find the row of each row of the spine by looking at all of them, one after the other."""
    own: dict[tuple[Any, ...], list[tuple[int, datetime | None, datetime | None]]] = {}
    times = [
        rows[name].to_list() if name else [None] * rows.height
        for name in (view.timestamp, view.created)
    ]
    for place, key in enumerate(rows.select(view.join_keys).rows()):
        own.setdefault(key, []).append((place, times[0][place], times[1][place]))
    for *names, at in spine.rows():
        best = None
        for row in own.get(tuple(names), []):
            _, event, created = row
            if event is not None and event > at:
                continue
            if known_by == "created" and created is not None and created > at:
                continue
            if best is None or _rank(row) >= _rank(best):
                best = row
        old = best and best[1] and view.ttl and at - best[1] > view.ttl
        yield None if best is None or old else best[0]


def _rank(row: tuple[int, datetime | None, datetime | None]) -> tuple[datetime, datetime]:
    _, event, created = row
    return event or _NEVER, created or _NEVER
