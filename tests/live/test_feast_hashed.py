"""DynamoDB and Bigtable read without Feast's server; Feast fills them, and its SDK is the oracle.

DynamoDB is moto. Bigtable is Google's emulator where it is installed, and always a fake that cuts
its answers up as the service may; Feast's own client writes to both.
"""

from contextlib import ExitStack, contextmanager

import pytest

import featkit
from featkit.errors import StoreError
from tests.fakes.bigtable import Bigtable, served
from tests.live.direct import DRIVERS, ReadsLikeFeast, filled
from tests.programs.amazon import REGION, amazon
from tests.programs.running import bigtable_emulator, has_bigtable

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning"),
]
AWS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_EC2_METADATA_DISABLED": "1"}


@contextmanager
def moto():
    keys = {"access_key_id": "AK", "secret_access_key": "SK"}
    with amazon() as url:
        online_store = {"type": "dynamodb", "region": REGION, "endpoint_url": url}
        yield f"feast+dynamodb:{REGION}", {"endpoint_url": url, **keys}, online_store, AWS


@contextmanager
def bigtable(running):
    with running as address:
        online_store = {"type": "bigtable", "project_id": "p", "instance": "i"}
        variables = {"BIGTABLE_EMULATOR_HOST": address}
        yield "feast+bigtable:p/i", {"endpoint_url": f"http://{address}"}, online_store, variables


PLACES = {
    "dynamodb": moto,
    **({"bigtable": lambda: bigtable(bigtable_emulator())} if has_bigtable() else {}),
    "bigtable in pieces": lambda: bigtable(served(Bigtable(cut=3, again=3))),
}


@pytest.fixture(scope="module", params=PLACES)
def place(request):
    with PLACES[request.param]() as found:
        yield found


@pytest.fixture(scope="module")
def direct(feast, place, tmp_path_factory):
    _, _, online_store, variables = place
    folder = tmp_path_factory.mktemp("direct")
    with filled(feast, folder, online_store, variables=variables) as found:
        yield found


@pytest.fixture(scope="module")
def open_store(direct, place):
    def connect(kind=featkit.connect, **options):
        target, known, *_ = place
        known = known | {"registry_url": direct.registry_url, "project": direct.project}
        return kind(target, now=direct.now, cache=None, **known | options)

    return connect


@pytest.fixture(scope="module")
def store(open_store):
    with open_store() as client:
        yield client


class TestHashed(ReadsLikeFeast):
    pass


def test_the_registry_file_tells_the_same(direct, open_store, store):
    file = str(direct.folder / "data/registry.db")
    right = store.lookup(DRIVERS, ["driver_hourly_stats:*"]).to_polars(timestamps=True)
    with open_store(registry_url=None, registry=file) as client:
        found = client.lookup(DRIVERS, ["driver_hourly_stats:*"])
    assert found.to_polars(timestamps=True).equals(right)


def test_health_tells_what_answers(store):
    report = store.check_health()
    assert report.healthy
    assert "has the table 'rides." in report.checks[0].found


def test_keys_of_version_2_are_told_as_what_they_are_and_differ(feast, place, tmp_path):
    target, known, online_store, variables = place
    version = {"entity_key_serialization_version": 2}
    if online_store["type"] == "dynamodb":
        online_store = {**online_store, "table_name_template": "old.{project}.{table_name}"}
        known = {**known, "table_template": "old.{project}.{table_name}"}
    else:
        online_store = {**online_store, "instance": "old"}
        target = "feast+bigtable:p/old"
    options = ["--views", "driver_hourly_stats"]
    with (
        filled(feast, tmp_path, online_store, *options, variables=variables, **version) as old,
        ExitStack() as stack,
    ):
        known |= {"registry_url": old.registry_url, "project": "rides", "cache": None}
        said = {
            "entity_key_serialization_version: 3": {},
            "verify: .*whether it is there": {"verify": True, "server_url": old.server_url},
        }
        for words, options in said.items():
            client = stack.enter_context(featkit.connect(target, **known, **options))
            with pytest.raises(StoreError, match=words):
                client.lookup(DRIVERS, ["driver_hourly_stats:*"])
