"""Where the credentials of a workspace come from, and whom they are shown to."""

from __future__ import annotations

import configparser
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from featkit.auth.oauth import ClientCredentials, TokenAuth, form, token_of
from featkit.auth.tokens import Bearer, bearer_of, secret_of
from featkit.errors import AuthError, SettingsError, nearest
from featkit.settings import variables

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from featkit.calls import HttpReply, HttpRequest, SignedT

_TOKEN_PATH = "/oidc/v1/token"  # noqa: S105 - a path
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class _DataPlane(TokenAuth):
    """The token of one route-optimized endpoint, exchanged for that of the workspace."""

    def __init__(self, host: str, workspace: TokenAuth, details: str) -> None:
        super().__init__()
        self._url = host + _TOKEN_PATH
        self._workspace = workspace
        self._details = details

    def fetch(self) -> Generator[HttpRequest, HttpReply, str]:
        """Exchange the workspace's token; where that is refused, a new one."""
        known = yield from self._workspace.token()
        try:
            return (yield from self._exchanged(known))
        except AuthError:
            renewed = yield from self._workspace.token(instead_of=known)
            return (yield from self._exchanged(renewed))

    def _exchanged(self, assertion: str) -> Generator[HttpRequest, HttpReply, str]:
        fields = {
            "grant_type": _JWT_BEARER,
            "authorization_details": self._details,
            "assertion": assertion,
        }
        reply = yield form(self._url, fields)
        return token_of(reply, "the workspace does not exchange its token for the endpoint's")


@dataclass(eq=False)
class WorkspaceAuth:
    """Signs what goes to the workspace and to its endpoints, and nothing else.

    Links to results lead elsewhere, and carry their own permission: they get no credentials.

    Attributes
    ----------
    host
        The workspace, with its scheme.
    inner
        Signs for it.
    origin
        Where the credentials come from, as it reads in an error.
    warehouse
        The SQL warehouse that is named there, and where, as it reads in an error; may be empty.
    """

    host: str
    inner: Bearer | TokenAuth
    origin: str
    warehouse: tuple[str, str] = ("", "")
    _data_planes: dict[str, _DataPlane] = field(default_factory=dict, repr=False)

    @property
    def identity(self) -> str | None:
        """Who asks."""
        found = getattr(self.inner, "identity", None)
        return found if isinstance(found, str) else None

    def auth_flow(self, request: SignedT) -> Generator[Any, Any, None]:
        """Sign the request, where it goes to whom the credentials are for."""
        url = getattr(request, "url", "")
        if url in self._data_planes:
            yield from self._data_planes[url].auth_flow(request)
        elif url.startswith(f"{self.host}/"):
            yield from self.inner.auth_flow(request)
        else:
            yield request

    def admit(self, url: str, details: str) -> None:
        """Let the endpoint at an address of its own be queried.

        Raises
        ------
        AuthError
            The credentials cannot be exchanged for a token of the endpoint's.
        """
        if url in self._data_planes:
            return
        if not isinstance(self.inner, TokenAuth):
            msg = (
                f"the route-optimized endpoint {url} takes tokens of OAuth only, but the "
                f"credentials are {self.origin}; pass client_id= and client_secret= of a service "
                "principal, or set DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET"
            )
            raise AuthError(msg)
        self._data_planes[url] = _DataPlane(self.host, self.inner, details)


def find(
    host: str | None,
    given: Mapping[str, Any],
    *,
    profile: str | None = None,
    config_file: str | None = None,
) -> WorkspaceAuth:
    """Find the workspace and its credentials, and the SQL warehouse that is named with them.

    The first that is there: what is `given`; the profile that is named; the variables
    DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET; the profile of
    DATABRICKS_CONFIG_PROFILE; the profile DEFAULT. Variables and profiles for another host are
    not used.

    Parameters
    ----------
    host
        The workspace with its scheme; None: that of the profile.
    given
        ``token``, ``client_id``, ``client_secret``, as the user passed them.
    profile
        Name of a profile in the configuration file.
    config_file
        The configuration file; None: DATABRICKS_CONFIG_FILE, else ``~/.databrickscfg``.

    Raises
    ------
    AuthError
        There are no credentials; the message says where they were looked for.
    SettingsError
        The profile does not exist, or is for another host.
    """
    environment = variables("DATABRICKS_")
    path = Path(config_file or environment.get("DATABRICKS_CONFIG_FILE") or "~/.databrickscfg")
    auth = _credentials(host, given, profile, path, environment)
    warehouse = environment.get("DATABRICKS_WAREHOUSE_ID")
    if warehouse and _same(auth.host, environment.get("DATABRICKS_HOST", auth.host)):
        auth.warehouse = warehouse, "the variable DATABRICKS_WAREHOUSE_ID"
    return auth


