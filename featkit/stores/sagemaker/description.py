"""Feature groups as feature views: by their definitions, and by what people and settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from featkit.dtypes import parse_dtype
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.sagemaker.answers import EVENT_TIME, EVENT_TYPE, GROUP, IDENTIFIER
from featkit.stores.sagemaker.messages import Described, Group, ValueType
from featkit.stores.sagemaker.options import Told, ToldFeature

if TYPE_CHECKING:
    from featkit.stores.sagemaker.offline import OfflineStores

Said: TypeAlias = Mapping[tuple[str, str], Described]
"""What people say of features, by the names of the feature group and of the feature."""


def view_of(group: Group, told: Told, said: Said, offline: OfflineStores) -> FeatureView:
    """Describe a feature group.

    Parameters
    ----------
    group
        As the control plane describes it.
    told
        What the settings say of it.
    said
        What people say of features.
    offline
        Knows where offline stores are.
    """
    name = group.feature_group_name
    identifier = group.definition(group.record_identifier_feature_name)
    event = group.definition(group.event_time_feature_name)
    ttl = group.online_store_config.ttl_duration
    place = offline.place(group)
    keys = {own: parse_dtype(dtype) for own, dtype in told.join_keys.items()}
    if not keys:
        keys = {identifier.feature_name: ValueType.of(identifier).dtype}
    features = []
    for own, kind in _types(group, told).items():
        words = said.get((name, own))
        also = told.features.get(own, ToldFeature())
        features.append(
            Feature(
                own,
                kind.dtype,
                also.description or (words.description if words else ""),
                {each.key: each.value for each in words.parameters} if words else {},
                store_type=str(kind),
            )
        )
    return FeatureView(
        name=name,
        entities=tuple(
            Entity(own, own, dtype, store_type=identifier.feature_type)
            for own, dtype in keys.items()
        ),
        features=tuple(features),
        timestamp=None if told.static else event.feature_name,
        ttl=ttl.duration if ttl else None,
        source=place,
        online=group.online_store_config.enable_online_store,
        offline=bool(place),
        description=group.description,
        owner=told.owner,
        tags={
            **told.tags,
            GROUP: name,
            IDENTIFIER: identifier.feature_name,
            EVENT_TIME: event.feature_name,
            EVENT_TYPE: event.feature_type,
            **offline.tags(group),
        },
    )


def _types(group: Group, told: Told) -> dict[str, ValueType]:
    """Find the types of what is neither the identifier nor the event time."""
    roles = {group.record_identifier_feature_name, group.event_time_feature_name}
    types = {}
    for own in group.feature_definitions:
        if own.feature_name not in roles:
            dtype = told.features.get(own.feature_name, ToldFeature()).dtype
            types[own.feature_name] = ValueType.of(own, parse_dtype(dtype) if dtype else None)
    return types
