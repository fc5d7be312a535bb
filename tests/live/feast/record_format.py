"""Record how Feast writes values and keys into its online stores.

    python record_format.py > ../../data/feast/format.json

Runs in Feast's environment, which has Feast's own protobuf; the tests of the codec read the file.
Bytes are in base64. What a value is is said as `oracle.py` says it.
"""

import base64
import datetime as dt
import decimal
import json
import sys
import uuid
from zoneinfo import ZoneInfo

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import _mmh3, compute_entity_id
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp
from oracle import plain

MOMENT = dt.datetime(2026, 11, 22, 22, tzinfo=dt.UTC)
BEYOND_FLOAT = 2**53 + 1
UID, TIME_UID = uuid.UUID(int=7), uuid.UUID(fields=(7, 0, 0x1000, 0x80, 0, 1))
LONG = "long " * 60

VALUES = {
    "BYTES": [b"", b"\x00\xff", b"\x0a\x0a\x0a", b"x" * 300],
    "STRING": ["", "plain", "naïve ☃ 日本", 'a"b\\c\n', "null", LONG],
    "INT32": [0, 1, -1, 127, 128, 2**31 - 1, -(2**31)],
    "INT64": [0, 1, -1, 300, BEYOND_FLOAT, 2**56, 2**63 - 1, -(2**63)],
    "DOUBLE": [0.0, -0.0, 0.1, 1e-300, float("nan"), float("inf"), float("-inf")],
    "FLOAT": [0.0, 0.5, 3.25, float("nan"), float("inf")],
    "BOOL": [False, True],
    "UNIX_TIMESTAMP": [MOMENT, dt.datetime(1969, 12, 31, tzinfo=dt.UTC)],
    "BYTES_LIST": [[], [b""], [b"\x0a\x02", b"\x00\xff"], [b"x" * 200] * 3],
    "STRING_LIST": [[], [""], ["a", "\n\n\n", "☃"], ["\n\x02ab"], [LONG] * 2],
    "INT32_LIST": [[], [0], [1, -1, 2**31 - 1]],
    "INT64_LIST": [[], [0, 0], [BEYOND_FLOAT, -(2**63), 2**63 - 1], list(range(200))],
    "DOUBLE_LIST": [[], [0.0], [0.1, float("nan"), float("inf")]],
    "FLOAT_LIST": [[], [0.5, 0.25]],
    "BOOL_LIST": [[], [True, False, True]],
    "UNIX_TIMESTAMP_LIST": [[], [MOMENT, dt.datetime(1969, 12, 31, tzinfo=dt.UTC)]],
    "BYTES_SET": [{b"a", b"\x0a"}],
    "STRING_SET": [{"a", "b"}, set()],
    "INT32_SET": [{1, -2}],
    "INT64_SET": [{BEYOND_FLOAT, -1}],
    "DOUBLE_SET": [{0.5, 0.1}],
    "FLOAT_SET": [{0.5}],
    "BOOL_SET": [{True}],
    "UNIX_TIMESTAMP_SET": [{MOMENT}],
    "UUID": [UID],
    "TIME_UUID": [TIME_UID],
    "UUID_LIST": [[UID, TIME_UID], []],
    "TIME_UUID_LIST": [[TIME_UID]],
    "UUID_SET": [{UID}],
    "TIME_UUID_SET": [{TIME_UID}],
    "DECIMAL": [decimal.Decimal("1.10"), decimal.Decimal("-12345678901234567890.5")],
    "DECIMAL_LIST": [[decimal.Decimal("1.10"), decimal.Decimal("-0.5")]],
    "DECIMAL_SET": [{decimal.Decimal("1.10")}],
    "JSON": ['{"a": [1, 2.5, null]}', "[]"],
    "JSON_LIST": [['{"a": 1}', "[]"]],
    "MAP": [
        {"a": 1, "b": "x", "c": 2.5, "d": [1, 2], "e": None, "": True},
        {},
        {"deep": {"deeper": {"deepest": ["☃", ""]}}, "n": float("nan")},
    ],
    "MAP_LIST": [[{"a": 1}, {}, {"b": [{"c": 2}]}], []],
    "STRUCT": [{"city": "Oslo", "n": 3}, {"city": "", "n": 0}],
    "STRUCT_LIST": [[{"city": "Oslo", "n": 3}, {"city": "B", "n": 4}], []],
    "SCALAR_MAP": [{1: "a", 2: "b"}, {}, {True: 0.5}, {b"\x00": "bytes", UID: "u"}],
    "VALUE_LIST": [[[1, 2], [3], []], [[["deep"]], []]],
    "VALUE_SET": [[[1, 2], [3]]],
    "ZONED_TIMESTAMP": [
        dt.datetime(2026, 11, 22, 22, tzinfo=ZoneInfo("Europe/Oslo")),
        dt.datetime(2026, 11, 22, 3, 30, tzinfo=dt.timezone(dt.timedelta(hours=5.5))),
    ],
}
KEYS = [
    {"driver_id": (ValueType.INT64, [0, 1, -1, 1001, 2**63 - 1, -(2**63)])},
    {"driver_id": (ValueType.INT32, [1, -1, 2**31 - 1])},
    {"merch_key": (ValueType.STRING, ["", "m-1", "Zoë ☃", LONG])},
    {"raw": (ValueType.BYTES, [b"", b"\x00\xff"])},
    {"at": (ValueType.UNIX_TIMESTAMP, [MOMENT])},
    {
        "zone": (ValueType.STRING, ["north", "", "ü"]),
        "driver_id": (ValueType.INT64, [1, 2, 3]),
        "customer_id": (ValueType.STRING, ["C1", "", "☃"]),
    },
    {"__dummy_id": (ValueType.STRING, [""])},
]
NAMES = ["v:f", "driver_hourly_stats:conv_rate", "a" * 31 + ":☃", "_v2:f1", "abc:d", "abcd:ef"]


