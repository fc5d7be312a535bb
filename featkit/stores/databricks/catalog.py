"""What Unity Catalog says of feature tables, and serving of its endpoints and feature specs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from featkit.durations import parse_duration
from featkit.errors import FeatkitError, UnknownNameError, nearest
from featkit.flows import together
from featkit.schema import Entity, Feature, FeatureRef, FeatureService, FeatureView
from featkit.stores.databricks.types import kind_of
from featkit.told import check_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from featkit.calls import Flow
    from featkit.stores.databricks.workspace import Workspace

CATALOG = "/api/2.1/unity-catalog"
"""Where Unity Catalog is asked."""


class ViewOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the settings say of one view, since Databricks does not.

    Attributes
    ----------
    endpoint
        The serving endpoint that answers lookups of it.
    ttl
        How long a value is good after its event timestamp; None: without limit.
    timestamp
        The column of event timestamps, where the primary key has no time series column.
    online_table
        Full name of the synced table in Lakebase; None: the one of the same name.
    """

    endpoint: str | None = None
    ttl: str | None = None
    timestamp: str | None = None
    online_table: str | None = None

    def read_ttl(self, view: str) -> timedelta | None:
        """Read the ttl of a view."""
        return None if self.ttl is None else parse_duration(self.ttl, what=f"ttl of {view}")


class Column(msgspec.Struct, frozen=True):
    """A column of a table."""

    name: str
    type_text: str = ""
    comment: str | None = None
    position: int = 0

    @property
    def is_naive(self) -> bool:
        """Whether it holds times without a zone, or days."""
        return self.type_text.strip().lower() in {"timestamp_ntz", "date"}


class PrimaryKey(msgspec.Struct, frozen=True):
    """The columns of a primary key, and which of them are a time series."""

    child_columns: list[str] = []
    timeseries_columns: list[str] = []


class Constraint(msgspec.Struct, frozen=True):
    """A constraint of a table; of other kinds nothing is read."""

    primary_key_constraint: PrimaryKey | None = None


class Table(msgspec.Struct, frozen=True):
    """A table; only a request for one table tells its constraints."""

    full_name: str
    name: str
    comment: str | None = None
    owner: str | None = None
    columns: list[Column] = []
    table_constraints: list[Constraint] = []
    updated_at: int | None = None

    @property
    def primary_key(self) -> PrimaryKey | None:
        """What makes it a feature table."""
        keys = [each.primary_key_constraint for each in self.table_constraints]
        return next((key for key in keys if key is not None), None)


class _Name(msgspec.Struct, frozen=True):
    name: str


class Catalogs(msgspec.Struct, frozen=True):
    """Catalogs of Unity Catalog, or the schemas of one, as far as their names go."""

    catalogs: list[_Name] = []
    schemas: list[_Name] = []

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return [own.name for own in (*self.catalogs, *self.schemas)]


class Tables(msgspec.Struct, frozen=True):
    """One page of a list of tables."""

    tables: list[Table] = []
    next_page_token: str | None = None


class _Tag(msgspec.Struct, frozen=True):
    tag_key: str
    tag_value: str = ""


class _Tags(msgspec.Struct, frozen=True):
    """The tags of a table or a column."""

    tag_assignments: list[_Tag] = []

    def read(self) -> dict[str, str]:
        """Return the tags by key."""
        return {tag.tag_key: tag.tag_value for tag in self.tag_assignments}


class _State(msgspec.Struct, frozen=True):
    ready: str = ""


class _QueryInfo(msgspec.Struct, frozen=True):
    endpoint_url: str | None = None
    authorization_details: str | None = None


class _DataPlane(msgspec.Struct, frozen=True):
    query_info: _QueryInfo = _QueryInfo()


class _ServedEntity(msgspec.Struct, frozen=True):
    entity_name: str | None = None


class _Config(msgspec.Struct, frozen=True):
    served_entities: list[_ServedEntity] = []


class Endpoint(msgspec.Struct, frozen=True):
    """A serving endpoint."""

    name: str
    state: _State = _State()
    config: _Config | None = None
    route_optimized: bool = False
    endpoint_url: str | None = None
    data_plane_info: _DataPlane | None = None

    @property
    def query_info(self) -> _QueryInfo:
        """Where a route-optimized endpoint is queried, and what its token is asked with."""
        return self.data_plane_info.query_info if self.data_plane_info else _QueryInfo()


class Endpoints(msgspec.Struct, frozen=True):
    """All serving endpoints."""

    endpoints: list[Endpoint] = []


class _FeatureLookup(msgspec.Struct, frozen=True):
    table: str
    lookup_keys: list[str] = []
    feature_names: list[str] = []
    rename_outputs: list[dict[str, str]] = []


