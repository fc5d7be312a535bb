"""featkit and Databricks' own client read the same fake: the same values, but for what is listed.

Each difference on purpose is a line of tests/live/differences.py, and of docs/stores/compare.md.
"""

import math

import polars as pl
import pytest

import featkit
from featkit.errors import AuthError, UnknownNameError
from featkit.testing import CONTRACT_NOW, contract_keys, contract_views
from tests.fakes.databricks import CATALOG, SCHEMA, DatabricksFake, workspace
from tests.live.differences import Translation
from tests.stores.test_databricks import opened

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning"),
]
VIEWS = {view.name: view for view, _ in contract_views()}
SERVICE = {"client_id": "svc", "client_secret": "service-canary"}


as_featkit = Translation("Databricks")


def plain(value):
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def ask(vendor, url, view, keys, **credentials):
    request = {
        "host": url,
        "endpoint": "fs_ep",
        "columns": keys.columns,
        "data": [list(row) for row in keys.iter_rows()],
        "table": f"{CATALOG}.{SCHEMA}.{view}",
        "catalog": CATALOG,
        "schema": SCHEMA,
    }
    return vendor("ask_databricks.py", request | credentials, clients="cloud")


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("service", [False, True], ids=["token", "service"])
def test_every_value_is_what_databricks_own_client_says(vendor, name, service):
    keys = contract_keys(name)
    fake = DatabricksFake(contract_views(), timestamps=True)
    credentials = SERVICE if service else {"token": "dapi-canary"}
    with (
        workspace(fake) as url,
        featkit.connect(opened(url, **({"token": None} | credentials)), now=CONTRACT_NOW) as client,
    ):
        said = ask(vendor, url, name, keys, **credentials)
        found = client.lookup(keys, f"{name}:*")
        described = client.get_feature_metadata(name)
        listed = [view.name for view in client.list_feature_views()]
    assert len(said["outputs"]) == keys.height
    for feature in described.features:
        ours = found.values[feature.name].to_list()
        theirs = [as_featkit(row[feature.name], feature.dtype) for row in said["outputs"]]
        assert list(map(plain, ours)) == list(map(plain, theirs)), feature.name
    table = said["table"]
    (key,) = [each["primary_key_constraint"] for each in table["table_constraints"]]
    if name == "customers":  # which has a value of each kind
        assert as_featkit.seen == as_featkit.expected
    times = key.get("timeseries_columns", [])
    assert [column for column in key["child_columns"] if column not in times] == list(
        described.join_keys
    )
    assert times[:1] == ([described.timestamp] if described.timestamp else [])
    assert {*listed, "plain_table"} == set(said["tables"])


@pytest.mark.parametrize(
    ("options", "kind", "error"),
    [
        ({"token": "dapi-wrong"}, "PermissionDenied", AuthError),
        ({"token": "dapi-canary", "endpoint": "nothing"}, "ResourceDoesNotExist", UnknownNameError),
    ],
)
def test_refusals_are_of_the_same_kind(vendor, options, kind, error):
    keys = pl.DataFrame({"start_id": [1], "end_id": [1]})
    with (
        workspace(DatabricksFake(contract_views())) as url,
        featkit.connect(opened(url, **options)) as client,
    ):
        said = ask(vendor, url, "routes", keys, **options)
        with pytest.raises(error):
            client.lookup(keys, ["routes:length_km"])
    assert said["error"]["kind"] == kind
