"""Why a Feast server refuses: five shapes of body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from featkit.errors import AuthError, FeatkitError, RequestRejected, UnknownNameError

if TYPE_CHECKING:
    from featkit.calls import GrpcReply, HttpReply

_NO_ACCESS = (401, 403)
_TROUBLE = (408, 429, 502, 503, 504)


def explained(reply: HttpReply) -> FeatkitError | None:
    """Read why a Feast server refuses; None: it does not say."""
    kind, reason = _reason(reply)
    if reason is None:
        return None
    message = f"{reply.status}: Feast says: {reason}"
    if reply.status in _NO_ACCESS or "Permission" in kind:
        return AuthError(message)
    if "NotFound" in kind or "DoesNotExist" in kind:
        return UnknownNameError(message)
    if reply.status in _TROUBLE:
        return None
    return RequestRejected(message)


def _reason(reply: HttpReply) -> tuple[str, str | None]:
    """Find the kind of the error, where it is named, and the reason."""
    try:
        said = msgspec.json.decode(reply.body)
        if isinstance(said, str) and said.startswith("{"):
            said = msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", None
    match said:
        case str(reason) | {"error": str(reason)}:
            return "", reason
        case {"class": str(kind), "message": str(reason)}:
            return kind, reason
        case {"detail": str(reason), **rest}:
            return str(rest.get("error_type", "")), reason
        case {"detail": [{"msg": str(reason), "loc": place}, *_]}:
            return "", f"{reason} at {place}"
        case _:
            return "", None


def explained_status(reply: GrpcReply) -> FeatkitError | None:
    """Read why Feast's gRPC server refuses; None: it does not say.

    It says ``UNKNOWN`` for whatever its code raised, most of which are mistakes of the caller.
    """
    if reply.code != "UNKNOWN":
        return None
    reason = reply.details.removeprefix("Exception calling application: ")
    message = f"Feast says: {reason}"
    if "ermission" in reason:
        return AuthError(message)
    return RequestRejected(message)
