"""Requests are signed as Amazon's tools sign them, and its refusals have names."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from featkit.auth import aws
from featkit.auth.aws import AwsSignature
from featkit.calls import HttpReply, HttpRequest
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    FeatkitError,
    MissingExtraError,
    RequestRejected,
    SettingsError,
    StoreUnavailable,
    ThrottledError,
    UnknownNameError,
)
from featkit.settings import Secret
from tests.fakes.aws_refusals import BARE, TOKEN
from tests.fakes.wire import Answer, served

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = HttpRequest(
    url="https://example.com/Group/a%20b?x=1&y=%C3%A9",
    method="POST",
    headers={"Content-Type": "application/json"},
    body=b'{"a": 1}',
)


@pytest.fixture(autouse=True)
def _no_credentials_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


def signed(auth: AwsSignature, request: HttpRequest = REQUEST) -> HttpRequest:
    return next(auth.auth_flow(request))


def fixed(**options: Any) -> AwsSignature:
    return AwsSignature("sagemaker", "eu-west-1", key_id="AK", secret=Secret("SK"), **options)


def test_the_signature_is_that_of_amazons_own_signer() -> None:
    headers = signed(fixed(token=Secret("session"))).headers
    again = AWSRequest(
        method="POST",
        url=REQUEST.url,
        data=REQUEST.body,
        headers={"Content-Type": "application/json"},
    )
    again.headers["X-Amz-Date"] = headers["X-Amz-Date"]
    again.headers["X-Amz-Security-Token"] = "session"
    again.context["timestamp"] = headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials("AK", "SK", "session"), "sagemaker", "eu-west-1")
    text = signer.string_to_sign(again, signer.canonical_request(again))
    assert headers["Authorization"].endswith(f"Signature={signer.signature(text, again)}")
    assert "Credential=AK/" in headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "session"
    assert headers["Content-Type"] == "application/json"


def test_nothing_secret_shows() -> None:
    auth = fixed(token=Secret("canary-session"))
    made = signed(auth)
    shown = repr(auth) + repr(vars(auth)) + repr(made)
    assert "canary-session" not in shown
    assert "SK" not in shown
    assert "Signature=" not in shown


def test_credentials_come_from_the_environment_and_are_looked_for_again_when_they_expire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLD")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "old secret")
    auth = AwsSignature("sagemaker", "eu-west-1")
    flow = auth.auth_flow(REQUEST)
    assert "Credential=OLD/" in next(flow).headers["Authorization"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
    expired = HttpReply(403, {"x-amzn-errortype": "ExpiredTokenException:"}, bytearray(b"{}"))
    assert "Credential=NEW/" in flow.send(expired).headers["Authorization"]
    with pytest.raises(StopIteration):
        flow.send(expired)
    assert "Credential=NEW/" in signed(auth).headers["Authorization"]


@pytest.mark.parametrize("status", [200, 400, 403])
def test_other_replies_end_the_flow(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLD")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "old secret")
    flow = AwsSignature("sagemaker", "eu-west-1").auth_flow(REQUEST)
    next(flow)
    with pytest.raises(StopIteration):
        flow.send(HttpReply(status, {}, bytearray(b'{"__type": "AccessDenied"}')))


def test_a_profile_is_read_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[work]\naws_access_key_id = WORK\naws_secret_access_key = secret\n"
    )
    auth = AwsSignature("sagemaker", "eu-west-1", profile="work")
    assert "Credential=WORK/" in signed(auth).headers["Authorization"]
    with pytest.raises(AuthError, match=r"profile \(wrok\) could not be found; .*mean 'work'"):
        signed(AwsSignature("sagemaker", "eu-west-1", profile="wrok"))
    assert told(auth) == f"of the profile 'work' in {tmp_path / 'credentials'}"


def told(auth: AwsSignature) -> str:
    """Return whose credentials a refusal says that they are."""
    denied = HttpReply(403, {}, bytearray(b'{"__type": "AccessDenied", "message": "no"}'))
    said = str(auth.explained(denied))
    assert said.startswith("403: AccessDenied: no; ")
    return said.partition("(the credentials are those ")[2].removesuffix(")")


def test_a_refusal_tells_whose_credentials_were_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(fixed()) == "that were passed as access_key_id and secret_access_key"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    auth = AwsSignature("sagemaker", "eu-west-1")
    signed(auth)
    assert told(auth) == "of the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    busy = HttpReply(400, {}, bytearray(b'{"__type": "ThrottlingException"}'))
    assert "credentials" not in str(auth.explained(busy))


@pytest.mark.parametrize(("status", "headers", "body"), BARE.values(), ids=BARE)
def test_however_credentials_are_refused_it_is_told_which_and_what_to_check(
    status: int, headers: dict[str, str], body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    auth = AwsSignature("sagemaker", "eu-west-1")
    signed(auth)
    error = auth.explained(HttpReply(status, headers, bytearray(body)))
    assert type(error) is AuthError
    assert re.match(rf"{status}: \w.*\?.* \(the credentials are those of the variables", str(error))
    assert "canary" not in str(error).lower()
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("ExpiredToken", "expired?"),
        ("AccessDenied", "does a policy allow it"),
        ("InvalidAccessKeyId", "is there such a key"),
        ("RequestTimeTooSkewed", "the clock of this machine"),
    ],
)
def test_what_to_check_goes_by_what_is_wrong(kind: str, check: str) -> None:
    body = f"<Error><Code>{kind}</Code></Error>".encode()
    assert check in str(aws.explained(HttpReply(403, {}, bytearray(body))))


@pytest.mark.parametrize("body", [b"", b"<html>Bad Request</html>", b'{"message": "hm"}'])
def test_a_400_without_a_reason_may_be_about_credentials(body: bytes) -> None:
    auth = fixed()
    signed(auth)
    error = auth.explained(HttpReply(400, {}, bytearray(body)))
    assert type(error) is RequestRejected
    assert "are the credentials right, those that were passed as access_key_id" in str(error)


@pytest.mark.parametrize("form", ["an old token, JSON", "an old token, XML"])
def test_an_old_token_is_known_in_each_form(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLD")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "old secret")
    flow = AwsSignature("sagemaker", "eu-west-1").auth_flow(REQUEST)
    next(flow)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
    status, headers, body = BARE[form]
    again = flow.send(HttpReply(status, headers, bytearray(body)))
    assert "Credential=NEW/" in again.headers["Authorization"]


@pytest.mark.slow
def test_a_process_of_a_profile_is_named(tmp_path: Path) -> None:
    script = tmp_path / "give.py"
    script.write_text(
        'print(\'{"Version": 1, "AccessKeyId": "PROC", "SecretAccessKey": "canary"}\')'
    )
    place = tmp_path / "config"
    place.write_text(f"[profile process]\ncredential_process = {sys.executable} {script}\n")
    auth = AwsSignature("sagemaker", "eu-west-1", profile="process")
    assert "Credential=PROC/" in signed(auth).headers["Authorization"]
    assert told(auth) == f"that the process of the profile 'process' prints, in {place}"


def test_the_role_of_a_container_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"AccessKeyId": "ROLE", "SecretAccessKey": "canary", "Token": "canary"}
    with served(lambda _: Answer(body=given | {"Expiration": "2099-01-01T00:00:00Z"})) as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/role")
        auth = AwsSignature("sagemaker", "eu-west-1")
        assert "Credential=ROLE/" in signed(auth).headers["Authorization"]
    assert told(auth) == "of the role of this container, as its metadata service gives them out"


def test_without_credentials_the_places_are_named() -> None:
    with pytest.raises(AuthError, match=r"AWS_ACCESS_KEY_ID.*~/.aws/credentials"):
        signed(AwsSignature("sagemaker", "eu-west-1"))


def test_half_of_the_credentials_is_refused() -> None:
    with pytest.raises(SettingsError, match="secret_access_key is missing"):
        AwsSignature("sagemaker", "eu-west-1", key_id="AK")


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(MissingExtraError, match=r"featkit-frames\[aws\]"):
        fixed()


@pytest.mark.parametrize(
    ("status", "headers", "body", "error"),
    [
        (400, {}, '{"__type": "ThrottlingException", "message": "Rate exceeded"}', ThrottledError),
        (400, {"x-amzn-errortype": "ThrottlingException:http://x"}, "", ThrottledError),
        (403, {}, '{"__type": "com.amazon#AccessDeniedException", "Message": "no"}', AuthError),
        (403, {}, '{"__type": "ExpiredTokenException"}', AuthError),
        (400, {}, '{"__type": "ResourceNotFound", "Message": "gone"}', UnknownNameError),
        (400, {}, '{"__type": "ValidationException", "message": "bad"}', RequestRejected),
        (
            400,
            {},
            '{"__type": "ValidationError", "message": "length less than or equal to 100"}',
            BatchTooLarge,
        ),
        (500, {"x-amzn-errortype": "InternalFailure"}, "", StoreUnavailable),
    ],
)
def test_refusals_have_names(
    status: int, headers: dict[str, str], body: str, error: type[FeatkitError]
) -> None:
    made = aws.explained(HttpReply(status, headers, bytearray(body.encode())))
    assert type(made) is error
    assert str(made).startswith(f"{status}: ")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"message": "hm"}', b"\xff"])
def test_what_is_not_known_is_left_to_the_status(body: bytes) -> None:
    assert aws.explained(HttpReply(502, {}, bytearray(body))) is None


def test_it_is_known_who_asks_where_keys_are_given():
    given = {"key_id": "AK", "secret": Secret("t0p")}
    one, other = (AwsSignature("sagemaker", "r", **given) for _ in range(2))
    assert one.identity == other.identity
    for more in ({"key_id": "AL"}, {"secret": Secret("x")}, {"token": Secret("session")}):
        assert AwsSignature("sagemaker", "r", **{**given, **more}).identity != one.identity
    assert AwsSignature("sagemaker", "r").identity is None
