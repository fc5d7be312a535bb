"""``feature_views.toml``: what an embedded store holds, as people write it.

::

    [store]
    now = "2014-01-01T00:00:00Z"          # optional: the clock of a frozen data set
    timezone = "UTC"                      # optional: what naive timestamps in the files mean

    [views.carrier_history]
    source = "carrier_history/*.parquet"  # relative to this file; a list of them is fine
    join_keys = ["carrier"]
    timestamp = "event_timestamp"         # absent: a static view
    created = "created_timestamp"         # optional
    ttl = "7d"                            # absent: no limit
    description = "..."
    owner = "..."
    tags = { team = "ops" }

    [views.carrier_history.features]      # absent: every other column is a feature
    mean_dep_delay_7d = { description = "minutes", dtype = "float64" }

    [services.delay_model]
    features = ["carrier_history:mean_dep_delay_7d", "aircraft:seats"]
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from featkit.dtypes import parse_dtype
from featkit.durations import parse_duration
from featkit.errors import DefinitionError, FeatkitError, InputError, TimestampError, nearest
from featkit.schema import FeatureRef, FeatureService
from featkit.structs import known
from featkit.toml_words import in_toml_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

EntryT = TypeVar("EntryT", bound=msgspec.Struct)

FILE_NAME = "feature_views.toml"
_NAME = re.compile(r"\w[\w.-]*")


class FeatureEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of a view's table of features."""

    description: str = ""
    dtype: str | None = None
    tags: dict[str, str] = {}


class ViewEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One table ``[views.NAME]``."""

    source: str | list[str]
    join_keys: list[str]
    timestamp: str | None = None
    created: str | None = None
    ttl: str | None = None
    description: str = ""
    owner: str = ""
    tags: dict[str, str] = {}
    features: dict[str, FeatureEntry] | None = None

    @property
    def sources(self) -> list[str]:
        """The patterns of the source files."""
        return [self.source] if isinstance(self.source, str) else self.source


class ServiceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One table ``[services.NAME]``."""

    features: list[str]
    description: str = ""
    owner: str = ""
    tags: dict[str, str] = {}


class _StoreEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    now: datetime | None = None
    timezone: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: dict[str, Any] = {}
    views: dict[str, dict[str, Any]] = {}
    services: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class ViewDefinition:
    """One view as its file defines it; the types of its columns are in its source.

    Attributes
    ----------
    name, entry
        The table's name and content.
    ttl
        The ttl, read.
    dtypes
        The dtypes that the table of features fixes.
    patterns
        The sources, as absolute patterns.
    file
        What it is defined in.
    """

    name: str
    entry: ViewEntry
    ttl: timedelta | None
    dtypes: Mapping[str, pl.DataType]
    patterns: tuple[Path, ...]
    file: DefinitionFile

    def where(self, *steps: str) -> str:
        """Name the file and the line of the view, or of what its table holds under these names."""
        return self.file.where("views", self.name, *steps)


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition file, checked.

    Attributes
    ----------
    now
        The clock of a frozen data set, aware; None: the present.
    timezone
        What naive timestamps in the sources mean; None: they are refused.
    views, services
        What it defines, by name.
    """

    now: datetime | None
    timezone: str | None
    views: Mapping[str, ViewDefinition]
    services: Mapping[str, FeatureService]


def parse(text: str, path: Path) -> Definition:
    """Read the text of a definition file.

    Parameters
    ----------
    text
        The content.
    path
        Where it is from: for messages, and for the sources, which are relative to its folder.

    Raises
    ------
    DefinitionError
        It is no TOML, or not of this form; the message names file, line and what was expected.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is not valid TOML: {error}"
        raise DefinitionError(msg) from error
    file = DefinitionFile(path, text)
    reader = _Reader(file)
    tables = reader.entry([], content, _File)
    store = reader.entry(["store"], tables.store, _StoreEntry)
    return Definition(
        now=reader.now(store.now),
        timezone=reader.timezone(store.timezone),
        views={name: reader.view(name, table) for name, table in tables.views.items()},
        services={name: reader.service(name, table) for name, table in tables.services.items()},
    )


