"""What stores are asked about themselves is kept, and asked again where somebody wants that."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import featkit
from featkit.catalogue import read_catalogue
from featkit.errors import AuthError, SettingsWarning, UnknownNameError, ViewWarning
from featkit.testing import CONTRACT_NOW, contract_views, described
from tests.fakes.databricks import CATALOG, SCHEMA, DatabricksFake, workspace
from tests.fakes.sagemaker import KEY_ID, REGION, SECRET, SageMakerFake
from tests.fakes.tecton import KEY, WORKSPACE, TectonFake
from tests.fakes.vertex import LOCATION, STORE, VertexFake, google
from tests.fakes.vertex import PROJECT as GOOGLE_PROJECT
from tests.stores import test_databricks, test_sagemaker, test_tecton, test_vertex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Served = tuple[str, dict[str, Any], str, Callable[[], int]]
    """A target, its options, the option that says who asks, and how much was asked so far."""


@contextmanager
def databricks() -> Iterator[Served]:
    fake = DatabricksFake(contract_views())
    with workspace(fake) as url:
        options = {"catalog": CATALOG, "schema": SCHEMA, "endpoint": "fs_ep"}
        options |= {"token": "dapi-canary", "views": test_databricks.TTLS, "lineage": True}
        yield f"databricks+{url}", options, "token", lambda: len(fake.asked)


@contextmanager
def vertex() -> Iterator[Served]:
    fake = VertexFake(contract_views())
    with google(fake) as url:
        options = {"api_endpoint": url, "bigquery_endpoint": url, "token": "ya29-canary"}
        options |= {"views": test_vertex.TTLS}
        target = f"vertex:{GOOGLE_PROJECT}/{LOCATION}/{STORE}"
        yield target, options, "token", lambda: len(fake.asked)


@contextmanager
def sagemaker() -> Iterator[Served]:
    groups = [test_sagemaker.Group.of(view, rows) for view, rows in test_sagemaker.VIEWS]
    with SageMakerFake(*groups) as fake:
        options = {"endpoint_url": fake.url, "control_url": fake.url, "access_key_id": KEY_ID}
        options |= {"secret_access_key": SECRET, "views": test_sagemaker.TOLD}
        yield f"sagemaker:{REGION}", options, "secret_access_key", lambda: len(fake.called)


@contextmanager
def tecton() -> Iterator[Served]:
    views = {view.name: test_tecton.Service.of((view, rows)) for view, rows in test_tecton.VIEWS}
    with TectonFake(views) as fake:
        options = {"workspace": WORKSPACE, "api_key": KEY, "views": test_tecton.TOLD}
        options |= {"feature_services": list(fake.services)}
        yield f"tecton+{fake.url}", options, "api_key", lambda: len(fake.seen)


@pytest.fixture(params=[databricks, vertex, sagemaker, tecton], ids=lambda f: f.__name__)
def store(request: pytest.FixtureRequest) -> Iterator[Served]:
    opened: Callable[[], AbstractContextManager[Served]] = request.param
    with opened() as told:
        yield told


def test_a_second_client_asks_nothing_of_the_registry(store: Served, tmp_path: Path) -> None:
    target, options, whose, asked = store
    kept = {"cache": tmp_path / "cache.sqlite", "now": CONTRACT_NOW, **options}

    def look(client: featkit.FeatureStoreClient) -> tuple[Any, Any]:
        found = client.lookup([1, 2], ["customers:visits"])
        return client.get_feature_metadata("customers"), found.to_dicts()

    with featkit.connect(target, **kept) as first:
        seen = look(first)
        views = first.list_feature_views()
        assert asked() > 0
    before = asked()
    with featkit.connect(target, **kept) as second:
        assert look(second) == seen
        assert second.list_feature_views() == views
        assert asked() == before
        with second.cache.disabled():
            assert second.list_feature_views() == views
        assert asked() > before
        before = asked()
        assert second.health_check()
        assert asked() > before  # which no cache answers
        second.cache.clear()
        before = asked()
        assert second.list_feature_views() == views
        assert asked() > before
    # somebody else is not told: the store itself refuses
    other = {**kept, whose: f"{options[whose]}-other"}
    with featkit.connect(target, **other) as somebody, pytest.raises(AuthError):
        somebody.list_feature_views()


def test_without_a_cache_all_is_asked_each_time_and_without_a_ttl_the_values_alone(
    store: Served,
) -> None:
    target, options, _, asked = store

    def asked_again(cache: featkit.CacheOptions | None) -> int:
        with featkit.connect(target, cache=cache, now=CONTRACT_NOW, **options) as client:
            client.lookup([1, 2], ["customers:visits"])
            before = asked()
            client.lookup([1, 2], ["customers:visits"])
            assert client.last_summary is not None
            assert client.last_summary.fetched == 2
            return asked() - before

    assert 0 < asked_again(featkit.CacheOptions(ttl="0s")) < asked_again(None)


def broken(target: str, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Break one of the views; return its name, too: that of its service in Tecton's case."""
    match target.partition(":")[0].partition("+")[0]:
        case "tecton":
            names = [*options["feature_services"], "gone"]
            return {**options, "feature_services": names}, "gone"
        case "sagemaker":
            return {**options, "feature_groups": ["customers", "gone"]}, "gone"
        case _:
            views = {**options["views"], "customers": {"ttl": "soon"}}
            return {**options, "views": views}, "customers"


