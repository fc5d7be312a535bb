"""Stores whose source is asked who the entities are and when rows came: ``scan_source=True``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit.errors import NotSupportedError
from featkit.populations import PopulationRead
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views
from featkit.testing.gaps import GapContract
from featkit.testing.history import HistoryContract
from tests.fakes.databricks import DatabricksFake, workspace
from tests.fakes.s3 import BUCKET, DATABASE, Lake, lake
from tests.fakes.sagemaker import Group, SageMakerFake
from tests.fakes.vertex import VertexFake, google
from tests.stores import (
    test_databricks,
    test_lakebase,
    test_sagemaker,
    test_sagemaker_history,
    test_vertex,
)
from tests.stores.test_lakebase import Postgres, postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from featkit.schema import FeatureView
    from featkit.stores.base import Store

__all__ = ["StoreContract", "postgres"]  # whose import has assertions explained; a fixture
EACH = pytest.mark.parametrize(
    ("view", "rows"), contract_views(), ids=[view.name for view, _ in contract_views()]
)
TIMED = [(view, rows) for view, rows in contract_views() if view.timestamp]


def visible(view: FeatureView, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose event timestamps are not in the future."""
    return rows.filter(pl.col(view.timestamp) <= CONTRACT_NOW) if view.timestamp else rows


class Scanned(GapContract):
    """What is expected of each such store."""

    holds_nul = True
    knows_when_written = False

    @pytest.fixture
    def client(self, store: Store) -> Iterator[featkit.FeatureStoreClient]:
        with featkit.connect(store, now=CONTRACT_NOW, cache=None) as client:
            yield client

    def named(self, client: Any, name: str, sample: int | None = None) -> Any:
        view = client.get_feature_metadata(name)
        read = PopulationRead(view, view.features, CONTRACT_NOW, sample)
        return client.run(client.operations.store.name_entities(read))

    def right(self, view: FeatureView, rows: pl.DataFrame) -> pl.DataFrame:
        keys = visible(view, rows).select(view.join_keys).drop_nulls().unique()
        if not self.holds_nul:
            keys = keys.filter(~pl.any_horizontal(pl.all().cast(str).str.contains("\0")))
        return keys.sort(view.join_keys)

    @EACH
    def test_all_entities_are_named_once(
        self, client: featkit.FeatureStoreClient, view: FeatureView, rows: pl.DataFrame
    ) -> None:
        found, right = self.named(client, view.name), self.right(view, rows)
        assert_frame_equal(found.keys.sort(view.join_keys), right)
        assert found.total == right.height

    @EACH
    def test_a_sample_is_the_same_each_time(
        self, client: featkit.FeatureStoreClient, view: FeatureView, rows: pl.DataFrame
    ) -> None:
        right = self.right(view, rows)
        one, other = (self.named(client, view.name, 4) for _ in range(2))
        assert_frame_equal(one.keys, other.keys, check_row_order=False)
        assert one.total == right.height
        assert one.keys.height == min(4, right.height)
        assert one.keys.join(right, on=list(view.join_keys), how="anti").is_empty()

    @pytest.mark.parametrize(("view", "rows"), TIMED, ids=[view.name for view, _ in TIMED])
    def test_arrivals_are_those_of_the_rows(
        self, client: featkit.FeatureStoreClient, view: FeatureView, rows: pl.DataFrame
    ) -> None:
        own = client.get_feature_metadata(view.name)
        task: Any = client.operations.store.read_arrivals(own, CONTRACT_NOW)
        found = client.run(task if not hasattr(task, "request") else _flow(task))
        times = [view.timestamp, view.created] if self.knows_when_written else [view.timestamp]
        seen = visible(view, rows).select(pl.max_horizontal(filter(None, times))).to_series()
        if self.knows_when_written:
            seen = seen.filter(seen <= CONTRACT_NOW)
        assert set(found.moments) <= set(seen)
        minutes = {time.replace(second=0, microsecond=0) for time in seen}
        assert {time.replace(second=0, microsecond=0) for time in found.moments} == minutes
        if view.name == "customers":
            assert found.newest == visible(view, rows)[view.timestamp].max()

    def test_staleness_needs_no_entities(self, client: featkit.FeatureStoreClient) -> None:
        report = client.staleness()
        assert {view.view for view in report.views} == {view.name for view, _ in contract_views()}
        for view, rows in contract_views():
            found = report[view.name]
            count = self.right(view, rows).height
            assert found.n == count
            assert found.population.startswith(f"all {count} entit"), found.population
        assert "as its source has them" in report["customers"].population
        assert client.staleness(["customers:*"], sample=3)["customers"].population.startswith(
            "3 of "
        )