@dataclass(frozen=True, slots=True)
class DefinitionFile:
    """The file of a definition, to tell people where in it something stands.

    Attributes
    ----------
    path, text
        The file and its content.
    """

    path: Path
    text: str

    def where(self, *steps: str) -> str:
        """Name the file, and the line of what the nested tables hold under these names."""
        return f"{self.path}, line {_line(self.text, steps)}"


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one table after the other, and tells the place of what is wrong."""

    file: DefinitionFile

    def fail(self, steps: list[str], reason: str) -> DefinitionError:
        place = f" (at {'.'.join(steps)})" if steps else ""
        return DefinitionError(f"{self.file.where(*steps)}: {reason}{place}")

    def entry(self, steps: list[str], table: object, kind: type[EntryT]) -> EntryT:
        try:
            return msgspec.convert(table, known(kind))
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            below = _STEP.findall(place)
            if unknown := _UNKNOWN.search(reason):
                below = [unknown[1]]
                near = nearest(unknown[1], kind.__struct_fields__)
                reason = f"there is no setting {unknown[1]!r} here; {near}"
            raise self.fail([*steps, *below], in_toml_words(reason)) from error

    def now(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise self.fail(["store", "now"], f"{moment} is naive; end it with 'Z' for UTC")
        return moment.astimezone(UTC) if moment else None

    def timezone(self, name: str | None) -> str | None:
        try:
            return None if name is None else check_zone(name)
        except TimestampError as error:
            raise self.fail(["store", "timezone"], str(error)) from error

    def view(self, name: str, table: dict[str, Any]) -> ViewDefinition:
        steps = ["views", name]
        entry = self._view_entry(steps, table)
        if not entry.join_keys:
            raise self.fail([*steps, "join_keys"], "expected at least one join key")
        if not entry.sources:
            raise self.fail([*steps, "source"], "expected at least one path")
        if entry.created and not entry.timestamp:
            raise self.fail([*steps, "created"], "a view with 'created' needs 'timestamp' too")
        special = [*entry.join_keys, *filter(None, (entry.timestamp, entry.created))]
        if twice := {column for column in special if special.count(column) > 1}:
            raise self.fail(steps, f"the column {min(twice)!r} has two roles; each needs its own")
        if taken := [feature for feature in entry.features or {} if feature in special]:
            reason = f"{taken[0]!r} is a key or a timestamp, no feature"
            raise self.fail([*steps, "features", taken[0]], reason)
        try:
            ttl = parse_duration(entry.ttl, what="ttl") if entry.ttl is not None else None
        except FeatkitError as error:
            raise self.fail([*steps, "ttl"], str(error)) from error
        patterns = tuple(self._pattern(steps, source) for source in entry.sources)
        return ViewDefinition(name, entry, ttl, self._dtypes(steps, entry), patterns, self.file)

    def _view_entry(self, steps: list[str], table: dict[str, Any]) -> ViewEntry:
        try:
            check_name(steps[-1])
        except InputError as error:
            raise self.fail(steps, str(error)) from error
        features = table.get("features")
        for name, line in features.items() if isinstance(features, dict) else ():
            self.entry([*steps, "features", name], line, FeatureEntry)
        return self.entry(steps, table, ViewEntry)

    def _dtypes(self, steps: list[str], entry: ViewEntry) -> dict[str, pl.DataType]:
        dtypes = {}
        for name, line in (entry.features or {}).items():
            if line.dtype is not None:
                try:
                    dtypes[name] = parse_dtype(line.dtype)
                except ValueError as error:
                    raise self.fail([*steps, "features", name], str(error)) from error
        return dtypes

    def _pattern(self, steps: list[str], source: str) -> Path:
        if not source or ".." in PurePosixPath(source).parts:
            reason = (
                f"expected a path below the folder of this file, or an absolute one, not {source!r}"
            )
            raise self.fail([*steps, "source"], reason)
        return self.file.path.parent / source

    def service(self, name: str, table: dict[str, Any]) -> FeatureService:
        entry = self.entry(["services", name], table, ServiceEntry)
        try:
            refs = tuple(map(FeatureRef.parse, entry.features))
        except InputError as error:
            raise self.fail(["services", name, "features"], str(error)) from error
        return FeatureService(name, refs, entry.description, entry.owner, entry.tags)


_UNKNOWN = re.compile(r"unknown field `(.+)`")
_STEP = re.compile(r"\w[\w-]*")  # of the places that msgspec tells: $.tags[...]


def _line(text: str, steps: Sequence[str]) -> int:
    """Find the line of the statement that is the first to name the deepest of the nested names."""
    table: list[str] = []
    found, deepest = 1, 0
    begin, statement = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        statement += f"{line}\n"
        try:
            content = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:  # it goes on in the next line
            continue
        if statement.lstrip().startswith("["):
            table, content = _header(content), {}
        depth = _depth(table, content, steps)
        if depth > deepest:
            found, deepest = begin, depth
        begin, statement = number + 1, ""
    return found


def _header(content: object) -> list[str]:
    """Read the names of a table's header from what it is as TOML of its own."""
    names = []
    while isinstance(content, dict) and content:
        ((name, content),) = content.items()
        names.append(name)
    return names


def _depth(table: Sequence[str], nested: Any, steps: Sequence[str]) -> int:  # noqa: ANN401 - any TOML
    """Count how many of the nested names this content of a table has."""
    for name in reversed(table):
        nested = {name: nested}
    for depth, step in enumerate(steps):
        if not isinstance(nested, dict) or step not in nested:
            return depth
        nested = nested[step]
    return len(steps)


def check_zone(name: str) -> str:
    """Return the name of a time zone; raise `TimestampError` where there is no such zone."""
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"{name!r} is no time zone; write a name such as 'UTC' or 'Europe/Paris'"
        raise TimestampError(msg) from error


def check_name(name: object) -> None:
    """Raise `InputError` for a name of a view that could not be a folder's name as well."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name a feature view; use letters, digits, '_', '-' and '.'"
        raise InputError(msg)


def is_pattern(column: str) -> bool:
    """Tell whether polars takes the name of a column for a pattern of several names."""
    return column == "*" or (column.startswith("^") and column.endswith("$"))
