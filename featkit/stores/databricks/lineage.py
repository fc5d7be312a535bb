"""What feature tables are made from, who uses them, and when their online copies were renewed."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from featkit.errors import FeatkitError, RequestRejected, UnknownNameError
from featkit.populations import Sync
from featkit.stores.databricks.lakebase import SyncedTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from featkit.calls import Call, Flow
    from featkit.stores.databricks.workspace import Workspace

_TABLES = "/api/2.0/lineage-tracking/table-lineage"
_FEATURES = "/api/2.0/feature-store/feature-tables"
_SYNCED = "/api/2.0/database/synced_tables"
_MATERIALIZED = "/api/2.0/feature-engineering/materialized-features"


class _TableInfo(msgspec.Struct, frozen=True):
    name: str = ""
    catalog_name: str = ""
    schema_name: str = ""

    def __str__(self) -> str:
        return ".".join(filter(None, (self.catalog_name, self.schema_name, self.name)))


class _Neighbour(msgspec.Struct, frozen=True):
    """What a table is made from or goes into; what may not be seen has no names."""

    table: _TableInfo | None = msgspec.field(default=None, name="tableInfo")
    notebooks: list[dict[str, Any]] = msgspec.field(default_factory=list, name="notebookInfos")
    jobs: list[dict[str, Any]] = msgspec.field(default_factory=list, name="jobInfos")

    def words(self) -> Iterable[str]:
        """Name it: tables by their names, what wrote or read them by its id."""
        if self.table and self.table.name:
            yield str(self.table)
        for kind, found in (("notebook", self.notebooks), ("job", self.jobs)):
            for each in found:
                if number := each.get(f"{kind}_id"):
                    yield f"{kind} {number}"


class TableLineage(msgspec.Struct, frozen=True):
    """The neighbours of a table, as Unity Catalog has seen them in queries."""

    upstreams: list[_Neighbour] = []
    downstreams: list[_Neighbour] = []


class _Model(msgspec.Struct, frozen=True):
    name: str
    version: int | None = None


class _Spec(msgspec.Struct, frozen=True):
    name: str


class _OnlineFeature(msgspec.Struct, frozen=True):
    table_name: str


class FeatureLineage(msgspec.Struct, frozen=True):
    """Who uses a feature."""

    models: list[_Model] = []
    feature_specs: list[_Spec] = []
    online_features: list[_OnlineFeature] = []


class _Materialized(msgspec.Struct, frozen=True):
    table_name: str = ""
    last_materialization_time: datetime | None = None


class _MaterializedPage(msgspec.Struct, frozen=True):
    materialized_features: list[_Materialized] = []
    next_page_token: str | None = None


def neighbours(
    workspace: Workspace, table: str, features: Sequence[str]
) -> Flow[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Tell what a table is made from, and what uses it.

    Parameters
    ----------
    workspace
        Whom to ask.
    table
        Full name of the table.
    features
        Its features, each of which is asked for with a request of its own.
    """
    query = urlencode({"table_name": table, "include_entity_lineage": "true"})
    calls: list[Call[Any]] = [workspace.registered(f"{_TABLES}?{query}", TableLineage)]
    calls += [_of_feature(workspace, table, name) for name in features]
    answers: list[Any] = yield calls
    for answer in answers:
        if isinstance(answer, FeatkitError) and not isinstance(answer, UnknownNameError):
            raise answer
    found = [answer for answer in answers if not isinstance(answer, FeatkitError)]
    tables = [each for each in found if isinstance(each, TableLineage)]
    users = [each for each in found if isinstance(each, FeatureLineage)]
    made_from = [word for each in tables for one in each.upstreams for word in one.words()]
    used_by = [word for each in tables for one in each.downstreams for word in one.words()]
    for each in users:
        used_by += [
            f"model {m.name}" + f" version {m.version}" * bool(m.version) for m in each.models
        ]
        used_by += [f"feature spec {spec.name}" for spec in each.feature_specs]
        used_by += [f"online table {online.table_name}" for online in each.online_features]
    return tuple(dict.fromkeys(made_from)), tuple(dict.fromkeys(used_by))


