"""The store in memory, what goes with it, and that the contract finds stores that are wrong."""

import inspect
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pandas as pd
import polars as pl
import pytest

import featkit
from featkit.calls import Call
from featkit.columns import Status
from featkit.errors import (
    FeatkitError,
    KeyColumnError,
    NameClashError,
    SettingsError,
    TimestampError,
    UnknownNameError,
)
from featkit.schema import FeatureRef, FeatureService
from featkit.settings import Secret
from featkit.stores.base import Store
from featkit.testing import (
    CONTRACT_NOW,
    FrozenClock,
    MemoryStore,
    RecordingStore,
    StoreContract,
    contract_keys,
    contract_views,
    described,
)

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


class TestMemoryStore(StoreContract):
    has_history = True
    secret = "canary"

    @pytest.fixture
    def store(self):
        store = MemoryStore(contract_views(), batch_size=5)
        store.token = Secret("canary")
        return store


@pytest.mark.slow
class TestMemoryStoreWithoutTimestamps(StoreContract):
    has_history = True

    @pytest.fixture
    def store(self):
        return MemoryStore(contract_views(), timestamp_level="none")


@pytest.mark.slow
class TestMemoryStoreThatServesTheFuture(StoreContract):
    has_history = True

    @pytest.fixture
    def store(self):
        return MemoryStore(contract_views(), serves_future=True)


# -- the contract finds what is wrong


class Wrong(MemoryStore):
    """A store that bends what it is asked, what it answers, or what it says that it holds."""

    def __init__(self, *, ask=None, answer=None, describe=None):
        super().__init__(contract_views())
        self._ask, self._answer, self._describe = ask, answer, describe

    def list_feature_views(self):
        views = yield from super().list_feature_views()
        return [self._describe(view) for view in views] if self._describe else views

    def read_online(self, read):
        call = super().read_online(self._ask(read) if self._ask else read)
        return Call(call.request, self._answer or call.decode, keys=call.keys)


class Forgetful(MemoryStore):
    """A store that holds one view less each time it is asked."""

    def list_feature_views(self):
        views = yield from super().list_feature_views()
        self._views = self._views[:-1]
        return views


class Chatty(MemoryStore):
    """A store that shows its secret."""

    def __repr__(self):
        return "<Chatty token=canary>"


def with_keys(bend):
    """Make a store that looks other keys up than it is asked for."""
    return Wrong(ask=lambda read: replace(read, keys=read.keys.with_columns(*bend(read.keys))))


def with_values(*bent):
    """Make a store that changes its values."""
    return Wrong(answer=lambda found: replace(found, values=found.values.with_columns(*bent)))


def with_statuses(bend):
    """Make a store that changes its statuses, given these and the values."""
    return Wrong(
        answer=lambda found: replace(
            found, statuses={n: bend(s, found.values[n]) for n, s in found.statuses.items()}
        )
    )


def all_null(values):
    return [series.name for series in values if series.null_count() == len(series)]


TEXT, WHOLE = pl.col(pl.String), pl.col(pl.Int64)
AS_FLOATS = WHOLE.cast(pl.Float64).cast(pl.Int64, strict=False)
WRONG = {
    "shuffles": lambda: Wrong(answer=lambda found: found.gather(range(len(found))[::-1])),
    "drops the last": lambda: Wrong(answer=lambda found: found.gather(range(len(found) - 1))),
    "sends floats": lambda: with_keys(lambda _: [AS_FLOATS]),
    "sends the first key only": lambda: with_keys(
        lambda keys: [keys.to_series().alias(name) for name in keys.columns[1:]]
    ),
    "swaps keys": lambda: with_keys(
        lambda keys: [keys[n].alias(m) for n, m in pairwise([*keys.columns, keys.columns[0]])]
    ),
    "strips keys": lambda: with_keys(lambda _: [TEXT.str.strip_chars()]),
    "normalizes keys": lambda: with_keys(lambda _: [TEXT.str.normalize("NFC")]),
    "cuts long keys": lambda: with_keys(lambda _: [TEXT.str.head(99_999)]),
    "calls nulls missing": lambda: with_statuses(
        lambda statuses, values: statuses.set(values.is_null(), Status.NOT_FOUND)
    ),
    "calls misses null": lambda: with_statuses(
        lambda statuses, _: statuses.set(statuses == Status.NOT_FOUND, Status.PRESENT)
    ),
    "forgets NaN": lambda: with_values(pl.col(pl.Float64).fill_nan(None)),
    "rounds integers": lambda: with_values(AS_FLOATS),
    "types by the data": lambda: Wrong(
        answer=lambda found: replace(
            found, values=found.values.cast(dict.fromkeys(all_null(found.values), pl.Null))
        )
    ),
    "serves the future unasked": lambda: Wrong(
        ask=lambda read: replace(read, now=read.now + timedelta(days=9))
    ),
    "has no timestamps": lambda: Wrong(answer=lambda found: replace(found, timestamps={})),
    "rounds timestamps": lambda: Wrong(
        answer=lambda found: replace(
            found, timestamps={n: times.dt.round("1m") for n, times in found.timestamps.items()}
        )
    ),
    "forgets views": lambda: Forgetful(contract_views()),
    "knows no ttl": lambda: Wrong(describe=lambda view: replace(view, ttl=None)),
    "knows no dtypes": lambda: Wrong(
        describe=lambda view: replace(
            view, features=tuple(replace(feature, dtype=None) for feature in view.features)
        )
    ),
    "shows its secret": lambda: Chatty(contract_views()),
}


