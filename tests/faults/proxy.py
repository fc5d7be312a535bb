"""A reverse proxy that does to replies what networks, servers and liars do to them.

It stands in front of any HTTP/1.1 server on this machine. Which calls a fault strikes is told by
number or by share; shares are drawn from a seed, one number per call in the order of their arrival.
Plain httpx succeeds in exactly the calls that no fault strikes, which a test holds it to.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from tests.faults.serving import Reply, Request, Server, read_reply, read_request

if TYPE_CHECKING:
    import ssl

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html"}


class Ended(ConnectionError):  # noqa: N818 - what happened
    """The connection was ended by a fault."""


@dataclass(eq=False)
class Connection:
    """A client's connection, with one of its own to the server behind."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    upstream: tuple[str, int]
    number: int
    behind: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise Ended

    async def forward(self, request: Request) -> Reply:
        """Ask the server behind, on a new connection where it closed the last one."""
        for _ in range(2):
            if self.behind is None:
                self.behind = await asyncio.open_connection(*self.upstream)
            reader, writer = self.behind
            try:
                writer.write(request.encode())
                return await read_reply(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                writer.close()
                self.behind = None
        raise Ended


@dataclass(frozen=True)
class Exchange:
    """One call, for a fault to spoil."""

    connection: Connection
    request: Request

    async def reply(self) -> Reply:
        return await self.connection.forward(self.request)

    async def send(self, reply: Reply) -> None:
        await self.connection.send(reply.encode())


Fault: TypeAlias = Callable[[Exchange], Awaitable[None]]


@dataclass
class Rule:
    """Which calls a fault strikes: those of `calls`, else a `share` of all."""

    fault: Fault
    name: str
    share: float = 1.0
    calls: Collection[int] | None = None
    only: str | None = None
    draws: random.Random = field(default_factory=random.Random)

    def strikes(self, number: int, method: str = "") -> bool:
        if self.only not in {None, method}:
            return False
        drawn = self.draws.random()
        return number in self.calls if self.calls is not None else drawn < self.share


@dataclass
class Seen:
    """One call: when it came and was done with (monotonic seconds), and what was done to it."""

    at: float
    connection: int
    request: Request
    fault: str
    done: float | None = None


class FaultProxy(Server):
    """The proxy.

    Parameters
    ----------
    upstream
        URL of the server behind.
    seed
        Of the draws.
    """

    def __init__(self, upstream: str, *, seed: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._seed = seed
        self._rules: list[Rule] = []
        self._at_accept: list[Rule] = []
        self.seen: list[Seen] = []

    def play(
        self,
        fault: Fault,
        *,
        share: float = 1.0,
        calls: Collection[int] | None = None,
        only: str | None = None,
    ) -> None:
        """Have a fault strike from now on; the first rule that strikes a call has it.

        Parameters
        ----------
        fault
            One of the functions of this module, or one like them.
        share
            Of the calls.
        calls
            Numbers of calls, from 0, counted from here; given, `share` does not count.
        only
            The method of the calls that it may strike; None: all.
        """
        rules = self._at_accept if fault is reset_at_accept else self._rules
        first = self.opened if fault is reset_at_accept else len(self.seen)
        struck = None if calls is None else {first + number for number in calls}
        name = getattr(fault, "func", fault).__name__
        draws = random.Random(self._seed + len(rules))
        rules.append(Rule(fault, name, share, struck, only, draws))

    def be_honest(self) -> None:
        """Forget all faults."""
        self._rules, self._at_accept = [], []

    @property
    def counts(self) -> Counter[str]:
        """How many calls each fault struck; ``""`` are those that none did."""
        return Counter(seen.fault for seen in self.seen)

    def peak(self, since: int = 0) -> int:
        """Tell how many calls were under way at once, from the one of that number on."""
        seen = self.seen[since:]
        return max(
            sum(other.at <= one.at < (other.done or one.at + 1) for other in seen) for one in seen
        )

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.opened - 1
        connection = Connection(reader, writer, self._upstream, number)
        if any(rule.strikes(number) for rule in self._at_accept):
            connection.reset()
        try:
            while True:
                request = await read_request(reader)
                await self._answer(Exchange(connection, request))
        finally:
            if connection.behind is not None:
                connection.behind[1].close()

    async def _answer(self, exchange: Exchange) -> None:
        number = len(self.seen)
        method = exchange.request.method
        struck = next((rule for rule in self._rules if rule.strikes(number, method)), None)
        name = struck.name if struck else ""
        seen = Seen(time.monotonic(), exchange.connection.number, exchange.request, name)
        self.seen.append(seen)
        try:
            if struck is not None:
                await struck.fault(exchange)
            else:
                await exchange.send(await exchange.reply())
        finally:
            seen.done = time.monotonic()


# -- faults: a function that spoils an exchange, or one that returns such a function ---------------


async def reset_at_accept(exchange: Exchange) -> None:
    """Reset connections when they are accepted: counted by connections, not by calls."""
    exchange.connection.reset()


async def reset_before(exchange: Exchange) -> None:
    """Reset the connection once the request is there."""
    exchange.connection.reset()


async def close_before(exchange: Exchange) -> None:  # noqa: ARG001 - it ends whatever was asked
    """Close the connection once the request is there."""
    raise Ended


async def reset_in_body(exchange: Exchange) -> None:
    """Reset the connection halfway through the reply."""
    whole = (await exchange.reply()).encode()
    await exchange.connection.send(whole[: len(whole) // 2 + 1])
    await asyncio.sleep(0.002)  # the first half is to arrive
    exchange.connection.reset()


async def close_in_body(exchange: Exchange) -> None:
    """Close the connection halfway through the reply."""
    whole = (await exchange.reply()).encode()
    await exchange.connection.send(whole[: len(whole) // 2 + 1])
    raise Ended


async def black_hole(exchange: Exchange) -> None:
    """Never answer."""
    await exchange.connection.reader.read()  # until the client gives up
    raise Ended


def stall(seconds: float) -> Fault:
    """Answer late."""
    return partial(_stall, seconds)


async def _stall(seconds: float, exchange: Exchange) -> None:
    await asyncio.sleep(seconds)
    await exchange.send(await exchange.reply())


def slow_header(pause: float) -> Fault:
    """Send the head of the reply byte by byte."""
    return partial(_slowly, pause, from_body=False)


def drip(pause: float) -> Fault:
    """Send the body of the reply byte by byte."""
    return partial(_slowly, pause, from_body=True)


async def _slowly(pause: float, exchange: Exchange, *, from_body: bool) -> None:
    whole = (await exchange.reply()).encode()
    start = whole.index(b"\r\n\r\n") + 4 if from_body else 0
    await exchange.connection.send(whole[:start])
    for place in range(start, len(whole)):
        await exchange.connection.send(whole[place : place + 1])
        await asyncio.sleep(pause)


def answer(reply: Reply) -> Fault:
    """Send this, whatever was asked."""
    return partial(_send, reply)


async def _send(reply: Reply, exchange: Exchange) -> None:
    await exchange.send(reply)


def status(code: int, **headers: str) -> Fault:
    """Answer with a status; headers are written with underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(Reply(status=code, headers=HTML | named, body=b"<h1>no</h1>"))


def html(code: int) -> Fault:
    """Answer with a page, as gateways do."""
    page = b"<!DOCTYPE html><html><body><h1>Sign in to the corporate gateway</h1></body></html>"
    return answer(Reply(status=code, headers=HTML, body=page))


def redirect(location: str, code: int = 302) -> Fault:
    """Send elsewhere."""
    return answer(Reply(status=code, headers={"location": location}))


def alter(change: Callable[[Reply], Reply]) -> Fault:
    """Send what a function makes of the true reply."""
    return partial(_alter, change)


async def _alter(change: Callable[[Reply], Reply], exchange: Exchange) -> None:
    await exchange.send(change(await exchange.reply()))


def body(change: Callable[[bytes], bytes]) -> Fault:
    """Change the body of the true reply; its length is told truly."""

    def changed(reply: Reply) -> Reply:
        kept = {name: own for name, own in reply.headers.items() if name != "content-length"}
        return replace(reply, headers=kept, body=change(reply.body))

    return alter(changed)


def lie(change: Callable[[Any], Any]) -> Fault:
    """Change the JSON of the true reply."""
    return body(lambda text: json.dumps(change(json.loads(text))).encode())


def headers(**added: str) -> Fault:
    """Add headers to the true reply, or change them."""
    named = {name.replace("_", "-"): value for name, value in added.items()}
    return alter(lambda reply: replace(reply, headers={**reply.headers, **named}))


truncated = body(lambda text: text[: len(text) // 2])
byte_order_mark = body(lambda text: b"\xef\xbb\xbf" + text)
latin_1 = body(lambda text: text.replace(b"car-", b"caf\xe9-"))
nul = body(lambda text: text.replace(b"car-", b"\0"))
empty = answer(Reply(headers=JSON))
no_content = answer(Reply(status=204))
wrong_type = answer(Reply(headers={"content-type": "text/plain"}, body=b"It works!"))


def wrong_length(more: int) -> Fault:
    """Tell a length that is so many bytes more than the true one, or fewer, and close."""

    async def spoil(exchange: Exchange) -> None:
        reply = await exchange.reply()
        told = {**reply.headers, "content-length": str(len(reply.body) + more)}
        await exchange.send(replace(reply, headers=told))
        raise Ended

    return spoil


def left_over(extra: bytes) -> Fault:
    """Send the true reply and more bytes behind it, on a connection that stays open."""

    async def spoil(exchange: Exchange) -> None:
        await exchange.connection.send((await exchange.reply()).encode() + extra)

    return spoil


def gzip_bomb(megabytes: int) -> Fault:
    """Answer with little that inflates to so many megabytes."""
    # many members, each of one megabyte: to make it needs little memory as well
    packed = gzip.compress(b" " * 10**6) * megabytes
    return answer(Reply(headers={**JSON, "content-encoding": "gzip"}, body=packed))


def large(megabytes: int) -> Fault:
    """Answer with so many megabytes, without telling the length, and close."""

    async def spoil(exchange: Exchange) -> None:
        await exchange.connection.send(b"HTTP/1.1 200 Said\r\n\r\n")
        for _ in range(megabytes):
            await exchange.connection.send(b" " * 10**6)
        raise Ended

    return spoil


def large_header(size: int) -> Fault:
    """Answer with a header of so many bytes."""
    return headers(x_large="x" * size)


def deep_json(depth: int) -> Fault:
    """Answer with lists in lists."""
    return answer(Reply(headers=JSON, body=b"[" * depth + b"]" * depth))
