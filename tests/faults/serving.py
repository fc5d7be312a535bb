"""A small HTTP/1.1 server on loopback, in a thread of its own; each reply is one write."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

HOST = "127.0.0.1"
_MOST = 2**20  # bytes of a head


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def encode(self) -> bytes:
        return _message(f"{self.method} {self.target} HTTP/1.1", self.headers, self.body)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is sent back; the content length is added where it is not told."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self) -> bytes:
        length = {} if self.status == 204 else {"content-length": str(len(self.body))}
        return _message(f"HTTP/1.1 {self.status} Said", length | dict(self.headers), self.body)


def _message(first: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def _read(reader: asyncio.StreamReader) -> tuple[list[str], dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first.split(" ", 2), headers, body


async def read_request(reader: asyncio.StreamReader) -> Request:
    (method, target, _), headers, body = await _read(reader)
    return Request(method=method, target=target, headers=headers, body=body)


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    (_, status, _), headers, body = await _read(reader)
    return Reply(status=int(status), headers=headers, body=body)


class Server:
    """What answers connections, as a context manager; subclasses say how, in `connected`.

    Attributes
    ----------
    url
        Where it is, from the moment that it is entered.
    opened
        How many connections were accepted.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.opened = 0
        self.url = ""
        self._tls = tls
        self._port = 0
        self._loop = loop or asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends; to return is to close it."""
        raise NotImplementedError

    @property
    def open_now(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        scheme = "http" if self._tls is None else "https"
        self.url = f"{scheme}://{HOST}:{self._port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.down(drop=True)
        self._run(self._emptied())
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def up(self) -> None:
        """Listen, again on the same port if it did before."""
        self._run(self._up())

    def down(self, *, drop: bool = False) -> None:
        """Cease to listen, so that connections are refused; `drop` ends those that are open."""
        self._run(self._down(drop=drop))

    def drop_connections(self) -> None:
        """Close the connections that are open, as a server does that recycles its workers."""
        self._run(self._drop())

    def _run(self, work: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _up(self) -> None:
        # no TLS time-out of asyncio's own, which would be counted as one of the client
        self._server = await asyncio.start_server(
            self._accepted, HOST, self._port, limit=_MOST, ssl=self._tls, backlog=512
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def _down(self, *, drop: bool) -> None:
        if self._server is not None:
            for listening in self._server.sockets:
                self._loop.remove_reader(listening.fileno())
            await asyncio.sleep(0)  # asyncio loses the sockets of those whom it just accepted else
            self._server.close()
            self._server = None
        if drop:
            await self._drop()

    async def _drop(self) -> None:
        for task, writer in list(self._open.items()):
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _emptied(self) -> None:
        """Drop connections that were just being accepted, too, until nothing is left."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await self._drop()
            await asyncio.wait(others, timeout=0.01)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError
            ):
                await self.connected(reader, writer)
        finally:
            del self._open[task]
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()


class Deaf(Server):
    """Accepts connections and never reads from them; nor has the system much room for them."""

    async def _up(self) -> None:
        await super()._up()
        assert self._server is not None
        for sock in self._server.sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG002 - as it is called
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's can
        await asyncio.sleep(60)


class Curt(Server):
    """Answers anything with 400 at once, HTTP or not."""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(Reply(status=400, body=b"what?").encode())
        await writer.drain()