def _flow(call: Any) -> Any:
    return (yield call)


@pytest.mark.slow
class TestVertex(Scanned):
    @pytest.fixture(params=["groups", "two tables", "a table", "without types"])
    def store(self, request: pytest.FixtureRequest) -> Iterator[Store]:
        fake = VertexFake(
            contract_views(),
            in_groups=request.param != "a table",
            two_tables=request.param == "two tables",
        )
        with google(fake) as url:
            yield test_vertex.opened(url, scan_source=True)


@pytest.mark.slow
class TestDatabricks(Scanned):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        with workspace(DatabricksFake(contract_views())) as url:
            yield test_databricks.opened(url, warehouse_id="wh1", scan_source=True)


@pytest.mark.slow
class TestLakebase(Scanned):
    """Lakebase names the entities; when rows came, the warehouse knows."""

    holds_nul = False

    @pytest.fixture
    def store(self, postgres: Postgres) -> Iterator[Store]:
        fake = DatabricksFake(contract_views(), lakebase=postgres.renewed)
        with workspace(fake) as url:
            yield test_lakebase.opened(url, scan_source=True, warehouse_id="wh1")


@pytest.mark.slow
class TestSageMaker(Scanned):
    knows_when_written = True

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        views = test_sagemaker.VIEWS
        for view, rows in views:
            group = Group.of(view, rows)
            folder = tmp_path / group.name / "data"
            folder.mkdir(parents=True)
            test_sagemaker.recorded(view, rows, group).write_parquet(folder / "part-0.parquet")
        with SageMakerFake(*(Group.of(view, rows) for view, rows in views)) as fake:
            yield test_sagemaker.opened(fake.url, offline_path=str(tmp_path))


@pytest.fixture(scope="module")
def account() -> Iterator[Lake]:
    with lake() as made:
        for view, rows in test_sagemaker.VIEWS:
            group = Group.of(view, rows)
            frame = test_sagemaker.recorded(view, rows, group)
            # as the service writes: several files, in folders by the hour of writing
            for number in range(2):
                folder = f"offline/{group.name}/data/year=2024/month=05/day=01/hour=1{number}"
                part = frame.gather_every(2, number) if frame.height else frame
                made.put({f"{folder}/part-{number}.parquet": part})
        yield made


@pytest.mark.slow
class TestSageMakerOnS3(Scanned, HistoryContract):
    knows_when_written = True

    @pytest.fixture
    def store(self, account: Lake) -> Iterator[Store]:
        groups = [Group.of(view, rows) for view, rows in test_sagemaker.VIEWS]
        for group in groups:
            group.offline = f"s3://{BUCKET}/offline/{group.name}"
        with SageMakerFake(*groups) as fake:
            yield test_sagemaker.opened(fake.url, s3_url=account.url, scan_source=True)

    @pytest.fixture
    def past(self, store: Store) -> Store:
        return store


@pytest.fixture(scope="module")
def tables(account: Lake) -> Lake:
    """Write the same rows as tables."""
    from tests.fakes.iceberg import Icebergs  # noqa: PLC0415 - takes a second

    icebergs = Icebergs(account)
    for view, rows in test_sagemaker.VIEWS:
        frame = test_sagemaker.recorded(view, rows, Group.of(view, rows))
        # a file holds all rows twice; those that are there once too often are deleted
        table = icebergs.write(view.name, pl.concat([frame, frame]))
        for task in table.scan().plan_files():
            gone = range(frame.height, 2 * frame.height)
            lost = [{"file_path": task.file.file_path, "pos": place} for place in gone]
            icebergs.delete(table, lost)
    return account


