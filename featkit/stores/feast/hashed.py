"""Feast's stores whose rows are named by a hash of the entity key: DynamoDB and Bigtable.

A hash does not tell of its key, so that whether rows are named as an older layout has it is found
by asking for the same entities under those names.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.errors import FeatkitError, ProtocolError, RowMismatch, reason_of
from featkit.stores.feast.direct import OLDER_KEYS, DirectStore, holds_any
from featkit.stores.feast.entity_keys import encode, entity_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.calls import Call, Flow
    from featkit.columns import FeatureColumns
    from featkit.schema import FeatureView
    from featkit.stores.base import OnlineRead

_LOOKED_FOR = 20  # entities, to find out why nothing is found


class HashedStore(DirectStore):
    """A store with a table for a view, or for several, and a row for each entity."""

    @abstractmethod
    def ask_for(self, read: OnlineRead, ids: pl.Series) -> Call[FeatureColumns]:
        """Ask for rows of a view by these identifiers, one for each key."""

    @abstractmethod
    def table(self, view: FeatureView) -> str:
        """Return the name of the table that a view is in."""

    def ask(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask for rows of a view."""
        return self.ask_for(read, ids_of(read))

    def why_nothing(self, reads: Sequence[OnlineRead]) -> Flow[str | None]:
        """Look whether the rows are named as an older layout has it."""
        firsts = {read.view.name: read for read in reversed(reads)}.values()
        some = [replace(read, keys=read.keys.head(_LOOKED_FOR)) for read in firsts]
        answers = yield [self.ask_for(read, ids_of(read, counted=False)) for read in some]
        # an error is for the reads themselves to find
        if any(holds_any(found) for found in answers if not isinstance(found, FeatkitError)):
            return OLDER_KEYS
        return None


def ids_of(read: OnlineRead, *, counted: bool = True) -> pl.Series:
    """Return the identifiers of the rows of a question."""
    ids = entity_ids(encode(read.keys, read.view.entities, counted=counted))
    return pl.Series("id", ids, dtype=pl.String())


def places(asked: pl.Series, echoed: pl.Series) -> pl.Series:
    """Find for each identifier the place of its row in an answer; null: it has none.

    Raises
    ------
    RowMismatch
        The answer has a row twice, or one that was not asked for.
    """
    keys = asked.alias("id").to_frame()
    came = pl.DataFrame({"id": echoed, "place": np.arange(len(echoed), dtype=np.uint32)})
    strange = echoed.null_count() or not echoed.is_in(asked.implode()).all()
    if strange or echoed.is_duplicated().any():
        msg = "the reply has an item twice, or one that was not asked for; nothing was joined"
        raise RowMismatch(msg)
    return keys.join(came, on="id", how="left", maintain_order="left")["place"]


def event_times(texts: pl.Series) -> pl.Series:
    """Read ISO 8601 with or without a zone; without one it is UTC."""
    text = pl.col("t").str.replace(" ", "T")
    zoned = pl.when(text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$")).then(text).otherwise(text + "Z")
    try:
        read = zoned.str.to_datetime("%+", time_unit="us", time_zone="UTC")
        return texts.alias("t").to_frame().select(read).to_series().cast(TIMESTAMP)
    except pl.exceptions.PolarsError as error:
        msg = f"event_ts is no time: {reason_of(error)}"
        raise ProtocolError(msg) from error
