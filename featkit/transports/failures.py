"""From what a server or a network did to the error that says so."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any, TypeVar

from featkit.errors import (
    AuthError,
    BatchTooLarge,
    FeatkitError,
    ProtocolError,
    RequestRejected,
    RowMismatch,
    SettingsError,
    SlowAnswer,
    StoreError,
    StoreUnavailable,
    ThrottledError,
)
from featkit.transports.policy import retry_after

if TYPE_CHECKING:
    from featkit.calls import Call, HttpReply

T = TypeVar("T")

_SHOWN = 80  # characters of an odd reply that an error shows
_SAID = 200  # of a refusal in JSON, which may say why


def refusal(call: Call[Any], reply: HttpReply) -> FeatkitError:
    """Make the error of a reply that says that the request failed."""
    if reply.status == 413:  # noqa: PLR2004 - the size, whatever the store says of it
        return failure(reply)
    try:
        return call.explain(reply) or failure(reply)
    except RecursionError:  # it is nested too deeply to be an explanation
        return failure(reply)


def decoded(call: Call[T], reply: HttpReply) -> T:
    """Read a reply; say what came instead where it cannot be read."""
    try:
        return call.decode(reply)
    except RecursionError as error:
        msg = f"the reply is nested too deeply; {_excerpt(reply)}"
        raise ProtocolError(msg) from error
    except ProtocolError as error:
        if not isinstance(error, RowMismatch):
            error.args = (f"{error}; {_excerpt(reply)}",)
        raise


def failure(reply: HttpReply) -> StoreError:
    """Make the error of a status outside of 2xx, where the store itself does not say more."""
    status, said = reply.status, _excerpt(reply, _SAID)
    wait = retry_after(reply.headers.get("retry-after"))
    later = "" if wait is None else f", and to come back in {wait:,.0f} s"
    match status:
        case 401 | 403:
            hint = "has the token expired?" if status == 401 else "may this account read it?"  # noqa: PLR2004 - the statuses of the case
            return AuthError(f"{status}: the credentials were not accepted; {hint} {said}")
        case 413:
            return BatchTooLarge(f"413: the request is too large; {said}")
        case 429:
            return ThrottledError(
                f"429: the store asks to slow down{later}; {said}", retry_after=wait
            )
        case 408 | 500 | 502 | 503 | 504:
            return StoreUnavailable(
                f"{status}: the store is in trouble{later}; {said}", retry_after=wait
            )
        case _ if 300 <= status < 400:  # noqa: PLR2004 - what HTTP calls a redirect
            return RequestRejected(
                f"{status}: a redirect to {_place(reply)}, which is not followed, so that no "
                "credential leaves; write the final address in the target"
            )
        case _:
            return RequestRejected(f"{status}: the store refuses the request; {said}")


def _place(reply: HttpReply) -> str:
    """Tell where a redirect leads, without what may be a secret."""
    place = reply.headers.get("location", "nowhere").partition("?")[0].partition("#")[0]
    scheme, separator, rest = place.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"[:_SHOWN]


def _excerpt(reply: HttpReply, json: int = _SHOWN) -> str:
    kind = reply.headers.get("content-type", "no content type")[:_SHOWN]
    most = json if "json" in kind else _SHOWN
    text = bytes(reply.body[: 4 * most]).decode("utf-8", errors="replace")[:most]
    return f"it says ({kind}): {text!r}" if text else f"it says nothing ({kind})"


_TLS_BREAKS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""What TLS says when the connection below it is lost, which may be better the next time."""


def unsent(error: Exception, library: Any) -> FeatkitError:  # noqa: ANN401 - a module
    """Turn an error of the HTTP library into ours."""
    reason = _reason(error)
    said = str(error) or type(error).__name__
    if isinstance(reason, ssl.SSLError) and not isinstance(reason, _TLS_BREAKS):
        return StoreUnavailable(
            f"no secure connection: {said}; check the host name and the date, or name the file of "
            "its authority with connect(..., ca='ca.pem')",
            temporary=False,
        )
    if isinstance(reason, socket.gaierror):
        return StoreUnavailable(f"the host is unknown: {said}", temporary=False, sent=False)
    if isinstance(error, (library.ConnectError, library.ConnectTimeout, library.PoolTimeout)):
        return StoreUnavailable(f"no connection: {said}; is the server running?", sent=False)
    if isinstance(error, library.TimeoutException):
        return SlowAnswer(f"no answer in time: {said}")
    if isinstance(error, library.UnsupportedProtocol):
        return SettingsError(f"the address must begin with http:// or https://: {said}")
    if isinstance(error, library.RemoteProtocolError) and not _broke_off(said):
        return ProtocolError(f"the reply is no HTTP: {said}")
    if isinstance(error, library.LocalProtocolError):
        return RequestRejected(f"the request cannot be sent: {said}")
    if isinstance(error, library.TransportError):
        return StoreUnavailable(f"the connection was lost: {said}")
    return RequestRejected(f"the request cannot be sent: {said}")


def _reason(error: BaseException) -> OSError | None:
    """Find what the operating system said, and let go of the frames that hold the request."""
    step: BaseException | None = error
    while step is not None:
        step.__traceback__ = None
        if isinstance(step, OSError):
            return step
        step = step.__cause__ or step.__context__
    return None


def _broke_off(said: str) -> bool:
    """Tell a connection that was closed too early from a reply that is no HTTP."""
    return "disconnected" in said or "closed" in said
