"""Flows whose requests no cache answers, such as those that check a store's health."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from featkit.calls import Call, HttpRequest
from featkit.errors import FeatkitError

if TYPE_CHECKING:
    from featkit.calls import Effect, Flow

Result = TypeVar("Result")


def fresh(flow: Flow[Result]) -> Flow[Result]:
    """Run a flow so that no cache answers its requests.

    Examples
    --------
    >>> from featkit.calls import Call, HttpRequest
    >>> def flow():
    ...     return (yield Call(HttpRequest(url="http://localhost/", metadata=True)))
    >>> next(fresh(flow())).request.metadata
    False
    """
    with closing(flow):
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = yield _fresh(effect)
                except FeatkitError as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            result: Result = stop.value
            return result


def _fresh(effect: Effect) -> Effect:
    if not isinstance(effect, Call):
        return [_fresh_call(call) for call in effect]
    return _fresh_call(effect)


def _fresh_call(call: Call[Any]) -> Call[Any]:
    if isinstance(call.request, HttpRequest):
        return replace(call, request=replace(call.request, metadata=False))
    return call
