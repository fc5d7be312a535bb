"""Training sets from the offline store of SageMaker: a copy on disk, and S3 as moto has it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import featkit
from featkit.errors import AuthError, FeatkitError, SourceError
from featkit.stores.base import open_store
from tests.fakes.s3 import BUCKET, Lake, lake
from tests.fakes.sagemaker import KEY_ID, REGION, SECRET, Group, SageMakerFake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
# hours after noon: of the event, of the writing; entity, visits, score, active, whether deleted
ROWS = [
    (0, 0, "a", 1, 0.5, "true", False),
    (1, 1, "a", 2, 1.5, "false", False),
    (1, 3, "a", 20, 2.5, "true", False),  # the same hour, written again
    (4, 4, "a", None, None, None, True),  # gone
    (0, 0, "b", 7, None, None, False),
]
GROUPS = {
    "customer_id": ("String", None),
    "at": ("String", None),
    "visits": ("Integral", None),
    "score": ("Fractional", None),
    "active": ("String", None),
}


def files(group: str = "customers", *, key: str = "customer_id") -> list[tuple[str, pl.DataFrame]]:
    """Write the rows as the service does: files in folders by the hour of writing."""
    found = []
    for number, (event, written, entity, visits, score, active, deleted) in enumerate(ROWS):
        at = NOON + written * HOUR
        frame = pl.DataFrame(
            {
                key: [entity],
                "at": [(NOON + event * HOUR).isoformat().replace("+00:00", "Z")],
                "visits": pl.Series([visits], dtype=pl.Int64),
                "score": pl.Series([score], dtype=pl.Float64),
                "active": pl.Series([active], dtype=pl.String),
                "write_time": pl.Series([at], dtype=pl.Datetime("ms", "UTC")),
                "api_invocation_time": pl.Series([at], dtype=pl.Datetime("ms", "UTC")),
                "is_deleted": [deleted],
            }
        )
        folder = f"{group}/data/year=2024/month=05/day=01/hour={at.hour:02}"
        found.append((f"{folder}/part-{number}.parquet", frame))
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name, frame in files():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)
    return tmp_path


@pytest.fixture
def fake() -> Iterator[SageMakerFake]:
    group = Group("customers", "customer_id", "at", dict(GROUPS), ttl=timedelta(hours=6))
    with SageMakerFake(group) as fake:
        yield fake


def connected(fake: SageMakerFake, **options: Any) -> featkit.FeatureStoreClient:
    known = {
        "endpoint_url": fake.url,
        "control_url": fake.url,
        "access_key_id": KEY_ID,
        "secret_access_key": SECRET,
        "views": {"customers": {"features": {"active": {"dtype": "bool"}}}},
    }
    return featkit.connect(open_store(f"sagemaker:{REGION}", known | options))


SPINE = pl.DataFrame(
    {
        "customer_id": ["a"] * 5 + ["b", "b", "nobody", None],
        "t": [NOON + hours * HOUR for hours in (-1, 0.5, 2, 3.5, 5, 6, 6.5, 1, 1)],
    }
)


def test_rows_get_what_was_so_at_their_moment(fake: SageMakerFake, copy: Path) -> None:
    with connected(fake, offline_path=str(copy)) as client:
        found = client.get_historical_features(SPINE, ["customers:*"], at="t").frame
    # the second writing of one event counts for its whole hour, by event timestamps
    assert found["visits"].to_list() == [None, 1, 20, 20, None, 7, None, None, None]
    assert found["score"].to_list() == [None, 0.5, 2.5, 2.5, None, None, None, None, None]
    assert found["active"].to_list() == [None, True, True, True, *[None] * 5]
    assert found.schema["active"] == pl.Boolean


def test_what_was_not_written_yet_was_not_known(fake: SageMakerFake, copy: Path) -> None:
    with connected(fake, offline_path=str(copy)) as client:
        found = client.get_historical_features(
            SPINE, ["customers:visits"], at="t", known_by="created"
        ).frame
    assert found["visits"].to_list() == [None, 1, 2, 20, None, 7, None, None, None]


@pytest.mark.parametrize("separator", [None, "#"])
def test_composite_keys_are_taken_apart(
    fake: SageMakerFake, tmp_path: Path, separator: str | None
) -> None:
    joined = 'a"|1' if separator is None else "a|1"
    identifier = '["a\\"|1",7]' if separator is None else "a|1#7"
    frame = files(key="customer_id")[0][1].with_columns(pl.lit(identifier).alias("customer_id"))
    (tmp_path / "customers").mkdir()
    frame.write_parquet(tmp_path / "customers/a.parquet")
    told = {"join_keys": {"depot": "string", "code": "int64"}, "separator": separator}
    spine = pl.DataFrame({"depot": [joined, "x"], "code": [7, 7], "t": [NOON, NOON]})
    with connected(fake, offline_path=str(tmp_path), views={"customers": told}) as client:
        found = client.get_historical_features(spine, ["customers:visits"], at="t").frame
    assert found["visits"].to_list() == [1, None]


@pytest.mark.parametrize(
    ("separator", "identifier"),
    [("#", "a#7#1"), ("#", "a#x#7"), ("#", "a"), (None, '["a",7,1]'), (None, '["a"]')],
)
def test_an_identifier_of_other_parts_is_no_key(
    fake: SageMakerFake, tmp_path: Path, separator: str | None, identifier: str
) -> None:
    """It belongs to an entity that holds the separator, which cannot be taken apart."""
    frame = files(key="customer_id")[0][1].with_columns(pl.lit(identifier).alias("customer_id"))
    (tmp_path / "customers").mkdir()
    frame.write_parquet(tmp_path / "customers/a.parquet")
    told = {"join_keys": {"depot": "string", "code": "int64"}, "separator": separator}
    spine = pl.DataFrame({"depot": ["a"], "code": [7], "t": [NOON]})
    with connected(fake, offline_path=str(tmp_path), views={"customers": told}) as client:
        found = client.get_historical_features(spine, ["customers:visits"], at="t").frame
    assert found["visits"].to_list() == [None]


def test_event_times_may_be_seconds(fake: SageMakerFake, tmp_path: Path) -> None:
    fake.groups["customers"].definitions["at"] = ("Fractional", None)
    frame = files()[0][1].with_columns(pl.lit(NOON.timestamp() + 0.25).alias("at"))
    (tmp_path / "customers").mkdir()
    frame.write_parquet(tmp_path / "customers/a.parquet")
    moments = [NOON, NOON + timedelta(seconds=0.25)]
    spine = pl.DataFrame({"customer_id": ["a", "a"], "t": moments})
    with connected(fake, offline_path=str(tmp_path)) as client:
        found = client.get_historical_features(spine, ["customers:visits"], at="t").frame
    assert found["visits"].to_list() == [None, 1]


def test_lists_are_read_whether_they_are_lists_or_json(fake: SageMakerFake, tmp_path: Path) -> None:
    fake.groups["customers"].definitions |= {"v": ("Fractional", "List"), "w": ("Integral", "List")}
    frame = files()[0][1].with_columns(pl.lit("[1.5, 2]").alias("v"), w=pl.lit(1).implode())
    (tmp_path / "customers").mkdir()
    frame.write_parquet(tmp_path / "customers/a.parquet")
    spine = pl.DataFrame({"customer_id": ["a"], "t": [NOON]})
    with connected(fake, offline_path=str(tmp_path)) as client:
        found = client.get_historical_features(spine, ["customers:v", "customers:w"], at="t").frame
    assert found.select("v", "w").row(0) == ([1.5, 2.0], [1])


def test_a_feature_that_the_files_do_not_have_is_named(fake: SageMakerFake, copy: Path) -> None:
    fake.groups["customers"].definitions["later"] = ("Integral", None)
    with (
        connected(fake, offline_path=str(copy)) as client,
        pytest.raises(SourceError, match="no column 'later'"),
    ):
        client.get_historical_features(SPINE, ["customers:later"], at="t")


def test_files_before_a_feature_was_added_are_read_with_it(fake: SageMakerFake, copy: Path) -> None:
    fake.groups["customers"].definitions |= {"later": ("Integral", None), "v": ("String", "List")}
    name, frame = files()[1]
    frame.with_columns(later=pl.lit(5), v=pl.lit("x").implode()).write_parquet(copy / name)
    with connected(fake, offline_path=str(copy)) as client:
        wanted = ["customers:later", "customers:v", "customers:score"]
        found = client.get_historical_features(SPINE, wanted, at="t").frame
        plain = client.get_historical_features(SPINE, ["customers:score"], at="t").frame
    assert found["score"].to_list() == plain["score"].to_list()
    assert set(found["later"]) <= {None, 5}
    assert found.schema["later"] == pl.Int64


def test_files_of_narrower_types_are_read_with_the_others(fake: SageMakerFake, copy: Path) -> None:
    (name, frame), *_ = files()
    with connected(fake, offline_path=str(copy)) as client:
        right = client.get_historical_features(SPINE, ["customers:*"], at="t").frame
        narrow = frame.with_columns(
            pl.col("visits").cast(pl.Int16),
            pl.col("score").cast(pl.Float32),
            pl.col("write_time", "api_invocation_time").dt.cast_time_unit("ns"),
        )
        narrow.write_parquet(copy / name)
        assert client.get_historical_features(SPINE, ["customers:*"], at="t").frame.equals(right)


@pytest.mark.parametrize("time", ["yesterday", "2024-05-01T12:00:00"])
def test_a_row_whose_time_cannot_be_read_is_told_and_not_lost(
    fake: SageMakerFake, copy: Path, time: str
) -> None:
    name, frame = files()[0]
    frame.with_columns(at=pl.lit(time)).write_parquet(copy / name)
    with (
        connected(fake, offline_path=str(copy)) as client,
        pytest.raises(SourceError, match=f"customers.*{time}"),
    ):
        client.get_historical_features(SPINE, ["customers:visits"], at="t")


def test_files_that_are_not_there_are_named(fake: SageMakerFake, tmp_path: Path) -> None:
    with (
        connected(fake, offline_path=str(tmp_path)) as client,
        pytest.raises(SourceError, match="customers cannot be read: there is no Parquet file"),
    ):
        client.get_historical_features(SPINE, ["customers:visits"], at="t")


def test_a_group_without_offline_store_has_no_history(fake: SageMakerFake) -> None:
    with connected(fake) as client:
        assert not client.get_feature_metadata("customers").offline
        with pytest.raises(FeatkitError, match="customers"):
            client.get_historical_features(SPINE, ["customers:visits"], at="t")


@pytest.fixture
def s3() -> Iterator[Lake]:
    with lake() as made:
        made.put(dict(files("offline/customers")))
        yield made


@pytest.fixture
def remote(fake: SageMakerFake) -> SageMakerFake:
    """Have the files in S3."""
    fake.groups["customers"].offline = f"s3://{BUCKET}/offline/customers"
    return fake


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "right"),
    [
        ({}, [None, 1, 20, 20, None, 7, None, None, None]),
        ({"known_by": "created"}, [None, 1, 2, 20, None, 7, None, None, None]),
        ({"lookback": {"customers": "2h"}}, [None, 1, 20, None, *[None] * 5]),
        ({"engine": "duckdb"}, [None, 1, 20, 20, None, 7, None, None, None]),
    ],
    ids=str,
)
def test_files_are_read_from_s3(
    remote: SageMakerFake, s3: Lake, options: dict[str, Any], right: list[int | None]
) -> None:
    with connected(remote, s3_url=s3.url) as client:
        assert client.get_feature_metadata("customers").source == "s3://lake/offline/customers/data"
        made = client.get_historical_features(SPINE, ["customers:visits"], at="t", **options)
    assert made.frame["visits"].to_list() == right


@pytest.mark.slow
def test_requests_to_s3_are_signed(remote: SageMakerFake, s3: Lake) -> None:
    known = s3.reader("s3:*")
    remote.secrets[known["access_key_id"]] = known["secret_access_key"]
    with s3.strict(), connected(remote, s3_url=s3.url, scan_source=True, **known) as client:
        found = client.get_historical_features(SPINE, ["customers:visits"], at="t")
        assert found.frame["visits"].to_list() == [None, 1, 20, 20, None, 7, None, None, None]
        report = client.staleness(["customers:*"])["customers"]
        assert report.population.startswith("all 1 entity of the view, as its source")
        assert client.staleness(["customers:*"], ["a", "b"], compare_offline=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "allowed", "words"),
    [
        ({"secret_access_key": "wrong"}, True, "403: SignatureDoesNotMatch: .*clock of this mach"),
        ({"access_key_id": "AKIANOBODY"}, True, "403: InvalidAccessKeyId: .*is there such a key"),
        ({}, False, "403: AccessDenied: .*does a policy allow it"),
    ],
    ids=["secret", "key", "policy"],
)
def test_s3_tells_which_credentials_it_refuses(
    remote: SageMakerFake,
    s3: Lake,
    wrong: dict[str, str],
    allowed: bool,  # noqa: FBT001 - of the parameters
    words: str,
) -> None:
    known = s3.reader("s3:*" if allowed else "iam:*") | wrong
    remote.secrets[known["access_key_id"]] = known["secret_access_key"]
    told = f"customers/data cannot be read: {words}.*those that were passed as access_key_id"
    with s3.strict(), connected(remote, s3_url=s3.url, scan_source=True, **known) as client:
        with pytest.raises(AuthError, match=told) as caught:
            client.get_historical_features(SPINE, ["customers:visits"], at="t")
        report = client.staleness(["customers:*"])["customers"]
        assert report.verdict == "failed"
        assert re.search(told, report.reason)
    assert known["secret_access_key"] not in str(caught.value)


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_named(remote: SageMakerFake, s3: Lake) -> None:
    remote.groups["customers"].offline = "s3://nowhere/offline/customers"
    said = r"s3://nowhere/offline/customers/data cannot be read: 404: NoSuchBucket"
    with connected(remote, s3_url=s3.url) as client, pytest.raises(SourceError, match=said):
        client.get_historical_features(SPINE, ["customers:visits"], at="t")