def _of_feature(workspace: Workspace, table: str, feature: str) -> Call[FeatureLineage]:
    place = f"{_FEATURES}/{quote(table, safe='')}/features/{quote(feature, safe='')}/lineage"
    return workspace.registered(place, FeatureLineage)


def syncs(
    workspace: Workspace, tables: Mapping[str, tuple[str, str | None, str]]
) -> Flow[dict[str, Sync | FeatkitError]]:
    """Tell when the online copies of tables were renewed.

    Parameters
    ----------
    workspace
        Whom to ask.
    tables
        By the name of the view: the full name of its table, that of its online table where it is
        known, and a feature, whose lineage tells the online table where it is not.

    Returns
    -------
    dict
        By the name of the view; views without an online copy are left out.
    """
    found, online = yield from _online_tables(workspace, tables)
    calls = [
        workspace.get(f"{_SYNCED}/{quote(own, safe='')}", SyncedTable) for own in online.values()
    ]
    synced: list[Any] = (yield calls) if calls else []
    for name, answer in zip(online, synced, strict=True):
        if _failed(answer):
            found[name] = answer
        elif isinstance(answer, SyncedTable) and answer.sync.moment:
            found[name] = answer.sync
    rest = {
        name: {table, online.get(name)}
        for name, (table, _, _) in tables.items()
        if not isinstance(found.get(name), Sync)
    }
    return found | (yield from _computed(workspace, rest))


def _failed(answer: object) -> bool:
    """Tell whether there is no answer for another reason than that there is no such thing."""
    return isinstance(answer, FeatkitError) and not isinstance(answer, UnknownNameError)


def _online_tables(
    workspace: Workspace, tables: Mapping[str, tuple[str, str | None, str]]
) -> Flow[tuple[dict[str, Sync | FeatkitError], dict[str, str]]]:
    """Find the online tables, where need be by the lineage of a feature; and what failed."""
    unknown = [name for name, (_, online, _) in tables.items() if online is None]
    calls = [_of_feature(workspace, tables[name][0], tables[name][2]) for name in unknown]
    told: list[Any] = (yield calls) if calls else []
    failed: dict[str, Sync | FeatkitError] = {}
    online = {name: own for name, (_, own, _) in tables.items() if own is not None}
    for name, lineage in zip(unknown, told, strict=True):
        if _failed(lineage):
            failed[name] = lineage
        elif isinstance(lineage, FeatureLineage) and lineage.online_features:
            online[name] = lineage.online_features[0].table_name
    return failed, online


def _computed(
    workspace: Workspace, places: Mapping[str, set[str | None]]
) -> Flow[dict[str, Sync | FeatkitError]]:
    """Tell when declarative features were computed whose values are in one of a view's tables."""
    if not places:
        return {}
    try:
        times = yield from _materialised(workspace)
    except (UnknownNameError, RequestRejected):  # a workspace without declarative features
        return {}
    except FeatkitError as error:
        return dict.fromkeys(places, error)
    moments = {name: [times[own] for own in held if own in times] for name, held in places.items()}
    return {name: Sync(finished=max(own)) for name, own in moments.items() if own}


def _materialised(workspace: Workspace) -> Flow[dict[str | None, datetime]]:
    """Tell when declarative features were last computed, by the tables that hold them."""
    times: dict[str | None, datetime] = {}
    more = ""
    while True:
        page: _MaterializedPage = yield workspace.get(_MATERIALIZED + more, _MaterializedPage)
        for each in page.materialized_features:
            if each.last_materialization_time:
                known = times.get(each.table_name, each.last_materialization_time)
                times[each.table_name] = max(known, each.last_materialization_time)
        if not page.next_page_token:
            return times
        more = f"?{urlencode({'page_token': page.next_page_token})}"
