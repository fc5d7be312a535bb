"""Questions to Tecton's feature services, and whether what comes back answers them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

import polars as pl

from featkit import json_columns
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.errors import ProtocolError, RowMismatch, StoreUnavailable
from featkit.json_rows import JsonRows
from featkit.stores.tecton.messages import Batch, Query, Single, decoded

if TYPE_CHECKING:
    from featkit.calls import HttpReply
    from featkit.stores.base import OnlineRead
    from featkit.stores.tecton.messages import Answered, Metadata, Row

SERVICE, SERVICE_TYPE = "feature_service", "feature_service_type"
"""Tags of a view: which service serves it, and of what type that is."""

WILDCARD = "WILDCARD"
"""Type of the services that answer a part of the join keys with all that match."""

_STATUSES = {
    "PRESENT": Status.PRESENT,
    "CACHED_PRESENT": Status.PRESENT,
    "MISSING_DATA": Status.NOT_FOUND,
    "CACHED_MISSING_DATA": Status.NOT_FOUND,
    "UNKNOWN": Status.PRESENT,  # what the server cannot tell, the value tells
    "UNKNOWN_STATUS": Status.PRESENT,
    "CACHED_UNKNOWN": Status.PRESENT,
}
_WANTED = {
    "includeNames": True,
    "includeDataTypes": True,
    "includeEffectiveTimes": True,
    "includeServingStatus": True,
}


@dataclass(frozen=True)
class Question:
    """What is asked of a feature service about some entities, and how its answer is read."""

    read: OnlineRead
    workspace: str
    null_keys: tuple[str, ...]
    single: bool

    @property
    def path(self) -> str:
        """Which of the service's endpoints answers it."""
        if self._wildcard:
            return "query-features"
        return "get-features" if self.single else "get-features-batch"

    @property
    def _service(self) -> str:
        return self.read.view.tags[SERVICE]

    @property
    def _wildcard(self) -> bool:
        return self.read.view.tags[SERVICE_TYPE] == WILDCARD

    def body(self) -> bytes:
        """Write the request; it is the same for all views of the service."""
        asked = json.dumps(
            {
                "workspaceName": self.workspace,
                "featureServiceName": self._service,
                "metadataOptions": _WANTED,
            }
        )
        entities = self.read.view.entities
        keys = [_named(own.join_key, own.dtype) for own in entities if not own.request_data]
        keys += [pl.lit(f"{json.dumps(key)}: null") for key in self.null_keys]
        context = [_named(own.join_key, own.dtype) for own in entities if own.request_data]
        row = pl.concat_str(
            pl.lit('"joinKeyMap": {'),
            _listed(keys),
            pl.lit('}, "requestContextMap": {'),
            _listed(context),
            pl.lit("}"),
        )
        rows = self.read.keys.select(row=row) if self.read.keys.width else pl.select(row=row)
        if self.single or self._wildcard:
            params = f"{asked[:-1]}, {rows.item()}}}"
        else:
            data = rows.select("{" + pl.col("row").str.join("}, {") + "}").item()
            params = f'{asked[:-1]}, "requestData": [{data}]}}'
        return f'{{"params": {params}}}'.encode()

    def answer(self, reply: HttpReply) -> FeatureColumns:
        """Read the answer, if it is one to this question."""
        if self._wildcard:
            return self._matches(decoded(Query, reply))
        said = decoded(Single, reply) if self.single else decoded(Batch, reply)
        rows = [said.result] if isinstance(said, Single) else said.result
        height = max(self.read.keys.height, 1)
        if len(rows) != height:
            msg = f"expected {height} rows, got {len(rows)}; nothing was joined"
            raise RowMismatch(msg)
        cells = self._cells(rows, said.metadata)
        statuses = json_columns.shared(partial(_statuses, height))
        columns, found = [], {}
        for name, (text, told) in cells.items():
            column = told.data_type.kind.decode(text, name)
            found[name] = statuses(told.status, name)
            if (column.is_not_null() & (found[name] == Status.NOT_FOUND)).any():
                msg = f"{told.name}: Tecton sent a value that it marks MISSING_DATA"
                raise ProtocolError(msg)
            columns.append(column)
        return FeatureColumns(pl.DataFrame(columns), found, self._times(cells))

    def _matches(self, said: Query) -> FeatureColumns:
        """Read what a wildcard lookup of one entity found: a feature is the list of its values."""
        cells = self._cells(said.results, said.metadata)
        columns = [told.data_type.kind.decode(text, name) for name, (text, told) in cells.items()]
        lists = pl.DataFrame([column.implode() for column in columns])
        if said.results:
            status = pl.Series([Status.PRESENT], dtype=STATUS)
            return FeatureColumns(lists, dict.fromkeys(cells, status), self._times(cells))
        return FeatureColumns.unanswered(lists.schema, 1, Status.NOT_FOUND)

    def _cells(self, rows: list[Row], said: Metadata) -> dict[str, tuple[bytes, Answered]]:
        """Find the values of each feature asked for, as a JSON array, by its name."""
        own = self.read.view.name.removeprefix(f"{self._service}.")
        found: dict[str, tuple[bytes, Answered]] = {}
        for part, described in (("join_keys", said.join_keys), ("features", said.features)):
            texts = attrgetter(part)
            array = JsonRows(b"[" + b",".join(map(texts, rows)) + b"]")
            if not array.present.all():
                msg = f"the feature service {self._service!r} sent a row without {part}"
                raise ProtocolError(msg)
            cells = zip(described, array.columns(len(described)), strict=True)
            for told, text in cells:
                view, name = split_name(told.name, self._service)
                if part == "join_keys":
                    found[told.name] = text, told
                elif view == own:
                    found[name] = text, told
        names = [told.name for told in said.features]
        wanted = [feature.name for feature in self.read.features]
        if len(set(names)) != len(names) or not set(wanted) <= set(found):
            msg = (
                f"the feature service {self._service!r} answered with {sorted(names)}, but was "
                f"asked for {sorted(wanted)} of {own!r}"
            )
            raise ProtocolError(msg)
        return {name: found[name] for name in wanted}

    def _times(self, cells: dict[str, tuple[bytes, Answered]]) -> dict[str, pl.Series]:
        """Tell the effective times; what is computed in real time has none."""
        if self.read.view.timestamp is None:
            return {}
        told = {name: own.effective_time for name, (_, own) in cells.items()}
        height = max(self.read.keys.height, 1)
        same = {text: _repeated(text, height) for text in {*told.values()} if text}
        return {name: same[text] for name, text in told.items() if text}


