"""The effects that flows yield, and what a flow is.

Store code and lookup logic do no I/O. They are generators, *flows*, that yield a description of
the I/O and are sent its result::

    def feature_view(self, name):
        text = yield Call(LocalRead(self.path.read_text), decode=parse)
        ...

What a flow yields decides what it is sent:

==========================  ===================================================================
yielded                     sent back
==========================  ===================================================================
a `Call`                    the decoded reply; a failure is raised inside the flow
a list of `Call`            a list as long, made at once: the decoded reply, or the
                            `FeatkitError` of the call that failed, so that no answer is lost
==========================  ===================================================================

`featkit.transports.drive` has the two drivers that perform them: one with threads, one in asyncio.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

Reply = TypeVar("Reply")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class LocalRead(Generic[Reply]):
    """Work on this machine that blocks: reading files, or a heavy computation.

    Attributes
    ----------
    run
        Does the work.
    what
        What is read, as it reads in an error.
    """

    run: Callable[[], Reply]
    what: str

    def __str__(self) -> str:
        return self.what


Request: TypeAlias = LocalRead[Any]
"""What a transport can send; each transport knows one class of requests."""


def _unchanged(reply: Any) -> Any:  # noqa: ANN401 - whatever the transport replies
    return reply


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One request to a store, with the way to read its reply.

    Attributes
    ----------
    request
        What to send.
    decode
        Turns the reply into the result. It runs in the worker that received the reply, so that
        decoding one reply overlaps the wait for the next.
    keys
        How many entities it asks for; progress counts them.
    """

    request: Request
    decode: Callable[[Any], Result] = _unchanged
    keys: int = 0


Effect: TypeAlias = Call[Any] | Sequence[Call[Any]]

Flow: TypeAlias = Generator[Effect, Any, Result]
