"""OAuth 2.0: tokens that are asked for over HTTP, kept, and renewed once they are refused."""

from __future__ import annotations

import base64
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import msgspec

from featkit.auth.tokens import REFUSED, Hidden, signed
from featkit.calls import HttpRequest
from featkit.errors import AuthError, ProtocolError, StoreUnavailable
from featkit.structs import known

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from featkit.calls import HasStatus, HttpReply, SignedT
    from featkit.settings import Secret

_TROUBLE = 500
_THROTTLED = 429


class _Token(msgspec.Struct):
    access_token: Annotated[str, msgspec.Meta(min_length=1)]

    def __repr__(self) -> str:
        return "<_Token>"


class _Refusal(msgspec.Struct):
    error: str = "no reason"
    error_description: str = ""


class TokenAuth(ABC):
    """Signs requests with a bearer token that costs requests of its own.

    All threads share one token: one of them asks for it while the others wait, and one asks anew
    when it has been refused.
    """

    def __init__(self) -> None:
        self._known: str | None = None
        self._lock = threading.Lock()

    def auth_flow(self, request: SignedT) -> Generator[Any, Any, None]:
        """Sign the request; where the token is refused, once more with another one."""
        known = yield from self.token()
        reply: HasStatus = yield self.sign(request, known)
        if reply.status in REFUSED:
            yield self.sign(request, (yield from self.token(instead_of=known)))

    def sign(self, request: SignedT, token: str) -> SignedT:
        """Add a token to a request."""
        return signed(request, token)

    def token(self, *, instead_of: str | None = None) -> Generator[HttpRequest, HttpReply, str]:
        """Tell the token, unless the known one is that which was refused."""
        with self._lock:  # released also when the flow is closed because a request failed
            # not whether it is equal: that another call was given the same one again, it knows
            if self._known is None or self._known is instead_of:
                self._known = Hidden((yield from self.fetch()))
            return self._known

    @abstractmethod
    def fetch(self) -> Generator[HttpRequest, HttpReply, str]:
        """Ask for a token."""


class ClientCredentials(TokenAuth):
    """The token of a service: by its id and secret.

    Parameters
    ----------
    token_url
        Where tokens are given out.
    client_id, client_secret
        Who asks.
    scope
        What for; empty: whatever the endpoint gives.
    origin
        Where the two come from, as it reads in an error.

    Examples
    --------
    >>> from featkit.settings import Secret
    >>> ClientCredentials("https://id.example.com/token", "me", Secret("s3cret"), scope="all")
    <ClientCredentials 'me' at https://id.example.com/token>
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: Secret,
        *,
        scope: str,
        origin: str = "client_id and client_secret",
    ) -> None:
        super().__init__()
        self._url = token_url
        self._id = client_id
        self._secret = client_secret
        self._scope = scope
        self._origin = origin

    @property
    def identity(self) -> str:
        """Who asks."""
        return f"{self._url}\n{self._scope}\n{self._id}\n{self._secret.reveal()}"

    def fetch(self) -> Generator[HttpRequest, HttpReply, str]:
        """Ask for a token with the id and the secret."""
        wanted = {"scope": self._scope} if self._scope else {}
        reply = yield form(
            self._url,
            {"grant_type": "client_credentials", **wanted},
            {"Authorization": _basic(self._id, self._secret)},
        )
        return token_of(reply, f"the token endpoint refuses {self._origin}", hide=self._secret)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id!r} at {self._url}>"


def _basic(name: str, secret: Secret) -> Hidden:
    """Write an id and a secret as HTTP has them; the caller's variables never hold them."""
    return Hidden(f"Basic {base64.b64encode(f'{name}:{secret.reveal()}'.encode()).decode()}")


def form(
    url: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> HttpRequest:
    """Make the request for a token, whose fields are a form."""
    return HttpRequest(
        url=url,
        method="POST",
        headers={"Content-Type": "application/x-www-form-urlencoded", **(headers or {})},
        body=urlencode(fields).encode(),
    )


def token_of(reply: HttpReply, refused: str, *, hide: Secret | None = None) -> str:
    """Read a token out of a reply; `hide` never shows in an error, though an endpoint repeats it.

    Raises
    ------
    AuthError
        There is none; `refused` says of what.
    StoreUnavailable
        The endpoint is in trouble.
    """
    if reply.status >= _TROUBLE or reply.status == _THROTTLED:
        raise StoreUnavailable(f"{reply.status}: the token endpoint is in trouble")
    try:
        if reply.status not in range(200, 300):
            said = msgspec.json.decode(reply.body, type=known(_Refusal))
            words = f"{said.error} {said.error_description}"
            if hide is not None:
                words = words.replace(hide.reveal(), "***")
            raise AuthError(f"{reply.status}: {refused}: {words}")
        return msgspec.json.decode(reply.body, type=known(_Token)).access_token
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if reply.status in range(200, 300):
            # not the text of the decoder's error: it may quote what is a token
            raise ProtocolError("the token endpoint's reply holds no token") from None
        raise AuthError(f"{reply.status}: {refused}") from error
