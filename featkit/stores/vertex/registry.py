"""What Vertex AI and BigQuery say of feature views, groups and tables."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, TypeVar

import msgspec
import polars as pl

from featkit.codecs import json_messages
from featkit.dtypes import TIMESTAMP
from featkit.durations import parse_duration
from featkit.errors import NotSupportedError, SettingsError
from featkit.populations import Sync
from featkit.schema import Entity, Feature, FeatureView
from featkit.told import check_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from featkit.calls import HttpReply

T = TypeVar("T")

FEATURE_TIMESTAMP = "feature_timestamp"
"""What the time column of a feature group is called unless it says otherwise."""

ENTITY_ID = "entity_id"
"""What the key column is called unless a source says otherwise."""


class ViewOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the settings say of one view, since Vertex AI does not.

    Attributes
    ----------
    ttl
        How long a value is good after it was generated; None: without limit.
    timestamp
        The column of event timestamps in the BigQuery source of a view without feature group; a
        group tells its own.
    """

    ttl: str | None = None
    timestamp: str | None = None

    def read_ttl(self, view: str) -> timedelta | None:
        """Read the ttl of a view."""
        return None if self.ttl is None else parse_duration(self.ttl, what=f"ttl of {view}")


class _Source(msgspec.Struct, frozen=True, rename="camel"):
    uri: str = ""
    entity_id_columns: list[str] = []


class GroupOfView(msgspec.Struct, frozen=True, rename="camel"):
    """Which features of a group a view reads; none named: all."""

    feature_group_id: str
    feature_ids: list[str] = []


class _RegistrySource(msgspec.Struct, frozen=True, rename="camel"):
    feature_groups: list[GroupOfView] = []
    project_number: str = ""


class View(msgspec.Struct, frozen=True, rename="camel"):
    """A feature view."""

    name: str
    big_query_source: _Source | None = None
    feature_registry_source: _RegistrySource | None = None
    labels: dict[str, str] = {}

    @property
    def id(self) -> str:
        """Its name within the online store."""
        return self.name.rpartition("/")[2]

    @property
    def groups(self) -> list[GroupOfView]:
        """The feature groups that it reads."""
        source = self.feature_registry_source
        return source.feature_groups if source else []

    @property
    def project_number(self) -> str:
        """The project that these are in; empty: that of the view."""
        return self.feature_registry_source.project_number if self.feature_registry_source else ""


class Views(msgspec.Struct, frozen=True, rename="camel"):
    """One page of feature views."""

    feature_views: list[View] = []
    next_page_token: str = ""


class _TimeSeries(msgspec.Struct, frozen=True, rename="camel"):
    timestamp_column: str = ""


class _GroupInput(msgspec.Struct, frozen=True, rename="camel"):
    input_uri: str = ""


class _GroupSource(msgspec.Struct, frozen=True, rename="camel"):
    big_query_source: _GroupInput = _GroupInput()
    entity_id_columns: list[str] = []
    time_series: _TimeSeries | None = None
    static_data_source: bool = False


class Group(msgspec.Struct, frozen=True, rename="camel"):
    """A feature group: a BigQuery table with a meaning."""

    name: str
    big_query: _GroupSource = _GroupSource()
    description: str = ""
    labels: dict[str, str] = {}

    @property
    def timestamp(self) -> str | None:
        """The column of event timestamps; None: the rows have none."""
        if self.big_query.static_data_source:
            return None
        series = self.big_query.time_series
        return (series.timestamp_column if series else "") or FEATURE_TIMESTAMP


class GroupFeature(msgspec.Struct, frozen=True, rename="camel"):
    """A feature of a group."""

    name: str
    value_type: str = ""
    description: str = ""
    labels: dict[str, str] = {}
    version_column_name: str = ""
    point_of_contact: str = ""

    @property
    def id(self) -> str:
        """Its name within the group."""
        return self.name.rpartition("/")[2]

    @property
    def column(self) -> str:
        """The column of the table that holds it."""
        return self.version_column_name or self.id


