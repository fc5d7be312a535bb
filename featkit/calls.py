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

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import Field, dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Protocol,
    TypeAlias,
    TypeVar,
    runtime_checkable,
)

from featkit.waiting import Wait

if TYPE_CHECKING:
    import pyarrow as pa

    from featkit.errors import FeatkitError

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
    threaded
        Whether polars does it with its threads, which a forked process does not have.
    """

    run: Callable[[], Reply]
    what: str
    threaded: bool = False

    def __str__(self) -> str:
        return self.what


class RemoteRequest(Protocol):
    """What every request to a server tells, whatever it is sent over.

    As text it says what is asked of whom, as it reads in an error, without credentials.
    """

    @property
    def transport(self) -> str:
        """The class that sends it, as ``"module:Class"``: imported when it is first needed."""

    @property
    def host(self) -> str:
        """Whom it is sent to; what is learnt of a host counts for all requests to it."""

    @property
    def idempotent(self) -> bool:
        """Whether it may be sent again when its fate is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request over HTTP.

    Attributes
    ----------
    url
        Absolute, without credentials.
    method, headers, body
        As HTTP has them; an `Auth` adds the credentials.
    idempotent
        Whether it may be sent again when its fate is unknown.
    answers
        Statuses that are answers, though HTTP takes them for failures.
    metadata
        Whether it asks what the store holds, which seldom changes, so that a cache may answer.
    any_age
        Whether a cache may do so with what it has, however old, while the store is down.
    renew
        Whether a cache may not, but is to keep the reply.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    idempotent: bool = True
    answers: frozenset[int] = frozenset()
    metadata: bool = False
    any_age: bool = False
    renew: bool = False

    transport: ClassVar[str] = "featkit.transports.http:HttpTransport"

    @property
    def host(self) -> str:
        """The host and its port."""
        return self.url.partition("://")[2].partition("/")[0]

    def alike(self) -> Hashable:
        """Return what is sent but for the headers."""
        return self.method, self.url, self.body

    def joined(
        self, others: Sequence[HttpRequest]
    ) -> tuple[HttpRequest, list[Callable[[Any], Any]]]:
        """Return the request itself, whose reply is for all."""
        return self, [_unchanged] * (1 + len(others))

    def __str__(self) -> str:
        scheme, _, place = self.url.partition("?")[0].rpartition("://")
        host, slash, path = place.partition("/")
        return f"{self.method} {scheme}://{host.rpartition('@')[2]}{slash}{path}"

    def __repr__(self) -> str:
        # without the query, the headers and the body: links are signed there, and secrets sent
        return f"<{type(self).__name__} {self}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequests:
    """Requests over HTTP, sent one after the other and read together.

    For stores that answer for one entity at a time: what is common to many answers is done once.

    Attributes
    ----------
    requests
        At least one, all to one host. Each is tried again by itself.
    read
        Reads each reply as it comes; the call's ``decode`` is given the list of what it returns.
    """

    requests: tuple[HttpRequest, ...]
    read: Callable[[HttpReply], Any]

    transport: ClassVar[str] = HttpRequest.transport

    @property
    def host(self) -> str:
        """The host of all."""
        return self.requests[0].host

    @property
    def idempotent(self) -> bool:
        """Whether all may be sent again."""
        return all(request.idempotent for request in self.requests)

    def __str__(self) -> str:
        return str(self.requests[0])


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back over HTTP.

    Attributes
    ----------
    status
        The status code.
    headers
        By lower-case name.
    body
        Without content coding.
    """

    status: int
    headers: Mapping[str, str]
    body: bytearray


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcRequest:
    """A call of a method that takes one message and returns one, or a stream of them, over gRPC.

    Attributes
    ----------
    address
        Host and port.
    method
        ``/SERVICE/METHOD``.
    body
        The message, as it is written.
    headers
        Metadata by lower-case name; an `Auth` adds the credentials.
    tls
        Whether what is sent is encrypted.
    idempotent
        Whether it may be sent again when its fate is unknown.
    streams
        Whether the answer is a stream of messages.
    """

    address: str
    method: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
    idempotent: bool = True
    streams: bool = False

    transport: ClassVar[str] = "featkit.transports.grpc:GrpcTransport"

    @property
    def host(self) -> str:
        """The address."""
        return self.address

    def __str__(self) -> str:
        return f"{'grpcs' if self.tls else 'grpc'}://{self.address}{self.method}"


@dataclass(frozen=True, slots=True)
class GrpcReply:
    """What came back over gRPC.

    Attributes
    ----------
    code
        The name of the status, ``"OK"`` where all went well.
    details
        What the server says of it.
    body
        The message; those of a stream one after the other, which to protobuf is one message whose
        repeated fields hold all of theirs. Of a stream that broke, those that came before.
    """

    code: str
    details: str
    body: bytes

    @property
    def broke(self) -> bool:
        """Whether it is a stream that ended too soon, of which some messages had come."""
        return bool(self.body) and self.code in _PASSING

    @property
    def status(self) -> int:
        """The status as HTTP has it, where there is one of the same meaning; else 500."""
        return {"OK": 200, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}.get(self.code, 500)


_PASSING = frozenset(
    {"ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
)  # statuses with which a stream breaks that may go well the next time


@dataclass(frozen=True, slots=True, kw_only=True)
class FlightRequest:
    """A table that is sent to an Arrow Flight server, which answers with another one.

    Attributes
    ----------
    location
        ``grpc://HOST:PORT``, or ``grpc+tls://HOST:PORT``.
    command
        What is to be done with the table, in the server's words.
    table
        An Arrow table.
    what
        What is asked, as it reads in an error.
    headers
        Metadata by lower-case name; an `Auth` adds the credentials.
    idempotent
        Whether it may be sent again when its fate is unknown.
    """

    location: str
    command: bytes
    table: pa.Table
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotent: bool = True

    transport: ClassVar[str] = "featkit.transports.flight:FlightTransport"

    @property
    def host(self) -> str:
        """The location."""
        return self.location

    def __str__(self) -> str:
        return f"{self.location} {self.what}"


@dataclass(frozen=True, slots=True)
class FlightReply:
    """What came back from an Arrow Flight server.

    Attributes
    ----------
    status
        As HTTP has it.
    details
        What the server says of it, where it failed.
    table
        The Arrow table; None where it failed.
    """

    status: int
    details: str
    table: pa.Table | None


class HasStatus(Protocol):
    """A reply with a status as HTTP has it."""

    @property
    def status(self) -> int:
        """The status code."""


class HasHeaders(Protocol):
    """A request, a dataclass, whose headers can carry credentials."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def headers(self) -> Mapping[str, str]:
        """By name."""


