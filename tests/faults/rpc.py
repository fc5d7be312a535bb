"""Servers of gRPC and of Arrow Flight that send back what they get: what lies behind the faults."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow as pa
from pyarrow import flight

from featkit.calls import Call, FlightRequest, GrpcRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST = "127.0.0.1"


def _never(_: int) -> bool:
    return False


@dataclass
class Behind:
    """A server behind a proxy.

    Attributes
    ----------
    address
        Host and port.
    trouble
        Which calls, by number from 0, it refuses because it is in trouble.
    delay
        Seconds that a call takes.
    asked
        How many calls there were.
    """

    address: tuple[str, int] = (HOST, 0)
    trouble: Callable[[int], bool] = _never
    delay: float = 0.0
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _hurry: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def troubled(self) -> bool:
        """Count a call; tell whether it is refused."""
        with self._lock:
            self.asked += 1
            number = next(self._numbers)
        self._hurry.wait(self.delay)
        return self.trouble(number)

    def hurry(self) -> None:
        """Answer at once from now on, whoever waits among them."""
        self._hurry.set()


class _Echo(grpc.GenericRpcHandler):
    def __init__(self, behind: Behind) -> None:
        self._behind = behind

    def service(self, details: Any) -> Any:  # noqa: ARG002 - as grpc calls it
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, message: bytes, context: Any) -> bytes:
        if self._behind.troubled():
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return message


@contextmanager
def grpc_server(port: int = 0) -> Iterator[Behind]:
    """Serve gRPC."""
    behind = Behind()
    with ThreadPoolExecutor(20) as pool:
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((_Echo(behind),))
        behind.address = HOST, server.add_insecure_port(f"{HOST}:{port}")
        server.start()
        try:
            yield behind
        finally:
            server.stop(None).wait()


class _Flight(flight.FlightServerBase):
    def __init__(self, behind: Behind, port: int) -> None:
        self._behind = behind
        super().__init__(f"grpc://{HOST}:{port}")

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:  # noqa: ARG002 - as Flight calls it
        table = reader.read_all()
        if self._behind.troubled():
            msg = "not now"
            raise flight.FlightUnavailableError(msg)
        writer.begin(table.schema)
        writer.write_table(table)


@contextmanager
def flight_server(port: int = 0) -> Iterator[Behind]:
    """Serve Arrow Flight."""
    behind = Behind()
    with _Flight(behind, port) as server:
        behind.address = HOST, server.port
        yield behind


def grpc_call(address: str, number: int, size: int = 1000) -> Call[int]:
    """Ask a gRPC server for what it is sent; the result is the number, checked against the rest."""
    body = b"%d " % number + b"x" * size

    def decode(reply: Any) -> int:
        assert reply.body == body
        return int(reply.body.split()[0])

    return Call(GrpcRequest(address=address, method="/echo.Echo/Echo", body=body), decode=decode)


def flight_call(address: str, number: int, size: int = 1000) -> Call[int]:
    """Ask a Flight server for what it is sent; the result is the number, checked as well."""
    table = pa.table({"number": [number] * (size // 8)})

    def decode(reply: Any) -> int:
        assert reply.table.equals(table)
        return int(reply.table["number"][0].as_py())

    request = FlightRequest(location=f"grpc://{address}", command=b"", table=table, what="a table")
    return Call(request, decode=decode)
