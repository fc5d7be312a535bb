"""Settings: ``featkit.toml``, ``[tool.featkit]`` in pyproject.toml, ``FEATKIT_*``.

An argument beats the environment, the environment beats the file. The file is the first
``featkit.toml``, or ``pyproject.toml`` with a table ``[tool.featkit]``, in the working directory
or a folder above it. ``FEATKIT_BACKEND`` sets ``backend``; two underscores step into a table:
``FEATKIT_FEAST__SERVER_URL`` sets ``server_url`` of ``[feast]``.

This is the only module that reads the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from featkit.errors import SettingsError, nearest

_PREFIX = "FEATKIT_"
_TOP = ("backend", "target", "timezone", "timeout", "wait", "now")


class Secret:
    """A value that never shows in a repr, a log or a traceback; `reveal` gives it out.

    Examples
    --------
    >>> Secret("hunter2")
    Secret('***')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __reduce__(self) -> str:
        msg = "a Secret is not serialized; pass the name of its environment variable instead"
        raise TypeError(msg)


class Tables(Mapping[str, Mapping[str, Any]]):
    """The tables of a settings file, by name.

    What the secrets of a table refer to is looked up when the table is taken, so that one store
    can be used without the credentials of another one.

    Parameters
    ----------
    written
        The tables as they stand in the file.
    variables
        The environment that secrets may refer to.
    """

    def __init__(
        self, written: Mapping[str, Mapping[str, Any]], variables: Mapping[str, str]
    ) -> None:
        self._written = written
        self._variables = variables

    def __getitem__(self, table: str) -> dict[str, Any]:
        return {
            key: _secret(entry, f"{table}.{key}", self._variables)
            for key, entry in self._written[table].items()
        }

    def __contains__(self, table: object) -> bool:
        return table in self._written

    def __iter__(self) -> Iterator[str]:
        return iter(self._written)

    def __len__(self) -> int:
        return len(self._written)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {list(self)}>"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a settings file and the environment say.

    Attributes
    ----------
    target
        Which store to connect to, as `featkit.connect` takes it.
    backend
        Kind of the store, where its table says the rest.
    timezone
        What naive timestamps mean.
    timeout
        Duration that one call of the user's may take.
    wait
        Duration that a call waits for a server that cannot be reached.
    now
        A fixed clock, ISO 8601 with a zone.
    tables
        The tables of the stores, ``cache`` and ``health_check``, by name; a secret that is missing
        is a `SettingsError` once its table is taken.
    origin
        The file that was read, for messages.
    """

    target: str | None = None
    backend: str | None = None
    timezone: str | None = None
    timeout: str | None = None
    wait: str | None = None
    now: str | None = None
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    origin: str = "the environment"


def load(folder: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings that hold in a folder.

    Parameters
    ----------
    folder
        Where to begin to look; None: the working directory.
    environment
        The variables; None: those of the process.

    Raises
    ------
    SettingsError
        A file is broken, or a setting is unknown.
    """
    variables = os.environ if environment is None else environment
    origin, content = _file(folder or Path.cwd())
    merged: dict[str, Any] = {
        key: dict(value) if isinstance(value, dict) else value for key, value in content.items()
    }
    for name, value in variables.items():
        if name.startswith(_PREFIX):
            table, _, key = name.removeprefix(_PREFIX).lower().partition("__")
            if key:
                entries = merged.setdefault(table, {})
                if not isinstance(entries, dict):
                    msg = f"{name} sets {key!r} in the table {table!r}, which is a single setting"
                    raise SettingsError(msg)
                entries[key] = value
            else:
                merged[table] = value
    top = {key: value for key, value in merged.items() if not isinstance(value, dict)}
    if unknown := sorted(set(top) - set(_TOP)):
        msg = f"{origin}: there is no setting {unknown[0]!r}; {nearest(unknown[0], _TOP)}"
        raise SettingsError(msg)
    if wrong := sorted(key for key, value in top.items() if not isinstance(value, str)):
        msg = f"{origin}: the setting {wrong[0]!r} must be text, not {top[wrong[0]]!r}"
        raise SettingsError(msg)
    written = {table: entries for table, entries in merged.items() if isinstance(entries, dict)}
    return Settings(**top, tables=Tables(written, variables), origin=origin)


def variables(prefix: str) -> dict[str, str]:
    """Return the variables of the process with a prefix: those of a store's own tools.

    Parameters
    ----------
    prefix
        How their names begin.
    """
    return {name: value for name, value in os.environ.items() if name.startswith(prefix) and value}


def take_enabled(entries: dict[str, Any], table: str, origin: str) -> bool:
    """Take ``enabled`` out of the entries of a table, and read it; a table that is there is on.

    Raises
    ------
    SettingsError
        It is neither true nor false.
    """
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    value = entries.pop("enabled", True)
    known = value if isinstance(value, bool) else words.get(str(value).lower())
    if known is None:
        msg = f"{origin}: enabled of [{table}] must be true or false, not {value!r}"
        raise SettingsError(msg)
    return known


def _file(folder: Path) -> tuple[str, dict[str, Any]]:
    for place in (folder, *folder.resolve().parents):
        for path in (place / "featkit.toml", place / "pyproject.toml"):
            if not path.is_file():
                continue
            try:
                text = path.read_text(encoding="utf-8")
                if path.name == "featkit.toml":
                    return str(path), tomllib.loads(text)
                content = _table_of(text)
            except (OSError, ValueError) as error:
                msg = f"{path} cannot be read: {error}"
                raise SettingsError(msg) from error
            if content is not None:
                return f"[tool.featkit] of {path}", content
    return "the environment", {}


@lru_cache(maxsize=8)  # each connection asks, and it is long, and seldom another than before
def _table_of(text: str) -> dict[str, Any] | None:
    """Read ``[tool.featkit]`` of the text of a pyproject.toml; nobody changes what it gives."""
    found: dict[str, Any] | None = tomllib.loads(text).get("tool", {}).get("featkit")
    return found


def _secret(entry: object, where: str, variables: Mapping[str, str]) -> object:
    """Follow ``{env = NAME}`` and ``{file = PATH}`` to a `Secret`; leave anything else."""
    match entry:
        case {"env": str(name), **rest} if not rest:
            if not variables.get(name, "").strip():
                lack = "is empty" if name in variables else "is not set"
                msg = f"{where} is read from the environment variable {name}, which {lack}"
                raise SettingsError(msg)
            return Secret(variables[name])
        case {"file": str(name), **rest} if not rest:
            try:
                held = Path(name).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                msg = f"{where} is read from the file {name}, which cannot be read: {error}"
                raise SettingsError(msg) from error
            if not held:
                msg = f"{where} is read from the file {name}, which is empty"
                raise SettingsError(msg)
            return Secret(held)
        case _:
            return entry
