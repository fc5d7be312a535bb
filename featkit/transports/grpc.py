"""gRPC: one channel per server, messages as bytes.

The only module that imports grpc. What the messages mean is the stores' business, so that neither
protobuf nor generated code is needed. The channel's own retries are switched off.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from featkit.calls import GrpcReply, GrpcRequest, HttpRequest
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    FeatkitError,
    MissingExtraError,
    ProtocolError,
    RequestRejected,
    SettingsError,
    SlowAnswer,
    StoreUnavailable,
    ThrottledError,
)
from featkit.transports.base import SLICE, Exchange, OneProcess, Transport
from featkit.transports.http import HttpTransport

try:
    import grpc
except ImportError as error:
    raise MissingExtraError("grpc", "servers that speak gRPC") from error

if TYPE_CHECKING:
    from featkit.calls import Call, HttpReply
    from featkit.transports.deadline import Deadline
    from featkit.transports.options import Limits

T = TypeVar("T")

_SHOWN = 300  # characters of what a server says


class GrpcTransport(Transport[GrpcRequest]):
    """Sends calls over gRPC."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - those of Transport
        super().__init__(*args, **options)
        self._channels: dict[tuple[str, bool], Any] = {}
        self._http = HttpTransport(self._options)  # for the credentials

    def attempt(self, call: Call[T], exchange: Exchange[GrpcRequest]) -> T:
        """Send the message, with a second try where the credentials may be renewed."""
        reply = self.authorized(exchange.request, exchange, self._sent)
        assert isinstance(reply, GrpcReply)  # noqa: S101 - the last request was the exchange's own
        exchange.arrived()
        if reply.code != "OK":
            raise call.explain(reply) or _failure(reply)
        return call.decode(reply)

    def disconnect(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            channel.close()
        self._channels = {}
        self._http.disconnect()

    def _sent(
        self, request: GrpcRequest | HttpRequest, exchange: Exchange[Any]
    ) -> GrpcReply | HttpReply:
        """Send the message; or what an `Auth` asks for its token, which is over HTTP."""
        if isinstance(request, HttpRequest):
            return self._http.exchanged(request, exchange)
        channel, deadline = self._channel(request), exchange.deadline
        metadata = [(name.lower(), str(value)) for name, value in request.headers.items()]
        how: dict[str, Any] = {"timeout": deadline.left(), "metadata": metadata}
        came: list[bytes] = []
        try:  # bytes in, bytes out
            if request.streams:
                stream = channel.unary_stream(request.method)(request.body, **how)
                _collect(stream, came, deadline, self._options.limits.reply)
            else:
                under_way = channel.unary_unary(request.method).future(request.body, **how)
                came.append(_awaited(under_way, deadline))
            return GrpcReply("OK", "", b"".join(came))
        except SlowAnswer:
            self._forget(request, channel)
            raise
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._forget(request, channel)
            exchange.deadline.left()  # a wait that ended because the time was up is that
            return GrpcReply(error.code().name, str(error.details() or ""), b"".join(came))

    def _forget(self, request: GrpcRequest, channel: Any) -> None:  # noqa: ANN401 - grpc has no types
        """Have the next call use another connection: this one may be dead, which nobody tells.

        It is not closed, since others may be waiting on it.
        """
        with self._lock:
            if self._channels.get((request.address, request.tls)) is channel:
                del self._channels[request.address, request.tls]

    def _channel(self, request: GrpcRequest) -> Any:  # noqa: ANN401 - grpc has no types
        with self._lock:
            _PROCESS.check()
            name = request.address, request.tls
            if name not in self._channels:
                options = _options(self._options.limits)
                self._channels[name] = (
                    grpc.secure_channel(
                        request.address, _credentials(self._options.ca), options=options
                    )
                    if request.tls
                    else grpc.insecure_channel(request.address, options=options)
                )
            return self._channels[name]


_PROCESS = OneProcess("gRPC")


def _awaited(under_way: Any, deadline: Deadline) -> bytes:  # noqa: ANN401 - grpc has no types
    """Wait for an answer, and give it up when nobody else waits for it."""
    try:
        while True:
            deadline.left()
            try:
                body: bytes = under_way.result(timeout=SLICE)
            except grpc.FutureTimeoutError:
                continue
            return body
    except FeatkitError:
        under_way.cancel()
        raise
    except grpc.FutureCancelledError as error:  # the channel was closed
        deadline.left()
        msg = "the connection was closed"
        raise StoreUnavailable(msg) from error


def _collect(stream: Any, came: list[bytes], deadline: Deadline, most: int) -> None:  # noqa: ANN401 - grpc has no types
    """Read the messages of a stream to its end; those before it breaks are there all the same."""
    size = 0
    with deadline.ending(stream.cancel):
        for message in stream:
            came.append(message)
            size += len(message)
            if size > most:
                stream.cancel()
                raise _too_large(f"more than {most:,} bytes")
    deadline.left()


def _options(limits: Limits) -> list[tuple[str, int]]:
    soon = int(limits.connect.total_seconds() * 1000)
    return [
        ("grpc.max_receive_message_length", limits.reply),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),  # else a channel shares what another one learnt
        ("grpc.initial_reconnect_backoff_ms", min(100, soon)),
        ("grpc.min_reconnect_backoff_ms", soon),  # and how long it may take to connect
        ("grpc.max_reconnect_backoff_ms", soon),
    ]