def _named(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """Write ``"name": value`` as Tecton reads it: whole numbers as text, floats as numbers."""
    column = pl.col(name)
    match dtype:
        case pl.Boolean():
            value = column.cast(pl.String)
        case pl.Float32() | pl.Float64():
            number = column.cast(pl.String)
            value = (
                pl.when(column.is_infinite())
                .then(pl.lit('"') + number.replace({"inf": "Infinity", "-inf": "-Infinity"}) + '"')
                .otherwise(number)
            )
        case pl.Datetime():
            value = pl.lit('"') + column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") + '"'
        case dtype if dtype is not None and dtype.is_integer():
            value = pl.lit('"') + column.cast(pl.String) + '"'
        case _:  # {"":"the text"}
            text = pl.struct(column.cast(pl.String).alias("")).struct.json_encode()
            value = text.str.slice(4).str.head(-1)
    return pl.lit(f"{json.dumps(name)}: ") + value


def _listed(items: list[pl.Expr]) -> pl.Expr:
    return pl.concat_str(items, separator=", ") if items else pl.lit("")


def split_name(name: str, service: str) -> tuple[str, str]:
    """Split the name of a feature into those of its view and its own."""
    view, dot, feature = name.partition(".")
    return (view, feature) if dot else (service, name)


def _statuses(height: int, raw: bytes, name: str) -> pl.Series:
    """Read a status, or one per row; protobuf leaves out PRESENT, which is its default."""
    if not raw or raw == b"null":
        return pl.repeat(Status.PRESENT, height, dtype=STATUS, eager=True)
    words = json_columns.decode(raw if raw[:1] == b"[" else b"[%s]" % raw, pl.String(), name)
    if len(words) != height or words.null_count():
        msg = f"{name}: expected {height} statuses, got {len(words) - words.null_count()}"
        raise RowMismatch(msg)
    if (words == "TIME_OUT").any():
        msg = f"{name}: Tecton ran out of time to compute it"
        raise StoreUnavailable(msg)
    try:
        return words.replace_strict(_STATUSES, return_dtype=STATUS)
    except pl.exceptions.PolarsError as error:
        unknown = sorted(set(words.unique()) - set(_STATUSES))
        msg = f"{name}: Tecton sent the unknown status {unknown[0]!r}"
        raise ProtocolError(msg) from error


def _repeated(text: str, height: int) -> pl.Series:
    """Read a time; one that cannot be read is unknown."""
    time = pl.Series([text]).str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return time.new_from_index(0, height).alias("time")
