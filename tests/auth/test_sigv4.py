"""Signatures are those of Amazon's own signer, whatever the request."""

import datetime as dt

import hypothesis.strategies as some
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given

from featkit.auth.sigv4 import Signer

NOW = dt.datetime(2024, 5, 1, 12, 30, 5, tzinfo=dt.UTC)
plain = some.text(some.characters(min_codepoint=33, max_codepoint=126, exclude_characters="%#?&="))
spaced = some.text(some.characters(min_codepoint=32, max_codepoint=126), max_size=9)


def by_botocore(method, url, headers, body, *, token, now):
    request = AWSRequest(method=method, url=url, data=body, headers=headers)
    request.headers["X-Amz-Date"] = request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    if token:
        request.headers["X-Amz-Security-Token"] = token
    signer = SigV4Auth(Credentials("AK", "SK", token), "sagemaker", "eu-west-1")
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))  # noqa: SLF001
    return dict(request.headers.items())


def assert_same(url, *, method="POST", headers=None, body=b"{}", token=None, now=NOW, signer=None):
    headers = headers or {}
    made = (signer or Signer("sagemaker", "eu-west-1")).headers(
        method, url, headers, body, key_id="AK", secret="SK", token=token, now=now
    )
    assert made == by_botocore(method, url, headers, body, token=token, now=now)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/",
        "https://EXAMPLE.com:443/BatchGetRecord",
        "http://127.0.0.1:8080/Group/a%20b?x=1&y=%C3%A9",
        "http://[::1]:8080/x",
        "https://example.com/a//b/./c/../d~e/",
        "https://example.com/?b=2&a=3&a=1&c",
        "https://user:word@example.com/x",
    ],
)
def test_addresses(url):
    assert_same(url)


@given(
    path=some.lists(plain.map(lambda part: part.replace("/", "")), max_size=3),
    query=some.dictionaries(plain.filter(bool), plain, max_size=3),
    headers=some.dictionaries(
        some.sampled_from(["Content-Type", "X-Amz-Target", "x-b", "User-Agent", "Expect"]), spaced
    ),
    body=some.binary(max_size=20),
    token=some.one_of(some.none(), some.just("session")),
)
def test_requests(path, query, headers, body, token):
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    url = f"https://example.com/{'/'.join(path)}" + (f"?{asked}" if asked else "")
    assert_same(url, headers=headers, body=body, token=token)


def test_the_key_is_that_of_the_day_and_of_the_secret():
    signer = Signer("sagemaker", "eu-west-1")
    for day in (0, 0, 1, 0):
        assert_same("https://example.com/", now=NOW + dt.timedelta(days=day), signer=signer)
    signatures = {
        signer.headers(
            "GET", "https://example.com/", {}, b"", key_id="AK", secret=secret, token=None, now=NOW
        )["Authorization"]
        for secret in ("SK", "other", "SK")
    }
    assert len(signatures) == 2


def test_nothing_secret_shows():
    signer = Signer("sagemaker", "eu-west-1")
    signer.headers("GET", "https://a.b/", {}, b"", key_id="A", secret="SK", token=None, now=NOW)
    assert repr(signer).startswith("<featkit.auth.sigv4.Signer object")