class GroupFeatures(msgspec.Struct, frozen=True, rename="camel"):
    """One page of features."""

    features: list[GroupFeature] = []
    next_page_token: str = ""


class Field(msgspec.Struct, frozen=True, rename="camel"):
    """A column of a BigQuery table, or a field of a record."""

    name: str
    type: str
    mode: str = "NULLABLE"
    description: str = ""
    fields: list[Field] = []


class _Schema(msgspec.Struct, frozen=True):
    fields: list[Field] = []


class Table(msgspec.Struct, frozen=True, rename="camel"):
    """A BigQuery table."""

    schema: _Schema = _Schema()
    description: str = ""
    num_rows: str = ""

    @property
    def columns(self) -> dict[str, Field]:
        """Its columns by name."""
        return {field.name: field for field in self.schema.fields}


class _Interval(msgspec.Struct, frozen=True, rename="camel"):
    start_time: datetime | None = None
    end_time: datetime | None = None


class _Status(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Summary(msgspec.Struct, frozen=True, rename="camel"):
    system_watermark_time: datetime | None = None


class FeatureViewSync(msgspec.Struct, frozen=True, rename="camel"):
    """One synchronisation of a feature view with its source."""

    run_time: _Interval = _Interval()
    final_status: _Status = _Status()
    sync_summary: _Summary = _Summary()


class Syncs(msgspec.Struct, frozen=True, rename="camel"):
    """The newest synchronisations, the newest first."""

    feature_view_syncs: list[FeatureViewSync] = []

    @property
    def last(self) -> Sync:
        """What they tell of the view: the last that went well, and whether the newest failed."""
        ended = [each for each in self.feature_view_syncs if each.run_time.end_time]
        good = next((each for each in ended if not each.final_status.code), FeatureViewSync())
        newest = next(iter(ended), good).final_status
        return Sync(
            # only a continuous synchronisation has a watermark; another one reads what is there
            # when it begins
            until=good.sync_summary.system_watermark_time or good.run_time.start_time,
            finished=good.run_time.end_time,
            failed=newest.message or f"code {newest.code}" if newest.code else "",
        )


class _Dedicated(msgspec.Struct, frozen=True, rename="camel"):
    public_endpoint_domain_name: str = ""


class OnlineStore(msgspec.Struct, frozen=True, rename="camel"):
    """An online store."""

    name: str
    state: str = ""
    dedicated_serving_endpoint: _Dedicated = _Dedicated()


class OnlineStores(msgspec.Struct, frozen=True, rename="camel"):
    """All online stores of a location."""

    feature_online_stores: list[OnlineStore] = []


def decode(kind: type[T], reply: HttpReply) -> T:
    """Read an answer of Google's APIs; raise `ProtocolError` where it is none."""
    return json_messages.read(kind, reply.body, "Google's API")


_BIGQUERY: dict[str, pl.DataType] = {
    "INTEGER": pl.Int64(),
    "INT64": pl.Int64(),
    "FLOAT": pl.Float64(),
    "FLOAT64": pl.Float64(),
    "BOOLEAN": pl.Boolean(),
    "BOOL": pl.Boolean(),
    "STRING": pl.String(),
    "BYTES": pl.Binary(),
    "TIMESTAMP": TIMESTAMP,
    "DATE": pl.Date(),
}
_VERTEX: dict[str, pl.DataType] = {
    "BOOL": pl.Boolean(),
    "BOOL_ARRAY": pl.List(pl.Boolean()),
    "DOUBLE": pl.Float64(),
    "DOUBLE_ARRAY": pl.List(pl.Float64()),
    "INT64": pl.Int64(),
    "INT64_ARRAY": pl.List(pl.Int64()),
    "STRING": pl.String(),
    "STRING_ARRAY": pl.List(pl.String()),
    "BYTES": pl.Binary(),
}


def dtype_of(field: Field | None, value_type: str = "") -> pl.DataType:
    """Find the dtype of a column: BigQuery knows times, which Vertex AI serves as integers."""
    if field is None:
        return _VERTEX.get(value_type, pl.String())
    repeated = field.mode == "REPEATED"
    if field.type in {"RECORD", "STRUCT"} and not repeated:
        return pl.Struct({own.name: dtype_of(own) for own in field.fields})
    if field.type in _BIGQUERY or value_type not in _VERTEX:
        inner = _BIGQUERY.get(field.type, pl.String())
        return pl.List(inner) if repeated else inner
    return _VERTEX[value_type]  # a NUMERIC may be served as a DOUBLE


def of_groups(
    view: View,
    groups: Sequence[tuple[Group, Mapping[str, GroupFeature], Table | None]],
    options: ViewOptions,
) -> FeatureView:
    """Describe a view of feature groups; the first one tells the keys and the times."""
    features, chosen = [], {group.feature_group_id: group.feature_ids for group in view.groups}
    first, _, table = groups[0]
    _refuse_timestamp(view, first, options)
    for group, known, source in groups:
        columns = source.columns if source else {}
        for name in chosen[group.name.rpartition("/")[2]] or known:
            feature = known[name]
            field = columns.get(feature.column)
            features.append(
                Feature(
                    name,
                    dtype_of(field, feature.value_type),
                    feature.description or (field.description if field else ""),
                    feature.labels,
                    field.type if field else feature.value_type,
                )
            )
    return FeatureView(
        name=view.id,
        entities=_entities(first.big_query.entity_id_columns or [ENTITY_ID], table),
        features=tuple(features),
        timestamp=first.timestamp,
        ttl=options.read_ttl(view.id),
        source=", ".join(group.big_query.big_query_source.input_uri for group, *_ in groups),
        description=first.description,
        owner=next((f.point_of_contact for f in groups[0][1].values() if f.point_of_contact), ""),
        tags=view.labels,
    )


def _refuse_timestamp(view: View, group: Group, options: ViewOptions) -> None:
    """Refuse a column of times that the settings tell though a feature group has its own."""
    if options.timestamp in {None, group.timestamp}:
        return
    own = f"has the times {group.timestamp!r}" if group.timestamp else "has no event timestamps"
    name = group.name.rpartition("/")[2]
    msg = (
        f"the settings of the feature view {view.id!r} have timestamp={options.timestamp!r}, but "
        f"it reads the feature group {name!r}, which {own}: leave it out"
    )
    raise SettingsError(msg)


def of_table(view: View, table: Table | None, options: ViewOptions) -> FeatureView:
    """Describe a view of a BigQuery table."""
    source = view.big_query_source or _Source()
    if table is None:
        raise _without_columns(view, source)
    keys = source.entity_id_columns or [ENTITY_ID]
    columns = table.columns
    timestamp = options.timestamp or (FEATURE_TIMESTAMP if FEATURE_TIMESTAMP in columns else None)
    if options.timestamp:
        check_timestamp(view.id, options.timestamp, columns)
    return FeatureView(
        name=view.id,
        entities=_entities(keys, table),
        features=tuple(
            Feature(field.name, dtype_of(field), field.description, store_type=field.type)
            for field in columns.values()
            if field.name not in {*keys, timestamp}
        ),
        timestamp=timestamp,
        ttl=options.read_ttl(view.id),
        source=source.uri,
        description=table.description,
        tags=view.labels,
    )


def _without_columns(view: View, source: _Source) -> NotSupportedError:
    """Say why nobody knows what a view without feature groups holds."""
    why = (
        f"its columns are those of {source.uri}, which only BigQuery tells: connect without "
        "bigquery=False"
        if source.uri
        else "it reads neither feature groups nor a table of BigQuery"
    )
    return NotSupportedError(f"feature view {view.id!r} cannot be described: {why}")


def _entities(keys: Sequence[str], table: Table | None) -> tuple[Entity, ...]:
    columns = table.columns if table else {}
    return tuple(
        Entity(
            key,
            key,
            dtype_of(columns.get(key), "STRING"),
            columns[key].description if key in columns else "",
            store_type=columns[key].type if key in columns else "STRING",
        )
        for key in keys
    )
