"""Feature views described: by their groups, and by the tables of BigQuery behind them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import quote

from featkit.errors import AuthError, FeatkitError, StoreError, UnknownNameError
from featkit.flows import at_once
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
    from collections.abc import Mapping, Sequence

    from featkit.calls import Flow
    from featkit.flows import Task
    from featkit.schema import FeatureView
    from featkit.stores.vertex.api import Api
    from featkit.stores.vertex.registry import GroupOfView, ViewOptions
    from featkit.told import ToldViews

T = TypeVar("T")

_URI = re.compile(r"bq://(.+)\.([^.]+)\.([^.]+)")  # projects of a domain have dots


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
) -> Flow[tuple[dict[str, FeatureView | FeatkitError], dict[str, list[Source]]]]:
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
        By their names the views, or why one cannot be described; and the tables behind them.
    """
    paths = {_path(place, view, part) for view in views for part in view.groups}
    groups = yield from _each(sorted(paths), [_group(api, path) for path in sorted(paths)])
    uris = [view.big_query_source.uri for view in views if view.big_query_source]
    uris += [known.uri for known in groups.values() if isinstance(known, _Group)]
    tables = yield from _tables(api, sorted({uri for uri in uris if uri}), options)
    found: dict[str, FeatureView | FeatkitError] = {}
    sources: dict[str, list[Source]] = {}
    for view in views:
        parts = {part.feature_group_id: groups[_path(place, view, part)] for part in view.groups}
        try:
            found[view.id], sources[view.id] = _described(
                view, parts, tables, told.of(view.id), typed=options.bigquery
            )
        except FeatkitError as error:
            found[view.id] = error
    return found, sources


@dataclass(frozen=True, slots=True)
class _Group:
    """A feature group, and all its features by name."""

    group: Group
    features: dict[str, GroupFeature]

    @property
    def uri(self) -> str:
        return self.group.big_query.big_query_source.input_uri

    def named(self, names: Sequence[str]) -> dict[str, GroupFeature]:
        """Return features by name, all where none is named.

        One that the group does not have any more is served all the same.
        """
        return {
            name: self.features.get(name) or GroupFeature(name) for name in names or self.features
        }


def _described(
    view: View,
    groups: Mapping[str, _Group | FeatkitError],
    tables: Mapping[str, Table | FeatkitError],
    told: ViewOptions,
    *,
    typed: bool,
) -> tuple[FeatureView, list[Source]]:
    """Describe a view by what was found of its groups and tables."""
    if not view.groups:
        uri = view.big_query_source.uri if view.big_query_source else ""
        made = of_table(view, _held(tables, uri, view), told)
        return made, [source_of_table(uri, made, typed=typed)]
    parts, sources = [], []
    for chosen in view.groups:
        known = _held(groups, chosen.feature_group_id, view)
        assert known is not None  # noqa: S101 - all were asked for
        features = known.named(chosen.feature_ids)
        sources.append(source_of_group(known.group, chosen, features, typed=typed))
        parts.append((known.group, features, _held(tables, known.uri, view)))
    return of_groups(view, parts, told), sources


def _held(found: Mapping[str, T | FeatkitError], name: str, view: View) -> T | None:
    """Return what was found of a group or a table, None where nobody asked; raise why not."""
    known = found.get(name)
    if not isinstance(known, FeatkitError):
        return known
    if not isinstance(known, StoreError | UnknownNameError):  # it is about more than this view
        raise known
    msg = f"feature view {view.id!r} cannot be described: {known}"
    raise type(known)(msg) from known


def _path(place: str, view: View, part: GroupOfView) -> str:
    """Tell where a group of a view is, which may be in another project."""
    project, number = place.split("/")[1], view.project_number
    owner = place.replace(f"projects/{project}", f"projects/{number or project}", 1)
    return f"{owner}/featureGroups/{quote(part.feature_group_id, safe='')}"


def _each(names: Sequence[str], tasks: Sequence[Task[T]]) -> Flow[dict[str, T | FeatkitError]]:
    """Do several things side by side, each under its name."""
    return dict(zip(names, (yield from at_once(tasks)), strict=True))


def _group(api: Api, path: str) -> Flow[_Group]:
    """Ask for a group, and for its features."""
    group: Group = yield api.get(path, Group)
    pages = yield from api.pages(f"{path}/features", GroupFeatures)
    return _Group(group, {each.id: each for page in pages for each in page.features})


def _tables(
    api: Api, uris: Sequence[str], options: Choices
) -> Flow[dict[str, Table | FeatkitError]]:
    """Ask BigQuery for the columns of tables."""
    places = {uri: match.groups() for uri in uris if (match := _URI.fullmatch(uri))}
    if not options.bigquery:
        return {}
    base = f"{options.bigquery_endpoint.rstrip('/')}/bigquery/v2"
    paths = [
        f"{base}/projects/{quote(project)}/datasets/{quote(dataset)}/tables/{quote(table, safe='')}"
        for project, dataset, table in places.values()
    ]
    calls = [api.call(path, Table, metadata=True) for path in paths]
    found: dict[str, Table | FeatkitError] = yield from _each(list(places), calls)
    for uri, known in found.items():
        if isinstance(known, AuthError):
            found[uri] = AuthError(
                f"{known}; to do without the types that BigQuery knows, connect with bigquery=False"
            )
    return found
