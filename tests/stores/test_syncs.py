"""When what a store serves was brought up to date: read from its wire, and told by the audit."""

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

import featkit
from featkit.catalogue import read_catalogue
from featkit.cli import app
from featkit.errors import AuthError
from featkit.populations import Sync
from featkit.testing import CONTRACT_NOW, contract_views
from featkit.widgets.content import lineage
from tests.fakes.databricks import CATALOG, SCHEMA, DatabricksFake, workspace
from tests.fakes.tecton import Service, TectonFake
from tests.fakes.vertex import VertexFake, google
from tests.stores import test_databricks, test_tecton, test_vertex

TABLE = f"{CATALOG}.{SCHEMA}.customers"
COPY = f"{CATALOG}.{SCHEMA}.customers_online"
ELEVEN = datetime(2024, 5, 1, 11, tzinfo=UTC)
COMMIT, ENDED = datetime(2024, 5, 1, 10, 57, tzinfo=UTC), datetime(2024, 5, 1, 11, 2, tzinfo=UTC)


def syncs_of(client, *names):
    views = [client.get_feature_metadata(name) for name in names]
    return client.run(client.operations.store.read_syncs(views))


@pytest.fixture
def databricks():
    fake = DatabricksFake(contract_views())
    with (
        workspace(fake) as url,
        featkit.connect(test_databricks.opened(url), now=CONTRACT_NOW, cache=None) as client,
    ):
        yield fake, client


def test_databricks_tells_when_an_online_table_was_synchronised(databricks):
    fake, client = databricks
    assert syncs_of(client, "customers") == {}  # there is no online table
    fake.online[COPY] = TABLE  # found by the lineage of a feature
    assert syncs_of(client, "customers", "routes") == {
        "customers": Sync(until=COMMIT, finished=ENDED)
    }


def test_databricks_tells_when_declarative_features_were_computed(databricks):
    fake, client = databricks
    times = ["2024-05-01T09:00:00Z", "2024-05-01T11:00:00Z"]
    fake.materialized = [{"table_name": TABLE, "last_materialization_time": t} for t in times]
    fake.materialized += [{"table_name": "main.f.other"}]
    assert syncs_of(client, "customers") == {"customers": Sync(finished=ELEVEN)}


def test_an_audit_judges_a_view_by_its_synchronisation(databricks):
    """An endpoint tells no times, so that the age of the online table is the age of all rows."""
    fake, client = databricks
    before = client.staleness(["customers:*"], [1, 2])["customers"]
    assert (before.level, before.verdict) == ("none", "unknown")
    fake.online[COPY] = TABLE
    view = client.staleness(["customers:*"], [1, 404])["customers"]
    assert (view.level, view.newest, view.verdict) == ("view", COMMIT, "pass")
    assert "the view as a whole is 1h3m old, within" in view.reason
    assert view.notes == (
        "it has the rows of its source up to 2024-05-01 10:57:00 UTC (1h3m ago)",
        "it was brought up to date 2024-05-01 11:02:00 UTC (58m ago)",
    )
    late = client.staleness(["customers:*"], [1], error_after="1h")["customers"]
    assert (late.verdict, late.reason) == (
        "error",
        "the view as a whole is 1h3m old, more than 1h",
    )


def test_an_audit_needs_no_entities_to_judge_a_view_as_a_whole(databricks):
    fake, client = databricks
    fake.online[COPY] = TABLE
    view = client.staleness(["customers:*"])["customers"]
    assert (view.n, view.verdict) == (0, "pass")
    assert view.reason.endswith("(by when it was brought up to date; no entity was looked at)")


def test_vertex_tells_when_views_were_synchronised():
    fake = VertexFake(contract_views())
    with (
        google(fake) as url,
        featkit.connect(test_vertex.opened(url), now=CONTRACT_NOW, cache=None) as client,
    ):
        found = syncs_of(client, "customers", "routes")
        assert found["routes"] == Sync(until=ELEVEN, finished=ENDED)
        fake.sync_error = "no permission to read the source"
        (view,) = client.staleness(["customers:visits"], [1]).views
    assert view.level == "row"  # values have their own times, and these count
    assert view.notes == ("its last synchronisation failed: no permission to read the source",)


def test_tecton_tells_up_to_when_views_are_materialised():
    views = {view.name: (view, rows) for view, rows in contract_views()}
    fake = TectonFake({name: Service.of(own) for name, own in views.items()})
    with (
        fake,
        featkit.connect(test_tecton.opened(fake), now=CONTRACT_NOW, cache=None) as client,
    ):
        assert syncs_of(client, "customers") == {"customers": Sync(until=CONTRACT_NOW)}
        fake.jobs = False  # the key may read, and not ask for this
        (error,) = syncs_of(client, "customers").values()
        assert isinstance(error, AuthError)
        (view,) = client.staleness(["customers:visits"], [1]).views
    assert "when it was brought up to date cannot be read" in view.notes[0]


def test_databricks_tells_the_lineage_of_tables():
    with (
        workspace(DatabricksFake(contract_views(), online={COPY: TABLE})) as url,
        featkit.connect(test_databricks.opened(url, lineage=True), cache=None) as client,
    ):
        view = client.get_feature_metadata("customers")
        (listed,) = [each for each in client.list_feature_views() if each.name == "customers"]
    assert view.made_from == (f"{CATALOG}.raw.raw_customers", "notebook 456", "job 7")
    assert view.used_by == (
        f"model {CATALOG}.{SCHEMA}.churn version 3",
        f"feature spec {CATALOG}.{SCHEMA}.spec",
        f"online table {COPY}",
    )
    assert listed == view
    assert view.facts()["made from"].startswith(f"{CATALOG}.raw")


def test_lineage_is_shown_where_views_are(empty_home):
    with workspace(DatabricksFake(contract_views(), online={COPY: TABLE})) as url:
        with featkit.connect(test_databricks.opened(url, lineage=True), cache=None) as client:
            catalogue = client.run(read_catalogue(client.operations.store, client.target))
        (view,) = [each for each in catalogue.views if each.name == "customers"]
        drawn = lineage(catalogue, view)
        (empty_home / "featkit.toml").write_text(
            f'backend = "databricks"\n[databricks]\nhost = "{url}"\ntoken = "dapi-canary"\n'
            f'catalog = "{CATALOG}"\nschema = "{SCHEMA}"\nlineage = true\n'
        )
        done = CliRunner().invoke(app, ["show", "customers"], catch_exceptions=False)
    names = [each["name"] for each in (*drawn["sources"], *drawn["services"])]
    for name in (f"{CATALOG}.raw.raw_customers", "job 7", f"online table {COPY}"):
        assert name in names
        assert name in done.stdout
