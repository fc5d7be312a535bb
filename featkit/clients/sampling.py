"""The latest values of some entities of a view: to look at, and to judge by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from featkit import frames
from featkit.clients.operations import EnrichOptions
from featkit.keys import spread
from featkit.references import select
from featkit.schema import FeatureRef

if TYPE_CHECKING:
    from datetime import datetime

    from featkit.calls import Flow
    from featkit.clients.operations import Operations
    from featkit.columns import FeatureColumns
    from featkit.schema import FeatureView
    from featkit.types import Keys


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The latest values of some entities.

    Attributes
    ----------
    keys
        The entities: one row each, one column per join key.
    columns
        Their values, in the order of `keys`.
    now
        The moment that counted as now, aware (UTC).
    """

    keys: pl.DataFrame
    columns: FeatureColumns
    now: datetime

    def to_polars(self) -> pl.DataFrame:
        """Return the keys, then the features that do not have the name of a key."""
        return self.keys.with_columns(self.columns.values)


def sample(
    operations: Operations, view: FeatureView, count: int, entities: Keys | None = None
) -> Flow[Sample]:
    """Look up some entities of a view.

    Parameters
    ----------
    operations
        On the store; their last summary stays as it is.
    view
        The view, with at least one feature.
    count
        How many entities at most.
    entities
        Keys to take them from, as `lookup` takes them; None: those that the store names.

    Raises
    ------
    NotSupportedError
        The store names no entities, and none were given.
    """
    now = yield from operations.now()
    selection = yield from select(operations.store, [FeatureRef(view.name, "*")])
    if entities is not None:
        given = frames.of_keys(entities, view.join_keys)
        keys = given.key_columns(frames.key_labels(given, selection, None))
        keys = spread(keys.drop_nulls().unique(maintain_order=True), count)
    elif view.join_keys:
        keys = yield from operations.store.sample_entities(view, count, now)
    else:
        keys = pl.DataFrame(height=1)  # a view without entities has one row
    found = yield from operations.look(selection, keys, EnrichOptions(), frames.adapt(keys))
    return Sample(keys, found.columns(), now)
