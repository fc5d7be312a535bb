"""The columns of a frame that is audited: found, checked and read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from featkit import frames
from featkit.calls import Call, LocalRead
from featkit.columns import TIMESTAMP_SUFFIX
from featkit.errors import KeyColumnError, KeyTypeError, TimestampError, nearest
from featkit.training.spine import AT_COLUMN, check_moments, read_spine

if TYPE_CHECKING:
    from collections.abc import Hashable

    from featkit.audits.options import LeakageOptions
    from featkit.calls import Flow
    from featkit.frames import UserFrame
    from featkit.references import Selection


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameColumns:
    """What was read of the frame.

    Attributes
    ----------
    keys, at, label_time
        Join keys, moments, and when the label was known.
    stamps
        By column of timestamps, these and the view or feature that they are of.
    features
        By reference, the column that holds the feature.
    about
        What identifies the rows.
    said
        What can be said of the check of times.
    """

    keys: pl.DataFrame
    at: pl.Series
    label_time: pl.Series | None
    stamps: dict[str, tuple[pl.Series, str]]
    features: dict[str, str]
    about: pl.DataFrame
    said: str

    @property
    def height(self) -> int:
        """How many rows the frame has."""
        return len(self.at)


@dataclass(frozen=True, eq=False)
class ColumnReader:
    """Reads columns of the user's frame."""

    frame: UserFrame
    options: LeakageOptions
    zone: str | None

    def series(self, name: Hashable, option: str = "column") -> Flow[pl.Series]:
        """Read one column, which an option names."""
        frames.refuse_unknown(self.frame, name, option)
        read = partial(self.frame.key_columns, {str(name): name})
        try:
            found: pl.DataFrame = yield Call(LocalRead(read, f"the column {name!r}"))
        except KeyTypeError as error:
            told = str(error).replace(f"the key {str(name)!r}", "it").replace("a key", "compared")
            raise KeyTypeError(told) from error
        return found.to_series()

    def times(self, name: Hashable, option: str = "column") -> Flow[pl.Series]:
        """Read one column of timestamps, which an option names."""
        column = yield from self.series(name, option)
        row = self.frame.row_label
        return check_moments(column, name=name, zone=self.zone, row=row, option=option)

    def columns(self, selection: Selection) -> Flow[FrameColumns]:
        """Find and read all columns that take part."""
        options = self.options
        labels: dict[str, Hashable] = {}
        if selection.views:
            labels |= frames.key_labels(self.frame, selection, options.on)
        frames.refuse_unknown(self.frame, options.at, "at")
        read = partial(read_spine, self.frame, labels, options.at)
        found: pl.DataFrame = yield Call(LocalRead(read, "keys and moments of the frame"))
        at = check_moments(
            found[AT_COLUMN], name=options.at, zone=self.zone, row=self.frame.row_label
        )
        stamps = {}
        for name, of in self._stamp_columns().items():
            stamps[name] = (yield from self.times(name)), of
        label_time = None
        if options.label_time is not None:
            label_time = yield from self.times(options.label_time, "label_time")
        keys = found.drop(AT_COLUMN)
        about = pl.DataFrame(
            [pl.int_range(found.height, eager=True).alias("row"), *keys, at.alias("at")]
        )
        said = f"timestamps in {', '.join(stamps)}" if stamps else "no timestamps of features there"
        return FrameColumns(
            keys=keys,
            at=at,
            label_time=label_time,
            stamps=stamps,
            features=self._feature_columns(selection),
            about=about,
            said=said,
        )

    def suspects(self, columns: FrameColumns) -> Flow[dict[str, pl.Series]]:
        """Read what may tell the label: the features, or where none are named all there is."""
        options, found = self.options, {}
        names = list(columns.features.values())
        if not names:
            every = [name for name in self.frame.columns if isinstance(name, str)]
            names = [name for name in every if every.count(name) == 1]
        others = {options.label, options.label_time, options.at, *columns.stamps}
        for name in dict.fromkeys(names):
            if name in others:
                continue
            try:
                found[name] = yield from self.series(name)
            except (KeyTypeError, TimestampError):  # Python objects of several types
                if columns.features:
                    raise
        return found

    def _stamp_columns(self) -> dict[str, str]:
        """Find the columns with timestamps of features, and what each is of."""
        named = dict(self.options.timestamps)
        present = [name for name in self.frame.columns if isinstance(name, str)]
        for name in named:
            if name not in present:
                msg = f"timestamps= names {name!r}, which is no column; {nearest(name, present)}"
                raise KeyColumnError(msg)
        for name in present:
            if name.endswith(TIMESTAMP_SUFFIX):
                named.setdefault(name, name.removesuffix(TIMESTAMP_SUFFIX))
        return named

    def _feature_columns(self, selection: Selection) -> dict[str, str]:
        """Find the column of each feature: as named, else under its short or its full name."""
        present = set(self.frame.columns)
        found = {}
        for part in selection.views:
            for feature in part.features:
                reference = f"{part.view.name}:{feature.name}"
                tried = [f"{part.view.name}__{feature.name}", feature.name]
                if reference in self.options.named:
                    tried = [self.options.named[reference]]
                column = next((name for name in tried if name in present), None)
                if column is None:
                    msg = (
                        f"the frame has no column for {reference!r} (tried "
                        f"{', '.join(map(repr, tried))}); name it: "
                        f"features={{<column>: {reference!r}}}"
                    )
                    raise KeyColumnError(msg)
                found[reference] = column
        return found
