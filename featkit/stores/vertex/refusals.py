"""Why Google's APIs refuse: a status with a name, a message, and sometimes a reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from featkit.codecs import json_messages
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    FeatkitError,
    RequestRejected,
    StoreUnavailable,
    ThrottledError,
    UnknownNameError,
)

if TYPE_CHECKING:
    from featkit.calls import GrpcReply, HttpReply

_MANY = r"(too many|at most|exceed|limit|maximum)"
_TOO_MANY = re.compile(rf"{_MANY}.*keys|keys.*{_MANY}", re.IGNORECASE)
_NO_ACCESS, _REFUSED = (401, 403), ("UNAUTHENTICATED", "PERMISSION_DENIED")
_LIMITS = ("rateLimitExceeded", "jobRateLimitExceeded")  # 403 or 400, though they pass
_TROUBLE = ("backendError", "jobBackendError", "jobInternalError", "tableUnavailable")  # 400
_TRANSPORT = (408, 429, 500, 502, 503, 504)  # what is tried again, and told by the status


class _Reason(msgspec.Struct, frozen=True):
    reason: str = ""


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""
    status: str = ""
    errors: list[_Reason] = []

    @property
    def reason(self) -> str:
        """BigQuery's own word for it, which tells more than the status."""
        return self.errors[0].reason if self.errors else ""


class _Refusal(msgspec.Struct, frozen=True):
    error: _Error = _Error()


def explained(reply: HttpReply, credentials: str) -> FeatkitError | None:
    """Read why an API refuses; None: it does not say.

    Parameters
    ----------
    reply
        A reply that is no success.
    credentials
        What the credentials are, for the message.
    """
    said = (json_messages.read_if(_Refusal, reply.body) or _Refusal()).error
    if reply.status in _NO_ACCESS and not said.message:
        why = "Google gives no reason; may they read this project, and does no proxy stand between?"
        return AuthError(f"{reply.status}: {why} The credentials are {credentials}")
    if not said.message or reply.status in _TRANSPORT:
        return None
    message = f"{reply.status}: Google says: {said.status or said.reason}: {said.message}"
    if said.reason in _LIMITS:
        return ThrottledError(message)
    if said.reason in _TROUBLE:
        return StoreUnavailable(message)
    if said.reason == "quotaExceeded":  # of a day, or of bytes: to wait some seconds is no use
        return RequestRejected(message)
    if reply.status in _NO_ACCESS:
        return AuthError(f"{message}; the credentials are {credentials}")
    if said.status == "NOT_FOUND":
        return UnknownNameError(message)
    return RequestRejected(message)


def check_not_found(reply: HttpReply) -> None:
    """Raise `RequestRejected` where it is not Google's API that says that something is not there.

    Proxies, and addresses at which nothing of the kind is served, answer with a 404 of their own.
    """
    said = (json_messages.read_if(_Refusal, reply.body) or _Refusal()).error
    if said.status != "NOT_FOUND":
        msg = (
            f"{reply.status}, but not as an online store says that it does not know an entity: is "
            "this its address, and does no proxy stand between?"
        )
        raise RequestRejected(msg)


def refused(reply: GrpcReply, credentials: str) -> FeatkitError | None:
    """Read why a stream is refused; None: its status says enough.

    How many keys a stream may ask for is not documented; where it says that they are too many,
    fewer are asked for.

    Parameters
    ----------
    reply
        A reply that is no success.
    credentials
        What the credentials are, for the message.
    """
    if reply.code in _REFUSED:
        said = f"{reply.code}: Google says: {reply.details}"
        return AuthError(f"{said}; the credentials are {credentials}")
    if reply.code == "NOT_FOUND":
        return UnknownNameError(f"Google says: {reply.details}")
    if reply.code == "INVALID_ARGUMENT" and _TOO_MANY.search(reply.details):
        return BatchTooLarge(f"Google says: {reply.details}")
    return None
