"""Where featkit differs on purpose from the vendors' own clients: the only place that says so.

The parity tests turn what a client gives into what featkit gives with `Translation`, which knows
nothing but this list, so that a difference that is not here fails them, and one that is here and
does not occur fails them as well. The table in docs/stores/compare.md is compared with the list.
"""

# ruff: noqa: ARG001, ARG005 - all are called alike

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

    Applies = Callable[[Any, Any], bool]
    Turned = Callable[[Any, Any], Any]

CLIENTS = {
    "Tecton": "tecton-client",
    "Databricks": "databricks-sdk",
    "SageMaker": "boto3",
    "Vertex AI": "google-cloud-aiplatform",
}


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes
    ----------
    store, what
        Whose client, and in what.
    theirs, ours
        What the client does, and what featkit does.
    shown_by
        The test that shows it.
    applies, turned
        Of a value: whether it is one of these, by what the client gives and the dtype in featkit,
        and what becomes of it.
    """

    store: str
    what: str
    theirs: str
    ours: str
    shown_by: str
    applies: Applies | None = None
    turned: Turned | None = None


def is_time(value, dtype):
    return isinstance(dtype, pl.Datetime)


def is_float_in_words(value, dtype):
    return dtype.is_float() and isinstance(value, str)


def is_map(value, dtype):
    return isinstance(value, dict) and isinstance(dtype, pl.List)


def iso(value, dtype):
    time = datetime.fromisoformat(value)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


_TECTON = "test_every_value_is_what_tectons_own_client_says"
_DATABRICKS = "test_every_value_is_what_databricks_own_client_says"
_BOTO3 = "test_every_value_is_what_boto3_says"
_VERTEX = "test_every_value_is_what_googles_own_client_says"

DIFFERENCES = [
    Difference(
        "Tecton",
        "NaN and infinities",
        "the texts `NaN`, `Infinity`",
        "floats",
        _TECTON,
        is_float_in_words,
        lambda value, dtype: float(value),
    ),
    Difference("Tecton", "times", "text", "UTC timestamps", _TECTON, is_time, iso),
    Difference(
        "Tecton",
        "maps",
        "dict",
        "list of key and value, the form of Arrow",
        "test_every_recorded_type_is_read_alike",
        is_map,
        lambda value, dtype: [{"key": key, "value": held} for key, held in value.items()],
    ),
    Difference(
        "Tecton", "an unknown entity", "nulls", "nulls with the status `NOT_FOUND`", _TECTON
    ),
    Difference(
        "Tecton",
        "whole numbers as keys",
        "JSON numbers",
        "text, as the documentation wants it",
        "test_whole_numbers_are_sent_as_text_and_each_key_once",
    ),
    Difference(
        "Tecton",
        "lookups",
        "one entity a call",
        "batches; one that is too large is split, and the size remembered",
        "test_a_batch_that_is_too_large_is_split_and_the_size_remembered",
    ),
    Difference(
        "Databricks",
        "NaN and infinities, where an endpoint sends words",
        "the texts `NaN`, `Infinity`",
        "floats",
        _DATABRICKS,
        is_float_in_words,
        lambda value, dtype: float(value),
    ),
    Difference(
        "Databricks",
        "times",
        "the text that the endpoint sends",
        "UTC timestamps; without a zone by `timezone=`",
        _DATABRICKS,
        is_time,
        iso,
    ),
    Difference(
        "Databricks",
        "rows",
        "as many as the endpoint sends",
        "another number than was asked for is an error",
        "test_no_lie_becomes_a_wrong_row",
    ),
    Difference(
        "SageMaker",
        "numbers",
        "text",
        "of the type of the feature definition",
        _BOTO3,
        lambda value, dtype: dtype.is_numeric(),
        lambda value, dtype: int(value) if dtype.is_integer() else float(value),
    ),
    Difference(
        "SageMaker",
        "booleans",
        "text",
        "booleans, where the settings say so",
        "test_what_boto3_reads_becomes_what_the_settings_say",
        lambda value, dtype: dtype == pl.Boolean,
        lambda value, dtype: {"true": True, "false": False}[value],
    ),
    Difference(
        "SageMaker",
        "times",
        "text",
        "UTC timestamps: the event time, and features of which the settings say so",
        "test_what_boto3_reads_becomes_what_the_settings_say",
        is_time,
        iso,
    ),
    Difference("SageMaker", "null features", "absent", "null, with the status `NULL`", _BOTO3),
    Difference(
        "SageMaker",
        "records",
        "in any order, unknown ones left out",
        "one row per row of the frame; unknown ones have the status `NOT_FOUND`",
        _BOTO3,
    ),
    Difference(
        "SageMaker",
        "more than 100 records",
        "sent, and refused by the service",
        "calls of 100 records",
        "test_a_call_asks_for_a_hundred_records_at_most",
    ),
    Difference(
        "SageMaker",
        "`UnprocessedIdentifiers`, temporary `Errors`",
        "handed to you",
        "asked for again, and only those",
        "test_what_is_left_unprocessed_is_asked_for_again_and_nothing_else",
    ),
    Difference(
        "Vertex AI",
        "times",
        "an integer of microseconds",
        "a UTC timestamp, by BigQuery's type",
        _VERTEX,
        is_time,
        lambda value, dtype: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value),
    ),
    Difference(
        "Vertex AI",
        "an unknown entity",
        "the exception `NotFound`",
        "nulls with the status `NOT_FOUND`",
        _VERTEX,
    ),
    Difference(
        "Vertex AI", "null", "a value without content", "null, with the status `NULL`", _VERTEX
    ),
    Difference(
        "Vertex AI",
        "many entities",
        "one call at a time, by you",
        "eight at a time",
        "test_few_keys_are_asked_for_at_the_same_time",
    ),
]


class Translation:
    """What a vendor's client gives, as featkit gives it; and which differences were seen."""

    def __init__(self, store: str) -> None:
        self._known = [own for own in DIFFERENCES if own.store == store and own.applies]
        self.seen: set[str] = set()

    @property
    def expected(self) -> set[str]:
        """The differences between values that the list names."""
        return {own.what for own in self._known}

    def __call__(self, value: Any, dtype: pl.DataType) -> Any:
        if value is None:
            return None
        for own in self._known:
            if own.applies(value, dtype):
                self.seen.add(own.what)
                value = own.turned(value, dtype)
                break
        match dtype:
            case pl.List(inner=inner):
                return [self(item, inner) for item in value]
            case pl.Struct(fields=fields):
                return {field.name: self(value[field.name], field.dtype) for field in fields}
            case _:
                return value
