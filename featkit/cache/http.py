"""Replies of registries, kept by requests-cache: expiry, ETags, stale-if-error, single flight.

requests-cache is a session of `requests`; here it sends through the transport that featkit has, so
that retries, deadlines and credentials stay where they are. Credentials are added below it: it
never sees one, and cannot keep any. What tells two users apart is the namespace in the key.
"""

from __future__ import annotations

import io
import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests_cache import CachedSession, create_key
from requests_cache.backends.base import BaseCache
from urllib3.response import HTTPResponse

from featkit.calls import HttpReply
from featkit.errors import DeadlineExceeded, FeatkitError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from featkit.calls import HttpRequest
    from featkit.transports.deadline import Deadline

    Fetch = Callable[[HttpRequest], HttpReply]

# it logs each use of an old reply with a traceback, which would be printed without a handler
logging.getLogger("requests_cache").addHandler(logging.NullHandler())

_SLICE = 0.25  # seconds after which a wait for another thread looks at its deadline
_NOT_KEPT = {"content-encoding", "transfer-encoding", "content-length", "set-cookie"}
_ITS_OWN = {"Cache-Control"}  # in which requests-cache writes down what is wanted of it
_UNREACHABLE = (StoreUnavailable, DeadlineExceeded)


@dataclass(frozen=True)
class OldReply:
    """A reply that was served while the server was down: from when it is, and what failed."""

    made: datetime
    failure: FeatkitError


class MetadataCache:
    """Replies to requests for metadata.

    Parameters
    ----------
    namespace
        Hash of what must be equal for two clients to share replies.
    backend
        A cache of requests-cache, which must not unpickle; None: in memory.
    expire_after
        How long a reply is good whose server does not say.
    urls_expire_after
        The same by pattern of the URL, such as ``"*/feature_services"``; it beats what the server
        says.
    stale_if_error
        How long after that it is served while the server is down.
    """

    def __init__(
        self,
        namespace: str,
        backend: BaseCache | None = None,
        *,
        expire_after: timedelta = timedelta(minutes=5),
        urls_expire_after: Mapping[str, timedelta] | None = None,
        stale_if_error: timedelta = timedelta(hours=1),
    ) -> None:
        self._namespace = namespace
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        self._old: list[OldReply] = []
        self._adapter = _Adapter()
        self._session = CachedSession(
            backend=backend or BaseCache(),
            key_fn=self._key,
            expire_after=expire_after,
            urls_expire_after={name: each for name, each in (urls_expire_after or {}).items()},  # noqa: C416 - of wider types
            cache_control=True,
            stale_if_error=int(stale_if_error.total_seconds()),
            allowable_methods=["GET", "POST"],
            allowable_codes=[200],
        )
        self._session.trust_env = False  # no proxies and no netrc: nothing is sent from here
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)

    def answer(self, request: HttpRequest, fetch: Fetch, deadline: Deadline) -> HttpReply:
        """Answer a request from what is kept, or fetch it; of several threads one fetches.

        Parameters
        ----------
        request
            Without credentials.
        fetch
            Sends it, or the same with conditions; raises what went wrong.
        deadline
            When this caller must have an answer.
        """
        prepared = requests.Request(
            request.method, request.url, headers=dict(request.headers), data=request.body or None
        ).prepare()
        with self._alone(self._key(prepared), deadline):
            self._adapter.begin(request, fetch)
            try:
                response: Any = self._session.send(
                    prepared, allow_redirects=False, force_refresh=request.renew
                )
            except _UNREACHABLE:
                response = self._kept(prepared) if request.any_age else None
                if response is None:
                    raise
            except FeatkitError:
                self._forget(prepared)
                raise
            failed = self._adapter.failure
        if failed is not None and not isinstance(failed, _UNREACHABLE):
            self._forget(prepared)
            raise failed  # requests-cache takes any error for a server that is down
        if failed is not None:
            self._old.append(OldReply(response.created_at, failed))
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpReply(response.status_code, headers, bytearray(response.content))

    def _kept(self, prepared: requests.PreparedRequest) -> Any:  # noqa: ANN401 - a reply, or None
        cache = self._session.cache
        return cache.get_response(cache.create_key(prepared))

    def _forget(self, prepared: requests.PreparedRequest) -> None:
        """Forget a reply that the server would not give any more."""
        self._session.cache.delete(self._session.cache.create_key(prepared))

    def old_replies(self) -> list[OldReply]:
        """Return, once, the replies past their time that were served since the last question."""
        with self._lock:
            old, self._old = self._old, []
        return old

    def __len__(self) -> int:
        return sum(1 for key in self._session.cache.responses if self._is_mine(key))

    def clear(self) -> None:
        """Forget the replies of this namespace."""
        mine = [key for key in self._session.cache.responses if self._is_mine(key)]
        self._session.cache.responses.bulk_delete(mine)

    def close(self) -> None:
        """Let go of files and connections."""
        self._session.close()  # type: ignore[no-untyped-call] # of requests

    def start_anew(self) -> None:
        """Forget the locks of the process that this one was forked from."""
        self._lock, self._fetching, self._old = threading.Lock(), {}, []

    def _key(self, request: Any, **options: Any) -> str:  # noqa: ANN401 - as requests-cache calls it
        # with the headers, among which AWS names what is asked; credentials are not there yet
        options["match_headers"] = [name for name in request.headers if name not in _ITS_OWN]
        return f"{self._namespace}-{create_key(request, **options)}"

    def _is_mine(self, key: object) -> bool:
        return str(key).startswith(f"{self._namespace}-")

    @contextmanager
    def _alone(self, key: str, deadline: Deadline) -> Iterator[None]:
        """Wait until no other thread fetches the same."""
        with self._lock:
            lock = self._fetching.setdefault(key, threading.Lock())
        while not lock.acquire(timeout=_SLICE):
            deadline.left()
        try:
            yield
        finally:
            lock.release()


class _Adapter(BaseAdapter):
    """Sends for requests-cache what it wants sent; each thread has a request of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.local()

    def begin(self, request: HttpRequest, fetch: Fetch) -> None:
        """Hear what this thread asks for."""
        self._thread.request, self._thread.fetch, self._thread.failure = request, fetch, None

    @property
    def failure(self) -> FeatkitError | None:
        """What the last request of this thread failed with."""
        found: FeatkitError | None = self._thread.failure
        return found

    def send(self, request: Any, *_: object, **__: object) -> requests.Response:  # noqa: ANN401 - of requests
        """Send a request, which may have conditions by now."""
        asked: HttpRequest = self._thread.request
        conditions = {
            name: value for name, value in request.headers.items() if name.startswith("If-")
        }
        try:
            reply = self._thread.fetch(replace(asked, headers={**asked.headers, **conditions}))
        except FeatkitError as error:
            self._thread.failure = error
            raise
        return _response(request, reply)

    def close(self) -> None:
        """Do nothing: what is open is the transport's."""


def _response(request: Any, reply: HttpReply) -> requests.Response:  # noqa: ANN401 - of requests
    headers = {name: value for name, value in reply.headers.items() if name not in _NOT_KEPT}
    response = requests.Response()
    response.status_code = reply.status
    response.headers = CaseInsensitiveDict(headers)
    response.raw = HTTPResponse(
        body=io.BytesIO(bytes(reply.body)),
        headers=headers,
        status=reply.status,
        preload_content=False,
        request_url=request.url,
    )
    response.url, response.request = request.url, request
    return response