def test_a_view_that_cannot_be_described_leaves_the_others_listed(store: Served) -> None:
    target, options, _, _ = store
    known, name = broken(target, options)
    with featkit.connect(target, cache=None, now=CONTRACT_NOW, **known) as client:
        with pytest.warns(ViewWarning, match=f"'{name}' is left out: .*({name}|soon)") as told:
            views = client.list_feature_views()
        assert [own.filename for own in told] == [__file__]
        assert views
        assert name not in {view.name for view in views}
        with pytest.warns(ViewWarning):
            assert client.search(views[0].feature_names[0])
        with pytest.warns(ViewWarning):
            assert client.list_entities()
        with warnings.catch_warnings(action="ignore", category=ViewWarning):
            # Tecton lists services, of which one is broken
            catalogue = client.run(read_catalogue(client.operations.store, target))
        assert [view.name for view in catalogue.views] == [view.name for view in views]
        assert any(note.startswith(f"'{name}' is left out") for note in catalogue.notes)
        failed = [view.view for view in client.staleness(sample=1).views if not view.described]
        assert failed == [name]


def test_a_list_without_any_view_says_why(store: Served) -> None:
    target, options, whose, _ = store
    wrong = {**options, whose: "another", "cache": None}
    with featkit.connect(target, **wrong) as client, pytest.raises(AuthError):
        client.list_feature_views()


VISITS = 2**53 + 1  # of the customer 1


def visits_as(rows: pl.DataFrame, dtype: pl.DataType | None) -> pl.DataFrame:
    """Have the feature another dtype, or another name."""
    column = pl.col("visits")
    return rows.with_columns(column.cast(dtype)) if dtype else rows.rename({"visits": "calls"})


@contextmanager
def changing_vertex() -> Iterator[Any]:
    fake = VertexFake(contract_views())
    (view, rows), *others = fake.views

    def change(dtype: pl.DataType | None) -> None:
        how = {"name": "customers", "join_keys": list(view.join_keys), "timestamp": view.timestamp}
        fake.views = [described(visits_as(rows, dtype).drop(view.created), **how), *others]

    with google(fake) as url:
        options = {"api_endpoint": url, "bigquery_endpoint": url, "token": "ya29-canary"}
        yield f"vertex:{GOOGLE_PROJECT}/{LOCATION}/{STORE}", options, change


@contextmanager
def changing_tecton() -> Iterator[Any]:
    (view, rows), *_ = test_tecton.VIEWS

    def service(dtype: pl.DataType | None) -> test_tecton.Service:
        how = {"name": "customers", "join_keys": list(view.join_keys), "timestamp": view.timestamp}
        return test_tecton.Service.of(described(visits_as(rows, dtype), **how))

    with TectonFake({"customers": service(pl.Int64())}) as fake:
        options = {"workspace": WORKSPACE, "api_key": KEY, "feature_services": ["customers"]}
        change = lambda dtype: fake.services.update(customers=service(dtype))  # noqa: E731
        yield f"tecton+{fake.url}", options, change


@pytest.fixture(params=[changing_vertex, changing_tecton], ids=lambda f: f.__name__)
def changing(request: pytest.FixtureRequest) -> Iterator[Any]:
    with request.param() as told:
        yield told


