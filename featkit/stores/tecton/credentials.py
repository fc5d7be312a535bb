"""Who asks Tecton: a service account, with an API key or by OAuth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featkit.auth.oauth import ClientCredentials
from featkit.auth.tokens import bearer_of, secret_of
from featkit.errors import SettingsError
from featkit.settings import Secret

if TYPE_CHECKING:
    from featkit.calls import Auth


def credentials(
    *,
    api_key: object = None,
    client_id: str | None = None,
    client_secret: object = None,
    token_url: str | None = None,
    scope: str = "",
    token: object = None,
) -> Auth:
    """Make what signs requests, of one of the three forms.

    Parameters
    ----------
    api_key
        The key of a service account, or a callable that returns it.
    client_id, client_secret, token_url, scope
        Of a service account with OAuth: who it is, and where its tokens are given out.
    token
        An access token that was got by other means, or a callable that returns one.

    Raises
    ------
    SettingsError
        There is none of them, there are several, or one is not complete.
    """
    oauth = {"client_id": client_id, "client_secret": client_secret, "token_url": token_url}
    forms = {
        "api_key": api_key is not None,
        "client_id": any(value is not None for value in oauth.values()),
        "token": token is not None,
    }
    given = [name for name, there in forms.items() if there]
    if len(given) > 1:
        msg = f"Tecton is given {' and '.join(given)}; choose one of them"
        raise SettingsError(msg)
    if given == ["client_id"]:
        if missing := [name for name, value in oauth.items() if value is None]:
            msg = (
                f"OAuth needs client_id, client_secret and token_url; {missing[0]} is missing. "
                "Where tokens are given out, the administrator of the Tecton account knows"
            )
            raise SettingsError(msg)
        secret = secret_of(client_secret, "client_secret")
        return ClientCredentials(str(token_url), str(client_id), secret, scope=scope)
    if given == ["token"]:
        return bearer_of(token)
    if not given or not (isinstance(api_key, str | Secret) or callable(api_key)):
        msg = (
            "Tecton wants an API key: pass api_key=, text or a callable that returns it, or write "
            'api_key = { env = "TECTON_API_KEY" } in [tecton] of the settings; a service account '
            "with OAuth has client_id=, client_secret= and token_url= instead"
        )
        raise SettingsError(msg)
    return bearer_of(api_key, "api_key", scheme="Tecton-key")
