"""Databricks over the wire, against a fake that is as strict as its documentation and its SDK."""

from __future__ import annotations

import json
import os
import re
import traceback
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl
import pytest

import featkit
from featkit.calls import HttpReply, HttpRequest
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    DurationError,
    KeyTypeError,
    NotSupportedError,
    ProtocolError,
    RequestRejected,
    RowMismatch,
    SettingsError,
    StoreUnavailable,
    ThrottledError,
    TimestampError,
    UnknownNameError,
)
from featkit.stores.base import open_store
from featkit.stores.databricks.catalog import (
    Column,
    Constraint,
    PrimaryKey,
    Table,
    ViewOptions,
    view_of,
)
from featkit.stores.databricks.refusals import explained
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views
from tests.fakes.databricks import CATALOG, SCHEMA, DatabricksFake, workspace
from tests.fakes.wire import Answer, Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.stores.base import Store

QUICK = featkit.Retry(attempts=2, base=timedelta(0))
TTLS = {"customers": {"ttl": "3h"}, "quiet": {"ttl": "1d"}}


@pytest.fixture
def fake() -> DatabricksFake:
    return DatabricksFake(contract_views())


@pytest.fixture
def url(fake: DatabricksFake) -> Iterator[str]:
    with workspace(fake) as url:
        yield url


def opened(url: str, **options: Any) -> Store:
    known = {
        "catalog": CATALOG,
        "schema": SCHEMA,
        "token": "dapi-canary",
        "endpoint": "fs_ep",
        "views": TTLS,
    }
    return open_store(f"databricks+{url}", known | options, timezone="UTC")


@pytest.mark.slow
class TestDatabricks(StoreContract):
    secret = "dapi-canary"

    @pytest.fixture
    def store(self, url: str) -> Store:
        return opened(url)


@pytest.mark.slow
class TestDatabricksWithTimes(StoreContract):
    """A service principal, and a feature spec that has the event timestamp as a feature."""

    secret = "service-canary"

    @pytest.fixture
    def store(self, fake: DatabricksFake, url: str) -> Store:
        fake.timestamps, fake.echo, fake.route_optimized = True, False, True
        service = {"client_id": "svc", "client_secret": "service-canary"}
        return opened(url, token=None, timestamps=True, warehouse_id="wh1", **service)


@pytest.fixture
def client(url: str) -> Iterator[featkit.FeatureStoreClient]:
    with featkit.connect(opened(url), now=CONTRACT_NOW) as client:
        yield client


def test_keys_are_sent_as_one_split_frame_without_nulls(
    fake: DatabricksFake, client: featkit.FeatureStoreClient
) -> None:
    client.lookup({"depot": ["a|b", None, 'q"\\🦉'], "code": ["c", "x", "d"]}, ["parcels:label"])
    split = {"columns": ["depot", "code"], "data": [["a|b", "c"], ['q"\\🦉', "d"]]}
    assert fake.requests == [{"dataframe_split": split}]


def test_a_key_that_json_has_no_number_for_is_refused_before_anything_is_sent() -> None:
    rates = featkit.FeatureView(
        name="rates",
        entities=(featkit.Entity("rate", "rate", pl.Float64()),),
        features=(featkit.Feature("label", pl.String()),),
    )
    fake = DatabricksFake([(rates, pl.DataFrame({"rate": [0.5], "label": ["half"]}))])
    with workspace(fake) as url, featkit.connect(opened(url, views={})) as client:
        with pytest.raises(KeyTypeError, match=r"'rate' holds -inf, and JSON.*make it null"):
            client.lookup({"rate": [0.5, float("-inf")]}, ["rates:label"])
        assert not fake.requests
        assert client.lookup({"rate": [float("nan")]}, ["rates:label"]).to_dicts() == [
            {"label": None}
        ]


def test_batches_are_as_large_as_asked_for(fake: DatabricksFake, url: str) -> None:
    with featkit.connect(opened(url, batch_size=100)) as client:
        client.lookup(list(range(1000, 1250)), ["customers:active"])
    sizes = [len(body["dataframe_split"]["data"]) for body in fake.requests]
    assert sorted(sizes) == [50, 100, 100]


