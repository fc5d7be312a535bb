"""Feature views described: by their groups, and by the tables of BigQuery behind them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from featkit.errors import AuthError
from featkit.flows import together
from featkit.stores.vertex.history import Source, source_of_group, source_of_table
from featkit.stores.vertex.registry import (
    Group,
    GroupFeature,
    GroupFeatures,
    Table,
    View,
    of_groups,
    of_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.calls import Flow
    from featkit.schema import FeatureView
    from featkit.stores.vertex.api import Api
    from featkit.stores.vertex.registry import ViewOptions
    from featkit.told import ToldViews

_URI = re.compile(r"bq://([^.]+)\.([^.]+)\.([^.]+)")


class Choices(Protocol):
    """Those options of the store that matter here."""

    @property
    def bigquery(self) -> bool:
        """Whether BigQuery is asked for types."""

    @property
    def bigquery_endpoint(self) -> str:
        """Where BigQuery is."""


def described(
    api: Api,
    place: str,
    views: Sequence[View],
    options: Choices,
    told: ToldViews[ViewOptions],
) -> Flow[tuple[list[FeatureView], dict[str, list[Source]]]]:
    """Describe views by their groups and tables, each of which is asked for once.

    Parameters
    ----------
    api
        Whom to ask.
    place
        The project and the location.
    views
        The views, as the online store has them.
    options
        Whether BigQuery is asked, and where.
    told
        What the settings tell of views.

    Returns
    -------
    tuple
        The views, and by their names the tables behind them.
    """
    groups, features = yield from _groups(api, place, views)
    uris = [view.big_query_source.uri for view in views if view.big_query_source]
    uris += [group.big_query.big_query_source.input_uri for group in groups.values()]
    tables = yield from _tables(api, sorted({uri for uri in uris if uri}), options)
    typed = options.bigquery
    found: list[FeatureView] = []
    sources: dict[str, list[Source]] = {}
    for view in views:
        own = told.of(view.id)
        if not view.groups:
            uri = view.big_query_source.uri if view.big_query_source else ""
            found.append(of_table(view, tables.get(uri), own))
            sources[view.id] = [source_of_table(uri, found[-1], typed=typed)]
            continue
        parts, read = [], []
        for chosen in view.groups:
            name = chosen.feature_group_id
            group, known = groups[name], features[name]
            read.append(source_of_group(group, chosen, known, typed=typed))
            parts.append((group, known, tables.get(group.big_query.big_query_source.input_uri)))
        found.append(of_groups(view, parts, own))
        sources[view.id] = read
    return found, sources


def _groups(
    api: Api, place: str, views: Sequence[View]
) -> Flow[tuple[dict[str, Group], dict[str, dict[str, GroupFeature]]]]:
    """Ask for the groups of views, and for all features of each."""
    names = sorted({group.feature_group_id for view in views for group in view.groups})
    paths = [f"{place}/featureGroups/{quote(name, safe='')}" for name in names]
    groups = yield from together([api.get(path, Group) for path in paths])
    features: dict[str, dict[str, GroupFeature]] = {}
    for name, path in zip(names, paths, strict=True):
        pages = yield from api.pages(f"{path}/features", GroupFeatures)
        features[name] = {each.id: each for page in pages for each in page.features}
    return dict(zip(names, groups, strict=True)), features


def _tables(api: Api, uris: Sequence[str], options: Choices) -> Flow[dict[str, Table]]:
    """Ask BigQuery for the columns of tables."""
    matches = {uri: match for uri in uris if (match := _URI.fullmatch(uri))}
    places = {uri: match.groups() for uri, match in matches.items()}
    if not options.bigquery or not places:
        return {}
    paths = [
        f"{options.bigquery_endpoint}/bigquery/v2/projects/{quote(project)}/datasets/"
        f"{quote(dataset)}/tables/{quote(table, safe='')}"
        for project, dataset, table in places.values()
    ]
    try:
        found = yield from together([api.call(path, Table, metadata=True) for path in paths])
    except AuthError as error:
        msg = f"{error}; to do without the types that BigQuery knows, connect with bigquery=False"
        raise AuthError(msg) from error
    return dict(zip(places, found, strict=True))