@pytest.mark.slow
class TestSageMakerWithIceberg(Scanned, HistoryContract):
    """Tables of the format Iceberg, with files that say which rows are gone."""

    knows_when_written = True

    @pytest.fixture
    def store(self, tables: Lake) -> Iterator[Store]:
        groups = [Group.of(view, rows) for view, rows in test_sagemaker.VIEWS]
        for group in groups:
            group.offline, group.table_format = f"s3://{BUCKET}/iceberg", "Iceberg"
            group.table = f"{DATABASE}.{group.name}"
        with SageMakerFake(*groups) as fake:
            known = {"s3_url": tables.url, "glue_url": tables.url}
            yield test_sagemaker.opened(fake.url, scan_source=True, **known)

    @pytest.fixture
    def past(self, store: Store) -> Store:
        return store


# -- what it costs, and who may not ----------------------------------------------------------------

WITHOUT = {
    "databricks": lambda url: test_databricks.opened(url, warehouse_id="wh1"),
    "vertex": test_vertex.opened,
}


@pytest.fixture
def databricks() -> Iterator[tuple[DatabricksFake, str]]:
    fake = DatabricksFake(contract_views())
    with workspace(fake) as url:
        yield fake, url


@pytest.fixture
def vertex() -> Iterator[tuple[VertexFake, str]]:
    fake = VertexFake(contract_views())
    with google(fake) as url:
        yield fake, url


@pytest.mark.parametrize("name", WITHOUT)
def test_nothing_is_scanned_unless_it_is_asked_for(
    request: pytest.FixtureRequest, name: str
) -> None:
    fake, url = request.getfixturevalue(name)
    with featkit.connect(WITHOUT[name](url), now=CONTRACT_NOW, cache=None) as client:
        reason = client.staleness(["customers:*"])["customers"].reason
        assert "billed" in reason or "bills" in reason
        assert "scan_source=True" in reason
        view = client.get_feature_metadata("customers")
        with pytest.raises(NotSupportedError, match="scan_source=True"):
            client.run(client.operations.store.sample_entities(view, 3, CONTRACT_NOW))
    assert not [one for one in fake.asked if "statements" in one.path or "queries" in one.path]


def test_s3_is_not_read_unless_it_is_asked_for() -> None:
    view, rows = contract_views()[0]
    group = Group.of(view, rows)
    group.offline = "s3://nowhere/offline"
    with (
        SageMakerFake(group) as fake,
        featkit.connect(test_sagemaker.opened(fake.url), now=CONTRACT_NOW) as client,
    ):
        reason = client.staleness(["customers:*"])["customers"].reason
        assert "billed" in reason
        assert "scan_source=True" in reason


def test_queries_read_keys_and_times_alone(
    databricks: tuple[DatabricksFake, str], vertex: tuple[VertexFake, str]
) -> None:
    (workspace_, first), (google_, second) = databricks, vertex
    for store in (
        test_databricks.opened(first, warehouse_id="wh1", scan_source=True),
        test_vertex.opened(second, scan_source=True),
    ):
        with featkit.connect(store, now=CONTRACT_NOW, cache=None) as client:
            client.staleness(["customers:visits"])
    sent = [json.loads(one.body) for one in workspace_.asked if one.path.endswith("statements")]
    texts = [body["statement"] for body in sent]
    sent = [json.loads(one.body) for one in google_.asked if one.path.endswith("/queries")]
    texts += [body["query"] for body in sent]
    assert len(texts) == 4
    for text in texts:
        assert "customer_id" in text or "featkit_moment" in text
        for feature in contract_views()[0][0].feature_names:
            assert f"`{feature}`" not in text


