"""Feast's registry as a file: one protobuf message, read into what the REST registry would say.

Supported is the file that ``registry: path: registry.db`` in feature_store.yaml makes, on a disk
that this machine can read; one registry may hold several projects. A registry in a SQL database,
in a bucket or behind gRPC has no such file: for these name the REST registry with registry_url=.

The file holds some kilobytes, with a handful of messages of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from featkit.errors import ProtocolError, SourceError
from featkit.stores.feast.types import NUMBERS
from featkit.structs import known

T = TypeVar("T")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TYPES = {number: name for name, number in NUMBERS.items()}
_SKIPPED = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a message: how JSON calls it, and how it is read."""

    name: str
    read: Callable[[Any], Any]
    many: bool = False
    wire_type: int = _BYTES


_Fields = Mapping[int, _Field]


def _text(name: str) -> _Field:
    return _Field(name, lambda raw: bytes(raw).decode())


def _texts(name: str) -> _Field:
    return _Field(name, lambda raw: bytes(raw).decode(), many=True)


def _flag(name: str) -> _Field:
    return _Field(name, bool, wire_type=_VARINT)


def _number(name: str) -> _Field:
    return _Field(name, int, wire_type=_VARINT)


def _type(name: str) -> _Field:
    return _Field(name, lambda raw: _TYPES.get(raw, str(raw)), wire_type=_VARINT)


def _one(name: str, fields: _Fields) -> _Field:
    return _Field(name, lambda raw: _message(raw, fields))


def _several(name: str, fields: _Fields) -> _Field:
    return _Field(name, lambda raw: _message(raw, fields), many=True)


def _map(name: str, value: _Field) -> _Field:
    """Read a map, which is entries of key and value, as these; `_message` puts them together."""
    entry = {1: _text("key"), 2: value}
    return _Field(name, lambda raw: {"key": "", **_message(raw, entry)}, many=True)


_TAGS = _text("value")
_COLUMN = {1: _text("name"), 2: _type("valueType"), 3: _map("tags", _TAGS), 4: _text("description")}
_TIME = {1: _number("seconds"), 2: _number("nanos")}
_SOURCE = {
    20: _text("name"),
    2: _map("fieldMapping", _TAGS),
    3: _text("timestampField"),
    5: _text("createdTimestampColumn"),
    18: _one("requestDataOptions", {3: _several("schema", _COLUMN)}),
}
_PROJECTION = {
    1: _text("featureViewName"),
    3: _text("featureViewNameAlias"),
    2: _several("featureColumns", _COLUMN),
    4: _map("joinKeyMap", _TAGS),
}
_META = {4: _number("currentVersionNumber")}
_VIEW = {
    1: _text("name"),
    2: _text("project"),
    3: _texts("entities"),
    4: _several("features", _COLUMN),
    5: _map("tags", _TAGS),
    6: _one("ttl", _TIME),
    7: _one("batchSource", _SOURCE),
    8: _flag("online"),
    10: _text("description"),
    11: _text("owner"),
    12: _several("entityColumns", _COLUMN),
}
_STREAM_VIEW = {
    1: _text("name"),
    2: _text("project"),
    3: _texts("entities"),
    4: _several("features", _COLUMN),
    5: _several("entityColumns", _COLUMN),
    6: _text("description"),
    7: _map("tags", _TAGS),
    8: _text("owner"),
    9: _one("ttl", _TIME),
    10: _one("batchSource", _SOURCE),
    12: _flag("online"),
}
_INPUT = {
    3: _one("featureViewProjection", _PROJECTION),
    2: _one("requestDataSource", _SOURCE),
}
_ON_DEMAND_VIEW = {
    1: _text("name"),
    2: _text("project"),
    3: _several("features", _COLUMN),
    4: _map("sources", _one("value", _INPUT)),
    6: _text("description"),
    7: _map("tags", _TAGS),
    8: _text("owner"),
    13: _texts("entities"),
    14: _several("entityColumns", _COLUMN),
}
_ENTITY = {
    1: _text("name"),
    9: _text("project"),
    2: _type("valueType"),
    3: _text("description"),
    4: _text("joinKey"),
    8: _map("tags", _TAGS),
}
_SERVICE = {
    1: _text("name"),
    2: _text("project"),
    3: _several("features", _PROJECTION),
    4: _map("tags", _TAGS),
    5: _text("description"),
    6: _text("owner"),
}
_PROJECT = {1: _one("spec", {1: _text("name")}), 2: _one("meta", {2: _one("updated", _TIME)})}
_REGISTRY = {
    1: _several("entities", {1: _one("spec", _ENTITY)}),
    6: _several("featureView", {1: _one("spec", _VIEW), 2: _one("meta", _META)}),
    8: _several("onDemandFeatureView", {1: _one("spec", _ON_DEMAND_VIEW)}),
    14: _several("streamFeatureView", {1: _one("spec", _STREAM_VIEW), 2: _one("meta", _META)}),
    7: _several("featureServices", {1: _one("spec", _SERVICE)}),
    17: _several("projects", _PROJECT),
}
_VIEWS = ("featureView", "onDemandFeatureView", "streamFeatureView")