@pytest.mark.parametrize("on_error", ["raise", "null"])
def test_a_schema_that_changed_under_what_is_kept_of_it_is_asked_for_anew(
    changing: Any, on_error: Any
) -> None:
    target, options, change = changing
    keys = pl.DataFrame({"customer_id": [1]})
    enrich = featkit.features(keys).enrich
    with featkit.connect(target, now=CONTRACT_NOW, **options) as client:
        assert client.get_online_features("customers", 1, ["visits"]) == {"visits": VISITS}
        change(pl.String())
        client.cache.clear("customers")  # the values, not what is kept of the schema
        found = enrich(["customers:visits"], store=client, on_error=on_error)
        assert found["visits"].to_list() == [str(VISITS)]
        assert client.get_feature_metadata("customers")["visits"].dtype == pl.String
        change(None)
        client.cache.clear("customers")
        with pytest.raises(UnknownNameError, match="'customers' has no feature 'visits'"):
            enrich(["customers:visits"], store=client, on_error=on_error)
        assert enrich(["customers:calls"], store=client)["calls"].to_list() == [VISITS]


def test_a_name_that_what_is_kept_does_not_have_is_looked_for_in_the_store(changing: Any) -> None:
    target, options, change = changing
    with featkit.connect(target, now=CONTRACT_NOW, **options) as client:
        assert client.get_online_features("customers", 1, ["visits"]) == {"visits": VISITS}
        change(None)
        assert client.get_online_features("customers", 1, ["calls"]) == {"calls": VISITS}
        assert "calls" in client.get_feature_metadata("customers").feature_names


def misspelt(options: dict[str, Any], name: str) -> dict[str, Any]:
    """Call a view of the settings otherwise."""
    views = dict(options["views"])
    views[name] = views.pop("customers", {})
    return {**options, "views": views, "now": CONTRACT_NOW, "cache": None}


def test_a_name_among_the_views_of_the_settings_that_no_view_has_is_told_once(
    store: Served,
) -> None:
    target, options, _, _ = store
    told = r"views=\{'customer': \{...\}\} \(\[\w+.views.customer\] .* did you mean 'customers'\?"
    with featkit.connect(target, **misspelt(options, "customer")) as client:
        with pytest.warns(SettingsWarning, match=told) as warned:
            assert client.list_feature_views()
        assert [own.filename for own in warned] == [__file__]
        client.list_feature_views()  # warns no more
        assert "did you mean 'customers'?" in str(client.check_health())
        assert client.health_check()  # it can be used all the same


def test_the_health_check_tells_a_wrong_name_among_the_views_of_the_settings(
    store: Served,
) -> None:
    target, options, _, _ = store
    with featkit.connect(target, **misspelt(options, "customer")) as client:
        (check,) = [own for own in client.check_health().checks if own.name == "settings"]
        assert "views={'customer': {...}}" in check.found
        assert not check.problem
    with featkit.connect(target, **{**options, "cache": None}) as client:
        assert "settings" not in {own.name for own in client.check_health().checks}


def test_a_lookup_tells_what_is_like_a_misspelt_name_of_its_view(store: Served) -> None:
    target, options, _, asked = store
    with (
        featkit.connect(target, **misspelt(options, "customer")) as client,
        pytest.warns(SettingsWarning, match="did you mean 'customers'"),
    ):
        client.lookup([1, 2], ["customers:visits"])
    with featkit.connect(target, **misspelt(options, "customer")) as client:
        with pytest.warns(SettingsWarning, match="did you mean 'customers'"):
            client.get_feature_metadata("customers")
        client.lookup([1, 2], ["customers:visits"])
        before = asked()
        client.lookup([1, 2], ["customers:visits"])  # warns no more
        often = asked() - before
    with featkit.connect(target, **misspelt(options, "something")) as client:
        client.lookup([1, 2], ["customers:visits"])  # which is like nothing: nobody is asked
        before = asked()
        client.lookup([1, 2], ["customers:visits"])
        assert asked() - before == often


def test_async_clients_tell_it_too(store: Served) -> None:
    target, options, _, _ = store

    async def look() -> None:
        async with featkit.connect_async(target, **misspelt(options, "customer")) as client:
            await client.lookup([1, 2], ["customers:visits"])

    with pytest.warns(SettingsWarning, match="did you mean 'customers'") as warned:
        asyncio.run(look())
    assert [own.filename for own in warned] == [__file__]
