"""Questions to Feast's feature server, and whether what comes back answers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import polars as pl

from featkit.columns import FeatureColumns, Status, once
from featkit.errors import ProtocolError, RowMismatch
from featkit.schema import FeatureRef
from featkit.stores.feast.types import type_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from featkit.stores.base import OnlineRead
    from featkit.stores.feast.types import FeastType

STATUSES = {
    "PRESENT": Status.PRESENT,
    "NULL_VALUE": Status.NULL,
    "NOT_FOUND": Status.NOT_FOUND,
    "OUTSIDE_MAX_AGE": Status.EXPIRED,
}
"""By Feast's name."""


class Vector(Protocol):
    """One column of an answer: how it lies in the reply is known to the module of its wire."""

    def values(self, kind: FeastType, name: str) -> pl.Series:
        """Read the values as a type; raise `ProtocolError` where they are of another."""

    def statuses(self, name: str) -> pl.Series:
        """Read the statuses; columns with the same ones share one series."""

    def times(self, name: str) -> pl.Series:
        """Read the event timestamps, null for none; columns with the same ones share one series."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the feature server, and how its answer is read."""

    read: OnlineRead

    @property
    def refs(self) -> list[FeatureRef]:
        """The features asked for."""
        return [FeatureRef(self.read.view.name, feature.name) for feature in self.read.features]

    @property
    def parents(self) -> list[FeatureRef]:
        """One feature of each view that an on-demand view is computed from: it tells the time."""
        return list({ref.view: ref for ref in self.read.view.computed_from}.values())

    @property
    def echoed(self) -> list[str]:
        """The join keys, which the answer repeats; request data it does not."""
        return [entity.join_key for entity in self.read.view.entities if not entity.request_data]

    def wires(self) -> dict[str, pl.DataType | None]:
        """Tell what JSON holds in the columns whose values are wanted, by their names."""
        keys = {e.join_key: e for e in self.read.view.entities if not e.request_data}
        features = {column(ref): f for ref, f in zip(self.refs, self.read.features, strict=True)}
        return {name: type_of(item).wire for name, item in (keys | features).items()}

    def answer(self, names: Sequence[str], results: Sequence[Vector]) -> FeatureColumns:
        """Read the answer, if it is one to this question.

        Parameters
        ----------
        names
            The names of the columns, as the reply tells them.
        results
            The columns.
        """
        vectors = self._named(names, results)
        order = self._order(vectors)
        oldest = self._oldest([self._times(vectors[column(ref)], ref) for ref in self.parents])
        lost = once(lambda series: (series == Status.NOT_FOUND).arg_true())
        columns, found, times = [], {}, {}
        for ref, feature in zip(self.refs, self.read.features, strict=True):
            vector = vectors[column(ref)]
            own = self._times(vector, ref) if oldest is None else oldest
            values = self._long_enough(vector.values(type_of(feature), feature.name), ref)
            columns.append(values)
            told = self._long_enough(vector.statuses(str(ref)), ref)
            if self.read.view.timestamp:
                times[feature.name] = own
                told = told if self.parents else _mended(told, values, own)
            rows = lost(told)
            if len(rows) and values.gather(rows).null_count() < len(rows):
                msg = f"{ref}: the feature server sent a value that it marks NOT_FOUND"
                raise ProtocolError(msg)
            found[feature.name] = told
        answer = FeatureColumns(pl.DataFrame(columns), found, times)
        return answer if order is None else answer.gather(order)

    def _named(self, names: Sequence[str], results: Sequence[Vector]) -> dict[str, Vector]:
        wanted = {*self.echoed, *map(column, self.refs + self.parents)}
        if len(names) != len(results) or len(set(names)) != len(names) or set(names) != wanted:
            msg = (
                f"the feature server answered with {len(results)} columns named {sorted(names)}, "
                f"but was asked for {sorted(wanted)}"
            )
            raise ProtocolError(msg)
        return dict(zip(names, results, strict=True))

    def _order(self, vectors: Mapping[str, Vector]) -> pl.Series | None:
        """Find the row of the answer for each key asked; None: they are in order."""
        if not self.echoed:
            return None
        asked = self.read.keys
        echo = pl.DataFrame(
            vectors[entity.join_key].values(type_of(entity), entity.join_key)
            for entity in self.read.view.entities
            if not entity.request_data
        )
        if echo.height != asked.height:
            msg = f"expected {asked.height} rows, got {echo.height}; nothing was joined"
            raise RowMismatch(msg)
        if echo.equals(asked if asked.columns == self.echoed else asked.select(self.echoed)):
            return None
        rows = echo.with_row_index("row")
        if len(self.echoed) == asked.width and not echo.is_duplicated().any():
            order = asked.join(rows, on=self.echoed, how="left", maintain_order="left")["row"]
            if not order.null_count():
                return order
        msg = "the answer is for other entities than were asked for; nothing was joined"
        raise RowMismatch(msg)

    def _times(self, vector: Vector, ref: FeatureRef) -> pl.Series:
        return self._long_enough(vector.times(str(ref)), ref)

    def _long_enough(self, series: pl.Series, ref: FeatureRef) -> pl.Series:
        rows = max(self.read.keys.height, 1)
        if len(series) != rows:
            msg = f"{ref}: expected {rows} rows, got {len(series)}; nothing was joined"
            raise RowMismatch(msg)
        return series

    def _oldest(self, times: list[pl.Series]) -> pl.Series | None:
        """Tell the time of what is computed on demand: the oldest of what it is made of."""
        if not self.read.view.computed_from:
            return None
        return pl.select(pl.min_horizontal(times)).to_series()


def column(ref: FeatureRef) -> str:
    """Return the name of a feature's column in an answer."""
    return f"{ref.view}__{ref.feature}"


def _mended(statuses: pl.Series, values: pl.Series, times: pl.Series) -> pl.Series:
    """Mend what some online stores say: with Redis an unknown key is null, PRESENT and of 1970."""
    if not values.null_count() or not times.null_count():
        return statuses  # the series that other features share
    unknown = values.is_null() & times.is_null() & (statuses == Status.PRESENT)
    return statuses.set(unknown, Status.NOT_FOUND) if unknown.any() else statuses
