"""Amazon's way: requests that are signed, and refusals that are named, whatever the service.

The signature is made by botocore's signer, which the extra ``aws`` installs; nothing else of
Amazon's SDK is used.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from featkit.auth.tokens import Hidden
from featkit.codecs import json_messages
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    MissingExtraError,
    RequestRejected,
    SettingsError,
    StoreUnavailable,
    ThrottledError,
    UnknownNameError,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from featkit.calls import HasStatus, HttpReply, SignedT
    from featkit.errors import FeatkitError
    from featkit.settings import Secret

_KEPT = 300  # seconds that credentials are used without asking for them again
_SHOWN = 80  # characters of an odd reply that an error shows
_CODE = re.compile(rb"<Code>\s*([\w.]+)\s*</Code>")  # of XML, which services speak that are older
_MESSAGE = re.compile(rb"<Message>([^<]*)</Message>")
_REFUSED = (401, 403)

# Kinds of errors, without the "Exception" with which some services end them.
_THROTTLED = {
    "LimitExceeded",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "Throttled",
    "TooManyRequests",
}
_MISSING = {"EntityNotFound", "ResourceNotFound"}
_IN_TROUBLE = {"InternalFailure", "InternalServerError", "ServiceUnavailable", "InternalError"}
_EXPIRED = {"ExpiredToken", "RequestExpired", "TokenRefreshRequired"}
_NO_POLICY = {"AccessDenied", "AccessForbidden", "NotAuthorized", "UnauthorizedOperation"}
_NO_KEY = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "MissingAuthenticationToken",
    "UnrecognizedClient",
}
_NO_SIGNATURE = {
    "IncompleteSignature",
    "InvalidSignature",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_CHECKS = {
    **dict.fromkeys(_EXPIRED, "have the credentials expired?"),
    **dict.fromkeys(_NO_POLICY, "does a policy allow it, for this name, region and account?"),
    **dict.fromkeys(
        _NO_KEY,
        "is there such a key, is it active, and is the session token, if it has one, its own?",
    ),
    **dict.fromkeys(
        _NO_SIGNATURE, "are the secret key, the region and the clock of this machine right?"
    ),
}
_ACCESS = (
    "are the key, the region and the clock of this machine right, does a policy allow it, and does "
    "no proxy stand between?"
)
_WAYS = {  # botocore's words for where it found credentials
    "env": "of the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "iam-role": "of the role of this machine, as its metadata service gives them out",
    "container-role": "of the role of this container, as its metadata service gives them out",
    "assume-role-with-web-identity": (
        "of the role that AWS_ROLE_ARN names, for the token in AWS_WEB_IDENTITY_TOKEN_FILE"
    ),
    "assume-role": "of the role that the profile {profile!r} takes, as {config_file} has it",
    "custom-process": "that the process of the profile {profile!r} prints, in {config_file}",
    "sso": "of single sign-on, as the profile {profile!r} in {config_file} has it",
    "shared-credentials-file": "of the profile {profile!r} in {credentials_file}",
    "config-file": "of the profile {profile!r} in {config_file}",
}


class AwsSignature:
    """Signs requests with version 4 of Amazon's signature.

    Credentials that are not given are looked for where all of Amazon's tools look: environment,
    files of the home folder, single sign-on, the roles of containers and machines. They are looked
    for again once when the service says that they have expired.

    Parameters
    ----------
    service
        Name of the service in signatures, such as ``"sagemaker"``.
    region
        Such as ``"eu-west-1"``.
    profile
        A profile of the files in the home folder; None: the usual one.
    key_id, secret, token
        Credentials; without them they are looked for.

    Raises
    ------
    MissingExtraError
        botocore is not installed.

    Examples
    --------
    >>> from featkit.settings import Secret
    >>> AwsSignature("sagemaker", "eu-west-1", key_id="AK", secret=Secret("t0p"))
    AwsSignature('sagemaker', 'eu-west-1', key_id='AK')
    """

    def __init__(
        self,
        service: str,
        region: str,
        *,
        profile: str | None = None,
        key_id: str | None = None,
        secret: Secret | None = None,
        token: Secret | None = None,
    ) -> None:
        if find_spec("botocore") is None:
            raise MissingExtraError("aws", "signing requests to Amazon's services")
        if (key_id is None) != (secret is None):
            missing = "access_key_id" if key_id is None else "secret_access_key"
            msg = f"access_key_id and secret_access_key go together; {missing} is missing"
            raise SettingsError(msg)
        self._service, self._region = service, region
        self._profile, self._key_id, self._secret, self._token = profile, key_id, secret, token
        self._known: Any = None
        self._origin = "that were passed as access_key_id and secret_access_key"
        self._lock = threading.Lock()

    def of(self, service: str) -> AwsSignature:
        """Make what signs requests to another service with the same credentials."""
        return AwsSignature(
            service,
            self._region,
            profile=self._profile,
            key_id=self._key_id,
            secret=self._secret,
            token=self._token,
        )

    @property
    def identity(self) -> str | None:
        """Who asks; None: whom credentials belong to that are looked for, nobody knows yet."""
        if self._key_id is None or self._secret is None:
            return None
        token = self._token.reveal() if self._token else ""
        return f"{self._key_id}\n{self._secret.reveal()}\n{token}"

    def auth_flow(self, request: SignedT) -> Generator[SignedT, HasStatus, None]:
        """Sign the request; where the credentials have expired, look for others once."""
        known = self._credentials(instead_of=None)
        reply = yield self._signed(request, known)
        if self._secret is None and _is_expired(reply):
            yield self._signed(request, self._credentials(instead_of=known))

    def explained(self, reply: HttpReply) -> FeatkitError | None:
        """Read why a service refuses, and tell whose credentials it refuses."""
        error = explained(reply)
        if isinstance(error, AuthError):
            return AuthError(f"{error} (the credentials are those {self._origin})")
        if error is None and reply.status == 400 and not kind_of(reply):  # noqa: PLR2004 - what Amazon also says of credentials
            told = _reason(reply, _read(reply))
            return RequestRejected(f"400: {told}; are the credentials right, those {self._origin}?")
        return error

    def for_polars(self) -> tuple[dict[str, str], int]:
        """Give the credentials to a reader of files, and until when it may use them."""
        frozen = self._frozen(self._credentials(instead_of=None))
        found = {"aws_access_key_id": frozen.access_key, "aws_secret_access_key": frozen.secret_key}
        if frozen.token:
            found["aws_session_token"] = frozen.token
        return found, int(time.time()) + _KEPT

    def _credentials(self, *, instead_of: object) -> Any:  # noqa: ANN401 - botocore has no types
        """Return what is known, unless it is what failed; one thread looks for it."""
        with self._lock:
            if self._known is None or self._known is instead_of:
                self._known = self._found()
            return self._known

    def _found(self) -> Any:  # noqa: ANN401 - botocore has no types
        from botocore.credentials import Credentials  # noqa: PLC0415 - it takes a tenth of a second
        from botocore.exceptions import BotoCoreError, ProfileNotFound  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415

        if self._secret is not None:
            token = self._token and self._token.reveal()
            return Credentials(self._key_id, self._secret.reveal(), token)
        session = Session(profile=self._profile)
        try:
            found = session.get_credentials()
        except ProfileNotFound as error:
            near = nearest(self._profile or session.profile or "", session.available_profiles)
            msg = f"the AWS credentials cannot be used: {error}; {near}"
            raise AuthError(msg) from error
        except BotoCoreError as error:
            msg = f"the AWS credentials cannot be used: {error}"
            raise AuthError(msg) from error
        if found is None:
            msg = (
                "there are no AWS credentials: not in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "not in ~/.aws/credentials, not from single sign-on or a role; pass profile=, or "
                "access_key_id= and secret_access_key="
            )
            raise AuthError(msg)
        self._origin = _origin(found.method, session)
        return found

    def _signed(self, request: Any, credentials: Any) -> Any:  # noqa: ANN401 - an HttpRequest, and what botocore found
        from botocore.auth import SigV4Auth  # noqa: PLC0415 - see above
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415

        frozen = self._frozen(credentials)
        outgoing = AWSRequest(
            method=request.method,
            url=request.url,
            data=request.body,
            headers=dict(request.headers),
        )
        SigV4Auth(frozen, self._service, self._region).add_auth(outgoing)
        return replace(
            request, headers={name: Hidden(own) for name, own in outgoing.headers.items()}
        )

    def _frozen(self, credentials: Any) -> Any:  # noqa: ANN401 - botocore has no types
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - see above

        try:
            return credentials.get_frozen_credentials()  # asks for new ones before these expire
        except BotoCoreError as error:
            msg = f"the AWS credentials have expired and cannot be renewed: {error}"
            raise AuthError(msg) from error

    def __repr__(self) -> str:
        who = f"key_id={self._key_id!r}" if self._key_id else f"profile={self._profile!r}"
        return f"{type(self).__name__}({self._service!r}, {self._region!r}, {who})"


def _origin(method: str, session: Any) -> str:  # noqa: ANN401 - botocore has no types
    """Tell where botocore found credentials, by its own word for the way."""
    way = _WAYS.get(method, "that were found by the way {method!r}")
    files = {
        name: session.get_config_variable(name) for name in ("credentials_file", "config_file")
    }
    return way.format(method=method, profile=session.profile or "default", **files)


class _Nested(msgspec.Struct, frozen=True):
    code: str | None = msgspec.field(default=None, name="Code")
    message: str | None = msgspec.field(default=None, name="Message")


class _Refusal(msgspec.Struct, frozen=True):
    """What services say, each in its own spelling."""

    type: str | None = msgspec.field(default=None, name="__type")
    code: str | None = None
    capital_code: str | None = msgspec.field(default=None, name="Code")
    message: str | None = None
    capital_message: str | None = msgspec.field(default=None, name="Message")
    error: _Nested = msgspec.field(default=_Nested(), name="Error")

    @property
    def kind(self) -> str:
        """What the error is called."""
        return self.type or self.code or self.capital_code or self.error.code or ""

    @property
    def reason(self) -> str:
        """Why, in one line: what follows repeats what was signed, a session token among it."""
        said = self.message or self.capital_message or self.error.message or ""
        return said.strip().partition("\n")[0]


def _read(reply: HttpReply) -> _Refusal:
    if code := _CODE.search(reply.body):
        said = _MESSAGE.search(reply.body)
        reason = said[1].decode(errors="replace") if said else ""
        return _Refusal(code=code[1].decode(), message=reason)
    return json_messages.read_if(_Refusal, reply.body) or _Refusal()


def kind_of(reply: Any) -> str:  # noqa: ANN401 - a reply over HTTP, of which flows know the status
    """Tell what Amazon calls the error of a reply; nothing where it is none."""
    if reply.status < 400:  # noqa: PLR2004 - what HTTP calls an error
        return ""
    named = reply.headers.get("x-amzn-errortype") or _read(reply).kind
    return str(named).partition(":")[0].rpartition("#")[2]


def _is_expired(reply: Any) -> bool:  # noqa: ANN401 - as above
    return kind_of(reply).removesuffix("Exception") in _EXPIRED


def told(reply: HttpReply) -> str:
    """Say in one line how a service refuses."""
    said = (str(reply.status), kind_of(reply), _reason(reply, _read(reply)))
    return ": ".join(filter(None, said))


def explained(reply: HttpReply) -> FeatkitError | None:
    """Read why a service refuses; None: the status says enough."""
    kind, said = kind_of(reply), _read(reply)
    if kind or reply.status not in _REFUSED:
        return named(kind, said.reason, reply.status)
    return AuthError(f"{reply.status}: {_reason(reply, said)}; {_ACCESS}")


def _reason(reply: HttpReply, said: _Refusal) -> str:
    """Tell what there is of a reason, where the error has no name."""
    text = bytes(reply.body[:_SHOWN]).decode(errors="replace")
    return said.reason or (f"no reason is given, but {text!r}" if text else "no reason is given")


def named(kind: str, reason: str, status: int) -> FeatkitError | None:
    """Make the error of what Amazon calls it; None: it is none that is known."""
    message = f"{status}: {kind}: {reason}" if reason else f"{status}: {kind}"
    plain = kind.removesuffix("Exception")
    if plain in _THROTTLED:
        return ThrottledError(message)
    if plain in _CHECKS:
        return AuthError(f"{message}; {_CHECKS[plain]}")
    if plain in _MISSING:
        return UnknownNameError(f"{message}; are the name, the region and the account right?")
    if plain in _IN_TROUBLE:
        return StoreUnavailable(message)
    if kind.startswith("Validation"):
        too_many = "less than or equal to" in reason or "too many" in reason.lower()
        return (BatchTooLarge if too_many else RequestRejected)(message)
    return AuthError(f"{message}; {_ACCESS}") if status in _REFUSED else None
