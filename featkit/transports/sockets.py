"""Connections that respect the deadline in force, for any client with httpx's API.

httpx has no way to hand its pool a network backend, hence the private names. With its own
time-outs, which are per read, a server that sends a byte now and then could hold a call for ever.
"""

from __future__ import annotations

import sys
from socket import socket
from typing import TYPE_CHECKING, Any

from featkit.transports.deadline import current

if TYPE_CHECKING:
    from collections.abc import Iterable

_SLICE = 0.25  # seconds after which a wait for bytes looks whether somebody still waits for them
_PIECE = 64 * 1024  # bytes that are sent between two looks at the deadline


def guard(client: Any) -> None:  # noqa: ANN401 - a client with httpx's API
    """Have the new connections of a client respect the deadline in force, where there is one."""
    mounted = getattr(client, "_mounts", {}).values()
    for transport in (getattr(client, "_transport", None), *mounted):
        pool: Any = getattr(transport, "_pool", None)
        inner = getattr(pool, "_network_backend", None)
        # over HTTP/2 one thread reads for others, whose deadlines are not its own
        if inner is None or isinstance(inner, Backend) or getattr(pool, "_http2", False):
            continue
        library = sys.modules[type(pool).__module__.partition(".")[0]]
        pool._network_backend = Backend(inner, library)  # noqa: SLF001 - see above


class Stream:
    """A connection that reads in slices of time, and looks at the deadline between them.

    Attributes
    ----------
    answered
        Whether anything was read since the last request was written.
    """

    def __init__(self, inner: Any, library: Any) -> None:  # noqa: ANN401 - of httpcore or its like
        self._inner = inner
        self._library = library
        self._socket = _socket_of(inner)
        self._patience: float | None = None  # of the socket; to set it is a call of the system
        self._held = b""
        self._spoilt = False
        self.answered = False

    def spoil(self) -> None:
        """Have the pool close the connection instead of using it again."""
        self._spoilt = True

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it as long as the deadline in force allows."""
        if self._held:
            self.write(b"", timeout)
        self.answered = True
        deadline = current.get()
        while deadline is not None:
            try:
                return self._receive(max_bytes, deadline.left())
            except self._library.ReadTimeout:
                continue
        self._patience = None  # what reads below sets it
        data: bytes = self._inner.read(max_bytes, timeout)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it, as long as the deadline in force allows.

        What is short is held until more comes, or nothing, which ends a request: its head and its
        body are one packet, and wake the server once.
        """
        self.answered = False
        if buffer and not self._held and len(buffer) < _PIECE:
            self._held = buffer
            return
        whole, self._held = self._held + buffer, b""
        deadline, rest = current.get(), memoryview(whole)
        if deadline is None:
            self._patience = None  # what writes below sets it
            self._inner.write(whole, timeout)
            return
        while rest:
            try:
                rest = rest[self._send(rest[:_PIECE], deadline.left()) :]
            except self._library.WriteTimeout:
                if self._socket is None:  # nobody knows how much was sent
                    raise

    def _receive(self, most: int, left: float | None) -> bytes:
        """Wait for bytes, a slice of time; as httpcore, with half the calls of the system."""
        if self._socket is None:
            data: bytes = self._inner.read(most, _slice(left))
            return data
        self._wait(_slice(left))
        try:
            return self._socket.recv(most)
        except TimeoutError as error:
            raise self._library.ReadTimeout(str(error)) from error
        except OSError as error:
            raise self._library.ReadError(str(error)) from error

    def _send(self, piece: memoryview, left: float | None) -> int:
        """Send some bytes, within a slice of time; return how many."""
        if self._socket is None:
            self._inner.write(bytes(piece), left)
            return len(piece)
        self._wait(_slice(left))
        try:
            return self._socket.send(piece)
        except TimeoutError as error:
            raise self._library.WriteTimeout(str(error)) from error
        except OSError as error:
            raise self._library.WriteError(str(error)) from error

    def _wait(self, seconds: float) -> None:
        if seconds != self._patience:
            assert self._socket is not None  # noqa: S101 - who calls it has one
            self._socket.settimeout(seconds)
            self._patience = seconds

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: Any,  # noqa: ANN401 - as httpcore has it
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Stream:
        """Encrypt what follows."""
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return Stream(inner, self._library)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        """Tell what is known of the connection."""
        if info == "is_readable" and self._spoilt:
            return True  # an idle connection with something to read is one that is to be closed
        return self._inner.get_extra_info(info)


class Backend:
    """Opens connections that are `Stream`."""

    def __init__(self, inner: Any, library: Any) -> None:  # noqa: ANN401 - of httpcore or its like
        self._inner = inner
        self._library = library

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Stream:
        """Connect over a network."""
        inner = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return Stream(inner, self._library)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Stream:
        """Connect on this machine."""
        inner = self._inner.connect_unix_socket(path, timeout, socket_options)
        return Stream(inner, self._library)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._inner.sleep(seconds)


def _slice(left: float | None) -> float:
    return _SLICE if left is None else min(left, _SLICE)


def _socket_of(inner: Any) -> socket | None:  # noqa: ANN401 - of httpcore or its like
    """Return the socket that a connection writes to as it is; None: something is between."""
    found = inner.get_extra_info("socket")
    layer = inner.get_extra_info("ssl_object")
    return found if isinstance(found, socket) and layer in (None, found) else None
