"""What the feature repository `rides` defines: every value type, view and service of all kinds.

Feast imports this file when it applies the repository. The rows are made by `sources.py`.
"""

from datetime import timedelta

import pandas as pd
from feast import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    Project,
    PushSource,
    RequestSource,
    ValueType,
)
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)


def source(name, *, created=True, **options):
    return FileSource(
        name=f"{name}_src",
        path=f"data/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created" if created else "",
        **options,
    )


def fields(**types):
    return [Field(name=name, dtype=dtype) for name, dtype in types.items()]


rides = Project(
    name="rides",
    description="Ride hailing demo",
    tags={"team": "ml"},
    owner="ml@example.com",
)

driver = Entity(
    name="driver",
    join_keys=["driver_id"],
    value_type=ValueType.INT64,
    description="A driver",
    tags={"pii": "no"},
    owner="d@example.com",
)
customer = Entity(
    name="customer",
    join_keys=["customer_id"],
    value_type=ValueType.STRING,
    description="A customer",
)
merchant = Entity(name="merchant", join_keys=["merch_key"], value_type=ValueType.STRING)

driver_hourly_stats = FeatureView(
    name="driver_hourly_stats",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=[
        Field(
            name="conv_rate",
            dtype=Float32,
            description="Conversion rate",
            tags={"unit": "ratio"},
        ),
        Field(name="acc_rate", dtype=Float32),
        Field(name="avg_daily_trips", dtype=Int64, description="Trips/day"),
    ],
    source=source(
        "driver_hourly",
        description="hourly stats",
        tags={"tier": "1"},
        owner="etl@example.com",
    ),
    description="Hourly driver stats",
    tags={"team": "driver_performance", "tier": "gold"},
    owner="owner@example.com",
)

# Two join keys of different types.
affinity = FeatureView(
    name="affinity",
    entities=[driver, customer],
    ttl=timedelta(days=3),
    schema=fields(affinity=Float64, trips_together=Int64),
    source=source("affinity"),
    tags={"team": "growth"},
)

# A join key that is not named like its entity, and no ttl.
merchant_profile = FeatureView(
    name="merchant_profile",
    entities=[merchant],
    schema=fields(rating=Float64, name=String),
    source=source("merchant", created=False),
)

# No entity at all.
global_stats = FeatureView(
    name="global_stats",
    entities=[],
    ttl=timedelta(hours=2),
    schema=fields(surge=Float64, city_open=Bool),
    source=source("global", created=False),
)

stream_src = source("stream")
driver_push = PushSource(name="driver_push", batch_source=stream_src)
driver_stream = FeatureView(
    name="driver_stream",
    entities=[driver],
    ttl=timedelta(minutes=10),
    schema=fields(last_speed=Float64, n_events=Int64),
    source=driver_push,
)

# A ttl of zero, which the registry says in the same words as none.
all_types = FeatureView(
    name="all_types",
    entities=[driver],
    ttl=timedelta(0),
    schema=fields(
        f_int32=Int32,
        f_int64=Int64,
        f_float=Float32,
        f_double=Float64,
        f_bool=Bool,
        f_string=String,
        f_bytes=Bytes,
        f_ts=UnixTimestamp,
        l_int32=Array(Int32),
        l_int64=Array(Int64),
        l_float=Array(Float32),
        l_double=Array(Float64),
        l_bool=Array(Bool),
        l_string=Array(String),
        l_bytes=Array(Bytes),
        l_ts=Array(UnixTimestamp),
    ),
    source=source("all_types", created=False),
)

all_sets = FeatureView(
    name="all_sets",
    entities=[driver],
    ttl=timedelta(days=365),
    schema=fields(
        s_int32=Set(Int32),
        s_int64=Set(Int64),
        s_float=Set(Float32),
        s_double=Set(Float64),
        s_bool=Set(Bool),
        s_string=Set(String),
        s_bytes=Set(Bytes),
        s_ts=Set(UnixTimestamp),
        s_uuid=Set(Uuid),
        s_time_uuid=Set(TimeUuid),
        s_decimal=Set(Decimal),
    ),
    source=source("all_sets", created=False),
)

exotic = FeatureView(
    name="exotic",
    entities=[driver],
    ttl=timedelta(days=365),
    schema=fields(
        x_map=Map,
        x_json=Json,
        x_struct=Struct({"city": String, "n": Int64}),
        x_uuid=Uuid,
        x_decimal=Decimal,
        x_set=Set(String),
        x_nested=Array(Array(Int64)),
    ),
    source=source("exotic", created=False),
)

