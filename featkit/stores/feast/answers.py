"""Questions to Feast's feature server, and whether what comes back answers them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from featkit import json_columns
from featkit.columns import STATUS, FeatureColumns, Status, once
from featkit.errors import ProtocolError, RowMismatch
from featkit.schema import FeatureRef
from featkit.stores.feast.registry import DUMMY_KEY
from featkit.stores.feast.types import decode_column, type_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from featkit.calls import HttpReply
    from featkit.schema import Feature
    from featkit.stores.base import OnlineRead

_NO_TIME = "1970-01-01T00:00:00Z"
_STATUSES = {
    "PRESENT": Status.PRESENT,
    "NULL_VALUE": Status.NULL,
    "NOT_FOUND": Status.NOT_FOUND,
    "OUTSIDE_MAX_AGE": Status.EXPIRED,
}


class _Vector(msgspec.Struct):
    values: msgspec.Raw
    statuses: msgspec.Raw = msgspec.Raw(b"")
    event_timestamps: msgspec.Raw = msgspec.Raw(b"")


class _Metadata(msgspec.Struct):
    feature_names: list[str]


class _Response(msgspec.Struct):
    metadata: _Metadata
    results: list[_Vector]


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

    def body(self) -> bytes:
        """Write the request, its keys column by column."""
        refs = [str(ref) for ref in self.refs + self.parents]
        wanted = json.dumps({"features": refs, "full_feature_names": True})
        keys = self.read.keys
        if keys.width:
            columns = pl.struct(_json_key(name, dtype) for name, dtype in keys.schema.items())
            entities = keys.select(columns.struct.json_encode()).item()
        else:
            entities = json.dumps({DUMMY_KEY: [""]})
        return f'{wanted[:-1]}, "entities": {entities}}}'.encode()

    def answer(self, reply: HttpReply) -> FeatureColumns:
        """Read the answer, if it is one to this question."""
        vectors = self._vectors(reply)
        order = self._order(vectors)
        stamps = json_columns.shared(self._stamps)
        statuses = json_columns.shared(self._statuses)
        oldest = self._oldest(
            [stamps(vectors[_column(ref)].event_timestamps, str(ref)) for ref in self.parents]
        )
        lost = once(lambda series: series == Status.NOT_FOUND)
        columns, found, times = [], {}, {}
        for ref, feature in zip(self.refs, self.read.features, strict=True):
            vector = vectors[_column(ref)]
            own = stamps(vector.event_timestamps, str(ref)) if oldest is None else oldest
            values = self._values(vector.values, feature)
            columns.append(values)
            told = statuses(vector.statuses, str(ref))
            if self.read.view.timestamp:
                times[feature.name] = own
                told = told if self.parents else _mended(told, values, own)
            if (lost(told) & values.is_not_null()).any():
                msg = f"{ref}: the feature server sent a value that it marks NOT_FOUND"
                raise ProtocolError(msg)
            found[feature.name] = told
        answer = FeatureColumns(pl.DataFrame(columns), found, times)
        return answer if order is None else answer.gather(order)

    def _vectors(self, reply: HttpReply) -> dict[str, _Vector]:
        try:
            said = msgspec.json.decode(reply.body, type=_Response)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            msg = f"the feature server's reply is not what Feast sends: {error}"
            raise ProtocolError(msg) from error
        names = said.metadata.feature_names
        wanted = {*self.echoed, *map(_column, self.refs + self.parents)}
        if len(names) != len(said.results) or len(set(names)) != len(names) or set(names) != wanted:
            msg = (
                f"the feature server answered with {len(said.results)} columns named "
                f"{sorted(names)}, but was asked for {sorted(wanted)}"
            )
            raise ProtocolError(msg)
        return dict(zip(names, said.results, strict=True))

    def _order(self, vectors: Mapping[str, _Vector]) -> pl.Series | None:
        """Find the row of the answer for each key asked; None: they are in order."""
        if not self.echoed:
            return None
        asked = self.read.keys
        echo = pl.DataFrame(
            decode_column(vectors[entity.join_key].values, type_of(entity), entity.join_key)
            for entity in self.read.view.entities
            if not entity.request_data
        )
        if echo.height != asked.height:
            msg = f"expected {asked.height} rows, got {echo.height}; nothing was joined"
            raise RowMismatch(msg)
        if echo.equals(asked.select(self.echoed)):
            return None
        rows = echo.with_row_index("row")
        if len(self.echoed) == asked.width and not echo.is_duplicated().any():
            order = asked.join(rows, on=self.echoed, how="left", maintain_order="left")["row"]
            if not order.null_count():
                return order
        msg = "the answer is for other entities than were asked for; nothing was joined"
        raise RowMismatch(msg)

    def _values(self, raw: msgspec.Raw, feature: Feature) -> pl.Series:
        return self._long_enough(decode_column(raw, type_of(feature), feature.name), feature.name)

    def _stamps(self, raw: bytes, name: str) -> pl.Series:
        text = self._long_enough(json_columns.decode(raw, pl.String(), name), name)
        times = text.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        return times.set(text == _NO_TIME, None)

    def _statuses(self, raw: bytes, name: str) -> pl.Series:
        words = self._long_enough(json_columns.decode(raw, pl.String(), name), name)
        if words.null_count():
            msg = f"{name}: the feature server sent a value without a status"
            raise ProtocolError(msg)
        try:
            return words.replace_strict(_STATUSES, return_dtype=STATUS)
        except pl.exceptions.PolarsError as error:
            unknown = sorted(set(words.unique()) - set(_STATUSES), key=str)
            msg = f"{name}: the feature server sent the unknown status {unknown[0]!r}"
            raise ProtocolError(msg) from error

    def _long_enough(self, series: pl.Series, name: str) -> pl.Series:
        rows = max(self.read.keys.height, 1)
        if len(series) != rows:
            msg = f"{name}: expected {rows} rows, got {len(series)}; nothing was joined"
            raise RowMismatch(msg)
        return series

    def _oldest(self, times: list[pl.Series]) -> pl.Series | None:
        """Tell the time of what is computed on demand: the oldest of what it is made of."""
        if not self.read.view.computed_from:
            return None
        return pl.select(pl.min_horizontal(times)).to_series()


def _column(ref: FeatureRef) -> str:
    return f"{ref.view}__{ref.feature}"


def _json_key(name: str, dtype: pl.DataType) -> pl.Expr:
    """Write a column of keys as the server reads it: times in seconds, bytes in base64."""
    keys = pl.col(name)
    if isinstance(dtype, pl.Binary):
        keys = keys.bin.encode("base64")
    elif isinstance(dtype, pl.Datetime):
        keys = keys.dt.epoch("s")
    return keys.implode().alias(name)


def _mended(statuses: pl.Series, values: pl.Series, times: pl.Series) -> pl.Series:
    """Mend what some online stores say: with Redis an unknown key is null, PRESENT and of 1970."""
    if not values.null_count() or not times.null_count():
        return statuses  # the series that other features share
    unknown = values.is_null() & times.is_null() & (statuses == Status.PRESENT)
    return statuses.set(unknown, Status.NOT_FOUND) if unknown.any() else statuses