def _credentials(
    host: str | None,
    given: Mapping[str, Any],
    profile: str | None,
    path: Path,
    environment: Mapping[str, str],
) -> WorkspaceAuth:
    if host and any(given.values()):
        return _made(host, given, "those that were passed to connect or stand in the settings")
    if profile:
        return _of_profile(host, profile, path)
    if host and _same(host, environment.get("DATABRICKS_HOST", host)):
        own = {name: environment.get(f"DATABRICKS_{name.upper()}") for name in given}
        if own.get("token") or own.get("client_secret"):
            name = "DATABRICKS_TOKEN" if own.get("token") else "DATABRICKS_CLIENT_SECRET"
            return _made(host, own, f"those of the variable {name}")
    if chosen := environment.get("DATABRICKS_CONFIG_PROFILE"):
        return _of_profile(host, chosen, path)
    passed_over = []
    if bool(environment.get("DATABRICKS_CLIENT_ID")) != bool(
        environment.get("DATABRICKS_CLIENT_SECRET")
    ):
        passed_over.append("of DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET only one is set")
    other = environment.get("DATABRICKS_HOST")
    if host and other and not _same(host, other):
        passed_over.append(f"the variables are for DATABRICKS_HOST, which is {other}")
    try:
        return _of_profile(host, "DEFAULT", path)
    except SettingsError as error:
        if not isinstance(error, _NoProfileError):
            passed_over.append(str(error))
    msg = (
        f"there are no credentials for {host}: pass token=, or client_id= and client_secret=; or "
        "set DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET; or name a "
        f"profile of {path} with profile="
    )
    raise AuthError("; ".join([msg, *passed_over]))


class _NoProfileError(SettingsError):
    """There is no such profile."""


def _made(host: str, found: Mapping[str, Any], origin: str) -> WorkspaceAuth:
    token, client_id, secret = (found.get(k) for k in ("token", "client_id", "client_secret"))
    if token is not None:
        return WorkspaceAuth(host, bearer_of(token), origin)
    if client_id is None or secret is None:
        missing = "client_id" if client_id is None else "client_secret"
        msg = f"the credentials for {host} lack {missing}; they are {origin}"
        raise SettingsError(msg)
    service = ClientCredentials(
        host + _TOKEN_PATH,
        secret_of(client_id, "client_id").reveal(),
        secret_of(secret, "client_secret"),
        scope="all-apis",
        origin=origin,
    )
    return WorkspaceAuth(host, service, origin)


def _of_profile(host: str | None, profile: str, path: Path) -> WorkspaceAuth:
    parser = configparser.ConfigParser(interpolation=None, default_section="none")
    try:
        read = parser.read(path.expanduser(), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        msg = f"{path} cannot be read as an INI file"  # without its lines, which hold secrets
        raise SettingsError(msg) from None
    if not read or not parser.has_section(profile):
        near = nearest(profile, parser.sections())
        msg = f"there is no profile {profile!r} in {path}; {near}"
        raise _NoProfileError(msg)
    section, called = parser[profile], f"the profile {profile!r} of {path}"
    its = with_scheme(section["host"]) if section.get("host") else host
    if its is None:
        msg = f"{called} has no host; write 'databricks+https://HOST' for the target"
        raise SettingsError(msg)
    if host and not _same(host, its):
        msg = f"{called} is for {its}, not for {host}"
        raise SettingsError(msg)
    if way := _other_way(section):
        msg = (
            f"{called} {way}; have Databricks' own tools log in: token=lambda: Config(profile="
            f"{profile!r}).authenticate()['Authorization'].removeprefix('Bearer '), with Config "
            "of databricks.sdk.core"
        )
        raise SettingsError(msg)
    auth = _made(its, section, f"those of the profile {profile!r} in {path}")
    auth.warehouse = section.get("warehouse_id", ""), f"the profile {profile!r} in {path}"
    return auth


_OURS = {"", "pat", "oauth-m2m"}


def _other_way(section: Mapping[str, str]) -> str:
    """Say how a profile logs in, where it is a way that is left to others; else nothing."""
    if (kind := section.get("auth_type", "")) not in _OURS:
        return f"logs in with auth_type = {kind}"
    if not {"token", "client_id", "client_secret"} & section.keys():
        return "has no token, and no client_id and client_secret"
    return ""


def with_scheme(host: str) -> str:
    """Return a host with its scheme, without what a browser shows behind it.

    Examples
    --------
    >>> with_scheme("adb-1234.azuredatabricks.net/?o=1234")
    'https://adb-1234.azuredatabricks.net'
    """
    parts = urlsplit(host if "://" in host else f"https://{host}")
    return f"{parts.scheme}://{parts.netloc}"


def _same(host: str, other: str) -> bool:
    return with_scheme(host).casefold() == with_scheme(other).casefold()
