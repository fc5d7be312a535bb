"""Editing ``feature_views.toml``: what people wrote in it stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import tomlkit
from filelock import FileLock
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Whitespace

from featkit import definitions
from featkit.definitions import FILE_NAME, ServiceEntry, ViewEntry
from featkit.errors import DefinitionError
from featkit.replacing import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_LOCK = ".feature_views.lock"
_Trivia = Comment | Whitespace


def read(root: Path) -> str:
    """Read the text of a store's definition file; empty where there is none yet."""
    path = root / FILE_NAME
    try:
        return path.read_bytes().decode()  # the ends of its lines stay what they are
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        msg = f"{path} cannot be read: {error}"
        raise DefinitionError(msg) from error


@dataclass(frozen=True, slots=True)
class Edit:
    """What the definition file holds, and what it will hold."""

    before: str
    after: str

    @classmethod
    def of(cls, before: str, path: Path, **tables: Mapping[str, Any]) -> Edit:
        """Set tables; what could not be read then is refused."""
        definitions.parse(before, path)
        try:
            after = edited(before, **tables)
            definitions.parse(after, path)
        except (ValueError, TOMLKitError) as error:
            msg = (
                f"{path} cannot be edited ({error}); write what it has in tables of their own, "
                "[views.NAME] and [services.NAME], then repeat the call"
            )
            raise DefinitionError(msg) from error
        return cls(before, after)


def edit(root: Path, prepared: Edit | None = None, **tables: Mapping[str, Any]) -> None:
    """Set tables in a store's definition file, of which other writers may set others meanwhile.

    Parameters
    ----------
    root
        Folder of the store; made where it does not exist.
    prepared
        The edit, as it was checked before; None: it is made now.
    tables
        As for `edited`.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / _LOCK):  # else two writers would each undo what the other wrote
        before = read(root)
        if prepared is None or prepared.before != before:  # others wrote meanwhile
            prepared = Edit.of(before, root / FILE_NAME, **tables)
        with replacing(root / FILE_NAME) as file:
            file.write_bytes(prepared.after.encode())


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
                after = _trailing(table.get(name))
                if isinstance(entry, str):
                    table[name] = entry
                else:
                    table[name] = _table(msgspec.to_builtins(entry), after)
    return tomlkit.dumps(document)


def _trailing(item: object) -> list[_Trivia]:
    """Find the comments after a table's content, which people write above the next table."""
    if not isinstance(item, tomlkit.items.Table) or not item.value.body:
        return []
    body = item.value.body
    count = next((n for n, (key, _) in enumerate(reversed(body)) if key is not None), len(body))
    after = [value for _, value in body[len(body) - count :] if isinstance(value, _Trivia)]
    return after or _trailing(body[-1][1])


def _table(entry: dict[str, Any], after: Sequence[_Trivia]) -> tomlkit.items.Table:
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
    last = table["features"] if isinstance(features, dict) else table
    for item in after:
        last.add(item)
    return table


def _inline(value: dict[str, Any]) -> tomlkit.items.InlineTable:
    inline = tomlkit.inline_table()
    inline.update(value)
    return inline
