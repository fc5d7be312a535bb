"""The offline store of a feature group: Parquet files in S3, or a copy of them.

Every record that was ever written is a row, with ``api_invocation_time``, when it was written, and
``is_deleted`` where it says that an entity is gone: from then on its features are null.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from featkit.auth import aws
from featkit.calls import HttpReply
from featkit.dtypes import TIMESTAMP, format_dtype
from featkit.errors import AuthError, FeatkitError, NotSupportedError, SourceError, reason_of
from featkit.history import HistoryRows
from featkit.stores.sagemaker.answers import EVENT_TIME, EVENT_TYPE, IDENTIFIER
from featkit.stores.sagemaker.messages import ValueType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from featkit.history import HistoryRead
    from featkit.schema import Feature

DELETED = "is_deleted"
"""The column that says that an entity is gone."""
_WRITTEN = "api_invocation_time"
_REFUSAL = re.compile(r"status code: (\d{3})[^:]*:? ?(.*)", re.DOTALL)  # as polars quotes S3
_DENIED = "AWS Error ACCESS_DENIED"  # as Arrow says of a 403, of which a HEAD tells no reason
_S3_NAMES = {  # pyiceberg's names of what polars has under others
    "aws_access_key_id": "s3.access-key-id",
    "aws_secret_access_key": "s3.secret-access-key",
    "aws_session_token": "s3.session-token",
}


Schema: TypeAlias = "Mapping[str, pl.DataType]"


@dataclass(frozen=True, slots=True)
class Reader:
    """How files are read.

    Attributes
    ----------
    region, endpoint
        Where S3 is.
    signature
        Gives the credentials that are needed to read from it, and tells whose they are.
    """

    region: str
    endpoint: str | None
    signature: aws.AwsSignature

    def scan(self, place: str, schema: Schema | None = None) -> pl.LazyFrame:
        """Scan all Parquet files below a place.

        Parameters
        ----------
        place
            A folder.
        schema
            What all files together have; None: what the first one has.
        """
        remote: Mapping[str, Any] = {}
        if place.startswith("s3://"):
            options = {"aws_region": self.region}
            if self.endpoint:
                plain = str(self.endpoint.startswith("http://")).lower()
                options |= {"aws_endpoint_url": self.endpoint, "aws_allow_http": plain}
            remote = {"storage_options": options, "credential_provider": self.signature.for_polars}
        elif any(Path(place).glob("metadata/*.metadata.json")):
            msg = (
                f"{place} is a copy of an Iceberg table, whose log names files in other places, of "
                "which not every one counts; unload the table to Parquet instead"
            )
            raise SourceError(msg)
        return pl.scan_parquet(
            f"{place.rstrip('/')}/**/*.parquet",
            hive_partitioning=False,  # the folders repeat the time of writing
            schema=schema,
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=pl.ScanCastOptions(
                integer_cast="upcast",
                float_cast="upcast",
                datetime_cast=["nanosecond-downcast", "millisecond-upcast"],
            ),
            **remote,
        )

    def table(self, log: str, _: Schema | None = None) -> pl.LazyFrame:
        """Scan an Iceberg table as its log at a place tells it; deleted rows are left out.

        The log knows the schema of all files.
        """
        from pyiceberg.table import StaticTable  # noqa: PLC0415 - an extra, that is seldom needed

        options = {"py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO", "s3.region": self.region}
        if self.endpoint:
            options["s3.endpoint"] = self.endpoint
        known = self.signature.for_polars()[0]
        options |= {own: known[name] for name, own in _S3_NAMES.items() if name in known}
        table = StaticTable.from_metadata(log, options)
        if odd := _odd(table):
            msg = (
                f"the Iceberg table at {log} has {odd}, which no reader here heeds; have them "
                "written into the files, as OPTIMIZE does in Athena"
            )
            raise NotSupportedError(msg)
        return pl.scan_iceberg(table, storage_options=options)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a feature group.

    Attributes
    ----------
    place
        Where they are, for messages.
    scan
        Begins to read them, with the schema that all of them have together.
    signature
        Whose credentials read them, for messages.
    """

    place: str
    scan: Callable[[Schema | None], pl.LazyFrame]
    signature: aws.AwsSignature


def history(
    read: HistoryRead, separator: str | None, files: Files, *, strict: bool = True
) -> HistoryRows:
    """Describe all rows of a feature group; no row is read.

    Parameters
    ----------
    read
        What is asked.
    separator
        What stands between the parts of a composite key; None: they are a JSON array.
    files
        The files.
    strict
        Whether an event time that cannot be read is an error, since its row would be lost, or null.
    """
    unreadable = partial(_unreadable, read.view.name, files)
    try:
        scan = _evolved(read, files)
        schema = scan.collect_schema()
    except FeatkitError:
        raise
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:  # pyiceberg's are of values
        raise unreadable(error) from error
    tags = read.view.tags
    names = [own.name for own in read.features]
    if missing := [
        own for own in (tags[IDENTIFIER], tags[EVENT_TIME], *names) if own not in schema
    ]:
        msg = (
            f"feature view {read.view.name!r}: the first file in {files.place} has no column "
            f"{missing[0]!r}, and no other has a value of it"
        )
        raise SourceError(msg)
    if DELETED in schema:
        gone = pl.col(DELETED).fill_null(value=False)
        scan = scan.with_columns(pl.when(~gone).then(pl.col(name)).alias(name) for name in names)
    timed = read.view.timestamp is not None
    return HistoryRows(
        scan=scan,
        keys=_keys(read, schema, separator),
        event=_event(tags[EVENT_TIME], tags[EVENT_TYPE], schema, strict=strict) if timed else None,
        created=_utc(pl.col(_WRITTEN), schema[_WRITTEN]) if _WRITTEN in schema else None,
        convert=_converted,
        unreadable=unreadable,
        origin=(files.place, separator),
    )


