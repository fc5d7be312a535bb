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
from typing import TYPE_CHECKING, Any

import msgspec
import tomlkit

from featkit.dtypes import parse_dtype
from featkit.durations import parse_duration
from featkit.errors import DefinitionError, FeatkitError, InputError
from featkit.schema import FeatureRef, FeatureService

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

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
    store: _StoreEntry = _StoreEntry()
    views: dict[str, ViewEntry] = {}
    services: dict[str, ServiceEntry] = {}


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
    where
        File and line of the table, for messages.
    """

    name: str
    entry: ViewEntry
    ttl: timedelta | None
    dtypes: Mapping[str, pl.DataType]
    patterns: tuple[Path, ...]
    where: str


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
        content = msgspec.convert(tomllib.loads(text), _File)
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is not valid TOML: {error}"
        raise DefinitionError(msg) from error
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        steps = [quoted or plain for quoted, plain in _STEP.findall(place)]
        msg = f"{path}, line {_line(text, steps)}: {reason}" + (
            f" (at {'.'.join(steps)})" if steps else ""
        )
        raise DefinitionError(msg) from error
    reader = _Reader(text, path)
    return Definition(
        now=reader.now(content.store.now),
        timezone=content.store.timezone,
        views={name: reader.view(name, entry) for name, entry in content.views.items()},
        services={name: reader.service(name, entry) for name, entry in content.services.items()},
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what msgspec cannot: durations, dtypes, references, paths."""

    text: str
    path: Path

    def fail(
        self, steps: list[str], reason: str, cause: Exception | None = None
    ) -> DefinitionError:
        line = _line(self.text, steps)
        error = DefinitionError(f"{self.path}, line {line}: {reason} (at {'.'.join(steps)})")
        error.__cause__ = cause
        return error

    def now(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise self.fail(["store", "now"], f"{moment} is naive; end it with 'Z' for UTC")
        return moment.astimezone(UTC) if moment else None

    def view(self, name: str, entry: ViewEntry) -> ViewDefinition:
        steps = ["views", name]
        check_name(name)
        if not entry.join_keys:
            raise self.fail([*steps, "join_keys"], "expected at least one join key")
        if entry.created and not entry.timestamp:
            raise self.fail([*steps, "created"], "a view with 'created' needs 'timestamp' too")
        special = [*entry.join_keys, *filter(None, (entry.timestamp, entry.created))]
        if twice := {column for column in special if special.count(column) > 1}:
            raise self.fail(steps, f"the column {min(twice)!r} has two roles; each needs its own")
        dtypes = {}
        for feature, line in (entry.features or {}).items():
            if feature in special:
                raise self.fail(
                    [*steps, "features", feature],
                    f"{feature!r} is a key or a timestamp, no feature",
                )
            if line.dtype is not None:
                try:
                    dtypes[feature] = parse_dtype(line.dtype)
                except ValueError as error:
                    raise self.fail([*steps, "features", feature], str(error), error) from error
        try:
            ttl = parse_duration(entry.ttl, what="ttl") if entry.ttl is not None else None
        except FeatkitError as error:
            raise self.fail([*steps, "ttl"], str(error), error) from error
        patterns = tuple(self._pattern(steps, source) for source in entry.sources)
        where = f"{self.path}, line {_line(self.text, steps)}"
        return ViewDefinition(name, entry, ttl, dtypes, patterns, where)

    def _pattern(self, steps: list[str], source: str) -> Path:
        if not source or ".." in PurePosixPath(source).parts:
            reason = (
                f"expected a path below the folder of this file, or an absolute one, not {source!r}"
            )
            raise self.fail([*steps, "source"], reason)
        return self.path.parent / source

    def service(self, name: str, entry: ServiceEntry) -> FeatureService:
        try:
            refs = tuple(map(FeatureRef.parse, entry.features))
        except InputError as error:
            raise self.fail(["services", name, "features"], str(error), error) from error
        return FeatureService(name, refs, entry.description, entry.owner, entry.tags)


_STEP = re.compile(r"\[(?:'([^']*)'|\.\.\.)\]|\.?(\w[\w-]*)")


def _line(text: str, steps: list[str]) -> int:
    """Find the line where the last of the nested names stands that can be found."""
    lines = text.splitlines()
    found = 0
    for step in steps:
        name = re.compile(rf"""(?:^|[\[.{{,\s"'])["']?{re.escape(step)}["']?\s*(?:[].=]|$)""")
        later = (number for number in range(found, len(lines)) if name.search(lines[number]))
        found = next(later, found)
    return found + 1


def check_name(name: str) -> None:
    """Raise `InputError` for a name of a view that could not be a folder's name as well."""
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name a feature view; use letters, digits, '_', '-' and '.'"
        raise InputError(msg)


def edited(
    text: str,
    *,
    store: Mapping[str, str] | None = None,
    views: Mapping[str, ViewEntry] | None = None,
    services: Mapping[str, ServiceEntry] | None = None,
) -> str:
    """Return the text of a definition file with tables set, its other lines and comments kept.

    Parameters
    ----------
    text
        The file so far; may be empty.
    store, views, services
        What to set, by name.
    """
    document = tomlkit.parse(text)
    for section, entries in (("store", store), ("views", views), ("services", services)):
        if entries:
            table = document.setdefault(section, tomlkit.table(is_super_table=section != "store"))
            for name, entry in entries.items():
                table[name] = (
                    entry if isinstance(entry, str) else _table(msgspec.to_builtins(entry))
                )
    return tomlkit.dumps(document)


def _table(entry: dict[str, Any]) -> tomlkit.items.Table:
    """Write an entry as people would: one line a feature."""
    table = tomlkit.table()
    features = entry.pop("features", None)
    for key, value in entry.items():
        table[key] = _inline(value) if isinstance(value, dict) else value
    if isinstance(features, dict):
        table["features"] = tomlkit.table()
        for name, line in features.items():
            table["features"][name] = _inline(line)
    elif features is not None:
        table["features"] = tomlkit.array().multiline(multiline=True)
        table["features"].extend(features)
    return table


def _inline(value: dict[str, Any]) -> tomlkit.items.InlineTable:
    inline = tomlkit.inline_table()
    inline.update(value)
    return inline
