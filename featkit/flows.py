"""Flows that ask several things at the same time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from featkit.calls import Call, Flow, Joinable
from featkit.errors import FeatkitError, UnknownNameError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from featkit.calls import Effect

T = TypeVar("T")

Task: TypeAlias = "Call[T] | Flow[T]"
"""What takes one call, or several that depend on each other."""


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


def at_once(tasks: Sequence[Task[Any] | None], *, all_or_none: bool = False) -> Flow[list[Any]]:
    """Do several things side by side: what each needs next is asked for together.

    Parameters
    ----------
    tasks
        Calls and flows; None has the answer None.
    all_or_none
        Whether the first failure is raised; what goes on at the store for the others is undone.

    Returns
    -------
    list
        What each returns, or the `FeatkitError` with which it failed.

    Examples
    --------
    >>> from featkit.calls import LocalRead
    >>> def flow():
    ...     one = yield Call(LocalRead(lambda: 1, "one"))
    ...     return one + (yield Call(LocalRead(lambda: 2, "two")))
    >>> steps = at_once([Call(LocalRead(lambda: 7, "seven")), flow(), None])
    >>> first = next(steps)
    >>> len(first), len(steps.send([7, 1]))
    (2, 1)
    >>> try:
    ...     steps.send([2])
    ... except StopIteration as end:
    ...     end.value
    [7, 3, None]
    """
    answers: list[Any] = [None] * len(tasks)
    running = {n: _flow(task) for n, task in enumerate(tasks) if task is not None}
    told: dict[int, Any] = dict.fromkeys(running)
    try:
        while told:
            wanted: dict[int, Effect] = {}
            for place, reply in told.items():
                try:
                    wanted[place] = _next(running[place], reply)
                except StopIteration as end:
                    answers[place] = end.value
                except FeatkitError as error:
                    answers[place] = error
            listed = {n: [own] if isinstance(own, Call) else own for n, own in wanted.items()}
            calls = [call for own in listed.values() for call in own]
            failed = (own for own in answers if isinstance(own, FeatkitError))
            if all_or_none and (reason := next(failed, None)) is not None:
                if undoing := [call.undo for call in calls if call.undo is not None]:
                    yield undoing
                raise reason
            came = iter((yield calls) if calls else [])
            told = {n: [next(came) for _ in own] for n, own in listed.items()}
            told |= {n: told[n][0] for n, own in wanted.items() if isinstance(own, Call)}
    finally:
        for flow in running.values():
            flow.close()
    return answers


def all_at_once(tasks: Sequence[Task[T]]) -> Flow[list[T]]:
    """Do several things side by side, as `at_once` does; all of them, or none."""
    return (yield from at_once(tasks, all_or_none=True))


def _flow(task: Task[T]) -> Flow[T]:
    if not isinstance(task, Call):
        return (yield from task)
    answer: T = yield task
    return answer


def _next(flow: Flow[Any], reply: object) -> Effect:
    """Go on with a flow; that one call has failed is raised in it."""
    return flow.throw(reply) if isinstance(reply, FeatkitError) else flow.send(reply)


def parted(
    names: Iterable[str], answers: Iterable[T | FeatkitError]
) -> tuple[list[T], dict[str, FeatkitError]]:
    """Part what came from what failed, which is told by name.

    Examples
    --------
    >>> parted(["a", "b"], [1, FeatkitError("gone")])
    ([1], {'b': FeatkitError('gone')})
    """
    failed: dict[str, FeatkitError] = {}
    came: list[T] = []
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, FeatkitError):
            failed[name] = answer
        else:
            came.append(answer)
    return came, failed


def all_of(parts: Flow[tuple[list[T], Mapping[str, FeatkitError]]]) -> Flow[list[T]]:
    """Return what came; raise the first failure where there is one."""
    came, failed = yield from parts
    for error in failed.values():
        raise error
    return came


def made_once(calls: Sequence[Call[T]]) -> Flow[list[T | FeatkitError]]:
    """Make calls together, and those that can be made as one only once.

    Stores that serve several views together, as Tecton does, are asked for one of them with the
    request for all; each call still reads its own part of the reply.
    """
    groups: dict[Hashable, list[int]] = {}
    joinable = {kind: issubclass(kind, Joinable) for kind in {type(call.request) for call in calls}}
    for place, call in enumerate(calls):
        request: Any = call.request
        kind = type(request)
        same = (kind, request.alike()) if joinable[kind] else place
        groups.setdefault(same, []).append(place)
    answers: list[Any]
    if len(groups) == len(calls):
        answers = yield calls
        return answers
    shared = yield [_together([calls[place] for place in places]) for places in groups.values()]
    answers = [None] * len(calls)
    for places, answer in zip(groups.values(), shared, strict=True):
        each = answer if isinstance(answer, list) else [answer] * len(places)  # or one failure
        for place, own in zip(places, each, strict=True):
            answers[place] = own
    return answers


def _together(calls: Sequence[Call[Any]]) -> Call[list[Any]]:
    """Make one call of several; its result is the list of theirs, or of their failures."""
    if len(calls) == 1:
        return replace(calls[0], decode=lambda reply: [calls[0].decode(reply)])
    first, *others = (cast("Any", call.request) for call in calls)
    request, parts = first.joined(others)

    def decode(reply: Any) -> list[Any]:  # noqa: ANN401 - whatever the transport replies
        read = [_attempted(call, part, reply) for call, part in zip(calls, parts, strict=True)]
        if all(isinstance(each, FeatkitError) for each in read):
            raise read[0]
        return read

    return replace(calls[0], request=request, decode=decode, keys=sum(each.keys for each in calls))


def _attempted(call: Call[Any], part: Callable[[Any], Any], reply: Any) -> Any:  # noqa: ANN401 - what the call's decode returns
    try:
        return call.decode(part(reply))
    except FeatkitError as error:
        return error


def meant(names: Sequence[str], listing: Flow[Sequence[str]]) -> Flow[tuple[str, str]]:
    """Tell which of some names is not there, and what may be meant, as the end of a message.

    Parameters
    ----------
    names
        The names that were asked for, at least one of which is not there.
    listing
        Lists the names that there are. Who may not have them listed is told of the first name,
        and why nobody says what may be meant.
    """
    try:
        known = yield from listing
    except UnknownNameError:
        raise  # of the place where they would be
    except FeatkitError as error:
        return names[0], f"which there are may not be listed: {error}"
    unknown = next((name for name in names if name not in known), names[0])
    return unknown, nearest(unknown, known)
