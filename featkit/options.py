"""The options of a store, read into its own struct; what is wrong is told by where it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, TypeVar, get_args, get_origin

import msgspec

from featkit.errors import SettingsError, nearest
from featkit.structs import known
from featkit.toml_words import in_toml_words

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)

_Path: TypeAlias = tuple[str, ...]
_BARE = re.compile(r"[A-Za-z0-9_-]+")  # what TOML takes for a key without quotes


def read_options(given: Mapping[str, object], kind: type[OptionsT], scheme: str) -> OptionsT:
    """Read the options of a store.

    Parameters
    ----------
    given
        The options by name, as `featkit.connect` or the settings have them.
    kind
        The struct that they make.
    scheme
        The store, for messages.

    Raises
    ------
    SettingsError
        An option is unknown, missing or wrong, at the top or within another one.

    Examples
    --------
    >>> View = msgspec.defstruct("View", [("ttl", str)])
    >>> Options = msgspec.defstruct("Options", [("views", dict[str, View])])
    >>> read_options({"views": {"users": {"ttl": "7d"}}}, Options, "acme")
    Options(views={'users': View(ttl='7d')})
    >>> read_options({"views": {"users": {"tll": "7d"}}}, Options, "acme")
    Traceback (most recent call last):
    featkit.errors.SettingsError: the store 'acme' has no option 'tll' in ...; did you mean 'ttl'?
    """
    check = _Check(scheme)
    check.table(given, kind, ())
    try:
        return msgspec.convert(dict(given), known(kind), strict=False)
    except msgspec.ValidationError as error:  # what a struct of its own refuses as a whole
        msg = f"an option of the store {scheme!r} is wrong: {error}"
        raise SettingsError(msg) from error


@dataclass(frozen=True, slots=True)
class _Check:
    """Looks at options one by one, and tells the place of what is wrong.

    Attributes
    ----------
    scheme
        The store.
    """

    scheme: str

    def table(self, table: Mapping[Any, object], kind: type[msgspec.Struct], path: _Path) -> None:
        """Check the options of a struct, which is itself the option at `path`."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        if unknown := sorted(map(str, table.keys() - fields.keys())):
            self.fail(path, f"has no option {unknown[0]!r}", nearest(unknown[0], fields))
        if missing := [n for n, field in fields.items() if field.required and n not in table]:
            needed = ", ".join(f"{name}=..." for name in missing)
            self.fail(path, f"needs {needed}", "pass it to connect, or write it into the settings")
        for name, value in table.items():
            self.value(value, fields[name].type, (*path, name))

    def value(self, value: object, kind: Any, path: _Path) -> None:  # noqa: ANN401 - any type
        """Check one option; of one that holds others, each of them."""
        if (
            isinstance(value, Mapping)
            and isinstance(kind, type)
            and issubclass(kind, msgspec.Struct)
        ):
            self.table(value, kind, path)
            return
        if isinstance(value, Mapping) and get_origin(kind) is dict:
            name_kind, inner = get_args(kind)
            for name, each in value.items():
                self.value(name, name_kind, (*path, str(name)))
                self.value(each, inner, (*path, str(name)))
            return
        try:
            msgspec.convert(
                value, known(kind), strict=False
            )  # a variable of the environment is text
        except msgspec.ValidationError as error:
            reason = in_toml_words(str(error).partition(" - at `$")[0])
            self.fail(path[:-1], f"has a wrong option {path[-1]!r}", reason)

    def fail(self, path: _Path, what: str, hint: str) -> NoReturn:
        """Raise what is wrong with an option that stands at `path`."""
        if not path:
            msg = f"the store {self.scheme!r} {what}; {hint}"
            raise SettingsError(msg)
        msg = f"the store {self.scheme!r} {what} in {place_of(self.scheme, path)}; {hint}"
        raise SettingsError(msg)


def place_of(scheme: str, path: _Path) -> str:
    """Tell where an option within another one stands, in Python and in the settings.

    Examples
    --------
    >>> place_of("acme", ("views", "users"))
    "views={'users': {...}} ([acme.views.users] in the settings)"
    """
    inside = "{...}"
    for name in reversed(path[1:]):
        inside = f"{{{name!r}: {inside}}}"
    steps = [name if _BARE.fullmatch(name) else f'"{name}"' for name in (scheme, *path)]
    return f"{path[0]}={inside} ([{'.'.join(steps)}] in the settings)"
