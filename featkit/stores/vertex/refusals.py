"""Why Google's APIs refuse: a status with a name, a message, and sometimes a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from featkit.errors import AuthError, FeatkitError, RequestRejected, UnknownNameError

if TYPE_CHECKING:
    from featkit.calls import HttpReply

_NO_ACCESS = (401, 403)
_TRANSPORT = (408, 429, 500, 502, 503, 504)  # what is tried again, and told by the status


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""
    status: str = ""


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
    try:
        said = msgspec.json.decode(reply.body, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not said.message or reply.status in _TRANSPORT:
        return None
    message = f"{reply.status}: Google says: {said.status}: {said.message}"
    if reply.status in _NO_ACCESS:
        return AuthError(f"{message}; the credentials are {credentials}")
    if said.status == "NOT_FOUND":
        return UnknownNameError(message)
    return RequestRejected(message)
