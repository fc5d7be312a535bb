"""Writing feature views into an embedded store."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import polars as pl

from featkit import definitions
from featkit.definition_edits import Edit, edit, read
from featkit.definitions import (
    FILE_NAME,
    FeatureEntry,
    ServiceEntry,
    ViewEntry,
    check_name,
    check_zone,
    is_pattern,
)
from featkit.dtypes import TIMESTAMP, format_dtype, parse_dtype
from featkit.durations import format_duration, parse_duration
from featkit.errors import (
    InputError,
    KeyColumnError,
    KeyTypeError,
    NameClashError,
    TimestampError,
    UnknownNameError,
    nearest,
    reason_of,
)
from featkit.keys import can_be_key, in_nanoseconds, too_fine
from featkit.replacing import replacing
from featkit.schema import FeatureRef
from featkit.structs import known

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from featkit.types import Duration, Frame

ROW_GROUP = 262_144
"""Rows of a row group: small enough to be skipped, large enough to be read fast."""
PAGE = 2**14
"""Bytes of a page: few entities' rows are read without what lies around them."""
COMPRESSION: Literal["lz4"] = "lz4"
"""Reads faster than zstd; why, and at what cost: docs/decisions/0020-files-of-views.md."""
SORTED_BY = "featkit:sorted_by"
"""In the footer of a file, the columns by which its rows are sorted, as a JSON list."""

_PART = "part-0.parquet"


