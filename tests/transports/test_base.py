"""What a transport gets from `Transport`, shown by one that does no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from featkit import calls
from featkit.calls import Call
from featkit.errors import (
    ClosedError,
    FeatkitError,
    ProtocolError,
    StoreUnavailable,
    ThrottledError,
)
from featkit.transports.base import Exchange, Transport
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, Transports, drive
from featkit.transports.options import Retry, TransportOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENT = TransportOptions(retry=Retry(attempts=3, base=timedelta(milliseconds=1)))


@dataclass(frozen=True)
class Echo:
    """A request that is answered with what its function returns, try by try."""

    answer: Callable[[Exchange[Any]], Any]
    host: str = "here"
    idempotent: bool = True

    transport: ClassVar[str] = f"{__name__}:EchoTransport"

    def __str__(self) -> str:
        return f"ECHO {self.host}"


class EchoTransport(Transport[Echo]):
    """Answers by itself, and remembers what it was told."""

    made: ClassVar[list[EchoTransport]] = []

    def __init__(self, options: TransportOptions, *, parent: EchoTransport | None = None) -> None:
        super().__init__(options, parent=parent)
        self.parent = parent
        self.disconnected = 0
        self.made.append(self)

    def attempt(self, call: Call[Any], exchange: Exchange[Echo]) -> Any:
        return call.decode(exchange.request.answer(exchange))

    def disconnect(self) -> None:
        self.disconnected += 1


@pytest.fixture
def transports() -> Iterator[Transports]:
    EchoTransport.made.clear()
    made = Transports(PATIENT)
    yield made
    made.close()


def run(transports: Transports, *requests: Echo) -> list[Any]:
    def flow() -> Iterator[Any]:
        return (yield [Call(request) for request in requests])

    return drive(flow(), transports, Deadline(timedelta(seconds=5)), Silent())


def one(transports: Transports, request: Echo) -> Any:
    (outcome,) = run(transports, request)
    if isinstance(outcome, FeatkitError):
        raise outcome
    return outcome


@dataclass
class Failing:
    """Raises each of the errors once, then answers."""

    errors: list[Exception]
    tries: int = 0
    dropped: list[int] = field(default_factory=list)

    def __call__(self, exchange: Exchange[Any]) -> str:
        self.tries += 1
        tried = self.tries
        exchange.drop_connection = lambda: self.dropped.append(tried)
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def test_the_transport_that_a_request_names_sends_it_and_is_made_once(transports):
    assert run(transports, *(Echo(lambda _, n=n: n) for n in range(20))) == list(range(20))
    assert len(EchoTransport.made) == 1


def test_the_transports_that_requests_of_featkit_name_exist():
    named = [
        kind.transport
        for kind in vars(calls).values()
        if isinstance(kind, type) and isinstance(getattr(kind, "transport", None), str)
    ]
    assert named
    assert all(issubclass(resolve_name(name), Transport) for name in named)


def test_what_may_pass_is_tried_again(transports):
    failing = Failing([StoreUnavailable("no"), StoreUnavailable("no")])
    assert one(transports, Echo(failing)) == "answer"
    assert failing.tries == 3


def test_what_is_not_idempotent_is_not_sent_twice(transports):
    failing = Failing([StoreUnavailable("lost")])
    with pytest.raises(StoreUnavailable, match=r"^ECHO here \(1 attempt, .* s\): lost$"):
        one(transports, Echo(failing, idempotent=False))


def test_the_connection_of_an_answer_that_cannot_be_read_is_dropped(transports):
    failing = Failing([ProtocolError("odd"), StoreUnavailable("no")])
    assert one(transports, Echo(failing)) == "answer"
    assert failing.dropped == [1]


def test_an_overloaded_host_is_asked_less_and_other_hosts_as_before(transports):
    slowly = StoreUnavailable("slowly", retry_after=0.001)
    one(transports, Echo(Failing([ThrottledError("slowly"), slowly])))
    limits = [
        one(transports, Echo(lambda exchange: exchange.host.concurrency.limit, host=host))
        for host in ("here", "there")
    ]
    assert limits[0] < limits[1] == PATIENT.limits.connections


def test_secrets_are_hidden_in_messages(transports):
    def tells(exchange: Exchange[Any]) -> None:
        exchange.secrets |= {"sesame", "sesame-open"}
        raise StoreUnavailable("not with sesame-open nor sesame", temporary=False)

    with pytest.raises(StoreUnavailable, match=r"not with \*\*\* nor \*\*\*$"):
        one(transports, Echo(tells))


def test_closing_disconnects_and_refuses_what_comes_later(transports):
    assert one(transports, Echo(Failing([]))) == "answer"
    transports.close()
    assert EchoTransport.made[0].disconnected == 1
    with pytest.raises(ClosedError):
        EchoTransport.made[0].send(
            Call(late := Echo(Failing([]))), late, Deadline(timedelta(seconds=1))
        )


def test_a_forked_process_has_a_transport_of_its_own_that_keeps_the_parents(transports):
    assert one(transports, Echo(Failing([]))) == "answer"
    transports.start_anew()
    assert one(transports, Echo(Failing([]))) == "answer"
    parent, child = EchoTransport.made
    assert child.parent is parent
    transports.close()
    assert (parent.disconnected, child.disconnected) == (0, 1)