CUSTOMERS = contract_views()[0]


class Late(MemoryStore):
    """Says that rows were written a second later than they were."""

    def read_history(self, read):
        call = super().read_history(read)

        def later(reply):
            rows = call.decode(reply)
            return replace(rows, event=rows.event + timedelta(seconds=1))

        return replace(call, decode=later)


@pytest.mark.parametrize("rule", ["event", "created", "delayed", "strict", "lookback", "any age"])
def test_history_that_differs_is_found_and_may_be_declared(rule):
    contract = StoreContract()
    with pytest.raises(AssertionError):
        contract.test_each_row_gets_what_was_known_then(Late(contract_views()), *CUSTOMERS, rule)
    contract.history_differs = {rule: "its clock is late"}
    contract.test_each_row_gets_what_was_known_then(Late(contract_views()), *CUSTOMERS, rule)


def test_a_difference_of_history_that_is_gone_fails():
    contract = StoreContract()
    contract.history_differs = {"event": "there was one"}
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        contract.test_each_row_gets_what_was_known_then(
            MemoryStore(contract_views()), *CUSTOMERS, "event"
        )


def run(test, store, view):
    """Run one test of the contract over a store, with the arguments that it takes."""
    contract = StoreContract()
    contract.secret = "canary"
    with (
        featkit.connect(MemoryStore(contract_views()), now=CONTRACT_NOW) as oracle,
        featkit.connect(store, now=CONTRACT_NOW) as client,
    ):
        given = {"store": store, "client": client, "oracle": oracle, "size": 2}
        given["view"] = next(each for each, _ in contract_views() if each.name == view)
        method = getattr(contract, test)
        method(**{name: given[name] for name in inspect.signature(method).parameters})


@pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
@pytest.mark.parametrize(
    ("wrong", "test", "view"),
    [
        ("shuffles", "test_answers_as_the_oracle", "customers"),
        ("shuffles", "test_chunks_do_not_show", "customers"),
        ("shuffles", "test_the_answer_follows_the_keys", "customers"),
        ("drops the last", "test_answers_as_the_oracle", "customers"),
        ("sends floats", "test_keys_that_floats_confuse_are_kept_apart", "customers"),
        ("sends the first key only", "test_composite_keys_are_kept_apart", "routes"),
        ("sends the first key only", "test_answers_as_the_oracle", "parcels"),
        ("swaps keys", "test_composite_keys_are_kept_apart", "routes"),
        ("strips keys", "test_answers_as_the_oracle", "notes"),
        ("normalizes keys", "test_answers_as_the_oracle", "notes"),
        ("cuts long keys", "test_answers_as_the_oracle", "notes"),
        ("calls nulls missing", "test_a_null_is_told_from_a_miss", "customers"),
        ("calls misses null", "test_a_null_is_told_from_a_miss", "customers"),
        ("forgets NaN", "test_answers_as_the_oracle", "customers"),
        ("rounds integers", "test_the_latest_row_counts", "customers"),
        ("types by the data", "test_dtypes_do_not_depend_on_the_data", "customers"),
        ("serves the future unasked", "test_the_future_is_never_fresh", "customers"),
        ("has no timestamps", "test_past_the_ttl_is_expired", "customers"),
        ("has no timestamps", "test_values_age", "customers"),
        ("rounds timestamps", "test_past_the_ttl_is_expired", "customers"),
        ("forgets views", "test_lists_what_it_describes", "customers"),
        ("knows no ttl", "test_describes_a_view", "customers"),
        ("knows no dtypes", "test_describes_a_view", "customers"),
        ("shows its secret", "test_no_secret_shows", "customers"),
    ],
)
def test_the_contract_finds_a_store_that_is_wrong(wrong, test, view):
    run(test, MemoryStore(contract_views()), view)
    with pytest.raises((AssertionError, FeatkitError, pytest.fail.Exception)):
        run(test, WRONG[wrong](), view)


def test_the_contract_has_every_kind_of_key_and_value_in_its_data():
    views = {view.name: (view, rows) for view, rows in contract_views()}
    customers = views["customers"][1]
    assert set(customers.schema.values()) >= {
        pl.Int64(),
        pl.Float64(),
        pl.Boolean(),
        pl.String(),
        pl.Datetime("us", "UTC"),
        pl.List(pl.Float64()),
    }
    assert customers["score"].is_nan().any()
    ages = CONTRACT_NOW - customers["event_timestamp"]
    assert (ages == views["customers"][0].ttl).any()
    assert (ages < timedelta(0)).any()
    assert contract_keys("notes")["note_id"].str.len_bytes().max() == 100_000
    assert views["quiet"][1].is_empty()