def write_view(
    path: str | Path,
    frame: Frame,
    *,
    name: str,
    join_keys: str | Sequence[str],
    timestamp: str | None = None,
    created: str | None = None,
    ttl: Duration | None = None,
    description: str = "",
    owner: str = "",
    tags: Mapping[str, str] | None = None,
    features: Mapping[str, str] | None = None,
    timezone: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a frame as a feature view of an embedded store.

    The rows go to ``PATH/NAME/part-0.parquet``, sorted by join keys and time, in row groups with
    statistics; the view gets an entry in ``PATH/feature_views.toml``, whose other lines stay as
    they are. Each file is replaced only once the new one is whole.

    Parameters
    ----------
    path
        Folder of the store; made where it does not exist.
    frame
        The rows, one per entity and event timestamp. Of the index of a pandas frame the levels that
        are keys or timestamps are written, as ``groupby`` leaves them; others are not.
    name
        Name of the view: letters, digits, ``_``, ``-``, ``.``.
    join_keys
        Columns that name the entity; several make a composite key.
    timestamp
        Column of the event timestamps; None: the view is static.
    created
        Column that tells when each row was written. It and `timestamp` are written in UTC
        microseconds; of rows that nanoseconds told apart the latest stays the last.
    ttl
        How long a value is good after its event timestamp; None: without limit.
    description, owner, tags
        What people should know about the view.
    features
        Descriptions by feature name. Every column that has no other role is a feature, described
        or not.
    timezone
        What naive timestamps, and dates, in `timestamp` and `created` mean; None: they are refused.
    overwrite
        Whether a view of that name may be replaced.

    Raises
    ------
    InputError
        A column is missing or no timestamp, the name cannot be used, or the view exists.

    Examples
    --------
    >>> import tempfile, featkit
    >>> folder = tempfile.mkdtemp()
    >>> frame = pl.DataFrame({"shop": [1, 2], "rating": [4.5, 3.9]})
    >>> write_view(folder, frame, name="shops", join_keys="shop")
    >>> featkit.connect(f"parquet:{folder}").get_online_features("shops", 2)
    {'rating': 3.9}
    """
    check_name(name)
    keys = [join_keys] if isinstance(join_keys, str) else _listed("join_keys", join_keys)
    _check_mapping("tags", tags)
    _check_mapping("features", features)
    if timezone is not None:
        check_zone(timezone)
    times = [column for column in (timestamp, created) if column is not None]
    if (ttl is not None or created is not None) and timestamp is None:
        msg = "a ttl or a created timestamp needs an event timestamp: pass timestamp=<column>"
        raise InputError(msg)
    rows = _lazy(frame, [*keys, *times])
    schema = rows.collect_schema()
    check_columns(schema, keys, times, features or {})
    root = Path(path)
    if name in definitions.parse(read(root), root / FILE_NAME).views and not overwrite:
        msg = f"{root / FILE_NAME} has a view {name!r} already; replace it with overwrite=True"
        raise NameClashError(msg)
    entry = ViewEntry(
        source=f"{name}/{_PART}",  # no pattern: what else is in the folder is not of this view
        join_keys=keys,
        timestamp=timestamp,
        created=created,
        ttl=None if ttl is None else format_duration(parse_duration(ttl, what="ttl")),
        description=description,
        owner=owner,
        tags=dict(tags or {}),
        features={
            column: FeatureEntry((features or {}).get(column, ""), _dtype_name(dtype))
            for column, dtype in schema.items()
            if column not in keys and column not in times
        },
    )
    _check_entry(entry)
    moments = [_utc(column, schema[column], timezone) for column in times]
    # what is cut off still tells which row of a microsecond was the last
    finer = [column for column in times if in_nanoseconds(schema[column])]
    written = rows.sort(*keys, *moments, *finer, maintain_order=True).with_columns(moments)
    # what cannot be defined is not written either
    prepared = Edit.of(read(root), root / FILE_NAME, views={name: entry})
    with replacing(root / name / _PART) as file:
        try:
            written.sink_parquet(
                file,
                row_group_size=ROW_GROUP,
                data_page_size=PAGE,
                compression=COMPRESSION,
                statistics=True,
                metadata={SORTED_BY: json.dumps([*keys, *times])},
            )
        except pl.exceptions.PolarsError as error:
            msg = f"the frame cannot be written as feature view {name!r}: {reason_of(error)}"
            raise InputError(msg) from error
        if (key := too_fine(pl.scan_parquet(file, glob=False), keys)) is not None:
            msg = (
                f"the key {key!r} has moments that differ by nanoseconds, and keys are compared in "
                "microseconds; round the column first: .dt.round('1us')"
            )
            raise KeyTypeError(msg)
    edit(root, prepared, views={name: entry})


def write_service(
    path: str | Path, *, name: str, features: Sequence[str], description: str = "", owner: str = ""
) -> None:
    """Write a feature service, a named list of references, into the store's definition file.

    A service of that name is replaced.

    Parameters
    ----------
    path
        Folder of the store.
    name
        Name of the service.
    features
        References ``"view:feature"``.
    description, owner
        What people should know about it.

    Raises
    ------
    InputError
        A reference is not of that form.
    """
    references = _listed("features", features)
    for reference in references:
        FeatureRef.parse(reference)
    entry = ServiceEntry(references, description, owner)
    _check_entry(entry)
    edit(Path(path), services={name: entry})


def freeze_clock(path: str | Path, now: str) -> None:
    """Fix the moment that counts as now in a store whose data set ends in the past.

    Parameters
    ----------
    path
        Folder of the store.
    now
        ISO 8601 with a zone.
    """
    edit(Path(path), store={"now": now})


def _listed(option: str, names: object) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        msg = f"{option}= takes a list of names, not {names!r}"
        raise InputError(msg)
    return list(names)


def _check_mapping(option: str, told: object) -> None:
    if not isinstance(told, Mapping | None):
        msg = f"{option}= takes a mapping from names to text, not {told!r}"
        raise InputError(msg)


def _check_entry(entry: ViewEntry | ServiceEntry) -> None:
    """Raise `InputError` where what people should know is no text."""
    try:
        msgspec.convert(msgspec.to_builtins(entry), known(type(entry)))
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        msg = f"{place.rstrip('`').partition('[')[0]}= is not what it should be: {reason}"
        raise InputError(msg) from error


def _lazy(frame: Frame, roles: Sequence[str]) -> pl.LazyFrame:
    if isinstance(frame, (pl.DataFrame, pl.LazyFrame)):
        return frame.lazy()
    if (pandas := sys.modules.get("pandas")) and isinstance(frame, pandas.DataFrame):
        levels = [name for name in roles if name in frame.index.names and name not in frame]
        columns: pd.DataFrame = frame.reset_index(levels) if levels else frame
        try:
            rows: pl.DataFrame = pl.from_pandas(_in_known_zones(columns))
        except _REFUSED as error:
            msg = f"the pandas frame has columns that Parquet cannot hold: {_odd(columns, error)}"
            raise InputError(msg) from error
        return rows.lazy()
    msg = f"write_view takes a pandas or polars frame, not {type(frame).__name__}"
    raise InputError(msg)


def _in_known_zones(frame: pd.DataFrame) -> pd.DataFrame:
    """Give timestamps at an offset, such as +05:30, the zone UTC: polars knows zones by name."""
    utc = {
        label: f"datetime64[{dtype.unit}, UTC]"
        for label, dtype in frame.dtypes.items()
        if isinstance(getattr(dtype, "tz", None), timezone)
    }
    return frame.astype(utc)


_REFUSED = (TypeError, ValueError, NotImplementedError, pl.exceptions.PolarsError)


def _odd(frame: pd.DataFrame, error: Exception) -> str:
    """Name the column that cannot be taken, where it is the column and not the frame."""
    for place, label in enumerate(frame.columns):
        try:
            pl.from_pandas(frame.iloc[:, [place]])
        except _REFUSED as own:
            return f"{label!r}: {reason_of(own)}"
    return reason_of(error)


def check_columns(
    schema: pl.Schema, keys: Sequence[str], times: Sequence[str], features: Mapping[str, str]
) -> None:
    """Raise `InputError` where a frame is not what its roles as a feature view say."""
    if not keys:
        msg = "a feature view needs at least one join key: join_keys=[<column>]"
        raise InputError(msg)
    for column in (*keys, *times, *features):
        if column not in schema:
            msg = f"the frame has no column {column!r}; {nearest(column, schema)}"
            raise KeyColumnError(msg) if column in keys else UnknownNameError(msg)
    if odd := [column for column in schema if is_pattern(column)]:
        msg = f"{odd[0]!r} cannot name a feature: it reads like a pattern; rename the column"
        raise InputError(msg)
    special = [*keys, *times]
    if twice := sorted({column for column in special if special.count(column) > 1}):
        msg = f"the column {twice[0]!r} has two roles; a key or a timestamp has one"
        raise NameClashError(msg)
    if odd := [column for column in keys if not can_be_key(schema[column])]:
        msg = (
            f"{odd[0]!r} is {format_dtype(schema[odd[0]])}, which cannot be a key; convert it first"
        )
        raise KeyTypeError(msg)
    if taken := [column for column in features if column in special]:
        msg = f"features= describes {taken[0]!r}, which is a key or a timestamp, no feature"
        raise NameClashError(msg)
    if not set(schema) - set(special):
        msg = "a feature view needs at least one feature: a column besides keys and timestamps"
        raise InputError(msg)


def _utc(column: str, dtype: pl.DataType, timezone: str | None) -> pl.Expr:
    time = pl.col(column)
    match dtype:
        case pl.Datetime(time_zone=None) | pl.Date() if timezone is None:
            msg = (
                f"the timestamps in {column!r} are naive; say what they mean: "
                "write_view(..., timezone='UTC')"
            )
            raise TimestampError(msg)
        case pl.Datetime(time_zone=None):
            time = time.dt.replace_time_zone(timezone)
        case pl.Date():  # the midnight with which it begins
            time = time.cast(pl.Datetime("us")).dt.replace_time_zone(timezone)
        case pl.Datetime():
            pass
        case _:
            msg = f"{column!r} is {format_dtype(dtype)}, not a timestamp; convert the column first"
            raise TimestampError(msg)
    return time.dt.convert_time_zone("UTC").cast(TIMESTAMP)


def _dtype_name(dtype: pl.DataType) -> str | None:
    """Name the dtype where the name says all of it."""
    name = format_dtype(dtype)
    try:
        return name if parse_dtype(name) == dtype else None
    except ValueError:
        return None