def coded(message):
    return base64.b64encode(message).decode()


def values():
    said = {}
    for name, held in VALUES.items():
        kind = ValueType[name]
        messages = python_values_to_proto_values([*held, None], kind)
        said[name] = {
            "messages": [coded(each.SerializeToString()) for each in messages],
            "values": [plain(feast_value_type_to_python_type(each, kind)) for each in messages],
        }
    said["INT64"]["messages"].append(coded(Value(null_val=0).SerializeToString()))
    said["INT64"]["values"].append(None)
    return said


def keys():
    for columns in KEYS:
        kinds = {name: kind for name, (kind, _) in columns.items()}
        protos = [python_values_to_proto_values(held, kind) for kind, held in columns.values()]
        entities = [
            EntityKey(join_keys=list(columns), entity_values=row)
            for row in zip(*protos, strict=True)
        ]
        yield {
            "types": {name: kind.name for name, kind in kinds.items()},
            "values": {name: plain(held) for name, (_, held) in columns.items()},
            "keys": [coded(serialize_entity_key(each)) for each in entities],
            "ids": [compute_entity_id(each) for each in entities],
        }


def times():
    held = [
        MOMENT,
        MOMENT + dt.timedelta(microseconds=123456),
        dt.datetime(1969, 1, 1, 1, tzinfo=dt.UTC),
    ]
    for moment in held:
        stamp = Timestamp()
        stamp.FromDatetime(moment)
        yield {"time": moment.isoformat(), "message": coded(stamp.SerializeToString())}


def answer():
    """Write an answer of the gRPC server, whose vectors are long."""
    response = GetOnlineFeaturesResponse()
    vector = response.results.add()
    for number in range(3000):
        vector.values.add(string_val="\n" * (number % 14))
        vector.statuses.append(1)
        vector.event_timestamps.add(seconds=number)
    return coded(vector.SerializeToString())


def main():
    said = {
        "values": values(),
        "keys": list(keys()),
        "times": list(times()),
        "fields": {name: coded(_mmh3(name)) for name in NAMES},
        "vector": answer(),
    }
    json.dump(said, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