@pytest.mark.slow
def test_what_is_too_large_is_split(fake: DatabricksFake, client: Any) -> None:
    keys = [f"{number:06}" + "x" * 9000 for number in range(2000)]
    found = client.lookup({"note_id": keys}, ["notes:number"])
    assert len(found) == 2000
    assert [len(body["dataframe_split"]["data"]) for body in fake.requests] == [1000, 1000]


def test_views_of_other_schemas_go_by_their_full_names(client: Any) -> None:
    assert client.get_feature_metadata("main.f.routes").source == "main.f.routes"
    with pytest.raises(UnknownNameError, match=r"'main\.g\.routes' in main\.f; .*Table 'main\.g"):
        client.get_feature_metadata("main.g.routes")


def test_a_table_without_primary_key_is_no_view(client: Any) -> None:
    assert "plain_table" not in [view.name for view in client.list_feature_views()]
    with pytest.raises(UnknownNameError, match=r"main\.f\.plain_table has no primary key"):
        client.get_feature_metadata("plain_table")


def test_the_settings_may_call_views_by_their_full_names(url: str) -> None:
    views = {"main.f.customers": {"ttl": "3h"}, "main.g.elsewhere": {"ttl": "1h"}}
    with featkit.connect(opened(url, views=views)) as client:
        assert client.get_feature_metadata("customers").ttl == timedelta(hours=3)
        assert client.list_feature_views()  # tells nothing of the schema of the other one
        assert "settings" not in {check.name for check in client.check_health().checks}


def test_a_wrong_name_is_told_to_who_may_not_list_tables(fake: DatabricksFake, url: str) -> None:
    fake.lists_tables = False
    with (
        featkit.connect(opened(url)) as client,
        pytest.raises(UnknownNameError, match=r"no feature view 'customer' .* may not be listed: "),
    ):
        client.lookup([1], ["customer:visits"])


def test_a_time_of_the_settings_is_no_join_key_and_must_be_there() -> None:
    """A primary key may have a time in it that is not declared as a time series."""
    table = Table(
        full_name="main.f.v",
        name="v",
        columns=[Column("id", "bigint"), Column("at", "timestamp"), Column("a", "double")],
        table_constraints=[
            Constraint(primary_key_constraint=PrimaryKey(child_columns=["id", "at"]))
        ],
    )
    view = view_of(table, "v", ViewOptions(timestamp="at"))
    assert (view.join_keys, view.timestamp, view.feature_names) == (("id",), "at", ("a",))
    with pytest.raises(SettingsError, match=r"'v' have timestamp='att'.* did you mean 'at'\?"):
        view_of(table, "v", ViewOptions(timestamp="att"))


def test_feature_specs_are_services(client: Any) -> None:
    (service,) = client.list_feature_services()
    assert service.name == "main.f.spec"
    assert featkit.FeatureRef("routes", "length_km") in service.features


def test_tags_are_read_on_request(fake: DatabricksFake, url: str) -> None:
    fake.tags = {"routes": {"team": "maps"}, "routes.length_km": {"unit": "km"}}
    with featkit.connect(opened(url, tags=True)) as client:
        view = client.get_feature_metadata("routes")
    assert view.tags == {"team": "maps"}
    assert view["length_km"].tags == {"unit": "km"}


def test_the_health_check_tells_the_endpoints(url: str) -> None:
    with featkit.connect(opened(url)) as client:
        assert "fs_ep READY" in str(client.check_health())
    with featkit.connect(opened(url, endpoint="fs_epp")) as client:
        assert "'fs_epp' is unknown; did you mean 'fs_ep'?" in client.check_health().reason


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"endpoint": "fs_epp"}, UnknownNameError, "'fs_epp'; did you mean 'fs_ep'"),
        ({"endpoint": None}, SettingsError, r"endpoint='NAME'.*\[databricks.views.routes\]"),
        (
            {"schema": "defaul"},
            UnknownNameError,
            "no schema of main: 'defaul'; did you mean 'default'.*SCHEMA_DOES_NOT_EXIST",
        ),
        ({"catalog": "mian"}, UnknownNameError, "no catalog 'mian'; did you mean 'main'"),
        ({"views": {"routes": {"ttl": "3"}}}, DurationError, "ttl of routes '3' cannot be read"),
        ({"token": "dapi-wrong"}, AuthError, "Invalid access token.*were passed to connect"),
    ],
)
def test_mistakes_are_named(
    url: str, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with (
        featkit.connect(opened(url, **options)) as client,
        pytest.raises(error, match=words) as caught,
    ):
        client.lookup({"start_id": [1], "end_id": [2]}, ["routes:length_km"])
    assert "dapi" not in str(caught.value)


def test_a_batch_of_no_keys_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="batch_size is at least 1, not 0"):
        opened(url, batch_size=0)


