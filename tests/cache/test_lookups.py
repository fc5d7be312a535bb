"""What a cached lookup asks the store for, and what it answers."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import polars as pl
import pytest

import featkit
from featkit.errors import (
    AuthError,
    CacheWarning,
    ExpiredWarning,
    IncompleteAnswer,
    InputError,
    MissingEntitiesError,
    NotCachedError,
    StoreUnavailable,
)
from featkit.testing import FrozenClock
from tests.cache.remote import FEATURES, Remote, view


def values(client, ids, *names, **options):
    found = client.lookup(pl.DataFrame({"id": ids}), [f"v:{name}" for name in names], **options)
    return [tuple(row.values()) for row in found.to_dicts()]


def statuses(client, ids, name="a", **options):
    found = client.lookup(pl.DataFrame({"id": ids}), [f"v:{name}"], **options)
    return found.statuses[name].to_list()


# -- what is asked -------------------------------------------------------------------------------


def test_only_misses_are_asked_in_one_go_in_order_and_once(connect, remote):
    client = connect()
    assert values(client, [3, 1, 3], "a") == [("a3@1",), ("a1@1",), ("a3@1",)]
    found = values(client, [5, 1, None, 4, 3, 5], "a")
    assert found == [("a5@2",), ("a1@1",), (None,), ("a4@2",), ("a3@1",), ("a5@2",)]
    assert remote.asked() == [([3, 1], ["a"]), ([5, 4], ["a"])]
    summary = client.last_summary
    assert (summary.cached, summary.fetched, summary.calls) == (2, 2, 1)


def test_misses_are_asked_in_batches_that_the_store_bears(connect):
    client = connect(store=Remote(batch=2))
    values(client, [1, 4], "a")
    assert values(client, [1, 2, 3, 4, 5, 6], "a") == [
        *[("a1@1",), ("a2@2",), ("a3@2",), ("a4@1",), ("a5@3",), ("a6@3",)]
    ]


def test_everything_cached_asks_nothing(connect, remote):
    client = connect()
    first = values(client, [1, 2, 97, 17], *FEATURES)
    remote.asked()
    assert values(client, [17, 2, 97, 1], *FEATURES) == [first[n] for n in (3, 1, 2, 0)]
    assert statuses(client, [17, 97, 1]) == ["NULL", "NOT_FOUND", "PRESENT"]
    assert remote.asked() == []


def test_features_that_are_there_are_not_asked_again(connect, remote):
    client = connect()
    values(client, [1, 2], "a", "b")
    # a part is known of 1 and 2, nothing of 3
    found = values(client, [1, 3, 2], "c", "a")
    assert found == [("c1@2", "a1@1"), ("c3@3", "a3@3"), ("c2@2", "a2@1")]
    assert sorted(remote.asked(), key=str) == sorted(
        [([1, 2], ["a", "b"]), ([1, 2], ["c"]), ([3], ["c", "a"])], key=str
    )
    assert values(client, [3, 2, 1], "a", "c")[1] == ("a2@1", "c2@2")
    assert remote.asked() == []


def test_the_order_of_features_is_that_of_the_question(connect):
    client = connect()
    values(client, [1], "b")
    values(client, [1], "c", "a")
    found = client.lookup([1], ["v:c", "v:b", "v:a"])
    assert found.to_dicts() == [{"c": "c1@2", "b": "b1@1", "a": "a1@2"}]


def test_features_fetched_at_many_times_are_answered_together(connect, clock):
    client = connect()
    for name, ids in (("a", [1, 2, 3]), ("b", [2, 3, 4]), ("c", [3, 4, 1])):
        values(client, ids, name)
        clock.advance("1s")
    found = values(client, [1, 2, 3, 4, 5], *FEATURES)
    assert all(value for row in found for value in row)
    assert found[2] == ("a3@1", "b3@2", "c3@3")


def test_several_views_at_the_same_time(connect, remote):
    remote.views = [view("v"), view("w")]
    client = connect()
    frame = pl.DataFrame({"id": [1, 2]})
    values(client, [1], "a")
    found = featkit.features(frame).enrich(["v:a", "w:b"], store=client)
    assert found["a"].to_list() == ["a1@1", "a2@2"]
    assert client.last_summary.views[0].cached == 1
    featkit.features(frame).enrich(["v:a", "w:b"], store=client)
    assert client.last_summary.calls == 0


def test_a_changed_schema_is_another_view(connect, remote):
    client = connect()
    values(client, [1], "a")
    remote.views = [view(key=pl.String())]
    assert values(client, ["1"], "a") == [("a1@2",)]


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series(["x", "", "🦉", "a|b"]),
        pl.Series([1.5, 2.5]),
        pl.Series([True, False]),
        pl.Series([b"x", b""]),
        pl.Series([20, 21]).cast(pl.Date),
    ],
    ids=lambda series: str(series.dtype),
)
def test_keys_of_any_type(connect, ids):
    remote = Remote([view(key=ids.dtype)])

    def answer(read):
        remote.answer = None
        keys = read.keys.to_series().hash().cast(pl.String).to_frame("id")
        found = remote.answered(type(read)(read.view, read.features, keys, read.now), 1)
        remote.answer = answer
        return found

    remote.answer = answer
    client = connect(store=remote)
    first = client.lookup(ids.to_frame("id"), ["v:a"])
    again = client.lookup(ids.reverse().to_frame("id"), ["v:a"])
    assert again.values["a"].to_list() == first.values["a"].to_list()[::-1]
    assert client.last_summary.calls == 0


def test_composite_keys_and_views_without_entity(connect, scripted_store):
    pairs = scripted_store.view("pairs", ["x", "y"], "n")
    single = scripted_store.view("single", [], "n")
    store = scripted_store(pairs, single)
    client = connect(store=store)
    keys = pl.DataFrame({"x": [1, 1, 2], "y": [1, 2, 1]})
    first = client.lookup(keys, "pairs:*").to_dicts()
    assert client.lookup(keys[[2, 0, 1]], "pairs:*").to_dicts() == [first[n] for n in (2, 0, 1)]
    assert len(store.reads) == 1


# -- how long ------------------------------------------------------------------------------------


def test_rows_are_good_for_their_ttl_and_not_all_end_at_once(connect, clock, remote):
    client = connect(featkit.CacheOptions(ttl="100s"))
    ids = list(range(1000, 1400))
    values(client, ids, "a")
    remote.asked()
    clock.advance("89s")
    values(client, ids, "a")
    assert remote.asked() == []
    clock.advance("6s")
    values(client, ids, "a")
    ((again, _),) = remote.asked()
    assert 50 < len(again) < 350
    clock.advance("5s")
    values(client, ids, "a")
    assert len(remote.asked()[0][0]) == 400 - len(again)


def test_what_is_missing_or_expired_is_asked_again_sooner(connect, clock, remote):
    remote.views = [view(timestamp="at", ttl=timedelta(minutes=3))]
    client = connect(featkit.CacheOptions(ttl="1h", missing_ttl="10s"))
    assert statuses(client, [1, 9]) == ["PRESENT", "NOT_FOUND"]
    remote.asked()
    clock.advance("11s")
    values(client, [1, 9], "a")
    assert remote.asked() == [([9], ["a"])]
    clock.advance("170s")  # the value's own ttl has ended, long before that of the cache
    values(client, [1], "a")
    assert remote.asked() == [([1], ["a"])]


def test_a_cached_value_expires_as_time_goes_by(connect, clock, remote):
    remote.views = [view(timestamp="at", ttl=timedelta(seconds=100))]
    remote.answer = None
    client = connect(featkit.CacheOptions(ttl="1h", missing_ttl="1h"))
    assert statuses(client, [1, 17, 9]) == ["PRESENT", "NULL", "NOT_FOUND"]
    clock.advance("100s")
    assert statuses(client, [1]) == ["PRESENT"]
    clock.advance("1ms")
    with pytest.warns(ExpiredWarning, match="1 of 3 values"):
        assert statuses(client, [1, 17, 9]) == ["EXPIRED", "NULL", "NOT_FOUND"]
    assert len(remote.asked()) == 1
    with pytest.warns(ExpiredWarning):
        blanked = featkit.features(pl.DataFrame({"id": [1]})).enrich(
            "v:a", store=client, expired="null"
        )
    assert blanked["a"].to_list() == [None]


def test_a_shorter_life_of_rows_holds_for_those_that_are_there(connect, clock, remote, tmp_path):
    path = tmp_path / "cache.sqlite"
    values(connect(featkit.CacheOptions(target=path, ttl="1d")), [1], "a")
    shorter = connect(featkit.CacheOptions(target=path, ttl="5m"))
    clock.advance("4m")
    remote.asked()
    values(shorter, [1], "a")
    assert remote.asked() == []
    clock.advance("1m")
    values(shorter, [1], "a")
    assert remote.asked() == [([1], ["a"])]


@pytest.mark.parametrize("later", [timedelta(seconds=30), None])
def test_rows_are_judged_and_kept_by_the_ttl_of_today(connect, clock, remote, later):
    remote.views = [view(timestamp="at", ttl=timedelta(minutes=3))]
    client = connect(featkit.CacheOptions(ttl="1h"))
    assert statuses(client, [1]) == ["PRESENT"]
    clock.advance("60s")
    remote.asked()
    assert statuses(client, [1]) == ["PRESENT"]
    assert remote.asked() == []
    remote.views = [view(timestamp="at", ttl=later)]
    assert statuses(client, [1]) == ["PRESENT"]  # asked again: the store has a newer value
    assert remote.asked() == [([1], ["a"])]


def test_event_timestamps_are_kept(connect, clock, remote):
    remote.views = [view(timestamp="at")]
    client = connect()
    first = client.lookup([1], ["v:a"]).timestamps["a"].to_list()
    clock.advance("60s")
    assert client.lookup([1], ["v:a"]).timestamps["a"].to_list() == first


def test_max_age_refresh_and_only_cached(connect, clock, remote):
    client = connect()
    values(client, [1], "a")
    clock.advance("30s")
    assert values(client, [1], "a", max_age="30s") == [("a1@1",)]
    assert values(client, [1], "a", max_age="29s") == [("a1@2",)]
    assert values(client, [1], "a", refresh=True) == [("a1@3",)]
    assert values(client, [1], "a", only_cached=True) == [("a1@3",)]
    remote.asked()
    with pytest.raises(NotCachedError, match="only_cached=True") as caught:
        values(client, [1, 2], "a", only_cached=True)
    assert caught.value.partial.to_dicts() == [{"a": "a1@3"}, {"a": None}]
    frame = pl.DataFrame({"id": [1, 2]})
    found = featkit.features(frame).enrich(
        "v:a", store=client, only_cached=True, on_error="null", statuses=True
    )
    assert found["a__status"].to_list() == ["PRESENT", "ERROR"]
    assert remote.asked() == []
    with pytest.raises(InputError, match="only_cached=True forbids"):
        values(client, [1], "a", only_cached=True, refresh=True)


def test_rows_fetched_in_the_future_are_not_used(connect, remote):
    client = connect()
    values(client, [1], "a")
    back = featkit.connect(remote, cache=None, now=FrozenClock("2024-05-01T11:00:00Z"))
    back.operations.cache = client.operations.cache
    assert values(back, [1], "a") == [("a1@2",)]


def test_disabled_neither_reads_nor_writes(connect, remote):
    client = connect()
    values(client, [1], "a")
    with client.cache.disabled():
        assert values(client, [1], "a") == [("a1@2",)]
        assert values(client, [2], "a") == [("a2@3",)]
        with ThreadPoolExecutor(1) as pool:  # other threads go on
            assert pool.submit(values, client, [1], "a").result() == [("a1@1",)]
    assert values(client, [1], "a") == [("a1@1",)]
    assert values(client, [2], "a") == [("a2@4",)]
    assert len(remote.reads) == 4


# -- when the store fails ------------------------------------------------------------------------


def test_rows_past_their_time_are_served_while_the_store_is_down(connect, clock, remote):
    remote.views = [view(timestamp="at", ttl=timedelta(seconds=900))]
    client = connect(featkit.CacheOptions(ttl="5m", stale_if_error="1h"))
    values(client, [1, 17, 9], "a")
    remote.down = True
    assert statuses(client, [1, 17]) == ["PRESENT", "NULL"]
    clock.advance("6m")
    with pytest.warns(CacheWarning, match=r"v: the store is down; 3 entities came"):
        assert statuses(client, [1, 17, 9]) == ["STALE", "STALE", "STALE"]
    clock.advance("10m")
    with pytest.warns((CacheWarning, ExpiredWarning)):
        assert statuses(client, [1]) == ["EXPIRED"]
    with (
        pytest.warns(CacheWarning, match="1 entity came"),
        pytest.raises(StoreUnavailable, match="it is down") as caught,
    ):
        statuses(client, [1, 2])
    assert caught.value.partial.statuses["a"].to_list() == ["EXPIRED", "ERROR"]
    clock.advance("1h")
    with pytest.raises(StoreUnavailable):
        statuses(client, [1])
    remote.down = False
    assert statuses(client, [1]) == ["PRESENT"]


def test_other_errors_are_not_hidden_by_old_rows(connect, clock, remote):
    client = connect(featkit.CacheOptions(ttl="5m"))
    values(client, [1], "a")
    clock.advance("6m")

    def refuse(_):
        raise AuthError("the token has expired")

    remote.answer = refuse
    with pytest.raises(AuthError):
        values(client, [1], "a")


def test_a_stale_row_is_served_to_only_cached(connect, clock):
    client = connect(featkit.CacheOptions(ttl="5m"))
    values(client, [1], "a")
    clock.advance("6m")
    with pytest.warns(CacheWarning):
        assert statuses(client, [1], only_cached=True) == ["STALE"]


def test_lies_are_not_kept(connect, remote):
    client = connect()

    def lie(read):
        told = Remote().answered(read, 0)
        return type(told)(told.values.head(1), told.statuses)

    remote.answer = lie
    for _ in range(2):
        with pytest.raises(featkit.errors.RowMismatch):
            values(client, [1, 2], "a")
    remote.answer = None
    assert values(client, [1, 2], "a") == [("a1@3",), ("a2@3",)]


def test_missing_entities_are_raised_from_the_cache_too(connect):
    client = connect()
    frame = featkit.features(pl.DataFrame({"id": [1, 9]}))
    for _ in range(2):
        with pytest.raises(MissingEntitiesError, match=r"9 \(row 1\)"):
            frame.enrich("v:a", store=client, on_missing="raise")
    assert client.last_summary is None


def test_chunks_that_came_are_kept_when_another_fails(connect):
    remote = Remote(batch=2)

    def answer(read):
        if 3 in read.keys["id"]:
            raise StoreUnavailable("lost")
        return Remote().answered(read, 0)

    remote.answer = answer
    client = connect(store=remote)
    with pytest.raises(StoreUnavailable):
        values(client, [1, 2, 3, 4, 5], "a")
    remote.asked()
    remote.answer = None
    values(client, [1, 2, 3, 4, 5], "a")
    assert remote.asked() == [([3, 4], ["a"])]


# -- in the background ---------------------------------------------------------------------------


def until(condition):
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_ageing_rows_are_served_and_fetched_anew_behind(connect, clock):
    client = connect(featkit.CacheOptions(ttl="5m", stale_while_revalidate="1m"))
    values(client, [1, 2], "a")
    clock.advance("330s")
    assert values(client, [1, 2, 3], "a") == [("a1@1",), ("a2@1",), ("a3@2",)]
    until(lambda: client.cache.stats().refreshed == 2)
    assert values(client, [1, 2], "a") == [("a1@3",), ("a2@3",)]
    clock.advance("1h")  # too old even for that
    assert values(client, [1], "a") == [("a1@4",)]


def test_a_refresh_that_fails_leaves_the_rows(connect, clock, remote):
    client = connect(featkit.CacheOptions(ttl="5m", stale_while_revalidate="1m"))
    values(client, [1], "a")
    clock.advance("330s")
    remote.down = True
    assert values(client, [1], "a") == [("a1@1",)]
    until(lambda: len(remote.reads) == 2)
    assert values(client, [1], "a") == [("a1@1",)]


# -- single flight -------------------------------------------------------------------------------


def test_threads_that_miss_the_same_fetch_it_once(connect, remote):
    client = connect()
    remote.gate = threading.Event()
    expected = {n: [(f"a{k}",) for k in range(1000 + n, 1020 + n)] for n in range(16)}
    with ThreadPoolExecutor(16) as pool:
        flights = {n: pool.submit(values, client, range(1000 + n, 1020 + n), "a") for n in expected}
        until(lambda: remote.reads)
        time.sleep(0.05)
        remote.gate.set()
        for n, flight in flights.items():
            assert [(value.partition("@")[0],) for (value,) in flight.result()] == expected[n]
    asked = [key for keys, _ in remote.asked() for key in keys]
    assert sorted(asked) == list(range(1000, 1035))


def test_tasks_that_miss_the_same_fetch_it_once(remote, clock):
    async def main():
        client = featkit.connect_async(remote, cache="memory", now=clock)
        remote.gate = threading.Event()
        # more than there are threads: who waits must not take the one that fetches
        tasks = [
            asyncio.create_task(client.lookup(range(1000 + n, 1020 + n), ["v:a"]))
            for n in range(40)
        ]
        await asyncio.to_thread(until, lambda: remote.reads)
        remote.gate.set()
        found = await asyncio.wait_for(asyncio.gather(*tasks), 20)
        await client.close()
        return [columns.values["a"].to_list() for columns in found]

    for n, column in enumerate(asyncio.run(main())):
        assert [value.partition("@")[0] for value in column] == [
            f"a{1000 + n + k}" for k in range(20)
        ]
    asked = [key for keys, _ in remote.asked() for key in keys]
    assert sorted(asked) == list(range(1000, 1059))


def test_a_failure_is_shared_by_those_who_wait_for_it(connect, remote):
    client = connect()
    remote.gate, remote.down = threading.Event(), True
    with ThreadPoolExecutor(8) as pool:
        flights = [pool.submit(values, client, [1, 2], "a") for _ in range(8)]
        until(lambda: remote.reads)
        time.sleep(0.05)
        remote.gate.set()
        for flight in flights:
            with pytest.raises(StoreUnavailable, match="it is down"):
                flight.result()
    assert len(remote.reads) < 8


def test_who_gave_up_does_not_take_the_others_along(remote, clock):
    async def main():
        client = featkit.connect_async(remote, cache="memory", now=clock)
        remote.gate = threading.Event()
        first = asyncio.create_task(client.lookup([1], ["v:a"]))
        await asyncio.to_thread(until, lambda: remote.reads)
        second = asyncio.create_task(client.lookup([1], ["v:a"]))
        await asyncio.sleep(0.05)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        remote.gate.set()
        found = await asyncio.wait_for(second, 20)
        await client.close()
        return found.to_dicts()

    ((value,),) = [row.values() for row in asyncio.run(main())]
    assert value.startswith("a1@")


def test_a_wait_ends_with_the_timeout(connect):
    remote = Remote(batch=1)  # two calls: these are not made in the caller's thread
    client = connect(store=remote, timeout="300ms")
    remote.gate = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        flights = [pool.submit(values, client, [1, 2], "a") for _ in range(2)]
        for flight in flights:
            with pytest.raises(featkit.errors.DeadlineExceeded):
                flight.result(timeout=5)
        remote.gate.set()


# -- answers that leave entities out -------------------------------------------------------------


def test_what_an_incomplete_answer_has_is_kept(connect, remote):
    def answer(read):
        told = Remote().answered(read, 1)
        left_out = read.keys.to_series() == 2
        if not left_out.any():
            return told
        error = IncompleteAnswer("2 is throttled")
        error.partial = type(told)(
            told.values.with_columns(pl.when(~left_out).then(pl.col("a")).alias("a")),
            {"a": told.statuses["a"].set(left_out, "ERROR")},
        )
        raise error

    remote.answer = answer
    client = connect()
    with pytest.raises(IncompleteAnswer) as caught:
        values(client, [1, 2, 3], "a")
    assert caught.value.partial.statuses["a"].to_list() == ["PRESENT", "ERROR", "PRESENT"]
    remote.asked()
    remote.answer = None
    assert values(client, [1, 2, 3], "a") == [("a1@1",), ("a2@2",), ("a3@1",)]
    assert remote.asked() == [([2], ["a"])]


# -- numbers -------------------------------------------------------------------------------------


def test_numbers_add_up(connect, clock):
    client = connect()
    values(client, [1, 2, 3, 9], "a")
    values(client, [2, 3, 4, 4], "a")
    values(client, [2], "b")
    stats = client.cache.stats()
    assert (stats.target, stats.hits, stats.misses, stats.rows) == ("memory", 2, 6, 5)
    assert stats.hit_rate == 0.25
    assert client.cache.size == 5
    info = client.cache.info("v")
    assert dict(info.features) == {"a": 5, "b": 1}
    assert info.oldest == info.newest == clock()
    assert (info.expired, info.segments, info.stored_bytes) == (0, 0, 0)
    clock.advance("1h")
    assert client.cache.info("v").expired == 5
    for text in (str(stats), str(info), repr(client.cache)):
        assert "memory" in text
    assert "<b>view</b>" in info._repr_html_()
    with pytest.raises(featkit.errors.UnknownNameError):
        client.cache.info("w")


def test_clearing(connect, clock, remote):
    remote.views = [view("v"), view("w")]
    client = connect()

    def fill():
        values(client, [1, 2, 3], "a", "b")
        client.lookup([1], ["w:a"])
        remote.asked()

    fill()
    assert client.cache.clear("v", entities=[2, 99]) == 1
    values(client, [1, 2, 3], "a")
    assert remote.asked() == [([2], ["a"])]
    values(client, [2], "a", "b")  # also where the clock stands still
    assert remote.asked() == [([2], ["b"])]
    assert client.cache.clear("w") == 1
    assert client.cache.size == 3
    assert client.cache.clear() == 3
    assert client.cache.size == 0
    fill()
    clock.advance("61s")
    values(client, [4], "a")
    assert client.cache.clear(older_than="1m") == 4
    assert client.cache.size == 1
    clock.advance("10m")
    values(client, [5], "a")
    assert client.cache.clear(expired=True) == 1
    assert client.cache.size == 1
    for wrong in ({"entities": [1]}, {"view": "v", "entities": [1], "expired": True}):
        with pytest.raises(InputError, match="entities= needs view="):
            client.cache.clear(**wrong)
    with pytest.raises(featkit.errors.KeyTypeError):
        client.cache.clear("v", entities=["x"])


def test_without_a_cache_everything_is_nothing(connect):
    client = connect(None)
    values(client, [1], "a")
    assert client.cache.stats().target == "no cache"
    assert client.cache.info("v").rows == client.cache.size == client.cache.clear() == 0
    with client.cache.disabled():
        values(client, [1], "a")


def test_room_is_made_in_memory(connect, remote):
    remote.views = [view("v"), view("w")]
    client = connect(featkit.CacheOptions(most_in_memory=200_000))
    client.lookup(range(10_000, 11_000), ["w:*"])
    for start in range(20_000, 30_000, 1000):
        values(client, range(start, start + 1000), *FEATURES)
    stats = client.cache.stats()
    assert stats.memory_bytes <= 200_000
    assert stats.evicted >= 5000
    assert [each.view for each in stats.views] == ["v"]  # the one used last
    remote.asked()
    values(client, range(29_900, 30_000), *FEATURES)
    assert remote.asked() == []
