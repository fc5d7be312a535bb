"""Credentials, as flows that sign requests."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from featkit.errors import AuthError, SettingsError
from featkit.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from featkit.calls import Auth, HasStatus, SignedT

REFUSED = (401, 403)
"""The statuses that say that the credentials were not accepted."""


class Bearer:
    """A bearer token, fixed or from a callable that is asked again when the token has expired.

    Parameters
    ----------
    token
        The token, or what returns it.
    scheme
        What stands before it in the header.
    name
        The option that it comes from, for messages.

    Examples
    --------
    >>> Bearer(Secret("t0p"))
    Bearer(token=Secret('***'))
    """

    def __init__(
        self, token: Secret | Callable[[], str], *, scheme: str = "Bearer", name: str = "token"
    ) -> None:
        self._token = token
        self._scheme = scheme
        self._name = name
        self._known: str | None = None
        self._lock = threading.Lock()

    @property
    def identity(self) -> str | None:
        """Whose token it is; None: what a callable returns next, nobody knows."""
        return self._token.reveal() if isinstance(self._token, Secret) else None

    def auth_flow(self, request: SignedT) -> Generator[SignedT, HasStatus, None]:
        """Add the token; after a 401 or 403 ask a callable once more."""
        if isinstance(self._token, Secret):
            yield signed(request, self._token.reveal(), self._scheme)
            return
        known = self._asked(self._token, instead_of=None)
        reply = yield signed(request, known, self._scheme)
        if reply.status in REFUSED:
            yield signed(request, self._asked(self._token, instead_of=known), self._scheme)

    def _asked(self, ask: Callable[[], str], *, instead_of: str | None) -> str:
        """Return the token that is known, unless it is the one that failed; one thread asks."""
        with self._lock:
            # not whether it is equal: that another call was given the same one again, it knows
            if self._known is None or self._known is instead_of:
                try:
                    token: Any = ask()
                except Exception as error:
                    msg = (
                        f"there is no token: {self._name}=, which should return it, raised "
                        f"{type(error).__name__}"
                    )
                    raise AuthError(msg) from error
                if not isinstance(token, str) or not token.strip():
                    found = "an empty one" if isinstance(token, str) else type(token).__name__
                    msg = f"there is no token: {self._name}= must return text, not {found}"
                    raise AuthError(msg)
                self._known = Hidden(token)
            return self._known

    def __repr__(self) -> str:
        shown = repr(self._token) if isinstance(self._token, Secret) else "<callable>"
        return f"{type(self).__name__}(token={shown})"


class Either:
    """One's credentials for some requests, another's for the rest; None signs nothing.

    Parameters
    ----------
    is_first
        Tells which requests are the first one's.
    first, other
        Who signs.
    """

    def __init__(
        self, is_first: Callable[[Any], bool], first: Auth | None, other: Auth | None
    ) -> None:
        self._is_first, self._first, self._other = is_first, first, other

    @property
    def identity(self) -> str | None:
        """Who the two are; None: of one of them nobody knows."""
        known = [
            "" if each is None else getattr(each, "identity", None)
            for each in (self._first, self._other)
        ]
        own = [each for each in known if isinstance(each, str)]
        return "\n\n".join(own) if len(own) == len(known) else None

    def auth_flow(self, request: SignedT) -> Generator[SignedT, HasStatus, None]:
        """Have one of them sign."""
        signs = self._first if self._is_first(request) else self._other
        if signs is None:
            yield request
        else:
            yield from signs.auth_flow(request)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._first!r}, {self._other!r})"


class Hidden(str):
    """A text that does not show where variables are shown, as in tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def signed(request: SignedT, token: str, scheme: str = "Bearer") -> SignedT:
    """Return the request with a token."""
    value = Hidden(f"{scheme} {token.strip()}")  # files and commands end with a newline
    return replace(request, headers={**request.headers, "Authorization": value})


@overload
def secret_of(value: None, name: str) -> None: ...
@overload
def secret_of(value: object, name: str) -> Secret: ...
def secret_of(value: object, name: str) -> Secret | None:
    """Take what an option holds as a secret; None stays None.

    Raises
    ------
    SettingsError
        It is no text, or empty; the message has its name, not what it is.

    Examples
    --------
    >>> secret_of("t0p", "client_secret")
    Secret('***')
    """
    if value is None:
        return None
    secret = Secret(value) if isinstance(value, str) else value
    if not isinstance(secret, Secret):
        msg = f"{name} must be text, or {{env = ...}} in the settings"
        raise SettingsError(msg)
    if not secret.reveal().strip():
        msg = f"{name} is empty; is the variable set that it is taken from?"
        raise SettingsError(msg)
    return secret


def bearer_of(value: object, name: str = "token", *, scheme: str = "Bearer") -> Bearer:
    """Take what an option holds as a token, or as what returns one.

    Raises
    ------
    SettingsError
        It is neither text nor callable.

    Examples
    --------
    >>> bearer_of("t0p")
    Bearer(token=Secret('***'))
    """
    if callable(value):
        return Bearer(value, scheme=scheme, name=name)
    if value is None or not isinstance(value, (str, Secret)):
        msg = f"{name} must be text, a callable that returns it, or {{env = ...}} in the settings"
        raise SettingsError(msg)
    return Bearer(secret_of(value, name), scheme=scheme, name=name)
