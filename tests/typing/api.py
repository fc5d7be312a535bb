"""Promises to type checkers: never run, only checked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_type

import pandas as pd
import polars as pl

import featkit


def frames_keep_their_kind(pandas: pd.DataFrame, eager: pl.DataFrame, lazy: pl.LazyFrame) -> None:
    """What comes back is a frame of the kind that went in."""
    assert_type(featkit.features(pandas), featkit.FeaturesAccessor[pd.DataFrame])
    assert_type(featkit.features(eager), featkit.FeaturesAccessor[pl.DataFrame])
    assert_type(featkit.features(lazy), featkit.FeaturesAccessor[pl.LazyFrame])
    assert_type(featkit.features(pandas).enrich("a:b"), pd.DataFrame)
    assert_type(featkit.features(eager).enrich(["a:b"]), pl.DataFrame)
    assert_type(featkit.features(lazy).enrich([featkit.FeatureRef("a", "b")]), pl.LazyFrame)


async def frames_keep_their_kind_when_awaited(
    pandas: pd.DataFrame, eager: pl.DataFrame, lazy: pl.LazyFrame
) -> None:
    """The same for `enrich_async`."""
    assert_type(await featkit.features(pandas).enrich_async("a:b"), pd.DataFrame)
    assert_type(await featkit.features(eager).enrich_async("a:b"), pl.DataFrame)
    assert_type(await featkit.features(lazy).enrich_async("a:b"), pl.LazyFrame)


async def training_sets_keep_their_kind(
    pandas: pd.DataFrame, lazy: pl.LazyFrame, client: featkit.AsyncFeatureStoreClient
) -> None:
    """But for what goes to a file, and for a plan; awaited or not, of a frame or of a client."""
    own, plan = featkit.features(pandas), featkit.features(lazy)
    assert_type(own.training_set("a:b", at="t"), pd.DataFrame)
    assert_type(plan.training_set("a:b", at="t", strict=True), pl.LazyFrame)
    assert_type(own.training_set("a:b", at="t", sink="set.parquet"), pl.LazyFrame)
    assert_type(own.training_set("a:b", at="t", explain=True), featkit.JoinPlan)
    assert_type(await own.training_set_async("a:b", at="t"), pd.DataFrame)
    assert_type(await plan.training_set_async("a:b", at="t", lookback="1d"), pl.LazyFrame)
    assert_type(await own.training_set_async("a:b", at="t", sink="set.parquet"), pl.LazyFrame)
    assert_type(await own.training_set_async("a:b", at="t", explain=True), featkit.JoinPlan)
    await own.training_set_async("a:b", at="t", lokback="1d")  # type: ignore[call-overload]
    made = await client.get_historical_features(pandas, "a:b", at="t")
    assert_type(made, featkit.TrainingSet[pd.DataFrame])
    assert_type(made.columns, tuple[str, ...])


def options_are_checked(frame: pl.DataFrame, store: featkit.FeatureStoreClient) -> None:
    """A wrong word for an option is an error before the code runs."""
    accessor = featkit.features(frame)
    accessor.enrich(
        "a:b",
        on={"k": "column"},
        store=store,
        timestamps=True,
        statuses=True,
        prefix="{view}_",
        on_missing="warn",
        on_error="null",
        expired="null",
        max_age="5m",
        progress=lambda done, total, stage: None,  # noqa: ARG005 - the form is the point
        refresh=True,
        dtype_backend="pyarrow",
    )
    accessor.enrich("a:b", on_missing="ignore")  # type: ignore[arg-type]
    accessor.enrich("a:b", expired="drop")  # type: ignore[arg-type]
    accessor.enrich("a:b", timestmaps=True)  # type: ignore[call-arg]
    accessor.enrich("a:b", {"k": "column"})  # type: ignore[call-arg]
    featkit.features([1, 2])  # type: ignore[call-overload]


def connecting() -> None:
    """Each function makes its own kind of client."""
    assert_type(featkit.connect("demo:flights"), featkit.FeatureStoreClient)
    assert_type(featkit.connect(), featkit.FeatureStoreClient)
    assert_type(featkit.connect_async("demo:flights"), featkit.AsyncFeatureStoreClient)
    with featkit.connect(timezone="UTC", timeout=5, now="2024-01-01T00:00:00Z") as client:
        assert_type(client, featkit.FeatureStoreClient)
    featkit.use(client)


def client_methods(client: featkit.FeatureStoreClient, keys: pd.DataFrame) -> None:
    """What the methods of the client return."""
    assert_type(client.get_online_features("v", 1), dict[str, Any])
    assert_type(client.get_online_features("v", ("a", 1), ["f"]), dict[str, Any])
    assert_type(client.get_online_features("v", {"a": "x"}), dict[str, Any])
    assert_type(client.get_online_features_batch("v", [1, None]), list[dict[str, Any]])
    assert_type(
        client.get_online_features_with_timestamps("v", "x"),
        tuple[dict[str, Any], dict[str, datetime | None]],
    )
    assert_type(client.lookup(keys, "a:b"), featkit.FeatureColumns)
    assert_type(client.lookup({"k": [1]}, ["a:b"]), featkit.FeatureColumns)
    assert_type(client.lookup([1, 2], "a:b").to_polars(), pl.DataFrame)
    assert_type(client.lookup([1, 2], "a:b").to_pandas(statuses=True), pd.DataFrame)
    assert_type(client.lookup([1, 2], "a:b").to_dicts(), list[dict[str, Any]])
    assert_type(client.get_feature_metadata("v"), featkit.FeatureView)
    assert_type(client.list_feature_views(), list[featkit.FeatureView])
    assert_type(client.list_entities(), list[featkit.Entity])
    assert_type(client.list_feature_services(), list[featkit.FeatureService])
    assert_type(client.search("words"), list[featkit.FeatureRef])
    assert_type(client.health_check(), bool)
    assert_type(client.check_health(), featkit.HealthReport)
    assert_type(client.monitor_health(), featkit.HealthMonitor)
    assert_type(client.last_summary, featkit.LookupSummary | None)
    client.close()


def staleness(client: featkit.FeatureStoreClient, frame: pl.DataFrame) -> None:
    """What a report is, and what can be had from it."""
    report = client.staleness(["a:b"], {"k": [1]}, sample=5, warn_after="1h", tolerate=0.1)
    assert_type(report, featkit.StalenessReport)
    assert_type(featkit.features(frame).staleness(on="k"), featkit.StalenessReport)
    assert_type(report.to_polars(by="view"), pl.DataFrame)
    assert_type(report.to_pandas(), pd.DataFrame)
    assert_type(report.worst(3), pl.DataFrame)
    assert_type(report.to_html("page.html"), str)
    assert_type(featkit.StalenessReport.trend("audits.parquet"), featkit.StalenessTrend)
    report.assert_fresh(fail_on="warn")
    report.assert_fresh(fail_on="sometimes")  # type: ignore[arg-type]


async def async_client_methods(client: featkit.AsyncFeatureStoreClient) -> None:
    """The same, awaited."""
    assert_type(await client.get_online_features("v", 1), dict[str, Any])
    assert_type(await client.get_online_features_batch("v", [1]), list[dict[str, Any]])
    assert_type(
        await client.get_online_features_with_timestamps("v", 1),
        tuple[dict[str, Any], dict[str, datetime | None]],
    )
    assert_type(await client.lookup([1], "a:b"), featkit.FeatureColumns)
    assert_type(await client.get_feature_metadata("v"), featkit.FeatureView)
    assert_type(await client.list_feature_views(), list[featkit.FeatureView])
    assert_type(await client.list_entities(), list[featkit.Entity])
    assert_type(await client.list_feature_services(), list[featkit.FeatureService])
    assert_type(await client.search("words"), list[featkit.FeatureRef])
    assert_type(await client.health_check(), bool)
    assert_type(await client.check_health(), featkit.HealthReport)
    assert_type(await client.monitor_health(), featkit.HealthMonitor)
    async with client as same:
        assert_type(same, featkit.AsyncFeatureStoreClient)


def plain_functions() -> None:
    """What the functions on the default client return."""
    assert_type(featkit.feature_lookup("v", 1), dict[str, Any])
    assert_type(featkit.feature_lookup_batch("v", [1, None]), list[dict[str, Any]])
    assert_type(featkit.get_feature("v", 1, "f"), featkit.FeatureValue)
    assert_type(featkit.get_feature("v", 1, "f").is_stale(), bool)
    assert_type(featkit.feature_timestamp("v", 1), datetime | None)


def demo() -> None:
    """The spine comes in the library asked for."""
    assert_type(featkit.demo.flights(), pd.DataFrame)
    assert_type(featkit.demo.flights("pandas"), pd.DataFrame)
    assert_type(featkit.demo.flights("polars"), pl.DataFrame)


def writing(pandas: pd.DataFrame, lazy: pl.LazyFrame) -> None:
    """Frames of either library can be written."""
    featkit.write_view("folder", pandas, name="v", join_keys="k", timestamp="at", ttl="7d")
    featkit.write_view("folder", lazy, name="v", join_keys=["a", "b"])
    featkit.write_service("folder", name="s", features=["v:f"])
    featkit.write_view("folder", pandas, join_keys="k")  # type: ignore[call-arg]
