"""What the feature repository `flights` defines: the views of featkit's demo store.

Feast imports this file when it applies the repository. `flights_sources.py` has written what it
reads.
"""

import json
from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureView, Field, FileSource, Project, ValueType
from feast.types import Float64, Int64, String

TYPES = {"Int64": Int64, "Float64": Float64, "String": String}
VIEWS = json.loads(Path("data/views.json").read_text())

project = Project(name="flights", description="Flights that left New York in 2013")
entities = {
    key: Entity(name=key, join_keys=[key], value_type=ValueType.STRING)
    for view in VIEWS
    for key in view["join_keys"]
}


def feature_view(view):
    return FeatureView(
        name=view["name"],
        entities=[entities[key] for key in view["join_keys"]],
        ttl=timedelta(seconds=view["ttl"]),
        schema=[
            Field(name=it["name"], dtype=TYPES[it["dtype"]], description=it["description"])
            for it in view["features"]
        ],
        source=FileSource(
            name=f"{view['name']}_rows",
            path=f"data/{view['name']}.parquet",
            timestamp_field="event_timestamp",
            created_timestamp_column=view["created"],
        ),
        description=view["description"],
        owner=view["owner"],
        tags=view["tags"],
    )


# Feast finds what a variable of the module holds
globals().update({f"{key}_entity": entity for key, entity in entities.items()})
globals().update({f"{view['name']}_view": feature_view(view) for view in VIEWS})
