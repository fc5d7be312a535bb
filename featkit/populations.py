"""What an audit asks of a store besides lookups: who its entities are, and when rows came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import polars as pl

    from featkit.columns import FeatureColumns
    from featkit.schema import Feature, FeatureView


@dataclass(frozen=True, slots=True)
class PopulationRead:
    """One question to a store: the latest rows of a view's entities, whoever they are.

    Attributes
    ----------
    view
        The feature view.
    features
        Which of its features.
    now
        The moment that counts as now, aware (UTC).
    sample
        At most so many entities, drawn evenly by their keys, the same ones each time; None: all.
    """

    view: FeatureView
    features: tuple[Feature, ...]
    now: datetime
    sample: int | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Population:
    """The answer: entities with their latest rows.

    Attributes
    ----------
    keys
        One row per entity, distinct and without nulls; one column per join key.
    columns
        Their latest values, one row per row of `keys`, as a lookup would give them.
    total
        How many entities the view has, whether or not they are in the sample.
    """

    keys: pl.DataFrame
    columns: FeatureColumns
    total: int


@dataclass(frozen=True, eq=False, slots=True)
class EntityList:
    """Who the entities of a view are.

    Attributes
    ----------
    keys
        One row per entity, distinct and without nulls; one column per join key, in the entities'
        dtypes.
    total
        How many entities the view has, whether or not they are all named.
    """

    keys: pl.DataFrame
    total: int


def drawn(frame: pl.DataFrame, keys: Sequence[str], count: int) -> pl.DataFrame:
    """Draw rows by a hash of their keys, whatever the order of the rows.

    Examples
    --------
    >>> import polars as pl
    >>> shops = pl.DataFrame({"shop": range(1000)})
    >>> one, other = drawn(shops, ["shop"], 10), drawn(shops.reverse(), ["shop"], 10)
    >>> one.height, one.equals(other.sort("shop"))
    (10, True)
    """
    if frame.height <= count:
        return frame
    return frame[frame.select(keys).hash_rows(seed=0).arg_sort().head(count).sort()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """When what a store serves of a view was last brought up to date from its source.

    Attributes
    ----------
    until
        Rows of the source up to this moment are served, aware (UTC); None: it is not told.
    finished
        When that was done, aware (UTC); None: it is not told.
    failed
        Why the last attempt failed; empty: it did not.
    """

    until: datetime | None = None
    finished: datetime | None = None
    failed: str = ""

    @property
    def moment(self) -> datetime | None:
        """What is known of how recent the rows are, at the best; None: nothing."""
        return self.until or self.finished


@dataclass(frozen=True, eq=False, slots=True)
class Arrivals:
    """When the rows of a view came, as its history tells at some moment.

    Attributes
    ----------
    moments
        The moments at which rows could be seen for the first time (UTC, microseconds): the later of
        event and created timestamp. In any order, none of them null or later than now.
    newest
        The newest event timestamp among the rows that can be seen, aware (UTC); None: no rows.
    """

    moments: pl.Series
    newest: datetime | None