def test_a_warehouse_without_an_id_is_none(url: str) -> None:
    """As the variable of a template that was left empty has it."""
    with featkit.connect(opened(url, warehouse_id="")) as client:
        lack = client.operations.store.capabilities.lacking["get_historical_features"]
        assert "warehouse_id='ID'" in lack.instead
        with pytest.raises(NotSupportedError, match=r"warehouse_id='ID'.*there are: 'wh1'"):
            client.get_historical_features(
                pl.DataFrame({"start_id": [1], "end_id": [2], "at": [CONTRACT_NOW]}),
                ["routes:length_km"],
                at="at",
            )


def test_an_unknown_option_of_a_view_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="endpont"):
        opened(url, views={"routes": {"endpont": "x"}})


@pytest.mark.parametrize("target", ["databricks+ftp://host", "databricks://host", "databricks+x:y"])
def test_a_target_without_workspace_is_refused(target: str) -> None:
    with pytest.raises(SettingsError, match="databricks\\+https://HOST"):
        open_store(target, {"catalog": "c", "schema": "s"})


def test_naive_times_are_refused_until_somebody_says_what_they_mean(url: str) -> None:
    options = {"catalog": CATALOG, "schema": SCHEMA, "token": "dapi-canary", "endpoint": "fs_ep"}
    with (
        featkit.connect(open_store(f"databricks+{url}", options)) as client,
        pytest.raises(TimestampError, match=r"'seen_at' come without a zone.*timezone='UTC'"),
    ):
        client.lookup([1], ["customers:seen_at"])


# -- credentials


def test_one_token_serves_all_until_it_expires(fake: DatabricksFake, url: str) -> None:
    service = {"token": None, "client_id": "svc", "client_secret": "service-canary"}
    with featkit.connect(opened(url, **service, batch_size=1), cache=None) as client:
        keys = list(range(100, 140))
        client.lookup(keys, ["customers:active"])
        assert len(fake.tokens) == 1
        fake.tokens[:] = ["oauth-another"]  # all that were given out have expired
        client.lookup(keys, ["customers:active"])
        assert len(fake.tokens) == 2


def test_an_endpoint_of_its_own_gets_a_token_of_its_own(fake: DatabricksFake, url: str) -> None:
    fake.route_optimized = True
    service = {"token": None, "client_id": "svc", "client_secret": "service-canary"}
    with featkit.connect(opened(url, **service)) as client:
        assert client.lookup([1], ["customers:active"]).to_dicts() == [{"active": True}]
        fake.tokens.clear()
        fake.endpoint_tokens.clear()
        assert client.lookup([1], ["customers:active"]).to_dicts() == [{"active": True}]
    sent = [each for each in fake.asked if "ro_dp" in each.path]
    assert {each.headers["authorization"].split("-")[0] for each in sent} == {"Bearer endpoint"}


def test_a_personal_token_cannot_be_exchanged(fake: DatabricksFake, client: Any) -> None:
    fake.route_optimized = True
    with pytest.raises(AuthError, match=r"takes tokens of OAuth only.*DATABRICKS_CLIENT_ID"):
        client.lookup([1], ["customers:active"])


def test_a_wrong_secret_is_told_and_asked_once(fake: DatabricksFake, url: str) -> None:
    service = {"token": None, "client_id": "svc", "client_secret": "wrong-secret"}
    with (
        featkit.connect(opened(url, **service)) as client,
        pytest.raises(AuthError, match="invalid_client Client authentication failed") as caught,
    ):
        client.list_feature_views()
    assert "wrong-secret" not in str(caught.value)
    assert len(fake.asked) == 1


