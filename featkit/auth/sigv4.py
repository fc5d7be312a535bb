"""Version 4 of Amazon's signature, as its documentation tells it.

botocore's signer makes the same one in four times as long: it takes every request to pieces anew,
and derives the key for each, which is that of the day.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_METHOD = "AWS4-HMAC-SHA256"
_PORTS = {"http": 80, "https": 443}
_ON_THE_WAY = {"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"}
"""Headers that proxies may change."""


class Signer:
    """Signs requests to one service in one region.

    Parameters
    ----------
    service
        Its name in signatures, such as ``"sagemaker"``.
    region
        Such as ``"eu-west-1"``.
    """

    __slots__ = ("_key", "_place")

    def __init__(self, service: str, region: str) -> None:
        self._place = (region, service)
        self._key: tuple[str, str, bytes] | None = None  # of which day and secret it is, and it

    def headers(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        key_id: str,
        secret: str,
        token: str | None,
        now: datetime,
    ) -> dict[str, str]:
        """Return the headers with those of the signature.

        Parameters
        ----------
        method, url, headers, body
            The request.
        key_id, secret, token
            Credentials.
        now
            The moment, in UTC.

        Examples
        --------
        >>> from datetime import datetime
        >>> made = Signer("sagemaker", "eu-west-1").headers(
        ...     "GET", "https://example.com/", {}, b"",
        ...     key_id="AK", secret="t0p", token=None, now=datetime(2024, 5, 1),
        ... )
        >>> made["Authorization"].partition(",")[0]
        'AWS4-HMAC-SHA256 Credential=AK/20240501/eu-west-1/sagemaker/aws4_request'
        """
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        made = {**headers, "X-Amz-Date": moment}
        if token:
            made["X-Amz-Security-Token"] = token
        host, path, query = _target(url)
        about = {name.lower(): " ".join(value.split()) for name, value in made.items()}
        about["host"] = host
        names = sorted(about.keys() - _ON_THE_WAY)
        signed = ";".join(names)
        lines = [method.upper(), path, query, *(f"{name}:{about[name]}" for name in names), ""]
        request = "\n".join([*lines, signed, hashlib.sha256(body).hexdigest()])
        day = moment[:8]
        scope = "/".join([day, *self._place, "aws4_request"])
        text = "\n".join([_METHOD, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
        signature = _mac(self._key_of(day, secret), text).hex()
        credential = f"{_METHOD} Credential={key_id}/{scope}"
        made["Authorization"] = f"{credential}, SignedHeaders={signed}, Signature={signature}"
        return made

    def _key_of(self, day: str, secret: str) -> bytes:
        known = self._key
        if known is not None and known[:2] == (day, secret):
            return known[2]
        key = f"AWS4{secret}".encode()
        for word in (day, *self._place, "aws4_request"):
            key = _mac(key, word)
        self._key = (day, secret, key)
        return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


@lru_cache(maxsize=64)
def _target(url: str) -> tuple[str, str, str]:
    """Take host, path and query out of an address, as a signature is about them."""
    from botocore.utils import normalize_url_path  # noqa: PLC0415 - it takes a tenth of a second

    parts = urlsplit(url)
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    if parts.port not in {None, _PORTS.get(parts.scheme)}:
        host = f"{host}:{parts.port}"
    pairs = sorted(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
    query = "&".join(f"{name}={value}" for name, value in pairs)
    return host, quote(normalize_url_path(parts.path), safe="/~"), query
