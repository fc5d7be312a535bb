"""Requests to the REST API of a workspace."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from featkit.calls import Call, HttpRequest
from featkit.codecs import json_messages
from featkit.stores.databricks.refusals import explained

if TYPE_CHECKING:
    from featkit.calls import HttpReply
    from featkit.errors import FeatkitError
    from featkit.stores.databricks.credentials import WorkspaceAuth

T = TypeVar("T")


class Workspace:
    """A workspace, as its API is asked.

    Parameters
    ----------
    auth
        Knows the host, and where the credentials come from.
    """

    def __init__(self, auth: WorkspaceAuth) -> None:
        self.auth = auth
        self.host = auth.host

    def get(self, path: str, kind: type[T]) -> Call[T]:
        """Ask for something; the reply is read as `kind`."""
        return self._get(HttpRequest(url=self.host + path), kind)

    def registered(self, path: str, kind: type[T]) -> Call[T]:
        """Ask what there is, which seldom changes, so that a cache may answer."""
        return self._get(HttpRequest(url=self.host + path, metadata=True), kind)

    def _get(self, request: HttpRequest, kind: type[T]) -> Call[T]:
        return Call(request, decode=partial(decoded, kind), explain=self.explained)

    def post(self, path: str, body: object, kind: type[T], *, idempotent: bool = True) -> Call[T]:
        """Send something as JSON; the reply is read as `kind`."""
        request = HttpRequest(
            url=self.host + path,
            method="POST",
            headers={"Content-Type": "application/json"},
            body=json.dumps(body).encode(),
            idempotent=idempotent,
        )
        return Call(request, decode=partial(decoded, kind), explain=self.explained)

    def explained(self, reply: HttpReply) -> FeatkitError | None:
        """Read why the workspace refuses."""
        return explained(reply, self.auth.origin)


def decoded(kind: type[T], reply: HttpReply) -> T:
    """Read an answer of the workspace; raise `ProtocolError` where it is none."""
    return json_messages.read(kind, reply.body, "Databricks")
