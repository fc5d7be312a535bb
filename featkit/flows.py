"""Flows that several stores share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from featkit.errors import FeatkitError

if TYPE_CHECKING:
    from featkit.calls import Call, Flow

T = TypeVar("T")


def together(calls: list[Call[T]], *, but: type[FeatkitError] | tuple[()] = ()) -> Flow[list[T]]:
    """Ask everything at once; raise the first failure, leave out those of a kind."""
    if not calls:
        return []
    outcomes: list[Any] = yield calls
    kept = [outcome for outcome in outcomes if not isinstance(outcome, but)]
    for outcome in kept:
        if isinstance(outcome, FeatkitError):
            raise outcome
    return kept
