"""How a store is reached: options that connecting knows and the transports obey."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from featkit.calls import Auth, HttpReply, HttpRequest
    from featkit.transports.deadline import Deadline


class Kept(Protocol):
    """Replies that were fetched before."""

    def answer(
        self,
        request: HttpRequest,
        fetch: Callable[[HttpRequest], HttpReply],
        deadline: Deadline,
    ) -> HttpReply:
        """Answer a request, without credentials, from what is kept, or fetch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a failed request is sent again.

    Attributes
    ----------
    attempts
        Requests for one call at the most, the first among them.
    base
        The first wait is random between nothing and this; each further one doubles.
    longest
        No wait of our own is longer.
    reconnect
        How long a server that cannot be reached is tried again: little for a person who waits,
        more to ride out a restart.
    """

    attempts: int = 8
    base: timedelta = timedelta(milliseconds=25)
    longest: timedelta = timedelta(seconds=2)
    reconnect: timedelta = timedelta(milliseconds=700)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a connection to a store may use.

    Attributes
    ----------
    connections
        Requests at once.
    keep_alive
        How long an idle connection stays open: as long as a person thinks.
    connect
        How long it may take to connect: with what comes before and after, less than a second.
    patience
        How long one request may take with its retries, where the call has no timeout of its own;
        ten times as long for the history of a training set, which the store has to compute.
    answer
        How long the store may take to answer one request. Then it is sent once more, and after
        that in halves, of which the store may bear each.
    reply
        Bytes of a reply at the most, inflated; ten times as many for the history of a training set.
    """

    connections: int = 8
    keep_alive: timedelta = timedelta(seconds=60)
    connect: timedelta = timedelta(milliseconds=850)
    patience: timedelta = timedelta(seconds=60)
    answer: timedelta = timedelta(seconds=30)
    reply: int = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """How a store is reached, whatever the transport.

    Attributes
    ----------
    auth
        Adds the credentials.
    ca
        File of certificates to trust instead of the usual ones.
    client
        A client with httpx's API to use instead of one of our own; it is not closed.
    retry, limits
        See `Retry` and `Limits`.
    metadata
        Answers requests for metadata from what was fetched before; None: nothing does.
    """

    auth: Auth | None = None
    ca: str | None = None
    client: Any = None
    retry: Retry = field(default_factory=Retry)
    limits: Limits = field(default_factory=Limits)
    metadata: Kept | None = None
