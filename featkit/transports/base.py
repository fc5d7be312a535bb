"""What every transport does alike: retries, one deadline, closing, forking, no secrets said.

How to add a transport
----------------------
1. Describe its request in `featkit.calls`, or beside the store where only one store speaks it: a
   frozen dataclass with what `RemoteRequest` asks for, without any I/O. Its ``transport`` names
   the class of step 2, which is imported when the first such request is sent.
2. Write ``featkit/transports/NAME.py``, the only module that imports the library, with a subclass
   of `Transport`: `Transport.attempt` sends a request once, `Transport.disconnect` closes what is
   open. A call that `attempt` makes must end soon after ``exchange.deadline`` does: give the
   library the seconds that are left, and where it cannot be woken wait in slices of `SLICE`. Once
   the reply is there, before it is decoded, call ``exchange.arrived``.
3. Turn every error of the library into one of `featkit.errors`; which one decides whether it is
   tried again (`featkit.transports.policy`): `StoreUnavailable` with ``sent=False`` where there
   was no connection, `ThrottledError`, `BatchTooLarge`, `ProtocolError`, `AuthError`.
4. Put whatever must not be shown into ``exchange.secrets``; messages are freed of it.
"""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import stamina

from featkit.calls import RemoteRequest
from featkit.errors import (
    FeatkitError,
    NotSupportedError,
    ProtocolError,
    StoreUnavailable,
    ThrottledError,
)
from featkit.transports.deadline import in_force
from featkit.transports.policy import Attempts, Budget, Concurrency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from featkit.calls import Call, HasStatus, SignedT
    from featkit.transports.deadline import Deadline
    from featkit.transports.options import TransportOptions

T = TypeVar("T")
AnswerT = TypeVar("AnswerT", bound="HasStatus")
RequestT = TypeVar("RequestT", bound=RemoteRequest)

SLICE = 0.25  # seconds after which a wait that nothing can end looks whether anybody still waits

_OPEN = {"x-goog-user-project"}  # added with credentials, and known to who reads messages
_SHORTEST_SECRET = 8  # characters; to hide shorter ones would hide words

# without a handler of its own every retry would print a line where logging is not set up
logging.getLogger("stamina").addHandler(logging.NullHandler())


@dataclass(slots=True)
class Host:
    """What is learnt of a host: how much it bears."""

    concurrency: Concurrency
    budget: Budget = field(default_factory=Budget)


def _nothing() -> None:
    pass


@dataclass(slots=True, eq=False)
class Exchange(Generic[RequestT]):
    """One call under way, and what is known of it.

    Attributes
    ----------
    request
        What is sent.
    whole
        When it must be done, with all tries.
    deadline
        When this try must be done; in force meanwhile (`featkit.transports.deadline.current`).
    secrets
        What no message may hold; a transport adds to it.
    drop_connection
        What a transport does with the connection of the last reply when that cannot be trusted.
    arrived
        What a transport calls once the reply is there, so that the store can be asked for the next
        one while this one is decoded.
    """

    request: RequestT
    host: Host
    attempts: Attempts
    whole: Deadline
    deadline: Deadline
    secrets: set[str] = field(default_factory=set, repr=False)
    drop_connection: Callable[[], None] = _nothing
    arrived: Callable[[], None] = _nothing

    def hidden(self) -> list[str]:
        """List the secrets in the order in which they must be replaced."""
        return sorted(self.secrets, key=len, reverse=True)

    def hide_secrets(self, error: FeatkitError) -> None:
        """Hide secrets in a message, before anybody logs it."""
        text = str(error)
        for secret in self.hidden():
            text = text.replace(secret, "***")
        error.args = (text,)

    def tell(self, error: FeatkitError) -> None:
        """Say in the message what was asked, how often and for how long."""
        made = self.attempts.made
        tries = f"{made} attempt{'s' * (made != 1)}, {self.whole.elapsed:.1f} s"
        error.args = (f"{self.request} ({tries}): {error}",)


