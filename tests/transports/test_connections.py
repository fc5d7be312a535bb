"""Connections of our own: which is used, how long one is kept, and when a proxy stands between."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from featkit.calls import Call, HttpReply, HttpRequest
from featkit.transports.options import Limits
from tests.faults.serving import Reply, Request, Server, read_request

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from tests.faults.proxy import FaultProxy
    from tests.faults.upstream import Upstream
    from tests.transports.conftest import Sender


class Telling(Server):
    """Answers anything with two headers of one name, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Request] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.seen.append(await read_request(reader))
            reply = Reply(headers={"X-Told": "a", "x-told": "b"}, body=b"{}")
            writer.write(reply.encode())
            await writer.drain()


@pytest.fixture
def telling() -> Iterator[Telling]:
    with Telling() as server:
        yield server


def replied(sender: Sender, url: str, **options: object) -> HttpReply:
    (reply,) = sender.run([Call(HttpRequest(url=url, **options))])  # type: ignore[arg-type]
    assert isinstance(reply, HttpReply)
    return reply


def test_an_idle_connection_is_closed_after_its_time(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    sender = connect(limits=Limits(keep_alive=timedelta(milliseconds=30)))
    for opened in (1, 2, 3):
        assert sender.one() == [1, 2, 3]
        assert proxy.opened == opened
        time.sleep(0.1)


def test_the_connection_used_last_is_used_next_and_the_others_end(
    proxy: FaultProxy, upstream: Upstream, connect: Callable[..., Sender]
) -> None:
    upstream.delay = 0.03
    sender = connect(limits=Limits(keep_alive=timedelta(milliseconds=300)))
    assert len(sender.outcomes(*([n] for n in range(8)))) == 8
    assert proxy.opened == 8
    for _ in range(10):
        assert sender.one() == [1, 2, 3]
        time.sleep(0.05)
    assert proxy.opened == 8
    assert proxy.open_now == 1


def test_each_host_has_connections_of_its_own(
    upstream: Upstream, telling: Telling, connect: Callable[..., Sender]
) -> None:
    sender = connect(upstream.url)
    for _ in range(3):
        assert sender.one() == [1, 2, 3]
        assert replied(sender, telling.url).status == 200
    assert (upstream.opened, telling.opened) == (1, 1)


def test_headers_of_one_name_are_joined(telling: Telling, connect: Callable[..., Sender]) -> None:
    assert replied(connect(telling.url), telling.url).headers["x-told"] == "a, b"


def test_a_request_says_how_long_it_is_where_it_may_have_a_body(
    telling: Telling, connect: Callable[..., Sender]
) -> None:
    sender = connect(telling.url)
    replied(sender, f"{telling.url}/a?b=c d", method="GET")
    replied(sender, telling.url, method="POST")
    replied(sender, telling.url, method="POST", body=b"x" * 200_000)
    assert [each.headers.get("content-length") for each in telling.seen] == [None, "0", "200000"]
    assert [each.target for each in telling.seen] == ["/a?b=c%20d", "/", "/"]
    assert {each.headers["host"] for each in telling.seen} == {telling.url.partition("//")[2]}
    assert telling.seen[2].body == b"x" * 200_000


def test_a_proxy_of_the_environment_is_asked(
    telling: Telling, connect: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", telling.url)
    monkeypatch.setenv("no_proxy", "")
    sender = connect("http://features.test")
    assert replied(sender, "http://features.test/x").status == 200
    assert [each.target for each in telling.seen] == ["http://features.test/x"]