def test_one_query_that_fails_leaves_the_other_views(
    databricks: tuple[DatabricksFake, str],
) -> None:
    fake, url = databricks
    store = test_databricks.opened(url, warehouse_id="wh1", scan_source=True)
    with featkit.connect(store, now=CONTRACT_NOW, cache=None) as client:
        client.list_feature_views()
        run = fake._run  # noqa: SLF001 - of our own fake

        def failing(body: dict[str, Any]) -> Any:
            if "routes" in body["statement"]:
                raise duckdb.Error("no such column")
            return run(body)

        fake._run = failing  # type: ignore[method-assign]  # noqa: SLF001
        report = client.staleness(["customers:*", "routes:*"])
    assert report["routes"].verdict == "failed"
    assert "FAILED" in report["routes"].reason
    assert report["customers"].n > 0


def test_a_view_without_a_table_says_so(vertex: tuple[VertexFake, str]) -> None:
    fake, url = vertex
    fake.in_groups = False
    honest = fake._view  # noqa: SLF001 - of our own fake

    def view(own: FeatureView) -> dict[str, Any]:
        return honest(own) | {"bigQuerySource": {"uri": "", "entityIdColumns": ["customer_id"]}}

    fake._view = view  # type: ignore[method-assign]  # noqa: SLF001
    store = test_vertex.opened(url, scan_source=True, bigquery=False)
    with featkit.connect(store, now=CONTRACT_NOW, cache=None) as client:
        found = client.staleness(["customers:*"])["customers"]
    assert "neither feature groups nor a table of BigQuery" in found.reason


def test_who_was_deleted_is_no_entity(tmp_path: Path) -> None:
    for name, frame in test_sagemaker_history.files():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)
    group = Group("customers", "customer_id", "at", dict(test_sagemaker_history.GROUPS))
    hour, noon = test_sagemaker_history.HOUR, test_sagemaker_history.NOON
    with SageMakerFake(group) as fake:
        store = test_sagemaker.opened(fake.url, offline_path=str(tmp_path), views={})
        with featkit.connect(store, cache=None) as client:
            view = client.get_feature_metadata("customers")
            for hours, right in ((-1, []), (3.5, ["a", "b"]), (4, ["b"])):
                moment = noon + hours * hour
                read = PopulationRead(view, (), moment)
                found = client.run(store.name_entities(read))
                assert found.keys["customer_id"].to_list() == right
            call: Any = store.read_arrivals(view, noon + 3 * hour)
            arrivals = client.run(_flow(call))
            # the one that was written again came when it was written
            assert sorted(arrivals.moments) == [noon, noon, noon + hour, noon + 3 * hour]
            assert arrivals.newest == noon + hour


def test_a_record_whose_event_time_is_none_names_nobody(tmp_path: Path) -> None:
    """As in training sets, where such a row is never known."""
    rows = [frame for _, frame in test_sagemaker_history.files()]
    odd = rows[0].with_columns(customer_id=pl.lit("odd"), at=pl.lit("yesterday"))
    (tmp_path / "customers").mkdir()
    pl.concat([rows[0], odd]).write_parquet(tmp_path / "customers/a.parquet")
    group = Group("customers", "customer_id", "at", dict(test_sagemaker_history.GROUPS))
    with SageMakerFake(group) as fake:
        store = test_sagemaker.opened(fake.url, offline_path=str(tmp_path), views={})
        with featkit.connect(store, cache=None) as client:
            view = client.get_feature_metadata("customers")
            read = PopulationRead(view, (), test_sagemaker_history.NOON)
            assert client.run(store.name_entities(read)).keys["customer_id"].to_list() == ["a"]


def test_a_group_without_files_says_so(tmp_path: Path) -> None:
    view, rows = contract_views()[0]
    with SageMakerFake(Group.of(view, rows)) as fake:
        store = test_sagemaker.opened(fake.url, scan_source=True)
        with featkit.connect(store, now=CONTRACT_NOW, cache=None) as client:
            found = client.staleness(["customers:*"])["customers"]
            assert "serves it online only" in found.reason
        store = test_sagemaker.opened(fake.url, offline_path=str(tmp_path / "nothing"))
        with featkit.connect(store, now=CONTRACT_NOW, cache=None) as client:
            found = client.staleness(["customers:*"])["customers"]
            assert found.verdict == "failed"
            assert "cannot be read" in found.reason