PLACE = {"catalog": CATALOG, "schema": SCHEMA, "endpoint": "fs_ep"}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Take away the variables of Databricks' own tools."""
    for name in [name for name in os.environ if name.startswith("DATABRICKS_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("values", "origin"),
    [
        ({"DATABRICKS_TOKEN": "dapi-canary"}, "DATABRICKS_TOKEN"),
        (
            {"DATABRICKS_CLIENT_ID": "svc", "DATABRICKS_CLIENT_SECRET": "service-canary"},
            "DATABRICKS_CLIENT_SECRET",
        ),
        ({"DATABRICKS_CONFIG_PROFILE": "work"}, r"'work' in .*databrickscfg"),
        ({}, "'DEFAULT' in"),
        ({"DATABRICKS_TOKEN": "x", "DATABRICKS_HOST": "https://other.example.com"}, "'DEFAULT' in"),
    ],
)
def test_credentials_are_found_where_databricks_own_tools_look(
    url: str, variables: Any, empty_home: Any, values: dict[str, str], origin: str
) -> None:
    lines = [f"[{name}]\nhost = {url}/\ntoken = dapi-canary\n" for name in ("DEFAULT", "work")]
    (empty_home / ".databrickscfg").write_text("\n".join(lines))
    for name, value in values.items():
        variables.setenv(name, value)
    store = open_store(f"databricks+{url}", PLACE)
    with featkit.connect(store) as client:
        assert client.health_check()
    assert re.search(origin, store.auth.origin)


@pytest.mark.usefixtures("variables")
def test_a_profile_tells_the_host(url: str, empty_home: Any) -> None:
    (empty_home / "cfg").write_text(f"[dev]\nhost = {url}\ntoken = dapi-canary\n")
    (empty_home / "featkit.toml").write_text(
        'backend = "databricks"\n[databricks]\nprofile = "dev"\ncatalog = "main"\nschema = "f"\n'
        'config_file = "cfg"\n[databricks.views.customers]\nttl = "3h"\n'
    )
    with featkit.connect() as client:
        assert client.target == "databricks:dev"
        assert client.get_feature_metadata("customers").ttl == timedelta(hours=3)


@pytest.mark.usefixtures("variables")
def test_what_a_browser_shows_behind_the_host_is_left_out(url: str) -> None:
    with featkit.connect(f"databricks+{url}/ml/features?o=123", token="dapi-canary", **PLACE) as it:
        assert it.health_check()


@pytest.mark.parametrize(
    ("values", "profile", "said"),
    [
        ({"DATABRICKS_WAREHOUSE_ID": "wh1"}, "", r"'wh1' \(Shared\)"),
        (
            {"DATABRICKS_WAREHOUSE_ID": "wh2"},
            "wh1",
            "'wh2' of the variable DATABRICKS_WAREHOUSE_ID",
        ),
        ({}, "wh1", r"'wh1' \(Shared\)"),
        ({}, "wh2", "'wh2' of the profile 'DEFAULT' in .*databrickscfg; did you mean"),
    ],
)
def test_the_warehouse_is_found_where_databricks_own_tools_look(
    url: str, variables: Any, empty_home: Any, values: dict[str, str], *, profile: str, said: str
) -> None:
    lines = f"[DEFAULT]\nhost = {url}\ntoken = dapi-canary\nwarehouse_id = {profile}\n"
    (empty_home / ".databrickscfg").write_text(lines)
    for name, value in values.items():
        variables.setenv(name, value)
    with featkit.connect(f"databricks+{url}", **PLACE) as client:
        assert re.search(said, str(client.check_health()))
    with featkit.connect(f"databricks+{url}", **PLACE, warehouse_id="wh1") as client:
        assert "'wh1' (Shared)" in str(client.check_health())


@pytest.mark.usefixtures("empty_home")
def test_a_warehouse_of_another_host_is_not_used(url: str, variables: Any) -> None:
    variables.setenv("DATABRICKS_WAREHOUSE_ID", "wh1")
    variables.setenv("DATABRICKS_HOST", "https://elsewhere.example.com")
    with featkit.connect(f"databricks+{url}", token="dapi-canary", **PLACE) as client:
        assert "SQL warehouse" not in str(client.check_health())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, AuthError, r"no credentials for https://w.*DATABRICKS_TOKEN.*profile"),
        ({"config_file": "own"}, AuthError, r"'DEFAULT' of own is for https://o.example.com"),
        ({"profile": "prd"}, SettingsError, r"no profile 'prd' in cfg; did you mean 'prod'"),
        ({"profile": "cli"}, SettingsError, r"auth_type = databricks-cli; .*Config\(profile='cli'"),
        ({"profile": "bare"}, SettingsError, r"'bare' of cfg has no token, and no client_id"),
        ({"config_file": "cli"}, AuthError, r"DATABRICKS_TOKEN.*'DEFAULT' of cli logs in with"),
        ({"profile": "prod"}, SettingsError, r"is for https://p.example.com, not for https://w"),
        (
            {"client_id": "me"},
            SettingsError,
            r"lack client_secret; they are those that were passed",
        ),
    ],
)
@pytest.mark.usefixtures("variables")
def test_missing_credentials_are_named(
    empty_home: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    cli = "host = https://w/\nauth_type = databricks-cli\n"
    (empty_home / "cfg").write_text(
        f"[prod]\nhost = p.example.com\ntoken = dapi-canary\n[cli]\n{cli}[bare]\nhost = w\n"
    )
    (empty_home / "cli").write_text(f"[DEFAULT]\n{cli}")
    (empty_home / "own").write_text("[DEFAULT]\nhost = o.example.com\ntoken = dapi-canary\n")
    with pytest.raises(error, match=words):
        open_store("databricks+https://w", PLACE | {"config_file": "cfg"} | options)


@pytest.mark.usefixtures("variables")
def test_a_profile_may_leave_the_host_to_the_target(empty_home: Any) -> None:
    (empty_home / "cfg").write_text("[x]\ntoken = dapi-canary\n")
    known = PLACE | {"config_file": "cfg", "profile": "x"}
    assert open_store("databricks+https://w", known).auth.host == "https://w"
    with pytest.raises(SettingsError, match="'x' of cfg has no host"):
        open_store("databricks:x", known)


@pytest.mark.usefixtures("variables")
def test_a_configuration_that_is_no_ini_shows_none_of_its_lines(empty_home: Any) -> None:
    (empty_home / "cfg").write_text("token = dapi-canary\n")
    with pytest.raises(SettingsError, match="cfg cannot be read as an INI file") as caught:
        open_store("databricks+https://w", PLACE | {"config_file": "cfg", "profile": "x"})
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.usefixtures("empty_home")
def test_variables_for_another_host_are_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-canary")
    monkeypatch.setenv("DATABRICKS_HOST", "https://elsewhere.example.com")
    with pytest.raises(AuthError, match=r"DATABRICKS_HOST, which is https://elsewhere") as caught:
        open_store("databricks+https://w", PLACE)
    assert "canary" not in str(caught.value)


def test_others_get_no_credentials(url: str) -> None:
    auth = opened(url).auth
    (sent,) = auth.auth_flow(HttpRequest(url="https://storage.example.com/result"))
    assert sent.headers == {}
    (sent,) = auth.auth_flow(HttpRequest(url=f"{url}.example.com/"))  # begins like the host
    assert sent.headers == {}


# -- answers that lie


def first_of(body: dict[str, Any]) -> dict[str, Any]:
    return body["outputs"][0]


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "first row dropped": lambda body: body["outputs"].pop(0),
    "last row dropped": lambda body: body["outputs"].pop(),
    "a row too many": lambda body: body["outputs"].append(body["outputs"][0]),
    "rows swapped": lambda body: body["outputs"].reverse(),
    "another entity": lambda body: first_of(body).update(customer_id=404),
    "a row of nothing": lambda body: body["outputs"].__setitem__(0, None),
    "an empty row": lambda body: body["outputs"].__setitem__(0, {}),
    "a row that is a list": lambda body: body["outputs"].__setitem__(0, [1, 2]),
    "a row that is a number": lambda body: body["outputs"].__setitem__(0, 7),
    "a feature missing in a row": lambda body: first_of(body).pop("visits"),
    "a feature missing": lambda body: [row.pop("visits") for row in body["outputs"]],
    "a fraction for an integer": lambda body: first_of(body).update(visits=1.5),
    "a text for an integer": lambda body: first_of(body).update(visits="1"),
    "beyond 64 bits": lambda body: first_of(body).update(visits=2**63),
    "a number for a text": lambda body: first_of(body).update(name=7),
    "a list for a text": lambda body: first_of(body).update(name=["x"]),
    "no outputs": lambda body: body.pop("outputs"),
    "predictions": lambda body: body.update(predictions=body.pop("outputs")),
    "outputs that are an object": lambda body: body.update(outputs={"visits": [1, 2, 3]}),
}


