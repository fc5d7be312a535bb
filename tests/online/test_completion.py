"""Entities that an answer leaves out are asked for again, as long as that brings any."""

from __future__ import annotations

import polars as pl
import pytest

import featkit
from featkit import Status
from featkit.columns import FeatureColumns
from featkit.errors import IncompleteAnswer, RowMismatch, StoreUnavailable


def leaving_out(store, read, keys, *, again=True):
    """Answer truly, but for some keys."""
    whole = store.honest(read)
    lost = read.keys["shop"].is_in(keys)
    if not lost.any():
        return whole
    values = pl.DataFrame([column.set(lost, None) for column in whole.values])
    statuses = {name: own.set(lost, Status.ERROR) for name, own in whole.statuses.items()}
    error = IncompleteAnswer(f"{lost.sum()} entities are left out", again=again)
    error.partial = FeatureColumns(values, statuses, whole.timestamps)
    raise error


@pytest.fixture
def asked():
    return []


def connected(scripted_store, asked, answer, **options):
    def answers(read):
        asked.append(read.keys["shop"].to_list())
        return answer(read, len(asked))

    return featkit.connect(scripted_store(answer=answers, **options))


def test_only_what_is_left_out_is_asked_for_again(scripted_store, asked):
    lost = {1: [2, 4], 2: [4]}
    with connected(
        scripted_store,
        asked,
        lambda read, turn: leaving_out(scripted_store, read, lost.get(turn, [])),
    ) as client:
        found = client.lookup([1, 2, 3, 4], ["shops:visits"])
    assert asked == [[1, 2, 3, 4], [2, 4], [4]]
    truth = scripted_store.truth("visits", pl.DataFrame({"shop": [1, 2, 3, 4]}))
    assert found.values["visits"].to_list() == truth.to_list()
    assert set(found.statuses["visits"]) == {Status.PRESENT}


def test_several_answers_are_completed_at_once(scripted_store, asked):
    with connected(
        scripted_store,
        asked,
        lambda read, turn: leaving_out(scripted_store, read, [2, 5] if turn <= 3 else []),
        batch_size=2,
    ) as client:
        found = client.lookup([1, 2, 3, 4, 5, 6], ["shops:visits"])
    assert sorted(asked[3:]) == [[2], [5]]
    truth = scripted_store.truth("visits", pl.DataFrame({"shop": [1, 2, 3, 4, 5, 6]}))
    assert found.values["visits"].to_list() == truth.to_list()


def test_what_cannot_be_had_is_an_error_with_the_rest_in_it(scripted_store, asked):
    with connected(
        scripted_store,
        asked,
        lambda read, _: leaving_out(scripted_store, read, [2], again=False),
    ) as client:
        with pytest.raises(IncompleteAnswer, match="1 entities are left out") as caught:
            client.lookup([1, 2, 3], ["shops:visits"])
        frame = pl.DataFrame({"shop": [1, 2, 3]})
        found = featkit.features(frame).enrich(
            ["shops:visits"], store=client, on_error="null", statuses=True
        )
    truth = scripted_store.truth("visits", frame).to_list()
    assert caught.value.partial.values["visits"].to_list() == [truth[0], None, truth[2]]
    assert found["visits"].to_list() == [truth[0], None, truth[2]]
    assert found["visits__status"].to_list() == ["PRESENT", "ERROR", "PRESENT"]
    assert asked == [[1, 2, 3]] * 2


def test_a_failure_of_the_second_try_keeps_what_the_first_brought(scripted_store, asked):
    def answer(read, turn):
        if turn > 1:
            raise StoreUnavailable("down")
        return leaving_out(scripted_store, read, [2])

    with (
        connected(scripted_store, asked, answer) as client,
        pytest.raises(IncompleteAnswer, match="down") as caught,
    ):
        client.lookup([1, 2, 3], ["shops:visits"])
    assert isinstance(caught.value.__cause__, StoreUnavailable)
    assert caught.value.partial.values["visits"].to_list()[::2] == [
        *scripted_store.truth("visits", pl.DataFrame({"shop": [1, 3]}))
    ]


def test_an_answer_of_the_wrong_length_is_refused(scripted_store, asked):
    def answer(read, turn):
        if turn > 1:
            return scripted_store.honest(read).gather(pl.Series([0, 0]))
        return leaving_out(scripted_store, read, [2])

    with (
        connected(scripted_store, asked, answer) as client,
        pytest.raises(RowMismatch, match="nothing was joined"),
    ):
        client.lookup([1, 2, 3], ["shops:visits"])
