"""Whether a view is there of which an online store knows no entity that was asked for.

Over REST it says the same 404 of both: a view that is gone would pass for one without entities, for
as long as a cache keeps its description.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from featkit.errors import FeatkitError, UnknownNameError
from featkit.uncached import renewed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from featkit.calls import Call, Flow
    from featkit.stores.base import OnlineRead

NOTHING = b"null"
"""Stands for the answer about an entity that the store does not know."""


def heard(
    reads: Sequence[OnlineRead], calls: Sequence[Call[Any]]
) -> tuple[list[Call[Any]], set[str]]:
    """Note of which views any entity is known, by name, once the calls are made."""
    known: set[str] = set()
    noting = [
        replace(call, decode=partial(_noted, known, read.view.name, call.decode))
        for read, call in zip(reads, calls, strict=True)
    ]
    return noting, known


def _noted(
    known: set[str], view: str, decode: Callable[[Any], Any], bodies: Sequence[bytes]
) -> object:
    if any(body != NOTHING for body in bodies):
        known.add(view)
    return decode(bodies)


def checked(
    reads: Sequence[OnlineRead],
    outcomes: Sequence[Any],
    known: set[str],
    look: Callable[[str], Flow[Any]],
) -> Flow[list[Any]]:
    """Look whether views are there of which nothing is known; those that are not have failed.

    Parameters
    ----------
    reads, outcomes
        The questions, and what came.
    known
        The views of which an entity is known.
    look
        Asks for a view by name; raises `UnknownNameError` where there is none.
    """
    silent = {
        read.view.name
        for read, outcome in zip(reads, outcomes, strict=True)
        if not isinstance(outcome, FeatkitError)
    } - known
    gone: dict[str, FeatkitError] = {}
    for name in sorted(silent):
        try:
            yield from renewed(look(name))
        except UnknownNameError as error:
            gone[name] = error
        except FeatkitError:  # nobody may say so: it was there
            continue
    return [
        gone.get(read.view.name, outcome) for read, outcome in zip(reads, outcomes, strict=True)
    ]
