"""Messages in JSON that are read whole, into structs that say what has to be there."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from featkit.errors import ProtocolError
from featkit.structs import known

T = TypeVar("T")


def read(kind: type[T], body: bytes | bytearray | msgspec.Raw, sender: str) -> T:
    """Read a message.

    Parameters
    ----------
    kind
        What it has to be.
    body
        Its text.
    sender
        Who sent it, for the message.

    Raises
    ------
    ProtocolError
        It is none of that kind.

    Examples
    --------
    >>> read(dict[str, int], b'{"rows": 3}', "a store")
    {'rows': 3}
    >>> read(dict[str, int], b"3", "a store")
    Traceback (most recent call last):
    featkit.errors.ProtocolError: the reply is not what a store sends: Expected `object`, got `int`
    """
    try:
        return msgspec.json.decode(body, type=known(kind))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        del body  # it may repeat a credential, and tracebacks can show what variables hold
        msg = f"the reply is not what {sender} sends: {error}"
        raise ProtocolError(msg) from error


_BARE = re.compile(rb"([:\[,]\s*)(NaN|-?Infinity)(?=\s*[,\]}])")


def with_words(body: bytes | bytearray) -> bytes:
    """Put floats that JSON has no numbers for, as Python's own writer leaves them, into quotes.

    Where it is a string that holds such a word between commas, no valid JSON comes of it: the
    string ends before the word, and something else than a comma follows.

    Examples
    --------
    >>> with_words(b'[{"score": NaN, "low": -Infinity}]')
    b'[{"score": "NaN", "low": "-Infinity"}]'
    """
    return _BARE.sub(rb'\1"\2"', body)


def read_if(kind: type[T], body: bytes | bytearray | msgspec.Raw) -> T | None:
    """Read a message, such as a refusal, that may be something else; None: it is.

    Examples
    --------
    >>> read_if(dict[str, int], b"<html>") is None
    True
    """
    try:
        return msgspec.json.decode(body, type=known(kind))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
