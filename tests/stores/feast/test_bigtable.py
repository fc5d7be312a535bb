"""Feast's values in Google's emulator of Bigtable, and in a fake that cuts answers up as it may."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import grpc
import polars as pl
import pytest

import featkit
from featkit import Status
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    MissingExtraError,
    ProtocolError,
    RequestRejected,
    RowMismatch,
    SettingsError,
    StoreUnavailable,
    UnknownNameError,
)
from featkit.schema import Entity, FeatureView
from featkit.stores.base import open_store
from featkit.stores.feast.bigtable import BigtableStore
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views
from featkit.transports.options import Limits, Retry
from tests.fakes.bigtable import Bigtable, Chunk, fill, served
from tests.fakes.feast import PROJECT, FeastFake
from tests.fakes.feast import served as served_feast
from tests.fakes.protobuf import part
from tests.programs.running import bigtable_emulator, has_bigtable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from featkit.stores.base import Store

pytestmark = pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
KEYS = pl.DataFrame({"customer_id": [*range(1, 9), *range(10_000, 10_040)]})


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with served_feast(FeastFake(contract_views())) as url:
        yield url


def opened(address: str, registry: str, **options: Any) -> Store:
    known = {"registry_url": registry, "project": PROJECT, "endpoint_url": f"http://{address}"}
    return open_store("feast+bigtable:p/i", known | options)


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with bigtable_emulator() as address:
        fill(address, PROJECT, contract_views())
        yield address


if has_bigtable():  # where it is not, the fake stands in for it

    @pytest.mark.slow
    class TestFeastBigtable(StoreContract):
        @pytest.fixture
        def store(self, emulator: str, registry: str) -> Store:
            return opened(emulator, registry)


@pytest.fixture(scope="module")
def pieces() -> Iterator[str]:
    with served(Bigtable(cut=5, again=3, together=2)) as address:
        fill(address, PROJECT, contract_views())
        yield address


@pytest.mark.slow
class TestFeastBigtableInPieces(StoreContract):
    """The fake, whose answers are in as many pieces as the service may make of them."""

    @pytest.fixture
    def store(self, pieces: str, registry: str) -> Store:
        return opened(pieces, registry)


# -- the fake alone ------------------------------------------------------------------------------


@pytest.fixture
def fake() -> Bigtable:
    return Bigtable()


@pytest.fixture
def client(fake: Bigtable, registry: str) -> Iterator[featkit.FeatureStoreClient]:
    with served(fake) as address:
        fill(address, PROJECT, contract_views())
        fake.told.clear()
        store = opened(address, registry)
        quick = Retry(attempts=2)
        with featkit.connect(store, now=CONTRACT_NOW, retry=quick, cache=None) as connected:
            yield connected


def test_however_an_answer_is_cut_up_it_says_the_same(
    fake: Bigtable, client: featkit.FeatureStoreClient
) -> None:
    right = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    assert right["visits"].null_count() < 45
    for cut, again, together, terse in [(1, 1, 1, True), (3, 2, 100, False), (9, 0, 2, True)]:
        fake.cut, fake.again, fake.together, fake.terse = cut, again, together, terse
        found = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
        assert found.equals(right)


def test_two_thousand_rows_are_asked_for_at_a_time(
    fake: Bigtable, client: featkit.FeatureStoreClient
) -> None:
    fake.most = 2000
    keys = pl.DataFrame({"customer_id": range(5000)})
    found = client.lookup(keys, ["customers:visits"])
    first, *others = fake.asked
    assert first == 20  # for keys of an older layout
    assert sum(others) == 5000
    assert len(others) == 3
    assert max(others) <= 2000
    assert found.statuses["visits"].null_count() == 0
    assert (found.statuses["visits"] == Status.NOT_FOUND).sum() > 4900


MANY = pl.DataFrame({"customer_id": [*range(1, 5), *range(10_000, 10_400)]})


@pytest.mark.slow
@pytest.mark.parametrize(("cut", "after"), [(1, 20), (10**9, 4)])
@pytest.mark.parametrize("scans", [True, False])
@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "ABORTED", "RESOURCE_EXHAUSTED"])
def test_of_a_stream_that_breaks_off_only_the_rest_is_asked_for_again(
    fake: Bigtable,
    client: featkit.FeatureStoreClient,
    code: str,
    cut: int,
    after: int,
    *,
    scans: bool,
) -> None:
    right = client.lookup(MANY, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    fake.cut, fake.together = cut, 3
    if not scans:  # the last message says up to where was looked
        fake.spoil = lambda sent: sent[:-1]
    fake.asked.clear()
    fake.breaks = [(after, getattr(grpc.StatusCode, code)), (after, grpc.StatusCode.UNAVAILABLE)]
    found = client.lookup(MANY, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    assert found.equals(right)
    first, second, third = fake.asked
    assert len(MANY) == first > second > third


def test_a_stream_that_breaks_before_a_row_is_there_is_asked_for_whole(
    fake: Bigtable, client: featkit.FeatureStoreClient
) -> None:
    right = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    fake.cut, fake.together = 1, 1
    for after in (0, 1, 5):
        fake.asked.clear()
        fake.breaks = [(after, grpc.StatusCode.UNAVAILABLE)]
        found = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
        assert found.equals(right)
        assert fake.asked == [len(KEYS)] * 2


def test_a_stream_that_breaks_at_every_row_still_comes_to_its_end(
    fake: Bigtable, client: featkit.FeatureStoreClient
) -> None:
    right = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    fake.together = 12  # more than the cells of a row
    fake.breaks = [(1, grpc.StatusCode.UNAVAILABLE)] * 4
    found = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    assert found.equals(right)


def test_rows_out_of_order_tell_nothing_of_those_that_are_absent(
    fake: Bigtable, client: featkit.FeatureStoreClient
) -> None:
    right = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    turns = iter([lambda sent: sent[-2::-1]])
    fake.together = 100
    fake.spoil = lambda sent: next(turns, list)(sent)  # noqa: PLW0108 - another one each time
    fake.asked.clear()
    fake.breaks = [(100, grpc.StatusCode.UNAVAILABLE)]
    found = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    assert found.equals(right)


def test_the_way_to_the_instance_is_told(
    fake: Bigtable, client: featkit.FeatureStoreClient
) -> None:
    client.lookup(KEYS, ["customers:visits"])
    way = fake.told[-1]["x-goog-request-params"]
    name = f"projects%2Fp%2Finstances%2Fi%2Ftables%2F{PROJECT}."
    assert way.startswith(f"table_name={name}")
    assert way.endswith("&app_profile_id=")


def test_no_credentials_go_to_an_emulator(
    fake: Bigtable, client: featkit.FeatureStoreClient
) -> None:
    client.lookup(KEYS, ["customers:visits"])
    assert all("authorization" not in told for told in fake.told)


def chunk(**said: Any) -> bytes:
    return part(1, Chunk(**said).encoded())


def cell(key: bytes, value: bytes = b"", **more: Any) -> bytes:
    return chunk(key=key, family="features", column=b"event_ts", value=value, **more)


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (lambda sent: sent * 2, RowMismatch, "nothing was joined"),
        (lambda sent: [*sent, cell(b"x#customers", commit=True)], RowMismatch, "not asked for"),
        (lambda sent: [*sent, cell(b"x")], ProtocolError, "ends within a row"),
        (lambda sent: sent[:1], ProtocolError, "ends within a row"),
        (
            lambda _: [cell(b"x"), chunk(key=b"y", column=b"b", commit=True)],
            ProtocolError,
            "without a key, or with two",
        ),
        (lambda _: [cell(b"", commit=True)], ProtocolError, "without a key"),
        (
            lambda _: [cell(b"x", b"ab", size=3), chunk(value=b"cd", commit=True)],
            ProtocolError,
            "parts are not all there",
        ),
        (lambda _: [cell(b"x", b"ab", size=3, commit=True)], ProtocolError, "parts are not all"),
        (lambda _: [chunk(key=b"x", commit=True)], ProtocolError, "does not tell its family"),
        (
            lambda _: [chunk(key=b"x", family="features", commit=True)],
            ProtocolError,
            "family|column",
        ),
        (lambda _: [b"\x0a\x05abc"], ProtocolError, "not protobuf as expected"),
        (lambda _: [b"\x7a\x00"], ProtocolError, "not protobuf as expected"),
        (lambda sent: [each[:-1] for each in sent], ProtocolError, "not protobuf as expected"),
    ],
)
def test_what_is_no_answer_is_refused(
    fake: Bigtable,
    client: featkit.FeatureStoreClient,
    spoil: Callable[[list[bytes]], Sequence[bytes]],
    kind: type[Exception],
    said: str,
) -> None:
    fake.spoil = spoil
    with pytest.raises(kind, match=said):
        client.lookup(KEYS, ["customers:visits"])


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (b"event_ts", b"yesterday", "event_ts is no time"),
        (b"event_ts", b"\xff", "UTF-8"),
        (b"visits", b"\x12\x03two", "'visits'.*INT64.*STRING"),
        (b"visits", b"\x20", "'visits'"),
        (b"score", b"\x29\x00", "'score'"),
    ],
)
def test_what_cannot_be_read_is_named(
    fake: Bigtable, client: featkit.FeatureStoreClient, column: bytes, value: bytes, said: str
) -> None:
    for table in fake.tables.values():
        for key, row in table.items():
            if key.endswith(b"#customers"):
                row["features", column] = [(1, value)]
    with pytest.raises(ProtocolError, match=said):
        client.lookup(KEYS, ["customers:visits", "customers:score"])


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("NOT_FOUND", UnknownNameError, r"no table 'contract.*it says.*project="),
        ("PERMISSION_DENIED", AuthError, r"roles/bigtable\.reader"),
        ("UNAUTHENTICATED", AuthError, "expired"),
        ("UNAVAILABLE", StoreUnavailable, "it says"),
        ("INVALID_ARGUMENT", RequestRejected, "it says"),
    ],
)
def test_refusals_are_explained(
    fake: Bigtable,
    client: featkit.FeatureStoreClient,
    code: str,
    kind: type[Exception],
    said: str,
) -> None:
    fake.refuse = getattr(grpc.StatusCode, code), "it says"
    with pytest.raises(kind, match=said):
        client.lookup(KEYS, ["customers:visits"])


def test_a_stream_larger_than_the_limit_ends(fake: Bigtable, registry: str) -> None:
    with served(fake) as address:
        fill(address, PROJECT, contract_views())
        fake.spoil = lambda sent: [*sent, *[cell(b"x", b"0" * 10_000, commit=True)] * 100]
        limits = Limits(reply=50_000)
        with (
            featkit.connect(opened(address, registry), limits=limits, cache=None) as client,
            pytest.raises(BatchTooLarge, match="more than 50,000 bytes"),
        ):
            client.lookup([1], ["customers:visits"])


def test_health_tells_the_table(fake: Bigtable, client: featkit.FeatureStoreClient) -> None:
    (check, _) = client.check_health().checks
    assert check.name == "bigtable"
    assert "has the table 'contract." in check.found
    for table in fake.tables.values():
        table.clear()
    assert "which is empty" in client.check_health().checks[0].found
    fake.refuse = grpc.StatusCode.PERMISSION_DENIED, "no"
    assert not client.check_health().authorized


# -- what stands in a target and in options ------------------------------------------------------


@pytest.mark.parametrize("target", ["", "p", "p/i/t", "//p/i", "p/", "P/i"])
def test_a_target_without_an_instance_is_refused(target: str) -> None:
    with pytest.raises(SettingsError):
        open_store(f"feast+bigtable:{target}", {"registry_url": "http://h", "project": "p"})


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://h:1", "http://h", "https://u:p@h:1"])
def test_an_endpoint_is_a_url_with_a_port(url: str) -> None:
    options = {"registry_url": "http://h", "project": "p", "endpoint_url": url}
    with pytest.raises(SettingsError, match="https://HOST:PORT"):
        open_store("feast+bigtable:p/i", options)


@pytest.mark.parametrize("absent", ["grpc", "google.auth"])
def test_without_the_extra_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtraError, match=r"featkit-frames\[gcp\]"):
        open_store("feast+bigtable:p/i", {"registry_url": "http://h", "project": "p"})


@pytest.mark.parametrize(
    ("project", "entities", "table"),
    [  # as Feast 0.67 names them
        ("rides", ["driver"], "rides.driver"),
        ("rides", [], "rides.__dummy"),
        ("rides", ["driver", "customer"], "rides.customer-driver"),
        ("rides", ["a_long_entity", "a_longer_entity"], "rides.ab85d55e316376e304902c50"),
        ("p" * 60, ["driver"], "pppppppppp_51076b2116168bdcb39555728ba31f04.driver"),
    ],
)
def test_tables_are_named_as_feast_does(project: str, entities: list[str], table: str) -> None:
    view = FeatureView(
        name="v",
        entities=tuple(Entity(name, f"{name}_id", pl.Int64()) for name in entities),
        features=(),
        entity_names=tuple(entities),
    )
    store = open_store("feast+bigtable:p/i", {"registry_url": "http://h", "project": project})
    assert isinstance(store, BigtableStore)
    assert store.table(view) == table