SignedT = TypeVar("SignedT", bound=HasHeaders)


class Auth(Protocol):
    """What adds credentials to requests, without I/O of its own.

    It may have an attribute ``identity``: text that differs between users, and is hashed, so that
    those with the same one share what they keep in a cache that outlives the client. Without it,
    nobody does.
    """

    def auth_flow(self, request: SignedT) -> Generator[SignedT, HasStatus, None]:
        """Yield the request with credentials; look at the reply; yield once more to try anew."""


Request: TypeAlias = LocalRead[Any] | Wait | RemoteRequest
"""What can be asked for; each transport knows one class of requests."""


def _unchanged(reply: Any) -> Any:  # noqa: ANN401 - whatever the transport replies
    return reply


def _no_explanation(reply: Any) -> FeatkitError | None:  # noqa: ANN401, ARG001 - it knows no store
    return None


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
    explain
        Reads a reply whose status says that it failed, where the store tells why; None leaves it
        to the status.
    kind
        What tells calls alike, whose speeds can be compared: no more of them run at once than make
        the store faster. None: they need not be compared.
    undo
        What is sent where nobody waits for this call any more, since it was interrupted or its time
        is up: it ends what goes on at the store meanwhile. None: nothing does.
    """

    request: Request
    decode: Callable[[Any], Result] = _unchanged
    keys: int = 0
    explain: Callable[[Any], FeatkitError | None] = _no_explanation
    kind: Hashable = None
    undo: Call[Any] | None = None


Effect: TypeAlias = Call[Any] | Sequence[Call[Any]]

Flow: TypeAlias = Generator[Effect, Any, Result]


@runtime_checkable
class Joinable(Protocol):
    """A request that may be made as one with others of its class."""

    def alike(self) -> Hashable:
        """Return what requests have in common that can be made as one."""

    def joined(self, others: Sequence[Any]) -> tuple[RemoteRequest, list[Callable[[Any], Any]]]:
        """Return one request for this and others, and what takes each one's part of the reply."""
