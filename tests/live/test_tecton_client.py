"""featkit and Tecton's own client read the same fake: the same values, but for what is documented.

Each difference on purpose is a line of tests/live/differences.py, and of docs/stores/compare.md.
"""

import json
import math
import random
from datetime import UTC, datetime

import polars as pl
import pytest

import featkit
from featkit import Status
from featkit.testing import CONTRACT_NOW, contract_keys, contract_views
from tests.fakes.tecton import KEY, WORKSPACE, Column, Service, TectonFake, wire
from tests.live.differences import Translation
from tests.stores.test_tecton import TOLD, recorded_service

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning"),
]
VIEWS = {view.name: (view, rows) for view, rows in contract_views()}
STATUSES = {"PRESENT": {Status.PRESENT, Status.NULL, Status.EXPIRED, Status.FUTURE}}
STATUSES["MISSING_DATA"] = {Status.NOT_FOUND}


as_featkit = Translation("Tecton")


def plain(value):
    """Make NaN equal to itself."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return [plain(item) for item in value] if isinstance(value, list) else value


def compare(vendor, fake, service, frame, view, *, single):
    """Compare all that the client and featkit say about a view."""
    options = {"workspace": WORKSPACE, "api_key": KEY, "feature_services": [service]}
    with featkit.connect(
        f"tecton+{fake.url}", views=TOLD, row_timestamps=single, now=CONTRACT_NOW, **options
    ) as client:
        found = client.lookup(frame, f"{view}:*")
        described = client.get_feature_metadata(view)
    keys = [
        {name: str(own) if isinstance(own, int) else own for name, own in row.items()}
        for row in frame.to_dicts()
    ]
    request = {"url": fake.url, "key": KEY, "workspace": WORKSPACE, "service": service}
    said = vendor("ask_tecton.py", request | {"lookups": [{"join_keys": key} for key in keys]})
    assert said["join_keys"] == list(described.join_keys)
    assert [name.removeprefix(f"{view}.") for name in said["features"]] == list(
        described.feature_names
    )
    for name in described.feature_names:
        values, statuses = found.values[name], found.statuses[name]
        times = found.stamps(name)
        for row, answer in enumerate(said["answers"]):
            theirs = as_featkit(answer["values"][f"{view}.{name}"], values.dtype)
            assert plain(values[row : row + 1].to_list()[0]) == plain(theirs), (name, keys[row])
            assert statuses[row] in STATUSES[answer["statuses"][f"{view}.{name}"]]
            if single and described.timestamp:
                told = answer["times"][f"{view}.{name}"]
                assert times[row] == (told and datetime.fromisoformat(told))


@pytest.mark.parametrize("single", [False, True], ids=["batch", "single"])
@pytest.mark.parametrize("name", VIEWS)
def test_every_value_is_what_tectons_own_client_says(vendor, name, single):
    keys = contract_keys(name)
    if name == "notes":  # keys of 100,000 characters say nothing new, and are slow to write
        keys = keys.filter(pl.col("note_id").str.len_chars() < 1000)
    with TectonFake({name: Service.of(VIEWS[name])}) as fake:
        compare(vendor, fake, name, keys, name, single=single)


@pytest.mark.parametrize("single", [False, True], ids=["batch", "single"])
def test_every_recorded_type_is_read_alike(vendor, single):
    with TectonFake({"fs": recorded_service()}) as fake:
        frame = pl.DataFrame({"user_id": ["u1", "u2", "nobody"]})
        compare(vendor, fake, "fs", frame, "user_fv", single=single)


def test_each_difference_occurs(vendor):
    as_featkit.seen.clear()
    with TectonFake(
        {"fs": recorded_service(), "customers": Service.of(VIEWS["customers"])}
    ) as fake:
        frame = pl.DataFrame({"user_id": ["u1", "u2"]})
        compare(vendor, fake, "fs", frame, "user_fv", single=True)
        keys = contract_keys("customers")
        compare(vendor, fake, "customers", keys, "customers", single=False)
    assert as_featkit.seen == as_featkit.expected


# -- request data ----------------------------------------------------------------------------------


def struct(**fields):
    named = [{"name": name, "dataType": kind} for name, kind in fields.items()]
    return {"type": "struct", "fields": named}


def array(inner):
    return {"type": "array", "elementType": inner}


def mapping(key, value):
    return {"type": "map", "keyType": key, "valueType": value}


INT64, FLOAT64, STRING, BOOLEAN, TIMESTAMP = (
    {"type": name} for name in ("int64", "float64", "string", "boolean", "timestamp")
)
CONTEXT = {
    "numbers": array(array(INT64)),
    "place": struct(
        name=STRING, at=TIMESTAMP, parts=array(struct(x=FLOAT64, y=FLOAT64, on=BOOLEAN))
    ),
    "counts": mapping(INT64, struct(n=INT64, tags=array(STRING))),
    "prices": mapping(STRING, mapping(STRING, FLOAT64)),
}
PLAIN = {
    "int64": (pl.Int64(), [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)]),
    "float64": (pl.Float64(), [0.0, -0.0, 1.0, 0.1, 1e16, 5e-324, 1.7976931348623157e308, 1e-7]),
    "string": (pl.String(), ["", "plain", 'q"\\/\b\n\t\x00\x1f\x7f', "é🦉\u2028", "null", "1"]),
    "boolean": (pl.Boolean(), [True, False]),
    "timestamp": (
        pl.Datetime("us", "UTC"),
        [CONTRACT_NOW.replace(microsecond=5), datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)],
    ),
}


def dtype_of(kind):
    match kind["type"]:
        case "array":
            return pl.List(dtype_of(kind["elementType"]))
        case "map":
            parts = {"key": dtype_of(kind["keyType"]), "value": dtype_of(kind["valueType"])}
            return pl.List(pl.Struct(parts))
        case "struct":
            return pl.Struct({own["name"]: dtype_of(own["dataType"]) for own in kind["fields"]})
        case plain:
            return PLAIN[plain][0]


def drawn(kind, draw, *, within=True):
    """Draw a value of a type: as a frame holds it, and as Tecton documents that it is sent."""
    if within and draw.random() < 0.2:
        return None, None
    match kind["type"]:
        case "array":
            items = [drawn(kind["elementType"], draw) for _ in range(draw.randrange(4))]
            return [own for own, _ in items], [sent for _, sent in items]
        case "struct":
            parts = {own["name"]: drawn(own["dataType"], draw) for own in kind["fields"]}
            return {n: own for n, (own, _) in parts.items()}, {n: s for n, (_, s) in parts.items()}
        case "map":
            keys = draw.sample(PLAIN[kind["keyType"]["type"]][1], draw.randrange(4))
            values = [drawn(kind["valueType"], draw) for _ in keys]
            held = [{"key": k, "value": own} for k, (own, _) in zip(keys, values, strict=True)]
            return held, {str(k): sent for k, (_, sent) in zip(keys, values, strict=True)}
        case plain:
            value = draw.choice(PLAIN[plain][1])
            return value, wire(value)


@pytest.mark.parametrize("single", [False, True], ids=["batch", "single"])
def test_nested_request_data_is_the_same_json(vendor, single):
    """To the order of fields, and whether a number is whole."""
    draw = random.Random(13)
    rows = [
        {name: drawn(kind, draw, within=False) for name, kind in CONTEXT.items()} for _ in range(40)
    ]
    schema = {name: dtype_of(kind) for name, kind in CONTEXT.items()}
    frame = pl.DataFrame([{n: own for n, (own, _) in row.items()} for row in rows], schema=schema)
    frame = frame.with_columns(user=pl.int_range(len(rows)).cast(str))
    held = {(str(number),): ([0.5], None) for number in range(len(rows))}
    service = Service([Column("user", STRING)], [Column("rt.x", FLOAT64)], held)
    service.context = [Column(name, kind) for name, kind in CONTEXT.items()]
    with TectonFake({"s": service}) as fake:
        options = {"workspace": WORKSPACE, "api_key": KEY, "feature_services": ["s"]}
        with featkit.connect(f"tecton+{fake.url}", row_timestamps=single, **options) as client:
            client.lookup(frame, ["rt:x"])
        ours = [own for told in fake.lookups() for own in told.get("requestData", [told])]
        fake.seen.clear()
        lookups = [
            {
                "join_keys": {"user": str(n)},
                "context": {name: sent for name, (_, sent) in row.items()},
            }
            for n, row in enumerate(rows)
        ]
        request = {"url": fake.url, "key": KEY, "workspace": WORKSPACE, "service": "s"}
        said = vendor("ask_tecton.py", request | {"lookups": lookups})
        theirs = fake.lookups()
    assert not [answer for answer in said["answers"] if "error" in answer]
    by_user = {
        kind: {own["joinKeyMap"]["user"]: json.dumps(own["requestContextMap"]) for own in sent}
        for kind, sent in (("ours", ours), ("theirs", theirs))
    }
    assert len(by_user["ours"]) == len(rows)
    assert by_user["ours"] == by_user["theirs"]


def test_refusals_are_told_in_the_same_words(vendor):
    with TectonFake({"fs": recorded_service()}) as fake:
        request = {"url": fake.url, "key": KEY, "workspace": WORKSPACE, "service": "fs"}
        said = vendor("ask_tecton.py", request | {"lookups": [{"join_keys": {"x": "1"}}]})
    (answer,) = said["answers"]
    assert answer["error"] == "BadRequestError"
    assert "Missing required join key: user_id" in answer["message"]
