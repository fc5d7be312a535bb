"""Connections that respect the deadline in force, for any client with httpx's API.

httpx has no way to hand its pool a network backend, hence the private names. With its own
time-outs, which are per read, a server that sends a byte now and then could hold a call for ever.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from featkit.transports.deadline import current

if TYPE_CHECKING:
    from collections.abc import Iterable

_SLICE = 0.25  # seconds after which a wait for bytes looks whether somebody still waits for them
_MOST = 256 * 1024  # bytes that are read at once, where they are there: half the work of 64 kB
_PIECE = 64 * 1024  # bytes that are sent between two looks at the deadline


def guard(client: Any) -> None:  # noqa: ANN401 - a client with httpx's API
    """Have the new connections of a client respect the deadline in force, where there is one."""
    mounted = getattr(client, "_mounts", {}).values()
    for transport in (getattr(client, "_transport", None), *mounted):
        pool: Any = getattr(transport, "_pool", None)
        inner = getattr(pool, "_network_backend", None)
        # over HTTP/2 one thread reads for others, whose deadlines are not its own
        if inner is None or isinstance(inner, _Backend) or getattr(pool, "_http2", False):
            continue
        library = sys.modules[type(pool).__module__.partition(".")[0]]
        pool._network_backend = _Backend(inner, library.ReadTimeout)  # noqa: SLF001 - see above


class Stream:
    """A connection that reads in slices of time, and looks at the deadline between them.

    Attributes
    ----------
    answered
        Whether anything was read since the last request was written.
    """

    def __init__(self, inner: Any, too_late: type[Exception]) -> None:  # noqa: ANN401 - of httpcore or its like
        self._inner = inner
        self._too_late = too_late
        self._spoilt = False
        self.answered = False

    def spoil(self) -> None:
        """Have the pool close the connection instead of using it again."""
        self._spoilt = True

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it as long as the deadline in force allows."""
        data: bytes
        self.answered = True
        max_bytes = max(max_bytes, _MOST)
        deadline = current.get()
        while deadline is not None:
            left = deadline.left()
            try:
                data = self._inner.read(max_bytes, _SLICE if left is None else min(left, _SLICE))
            except self._too_late:
                continue
            return data
        data = self._inner.read(max_bytes, timeout)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it, as long as the deadline in force allows."""
        self.answered = False
        deadline = current.get()
        for start in range(0, len(buffer), _PIECE):
            left = timeout if deadline is None else deadline.left()
            self._inner.write(buffer[start : start + _PIECE], left)

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
        return Stream(inner, self._too_late)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        """Tell what is known of the connection."""
        if info == "is_readable" and self._spoilt:
            return True  # an idle connection with something to read is one that is to be closed
        return self._inner.get_extra_info(info)


class _Backend:
    """Opens connections that are `Stream`."""

    def __init__(self, inner: Any, too_late: type[Exception]) -> None:  # noqa: ANN401 - of httpcore or its like
        self._inner = inner
        self._too_late = too_late

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
        return Stream(inner, self._too_late)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Stream:
        """Connect on this machine."""
        inner = self._inner.connect_unix_socket(path, timeout, socket_options)
        return Stream(inner, self._too_late)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._inner.sleep(seconds)
