"""What SageMaker sends: descriptions of feature groups, and records whose values are all text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import polars as pl

from featkit.codecs import json_messages
from featkit.dtypes import TIMESTAMP, cast_exactly, format_dtype
from featkit.errors import ProtocolError, reason_of

if TYPE_CHECKING:
    from featkit.calls import HttpReply

T = TypeVar("T")


class _Message(msgspec.Struct, rename="pascal", frozen=True):
    """What Amazon writes with capitals."""


class Definition(_Message, frozen=True):
    """A feature."""

    feature_name: str
    feature_type: str
    collection_type: str | None = None


class Ttl(_Message, frozen=True):
    """How long records are kept."""

    unit: str
    value: int

    @property
    def duration(self) -> timedelta:
        """The same as Python has it."""
        return timedelta(**{self.unit.lower(): self.value})


class Online(_Message, frozen=True):
    """The online store of a feature group."""

    enable_online_store: bool = False
    ttl_duration: Ttl | None = None
    storage_type: str = "Standard"


class Place(_Message, frozen=True):
    """Where an offline store keeps its files."""

    s3_uri: str = ""
    resolved_output_s3_uri: str = ""


class Catalog(_Message, frozen=True):
    """The table of Glue that stands for an offline store."""

    table_name: str = ""
    database: str = ""


class Offline(_Message, frozen=True):
    """The offline store of a feature group."""

    s3_storage_config: Place = Place()
    data_catalog_config: Catalog | None = None
    table_format: str = "Glue"


class Group(_Message, frozen=True):
    """The description of a feature group, or a page of it."""

    feature_group_name: str
    record_identifier_feature_name: str
    event_time_feature_name: str
    feature_definitions: tuple[Definition, ...] = ()
    online_store_config: Online = Online()
    offline_store_config: Offline | None = None
    description: str = ""
    next_token: str | None = None

    @property
    def is_iceberg(self) -> bool:
        """Whether its offline store is an Iceberg table."""
        offline = self.offline_store_config
        return offline is not None and offline.table_format == "Iceberg"

    @property
    def table(self) -> str:
        """The table of Glue that stands for its offline store; empty where there is none."""
        catalog = self.offline_store_config and self.offline_store_config.data_catalog_config
        return f"{catalog.database}.{catalog.table_name}" if catalog else ""

    @property
    def place(self) -> str:
        """Where the files of its offline store are; empty where it has none."""
        if self.offline_store_config is None:
            return ""
        place = self.offline_store_config.s3_storage_config
        return place.resolved_output_s3_uri or place.s3_uri

    def definition(self, name: str) -> Definition:
        """Find a feature by its name."""
        for own in self.feature_definitions:
            if own.feature_name == name:
                return own
        msg = f"the feature group {self.feature_group_name!r} does not define its {name!r}"
        raise ProtocolError(msg)


class _Summary(_Message, frozen=True):
    feature_group_name: str


class Groups(_Message, frozen=True):
    """A page of the list of feature groups."""

    feature_group_summaries: tuple[_Summary, ...] = ()
    next_token: str | None = None


class _Parameter(_Message, frozen=True):
    key: str
    value: str = ""


class Described(_Message, frozen=True):
    """What people say of a feature."""

    feature_group_name: str = ""
    feature_name: str = ""
    description: str = ""
    parameters: tuple[_Parameter, ...] = ()


class _Found(_Message, frozen=True):
    feature_metadata: Described | None = None


class Search(_Message, frozen=True):
    """A page of what a search found."""

    results: tuple[_Found, ...] = ()
    next_token: str | None = None


class Failure(_Message, frozen=True):
    """Why there is no record of an entity."""

    feature_group_name: str = ""
    record_identifier_value_as_string: str = ""
    error_code: str = ""
    error_message: str = ""


class Unprocessed(_Message, frozen=True):
    """Entities that were not looked for."""

    feature_group_name: str = ""
    record_identifiers_value_as_string: tuple[str, ...] = ()


class Batch(_Message, frozen=True):
    """The answer to a lookup; `records` stay JSON until they become columns."""

    records: msgspec.Raw = msgspec.Raw()
    errors: tuple[Failure, ...] = ()
    unprocessed_identifiers: tuple[Unprocessed, ...] = ()


def decoded(kind: type[T], reply: HttpReply) -> T:
    """Read a reply; raise `ProtocolError` where it is none of that kind."""
    return json_messages.read(kind, reply.body, "SageMaker")


def batch_of(reply: HttpReply) -> Batch:
    """Read the answer to a lookup.

    Raises
    ------
    ProtocolError
        It does not tell of records: this is not taken for an answer that there are none.
    """
    said = decoded(Batch, reply)
    if not bytes(said.records):
        msg = "the answer to a lookup has no 'Records', not even none"
        raise ProtocolError(msg)
    return said


# -- values ----------------------------------------------------------------------------------------

_TYPES: dict[str, pl.DataType] = {
    "Integral": pl.Int64(),
    "Fractional": pl.Float64(),
    "String": pl.String(),
}
_MANY = "list of "
_TRUE, _FALSE = ["true", "1", "1.0"], ["false", "0", "0.0"]


@dataclass(frozen=True, slots=True)
class ValueType:
    """The type of a feature.

    Attributes
    ----------
    held
        What SageMaker calls it.
    dtype
        What its values become: that of the type, or what the settings say.
    many
        Whether each value is a list.
    """

    held: str
    dtype: pl.DataType
    many: bool = False

    @classmethod
    def of(cls, definition: Definition, told: pl.DataType | None = None) -> ValueType:
        """Find the type of a feature; `told` is the dtype that the settings ask for."""
        held, many = definition.feature_type, definition.collection_type is not None
        own = _TYPES.get(held, pl.String())
        return cls(held, told or (pl.List(own) if many else own), many)

    @classmethod
    def named(cls, name: str, dtype: pl.DataType | None) -> ValueType:
        """Find a type by what it is called in a description."""
        held = name.removeprefix(_MANY)
        return cls(held, dtype or pl.String(), many=held != name)

    @classmethod
    def written(cls, name: str) -> pl.DataType:
        """Tell the dtype that files have for a type, whatever the settings ask for."""
        held = name.removeprefix(_MANY)
        own = _TYPES.get(held, pl.String())
        return own if held == name else pl.List(own)

    def __str__(self) -> str:
        return f"{_MANY}{self.held}" if self.many else self.held

    def read(self, texts: pl.Series, name: str) -> pl.Series:
        """Turn texts, or lists of texts, into values of the dtype."""
        try:
            made = texts.cast(self.dtype) if self.many else self._single(texts)
        except (pl.exceptions.PolarsError, ValueError) as error:
            msg = (
                f"the feature {name!r} ({self}) cannot become {format_dtype(self.dtype)}: "
                f"{reason_of(error)}"
            )
            raise ProtocolError(msg) from error
        return made.alias(name)

    def _single(self, texts: pl.Series) -> pl.Series:
        match self.dtype:
            case pl.Boolean():
                words = texts.str.to_lowercase()
                return words.replace_strict(
                    {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)},
                    return_dtype=pl.Boolean,
                )
            case pl.Datetime():
                return times(texts, self.held, strict=True)
            case pl.Date():
                return texts.str.to_date()
            case _:
                return cast_exactly(texts.cast(_TYPES.get(self.held, pl.String())), self.dtype)


def times(texts: pl.Series, held: str, *, strict: bool) -> pl.Series:
    """Read times: ISO 8601 where they are held as text, else seconds since 1970.

    Parameters
    ----------
    texts
        The texts.
    held
        What SageMaker calls their type.
    strict
        Whether what cannot be read is an error, or unknown.
    """
    if held == "String":
        return texts.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=strict)
    seconds = texts.cast(pl.Float64, strict=strict)
    return (seconds * 1e6).round().cast(pl.Int64, strict=strict).cast(TIMESTAMP)


def as_text(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """Write a column of keys as record identifiers have them."""
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    return column.cast(pl.String)


def as_json(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """Write a column of keys as JSON: numbers bare, anything else as text."""
    text = as_text(name, dtype)
    if dtype is not None and dtype.is_numeric():
        return text
    return pl.struct(text.alias("")).struct.json_encode().str.slice(4).str.head(-1)  # {"":"..."}


def body_of(**fields: Any) -> bytes:  # noqa: ANN401 - what JSON can say
    """Write a request; fields without a value are left out."""
    return msgspec.json.encode({name: own for name, own in fields.items() if own is not None})
