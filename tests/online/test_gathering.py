"""Replies gather, are decoded together, and come back in the order that was asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featkit.columns import STATUS, FeatureColumns, Status
from featkit.errors import ProtocolError, RowMismatch, StoreUnavailable
from featkit.online.gathering import Gathering, Later, gathered
from featkit.stores.base import OnlineRead
from tests.conftest import NOW, ScriptedStore

VIEW = ScriptedStore.view("shops", "shop", "visits")
OTHER = ScriptedStore.view("towns", "town", "people")


def read(keys, view=VIEW):
    return OnlineRead(view, view.features, pl.DataFrame({view.join_keys[0]: keys}), NOW)


@dataclass
class Decoder:
    """Makes columns of lists of numbers; a negative one is wrong."""

    sizes: list[int] = field(default_factory=list)

    def __call__(self, pieces):
        self.sizes.append(len(pieces))
        values = [number for piece in pieces for number in piece.said]
        if any(number < 0 for number in values):
            raise ProtocolError("a negative number")
        visits = pl.Series("visits", values, dtype=pl.Int64)
        status = pl.repeat(Status.PRESENT, len(visits), dtype=STATUS, eager=True)
        return FeatureColumns(visits.to_frame(), {"visits": status})


def values(answer):
    return answer.values["visits"].to_list()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(1, 9), st.randoms())
def test_rows_are_where_they_were_asked_for_in_whatever_order_they_come(heights, rows, random):
    reads, start = [], 0
    for height in heights:
        reads.append(read(list(range(start, start + height))))
        start += height
    gathering = Gathering(Decoder(), rows=rows)
    answers = [None] * len(reads)
    for place in random.sample(range(len(reads)), len(reads)):
        keys = reads[place].keys["shop"].to_list()
        answers[place] = gathering.add(reads[place], [key * 10 for key in keys], "x")
    ((whole, columns),) = gathered(list(zip(reads, answers, strict=True)))
    assert whole.keys["shop"].to_list() == list(range(start))
    assert values(columns) == [key * 10 for key in range(start)]


def test_a_group_is_decoded_when_it_is_full_and_the_rest_when_it_is_wanted():
    decoder = Decoder()
    gathering = Gathering(decoder, rows=4)
    laters = [gathering.add(read([n, n]), [n, n], "x") for n in range(5)]
    assert decoder.sizes == [2, 2]
    assert values(laters[4].columns()) == [4, 4]
    assert values(laters[1].columns()) == [1, 1]
    assert decoder.sizes == [2, 2, 1]


def test_what_is_wrong_is_found_and_the_others_are_right():
    decoder = Decoder()
    gathering = Gathering(decoder, rows=100)
    reads = [read([1]), read([2]), read([3])]
    asked = [
        (own, gathering.add(own, [number], "GET x"))
        for own, number in zip(reads, [1, -2, 3], strict=True)
    ]
    found = gathered(asked)
    assert [own for own, _ in found] == reads
    assert values(found[0][1]) == [1]
    assert values(found[2][1]) == [3]
    assert isinstance(found[1][1], ProtocolError)
    assert str(found[1][1]) == "GET x: a negative number"
    assert decoder.sizes == [3, 1, 1, 1]


def test_a_reply_with_other_rows_than_were_asked_for_is_refused():
    gathering = Gathering(Decoder())
    asked = [(own, gathering.add(own, [1, 2], "x")) for own in [read([1])]]
    ((_, answer),) = gathered(asked)
    assert isinstance(answer, RowMismatch)


def test_what_came_otherwise_keeps_its_place():
    gathering = Gathering(Decoder(), rows=2)
    reads = [read([n]) for n in range(4)]
    lost = StoreUnavailable("down")
    answers = [gathering.add(own, [own.keys.item()], "x") for own in reads]
    answers[2] = lost
    found = gathered(list(zip(reads, answers, strict=True)))
    assert [own for own, _ in found] == reads
    assert [answer if answer is lost else values(answer) for _, answer in found] == [
        [0],
        [1],
        lost,
        [3],
    ]


def test_views_are_kept_apart():
    first, second = Gathering(Decoder()), Gathering(Decoder())
    reads = [read([1]), read([2]), read([3], OTHER)]
    answers = [first.add(reads[0], [1], "x"), first.add(reads[1], [2], "x")]
    answers.append(second.add(reads[2], [3], "x"))
    found = gathered(list(zip(reads, answers, strict=True)))
    assert [(own.view.name, values(answer)) for own, answer in found] == [
        ("shops", [1, 2]),
        ("towns", [3]),
    ]


def test_what_never_gathered_stays_as_it_is():
    asked = [(read([1]), "anything"), (read([2]), StoreUnavailable("down"))]
    assert gathered(asked) == asked
    assert gathered([]) == []


def test_threads_may_add_at_the_same_time():
    gathering = Gathering(Decoder(), rows=7)
    answers: dict[int, Later] = {}

    def add(numbers):
        for number in numbers:
            answers[number] = gathering.add(read([number]), [number], "x")

    threads = [threading.Thread(target=add, args=(range(n, 400, 8),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, later in answers.items():
        assert values(later.columns()) == [number]


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_the_size_of_groups_does_not_show(rows):
    gathering = Gathering(Decoder(), rows=rows)
    reads = [read([n]) for n in range(9)]
    asked = [(own, gathering.add(own, [own.keys.item()], "x")) for own in reversed(reads)]
    ((_, columns),) = gathered(list(reversed(asked)))
    assert values(columns) == list(range(9))
