"""A cached client against a dict: whatever happens, each cell is true or null with a reason."""

import json
import subprocess
import sys
import tempfile
import warnings
from datetime import timedelta
from pathlib import Path

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import featkit
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.dtypes import TIMESTAMP
from featkit.errors import CacheWarning, ExpiredWarning, StoreUnavailable
from featkit.online.caching import micros
from featkit.testing import FrozenClock
from tests.cache.remote import FEATURES, Remote, view
from tests.examples import examples

KEYS = some.lists(some.integers(0, 12) | some.none(), max_size=10)
NAMES = some.lists(some.sampled_from(FEATURES), min_size=1, unique=True)
USERS = ("ann", "bob")
TTL, MISSING, ERROR = timedelta(minutes=5), timedelta(minutes=1), timedelta(minutes=20)
VALUE_TTL = timedelta(minutes=12)


class Truth(Remote):
    """What one user sees of the store: a dict from key to when it was written and a number."""

    def __init__(self, user, model):
        super().__init__([view(timestamp="at", ttl=VALUE_TTL)], cache_identity=user)
        self.user, self.model, self.known = user, model, {}
        self.answer = self.tell

    def tell(self, read):
        rows = [self.model.get(key) for key in read.keys["id"]]
        missing = pl.Series([row is None for row in rows], dtype=pl.Boolean)
        names = [feature.name for feature in read.features]
        values = {
            name: [
                None if row is None else cell(self.user, name, key, row[1])
                for key, row in zip(read.keys["id"], rows, strict=True)
            ]
            for name in names
        }
        for key in read.keys["id"]:
            for name in names:
                self.known[key, name] = read.now
        present = pl.repeat(Status.PRESENT, len(rows), dtype=STATUS, eager=True)
        stamps = pl.Series([None if row is None else row[0] for row in rows], dtype=TIMESTAMP)
        return FeatureColumns(
            pl.DataFrame(values, schema=dict.fromkeys(names, pl.String)),
            dict.fromkeys(names, present.set(missing, Status.NOT_FOUND)),
            dict.fromkeys(names, stamps),
        )


def cell(user, name, key, number):
    return None if number % 5 == 0 else f"{user} {name}{key} #{number}"


