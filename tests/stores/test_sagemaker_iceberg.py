"""Offline stores that are Iceberg tables: written by pyiceberg, in the S3 and the Glue of moto."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from featkit.errors import (
    AuthError,
    MissingExtraError,
    NotSupportedError,
    SourceError,
    UnknownNameError,
)
from featkit.history import HistoryRead
from tests.fakes.s3 import BUCKET, DATABASE, Lake, lake
from tests.fakes.sagemaker import SECRET, Group, SageMakerFake
from tests.stores.test_sagemaker_history import GROUPS, HOUR, NOON, SPINE, connected, files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyiceberg.table import Table

    import featkit
    from tests.fakes.iceberg import Icebergs

pytestmark = pytest.mark.slow
ALL = [None, 1, 20, 20, None, 7, None, None, None]
WITHOUT_THE_SECOND_WRITING = [None, 1, 2, 2, None, 7, None, None, None]


@pytest.fixture
def account() -> Iterator[Lake]:
    with lake() as made:
        yield made


@pytest.fixture
def icebergs(account: Lake) -> Icebergs:
    from tests.fakes.iceberg import Icebergs  # noqa: PLC0415 - takes a second, with pyiceberg

    return Icebergs(account)


@pytest.fixture
def table(icebergs: Icebergs) -> Table:
    """A table of the rows, one commit for each."""
    return icebergs.write("customers", *(frame for _, frame in files()))


@pytest.fixture
def fake() -> Iterator[SageMakerFake]:
    group = Group("customers", "customer_id", "at", dict(GROUPS), ttl=timedelta(hours=6))
    group.offline, group.table_format = f"s3://{BUCKET}/iceberg", "Iceberg"
    group.table = f"{DATABASE}.customers"
    with SageMakerFake(group) as fake:
        yield fake


@pytest.fixture
def client(
    fake: SageMakerFake, account: Lake, table: Table
) -> Iterator[featkit.FeatureStoreClient]:
    del table
    with connected(fake, s3_url=account.url, glue_url=account.url, scan_source=True) as client:
        yield client


def visits(client: featkit.FeatureStoreClient, **options: Any) -> list[int | None]:
    made = client.get_historical_features(SPINE, ["customers:visits"], at="t", **options)
    found: list[int | None] = made.frame["visits"].to_list()
    return found


@pytest.mark.parametrize(
    ("options", "right"),
    [
        ({}, ALL),
        ({"engine": "duckdb"}, ALL),
        ({"known_by": "created"}, [None, 1, 2, 20, None, 7, None, None, None]),
        ({"lookback": {"customers": "2h"}}, [None, 1, 20, None, *[None] * 5]),
    ],
    ids=str,
)
def test_rows_of_all_commits_count(
    client: featkit.FeatureStoreClient, options: dict[str, Any], right: list[int | None]
) -> None:
    assert visits(client, **options) == right
    view = client.get_feature_metadata("customers")
    assert view.offline
    assert view.tags["offline_store_table"] == f"{DATABASE}.customers"


def file_of(table: Table, value: int) -> str:
    """Find the data file with a value."""
    for task in table.scan(row_filter=f"visits == {value}").plan_files():
        return task.file.file_path
    raise LookupError(value)


@pytest.mark.parametrize("how", ["copy on write", "merge on read"])
def test_deleted_rows_do_not_count(
    client: featkit.FeatureStoreClient, icebergs: Icebergs, table: Table, how: str
) -> None:
    assert visits(client) == ALL
    if how == "copy on write":
        table.delete("visits == 20")
    else:
        path = file_of(table, 20)
        table = icebergs.delete(table, [{"file_path": path, "pos": 0}])
    assert visits(client) == WITHOUT_THE_SECOND_WRITING  # the files are there still
    rows = table.refresh().scan().to_arrow()
    read = rows_of(client)
    assert_frame_equal(
        read.select("customer_id", "visits"),
        pl.DataFrame(pl.from_arrow(rows)).select("customer_id", "visits"),
        check_row_order=False,
    )


def rows_of(client: featkit.FeatureStoreClient) -> pl.DataFrame:
    view = client.get_feature_metadata("customers")
    store = client.operations.store
    found = client.run(_flow(store.read_history(HistoryRead(view, view.features))))
    return found.scan.collect()


def _flow(call: Any) -> Any:
    return (yield call)


def test_one_row_of_a_file_is_deleted_and_others_are_not(
    fake: SageMakerFake, account: Lake, icebergs: Icebergs
) -> None:
    whole = icebergs.write("whole", pl.concat([frame for _, frame in files()]))
    fake.groups["customers"].table = f"{DATABASE}.whole"
    with connected(fake, s3_url=account.url, glue_url=account.url) as client:
        assert visits(client) == ALL
        icebergs.delete(whole, [{"file_path": file_of(whole, 20), "pos": 2}])
        assert visits(client) == WITHOUT_THE_SECOND_WRITING
        assert visits(client, engine="duckdb") == WITHOUT_THE_SECOND_WRITING


def test_deletion_vectors_are_heeded(
    fake: SageMakerFake, account: Lake, icebergs: Icebergs
) -> None:
    """Of version 3 of the format; the log is else one of version 2, all that pyiceberg writes."""
    whole = icebergs.write("vectors", *(frame for _, frame in files()))
    fake.groups["customers"].table = f"{DATABASE}.vectors"
    with connected(fake, s3_url=account.url, glue_url=account.url, scan_source=True) as client:
        assert visits(client) == ALL
        icebergs.delete(whole, [{"file_path": file_of(whole, 20), "pos": 0}], vectors=True)
        assert visits(client) == WITHOUT_THE_SECOND_WRITING
        assert visits(client, engine="duckdb") == WITHOUT_THE_SECOND_WRITING
        assert 20 not in rows_of(client)["visits"]


def test_deletes_by_equality_are_refused_by_name(
    client: featkit.FeatureStoreClient, icebergs: Icebergs, table: Table
) -> None:
    icebergs.delete(table, [{"customer_id": "b"}], by="customer_id")
    with pytest.raises(NotSupportedError, match=r"has deletes by equality.*OPTIMIZE"):
        visits(client)
    report = client.staleness(["customers:*"])["customers"]
    assert "deletes by equality" in report.reason


def test_a_feature_that_was_added_later_is_null_before(
    fake: SageMakerFake, client: featkit.FeatureStoreClient, table: Table
) -> None:
    fake.groups["customers"].definitions["later"] = ("Integral", None)
    late = files()[0][1].with_columns(customer_id=pl.lit("nobody"), later=pl.lit(5, dtype=pl.Int64))
    with table.update_schema() as change:
        change.union_by_name(late.to_arrow().schema)
    table.append(late.to_arrow())
    made = client.get_historical_features(SPINE, ["customers:visits", "customers:later"], at="t")
    assert made.frame["later"].to_list() == [*[None] * 7, 5, None]
    assert made.frame["visits"].to_list() == [*ALL[:7], 1, None]


def test_entities_and_arrivals_come_from_the_table(client: featkit.FeatureStoreClient) -> None:
    report = client.staleness(["customers:*"])["customers"]
    assert report.population.startswith("all 1 entity of the view, as its source")  # "a" is gone
    view = client.get_feature_metadata("customers")
    call: Any = client.operations.store.read_arrivals(view, NOON + 3 * HOUR)
    assert sorted(client.run(_flow(call)).moments) == [NOON, NOON, NOON + HOUR, NOON + 3 * HOUR]


def test_a_table_without_rows_is_a_history_without_rows(
    fake: SageMakerFake, account: Lake, icebergs: Icebergs
) -> None:
    icebergs.write("customers", files()[0][1].clear())
    with connected(fake, s3_url=account.url, glue_url=account.url) as client:
        assert visits(client) == [None] * SPINE.height


# -- what may be wrong -----------------------------------------------------------------------------


def test_a_table_that_glue_does_not_know_is_named(fake: SageMakerFake, account: Lake) -> None:
    with (
        connected(fake, s3_url=account.url, glue_url=account.url) as client,
        pytest.raises(UnknownNameError, match=r"EntityNotFoundException.*the region"),
    ):
        visits(client)


def test_a_table_of_another_format_is_named(fake: SageMakerFake, account: Lake) -> None:
    glue = account.client("glue")
    glue.create_database(DatabaseInput={"Name": DATABASE})
    glue.create_table(DatabaseName=DATABASE, TableInput={"Name": "customers"})
    with (
        connected(fake, s3_url=account.url, glue_url=account.url) as client,
        pytest.raises(SourceError, match=f"{DATABASE}.customers of Glue has no metadata_location"),
    ):
        visits(client)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (("s3:*",), "AccessDenied"),
        (("glue:*",), "cannot be read: 403: no reason is given; .*does a policy allow it"),
        (("s3:*", "glue:*"), ""),
    ],
    ids=["no Glue", "no S3", "both"],
)
def test_a_reader_needs_both_glue_and_s3(
    fake: SageMakerFake, account: Lake, actions: tuple[str, ...], words: str
) -> None:
    known = account.reader(*actions)
    fake.secrets[known["access_key_id"]] = known["secret_access_key"]
    options = {"s3_url": account.url, "glue_url": account.url, **known}
    with account.strict(), connected(fake, **options) as client:
        if not words:
            assert visits(client) == ALL
            return
        with pytest.raises(AuthError, match=f"{words}.*passed as access_key_id") as caught:
            visits(client)
    assert known["secret_access_key"] not in str(caught.value)


def test_no_secret_shows_in_a_plan(client: featkit.FeatureStoreClient) -> None:
    view = client.get_feature_metadata("customers")
    found = client.run(_flow(client.operations.store.read_history(HistoryRead(view, ()))))
    assert SECRET not in found.scan.explain() + repr(found.scan) + repr(found)


def test_without_the_extra_it_is_named(
    client: featkit.FeatureStoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyiceberg", None)
    with pytest.raises(MissingExtraError, match=r"featkit-frames\[iceberg\]"):
        visits(client)


def test_a_table_that_has_no_name_is_refused_with_a_reason_and_a_way(
    fake: SageMakerFake, tmp_path: Path
) -> None:
    fake.groups["customers"].table = ""
    with connected(fake) as client:
        assert not client.get_feature_metadata("customers").offline
        with pytest.raises(NotSupportedError, match=r"Iceberg.*\(option\).*offline_path="):
            visits(client)
    for name, frame in files():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)
    with connected(fake, offline_path=str(tmp_path)) as client:  # unloaded to Parquet
        assert visits(client) == ALL


def test_a_copy_of_the_table_itself_is_refused(fake: SageMakerFake, tmp_path: Path) -> None:
    """Its files are of all times, deleted rows among them; its log names them elsewhere."""
    (tmp_path / "customers/data").mkdir(parents=True)
    files()[0][1].write_parquet(tmp_path / "customers/data/a.parquet")
    (tmp_path / "customers/metadata").mkdir()
    (tmp_path / "customers/metadata/00000-a.metadata.json").write_text("{}")
    with (
        connected(fake, offline_path=str(tmp_path)) as client,
        pytest.raises(SourceError, match=r"copy of an Iceberg table.*unload"),
    ):
        visits(client)
