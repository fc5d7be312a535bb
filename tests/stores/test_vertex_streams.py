"""Lookups of Vertex AI as streams over gRPC, against a fake of its own hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_series_equal

import featkit
from featkit import Status
from featkit.errors import (
    AuthError,
    FeatkitError,
    IncompleteAnswer,
    ProtocolError,
    RowMismatch,
    UnknownNameError,
)
from featkit.testing import CONTRACT_NOW, StoreContract, contract_keys, contract_views, described
from tests.fakes.protobuf import part, varint
from tests.fakes.vertex import VertexFake, google
from tests.fakes.vertex_grpc import answer_message, streamed
from tests.stores.test_vertex import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from featkit.stores.base import Store

SHAPES = described(
    pl.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "at": [datetime(2024, 5, 1, hour, 0, 0, 7, tzinfo=UTC) for hour in range(4)],
            "place": [
                {"city": "Oslo", "zip": 2**53 + 1, "tags": ["a", "b"], "deep": {"x": 0.5}},
                {"city": None, "zip": None, "tags": [], "deep": {"x": None}},
                {"city": "", "zip": -1, "tags": ["é🦉"], "deep": {"x": float("inf")}},
                None,
            ],
            "day": [date(1969, 12, 31), None, date(2024, 2, 29), None],
            "raw": [b"\0\xff", b"", None, b"x"],
            "counts": [[1, -(2**63)], [], None, [0]],
            "flags": [[True, False], [], None, [True]],
        },
        schema_overrides={
            "at": pl.Datetime("us", "UTC"),
            "place": pl.Struct(
                {
                    "city": pl.String,
                    "zip": pl.Int64,
                    "tags": pl.List(pl.String),
                    "deep": pl.Struct({"x": pl.Float64}),
                }
            ),
        },
    ),
    name="shapes",
    join_keys="id",
    timestamp="at",
)


@pytest.fixture
def fake() -> VertexFake:
    return VertexFake([*contract_views(), SHAPES])


@pytest.fixture
def url(fake: VertexFake) -> Iterator[str]:
    with google(fake) as url:
        yield url


@pytest.fixture
def place(fake: VertexFake) -> Iterator[str]:
    with streamed(fake) as place:
        yield place


@pytest.fixture
def client(url: str, place: str) -> Iterator[featkit.FeatureStoreClient]:
    store = opened(url, grpc=True, grpc_endpoint=place)
    quick = featkit.Retry(base=timedelta(0))
    with featkit.connect(store, now=CONTRACT_NOW, cache=None, retry=quick) as client:
        yield client


@pytest.mark.slow
class TestVertexStreams(StoreContract):
    secret = "canary"

    @pytest.fixture
    def store(self, fake: VertexFake, url: str, place: str) -> Store:
        fake.views = list(contract_views())
        return opened(url, grpc=True, grpc_endpoint=place)


def test_one_stream_asks_for_many_keys(fake: VertexFake, client: Any) -> None:
    client.lookup(list(range(1000, 2200)), ["customers:visits"])
    assert sum(fake.streams) == 1200
    assert max(fake.streams) <= 500
    assert client.last_summary.calls == len(fake.streams) <= 8


def test_a_stream_that_asks_for_too_many_is_cut_and_the_size_remembered(
    fake: VertexFake, client: Any
) -> None:
    fake.most_keys = 20
    client.lookup(list(range(1000, 1300)), ["customers:visits"])
    client.lookup(list(range(2000, 2300)), ["customers:visits"])
    assert sum(fake.streams) == 600
    assert max(fake.streams) <= 20


@pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
@pytest.mark.parametrize("name", [view.name for view, _ in contract_views()])
def test_a_stream_answers_as_single_requests_do(url: str, client: Any, name: str) -> None:
    keys = contract_keys(name)
    with featkit.connect(opened(url), now=CONTRACT_NOW, cache=None) as single:
        found, right = (each.lookup(keys, f"{name}:*") for each in (client, single))
    assert_frame_equal(
        found.to_polars(timestamps=True, statuses=True),
        right.to_polars(timestamps=True, statuses=True),
    )


@pytest.mark.parametrize("way", ["stream", "requests"])
def test_structs_and_everything_else_come_back(url: str, client: Any, way: str) -> None:
    view, rows = SHAPES
    with featkit.connect(opened(url), now=CONTRACT_NOW, cache=None) as single:
        found = (client if way == "stream" else single).lookup([4, 1, 404, 3, 2], "shapes:*")
    right = rows.select("place", "day", "raw", "counts", "flags")[[3, 0, 0, 2, 1]]
    gone = pl.Series([False, False, True, False, False])
    right = right.select(pl.when(~gone).then(pl.all()))
    assert_frame_equal(found.values, right, check_column_order=False)
    for name in view.feature_names:
        assert found.statuses[name][2] == Status.NOT_FOUND
        assert found.stamps(name).to_list()[1] == datetime(2024, 5, 1, 0, 0, 0, 7, tzinfo=UTC)


def test_credentials_and_names_that_are_wrong_are_told(
    fake: VertexFake, url: str, place: str
) -> None:
    known = {"grpc": True, "grpc_endpoint": place}
    with featkit.connect(opened(url, **known), cache=None) as client:
        client.get_feature_metadata("customers")
        fake.token = "another"
        with pytest.raises(AuthError, match="those that were passed as token") as caught:
            client.lookup([1], ["customers:visits"])
    assert "canary" not in str(caught.value)


def lied(fake: VertexFake, client: Any, lie: Callable[[list[bytes]], list[bytes]]) -> Any:
    client.get_feature_metadata("customers")
    fake.lie = lambda messages: lie(list(messages))
    return client.lookup([1, 2, 404], ["customers:visits"])


KEY = part(1, b"9")
NOBODY = {"keyValues": {"features": [{"name": "visits", "value": {"int64Value": "1"}}]}}
LIES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], type[Exception]]] = {
    "cut short": (lambda said: [each[:-1] for each in said], ProtocolError),
    "noise": (lambda _: [bytes(range(256))], ProtocolError),
    "text": (lambda _: [b"<html>not found</html>"], ProtocolError),
    "twice": (lambda said: [*said, *said], RowMismatch),
    "of another": (lambda said: [*said, part(2, answer_message(NOBODY, KEY))], RowMismatch),
    "without a key": (lambda said: [*said, part(2, part(3, b""))], ProtocolError),
    "nothing": (lambda _: [], FeatkitError),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_lie_becomes_a_wrong_value(fake: VertexFake, client: Any, lie: str) -> None:
    change, kind = LIES[lie]
    with pytest.raises(kind):
        lied(fake, client, change)


def test_times_that_no_calendar_has_are_refused(fake: VertexFake, client: Any) -> None:
    stamp = {"name": "seen_at", "value": {"int64Value": str(1714564800 * 10**9)}}
    said = part(2, answer_message({"keyValues": {"features": [stamp]}}, part(1, b"1")))
    client.get_feature_metadata("customers")
    fake.lie = lambda _: [said]
    with pytest.raises(ProtocolError, match=r"'seen_at': .* 1,714,564,800,000,000,000 micro"):
        client.lookup([1], ["customers:seen_at"])


def test_what_a_stream_leaves_out_is_asked_for_again(fake: VertexFake, client: Any) -> None:
    turns = iter([True])

    def lie(said: list[bytes]) -> list[bytes]:
        return said[:1] if next(turns, False) else said  # only that 404 is unknown

    found = lied(fake, client, lie)
    assert found.values["visits"].to_list() == [2**53 + 1, 2, None]
    assert found.statuses["visits"][2] == Status.NOT_FOUND
    assert fake.streams == [3, 2]


def test_streams_that_gather_keep_their_keys_apart(fake: VertexFake, url: str, place: str) -> None:
    turns = iter([False, True])  # the second stream that is answered says nothing

    def lie(messages: Iterable[bytes]) -> list[bytes]:
        said = list(messages)
        return [] if next(turns, False) else said

    keys, features = [404, 2, 1, 405, 2, 406], ["customers:visits", "customers:name"]
    how: dict[str, Any] = {"now": CONTRACT_NOW, "cache": None}
    with featkit.connect(opened(url, grpc=True, grpc_endpoint=place), **how) as one:
        whole = one.lookup(keys, features)
    store = opened(url, grpc=True, grpc_endpoint=place, batch_size=1)
    with featkit.connect(store, **how) as client:
        client.get_feature_metadata("customers")
        fake.streams.clear()
        fake.lie = lie
        found = client.lookup(keys, features)
    assert fake.streams == [1] * 6  # five keys, of which one is asked for twice
    assert_frame_equal(found.values, whole.values)
    assert found.values["visits"].to_list() == [None, 2, 2**53 + 1, None, 2, None]
    for name in whole.statuses:
        assert_series_equal(found.statuses[name], whole.statuses[name])
        assert_series_equal(found.timestamps[name], whole.timestamps[name])


def test_an_error_of_some_keys_leaves_the_others(fake: VertexFake, client: Any) -> None:
    broken = varint(1 << 3) + varint(3) + part(2, b"this key is no good")

    def lie(said: list[bytes]) -> list[bytes]:
        return [part(1, broken) + part(3, part(1, b"404")), *said[1:]]

    with pytest.raises(
        IncompleteAnswer, match=r"no answer for 1 of 3 .*this key is no good"
    ) as caught:
        lied(fake, client, lie)
    assert caught.value.partial.values["visits"].to_list() == [2**53 + 1, 2, None]


@pytest.mark.filterwarnings("ignore::featkit.errors.SettingsWarning")  # which tell of it, too
def test_a_view_that_is_gone_is_named(fake: VertexFake, client: Any) -> None:
    client.get_feature_metadata("customers")
    fake.views = []
    with pytest.raises(UnknownNameError, match="customers"):
        client.lookup([1], ["customers:visits"])
