"""Google's credentials, over featkit's own transport.

google-auth knows many kinds of credentials and how each gets its token; it asks through an object
that it is given. Here that object makes no requests: it notes what is wanted, the flow yields it,
and google-auth is asked once more with the reply at hand.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featkit.auth.oauth import TokenAuth
from featkit.auth.tokens import Hidden
from featkit.calls import HttpRequest
from featkit.errors import AuthError, MissingExtraError, SettingsError, StoreUnavailable
from featkit.settings import variables

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from featkit.calls import HttpReply, SignedT

_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_DEFAULT = "the application default credentials"
PAYER = "x-goog-user-project"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class GoogleAuth(TokenAuth):
    """The token of Google's credentials.

    Parameters
    ----------
    credentials_file
        The key of a service account; None: what Google calls the application default credentials,
        of any kind, which are looked for when the first token is needed.

    Examples
    --------
    >>> GoogleAuth("service-account.json")
    <GoogleAuth 'service-account.json'>
    """

    def __init__(self, credentials_file: str | None = None) -> None:
        super().__init__()
        self._file = credentials_file
        self._credentials: Any = None

    @property
    def identity(self) -> str | None:
        """Who asks: what is in the file; None: the default credentials can be anybody's."""
        if self._file is None:
            return None
        try:
            return Path(self._file).read_text(encoding="utf-8")
        except (OSError, ValueError):  # the first request tells what is wrong with it
            return None

    def fetch(self) -> Generator[HttpRequest, HttpReply, str]:
        """Ask for a token; it takes as many requests as these credentials need."""
        if self._credentials is None:
            self._credentials = _found(self._file)
        from google.auth import exceptions  # noqa: PLC0415 - part of an extra, and slow

        replies: list[HttpReply] = []
        while True:
            try:
                self._credentials.refresh(_Rehearsal(replies))
            except _Wanted as wanted:
                replies.append((yield wanted.request))
            except exceptions.TransportError as error:
                msg = f"Google's token service cannot be reached: {_said(error)}"
                raise StoreUnavailable(msg) from None
            except exceptions.GoogleAuthError as error:
                msg = f"Google refuses {self.origin}: {_said(error)}"
                raise AuthError(msg) from None
            else:
                return Hidden(self._credentials.token)

    def sign(self, request: SignedT, token: str) -> SignedT:
        """Add a token, and the project that pays, without which Google refuses people."""
        own = super().sign(request, token)
        payer = getattr(self._credentials, "quota_project_id", None)
        return replace(own, headers={**own.headers, PAYER: payer}) if payer else own

    @property
    def origin(self) -> str:
        """Where the credentials come from, as it reads in an error."""
        if self._file:
            return f"the credentials in {self._file}"
        named = variables(_VARIABLE).get(_VARIABLE)
        return f"the credentials in {named}, which {_VARIABLE} names" if named else _DEFAULT

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._file or 'default'!r}>"


class _Wanted(BaseException):
    """Thrown through google-auth, which catches exceptions, to bring a request out of it."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__()
        self.request = request


class _Reply:
    """A reply as google-auth reads it."""

    def __init__(self, reply: HttpReply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.data = bytes(reply.body)


class _Rehearsal:
    """Answers google-auth's requests in turn with the replies that are there already."""

    def __init__(self, replies: list[HttpReply]) -> None:
        self._replies = iter(replies)

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - featkit has one of its own
        **_: object,
    ) -> _Reply:
        reply = next(self._replies, None)
        if reply is None:
            sent = dict(headers or {})
            raise _Wanted(HttpRequest(url=url, method=method, headers=sent, body=body or b""))
        return _Reply(reply)


def _found(file: str | None) -> Any:  # noqa: ANN401 - of a library without types
    try:
        import google.auth  # noqa: PLC0415 - part of an extra, and slow
        from google.auth import exceptions  # noqa: PLC0415
        from google.oauth2 import service_account  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("gcp", "Google's credentials") from error
    library: Any = google.auth
    account: Any = service_account.Credentials
    try:
        if file is not None:
            return account.from_service_account_file(file, scopes=[SCOPE])
        credentials, _ = library.default(scopes=[SCOPE])
    except (OSError, ValueError, AttributeError, exceptions.DefaultCredentialsError) as error:
        if file is not None:
            msg = f"{file} cannot be read as the key of a service account: {_why(error)}"
            raise SettingsError(msg) from None
        if named := variables(_VARIABLE).get(_VARIABLE):
            there = "cannot be read as credentials" if Path(named).is_file() else "is not there"
            msg = f"{_VARIABLE} names {named}, which {there}"
            raise AuthError(msg) from None
        msg = (
            f"there are no credentials of Google's: pass credentials_file=, set {_VARIABLE} to a "
            "file of them, run `gcloud auth application-default login`, or pass token="
        )
        raise AuthError(msg) from None
    return credentials


def _why(error: Exception) -> str:
    """Tell what is wrong with a file; what is in it may be a secret."""
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    if type(error).__name__ == "MalformedError" and error.args:  # the fields that are missing
        return str(error.args[0])
    return type(error).__name__


def _said(error: Exception) -> str:
    """Tell what google-auth says, without what may be a token."""
    for argument in error.args:
        if isinstance(argument, dict):
            return str(argument.get("error_description") or argument.get("error") or "")
    text = str(error.args[0]) if error.args else type(error).__name__
    try:
        return str(json.loads(text).get("error_description", "it says no reason"))
    except (ValueError, AttributeError):
        return text[:200]
