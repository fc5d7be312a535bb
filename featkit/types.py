"""Names for the kinds of values that cross featkit's public edge."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from featkit.schema import FeatureRef

Scalar: TypeAlias = (
    str | int | float | bool | bytes | dt.date | dt.datetime | decimal.Decimal | uuid.UUID
)
"""One value of a join key."""

EntityId: TypeAlias = Scalar | tuple[Scalar, ...] | Mapping[str, Scalar]
"""One entity: its key, or for a composite key a tuple in the view's order or a mapping."""

Duration: TypeAlias = dt.timedelta | str | float
"""A timedelta, text such as ``"7d"`` or ``"1h30m"``, or seconds."""

Frame: TypeAlias = "pd.DataFrame | pl.DataFrame | pl.LazyFrame"
"""A frame of the user's."""

Keys: TypeAlias = "pd.DataFrame | pl.DataFrame | Mapping[str, Sequence[object]] | Sequence[object]"
"""Entities as columns: a frame, a mapping of columns, or, for a single join key, a sequence."""

Features: TypeAlias = "str | FeatureRef | Sequence[str | FeatureRef]"
"""References ``"view:feature"`` or ``"view:*"``, or the name of a feature service."""

Now: TypeAlias = "dt.datetime | str | Callable[[], dt.datetime] | None"
"""What counts as now: a fixed moment, aware, or a clock."""

Expired: TypeAlias = Literal["keep", "null"]
"""What becomes of a value past its ttl."""

OnMissing: TypeAlias = Literal["null", "warn", "raise"]
"""What happens when the store does not know an entity."""

OnError: TypeAlias = Literal["raise", "null"]
"""What happens when the store fails."""

DtypeBackend: TypeAlias = Literal["numpy_nullable", "pyarrow"]
"""Which dtypes the feature columns of a pandas frame get."""

KnownBy: TypeAlias = "Literal['event', 'created'] | Mapping[str, Duration]"
"""From when on a row of history counts: its event, its writing, or a delay for each view."""

Engine: TypeAlias = Literal["auto", "polars", "duckdb"]
"""Where a point-in-time join runs."""
