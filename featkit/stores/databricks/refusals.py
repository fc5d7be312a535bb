"""Why Databricks refuses: an error code and a message, in the reply or inside a 200."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from featkit.auth.tokens import REFUSED
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
_SHOWN = 200  # characters of what others say
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
    if reply.status in REFUSED or code in _NO_ACCESS:
        words = _words(said) or _of_others(reply) or "the credentials were not accepted"
        return AuthError(f"{reply.status}: {words}; the credentials are {credentials}")
    if not said.reason or reply.status in _TRANSPORT:
        return None
    return named(code, f"{reply.status}: {_words(said)}")


def _words(said: Refusal) -> str:
    """Repeat what Databricks says; nothing where it says nothing."""
    code = str(said.error_code) or (said.error if said.error_description else "")
    told = ": ".join(filter(None, (code, said.reason)))
    return f"Databricks says: {told}" if said.reason else ""


def _of_others(reply: HttpReply) -> str:
    """Quote a refusal that is not in Databricks' form; nothing where there is none."""
    text = bytes(reply.body[:_SHOWN]).decode(errors="replace").strip()
    if not text:
        return ""
    return (
        f"what came is not in Databricks' form: {text!r}; is there a proxy or a firewall between, "
        "and is the host that of a workspace?"
    )


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
