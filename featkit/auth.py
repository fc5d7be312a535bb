"""Credentials, as flows that sign requests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from featkit.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from featkit.calls import HttpReply, HttpRequest

_UNAUTHORIZED = 401


@dataclass(frozen=True)
class Bearer:
    """A bearer token, fixed or from a callable that is asked again when the token has expired.

    Parameters
    ----------
    token
        The token, or what returns it.

    Examples
    --------
    >>> Bearer(Secret("t0p"))
    Bearer(token=Secret('***'))
    """

    token: Secret | Callable[[], str]

    def auth_flow(self, request: HttpRequest) -> Generator[HttpRequest, HttpReply, None]:
        """Add the token; after a 401 ask a callable once more."""
        reply = yield self._signed(request)
        if reply.status == _UNAUTHORIZED and not isinstance(self.token, Secret):
            yield self._signed(request)

    def _signed(self, request: HttpRequest) -> HttpRequest:
        token = self.token.reveal() if isinstance(self.token, Secret) else self.token()
        return replace(request, headers={**request.headers, "Authorization": f"Bearer {token}"})