def read(path: str, project: str, what: str, kind: type[T]) -> T:
    """Read the objects of one kind that a project has.

    Parameters
    ----------
    path
        The file.
    project
        The project; others are left out.
    what
        As in the address of the REST registry: ``feature_views``, ``entities``,
        ``feature_services``, or ``projects`` for the project itself.
    kind
        The structure of the answer.

    Raises
    ------
    SourceError
        The file cannot be read.
    ProtocolError
        It is no registry of Feast's.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        msg = f"registry={path!r}: the file cannot be read: {error.strerror or error}"
        raise SourceError(msg) from error
    try:
        whole = _message(memoryview(data), _REGISTRY)
        return msgspec.convert(_part(whole, project, what), known(kind), strict=False)
    except (ValueError, LookupError, OverflowError, msgspec.ValidationError) as error:
        msg = f"registry={path!r} is no registry file of Feast's: {error}"
        raise ProtocolError(msg) from error


def _part(whole: dict[str, Any], project: str, what: str) -> dict[str, Any]:
    match what:
        case "feature_views":
            views = [{"type": kind, **each} for kind in _VIEWS for each in whole.get(kind, [])]
            return {"featureViews": [_timed(view) for view in _own(views, project)]}
        case "entities":
            return {"entities": _own(whole.get("entities", []), project)}
        case "feature_services":
            return {"featureServices": _own(whole.get("featureServices", []), project)}
    names = {each["spec"]["name"]: each for each in whole.get("projects", [])}
    if project not in names:
        msg = f"it has no project {project!r}; it has {', '.join(map(repr, sorted(names)))}"
        raise ValueError(msg)
    seconds = names[project].get("meta", {}).get("updated", {}).get("seconds", 0)
    return {"meta": {"lastUpdatedTimestamp": datetime.fromtimestamp(seconds, UTC)}}


def _own(items: list[dict[str, Any]], project: str) -> list[dict[str, Any]]:
    return [item for item in items if item["spec"].get("project") == project]


def _timed(view: dict[str, Any]) -> dict[str, Any]:
    """Write the ttl as JSON has it."""
    ttl = view["spec"].get("ttl", {})
    seconds = ttl.get("seconds", 0) + ttl.get("nanos", 0) / 1e9
    return {**view, "spec": {**view["spec"], "ttl": f"{seconds}s"}}


def _message(data: memoryview, fields: _Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        raw: Any
        if wire_type == _VARINT:
            raw, at = _varint(data, at)
        else:
            size, at = _varint(data, at) if wire_type == _BYTES else (_SKIPPED[wire_type], at)
            raw, at = data[at : at + size], at + size
            if at > len(data):
                msg = "it is cut short"
                raise ValueError(msg)
        if (field := fields.get(number)) is None:
            continue
        if field.wire_type != wire_type:
            msg = f"its field {field.name!r} is of another kind"
            raise ValueError(msg)
        if field.many:
            found.setdefault(field.name, []).append(field.read(raw))
        else:
            found[field.name] = field.read(raw)
    return {name: _put_together(value) for name, value in found.items()}


def _put_together(value: Any) -> Any:  # noqa: ANN401 - whatever a field holds
    """Make a dict of the entries of a map."""
    entries = isinstance(value, list) and value and isinstance(value[0], dict)
    if entries and set(value[0]) <= {"key", "value"}:
        return {entry["key"]: entry.get("value", "") for entry in value}
    return value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the byte that ends a varint
            return value, at