class CachedClient(RuleBasedStateMachine):
    """Look up, let time pass, change the truth, evict, clear, reopen, fail."""

    target = "memory"
    notebook = 0

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory(prefix="featkit-machine-")
        self.clock = FrozenClock("2024-05-01T12:00:00Z")
        self.model, self.history = {}, {}  # all that was ever true of a key, by number
        self.number = 0
        self.stores = {user: Truth(user, self.model) for user in USERS}
        self.user = "ann"
        self.clients = {}
        self.written(range(6))

    def client(self):
        who = self.user, self.notebook
        if who not in self.clients:
            options = featkit.CacheOptions(
                target=self.place(),
                ttl=TTL,
                missing_ttl=MISSING,
                stale_if_error=ERROR,
                most_in_memory=20_000,
            )
            store = self.stores[self.user]
            self.clients[who] = featkit.connect(store, cache=options, now=self.clock)
        return self.clients[who]

    def place(self):
        return "memory" if self.target == "memory" else Path(self.folder.name) / "cache.sqlite"

    def written(self, keys):
        self.number += 1
        for key in keys:
            self.model[key] = (self.clock(), self.number)
            self.history.setdefault(key, {})[self.number] = self.clock()

    @rule(keys=some.lists(some.integers(0, 12), max_size=4))
    def write(self, keys):
        self.written(keys)

    @rule(seconds=some.sampled_from([0, 1, 59, 61, 280, 301, 600, 1300]))
    def time_passes(self, seconds):
        self.clock.advance(timedelta(seconds=seconds))

    @rule()
    def another_user(self):
        self.user = USERS[self.user == "ann"]

    @rule(down=some.booleans())
    def the_store_fails_or_is_mended(self, down):
        for store in self.stores.values():
            store.down = down

    @rule(keys=KEYS, names=NAMES, refresh=some.booleans(), kind=some.sampled_from(["", "only"]))
    def look_up(self, keys, names, refresh, kind):
        client, store = self.client(), self.stores[self.user]
        wishes = {"only_cached": True} if kind else {"refresh": refresh}
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                found = client.lookup(
                    pl.DataFrame({"id": pl.Series(keys, dtype=pl.Int64)}),
                    [f"v:{name}" for name in names],
                    **wishes,
                )
                failed = False
            except (StoreUnavailable, featkit.errors.NotCachedError) as error:
                assert store.down or kind
                found, failed = error.partial, True
        assert all(issubclass(each.category, (CacheWarning, ExpiredWarning)) for each in told)
        assert found.values.columns == names
        for name in names:
            cells = zip(
                keys,
                found.values[name],
                found.statuses[name],
                found.stamps(name),
                strict=True,
            )
            for key, value, status, stamp in cells:
                self.check(key, name, value, status, stamp, failed=failed, only=bool(kind))
        if not failed and not store.down and not kind and refresh:
            for key in filter(lambda key: key is not None, keys):
                for name in names:
                    assert store.known[key, name] == self.clock()

    def check(self, key, name, value, status, stamp, *, failed, only):
        """Check that a cell is true, or was when it was fetched, or is null with a reason."""
        store = self.stores[self.user]
        if key is None:
            assert value is status is None
            return
        if status == "ERROR":
            assert failed
            assert value is None
            return
        fetched = store.known[key, name]
        age = self.clock() - fetched
        # a value past its view's ttl is told as that, also where the cache's has passed as well
        longer = status == "STALE" or store.down or (only and status == "EXPIRED")
        assert age <= (TTL + ERROR if longer else TTL)
        if status == "STALE":
            assert store.down or failed or age
        if status == "NOT_FOUND" or (status == "STALE" and stamp is None):
            assert value is None
            born = min(self.history.get(key, {0: fetched + timedelta(1)}).values())
            assert born >= fetched
            return
        # which number it was is told by the value, or by the time where the value is null
        numbers = [n for n, at in self.history[key].items() if at == stamp]
        assert value in {cell(self.user, name, key, number) for number in numbers}
        later = [at for n, at in self.history[key].items() if at > stamp]
        assert all(at >= fetched for at in later), "an older row than was true when it was fetched"
        if value is not None and status != "STALE":
            assert status == ("EXPIRED" if self.clock() - stamp > VALUE_TTL else "PRESENT")

    @rule(keys=some.lists(some.integers(0, 12), max_size=3))
    def clear_entities(self, keys):
        self.client().cache.clear("v", entities=keys)
        if keys:
            self.forgotten(keys)

    @rule()
    def clear_all(self):
        self.client().cache.clear()
        self.forgotten(range(13))

    @rule()
    def clear_expired(self):
        self.client().cache.clear(expired=True)

    @rule(minutes=some.integers(0, 10))
    def clear_old(self, minutes):
        self.client().cache.clear(older_than=timedelta(minutes=minutes))

    def forgotten(self, keys):
        """Check that nothing is served of what was cleared."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(featkit.errors.NotCachedError) as caught:
                self.client().lookup(list(keys), ["v:a"], only_cached=True)
        assert set(caught.value.partial.statuses["a"]) == {"ERROR"}

    @rule()
    def reopen(self):
        for client in self.clients.values():
            client.close()
        self.clients = {}

    @invariant()
    def nobody_sees_rows_of_others(self):
        if not hasattr(self, "clients"):
            return
        for (user, _), client in self.clients.items():
            for kept in client.operations.cache._views.values():  # noqa: SLF001
                for family in kept.table.families:
                    for column in family.segment.frame.select(pl.col("^v.*$")):
                        assert column.drop_nulls().str.starts_with(f"{user} ").all()

    def teardown(self):
        if hasattr(self, "clients"):
            self.reopen()
            self.folder.cleanup()


class CachedOnDisk(CachedClient):
    target = "disk"
    other = None

    @rule()
    def another_notebook(self):
        """Go on in a client that shares the file, and has rows of its own in memory."""
        self.notebook = 1 - self.notebook

    @rule(most=some.sampled_from([0, 2000, 10_000]))
    def evict(self, most):
        self.client().operations.cache.container.evict(most, micros(self.clock()))

    @precondition(lambda self: self.clients and not self.stores["ann"].down)
    @rule(keys=some.lists(some.integers(0, 12), min_size=1, max_size=4, unique=True))
    def another_process_reads(self, keys):
        """Reopen the file in another process, which gets what is kept, and nothing else."""
        if self.other is None:  # one for all such steps: it takes a second to start
            command = [sys.executable, "-W", "ignore", "-c", READER]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.other = subprocess.Popen(command, **pipes)
        asked = [str(self.place()), self.user, self.clock().isoformat(), keys]
        print(json.dumps(asked), file=self.other.stdin, flush=True)
        statuses, values = json.loads(self.other.stdout.readline())
        for key, status, value in zip(keys, statuses, values, strict=True):
            if status != "ERROR" and value is not None:
                numbers = self.history[key]
                assert value in {cell(self.user, "a", key, number) for number in numbers}

    def teardown(self):
        if self.other is not None:
            self.other.communicate()  # closes its stdin, which ends it
        super().teardown()


READER = """
import json, sys, featkit
from tests.cache.test_machine import Truth, TTL, MISSING, ERROR
for line in sys.stdin:
    place, user, now, keys = json.loads(line)
    options = featkit.CacheOptions(target=place, ttl=TTL, missing_ttl=MISSING, stale_if_error=ERROR)
    store = Truth(user, {})
    store.down = True
    with featkit.connect(store, cache=options, now=now) as client:
        try:
            found = client.lookup(keys, ["v:a"], only_cached=True)
        except featkit.errors.NotCachedError as error:
            found = error.partial
    print(json.dumps([list(found.statuses["a"]), list(found.values["a"])]), flush=True)
"""

TestInMemory = CachedClient.TestCase
TestInMemory.settings = examples(60, stateful_step_count=30)
TestOnDisk = pytest.mark.slow(CachedOnDisk.TestCase)
TestOnDisk.settings = examples(12, stateful_step_count=20)
