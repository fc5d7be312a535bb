"""What Feast's REST registry says: protobuf in JSON, where absent means default."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import msgspec

from featkit.codecs import json_messages
from featkit.schema import Entity, Feature, FeatureRef, FeatureService, FeatureView
from featkit.stores.feast.types import Column, column_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from featkit.calls import HttpReply

T = TypeVar("T")

DUMMY_ENTITY = "__dummy"
DUMMY_KEY = "__dummy_id"
ON_DEMAND = "onDemandFeatureView"


class _RequestOptions(msgspec.Struct, rename="camel", frozen=True):
    schema: list[Column] = []


class _RequestSource(msgspec.Struct, rename="camel", frozen=True):
    request_data_options: _RequestOptions = _RequestOptions()


class _Projection(msgspec.Struct, rename="camel", frozen=True):
    feature_view_name: str
    feature_view_name_alias: str = ""
    join_key_map: dict[str, str] = {}
    feature_columns: list[Column] = []


class _Input(msgspec.Struct, rename="camel", frozen=True):
    request_data_source: _RequestSource | None = None
    feature_view_projection: _Projection | None = None


class Source(msgspec.Struct, rename="camel", frozen=True):
    """Where the rows of a view come from; the mapping gives columns of it other names."""

    name: str = ""
    timestamp_field: str = ""
    created_timestamp_column: str = ""
    field_mapping: dict[str, str] = {}


class Spec(msgspec.Struct, rename="camel", frozen=True):
    """What a view is."""

    name: str
    features: list[Column] = []
    entities: list[str] = []
    entity_columns: list[Column] = []
    ttl: str = "0s"
    online: bool = False
    description: str = ""
    owner: str = ""
    tags: dict[str, str] = {}
    batch_source: Source | None = None
    sources: dict[str, _Input] = {}


class ViewMeta(msgspec.Struct, rename="camel", frozen=True):
    """What Feast notes of a view."""

    current_version_number: int = 0


class Item(msgspec.Struct, rename="camel", frozen=True):
    """A view of any kind."""

    spec: Spec
    type: str = "featureView"
    meta: ViewMeta = ViewMeta()


class Views(msgspec.Struct, rename="camel", frozen=True):
    """The answer to a request for all views."""

    feature_views: list[Item] = []


class _Meta(msgspec.Struct, rename="camel", frozen=True):
    last_updated_timestamp: datetime


class Project(msgspec.Struct, rename="camel", frozen=True):
    """The answer to a request for a project."""

    meta: _Meta


class _EntitySpec(msgspec.Struct, rename="camel", frozen=True):
    name: str
    value_type: str | int = "INVALID"
    join_key: str = ""
    description: str = ""
    tags: dict[str, str] = {}


class _EntityItem(msgspec.Struct, rename="camel", frozen=True):
    spec: _EntitySpec


class Entities(msgspec.Struct, rename="camel", frozen=True):
    """The answer to a request for all entities."""

    entities: list[_EntityItem] = []


class _ServiceSpec(msgspec.Struct, rename="camel", frozen=True):
    name: str
    features: list[_Projection] = []
    description: str = ""
    owner: str = ""
    tags: dict[str, str] = {}


class _ServiceItem(msgspec.Struct, rename="camel", frozen=True):
    spec: _ServiceSpec


class Services(msgspec.Struct, rename="camel", frozen=True):
    """The answer to a request for all feature services."""

    feature_services: list[_ServiceItem] = []


def decode_metadata(kind: type[T], reply: HttpReply) -> T:
    """Read an answer of the registry; raise `ProtocolError` where it is none."""
    return json_messages.read(kind, reply.body, "Feast's REST registry")


def view_of(item: Item, parents: Mapping[str, Item]) -> FeatureView:
    """Describe a view; `parents` are the views that an on-demand one is computed from."""
    spec = item.spec
    on_demand = item.type == ON_DEMAND
    of = [parents[name].spec for name in _parents(spec) if name in parents]
    columns = [column for own in [spec, *of] for column in own.entity_columns]
    entities = {column.name: _entity(column) for column in columns if column.name != DUMMY_KEY}
    asked = {
        column.name: _entity(column, request_data=True)
        for source in spec.sources.values()
        if source.request_data_source
        for column in source.request_data_source.request_data_options.schema
    }
    ttls = [ttl for own in [spec, *of] if (ttl := _ttl(own.ttl)) is not None]
    sources = [own.batch_source for own in [spec, *of] if own.batch_source]
    return FeatureView(
        name=spec.name,
        entities=(*entities.values(), *asked.values()),
        features=tuple(
            Feature(
                column.name,
                column_type(column).dtype,
                column.description,
                column.tags,
                str(column.value_type),
            )
            for column in spec.features
        ),
        timestamp=next((source.timestamp_field for source in sources), None) or None,
        created=next((source.created_timestamp_column for source in sources), None) or None,
        ttl=min(ttls, default=None),
        source=", ".join(source.name for source in sources),
        online=spec.online or on_demand,
        offline=not on_demand,
        description=spec.description,
        owner=spec.owner,
        tags=spec.tags,
        computed_from=tuple(
            FeatureRef(source.feature_view_projection.feature_view_name, column.name)
            for source in spec.sources.values()
            if source.feature_view_projection
            for column in source.feature_view_projection.feature_columns
        ),
        version=item.meta.current_version_number,
        entity_names=tuple(name for name in spec.entities if name != DUMMY_ENTITY),
    )


def _entity(column: Column, *, request_data: bool = False) -> Entity:
    return Entity(
        column.name,
        column.name,
        column_type(column).dtype,
        column.description,
        store_type=str(column.value_type),
        tags=column.tags,
        request_data=request_data,
    )


def _parents(spec: Spec) -> list[str]:
    projections = [source.feature_view_projection for source in spec.sources.values()]
    return [projection.feature_view_name for projection in projections if projection]


def _ttl(text: str) -> timedelta | None:
    """Read a protobuf duration; Feast's 0 means without limit."""
    seconds = float(text.removesuffix("s"))
    return timedelta(seconds=seconds) if seconds else None


def service_of(spec: _ServiceSpec) -> FeatureService:
    """Describe a feature service by the features of its projections."""
    refs = tuple(
        FeatureRef(projection.feature_view_name, column.name, *_renamed(projection))
        for projection in spec.features
        for column in projection.feature_columns
    )
    return FeatureService(spec.name, refs, spec.description, spec.owner, spec.tags)


def _renamed(projection: _Projection) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Tell what a view is called where it is read under other join keys, and which."""
    if not projection.join_key_map:  # an alias alone would change nothing but names of columns
        return "", ()
    return projection.feature_view_name_alias, tuple(projection.join_key_map.items())
