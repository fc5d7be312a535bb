"""A proxy for any protocol over TCP, which cuts replies off at a byte."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing import Self

What = Literal["reset", "close", "stall", "drip", "garble"]

_PIECE = 64 * 1024
_PAUSE = 0.05  # seconds between two bytes that drip


class WireProxy:
    """The proxy.

    Parameters
    ----------
    upstream
        Host and port of the server behind.

    Attributes
    ----------
    faults
        What happens to the next connections, each once, and after how many bytes of replies.
    connections
        How many there were.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.faults: deque[tuple[What, int]] = deque()
        self.connections = 0
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                server = socket.create_connection(self._upstream)
                self._open.append(server)
                self.connections += 1
                fault = self.faults.popleft() if self.faults else None
                for job, arguments in (
                    (self._forth, (client, server)),
                    (self._back, (client, server, fault)),
                ):
                    threading.Thread(target=job, args=arguments, daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_PIECE):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _back(
        self, client: socket.socket, server: socket.socket, fault: tuple[What, int] | None
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(_PIECE):
                if fault and passed + len(data) > fault[1]:
                    whole = data[: fault[1] - passed]
                    client.sendall(whole)
                    match fault[0]:
                        case "stall":
                            return
                        case "drip":
                            for place in range(len(whole), len(data)):
                                time.sleep(_PAUSE)
                                client.sendall(data[place : place + 1])
                            continue
                        case "garble":
                            client.sendall(b"?" * (len(data) - len(whole)))
                            continue
                        case "reset":
                            linger = struct.pack("ii", 1, 0)
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    break
                client.sendall(data)
                passed += len(data)
            client.shutdown(socket.SHUT_RD)  # wakes the other thread, which holds the socket open
            client.close()
            server.close()

    def drop(self) -> None:
        """End the connections that there are."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
        self._listener.close()
        self._accepting.join()  # it may have one more, which is to be closed as well
        for each in self._open:
            each.close()