class Transport(ABC, Generic[RequestT]):
    """Sends requests of one class; used by all threads of a process at once.

    Parameters
    ----------
    options
        How.
    parent
        The transport of the process that this one was forked from. It is kept, so that nothing in
        this process closes its sockets.
    """

    patience: ClassVar[int] = 1
    """How many times as long as usual it is waited for."""

    ahead: ClassVar[int] = 1
    """How many calls of one kind run at once before it is known whether that makes them faster."""

    def __init__(self, options: TransportOptions, *, parent: Self | None = None) -> None:
        self._options = options
        self._parent = parent
        self._hosts: dict[str, Host] = {}
        self._running: set[Exchange[RequestT]] = set()
        self._closed: FeatkitError | None = None
        self._lock = threading.RLock()  # a garbage collection within it may close another one

    @abstractmethod
    def attempt(self, call: Call[T], exchange: Exchange[RequestT]) -> T:
        """Send the request of an exchange once, and decode the answer with the call.

        Raises
        ------
        FeatkitError
            Nothing else, but for what ``call.decode`` raises.
        """

    @abstractmethod
    def disconnect(self) -> None:
        """Close what is open, unless it is the caller's; nothing runs, and the lock is held."""

    def in_child(self) -> Self:
        """Return the transport to use in a process that was just forked from this one's.

        Locks may have been held in the fork, so it takes none.
        """
        return type(self)(self._options, parent=self)

    def send(self, call: Call[T], request: RequestT, deadline: Deadline) -> T:
        """Send a request until it is answered or there is no point, and decode the answer.

        Raises
        ------
        StoreError
            With what was asked, how often and for how long; the cause is kept.
        """
        retry, patience = self._options.retry, self._options.limits.patience
        part = deadline.within(patience * self.patience + retry.reconnect)
        host = self._host(request)
        attempts = Attempts(retry, host.budget, part, idempotent=request.idempotent)
        exchange = Exchange(request, host, attempts, whole=part, deadline=part)
        try:
            with self._under_way(exchange):
                # the waits are not stamina's, which nothing could end
                for attempt in stamina.retry_context(
                    on=attempts.again, attempts=None, timeout=None, wait_initial=0, wait_jitter=0
                ):
                    with attempt:
                        attempts.begin()
                        return self._once(call, exchange)
        except FeatkitError as error:
            exchange.tell(error)
            raise
        msg = "a retry loop ended without result"  # stamina returns or raises
        raise AssertionError(msg)

    def authorized(
        self,
        request: SignedT,
        exchange: Exchange[Any],
        send: Callable[[SignedT, Exchange[Any]], AnswerT],
    ) -> AnswerT:
        """Send with the credentials of the store, where it has any; once more if they are renewed.

        For transports whose requests have headers.

        Parameters
        ----------
        request
            What to sign.
        exchange
            Learns the credentials as secrets.
        send
            Sends a request; its reply has a ``status`` as HTTP has it.
        """
        if self._options.auth is None:
            return send(request, exchange)
        # closed at once where sending fails: it may hold a lock while it asks for a token
        with closing(self._options.auth.auth_flow(request)) as flow:
            wanted = next(flow)
            while True:
                exchange.secrets |= _added(wanted.headers, request.headers)
                reply = send(wanted, exchange)
                try:
                    wanted = flow.send(reply)
                except StopIteration:
                    return reply

    def close(self, reason: FeatkitError) -> None:
        """End what runs with an error, and disconnect."""
        with self._lock:
            self._closed = reason
            for exchange in self._running:
                exchange.whole.abandon(reason)
            self._disconnect_when_idle()

    def at_once(self, request: RequestT) -> int:  # noqa: ARG002 - some transports look at it
        """Tell how many requests the host of this one may get at once."""
        return self._options.limits.connections

    def _host(self, request: RequestT) -> Host:
        with self._lock:
            if request.host not in self._hosts:
                self._hosts[request.host] = Host(Concurrency(self.at_once(request), self.ahead))
            return self._hosts[request.host]

    @contextmanager
    def _under_way(self, exchange: Exchange[RequestT]) -> Iterator[None]:
        with self._lock:
            if self._closed is not None:
                exchange.whole.abandon(self._closed)
            self._running.add(exchange)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(exchange)
                self._disconnect_when_idle()

    def _once(self, call: Call[T], exchange: Exchange[RequestT]) -> T:
        host = exchange.host
        with host.concurrency.slot(exchange.whole, call.kind) as slot:
            exchange.drop_connection, exchange.arrived = _nothing, slot.free
            exchange.deadline = exchange.whole.of_one_try(
                self._options.limits.answer * self.patience
            )
            try:
                with in_force(exchange.deadline):
                    result = self.attempt(call, exchange)
            except FeatkitError as error:
                exchange.hide_secrets(error)
                if isinstance(error, ProtocolError):
                    exchange.drop_connection()
                elif _asks_to_slow_down(error):
                    host.concurrency.throttled()
                raise
        host.concurrency.learn(slot, call.keys)
        host.concurrency.succeeded()
        host.budget.succeeded()
        return result

    def _disconnect_when_idle(self) -> None:
        # a socket that is closed while a thread reads from it may be another one by then
        if self._closed is not None and not self._running:
            self.disconnect()


def _asks_to_slow_down(error: FeatkitError) -> bool:
    return isinstance(error, ThrottledError) or (
        isinstance(error, StoreUnavailable) and error.retry_after is not None
    )


class OneProcess:
    """What a library that cannot live through a fork was used in.

    Parameters
    ----------
    library
        Its name, for the error.
    """

    def __init__(self, library: str) -> None:
        self._library = library
        self._first: int | None = None

    def check(self) -> None:
        """Raise `NotSupportedError` where it was used in the process that this one is a fork of."""
        self._first = self._first or os.getpid()
        if self._first != os.getpid():
            msg = (
                f"{self._library} was used before this process was forked, and waits for ever in "
                "the new one; start processes with multiprocessing.get_context('spawn') or "
                "'forkserver'"
            )
            raise NotSupportedError(msg)


def _added(signed: Mapping[str, str], before: Mapping[str, str]) -> set[str]:
    """Find the credentials in what an `Auth` added to headers."""
    added = {
        value for name, value in signed.items() if before.get(name) != value and name not in _OPEN
    }
    words = {word for value in added for word in (value, *value.split())}
    return {str(word) for word in words if len(word) >= _SHORTEST_SECRET}
