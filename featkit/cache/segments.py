"""A segment: rows of one view as columns, with when they were fetched and until when they are good.

In memory a segment is a polars frame; outside it is bytes: a header in JSON, the frame in Arrow's
IPC format, and a checksum over both. Bytes of a later version, of something else, or damaged ones
are told apart from segments, and are never unpickled.
"""

from __future__ import annotations

import io
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl

from featkit.columns import STATUS, FeatureColumns
from featkit.dtypes import TIMESTAMP
from featkit.structs import known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    import numpy.typing as npt

SCHEMA = 1
"""Version of what is written; another one is not read."""

_MAGIC = b"featkit-segment\n"
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_UNKNOWN = -1
_AT_ONCE = 4  # segments that are decoded


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns hold the statuses and the event timestamps of each feature.

    Attributes
    ----------
    statuses
        For each feature the number of the column of its statuses; many share one.
    times
        The same for event timestamps; -1 where they are unknown.
    """

    statuses: tuple[int, ...]
    times: tuple[int, ...]

    def refined(self, other: Layout) -> Layout:
        """Return the coarsest layout in which both can be written."""
        times = list(zip(self.times, other.times, strict=True))
        return Layout(
            _numbered(zip(self.statuses, other.statuses, strict=True)),
            _numbered(None if pair == (_UNKNOWN, _UNKNOWN) else pair for pair in times),
        )

    def of(self, places: Sequence[int]) -> Layout:
        """Return the layout of some of the features."""
        times = [self.times[place] for place in places]
        return Layout(
            _numbered(self.statuses[place] for place in places),
            _numbered(None if time == _UNKNOWN else time for time in times),
        )


def _numbered(items: Iterable[object]) -> tuple[int, ...]:
    """Give things numbers in order of first appearance; None gets -1."""
    numbers: dict[object, int] = {}
    return tuple(
        _UNKNOWN if item is None else numbers.setdefault(item, len(numbers)) for item in items
    )


class _Header(msgspec.Struct, frozen=True):
    schema: int
    features: tuple[str, ...]
    statuses: tuple[int, ...]
    times: tuple[int, ...]
    keys: int


class UnreadableSegment(Exception):  # noqa: N818 - what it is
    """Bytes that are no segment of this version, or a damaged one."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Rows of one view.

    Attributes
    ----------
    features
        Names of the features; none: the keys are gone, whatever was fetched of them before.
    layout
        Where statuses and times are.
    keys
        How many join keys there are.
    frame
        Columns ``k0...`` of the keys, ``v0...`` of the values in the order of `features`,
        ``s0...`` of statuses, ``t0...`` of event timestamps, ``at`` when a row was fetched and
        ``end`` until when it is good, both in microseconds since 1970.
    """

    features: tuple[str, ...]
    layout: Layout
    keys: int
    frame: pl.DataFrame

    @classmethod
    def of(cls, keys: pl.DataFrame, answer: FeatureColumns, *, at: int, end: pl.Series) -> Segment:
        """Make the segment of an answer; series that features share stay shared."""
        names = tuple(answer.values.columns)
        stamps = [answer.timestamps.get(name) for name in names]
        layout = Layout(
            _numbered(id(answer.statuses[name]) for name in names),
            _numbered(None if series is None else id(series) for series in stamps),
        )
        statuses = {
            number: answer.statuses[name]
            for name, number in zip(names, layout.statuses, strict=True)
        }
        times = dict(zip(layout.times, stamps, strict=True))
        columns = [
            *_named("k", keys.get_columns()),
            *_named("v", answer.values.get_columns()),
            *(series.alias(f"s{number}") for number, series in statuses.items()),
            *(series.alias(f"t{n}") for n, series in times.items() if series is not None),
            pl.repeat(at, len(end), dtype=pl.Int64, eager=True).alias("at"),
            end.alias("end"),
        ]
        return cls(names, layout, keys.width, pl.DataFrame(columns))

    @classmethod
    def gone(cls, keys: pl.DataFrame, *, at: int, end: int) -> Segment:
        """Make the segment that says that what was fetched of these keys up to `at` is gone."""
        times = [pl.lit(at, pl.Int64).alias("at"), pl.lit(end, pl.Int64).alias("end")]
        frame = pl.DataFrame(_named("k", keys.get_columns())).with_columns(times)
        return cls((), Layout((), ()), keys.width, frame)

    @property
    def height(self) -> int:
        """How many rows there are."""
        return self.frame.height

    @property
    def fetched(self) -> tuple[int, int]:
        """When the first and the last of the rows was fetched; there must be one."""
        times = self.frame["at"].to_numpy()
        return int(times.min()), int(times.max())

    @property
    def until(self) -> int:
        """Until when the last of the rows is good; there must be one."""
        return int(self.frame["end"].to_numpy().max())

    @property
    def key_frame(self) -> pl.DataFrame:
        """The keys, as a frame."""
        names = self._key_names
        return self.frame.select(names) if names else pl.DataFrame(height=self.height)

    @property
    def _key_names(self) -> list[str]:
        return [f"k{number}" for number in range(self.keys)]

    def goes_on(self, other: Segment) -> bool:
        """Tell whether another one has later rows of the same columns."""
        same = self.features == other.features and self.value_dtypes == other.value_dtypes
        return bool(self.features) and same and self.fetched[1] <= other.fetched[0]

    @property
    def value_dtypes(self) -> dict[str, pl.DataType]:
        """Dtypes of the values, by column."""
        return {name: dtype for name, dtype in self.frame.schema.items() if name[0] == "v"}

    def rechunked(self) -> Segment:
        """Return the same in one piece, from which rows are gathered faster."""
        return replace(self, frame=self.frame.rechunk())

    def only(self, names: Iterable[str]) -> Segment:
        """Return the same rows with some of the features."""
        chosen = tuple(names)
        if chosen == self.features:
            return self
        places = [self.features.index(name) for name in chosen]
        layout = self.layout.of(places)
        columns = self._meta(
            layout,
            [self.layout.statuses[p] for p in places],
            [self.layout.times[p] for p in places],
        )
        values = [pl.col(f"v{old}").alias(f"v{new}") for new, old in enumerate(places)]
        frame = self.frame.select(*self._key_names, *values, *columns, "at", "end")
        return Segment(chosen, layout, self.keys, frame)

    def laid_out(self, layout: Layout) -> Segment:
        """Return the same in a finer layout."""
        if layout == self.layout:
            return self
        columns = self._meta(layout, self.layout.statuses, self.layout.times)
        values = [f"v{number}" for number in range(len(self.features))]
        frame = self.frame.select(*self._key_names, *values, *columns, "at", "end")
        return Segment(self.features, layout, self.keys, frame)

    def _meta(self, layout: Layout, statuses: Sequence[int], times: Sequence[int]) -> list[pl.Expr]:
        """Take the columns of a layout from those where they are now."""
        named = {f"s{new}": f"s{old}" for new, old in zip(layout.statuses, statuses, strict=True)}
        stamps = dict(zip(layout.times, times, strict=True))
        stamps.pop(_UNKNOWN, None)
        unknown = pl.lit(None, TIMESTAMP)
        return [
            *(pl.col(old).alias(new) for new, old in named.items()),
            *(
                (unknown if old == _UNKNOWN else pl.col(f"t{old}")).alias(f"t{new}")
                for new, old in stamps.items()
            ),
        ]

    def rows(self, mask: pl.Series) -> Segment:
        """Return some of the rows."""
        return replace(self, frame=self.frame.filter(mask))

    def columns(self, rows: npt.NDArray[np.int32] | slice, names: Sequence[str]) -> FeatureColumns:
        """Bring the values of rows together, with their statuses and timestamps.

        Rows that lie one after the other are not copied.
        """
        places = [self.features.index(name) for name in names]
        statuses = [self.layout.statuses[place] for place in places]
        times = [self.layout.times[place] for place in places]
        wanted = [f"v{place}" for place in places]
        wanted += [f"s{number}" for number in dict.fromkeys(statuses)]
        wanted += [f"t{number}" for number in dict.fromkeys(times) if number != _UNKNOWN]
        chosen = rows if isinstance(rows, slice) else pl.Series(rows.astype(np.uint32))
        found = self.frame[wanted][chosen]
        series = {column.name: column for column in found.get_columns()}
        return FeatureColumns(
            pl.DataFrame(
                [series[f"v{p}"].alias(name) for name, p in zip(names, places, strict=True)]
            ),
            {name: series[f"s{number}"] for name, number in zip(names, statuses, strict=True)},
            {
                name: series[f"t{number}"]
                for name, number in zip(names, times, strict=True)
                if number != _UNKNOWN
            },
        )

    def encode(self) -> bytes:
        """Write the segment as bytes."""
        header = _Header(SCHEMA, self.features, self.layout.statuses, self.layout.times, self.keys)
        body = io.BytesIO()
        self.frame.rechunk().write_ipc(body, compression="zstd")
        head = msgspec.json.encode(header)
        rest = len(head).to_bytes(4, "little") + head + body.getvalue()
        return _MAGIC + zlib.crc32(rest).to_bytes(4, "little") + rest

    @classmethod
    def decode(cls, blob: bytes) -> Segment:
        """Read a segment; raise `UnreadableSegment` where it is none."""
        start = len(_MAGIC) + 8
        rest = memoryview(blob)[len(_MAGIC) + 4 :]
        checksum = int.from_bytes(blob[len(_MAGIC) : len(_MAGIC) + 4], "little")
        if len(blob) < start or blob[: len(_MAGIC)] != _MAGIC or zlib.crc32(rest) != checksum:
            raise UnreadableSegment("damaged, or no segment")
        body = start + int.from_bytes(blob[start - 4 : start], "little")
        try:
            header = msgspec.json.decode(blob[start:body], type=known(_Header))
            if header.schema != SCHEMA:
                raise UnreadableSegment(f"of schema {header.schema}")
            frame = pl.read_ipc(io.BytesIO(blob[body:]))
            # the words of whoever wrote it may stand in another order, or be others
            numbered = [f"s{number}" for number in dict.fromkeys(header.statuses)]
            frame = frame.cast(dict.fromkeys(numbered, STATUS))
        except (ValueError, OSError, pl.exceptions.PolarsError) as error:
            raise UnreadableSegment(str(error)) from error
        return cls(header.features, Layout(header.statuses, header.times), header.keys, frame)


def joined(parts: Sequence[Segment]) -> Segment:
    """Return the rows of segments of the same features, one after the other, without a copy."""
    if len(parts) == 1:
        return parts[0]
    layout = parts[0].layout
    for part in parts[1:]:
        layout = layout.refined(part.layout)
    layout = layout.refined(layout)  # numbered from 0 on
    frames = [part.laid_out(layout).frame for part in parts]
    return Segment(parts[0].features, layout, parts[0].keys, pl.concat(frames, rechunk=False))


def decoded(blobs: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, Segment | None]]:
    """Decode segments, some at once, and give them in order; None: one that cannot be read."""
    ahead: deque[tuple[int, Future[Segment | None]]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # it begins threads only as they are needed
        for number, blob in blobs:
            ahead.append((number, pool.submit(_decoded, blob)))
            if len(ahead) > _AT_ONCE:
                first, made = ahead.popleft()
                yield first, made.result()
        for number, made in ahead:
            yield number, made.result()


def _decoded(blob: bytes) -> Segment | None:
    try:
        return Segment.decode(blob)
    except UnreadableSegment:
        return None


def codes_of(keys: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Make a code for each key: the number itself, or a hash, which two keys may share."""
    if not keys.width:
        return np.zeros(keys.height, np.int64)
    if is_exact(keys):
        return keys.to_series().cast(pl.Int64).to_numpy()
    if keys.width == 1:
        return keys.to_series().hash().to_numpy().view(np.int64)
    return keys.hash_rows().to_numpy().view(np.int64)


def is_exact(keys: pl.DataFrame) -> bool:
    """Tell whether keys with the same code are the same keys."""
    return not keys.width or (keys.width == 1 and keys.dtypes[0] in _INTEGERS)


def _named(letter: str, columns: Sequence[pl.Series]) -> list[pl.Series]:
    return [column.alias(f"{letter}{number}") for number, column in enumerate(columns)]