class _SpecFeature(msgspec.Struct, frozen=True):
    feature_lookup: _FeatureLookup | None = None


class FeatureSpec(msgspec.Struct, frozen=True):
    """A feature spec: what an endpoint serves."""

    name: str
    features: list[_SpecFeature] = []
    exclude_columns: list[str] = []


def view_of(
    table: Table, name: str, options: ViewOptions, tags: dict[str, dict[str, str]] | None = None
) -> FeatureView:
    """Describe a feature table.

    Parameters
    ----------
    table
        As the catalog describes it.
    name
        What the view is called.
    options
        What the settings say of it.
    tags
        The tags of each column, and under ``""`` those of the table.
    """
    key = table.primary_key
    times = key.timeseries_columns if key else []
    timestamp = options.timestamp or next(iter(times), None)
    held = key.child_columns if key else []
    keys = [column for column in held if column not in {*times, timestamp}]
    columns = {column.name: column for column in sorted(table.columns, key=_position)}
    if options.timestamp:
        check_timestamp(name, options.timestamp, columns)
    labels = tags or {}
    return FeatureView(
        name=name,
        entities=tuple(
            Entity(
                column,
                column,
                kind_of(columns[column].type_text).dtype,
                columns[column].comment or "",
                store_type=columns[column].type_text,
                tags=labels.get(column, {}),
            )
            for column in keys
            if column in columns
        ),
        features=tuple(
            Feature(
                column.name,
                kind_of(column.type_text).dtype,
                column.comment or "",
                labels.get(column.name, {}),
                column.type_text,
            )
            for column in columns.values()
            if column.name not in {*keys, *times, timestamp}
        ),
        timestamp=timestamp,
        ttl=options.read_ttl(name),
        source=table.full_name,
        description=table.comment or "",
        owner=table.owner or "",
        tags=labels.get("", {}),
    )


def _position(column: Column) -> int:
    return column.position


def tags_of(workspace: Workspace, table: Table) -> Flow[dict[str, dict[str, str]]]:
    """Read the tags of a table, under no name, and of each of its columns."""
    places = {"": f"tables/{quote(table.full_name, safe='')}"}
    for column in table.columns:
        places[column.name] = f"columns/{quote(f'{table.full_name}.{column.name}', safe='')}"
    calls = [
        workspace.registered(f"{CATALOG}/entity-tag-assignments/{place}/tags", _Tags)
        for place in places.values()
    ]
    found: list[_Tags] = yield from together(calls)
    return {name: tags.read() for name, tags in zip(places, found, strict=True)}


def service_of(spec: FeatureSpec, called: Callable[[str], str]) -> FeatureService:
    """Describe a feature spec by the features that it looks up.

    Parameters
    ----------
    spec
        The spec.
    called
        What the view of a table is called, by its full name.
    """
    lookups = [feature.feature_lookup for feature in spec.features]
    refs = tuple(
        FeatureRef(called(lookup.table), name)
        for lookup in lookups
        if lookup
        for name in lookup.feature_names or ["*"]
        if name not in spec.exclude_columns
    )
    return FeatureService(spec.name, refs, unsupported=_unsupported(spec))


def _unsupported(spec: FeatureSpec) -> str:
    """Say why a spec cannot be read feature by feature; empty where it can."""
    if not all(feature.feature_lookup for feature in spec.features):
        return "it computes features with functions, or from declarative features"
    if any(lookup.rename_outputs for f in spec.features if (lookup := f.feature_lookup)):
        return "it renames features; ask for the features themselves"
    return ""


def missing_place(
    workspace: Workspace, error: UnknownNameError, *, catalog_name: str, schema_name: str
) -> Flow[UnknownNameError]:
    """Say which of a catalog and a schema is not there, with the nearest names.

    Parameters
    ----------
    workspace
        Whom to ask.
    error
        What was said of both; it stands where they may not be listed.
    catalog_name, schema_name
        The two.
    """
    query = urlencode({"catalog_name": catalog_name, "max_results": "0"})
    try:
        schemas: Catalogs = yield workspace.get(f"{CATALOG}/schemas?{query}", Catalogs)
        what, name, known = f"schema of {catalog_name}:", schema_name, schemas.names
    except UnknownNameError:
        try:
            listed: Catalogs = yield workspace.get(f"{CATALOG}/catalogs?max_results=0", Catalogs)
        except FeatkitError:
            return error
        what, name, known = "catalog", catalog_name, listed.names
    except FeatkitError:
        return error
    return UnknownNameError(f"there is no {what} {name!r}; {nearest(name, known)} ({error})")
