"""featkit and boto3 read the same fake: the same values, but for what is documented.

Each difference on purpose is a line of tests/live/differences.py, and of docs/stores/compare.md.
"""

import json
from datetime import datetime

import polars as pl
import pytest
from polars.testing import assert_series_equal

import featkit
from featkit import Status
from featkit.testing import CONTRACT_NOW, contract_keys, contract_views
from tests.fakes.sagemaker import KEY_ID, REGION, SECRET, Group, SageMakerFake
from tests.live.differences import Translation
from tests.stores.test_sagemaker import TOLD, opened

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning"),
]
VIEWS = {view.name: (view, rows) for view, rows in contract_views()}
ASKED = {"region": REGION, "key_id": KEY_ID, "secret": SECRET}


as_featkit = Translation("SageMaker")


def identifier(row):
    """Write a key as the record identifier of the fake's groups."""
    parts = list(row.values())
    if len(parts) == 1:
        return str(parts[0])
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("name", VIEWS)
def test_every_value_is_what_boto3_says(vendor, name):
    view, _ = VIEWS[name]
    keys = contract_keys(name)
    if name == "notes":  # keys of 100,000 characters say nothing new, and are slow to write
        keys = keys.filter(pl.col("note_id").str.len_chars() < 1000)
    ids = [identifier(row) for row in keys.to_dicts()]
    with SageMakerFake(*(Group.of(*own) for own in VIEWS.values())) as fake:
        with featkit.connect(opened(fake.url), now=CONTRACT_NOW) as client:
            found = client.lookup(keys, f"{name}:*")
            described = client.get_feature_metadata(name)
            listed = sorted(each.name for each in client.list_feature_views())
        request = {"url": fake.url, "group": name, "ids": ids, "features": None}
        said = vendor("ask_boto3.py", ASKED | request)
    assert listed == said["groups"]
    roles = {said["identifier"], said["event_time"]}
    assert [own for own in said["definitions"] if own not in roles] == list(described.feature_names)
    for feature in described.feature_names:
        values = found.values[feature]
        theirs = [said["records"].get(one, {}).get("record", {}).get(feature) for one in ids]
        expected = [as_featkit(text, values.dtype) for text in theirs]
        assert_series_equal(values, pl.Series(feature, expected, values.dtype), check_exact=True)
        for one, status in zip(ids, found.statuses[feature], strict=True):
            assert (status == Status.NOT_FOUND) == (one not in said["records"])
        if view.timestamp:
            times = [
                said["records"].get(one, {}).get("record", {}).get(said["event_time"])
                for one in ids
            ]
            assert found.stamps(feature).to_list() == [
                text and datetime.fromisoformat(text) for text in times
            ]


def test_what_boto3_reads_of_some_features_is_what_featkit_reads_of_them(vendor):
    with SageMakerFake(Group.of(*VIEWS["customers"])) as fake:
        with featkit.connect(opened(fake.url, views=TOLD), now=CONTRACT_NOW) as client:
            found = client.get_online_features_batch("customers", [1, 8], ["visits", "name"])
            ttl = client.get_feature_metadata("customers").ttl
        request = {"url": fake.url, "group": "customers", "ids": ["1", "8"]}
        said = vendor("ask_boto3.py", ASKED | request | {"features": ["visits", "name"]})
    records = [said["records"][one]["record"] for one in ("1", "8")]
    assert [{**own, "visits": int(own["visits"])} for own in records] == found
    assert said["ttl"] == {"Unit": "Seconds", "Value": int(ttl.total_seconds())}


def test_what_boto3_reads_becomes_what_the_settings_say(vendor):
    keys = contract_keys("customers")
    as_featkit.seen.clear()
    with SageMakerFake(Group.of(*VIEWS["customers"])) as fake:
        with featkit.connect(opened(fake.url, views=TOLD), now=CONTRACT_NOW) as client:
            found = client.lookup(keys, "customers:*")
        ids = [identifier(row) for row in keys.to_dicts()]
        request = {"url": fake.url, "group": "customers", "ids": ids, "features": None}
        said = vendor("ask_boto3.py", ASKED | request)
    for name in found.values.columns:
        values = found.values[name]
        theirs = [said["records"].get(one, {}).get("record", {}).get(name) for one in ids]
        expected = [as_featkit(text, values.dtype) for text in theirs]
        assert_series_equal(values, pl.Series(name, expected, values.dtype), check_exact=True)
    assert as_featkit.seen == as_featkit.expected
