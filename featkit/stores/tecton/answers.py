"""Questions to Tecton's feature services, and whether what comes back answers them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.codecs import json_columns
from featkit.codecs.json_rows import JsonRows
from featkit.columns import STATUS, FeatureColumns, Status, once
from featkit.errors import ProtocolError, RowMismatch, StoreUnavailable
from featkit.stores.tecton.messages import Batch, Query, Single, decoded
from featkit.stores.tecton.writing import named, nested

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from featkit.calls import HttpReply
    from featkit.online.gathering import Gathering, Later, Piece
    from featkit.schema import Feature, FeatureView
    from featkit.stores.base import OnlineRead
    from featkit.stores.tecton.messages import Answered, DataType, Metadata, Row

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


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: one row of values per entity, and what is said of them."""

    rows: Sequence[Row]
    metadata: Metadata


@dataclass(frozen=True)
class Question:
    """What is asked of a feature service about a view, and how its answers are read.

    Attributes
    ----------
    view, features
        The view, and which of its features.
    workspace
        The workspace of the service.
    null_keys
        Join keys of the service that are sent as null.
    single
        Whether entities are asked for one at a time, without being a batch.
    context
        The types of the request data that are nested.
    """

    view: FeatureView
    features: tuple[Feature, ...]
    workspace: str
    null_keys: tuple[str, ...]
    single: bool
    context: Mapping[str, DataType]

    @property
    def path(self) -> str:
        """Which of the service's endpoints answers it."""
        if self.wildcard:
            return "query-features"
        return "get-features" if self.single else "get-features-batch"

    @property
    def wildcard(self) -> bool:
        """Whether the service answers a part of the join keys with all that match."""
        return self.view.tags[SERVICE_TYPE] == WILDCARD

    @property
    def _service(self) -> str:
        return self.view.tags[SERVICE]

    def bodies(self, chunks: Sequence[pl.DataFrame]) -> list[bytes]:
        """Write a request per chunk of keys; it is the same for all views of the service."""
        asked = json.dumps(
            {
                "workspaceName": self.workspace,
                "featureServiceName": self._service,
                "metadataOptions": _WANTED,
            }
        )
        row = self._row().alias("row")
        if not chunks[0].width:
            texts = pl.select(row).to_series().to_list()
        else:
            heights = [chunk.height for chunk in chunks]
            calls = pl.Series("call", np.repeat(np.arange(len(chunks)), heights))
            rows = self._rows(chunks).select(row, calls)
            joined = rows.group_by("call", maintain_order=True).agg(pl.col("row").str.join("}, {"))
            texts = joined["row"].to_list()
        before = f'{{"params": {asked[:-1]}, '
        if self.single or self.wildcard:
            return [f"{before}{text}}}}}".encode() for text in texts]
        return [f'{before}"requestData": [{{{text}}}]}}}}'.encode() for text in texts]

    def _rows(self, chunks: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Put the keys together, with nested request data as it is sent."""
        rows = pl.concat(chunks)
        return rows.with_columns(
            nested(rows[name], kind).alias(name)
            for name, kind in self.context.items()
            if name in rows.columns
        )

    def _row(self) -> pl.Expr:
        entities = self.view.entities
        keys = [named(own.join_key, own.dtype) for own in entities if not own.request_data]
        keys += [pl.lit(f"{json.dumps(key)}: null") for key in self.null_keys]
        context = [
            pl.lit(f"{json.dumps(own.join_key)}: ") + pl.col(own.join_key)
            if own.join_key in self.context
            else named(own.join_key, own.dtype)
            for own in entities
            if own.request_data
        ]
        return pl.concat_str(
            pl.lit('"joinKeyMap": {'),
            _listed(keys),
            pl.lit('}, "requestContextMap": {'),
            _listed(context),
            pl.lit("}"),
        )

    def heard(self, height: int, reply: HttpReply) -> Said:
        """Read an answer, if it is one for so many entities; its values stay JSON."""
        if self.wildcard:
            query = decoded(Query, reply)
            self._check(query.metadata, len(query.results))
            return Said(query.results, query.metadata)
        said = decoded(Single, reply) if self.single else decoded(Batch, reply)
        rows = [said.result] if isinstance(said, Single) else said.result
        if len(rows) != height:
            msg = f"expected {height} rows, got {len(rows)}; nothing was joined"
            raise RowMismatch(msg)
        self._check(said.metadata, height)
        return Said(rows, said.metadata)

    def _check(self, metadata: Metadata, height: int) -> None:
        """Look whether the answer describes what was asked for, each feature once."""
        names = [told.name for told in metadata.features]
        places = self._places(metadata.features)
        keys = {told.name for told in metadata.join_keys} if self.wildcard else set()
        wanted = {feature.name for feature in self.features} - (keys - places.keys())
        if len(set(names)) != len(names) or not wanted <= set(places):
            raise self._other_features([*names, *keys])
        told = {bytes(metadata.features[places[name]].status): name for name in wanted}
        for status, name in told.items():  # features mostly have the same ones
            _check_statuses(status, height, name)

    def columns(self, answers: Sequence[Said]) -> FeatureColumns:
        """Make columns of answers, one after the other."""
        if self.wildcard:
            return FeatureColumns.concat([self._matches(said) for said in answers])
        described = answers[0].metadata.features
        shape = [(told.name, told.data_type) for told in described]
        for said in answers[1:]:
            if [(told.name, told.data_type) for told in said.metadata.features] != shape:
                raise self._other_features([told.name for told in said.metadata.features])
        texts = self._texts(answers, "features", len(described))
        places = self._places(described)
        statuses = json_columns.shared(_statuses)
        heights = [len(said.rows) for said in answers]
        columns, found, times = [], {}, {}
        for name in (feature.name for feature in self.features):
            place = places[name]
            column = described[place].data_type.kind.decode(texts[place], name)
            told = [said.metadata.features[place] for said in answers]
            words = b",".join(map(_listed_statuses, told, heights))
            found[name] = statuses(b"[%s]" % words, name)
            columns.append(column)
            times[name] = tuple(own.effective_time for own in told)
        missing = once(lambda series: series == Status.NOT_FOUND)
        timeless = once(lambda series, lost: series.set(lost, None))
        stamps = self._times(times, heights)
        for column in columns:
            lost = missing(found[column.name])
            if not lost.any():
                continue
            if (column.is_not_null() & lost).any():
                msg = f"{column.name}: Tecton sent a value that it marks MISSING_DATA"
                raise ProtocolError(msg)
            if column.name in stamps:  # the time of a batch is not one of what is not there
                stamps[column.name] = timeless(stamps[column.name], lost)
        return FeatureColumns(pl.DataFrame(columns), found, stamps)

    def later(self, gathering: Gathering[Said], read: OnlineRead, reply: HttpReply) -> Later:
        """Read an answer, and let it gather with others before it becomes columns."""
        return gathering.add(read, self.heard(read.keys.height, reply), self._service)

    def gathered(self, pieces: Sequence[Piece[Said]]) -> FeatureColumns:
        """Make columns of what gathered."""
        return self.columns([piece.said for piece in pieces])

    def _matches(self, said: Said) -> FeatureColumns:
        """Read what a wildcard lookup of one entity found: a feature is the list of its values."""
        cells: dict[str, tuple[bytes, Answered]] = {}
        for part, described in (
            ("join_keys", said.metadata.join_keys),
            ("features", said.metadata.features),
        ):
            texts = self._texts([said], part, len(described))
            named = self._places(described) if part == "features" else None
            places = named or {told.name: place for place, told in enumerate(described)}
            cells |= {name: (texts[place], described[place]) for name, place in places.items()}
        wanted = [feature.name for feature in self.features]
        lists = pl.DataFrame(
            [
                cells[name][1].data_type.kind.decode(cells[name][0], name).implode()
                for name in wanted
            ]
        )
        if not said.rows:
            return FeatureColumns.unanswered(lists.schema, 1, Status.NOT_FOUND)
        status = pl.Series([Status.PRESENT], dtype=STATUS)
        times = {name: (cells[name][1].effective_time,) for name in wanted}
        return FeatureColumns(lists, dict.fromkeys(wanted, status), self._times(times, [1]))

    def _texts(self, answers: Sequence[Said], part: str, width: int) -> list[bytes]:
        """Cut the rows of answers into columns of JSON."""
        rows = chain.from_iterable(said.rows for said in answers)
        array = JsonRows(b"[" + b",".join(map(attrgetter(part), rows)) + b"]")
        if not array.present.all():
            msg = f"the feature service {self._service!r} sent a row without {part}"
            raise ProtocolError(msg)
        return array.columns(width)

    def _places(self, described: Sequence[Answered]) -> dict[str, int]:
        """Find where the features of the view are, by their own names."""
        own = self.view.name.removeprefix(f"{self._service}.")
        split = [split_name(told.name, self._service) for told in described]
        return {name: place for place, (view, name) in enumerate(split) if view == own}

    def _other_features(self, names: list[str]) -> ProtocolError:
        wanted = [feature.name for feature in self.features]
        return ProtocolError(
            f"the feature service {self._service!r} answered with {sorted(names)}, but was asked "
            f"for {sorted(wanted)} of {self.view.name!r}"
        )

    def _times(
        self, told: Mapping[str, tuple[str | None, ...]], heights: Sequence[int]
    ) -> dict[str, pl.Series]:
        """Tell the effective times, one per answer; what is computed in real time has none."""
        if self.view.timestamp is None:
            return {}
        same = {texts: _repeated(texts, heights) for texts in {*told.values()} if any(texts)}
        return {name: same[texts] for name, texts in told.items() if any(texts)}


def _listed(items: list[pl.Expr]) -> pl.Expr:
    return pl.concat_str(items, separator=", ") if items else pl.lit("")


def split_name(name: str, service: str) -> tuple[str, str]:
    """Split the name of a feature into those of its view and its own."""
    view, dot, feature = name.partition(".")
    return (view, feature) if dot else (service, name)


def _check_statuses(status: bytes, height: int, name: str) -> None:
    """Look whether there is a status for each row, without reading them."""
    count = status.count(b'"')
    if status[:1] == b"[" and count != 2 * height:
        msg = f"{name}: expected {height} statuses, got {count // 2}"
        raise RowMismatch(msg)
    if b'"TIME_OUT"' in status:
        msg = f"{name}: Tecton ran out of time to compute it"
        raise StoreUnavailable(msg)


def _listed_statuses(told: Answered, height: int) -> bytes:
    """Write the statuses of an answer, one per row; protobuf leaves out PRESENT, its default."""
    status = bytes(told.status)
    match status[:1]:
        case b"[":
            return status[1:-1]
        case b'"':
            return status
        case _:
            return b",".join([b'"PRESENT"'] * height)


def _statuses(raw: bytes, name: str) -> pl.Series:
    words = json_columns.decode(raw, pl.String(), name)
    try:
        return words.replace_strict(_STATUSES, return_dtype=STATUS)
    except pl.exceptions.PolarsError as error:
        unknown = sorted(set(words.unique()) - set(_STATUSES), key=str)
        msg = f"{name}: Tecton sent the unknown status {unknown[0]!r}"
        raise ProtocolError(msg) from error


def _repeated(texts: Sequence[str | None], heights: Sequence[int]) -> pl.Series:
    """Read a time per answer; one that cannot be read is unknown."""
    told = pl.Series("time", texts, dtype=pl.String)
    times = told.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return times.gather(pl.Series(np.repeat(np.arange(len(heights)), heights)))
