"""What others fetch between a look into the cache and the claim of what is missing there."""

import asyncio

import polars as pl
import pytest

import featkit
from featkit.clients.operations import EnrichOptions
from featkit.errors import StoreUnavailable


def interrupted(flow, happens):
    """Run a flow; once it has looked into the cache, something happens before it goes on."""
    outcome, to_come = None, [happens]
    while True:
        try:
            effect = flow.send(outcome)
        except StopIteration as end:
            return end.value
        outcome = yield effect
        looked = isinstance(effect, list) and str(effect[0].request).startswith("the cache of")
        if looked and to_come:
            to_come.pop()()


@pytest.fixture(params=["sync", "async"])
def looked_up(request, remote, clock):
    """Look keys up while somebody else, with the same client, looks others up in between."""
    connect = featkit.connect if request.param == "sync" else featkit.connect_async
    client = connect(remote, cache="memory", now=clock)

    def flow(ids, names=("a",), **options):
        keys = pl.DataFrame({"id": ids})
        return client.operations.lookup(
            keys, [f"v:{name}" for name in names], EnrichOptions(**options)
        )

    def looked_up(ids, meanwhile, **options):
        def happens():
            client.run(meanwhile if hasattr(meanwhile, "send") else flow(meanwhile))

        asked = interrupted(flow(ids, **options), happens)
        found = client.run(asked) if request.param == "sync" else asyncio.run(client.arun(asked))
        return found.values["a"].to_list()

    looked_up.flow = flow
    yield looked_up
    asyncio.run(client.close()) if request.param == "async" else client.close()


def test_what_landed_before_the_claim_is_not_fetched_again(looked_up, remote):
    assert looked_up([1, 2], meanwhile=[2, 1]) == ["a1@1", "a2@1"]
    assert remote.asked() == [([2, 1], ["a"])]


def test_only_what_nobody_brought_is_asked(looked_up, remote):
    assert looked_up([1, 2, 3, 4], meanwhile=[3, 9, 2]) == ["a1@2", "a2@1", "a3@1", "a4@2"]
    assert remote.asked() == [([3, 9, 2], ["a"]), ([1, 4], ["a"])]


def test_keys_that_are_not_known_were_brought_as_well(looked_up, remote):
    assert looked_up([9, 97], meanwhile=[9, 97]) == [None, None]
    assert remote.asked() == [([9, 97], ["a"])]


def test_what_landed_of_other_keys_or_features_changes_nothing(looked_up, remote):
    assert looked_up([1, 2], meanwhile=[3]) == ["a1@2", "a2@2"]
    assert looked_up([4], meanwhile=looked_up.flow([4], ["b"])) == ["a4@4"]
    assert remote.asked() == [([3], ["a"]), ([1, 2], ["a"]), ([4], ["b"]), ([4], ["a"])]


def test_who_wants_it_anew_asks_all_the_same(looked_up, remote):
    assert looked_up([1], meanwhile=[1], refresh=True) == ["a1@2"]
    assert remote.asked() == [([1], ["a"])] * 2


def test_a_flight_that_brought_nothing_is_made_up_for(looked_up, remote):
    def fails():
        remote.down = True
        try:
            yield from looked_up.flow([1])
        except StoreUnavailable:
            remote.down = False

    assert looked_up([1], meanwhile=fails()) == ["a1@2"]
