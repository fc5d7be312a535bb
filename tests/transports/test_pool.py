"""httpcore's pool: it sends what httpx would send, and reads what it would read."""

from __future__ import annotations

import ssl
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import httpx
import pytest

from featkit.transports.options import Limits
from featkit.transports.pool import Pool
from tests.fakes.wire import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKED = {"Accept-Encoding": "gzip", "X-Id": "a b"}
PATIENCE = httpx.Timeout(10.0)


class Echo(BaseHTTPRequestHandler):
    """Answers with what came: its first line, its headers, its body."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        head = [self.requestline, *sorted(f"{name}={told}" for name, told in self.headers.items())]
        body = "\n".join(head).encode() + self.rfile.read(size)
        self.send_response(203)
        for value in ("one", "two"):
            self.send_header("X-Twice", value)
        self.send_header("X-Name", "Å".encode().decode("latin-1"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - names of http.server

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(Echo) as url:
        yield url


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool(Limits(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "", {"headers": {}}),
        ("GET", "/a%2Fb/ü c?q=ü&r=%20&s", {}),
        ("GET", "/a#fragment", {}),
        ("DELETE", "/a", {}),
        ("POST", "/a", {}),
        ("POST", "/a", {"content": b"{}"}),
        ("PATCH", "/a", {"content": b"\0" * 100_000}),
        ("POST", "/a", {"headers": ASKED | {"Host": "other.example"}}),
        ("POST", "/a", {"headers": ASKED | {"host": "other.example", "content-length": "0"}}),
    ],
)
def test_a_request_and_its_reply_are_those_of_httpx(address, pool, method, path, options):
    url = address + path
    asked = {"content": None, "headers": ASKED} | options
    request = httpx.Request(method, url, extensions={"timeout": PATIENCE.as_dict()}, **asked)
    with httpx.HTTPTransport() as transport:
        right = transport.handle_request(request)
        body = right.read()
    found = pool.send(pool.build_request(method, url, timeout=PATIENCE, **asked))
    assert b"".join(found.iter_raw()) == body
    found.close()
    assert found.status_code == right.status_code == 203
    assert found.headers == {**right.headers, "date": found.headers["date"]}


def test_an_error_is_that_of_httpx(pool):
    for url, kind in [
        ("ftp://127.0.0.1/", httpx.UnsupportedProtocol),
        ("http://127.0.0.1:1/", httpx.ConnectError),
    ]:
        asked = pool.build_request("GET", url, content=None, headers={}, timeout=PATIENCE)
        with pytest.raises(kind):
            pool.send(asked)
    with pytest.raises(httpx.InvalidURL):
        pool.build_request("GET", "http://a:b/", content=None, headers={}, timeout=PATIENCE)
