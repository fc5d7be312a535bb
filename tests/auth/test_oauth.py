"""Tokens of OAuth: one for all threads, a new one once it is refused, and no secret anywhere."""

from __future__ import annotations

import base64
import threading
import traceback
from contextlib import closing

import pytest

from featkit.auth.oauth import ClientCredentials
from featkit.calls import HttpReply, HttpRequest
from featkit.errors import AuthError, ProtocolError, StoreUnavailable
from featkit.settings import Secret

LOOKUP = HttpRequest(url="https://store.example.com/lookup")


def credentials():
    return ClientCredentials("https://id.example.com/t", "me", Secret("s3cret"), scope="all")


def reply(status, body=b"{}"):
    return HttpReply(status, {}, bytearray(body))


def token(name):
    return reply(200, b'{"access_token": "%s", "expires_in": 3600}' % name)


def sent(auth, *replies):
    """Run a flow; return what it sends."""
    with closing(auth.auth_flow(LOOKUP)) as flow:
        requests = [next(flow)]
        for each in replies:
            try:
                requests.append(flow.send(each))
            except StopIteration:
                return requests
    return requests


def test_the_token_is_asked_for_once():
    auth = credentials()
    asked, signed = sent(auth, token(b"one"))
    assert asked.url == "https://id.example.com/t"
    assert asked.body == b"grant_type=client_credentials&scope=all"
    assert asked.headers["Authorization"] == "Basic " + base64.b64encode(b"me:s3cret").decode()
    assert signed.headers == {"Authorization": "Bearer one"}
    assert [each.headers["Authorization"] for each in sent(auth, reply(200))] == ["Bearer one"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_renewed_once(status):
    auth = credentials()
    sent(auth, token(b"old"))
    requests = sent(auth, reply(status), token(b"new"), reply(status))
    assert [each.headers["Authorization"] for each in requests[::2]] == ["Bearer old", "Bearer new"]


def test_threads_share_a_renewal():
    auth = credentials()
    sent(auth, token(b"old"))
    first, second = auth.auth_flow(LOOKUP), auth.auth_flow(LOOKUP)
    next(first), next(second)
    assert first.send(reply(401)).url.endswith("/t")
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(second.send(reply(401))))
    thread.start()
    assert first.send(token(b"new")).headers["Authorization"] == "Bearer new"
    thread.join()
    assert [each.headers["Authorization"] for each in waiting] == ["Bearer new"]
    first.close(), second.close()


def test_a_flow_that_is_closed_while_it_asks_lets_others_ask():
    auth = credentials()
    with closing(auth.auth_flow(LOOKUP)) as flow:
        next(flow)  # it asks for the token, and holds the lock
    assert sent(auth, token(b"one"))[-1].headers["Authorization"] == "Bearer one"


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (reply(401, b'{"error": "invalid_client"}'), AuthError, "401: .*client_id.*invalid_client"),
        (reply(400, b"<html>"), AuthError, "400: the token endpoint refuses client_id"),
        (reply(503), StoreUnavailable, "503"),
        (reply(429), StoreUnavailable, "429"),
        (reply(200, b'{"token": "canary"}'), ProtocolError, "holds no token"),
        (reply(200, b"canary"), ProtocolError, "holds no token"),
    ],
)
def test_what_is_no_token_is_named(answer, error, words):
    with pytest.raises(error, match=words) as caught:
        sent(credentials(), answer)
    assert "canary" not in str(caught.value)


def test_nothing_shows_the_secret():
    auth = credentials()
    asked, _ = sent(auth, token(b"canary"))
    shown = repr(auth) + repr(vars(auth)) + repr(asked)
    assert "s3cret" not in shown
    assert "canary" not in shown
    assert base64.b64encode(b"me:s3cret").decode() not in shown


def test_a_secret_that_the_endpoint_repeats_does_not_show():
    auth = credentials()
    said = reply(401, b'{"error": "invalid_client", "error_description": "not s3cret"}')
    with pytest.raises(AuthError, match=r"invalid_client not \*\*\*") as caught:
        sent(auth, said)
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    held = "".join(line for line in frames.format() if "_Refusal" not in line)
    assert base64.b64encode(b"me:s3cret").decode() not in held
    assert "me:s3cret" not in held


def test_an_empty_token_is_none():
    with pytest.raises(ProtocolError, match="holds no token"):
        sent(credentials(), token(b""))


def test_calls_that_are_refused_together_ask_once_though_the_token_is_the_same():
    auth = credentials()
    sent(auth, token(b"old"))
    with closing(auth.auth_flow(LOOKUP)) as one, closing(auth.auth_flow(LOOKUP)) as two:
        next(one)
        next(two)
        assert one.send(reply(401)).url == "https://id.example.com/t"
        assert one.send(token(b"old")).url == LOOKUP.url
        assert two.send(reply(401)).url == LOOKUP.url
