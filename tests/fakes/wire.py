"""How fakes speak HTTP: threads, header and body in one write, connections that stay open."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True)
class Asked:
    """A request as it came; names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def parts(self) -> list[str]:
        """The path, cut at its slashes, each part decoded."""
        return [unquote(part) for part in self.path.strip("/").split("/")]


@dataclass(frozen=True)
class Answer(Exception):  # noqa: N818 - it is raised where that is shorter, and is no error
    """What a fake answers; a body that is no bytes is sent as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body."""
        if isinstance(self.body, bytes):
            return dict(self.headers), self.body
        text = json.dumps(self.body, ensure_ascii=False).encode()
        return {"content-type": "application/json", **self.headers}, text


_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def ask(method: str, url: str, **options: Any) -> httpx.Response:
    """Send a request to a fake, without reading the certificates of all authorities before."""
    return httpx.request(method, url, verify=_NOBODY, **options)


@contextmanager
def served(answer: Callable[[Asked], Answer]) -> Iterator[str]:
    """Serve what answers requests, and give its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # header and body in one write
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            asked = Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query, keep_blank_values=True)),
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers.get("content-length") or 0)),
            )
            try:
                said = answer(asked)
            except Answer as raised:
                said = raised
            headers, body = said.encoded()
            self.send_response(said.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer requests in threads; give the address."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256  # the default of 5 resets clients that come at once

    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