def _credentials(ca: str | None) -> Any:  # noqa: ANN401 - grpc has no types
    try:
        roots = Path(ca).read_bytes() if ca else None
    except OSError as error:
        msg = f"ca={ca!r} cannot be read as certificates in PEM format: {error}"
        raise SettingsError(msg) from error
    return grpc.ssl_channel_credentials(roots)


def _failure(reply: GrpcReply) -> FeatkitError:
    """Make the error of a status, where the store itself does not say more."""
    said = f"{reply.code}: {reply.details[:_SHOWN]}"
    match reply.code:
        case "UNAVAILABLE":
            return _unavailable(reply.details, said)
        case "RESOURCE_EXHAUSTED":
            return _exhausted(reply.details, said)
        case "UNAUTHENTICATED":
            return AuthError(f"{said}; has the token expired?")
        case "PERMISSION_DENIED":
            return AuthError(f"{said}; may this account read it?")
        case "DEADLINE_EXCEEDED":
            return SlowAnswer(f"no answer in time: {said}")
        case "ABORTED" | "CANCELLED" | "INTERNAL" | "DATA_LOSS":
            return StoreUnavailable(f"the store is in trouble: {said}")
        case "UNIMPLEMENTED":
            return ProtocolError(f"the server does not know the method: {said}")
        case _:
            return RequestRejected(f"the store refuses the request: {said}")


def _unavailable(details: str, said: str) -> StoreUnavailable:
    if "resolving" in details:
        return StoreUnavailable(f"the host is unknown: {said}", temporary=False, sent=False)
    if "handshake failed" in details:
        return StoreUnavailable(
            f"no secure connection: {said}; check the host name and the date, or name the file of "
            "its authority with connect(..., ca='ca.pem')",
            temporary=False,
            sent=False,
        )
    if details.startswith("failed to connect"):
        return StoreUnavailable(f"no connection: {said}; is the server running?", sent=False)
    return StoreUnavailable(f"the connection was lost: {said}")


def _exhausted(details: str, said: str) -> FeatkitError:
    if "larger than max" not in details:
        return ThrottledError(f"the store asks to slow down: {said}")
    return _too_large(said)


def _too_large(said: str) -> BatchTooLarge:
    return BatchTooLarge(
        f"the message, or its answer, is too large: {said}; allow larger answers with "
        "connect(..., limits=featkit.Limits(reply=...))"
    )
