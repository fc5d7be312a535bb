"""Arrow Flight: a table goes out, a table comes back, in one exchange.

The only module that imports pyarrow.flight.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pyarrow as pa
from pyarrow import flight

from featkit.calls import FlightReply, FlightRequest
from featkit.errors import (
    AuthError,
    FeatkitError,
    ProtocolError,
    RequestRejected,
    SettingsError,
    SlowAnswer,
    StoreUnavailable,
)
from featkit.transports import bodies
from featkit.transports.base import SLICE, Exchange, OneProcess, Transport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.calls import Call
    from featkit.transports.deadline import Deadline

T = TypeVar("T")

_SHOWN = 300  # characters of what a server says
_PROCESS = OneProcess("Arrow Flight")
_REFUSED = {flight.FlightUnauthenticatedError: 401, flight.FlightUnauthorizedError: 403}


class FlightTransport(Transport[FlightRequest]):
    """Exchanges tables with Arrow Flight servers."""

    patience: ClassVar[int] = 10  # what comes back is computed there

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - those of Transport
        super().__init__(*args, **options)
        self._clients: dict[str, flight.FlightClient] = {}
        self._most = self._options.limits.reply * self.patience

    def attempt(self, call: Call[T], exchange: Exchange[FlightRequest]) -> T:
        """Exchange the tables, with a second try where the credentials may be renewed."""
        try:
            reply = self.authorized(exchange.request, exchange, self._sent)
        except (flight.FlightError, pa.ArrowException) as error:
            exchange.deadline.left()  # a wait that ended because the time was up is that
            said = _said(error)
            raise call.explain(FlightReply(500, said, None)) or _failure(error, said) from error
        exchange.arrived()
        if reply.table is None:
            said = reply.details
            hint = "has the token expired?" if reply.status == 401 else "may this account read it?"  # noqa: PLR2004 - as HTTP has it
            raise call.explain(reply) or AuthError(f"{reply.status}: {said}; {hint}")
        return call.decode(reply)

    def disconnect(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
        self._clients = {}

    def _sent(self, request: FlightRequest, exchange: Exchange[FlightRequest]) -> FlightReply:
        client, deadline = self._client(request.location), exchange.deadline
        headers = [
            (name.lower().encode(), str(value).encode()) for name, value in request.headers.items()
        ]
        options = flight.FlightCallOptions(timeout=deadline.left(), headers=headers)
        try:
            return FlightReply(200, "", _exchanged(client, request, options, deadline, self._most))
        except tuple(_REFUSED) as error:
            return FlightReply(_REFUSED[type(error)], _said(error), None)

    def _client(self, location: str) -> flight.FlightClient:
        with self._lock:
            _PROCESS.check()
            if location not in self._clients:
                try:
                    self._clients[location] = flight.FlightClient(location, **self._trust())
                except pa.ArrowException as error:
                    msg = f"{location!r} is no address of Arrow Flight, such as grpc://HOST:8815"
                    raise SettingsError(msg) from error
            return self._clients[location]

    def _trust(self) -> dict[str, bytes]:
        ca = self._options.ca
        try:
            return {"tls_root_certs": Path(ca).read_bytes()} if ca else {}
        except OSError as error:
            msg = f"ca={ca!r} cannot be read as certificates in PEM format: {error}"
            raise SettingsError(msg) from error


def _exchanged(
    client: flight.FlightClient,
    request: FlightRequest,
    options: flight.FlightCallOptions,
    deadline: Deadline,
    most: int,
) -> pa.Table:
    descriptor = flight.FlightDescriptor.for_command(request.command)
    writer, reader = client.do_exchange(descriptor, options)
    refused: list[FeatkitError] = []
    try:
        with _cancelled_when_late(reader, deadline), writer:
            writer.begin(request.table.schema)
            writer.write_table(request.table)
            writer.done_writing()
            # not read_all(), which takes an end from here for Ctrl-C, and strikes the main thread
            batches = list(_bounded(reader, most, refused))
            return pa.Table.from_batches(batches, reader.schema)
    except flight.FlightError:
        if refused:  # what it says is only that it was ended
            raise refused[0] from None
        raise
    finally:
        refused.clear()  # or the error holds itself, and the stream with it


def _bounded(
    reader: flight.FlightStreamReader, most: int, refused: list[FeatkitError]
) -> Iterator[pa.RecordBatch]:
    """Read batches until they are larger than allowed, inflated; then end the exchange.

    A batch is counted once it is there: of one that exceeds what gRPC would take, Flight only says
    that the call was cancelled.
    """
    size = 0
    for chunk in reader:
        if chunk.data is None:
            continue
        size += chunk.data.nbytes
        if size > most:
            refused.append(bodies.too_large(most))
            reader.cancel()
            raise refused[0]
        yield chunk.data


@contextmanager
def _cancelled_when_late(reader: flight.FlightStreamReader, deadline: Deadline) -> Iterator[None]:
    """End a read, which nothing else could, once nobody waits for it any more."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SLICE):
            try:
                deadline.left()
            except FeatkitError:
                reader.cancel()
                return

    threading.Thread(target=watch, name="featkit-flight", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _said(error: Exception) -> str:
    """Take from an error what the server said, without where in its code that was."""
    text = str(error).partition(". gRPC client debug context")[0]
    return text.partition(". Detail: ")[0].strip()[:_SHOWN]


def _failure(error: Exception, said: str) -> FeatkitError:
    match error:
        case flight.FlightUnavailableError() if "resolving" in said or "resolution" in said:
            return StoreUnavailable(f"the host is unknown: {said}", temporary=False, sent=False)
        case flight.FlightUnavailableError() if "handshake failed" in said:
            return StoreUnavailable(
                f"no secure connection: {said}; check the host name and the date, or name the file "
                "of its authority with connect(..., ca='ca.pem')",
                temporary=False,
                sent=False,
            )
        case flight.FlightUnavailableError() if "failed to connect" in said:
            return StoreUnavailable(f"no connection: {said}; is the server running?", sent=False)
        case flight.FlightUnavailableError() | flight.FlightCancelledError():
            return StoreUnavailable(f"the connection was lost: {said}")
        case flight.FlightTimedOutError():
            return SlowAnswer(f"no answer in time: {said}")
        case pa.ArrowNotImplementedError() if "Unimplemented" in said:
            return ProtocolError(f"the server does not exchange tables: {said}")
        case _:
            return RequestRejected(f"the server refuses the request: {said}")
