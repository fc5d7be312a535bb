"""What redis-py and the operating system raise over a Redis, as errors of ours."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import hiredis
import redis

from featkit.errors import (
    AuthError,
    FeatkitError,
    ProtocolError,
    RequestRejected,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.codecs.redis_requests import RedisServer
    from featkit.transports.deadline import Deadline

_CODES: dict[type[Exception], str] = {  # what redis-py makes of codes
    redis.AuthenticationError: "WRONGPASS",
    redis.exceptions.AuthenticationWrongNumberOfArgsError: "WRONGPASS",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.BusyLoadingError: "LOADING",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.MaxConnectionsError: "BUSY",
}
_PASSING = ("MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MOVED", "ASK")


class Refused(redis.ResponseError):
    """An error that a reply said, with its code."""


class Unconnected(Exception):  # noqa: N818 - it is never seen
    """There is no connection; the cause says why."""


@contextmanager
def named(server: RedisServer, deadline: Deadline) -> Iterator[None]:
    """Turn what redis-py and the operating system raise into errors of ours."""
    try:
        yield
    except FeatkitError:
        raise
    except hiredis.ProtocolError as error:
        msg = f"the reply is no Redis protocol: {error}"
        raise ProtocolError(msg) from error
    except Unconnected as wrapper:
        deadline.left()  # a wait that ended because the time was up is that, whatever it says
        raise _failure(wrapper.__cause__, server, sent=False) from _bare(wrapper.__cause__)
    except (redis.RedisError, OSError) as error:
        deadline.left()
        raise _failure(error, server, sent=True) from _bare(error)


def _bare(error: BaseException | None) -> BaseException | None:
    """Let go of the frames that hold the password."""
    step = error
    while step is not None:
        step.__traceback__ = None
        step = step.__cause__ or step.__context__
    return error


def _failure(error: BaseException | None, server: RedisServer, *, sent: bool) -> FeatkitError:
    said = str(error) or type(error).__name__
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "")
    code = code or said.partition(" ")[0]
    match code:
        case "WRONGPASS" | "NOAUTH":
            return AuthError(f"the login is refused: {said}; check username= and password=")
        case "NOPERM":
            return AuthError(f"this user may not read: {said}; it needs +hmget (docs: permissions)")
        case "LOADING":
            return StoreUnavailable(f"the Redis is still loading its data: {said}")
        case "MOVED" | "ASK" if not server.cluster:
            return RequestRejected(
                f"it is a node of a cluster, and these keys are at another one ({said}); connect "
                "with cluster=True"
            )
        case "WRONGTYPE":
            return ProtocolError(f"at one of the keys is something else than a hash: {said}")
        case _ if code in _PASSING:
            return StoreUnavailable(f"the Redis is in trouble: {said}")
        case _ if isinstance(error, redis.ResponseError):
            return RequestRejected(f"the Redis refuses the request: {said}")
    return _lost(error, said, sent=sent)


def _lost(error: BaseException | None, said: str, *, sent: bool) -> StoreUnavailable:
    if any(isinstance(reason, ssl.SSLCertVerificationError) for reason in _reasons(error)):
        return StoreUnavailable(
            f"no secure connection: {said}; check the host name and the date, or name the file of "
            "its authority with connect(..., ca='ca.pem')",
            temporary=False,
        )
    if "Name or service not known" in said or "getaddrinfo" in said:
        return StoreUnavailable(f"the host is unknown: {said}", temporary=False, sent=False)
    if not sent:
        return StoreUnavailable(f"no connection: {said}; is the server running?", sent=False)
    return StoreUnavailable(f"the connection was lost: {said}")


def _reasons(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
