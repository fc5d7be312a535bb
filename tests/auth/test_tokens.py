"""Secrets as options hold them, and credentials of two at a time."""

from __future__ import annotations

from typing import Any

import pytest

from featkit.auth.tokens import Bearer, Either, bearer_of, secret_of
from featkit.calls import HttpReply, HttpRequest
from featkit.errors import AuthError, SettingsError
from featkit.settings import Secret


def test_a_secret_is_text_or_none():
    assert secret_of(None, "x") is None
    assert secret_of("t0p", "x").reveal() == "t0p"
    kept = Secret("t0p")
    assert secret_of(kept, "x") is kept


@pytest.mark.parametrize("value", [5, b"t0p", ["t0p"], {"t0p": 1}])
@pytest.mark.parametrize("take", [secret_of, bearer_of])
def test_what_is_no_text_is_refused_without_being_shown(take: Any, value: object):
    with pytest.raises(SettingsError, match="client_secret must be text") as caught:
        take(value, "client_secret")
    assert "t0p" not in str(caught.value)


@pytest.mark.parametrize("value", ["", " \n", Secret("")])
@pytest.mark.parametrize("take", [secret_of, bearer_of])
def test_what_is_empty_is_refused(take: Any, value: object):
    with pytest.raises(SettingsError, match="client_secret is empty"):
        take(value, "client_secret")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (lambda: None, "api_key= must return text, not NoneType"),
        (lambda: " ", "api_key= must return text, not an empty one"),
        (lambda: 1 / 0, "api_key=, which should return it, raised ZeroDivisionError"),
    ],
)
def test_a_callable_without_a_token_is_named(told: Any, said: str):
    flow = bearer_of(told, "api_key").auth_flow(HttpRequest(url="http://127.0.0.1"))
    with pytest.raises(AuthError, match=said):
        next(flow)


def test_a_bearer_is_text_or_what_returns_it():
    assert bearer_of("one").identity == bearer_of(Secret("one")).identity == "one"
    assert bearer_of(lambda: "one").identity is None
    with pytest.raises(SettingsError):
        bearer_of(None)


def either(first: Any, other: Any) -> str | None:
    return Either(lambda _: True, first, other).identity


def test_two_are_known_where_both_are():
    one, two = Bearer(Secret("one")), Bearer(Secret("two"))
    known = [either(one, two), either(two, one), either(one, None), either(None, one)]
    known.append(either(None, None))
    assert len(set(known)) == len(known)
    assert None not in known
    assert either(Bearer(Secret("one")), Bearer(Secret("two"))) == known[0]
    assert either(one, Bearer(lambda: "two")) is None
    assert either(object(), one) is None


def test_calls_that_are_refused_together_ask_once_though_the_token_is_the_same():
    asked = []

    def ask() -> str:
        asked.append(1)
        return "old"

    auth = bearer_of(ask)
    flows = [auth.auth_flow(HttpRequest(url="http://127.0.0.1")) for _ in range(8)]
    for flow in flows:
        next(flow)
    for flow in flows:
        flow.send(HttpReply(401, {}, bytearray()))
    assert len(asked) == 2
