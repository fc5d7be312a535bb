"""Questions side by side: the same request is made once, and each has its own answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from featkit.calls import Call, HttpRequest, LocalRead
from featkit.errors import AuthError, StoreUnavailable, UnknownNameError
from featkit.flows import all_at_once, at_once, made_once, meant
from featkit.stores.sagemaker.together import RecordsRequest


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


# -- several things side by side -------------------------------------------------------------------


def stepping(*names: str, fails: str = ""):
    """Ask for one thing after the other; what fails is told in the answer."""
    found = []
    for name in names:
        try:
            found.append((yield call(name, 0)))
        except StoreUnavailable as error:
            if name == fails:
                raise
            found.append(str(error))
    return found


def asked(effect) -> list[str]:
    return [each.request.url for each in effect]


def test_each_step_asks_for_what_all_need_next():
    flow = at_once([stepping("a", "b"), None, call("c", 0), stepping("d")])
    assert asked(next(flow)) == ["a", "c", "d"]
    assert asked(flow.send([1, 3, 4])) == ["b"]
    with pytest.raises(StopIteration) as end:
        flow.send([2])
    assert end.value.value == [[1, 2], None, 3, [4]]


def test_a_failure_is_raised_where_it_was_asked_for_and_stands_where_it_is_not_caught():
    flow = at_once([stepping("a", "b"), stepping("a", fails="a"), call("a", 0)])
    down = StoreUnavailable("down")
    next(flow)
    assert asked(flow.send([down, down, down])) == ["b"]
    with pytest.raises(StopIteration) as end:
        flow.send([2])
    assert end.value.value == [["down", 2], down, down]


def test_several_calls_of_one_step_come_back_as_a_list():
    def both():
        return (yield [call("a", 0), call("b", 0)])

    flow = at_once([both(), both()])
    assert asked(next(flow)) == ["a", "b"] * 2
    down = StoreUnavailable("down")
    with pytest.raises(StopIteration) as end:
        flow.send([1, down, 3, 4])
    assert end.value.value == [[1, down], [3, 4]]


def test_nothing_asks_for_nothing():
    with pytest.raises(StopIteration) as end:
        next(at_once([None]))
    assert end.value.value == [None]


def test_where_all_are_wanted_the_first_failure_undoes_what_goes_on_for_the_others():
    error = StoreUnavailable("down")

    def running():
        try:
            while True:
                yield replace(call("look", 0), undo=call("cancel", 0))
        finally:
            closed.append(1)

    closed: list[int] = []
    flow = all_at_once([running(), stepping("a", "b", fails="b"), stepping("c")])
    assert asked(next(flow)) == ["look", "a", "c"]
    assert asked(flow.send([0, 1, 2])) == ["look", "b"]
    assert asked(flow.send([0, error])) == ["cancel"]
    with pytest.raises(StoreUnavailable) as caught:
        flow.send([StoreUnavailable("the cancelling failed, too")])
    assert caught.value is error
    assert closed


def test_who_gives_up_closes_all():
    closed = []

    def held():
        try:
            yield call("a", 0)
        finally:
            closed.append(1)

    flow = at_once([held(), held()])
    next(flow)
    flow.close()
    assert closed == [1, 1]


def test_a_request_shows_neither_its_query_nor_what_is_sent():
    """Links to results are signed in their query, and forms and headers hold secrets."""
    secrets = {"X-Token": "t0p"}
    request = HttpRequest(url="https://s.example.com/r?sig=t0p", headers=secrets, body=b"t0p")
    asked = RecordsRequest(url=request.url, headers=secrets, body=b"t0p", group="g", asked=b"t0p")
    shown = [repr(request), repr(Call(request)), repr([asked]), str(request)]
    assert "t0p" not in " ".join(shown)
    assert repr(request) == "<HttpRequest GET https://s.example.com/r>"


def listing(error: Exception | None = None):
    names = yield Call(HttpRequest(url="https://s.example.com/names"))
    if error:
        raise error
    return names


def ended(flow, reply):
    """Run a flow that makes one call."""
    flow.send(None)
    with pytest.raises(StopIteration) as stop:
        flow.send(reply)
    return stop.value.value


def test_of_some_names_the_one_that_is_not_there_gets_the_nearest():
    told = ended(meant(["users", "shps"], listing()), ["shops", "users"])
    assert told == ("shps", "did you mean 'shops'?")


def test_a_name_that_is_not_there_is_told_where_names_may_not_be_listed():
    name, why = ended(meant(["shps"], listing(AuthError("403: no"))), [])
    assert (name, why) == ("shps", "which there are may not be listed: 403: no")


def test_a_place_that_is_not_there_is_told_rather_than_a_name_in_it():
    flow = meant(["shps"], listing(UnknownNameError("no such catalog")))
    flow.send(None)
    with pytest.raises(UnknownNameError, match="catalog"):
        flow.send([])
