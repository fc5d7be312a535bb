"""Options with few values, checked, so that a wrong one is not taken for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


def one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raise `InputError` for a value of an option that is none of those allowed.

    Examples
    --------
    >>> one_of("expired", "drop", ("keep", "null"))
    Traceback (most recent call last):
    featkit.errors.InputError: expired='drop' is not an option; choose one of 'keep', 'null'
    """
    if value not in allowed:
        msg = f"{name}={value!r} is not an option; choose one of {', '.join(map(repr, allowed))}"
        raise InputError(msg)


def yes_or_no(**options: object) -> None:
    """Raise `InputError` for options that are neither True nor False: ``"no"`` would be a yes.

    Examples
    --------
    >>> yes_or_no(strict="no")
    Traceback (most recent call last):
    featkit.errors.InputError: strict='no' is not an option; choose one of True, False
    """
    for name, value in options.items():
        one_of(name, value, (True, False))
