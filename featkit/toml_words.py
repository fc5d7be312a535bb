"""What msgspec says of types, in the words of TOML, for those who write it."""

from __future__ import annotations

import re

_TYPES = re.compile(r"(Expected|got) `([^`]+)`")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_WORDS = {
    "str": "a string",
    "Secret": "a string",
    "int": "an integer",
    "float": "a float",
    "bool": "a boolean",
    "object": "a table",
    "array": "an array",
    "datetime": "a date with a time",
    "date": "a date",
    "time": "a time",
}


def in_toml_words(said: str) -> str:
    """Say what msgspec said as TOML calls it; null, which TOML does not have, is left out.

    Examples
    --------
    >>> in_toml_words("Expected `str | array | null`, got `object`")
    'expected a string or an array, found a table'
    >>> in_toml_words("Object missing required field `source`")
    "'source' is missing"
    """
    if missing := _MISSING.fullmatch(said):
        return f"{missing[1]!r} is missing"
    return _TYPES.sub(_renamed, said)


def _renamed(found: re.Match[str]) -> str:
    verb = "expected" if found[1] == "Expected" else "found"
    kinds = (kind for kind in found[2].split(" | ") if kind != "null")
    return f"{verb} {' or '.join(_WORDS.get(kind, f'`{kind}`') for kind in kinds)}"
