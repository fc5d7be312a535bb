"""The files of one view of an embedded store: found, scanned, described, read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from featkit.columns import FeatureColumns, Status, everywhere
from featkit.definitions import FeatureEntry, ViewDefinition, is_pattern
from featkit.dtypes import TIMESTAMP, cast_exactly, format_dtype
from featkit.errors import DefinitionError, SourceError, TimestampError, nearest, reason_of
from featkit.failures import FAILURES
from featkit.keys import spread
from featkit.populations import Arrivals, Population, PopulationRead, drawn
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.parquet.schemas import CASTS, check_keys, shared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from featkit.stores.base import OnlineRead

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one view."""

    definition: ViewDefinition
    timezone: str | None

    def __str__(self) -> str:
        return f"feature view {self.definition.name!r}"

    def files(self) -> tuple[list[Path], list[str]]:
        """Find the files, in the order that counts as that of the source, and the hive columns."""
        found: list[Path] = []
        hive: dict[str, None] = {}
        for pattern in self.definition.patterns:
            fixed, wild = _split(pattern, self.definition.file.path.parent)
            try:
                there = _matching(fixed, wild) if wild else [fixed]
            except (OSError, ValueError) as error:  # ** is a part of its own, or a folder is shut
                raise self.unreadable(error) from error
            matches = [
                path for path in there if path.is_file() and not _hidden(path.relative_to(fixed))
            ]
            if not matches:
                msg = f"{self}: no file matches {pattern} ({self.definition.where('source')})"
                raise SourceError(msg)
            folders = matches[0].relative_to(fixed).parent.parts
            hive |= {part.partition("=")[0]: None for part in folders if "=" in part}
            found += matches
        return found, list(hive)

    def scan(self, *, numbered: bool = True) -> pl.LazyFrame:
        """Scan the files; hive folders below the fixed part of a pattern become columns.

        Parameters
        ----------
        numbered
            Whether each row gets the number that it has in the source.
        """
        paths, hive = self.files()
        frame = pl.scan_parquet(
            paths,
            glob=False,  # these are the files, whatever signs are in their names
            hive_partitioning=bool(hive),
            row_index_name=_ROW if numbered else None,
            schema=self._shared(paths, hive),
            missing_columns="insert",
            cast_options=CASTS,
        )
        if hive:  # polars makes columns of the folders above as well
            above = {part.partition("=")[0] for part in paths[0].parts if "=" in part} - set(hive)
            frame = frame.drop(above)
        return frame

    def _shared(self, paths: Sequence[Path], hive: Sequence[str]) -> dict[str, pl.DataType] | None:
        entry = self.definition.entry
        needed = [*entry.join_keys, *filter(None, (entry.timestamp, entry.created))]
        try:
            check_keys(paths, entry.join_keys)
            return shared(paths, [name for name in needed if name not in hive])
        except ValueError as error:
            msg = f"{self}: {error} ({self.definition.where('source')})"
            raise SourceError(msg) from error
        except FAILURES as error:
            raise self.unreadable(error) from error

    def schema(self, frame: pl.LazyFrame) -> dict[str, pl.DataType]:
        """Read the types of the columns."""
        try:
            found = dict(frame.collect_schema())
        except FAILURES as error:
            raise self.unreadable(error) from error
        found.pop(_ROW, None)
        return found

    def view(self) -> FeatureView:
        """Describe the view: what the file says, with the types that the source has."""
        entry, found = self.definition.entry, self.schema(self.scan())
        special = [*entry.join_keys, *filter(None, (entry.timestamp, entry.created))]
        named = entry.features or {name: FeatureEntry() for name in found if name not in special}
        for name in (*special, *named):
            if name not in found:
                near = nearest(name, found)
                msg = f"{self._where(name)}: the source has no column {name!r}; {near}"
                raise DefinitionError(msg)
            if is_pattern(name):
                msg = f"{self}: {name!r} reads like a pattern, no name; rename the column"
                raise DefinitionError(msg)
        for name in filter(None, (entry.timestamp, entry.created)):
            self.time(name, found[name])
        return FeatureView(
            name=self.definition.name,
            entities=tuple(Entity(key, key, _plain(found[key])) for key in entry.join_keys),
            features=tuple(
                Feature(
                    name,
                    self.definition.dtypes.get(name, _plain(found[name])),
                    line.description,
                    dict(line.tags),
                )
                for name, line in named.items()
            ),
            timestamp=entry.timestamp,
            created=entry.created,
            ttl=self.definition.ttl,
            source=", ".join(entry.sources),
            description=entry.description,
            owner=entry.owner,
            tags=dict(entry.tags),
        )

    def latest(self, read: OnlineRead) -> FeatureColumns:
        """Read the latest row of each entity asked for, among those visible at ``read.now``."""
        keys = _names("k", read.keys.width)
        asked = read.keys.rename(dict(zip(read.view.join_keys, keys, strict=True)))
        found = self._collected(self._narrowed(asked, self._visible(read)))
        rows = _picked(found, [name for name in found.columns if name not in keys])
        rows = rows[_places(asked, found)]
        values = [self.value(rows[name], item) for item, name in _named("f", read.features)]
        return _answer(read, rows, values)

    def some_entities(self, view: FeatureView, count: int, now: datetime) -> pl.DataFrame:
        """Find entities that have a row at `now`: all, or as many of them, evenly spread."""
        keys = _names("k", len(view.entities))
        rows = self._visible(PopulationRead(view, (), now))
        found = self._collected(rows.select(keys).drop_nulls().unique())
        return spread(found.sort(keys), count).rename(dict(zip(keys, view.join_keys, strict=True)))

    def population(self, read: PopulationRead) -> Population:
        """Read the latest row of each entity, among the rows visible at ``read.now``."""
        keys = _names("k", len(read.view.entities))
        found = self._collected(self._visible(read))
        for key in keys:
            if found[key].null_count():
                found = found.filter(pl.col(key).is_not_null())
        last = _last(found, keys)
        total = last.height
        if read.sample is not None:
            last = drawn(last, keys, read.sample)
        rows = _picked(found, [name for name in found.columns if name not in keys])
        rows = _taken(rows, last[_PLACE])
        values = [self.value(rows[name], item) for item, name in _named("f", read.features)]
        named = dict(zip(keys, read.view.join_keys, strict=True))
        return Population(last.select(keys).rename(named), _answer(read, rows, values), total)

    def arrivals(self, view: FeatureView, now: datetime) -> Arrivals:
        """Read when rows could be seen for the first time."""
        rows = self._visible(PopulationRead(view, (), now))
        times = [name for name in ("t0", "t1") if name == "t0" or view.created]
        found = self._collected(rows.select("t0", pl.max_horizontal(times).alias("seen")))
        newest: Any = found["t0"].max()  # of a column of datetimes
        return Arrivals(found["seen"], newest)

    def _collected(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Read rows; what is compared comes in one piece each, where it would come in hundreds."""
        try:
            found = rows.collect()
        except FAILURES as error:
            raise self.unreadable(error) from error
        return pl.DataFrame([own if own.name[0] == "f" else own.rechunk() for own in found])

    def _visible(self, read: OnlineRead | PopulationRead) -> pl.LazyFrame:
        """Name the columns k0 (keys), t0 (times), f0 (features), ...; keep the rows of the past."""
        entry, scan = self.definition.entry, self.scan()
        found = self.schema(scan)
        keys = [
            key_expression(entity.join_key, found, entity.dtype).alias(name)
            for entity, name in _named("k", read.view.entities)
        ]
        times = [
            self.time(column, found[column]).alias(name)
            for column, name in _named("t", [*filter(None, (entry.timestamp, entry.created))])
        ]
        values = [pl.col(item.name).alias(name) for item, name in _named("f", read.features)]
        rows = scan.select(*keys, *times, *values, _ROW)
        if entry.timestamp:
            rows = rows.filter(pl.col("t0") <= read.now)
        if entry.created:  # a row that is not said to be written later was there
            rows = rows.filter(pl.col("t1").is_null() | (pl.col("t1") <= read.now))
        return rows

    def _narrowed(self, asked: pl.DataFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Drop rows that nobody asked for as far as that saves time or memory; keep the order."""
        first = asked.to_series()
        # the range lets the scan skip the row groups of sorted files
        lowest, highest = pl.lit(first.min(), first.dtype), pl.lit(first.max(), first.dtype)
        rows = rows.filter(pl.col(first.name).is_between(lowest, highest))
        if asked.height <= _FEW:
            return rows.filter(pl.col(key.name).is_in(key.unique().implode()) for key in asked)
        if self._height() <= _DENSE * asked.height:
            return rows
        return rows.join(asked.lazy(), on=asked.columns, how="semi", maintain_order="left")

    def _height(self) -> int:
        """Count the rows; the files' footers tell it."""
        height: int = self.scan().select(pl.len()).collect().item()
        return height

    def time(self, name: str, dtype: pl.DataType) -> pl.Expr:
        """Read a timestamp column, of whatever unit and zone, as UTC microseconds."""
        column = pl.col(name)
        match dtype:
            case pl.Datetime(time_zone=None) | pl.Date():
                if self.timezone is None:
                    msg = (
                        f"{self}: the timestamps in {name!r} are naive; say what they mean: "
                        f"connect(..., timezone='UTC'), or timezone = \"UTC\" under [store] "
                        f"({self._where(name)})"
                    )
                    raise TimestampError(msg)
                column = column.cast(pl.Datetime("us")).dt.replace_time_zone(self.timezone)
            case pl.Datetime() if dtype == TIMESTAMP:
                return column  # as it is, so that statistics of the files apply to it
            case pl.Datetime():
                pass
            case _:
                msg = (
                    f"{self._where(name)}: {name!r} is {format_dtype(dtype)}, not a timestamp; "
                    "write the Parquet column as a timestamp, or leave it out for a static view"
                )
                raise TimestampError(msg)
        return column.dt.convert_time_zone("UTC").cast(TIMESTAMP)

    def value(self, column: pl.Series, feature: Feature) -> pl.Series:
        """Give values the dtype that their view tells, or say that they cannot have it."""
        found, wanted = column.dtype, feature.dtype
        column = column.alias(feature.name)
        if wanted is None:
            return column
        if wanted == TIMESTAMP and isinstance(found, (pl.Datetime, pl.Date)):
            return column.to_frame().select(self.time(feature.name, found)).to_series()
        try:
            return cast_exactly(column, wanted)
        except ValueError as error:
            where = self.definition.where("features", feature.name)
            msg = f"{where}: {feature.name!r} is {format_dtype(found)} in the source and {error}"
            raise SourceError(msg) from error

    def _where(self, column: str) -> str:
        """Name the file and the line of the setting that names a column."""
        entry = self.definition.entry
        settings = {entry.timestamp: ("timestamp",), entry.created: ("created",)}
        settings |= dict.fromkeys(entry.join_keys, ("join_keys",))
        return self.definition.where(*settings.get(column, ("features", column)))

    def unreadable(self, error: Exception) -> SourceError:
        """Make the error for what reading the files raised."""
        files = ", ".join(map(str, self.definition.patterns))
        return SourceError(f"{self}: {files} cannot be read: {reason_of(error)}")


_ROW, _PLACE = "__featkit_row", "__featkit_place"
_FEW = 16_384  # so many keys a scan tells from others faster than a join does
_DENSE = 4  # rows an entity, up to which dropping some costs more than it saves
_WILD = frozenset("*?[")


def _split(pattern: Path, root: Path) -> tuple[Path, str]:
    """Split a pattern into the folder, or file, that it names and the part with wildcards.

    The folder of the store is no pattern, whatever signs are in its name.
    """
    parts = pattern.parts
    own = len(root.parts) if pattern.is_relative_to(root) else 0
    wild = next((n for n in range(own, len(parts)) if _WILD & set(parts[n])), len(parts))
    fixed = Path(*parts[:wild])
    if wild == len(parts):
        return (fixed, "**/*.parquet") if fixed.is_dir() else (fixed, "")
    return fixed, str(Path(*parts[wild:]))


def _matching(folder: Path, wild: str) -> list[Path]:
    """List what a pattern matches: what ``**`` means differs between versions of Python."""
    parts = PurePath(wild).parts
    if any("**" in part and part != "**" for part in parts):
        msg = "** is a part of its own and stands for folders, as in year=*/**/*.parquet"
        raise ValueError(msg)
    return sorted(folder.glob(f"{wild}/*" if parts[-1] == "**" else wild))


def _hidden(path: Path) -> bool:
    """Tell whether a file is none of the source's, such as what an interrupted writer left."""
    return any(part.startswith(".") for part in path.parts)


def _names(letter: str, count: int) -> list[str]:
    """Name columns so that no name of the user's can clash."""
    return [f"{letter}{number}" for number in range(count)]


def _named(letter: str, items: Sequence[T]) -> Iterator[tuple[T, str]]:
    return zip(items, _names(letter, len(items)), strict=True)


def _plain(dtype: pl.DataType) -> pl.DataType:
    """Tell the type of the values, whatever the way they are stored."""
    match dtype:
        case pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.Datetime(time_zone=None):
            return pl.Datetime("us")
        case pl.Datetime():
            return TIMESTAMP
        case _:
            return dtype


def key_expression(
    name: str, found: Mapping[str, pl.DataType], wanted: pl.DataType | None
) -> pl.Expr:
    """Read a key column in the dtype that its entity has."""
    column, dtype = pl.col(name), found[name]
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        column = column.dt.convert_time_zone("UTC")
    return column if wanted is None or wanted == dtype else column.cast(wanted)


def _picked(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Select columns; `select` would copy all columns of a frame that is in pieces."""
    return pl.DataFrame([rows[name] for name in names])


def _taken(rows: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """Take distinct rows in the order of their places."""
    if not places.is_sorted():
        return rows.rechunk()[places]  # from one piece is ten times as fast
    if len(places) == rows.height:
        return rows
    wanted = np.zeros(rows.height, np.bool_)
    wanted[places.to_numpy()] = True
    return rows.filter(pl.Series(wanted))  # twice as fast as by place


def _places(asked: pl.DataFrame, found: pl.DataFrame) -> pl.Series:
    """Tell for each entity asked for where its last row is among the rows found."""
    last = _last(found, asked.columns)
    return asked.join(last, on=asked.columns, how="left", maintain_order="left")[_PLACE].rechunk()


def _last(found: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Tell for each key where its last row is among the rows found.

    That is the last by the times, then in the source. Files that `write_view` wrote are in order
    already, which takes one pass to see; sorting and hashing them again would take four times as
    long. The values stay where they are: each is copied only once, later.
    """
    times = [name for name in found.columns if name.startswith("t")]
    rows = _picked(found, [*keys, *times, _ROW])
    if (ends := _ends(rows, keys)) is not None:
        own = rows.select(keys)
        return (own if len(ends) == rows.height else own[ends]).with_columns(ends.alias(_PLACE))
    ordered = rows.with_row_index(_PLACE).sort(*times, _ROW, nulls_last=False)
    return ordered.unique(keys, keep="last").select(*keys, _PLACE)


def _ends(rows: pl.DataFrame, keys: Sequence[str]) -> pl.Series | None:
    """Find the last row of each key where the rows are in order, by all columns; else None."""
    before = pl.repeat(value=False, n=max(rows.height - 1, 0), dtype=pl.Boolean, eager=True)
    same = runs = ~before
    for column in rows:
        this, following = column.head(len(same)), column.slice(1)
        before |= same & (this < following)
        same &= this == following
        if column.name in keys:  # which come first
            runs = same
    if not before.all(ignore_nulls=False):
        return None
    return pl.concat([~runs, pl.Series([True])]).head(rows.height).arg_true()


def _answer(
    read: OnlineRead | PopulationRead, rows: pl.DataFrame, values: Sequence[pl.Series]
) -> FeatureColumns:
    """Make the answer of rows that stand in the order asked, null where nothing was found."""
    status = everywhere(Status.NOT_FOUND, rows.height)
    status = status.set(rows[_ROW].is_not_null(), Status.PRESENT)
    names = [feature.name for feature in read.features]
    times = dict.fromkeys(names, rows["t0"]) if read.view.timestamp else {}
    return FeatureColumns(pl.DataFrame(values), dict.fromkeys(names, status), times)
