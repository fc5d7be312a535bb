"""Requests to the REST API of Vertex AI, and of BigQuery."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from featkit.calls import Call, HttpRequest
from featkit.stores.vertex.refusals import explained
from featkit.stores.vertex.registry import decode

if TYPE_CHECKING:
    from featkit.calls import Flow, HttpReply
    from featkit.errors import FeatkitError

T = TypeVar("T")

_PAGE = 1000


class Api:
    """The API of Vertex AI in a region.

    Parameters
    ----------
    url
        Where it is.
    credentials
        What the credentials are, for messages.
    """

    def __init__(self, url: str, credentials: str) -> None:
        self.url = url
        self.credentials = credentials

    def get(self, path: str, kind: type[T]) -> Call[T]:
        """Ask what there is, which seldom changes, so that a cache may answer."""
        return self.call(f"v1/{path}", kind, metadata=True)

    def call(self, path: str, kind: type[T], *, metadata: bool = False) -> Call[T]:
        """Ask for something; the reply is read as `kind`. The path may be a whole URL."""
        url = path if "://" in path else f"{self.url}/{path}"
        request = HttpRequest(url=url, metadata=metadata)
        return Call(request, decode=partial(decode, kind), explain=self.explained)

    def pages(self, path: str, kind: type[T]) -> Flow[list[T]]:
        """Ask for all pages of a list."""
        pages: list[Any] = []
        query = {"pageSize": str(_PAGE)}
        while True:
            pages.append((yield self.get(f"{path}?{urlencode(query)}", kind)))
            if not pages[-1].next_page_token:
                return pages
            query["pageToken"] = pages[-1].next_page_token

    def explained(self, reply: HttpReply) -> FeatkitError | None:
        """Read why it refuses."""
        return explained(reply, self.credentials)