# -- what a user does with it


def shops(**options):
    frame = pl.DataFrame({"shop": [1, 2], "at": [NOON, NOON], "rating": [4.5, 3.9]})
    options = {"name": "shops", "join_keys": "shop", "timestamp": "at"} | options
    return described(frame, **options)


def test_a_frozen_clock_moves_only_when_told():
    clock = FrozenClock(NOON)
    assert clock() == clock() == NOON
    clock.advance("1h30m")
    clock.advance(timedelta(minutes=30))
    clock.advance(60)
    assert clock() == NOON + timedelta(hours=2, minutes=1)
    assert repr(clock) == "FrozenClock('2024-05-01T14:01:00+00:00')"


def test_a_frozen_clock_shows_utc():
    assert FrozenClock("2024-05-01T14:00:00+02:00")().isoformat() == "2024-05-01T12:00:00+00:00"


@pytest.mark.parametrize("moment", [datetime(2024, 5, 1), "2024-05-01T12:00:00", "noon"])  # noqa: DTZ001 - naive is the point
def test_a_clock_needs_a_zone(moment):
    with pytest.raises(TimestampError, match="2024-05-01T12:00:00Z"):
        FrozenClock(moment)


def test_values_expire_as_the_clock_moves():
    clock = FrozenClock(NOON)
    store = featkit.connect(MemoryStore([shops(ttl="3h")]), now=clock)
    clock.advance("3h")
    assert store.lookup([1], "shops:*").statuses["rating"].item() == Status.PRESENT
    clock.advance("1s")
    with pytest.warns(featkit.errors.ExpiredWarning):
        assert store.lookup([1], "shops:*").statuses["rating"].item() == Status.EXPIRED


def test_a_store_may_bring_its_own_time():
    store = featkit.connect(MemoryStore([shops()], now=NOON - timedelta(seconds=1)))
    assert store.get_online_features("shops", 1) == {"rating": None}


def test_pandas_frames_are_taken_as_well():
    frame = pd.DataFrame({"shop": ["a", "b"], "kind": pd.Categorical(["x", None])})
    frame["at"] = pd.Timestamp("2024-05-01T14:00", tz="Europe/Paris")
    view, rows = described(frame, name="shops", join_keys=["shop"], timestamp="at")
    assert rows["at"].dtype == pl.Datetime("us", "UTC")
    assert view["kind"].dtype == pl.String
    store = featkit.connect(MemoryStore([(view, rows)]), now=NOON)
    values, times = store.get_online_features_with_timestamps("shops", "a")
    assert (values, times) == ({"kind": "x"}, {"kind": NOON})


def test_services_are_listed_and_read():
    service = FeatureService("model", (FeatureRef("shops", "rating"),))
    store = featkit.connect(MemoryStore([shops()], services=[service]), now=NOON)
    assert store.list_feature_services() == [service]
    assert store.lookup([2], "model").to_dicts() == [{"rating": 3.9}]


def test_two_views_of_one_name_are_refused():
    with pytest.raises(NameClashError, match="'shops'"):
        MemoryStore([shops(), shops()])


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(KeyColumnError, match=r"'shopp'; did you mean 'shop'\?"):
        shops(join_keys="shopp")
    with pytest.raises(UnknownNameError, match=r"'att'; did you mean 'at'\?"):
        shops(timestamp="att")


def test_naive_timestamps_are_refused():
    frame = pl.DataFrame({"shop": [1], "at": [NOON.replace(tzinfo=None)], "rating": [1.0]})
    with pytest.raises(TimestampError, match=r"'at' is naive timestamp.*tz_localize"):
        described(frame, name="shops", join_keys="shop", timestamp="at")


def test_a_target_cannot_name_a_store_in_memory():
    with pytest.raises(SettingsError, match="scheme 'memory'"):
        featkit.connect("memory:shops")


def test_a_recording_store_passes_everything_on():
    service = FeatureService("model", (FeatureRef("shops", "rating"),))
    inner = MemoryStore([shops()], services=[service], now=NOON, batch_size=5)
    recording = RecordingStore(inner, batch_size=9)
    assert recording.capabilities.batch_size == 5
    with featkit.connect(recording) as store:
        assert store.get_online_features("shops", 2) == {"rating": 3.9}
        assert store.list_feature_services() == [service]
        assert [entity.name for entity in store.list_entities()] == ["shop"]
        assert [view.name for view in store.list_feature_views()] == ["shops"]
    assert [read.now for read in recording.reads] == [NOON]


def test_a_recording_store_answers_nothing_itself():
    public = {name for name, value in vars(Store).items() if callable(value) and name[0] != "_"}
    assert public - {"Options", "target_of"} <= vars(RecordingStore).keys()


@pytest.mark.slow
def test_without_pytest_only_the_contract_is_missing():
    program = """
import sys
sys.modules["pytest"] = None
from featkit import errors, testing
testing.MemoryStore(testing.contract_views())
try:
    testing.StoreContract
except errors.MissingExtraError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert "the extra 'test' is needed for featkit.testing.StoreContract" in done.stdout