def _evolved(read: HistoryRead, files: Files) -> pl.LazyFrame:
    """Begin to read files that may have been written before features were added, or widened."""
    first = files.scan(None)
    schema = dict(first.collect_schema())
    wide = {name: _widened(dtype) for name, dtype in schema.items()}
    later = {
        own.name: ValueType.written(own.store_type)
        for own in read.features
        if own.name not in schema
    }
    if later:  # which takes a look into all files: a name may be wrong as well
        added = files.scan({**wide, **later}).select(pl.col(*later).is_not_null().any()).collect()
        wide |= {name: dtype for name, dtype in later.items() if added[name].item()}
    return first if wide == schema else files.scan(wide)


def _widened(dtype: pl.DataType) -> pl.DataType:
    """Find the widest type of its kind, as which all files can be read."""
    if dtype.is_signed_integer():
        return pl.Int64()
    if dtype.is_float():
        return pl.Float64()
    return pl.Datetime("us", dtype.time_zone) if isinstance(dtype, pl.Datetime) else dtype


def _unreadable(view: str, files: Files, error: Exception) -> SourceError | AuthError:
    what = f"feature view {view!r}: the files in {files.place} cannot be read"
    if (reply := _refusal(str(error))) is not None:
        if isinstance(denied := files.signature.explained(reply), AuthError):
            return AuthError(f"{what}: {denied}")
        return SourceError(f"{what}: {aws.told(reply)}")
    reason = reason_of(error)
    if "expanded paths were empty" in reason:
        reason = "there is no Parquet file below"
    return SourceError(f"{what}: {reason}")


def _refusal(said: str) -> HttpReply | None:
    """Find how S3 refused, in what polars or Arrow says of it."""
    if refusal := _REFUSAL.search(said):
        return HttpReply(int(refusal[1]), {}, bytearray(refusal[2].encode()))
    return HttpReply(403, {}, bytearray()) if _DENIED in said else None


def _odd(table: Any) -> str:  # noqa: ANN401 - a table of pyiceberg
    """Tell what of the log of a table cannot be heeded; nothing where all can."""
    from pyiceberg.manifest import DataFileContent, ManifestContent  # noqa: PLC0415 - as above

    snapshot = table.current_snapshot()
    for manifest in snapshot.manifests(table.io) if snapshot else ():
        if manifest.content == ManifestContent.DELETES:
            for entry in manifest.fetch_manifest_entry(table.io):
                if entry.data_file.content == DataFileContent.EQUALITY_DELETES:
                    return "deletes by equality"
    return ""


def _keys(
    read: HistoryRead, schema: Mapping[str, pl.DataType], separator: str | None
) -> tuple[pl.Expr, ...]:
    """Find the join keys in the record identifier, which holds all parts of a composite one.

    One of more or fewer parts is nobody's: a part may hold what separates them.
    """
    held = read.view.tags[IDENTIFIER]
    entities = read.view.entities
    identifier = pl.col(held)
    if len(entities) == 1:
        return (identifier.cast(entities[0].dtype or schema[held]),)
    count = len(entities)
    if separator is None:
        parts = [identifier.str.json_path_match(f"$[{n}]") for n in range(count)]
        whole = identifier.str.json_path_match(f"$[{count}]").is_null()
    else:
        split = identifier.str.split(separator)
        parts = [split.list.get(n, null_on_oob=True) for n in range(count)]
        whole = split.list.len() == count
    return tuple(
        pl.when(whole).then(part).cast(own.dtype or pl.String())
        for part, own in zip(parts, entities, strict=True)
    )


def _event(name: str, kind: str, schema: Mapping[str, pl.DataType], *, strict: bool) -> pl.Expr:
    column = pl.col(name)
    if isinstance(schema[name], pl.Datetime):
        return _utc(column, schema[name])
    if kind == "String":
        return column.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=strict)
    return (column.cast(pl.Float64) * 1e6).round().cast(pl.Int64).cast(TIMESTAMP)


def _utc(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Read a time that SageMaker wrote, which is UTC whether it says so or not."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        column = column.dt.replace_time_zone("UTC")
    return column.cast(TIMESTAMP)


def _converted(values: pl.Series, feature: Feature) -> pl.Series:
    """Give values the dtype that the view tells."""
    kind = ValueType.named(feature.store_type, feature.dtype)
    if values.dtype == kind.dtype:
        return values
    try:
        if kind.many and isinstance(values.dtype, pl.String):  # a list that is written as JSON
            return values.str.json_decode(kind.dtype)
        return kind.read(values if kind.many else values.cast(pl.String), feature.name)
    except pl.exceptions.PolarsError as error:
        msg = (
            f"{feature.name!r} is {format_dtype(values.dtype)} in the files and cannot become "
            f"{format_dtype(kind.dtype)}: {reason_of(error)}"
        )
        raise SourceError(msg) from error