def lying(change: Callable[[dict[str, Any]], object], fake: DatabricksFake) -> httpx.Client:
    """Make a client whose lookups are answered by the fake, and then falsified."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = Asked(
            request.method,
            request.url.path,
            dict(request.url.params),
            dict(request.headers),
            request.content,
        )
        try:
            said = fake.answer(asked)
        except Answer as raised:
            said = raised
        if request.url.path.endswith("/invocations"):
            body = json.loads(json.dumps(said.body))
            change(body)
            said = replace(said, body=body)
        headers, content = said.encoded()
        return httpx.Response(said.status, headers=headers, content=content)

    return httpx.Client(transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("name", LIES)
def test_no_lie_becomes_a_wrong_row(fake: DatabricksFake, name: str) -> None:
    with (
        lying(LIES[name], fake) as http,
        featkit.connect(opened("http://127.0.0.1:1"), client=http, now=CONTRACT_NOW) as client,
        pytest.raises((RowMismatch, ProtocolError)) as caught,
    ):
        client.lookup([1, 8, 0], ["customers:visits", "customers:name"])
    assert "/serving-endpoints/fs_ep/invocations" in str(caught.value)


def test_what_pandas_makes_of_integers_and_booleans_with_nulls_is_read(
    fake: DatabricksFake,
) -> None:
    keys, features = [2, 404], ["customers:visits", "customers:active"]

    def as_floats(body: dict[str, Any]) -> None:
        for row in body["outputs"]:
            for name in ("customer_id", "visits", "active"):
                row[name] = None if row[name] is None else float(row[name])

    found = []
    for change in (lambda _: None, as_floats):
        with (
            lying(change, fake) as http,
            featkit.connect(opened("http://127.0.0.1:1"), client=http, cache=None) as client,
        ):
            found.append(client.lookup(keys, features).to_polars())
    assert found[0]["visits"].is_not_null().any()
    assert found[0].equals(found[1])


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ({"predictions": [1, 2]}, ProtocolError, "serves a model: it answers with predictions"),
        (
            {"error_code": "RESOURCE_EXHAUSTED", "message": "too many"},
            ThrottledError,
            "'fs_ep' says: RESOURCE_EXHAUSTED: too many",
        ),
        ({"message": "it broke"}, RequestRejected, "'fs_ep' says: it broke"),
        (
            {"outputs": [{"customer_id": 1, "visit": 1}]},
            ProtocolError,
            "does not serve the feature 'visits' of 'customers': .* did you mean 'visit'",
        ),
    ],
    ids=["a model", "throttled", "an error", "another feature"],
)
def test_what_an_endpoint_says_in_place_of_features_is_told(
    fake: DatabricksFake, body: dict[str, Any], error: type[Exception], said: str
) -> None:
    def change(sent: dict[str, Any]) -> None:
        sent.clear()
        sent.update(body)

    with (
        lying(change, fake) as http,
        featkit.connect(opened("http://127.0.0.1:1"), client=http, retry=QUICK) as client,
        pytest.raises(error, match=said),
    ):
        client.lookup([1], ["customers:visits"])


def test_floats_that_json_has_no_numbers_for_may_be_bare() -> None:
    body = '{"outputs": [{"customer_id": 1, "score": NaN, "name": "a, NaN"}]}'

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/invocations"):
            return httpx.Response(200, content=body.encode())
        asked = Asked(request.method, request.url.path, {}, dict(request.headers), b"")
        return httpx.Response(200, json=DatabricksFake(contract_views()).answer(asked).body)

    http = httpx.Client(transport=httpx.MockTransport(answer))
    with http, featkit.connect(opened("http://127.0.0.1:1"), client=http, cache=None) as client:
        found = client.lookup([1], ["customers:score", "customers:name"]).to_dicts()
        assert repr(found) == "[{'score': nan, 'name': 'a, NaN'}]"
        body = body.replace('"a, NaN"', '"a, NaN, b"')
        with pytest.raises(ProtocolError, match="JSON is malformed"):
            client.lookup([1], ["customers:score", "customers:name"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>Blocked by proxy</html>", "not in Databricks' form: '<html>Blocked by proxy</"),
        (b"", "403: the credentials were not accepted; the credentials are those that were passed"),
        (b'{"error_code": 403, "message": "Invalid"}', "403: Databricks says: 403: Invalid; the"),
        (b'{"error": "invalid_token"}', "403: Databricks says: invalid_token; the credentials"),
    ],
)
def test_a_refusal_is_quoted_whoever_says_it(body: bytes, said: str) -> None:
    refusal = explained(HttpReply(403, {}, bytearray(body)), "those that were passed")
    assert said in str(refusal)
    assert isinstance(refusal, AuthError)


def test_a_value_without_its_time_is_refused(fake: DatabricksFake) -> None:
    fake.timestamps = True
    with (
        lying(lambda body: first_of(body).update(event_timestamp=None), fake) as http,
        featkit.connect(opened("http://127.0.0.1:1"), client=http, now=CONTRACT_NOW) as client,
        pytest.raises(ProtocolError, match="sent a value without its 'event_timestamp'"),
    ):
        client.lookup([1, 8], ["customers:visits"])


# -- what was recorded

_FILE = Path(__file__).parents[1] / "data" / "databricks" / "sdk.jsonl"
RECORDED = [json.loads(line) for line in _FILE.read_text("utf-8").splitlines()]


def replayed(replies: dict[str, list[dict[str, Any]]]) -> httpx.Client:
    """Make a client that answers as recorded, each path its replies in turn."""

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        said = replies[path].pop(0) if len(replies[path]) > 1 else replies[path][0]
        body = said["body"]
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        kind = "text/html" if isinstance(body, str) else "application/json"
        headers = {"content-type": kind, **said["headers"]}
        return httpx.Response(said["status"], headers=headers, content=content)

    return httpx.Client(transport=httpx.MockTransport(answer))


def recorded(endpoint: str) -> dict[str, list[dict[str, Any]]]:
    """Return the recorded replies by path, where `endpoint` takes the place of the good one."""
    replies: dict[str, list[dict[str, Any]]] = {}
    for each in RECORDED:
        replies.setdefault(each["request"]["path"], []).append(each["response"])
    wanted = replies.get(f"/serving-endpoints/{endpoint}/invocations", [])
    return replies | {"/serving-endpoints/fs_ep/invocations": wanted}


USERS = {"catalog": "main", "schema": "f", "token": "dapi-canary", "endpoint": "fs_ep"}


def test_recorded_answers_are_read() -> None:
    with (
        replayed(recorded("fs_ep")) as http,
        featkit.connect(
            open_store("databricks+https://workspace.example.com", USERS), client=http
        ) as client,
    ):
        view = client.get_feature_metadata("users")
        found = client.lookup([1, 2, 99], ["users:age"])
        assert client.check_health().healthy
    assert (view.join_keys, view.timestamp, view.feature_names) == (("user_id",), "ts", ("age",))
    assert (view.description, view.owner) == ("user features", "a@b")
    assert view["age"].description == "years"
    assert found.values["age"].to_list() == [34, None, None]
    assert found.values.schema["age"] == pl.Int32


@pytest.mark.parametrize(
    ("endpoint", "error", "words"),
    [
        ("e400", RequestRejected, "400: Databricks says: BAD_REQUEST: Missing features: user_id"),
        ("e404", UnknownNameError, "RESOURCE_DOES_NOT_EXIST: Endpoint not found"),
        ("e413", BatchTooLarge, "413"),
        ("e500", StoreUnavailable, "boom"),
        ("e504", StoreUnavailable, "taking too long"),
    ],
)
def test_recorded_refusals_are_named(endpoint: str, error: type[Exception], words: str) -> None:
    with (
        replayed(recorded(endpoint)) as http,
        featkit.connect(
            open_store("databricks+https://workspace.example.com", USERS),
            client=http,
            retry=QUICK,
        ) as client,
        pytest.raises(error, match=words),
    ):
        client.lookup([1], ["users:age"])


@pytest.mark.parametrize("endpoint", ["e429", "e503"])
def test_recorded_trouble_is_ridden_out(endpoint: str) -> None:
    with (
        replayed(recorded(endpoint)) as http,
        featkit.connect(
            open_store("databricks+https://workspace.example.com", USERS), client=http
        ) as client,
    ):
        assert client.get_online_features("users", 1) == {"age": 34}
