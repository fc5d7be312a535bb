"""Feast over gRPC, against a fake that writes its messages by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featkit
from featkit.codecs import protobuf, protobuf_writing
from featkit.codecs.binary_columns import BinaryColumn
from featkit.errors import AuthError, ProtocolError, RequestRejected, RowMismatch
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.base import open_store
from featkit.stores.feast import values
from featkit.stores.feast.types import named_type
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views
from tests.fakes import feast_grpc
from tests.fakes.feast import PROJECT, FeastFake, served
from tests.fakes.feast_grpc import message, served_over_grpc
from tests.fakes.protobuf import part, varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.stores.base import Store

TOKEN = "canary-token-4711"


@pytest.fixture
def fake() -> FeastFake:
    return FeastFake(contract_views(), token=TOKEN)


@pytest.fixture
def opened(fake: FeastFake) -> Iterator[Callable[..., Store]]:
    with served(fake) as registry, served_over_grpc(fake) as address:

        def make(**options: Any) -> Store:
            known = {"registry_url": registry, "project": PROJECT, "token": TOKEN}
            return open_store(f"feast+grpc://{address}", known | options)

        yield make


@pytest.mark.slow
class TestFeastOverGrpc(StoreContract):
    has_history = False  # it is the offline server's, which is not named here
    secret = TOKEN

    @pytest.fixture
    def store(self, opened: Callable[..., Store]) -> Store:
        return opened()


@pytest.fixture
def client(opened: Callable[..., Store]) -> Iterator[featkit.FeatureStoreClient]:
    with featkit.connect(opened(), now=CONTRACT_NOW, cache=None) as client:
        yield client


def test_health_asks_the_server(client: featkit.FeatureStoreClient) -> None:
    assert client.check_health().healthy


def test_a_wrong_token_is_said_so(opened: Callable[..., Store]) -> None:
    with (
        featkit.connect(opened(token=TOKEN), now=CONTRACT_NOW) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        client.get_feature_metadata("customers")
        patch.setattr(client.operations.store.auth, "_token", lambda: "another-one")
        with pytest.raises(AuthError):
            client.lookup([1], ["customers:visits"])


LIES: dict[str, tuple[Callable[[bytes], bytes], type[Exception]]] = {
    "cut short": (lambda body: body[: len(body) // 2], ProtocolError),
    "nothing": (lambda _: b"", ProtocolError),
    "noise": (lambda _: bytes(range(256)), ProtocolError),
    "text": (lambda _: b"<html>not found</html>", ProtocolError),
    "a column less": (lambda body: body[: body.rindex(b"\x12")], ProtocolError),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_none_is_refused(
    client: featkit.FeatureStoreClient, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    change, kind = LIES[lie]
    honest = feast_grpc.answered
    monkeypatch.setattr(feast_grpc, "answered", lambda *args: change(honest(*args)))
    with pytest.raises(kind):
        client.lookup([1, 2], ["customers:visits"])


ROWS = {
    "shuffled": lambda column: {name: each[::-1] for name, each in column.items()},
    "a row less": lambda column: {name: each[1:] for name, each in column.items()},
    "a row more": lambda column: {name: [*each, each[0]] for name, each in column.items()},
}


@pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
@pytest.mark.parametrize("lie", ROWS)
def test_rows_are_joined_by_the_echoed_key_or_refused(
    client: featkit.FeatureStoreClient, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    honest = feast_grpc.answered
    right = client.lookup([1, 2, 3], ["customers:visits"]).values

    def lying(fake: FeastFake, said: dict[str, Any]) -> bytes:
        return honest(fake, said | {"results": [ROWS[lie](each) for each in said["results"]]})

    monkeypatch.setattr(feast_grpc, "answered", lying)
    if lie == "shuffled":
        assert client.lookup([1, 2, 3], ["customers:visits"]).values.equals(right)
    else:
        with pytest.raises(RowMismatch):
            client.lookup([1, 2, 3], ["customers:visits"])


def test_a_refusal_is_told_in_the_servers_words(client: featkit.FeatureStoreClient) -> None:
    store = client.operations.store
    driver = Entity("c", "customer_id", pl.Int64(), store_type="INT64")
    ghost = Feature("ghost", pl.Int64(), store_type="INT64")
    view = FeatureView(name="customers", entities=(driver,), features=(ghost,), timestamp="t")
    read = featkit.stores.base.OnlineRead(
        view, (ghost,), pl.DataFrame({"customer_id": [1]}), CONTRACT_NOW
    )

    def flow() -> Any:
        return (yield store.read_online(read))

    with pytest.raises(RequestRejected, match=r"Feast says: .*ghost"):
        client.run(flow())


# -- writing protobuf ------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_varints_are_written_as_protobuf_has_them(numbers: list[int]) -> None:
    written = protobuf_writing.varints(np.array(numbers, np.uint64)).to_pylist()
    assert written == [varint(number) for number in numbers]


@given(st.lists(st.binary(max_size=300), min_size=1))
def test_bytes_are_written_with_their_length(texts: list[bytes]) -> None:
    made = protobuf_writing.delimited(pa.array(texts, pa.large_binary())).to_pylist()
    assert made == [varint(len(text)) + text for text in texts]
    whole = b"".join(protobuf_writing.field(1, text) for text in texts)
    assert whole == b"".join(part(1, text) for text in texts)
    assert [bytes(held) for _, held in protobuf.members(memoryview(whole))] == texts


KINDS = {
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "BOOL": st.booleans(),
    "DOUBLE": st.floats(allow_nan=False),
    "STRING": st.text(),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_the_fake_writes_is_read_as_it_is(kind: str, data: Any) -> None:
    wanted = data.draw(st.lists(st.none() | KINDS[kind], min_size=1))
    column = pa.array([message(kind, each) for each in wanted], pa.large_binary())
    assert values.decode(BinaryColumn.of(column), named_type(kind), "x").to_list() == wanted
