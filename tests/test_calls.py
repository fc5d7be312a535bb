"""Calls with the same request are made once, and each has its own part of the answer."""

from __future__ import annotations

import pytest

from featkit.calls import Call, HttpRequest, LocalRead, made_once
from featkit.errors import StoreUnavailable


def call(url: str, part: int, body: bytes = b"x") -> Call[int]:
    request = HttpRequest(url=url, method="POST", body=body)
    return Call(request, decode=lambda reply: reply[part], keys=3)


def run(calls, reply):
    """Run the flow; return the calls that it made, and its result."""
    flow = made_once(calls)
    made = flow.send(None)
    with pytest.raises(StopIteration) as stop:
        flow.send([reply(each) for each in made])
    return made, stop.value.value


def test_each_reads_its_part_of_the_one_reply():
    calls = [call("a", 0), call("b", 0), call("a", 1)]
    replies = {"a": [10, 11], "b": [20]}
    made, found = run(calls, lambda each: each.decode(replies[each.request.url]))
    assert [each.request.url for each in made] == ["a", "b"]
    assert [each.keys for each in made] == [6, 3]
    assert found == [10, 20, 11]


def test_one_failure_is_that_of_all_who_asked():
    error = StoreUnavailable("down")
    made, found = run([call("a", 0), call("a", 1), call("b", 0)], lambda _: error)
    assert len(made) == 2
    assert found == [error, error, error]


def test_other_bodies_and_local_reads_are_calls_of_their_own():
    read = LocalRead(lambda: 1, "a file")
    calls = [call("a", 0), call("a", 0, b"y"), Call(read, keys=1), Call(read, keys=2)]
    made, found = run(calls, calls.index)
    assert made == calls
    assert found == [0, 1, 2, 3]
