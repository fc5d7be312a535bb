"""Why Databricks refuses: an error code and a message, in the reply or inside a 200."""

from __future__ import annotations

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
    from featkit.calls import HttpReply

_UNKNOWN = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"}
_NO_ACCESS = {"PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_TOKEN", "CUSTOMER_UNAUTHORIZED"}
_THROTTLED = {"REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "RATE_LIMITED"}
_TROUBLE = {"TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "WORKSPACE_TEMPORARILY_UNAVAILABLE"}
_TOO_LARGE = {"MAX_REQUEST_SIZE_EXCEEDED", "REQUEST_TOO_LARGE"}
_TRANSPORT = (408, 429, 500, 502, 503, 504)  # what is tried again, and told by the status


class Refusal(msgspec.Struct, frozen=True):
    """What the workspace says of a failure."""

    error_code: str | int = ""
    message: str = ""
    error: str = ""
    error_description: str = ""

    @property
    def reason(self) -> str:
        """The reason in words."""
        return self.message or self.error_description or self.error


def explained(reply: HttpReply, credentials: str) -> FeatkitError | None:
    """Read why the workspace refuses; None: it does not say.

    Parameters
    ----------
    reply
        A reply that is no success.
    credentials
        Where the credentials come from, for the message.
    """
    said = json_messages.read_if(Refusal, reply.body) or Refusal()
    code = str(said.error_code)
    if reply.status == 401 or code in _NO_ACCESS or reply.status == 403:  # noqa: PLR2004 - what HTTP calls these
        reason = said.reason or "the credentials were not accepted"
        return AuthError(
            f"{reply.status}: Databricks says: {code or said.error}: {reason}; the credentials are "
            f"{credentials}"
        )
    if not said.reason or reply.status in _TRANSPORT:
        return None
    return named(code, f"{reply.status}: Databricks says: {code}: {said.reason}")


def named(code: str, message: str) -> FeatkitError:
    """Make the error of an error code, as a reply or a statement has it."""
    if code in _NO_ACCESS:
        return AuthError(message)
    if code in _THROTTLED:
        return ThrottledError(message)
    if code in _TROUBLE:
        return StoreUnavailable(message)
    if code in _TOO_LARGE:
        return BatchTooLarge(message)
    if code in _UNKNOWN or code.endswith(("_DOES_NOT_EXIST", "_NOT_FOUND")):
        return UnknownNameError(message)
    return RequestRejected(message)
