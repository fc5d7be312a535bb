"""What every store must do, as a class of tests."""
# ruff: noqa: S101 - an assertion is the point

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import featkit
from featkit.columns import STATUS, STATUS_SUFFIX, Status
from featkit.errors import (
    ClosedError,
    ExpiredWarning,
    KeyTypeError,
    NotSupportedError,
    UnknownNameError,
)
from featkit.testing.auditing import AuditContract
from featkit.testing.caching import CacheContract
from featkit.testing.clock import FrozenClock
from featkit.testing.data import CONTRACT_NOW, contract_keys, contract_views
from featkit.testing.gaps import GapContract
from featkit.testing.history import HistoryContract
from featkit.testing.memory import MemoryStore
from featkit.testing.recording import RecordingStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.clients.client import FeatureStoreClient
    from featkit.columns import FeatureColumns
    from featkit.schema import FeatureView
    from featkit.stores.base import Store

_VIEWS = [view for view, _ in contract_views()]
_EACH_VIEW = pytest.mark.parametrize("view", _VIEWS, ids=lambda view: view.name)
_FRESH = [1, 2, 404, 8, 1, 4]


@pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
class StoreContract(AuditContract, CacheContract, GapContract, HistoryContract):
    """The tests that every store must pass.

    A subclass, which pytest collects by its name, has a fixture `store` that returns a
    `featkit.stores.base.Store` that holds `contract_views` as of `CONTRACT_NOW`. What the store's
    `Capabilities` say that it lacks is not expected of it: without event timestamps per row nothing
    is expired.

    Attributes
    ----------
    secret
        A credential that the store was opened with; it must not show anywhere.
    holds_nul
        Whether texts may have the character 0, which some databases cannot hold; where not, an
        entity with one in its key is unknown.

    Examples
    --------
    In a test module::

        from featkit.testing import StoreContract, contract_views

        class TestAcme(StoreContract):
            secret = "canary"

            @pytest.fixture
            def store(self, acme_server):
                acme_server.load(contract_views())
                return AcmeStore(acme_server.url, token=Secret("canary"))
    """

    secret: ClassVar[str] = ""
    holds_nul: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        """Leave out the test of the secret where there is none."""
        if not cls.secret:
            cls.test_no_secret_shows = None  # type: ignore[method-assign,assignment]

    @pytest.fixture
    def client(self, store: Store) -> Iterator[FeatureStoreClient]:
        """Connect to the store at the contract's time."""
        with featkit.connect(store, now=CONTRACT_NOW, cache=None) as client:
            yield client

    @pytest.fixture
    def oracle(self, store: Store) -> Iterator[FeatureStoreClient]:
        """Connect to a store that is right."""
        views = contract_views()
        if not self.holds_nul:
            odd = pl.col("note_id").str.contains("\0", literal=True)
            views = [(v, rows.filter(~odd) if v.name == "notes" else rows) for v, rows in views]
        right = MemoryStore(
            views,
            timestamp_level=store.capabilities.timestamp_level,
            serves_future=store.capabilities.serves_future,
        )
        with featkit.connect(right, now=CONTRACT_NOW, cache=None) as client:
            yield client

    # -- what it holds

    def test_lists_every_view_once(self, client: FeatureStoreClient) -> None:
        """All views are listed."""
        listed = [view.name for view in client.list_feature_views()]
        assert sorted(listed) == sorted(view.name for view in _VIEWS)

    @_EACH_VIEW
    def test_describes_a_view(self, client: FeatureStoreClient, view: FeatureView) -> None:
        """Names, order of the keys, dtypes, ttl and description are told."""
        found = client.get_feature_metadata(view.name)
        assert found.name == view.name
        assert found.join_keys == view.join_keys
        assert [entity.dtype for entity in found.entities] == [e.dtype for e in view.entities]
        dtypes = {feature.name: feature.dtype for feature in found.features}
        assert dtypes == {feature.name: feature.dtype for feature in view.features}
        assert (found.ttl, found.description) == (view.ttl, view.description)
        assert (found.timestamp is None) == (view.timestamp is None)

    def test_lists_what_it_describes(self, client: FeatureStoreClient) -> None:
        """The list and the single descriptions are equal."""
        for view in client.list_feature_views():
            assert client.get_feature_metadata(view.name) == view

    def test_lists_every_join_key_once(self, client: FeatureStoreClient) -> None:
        """The entities are those of all views."""
        keys = [entity.join_key for entity in client.list_entities()]
        assert sorted(keys) == sorted({key for view in _VIEWS for key in view.join_keys})

    @pytest.mark.parametrize(
        ("reference", "meant"),
        [("custmers:visits", "customers"), ("customers:visit", "visits"), ("custmers:*", "cust")],
    )
    def test_an_unknown_name_gets_the_nearest(
        self, client: FeatureStoreClient, reference: str, meant: str
    ) -> None:
        """A wrong name of a view or a feature is an error that names what may be meant."""
        with pytest.raises(UnknownNameError, match=meant) as caught:
            client.lookup([1], [reference])
        assert repr(reference.split(":")[meant == "visits"]) in str(caught.value)

    def test_an_unknown_view_has_no_description(self, client: FeatureStoreClient) -> None:
        """A wrong name is told by the descriptions, too."""
        with pytest.raises(UnknownNameError, match="'parcels'"):
            client.get_feature_metadata("parcel")

    def test_an_unknown_service_is_told(self, client: FeatureStoreClient) -> None:
        """A name without a colon is that of a service."""
        with pytest.raises(UnknownNameError, match="no_such_model"):
            client.lookup([1], "no_such_model")

    @_EACH_VIEW
    def test_names_entities_or_says_that_it_cannot(
        self, client: FeatureStoreClient, oracle: FeatureStoreClient, view: FeatureView
    ) -> None:
        """A sample of entities is distinct, in the entities' dtypes, and known to the store."""
        try:
            found, right = (
                each.run(each.operations.store.sample_entities(view, 3, CONTRACT_NOW))
                for each in (client, oracle)
            )
        except NotSupportedError as error:
            assert "entities=" in str(error)  # noqa: PT017 - either is right
            return
        assert dict(found.schema) == {each.join_key: each.dtype for each in view.entities}
        assert found.height == right.height
        assert found.is_unique().all()
        assert not any(column.has_nulls() for column in found)
        statuses = client.lookup(found, f"{view.name}:*").statuses
        assert not any((each == Status.NOT_FOUND).any() for each in statuses.values())

    # -- values

    @_EACH_VIEW
    def test_answers_as_the_oracle(
        self,
        store: Store,
        client: FeatureStoreClient,
        oracle: FeatureStoreClient,
        view: FeatureView,
    ) -> None:
        """Each key gets its own latest values, in order, also twice and among unknown ones."""
        keys = contract_keys(view.name)
        keys = pl.concat([keys, keys.reverse()])
        found, right = (each.lookup(keys, f"{view.name}:*") for each in (client, oracle))
        assert_frame_equal(
            _comparable(found, store),
            _comparable(right, store),
            check_exact=True,
            check_column_order=False,
        )

    def test_the_latest_row_counts(self, client: FeatureStoreClient) -> None:
        """By event timestamp, then by created timestamp; values come back as they went in."""
        first, eighth = client.get_online_features_batch("customers", [1, 8])
        assert first["visits"] == 2**53 + 1
        assert first["name"] == "🦉 o'wl"
        assert first["embedding"] == [0.5, -1.5]
        assert first["seen_at"].isoformat() == "2024-02-29T23:59:59+00:00"
        assert eighth["name"] == "corrected"
        assert client.get_online_features("parcels", ("a|b", "c"))["label"] == "moved"

    def test_keys_that_floats_confuse_are_kept_apart(self, client: FeatureStoreClient) -> None:
        """64-bit keys are never floats."""
        keys = [2**53 + 1, 2**53, 2**63 - 1]
        found = client.get_online_features_batch("customers", keys, ["name"])
        assert [row["name"] for row in found] == ["odd", "even", "the last"]

    def test_composite_keys_are_kept_apart(self, client: FeatureStoreClient) -> None:
        """No part of a key is left out, and no separator joins two keys into one."""
        pairs = [(11, 1), (1, 11), (111, 1), (1, 111), (11, 11)]
        found = client.get_online_features_batch("routes", pairs)
        assert [row["length_km"] for row in found] == [11006.5, 1011.5, 111056.5, 1111.5, None]
        assert client.get_online_features("routes", {"end_id": 1, "start_id": 11}) == found[0]

    def test_features_come_in_the_order_asked_for(self, client: FeatureStoreClient) -> None:
        """Those asked for, and no other."""
        names = ["name", "visits", "active"]
        assert list(client.get_online_features("customers", 1, names)) == names
        assert client.lookup([1], ["customers:score"]).values.columns == ["score"]

    def test_one_lookup_reads_several_views(self, client: FeatureStoreClient) -> None:
        """Each view has its own keys."""
        keys = {"customer_id": [1, 404], "start_id": [1, 11], "end_id": [11, 1]}
        found = client.lookup(keys, ["routes:length_km", "customers:visits"])
        assert found.to_dicts() == [
            {"length_km": 1011.5, "visits": 2**53 + 1},
            {"length_km": 11006.5, "visits": None},
        ]

    def test_all_lookups_agree(self, client: FeatureStoreClient) -> None:
        """One at a time, many, with timestamps, as columns: the same."""
        keys = contract_keys("customers")["customer_id"].to_list()[::2]
        columns = client.lookup(keys, "customers:*")
        single = [client.get_online_features_with_timestamps("customers", key) for key in keys]
        names = columns.values.columns
        times = pl.DataFrame({name: columns.stamps(name) for name in names}).to_dicts()
        batch = client.get_online_features_batch("customers", keys)
        assert repr(batch) == repr(columns.to_dicts()) == repr([values for values, _ in single])
        assert repr([client.get_online_features("customers", key) for key in keys]) == repr(batch)
        assert times == [stamps for _, stamps in single]

    def test_the_answer_follows_the_keys(self, client: FeatureStoreClient) -> None:
        """To permute, to repeat and to leave out keys does the same to the rows."""
        found = client.lookup(contract_keys("customers"), "customers:*")
        whole = found.to_polars(timestamps=True, statuses=True)

        @settings(max_examples=10, deadline=None)
        @given(st.lists(st.integers(0, whole.height - 1), max_size=60))
        def holds(rows: list[int]) -> None:
            keys = contract_keys("customers")[rows]
            found = client.lookup(keys, "customers:*").to_polars(timestamps=True, statuses=True)
            assert_frame_equal(found, whole[rows])

        holds()

    # -- statuses and ages

    def test_a_null_is_told_from_a_miss(self, store: Store, client: FeatureStoreClient) -> None:
        """The store holds nulls for 4, and nothing for 404."""
        tells = store.capabilities.tells_missing
        missing = {Status.NOT_FOUND} if tells else {Status.NOT_FOUND, Status.NULL}
        found = client.lookup([4, 404], "customers:*")
        for name in found.values.columns:
            assert found.values[name].to_list() == [None, None]
            held, unknown = found.statuses[name]
            assert held == Status.NULL
            assert unknown in missing

    def test_past_the_ttl_is_expired(self, store: Store, client: FeatureStoreClient) -> None:
        """As old as the ttl is fresh; what is older is kept, with a status and one warning."""
        frame = pl.DataFrame({"customer_id": [2, 3, 7]})
        accessor = featkit.features(frame)
        if not _knows_ages(store):
            found = accessor.enrich(["customers:visits"], store=client, statuses=True)
            assert found["visits__status"].to_list() == [Status.PRESENT] * 3
            return
        with pytest.warns(ExpiredWarning, match="customers: 2 of 3"):
            found = accessor.enrich(["customers:visits"], store=client, statuses=True)
        assert found["visits"].to_list() == [2, 3, 7]
        expired = [Status.PRESENT, Status.EXPIRED, Status.EXPIRED]
        assert found["visits__status"].to_list() == expired
        blanked = accessor.enrich(["customers:visits"], store=client, expired="null")
        assert blanked["visits"].to_list() == [2, None, None]

    def test_a_null_past_the_ttl_is_a_null(self, client: FeatureStoreClient) -> None:
        """The status explains the value."""
        found = client.lookup([7], ["customers:score", "customers:seen_at"]).statuses
        assert {statuses.item() for statuses in found.values()} == {Status.NULL}

    def test_the_future_is_never_fresh(self, store: Store, client: FeatureStoreClient) -> None:
        """A row later than now is not served, or has a status that says so."""
        found = client.lookup([5, 6, 9], ["customers:visits"])
        if not store.capabilities.serves_future:
            assert found.values["visits"].to_list() == [None, 6, 9]
            status = [Status.NOT_FOUND, Status.PRESENT, Status.PRESENT]
        else:
            assert found.values["visits"].to_list() == [5, -6, -9]
            future = Status.FUTURE if _knows_ages(store) else Status.PRESENT
            status = [future, future, Status.PRESENT]
        assert found.statuses["visits"].to_list() == status

    def test_values_age(self, store: Store) -> None:
        """What is fresh now is expired later, and what was to come is there."""
        clock = FrozenClock(CONTRACT_NOW)
        with featkit.connect(store, now=clock, cache=None) as client:
            clock.advance("2h")
            found = client.lookup([1, 2, 5], ["customers:visits"]).statuses["visits"].to_list()
        aged = Status.EXPIRED if _knows_ages(store) else Status.PRESENT
        assert found == [Status.PRESENT, aged, Status.PRESENT]

    # -- keys

    def test_null_keys_are_never_sent(self, store: Store) -> None:
        """A key with a null in any part has null features and no status; no key is sent twice."""
        recording = RecordingStore(store)
        with featkit.connect(recording, now=CONTRACT_NOW, cache=None) as client:
            one = client.lookup({"customer_id": [1, None, 1, 8]}, ["customers:name"])
            pairs = {"depot": ["a", "a", None, None], "code": ["b", None, "b", None]}
            two = client.lookup(pairs, ["parcels:label"])
            nothing = client.lookup({"customer_id": [None, None]}, ["customers:name"])
        sent = [key for read in recording.reads for key in read.keys.rows()]
        assert sent == [(1,), (8,), ("a", "b")]
        assert one.values["name"].to_list() == ["🦉 o'wl", None, "🦉 o'wl", "corrected"]
        assert two.values["label"].to_list() == ["a/b", None, None, None]
        assert two.statuses["label"].to_list() == [Status.PRESENT, None, None, None]
        assert nothing.values["name"].to_list() == [None, None]

    @pytest.mark.parametrize("keys", [["one"], [1.5], [2**63], [float(2**60)], [[1]], [b"1"]])
    def test_a_key_of_a_wrong_type_is_not_sent(self, store: Store, keys: list[Any]) -> None:
        """What cannot become the key without loss is an error before anything is asked."""
        recording = RecordingStore(store)
        with (
            featkit.connect(recording, now=CONTRACT_NOW, cache=None) as client,
            pytest.raises(KeyTypeError, match="customer_id"),
        ):
            client.lookup({"customer_id": keys}, ["customers:name"])
        assert recording.reads == []

    @_EACH_VIEW
    def test_dtypes_do_not_depend_on_the_data(
        self, client: FeatureStoreClient, view: FeatureView
    ) -> None:
        """With misses, with nothing found, without any key: the dtypes are those of the view."""
        keys = contract_keys(view.name)
        for some in (keys, keys.tail(2), keys.head(1), keys.clear()):
            found = client.lookup(some, f"{view.name}:*")
            assert len(found) == some.height
            for feature in view.features:
                assert found.values.schema[feature.name] == feature.dtype
                assert found.statuses[feature.name].dtype == STATUS

    @pytest.mark.parametrize("size", [1, 2, 7])
    def test_chunks_do_not_show(self, store: Store, client: FeatureStoreClient, size: int) -> None:
        """However few keys a call may have, the answer is the same, and each is asked for once."""
        keys = contract_keys("customers")
        whole = client.lookup(keys, "customers:*")
        recording = RecordingStore(store, batch_size=size)
        seen: list[tuple[int, int]] = []
        with featkit.connect(recording, now=CONTRACT_NOW, cache=None) as chunked:
            cut = chunked.lookup(keys, "customers:*")
            featkit.features(keys).enrich(
                ["customers:visits"],
                store=chunked,
                progress=lambda done, total, _: seen.append((done, total)),
            )
        assert_frame_equal(_frame(cut), _frame(whole))
        half = recording.reads[: len(recording.reads) // 2]
        assert all(read.keys.height <= size for read in recording.reads)
        assert_frame_equal(pl.concat([read.keys for read in half]), keys)
        assert seen[-1] == (keys.height, keys.height)

    # -- clients

    def test_the_async_client_answers_the_same(
        self, store: Store, client: FeatureStoreClient
    ) -> None:
        """Also when one client is used in two event loops, one after the other."""
        keys = contract_keys("customers")
        right = _frame(client.lookup(keys, "customers:*"))
        other = featkit.connect_async(store, now=CONTRACT_NOW, cache=None)

        async def both() -> None:
            assert_frame_equal(_frame(await other.lookup(keys, "customers:*")), right)
            assert await other.list_feature_views() == client.list_feature_views()

        asyncio.run(both())
        asyncio.run(both())
        asyncio.run(other.close())

    def test_threads_share_a_client(self, client: FeatureStoreClient) -> None:
        """Sixteen at once get what one gets."""
        right = {key: client.get_online_features("customers", key) for key in _FRESH}

        def differing(number: int) -> list[int]:
            keys = [*_FRESH[number % len(_FRESH) :], *_FRESH]
            found = client.get_online_features_batch("customers", keys)
            return [k for k, row in zip(keys, found, strict=True) if repr(row) != repr(right[k])]

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(differing, range(16))) == [[]] * 16

    def test_a_closed_client_says_so(self, store: Store) -> None:
        """Closing twice is fine; using what is closed is an error of its own."""
        client = featkit.connect(store, now=CONTRACT_NOW, cache=None)
        client.close()
        client.close()
        with pytest.raises(ClosedError, match="closed"):
            client.get_online_features("customers", 1)

    def test_the_store_is_healthy(self, client: FeatureStoreClient) -> None:
        """The health check finds nothing wrong."""
        assert client.health_check()
        assert client.check_health().healthy

    def test_no_secret_shows(self, store: Store, client: FeatureStoreClient) -> None:
        """A credential is in no repr, no message, no report."""
        with pytest.raises(UnknownNameError) as caught:
            client.get_feature_metadata("nothing")
        shown = [repr(store), repr(client), client.target, repr(client.check_health())]
        shown += [repr(caught.value), repr(vars(store)), repr(client.list_feature_views())]
        assert [text for text in shown if self.secret in text] == []


def _knows_ages(store: Store) -> bool:
    """Tell whether the store says how old each entity's values are."""
    return store.capabilities.timestamp_level == "row"


def _frame(found: FeatureColumns) -> pl.DataFrame:
    """Return an answer as a frame, with all that is known of its values."""
    return found.to_polars(timestamps=True, statuses=True)


def _comparable(found: FeatureColumns, store: Store) -> pl.DataFrame:
    """Return an answer as a frame, without what the store does not tell of it."""
    known = pl.col(f"^.*{STATUS_SUFFIX}$")
    if not _knows_ages(store):
        known = known.replace([Status.EXPIRED, Status.FUTURE], [Status.PRESENT, Status.PRESENT])
    if not store.capabilities.tells_missing:
        known = known.replace([Status.NOT_FOUND], [Status.NULL])
    frame = found.to_polars(timestamps=_knows_ages(store), statuses=True)
    return frame.with_columns(known)