more_exotic = FeatureView(
    name="more_exotic",
    entities=[driver],
    ttl=timedelta(days=365),
    schema=fields(
        y_time_uuid=TimeUuid,
        y_uuids=Array(Uuid),
        y_time_uuids=Array(TimeUuid),
        y_decimals=Array(Decimal),
        y_jsons=Array(Json),
        y_maps=Array(Map),
        y_structs=Array(Struct({"city": String, "n": Int64})),
        y_list_of_sets=Array(Set(String)),
        y_set_of_lists=Set(Array(Int64)),
        y_deep=Array(Array(Array(Float64))),
    ),
    source=source("more_exotic", created=False),
)

# The registry says the types of these as bare numbers, and fails when asked for this view alone.
documents = FeatureView(
    name="documents",
    entities=[driver],
    ttl=timedelta(days=365),
    schema=fields(d_pdf=PdfBytes, d_image=ImageBytes),
    source=source("documents", created=False),
)

# Feast stores and serves these two types, but materialising them fails.
proto_only = FeatureView(
    name="proto_only",
    entities=[driver],
    ttl=timedelta(days=365),
    schema=fields(p_zoned=ZonedTimestamp, p_scalar_map=ScalarMap),
    source=source("proto_only", created=False),
)

# For measuring; the two that are not online are there for point-in-time joins only.
bench_a = FeatureView(
    name="bench_a",
    entities=[driver],
    ttl=timedelta(days=2),
    schema=fields(
        **{f"f{i}": Float64 for i in range(5)},
        **{f"f{i}": Int64 for i in range(5, 8)},
        f8=String,
        f9=Bool,
    ),
    source=source("bench_a"),
)
bench_b = FeatureView(
    name="bench_b",
    entities=[driver],
    ttl=timedelta(days=2),
    schema=fields(**{f"b{i}": Float64 for i in range(5)}),
    source=source("bench_b"),
    online=False,
)
bench_c = FeatureView(
    name="bench_c",
    entities=[driver],
    ttl=timedelta(hours=12),
    schema=fields(**{f"c{i}": Float64 for i in range(5)}),
    source=source("bench_c"),
    online=False,
)

ride_req = RequestSource(name="ride_req", schema=fields(km=Float64, vip=Int64))


@on_demand_feature_view(
    sources=[driver_hourly_stats, ride_req],
    schema=fields(fare=Float64, vip_trips=Int64),
    description="fare estimate",
    owner="odfv@example.com",
    tags={"kind": "odfv"},
)
def trip_fare(inputs: pd.DataFrame) -> pd.DataFrame:
    out = pd.DataFrame()
    out["fare"] = (inputs["km"] * 2 + inputs["conv_rate"]).astype("float64")
    out["vip_trips"] = (inputs["vip"] + inputs["avg_daily_trips"].fillna(0)).astype("int64")
    return out


@on_demand_feature_view(
    sources=[driver_hourly_stats],
    schema=fields(quality=Float64, busy=Bool),
    description="from stored features alone",
)
def driver_quality(inputs: pd.DataFrame) -> pd.DataFrame:
    out = pd.DataFrame()
    out["quality"] = (inputs["conv_rate"] * inputs["acc_rate"]).astype("float64")
    out["busy"] = (inputs["avg_daily_trips"].fillna(0) > 500).astype("bool")
    return out


simple_v1 = FeatureService(
    name="simple_v1",
    features=[driver_hourly_stats.with_name("dhs")],
    tags={"a": "b"},
)
driver_activity_v1 = FeatureService(
    name="driver_activity_v1",
    features=[driver_hourly_stats[["conv_rate", "avg_daily_trips"]], affinity, trip_fare],
    description="Service for model v1",
    tags={"model": "eta"},
    owner="svc@example.com",
)
# One view twice, under two names, each with a join key of its own.
pair_v1 = FeatureService(
    name="pair_v1",
    features=[
        driver_hourly_stats[["conv_rate"]]
        .with_name("first")
        .with_join_key_map({"driver_id": "first_id"}),
        driver_hourly_stats[["conv_rate"]]
        .with_name("second")
        .with_join_key_map({"driver_id": "second_id"}),
    ],
)
