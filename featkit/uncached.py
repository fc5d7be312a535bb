"""Flows whose requests no cache answers, or that it answers with whatever it has."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from featkit.calls import Call, HttpRequest
from featkit.errors import FeatkitError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from featkit.calls import Effect, Flow

Result = TypeVar("Result")


def fresh(flow: Flow[Result]) -> Flow[Result]:
    """Run a flow so that no cache answers its requests, as where a store's health is checked.

    Examples
    --------
    >>> from featkit.calls import Call, HttpRequest
    >>> def flow():
    ...     return (yield Call(HttpRequest(url="http://localhost/", metadata=True)))
    >>> next(fresh(flow())).request.metadata
    False
    """
    return (yield from _with_requests(flow, metadata=False))


def of_any_age(flow: Flow[Result]) -> Flow[Result]:
    """Run a flow so that a cache answers for a store that is down, however old what it has is.

    Examples
    --------
    >>> from featkit.calls import Call, HttpRequest
    >>> def flow():
    ...     return (yield Call(HttpRequest(url="http://localhost/", metadata=True)))
    >>> next(of_any_age(flow())).request.any_age
    True
    """
    return (yield from _with_requests(flow, any_age=True))


def renewed(flow: Flow[Result]) -> Flow[Result]:
    """Run a flow so that its requests are sent, and a cache keeps the replies from now on.

    Examples
    --------
    >>> from featkit.calls import Call, HttpRequest
    >>> def flow():
    ...     return (yield Call(HttpRequest(url="http://localhost/", metadata=True)))
    >>> next(renewed(flow())).request.renew
    True
    """
    return (yield from _with_requests(flow, renew=True))


def _with_requests(flow: Flow[Result], **changes: Any) -> Flow[Result]:  # noqa: ANN401 - of fields
    with closing(flow):
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = yield _changed(effect, changes)
                except FeatkitError as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            result: Result = stop.value
            return result


def _changed(effect: Effect, changes: Mapping[str, Any]) -> Effect:
    if not isinstance(effect, Call):
        return [_changed_call(call, changes) for call in effect]
    return _changed_call(effect, changes)


def _changed_call(call: Call[Any], changes: Mapping[str, Any]) -> Call[Any]:
    if isinstance(call.request, HttpRequest):
        return replace(call, request=replace(call.request, **changes))
    return call
