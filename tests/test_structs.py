"""Kinds of messages that several threads meet for the first time at once."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from featkit.codecs import json_messages
from featkit.structs import known
from tests.programs.alone import alone

THREADS = 8
DEPTH = 6


def unmet(number):
    """Make a kind of which msgspec has not heard yet, of kinds within kinds."""
    kind = int
    for depth in range(DEPTH):
        fields = [("next", dict[str, kind] | None, None), ("more", list[kind], [])]
        kind = msgspec.defstruct(f"Kind{number}Of{depth}", fields)
    return kind


def _meet():
    sys.setswitchinterval(1e-6)
    for number in range(100):
        kind, barrier = unmet(number), threading.Barrier(THREADS)

        def read(kind=kind, barrier=barrier):
            barrier.wait(10)
            return json_messages.read(kind, b'{"next": {"a": {"more": []}}}', "a store")

        with ThreadPoolExecutor(THREADS) as pool:
            replies = [each.result() for each in [pool.submit(read) for _ in range(THREADS)]]
        assert all(reply == replies[0] for reply in replies)


@pytest.mark.slow
def test_threads_may_meet_a_kind_at_the_same_time():
    alone(_meet)  # where they may not, the process is gone


def test_a_kind_that_cannot_be_read_is_no_known_one():
    for _ in range(2):
        with pytest.raises(TypeError):
            known(list[int] | set[int])
