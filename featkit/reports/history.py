"""Audits over time: each appended to a Parquet file, read again as a trend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from filelock import FileLock

from featkit.dtypes import TIMESTAMP
from featkit.errors import InputError, reason_of
from featkit.failures import FAILURES
from featkit.replacing import replacing
from featkit.reports.rows import SCHEMAS, frame_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

    from featkit.reports.staleness import StalenessReport
    from featkit.types import DtypeBackend

_SCHEMA = pl.Schema(
    {
        "at": TIMESTAMP,
        "target": pl.String(),
        "view": pl.String(),
        "feature": pl.String(),
        **SCHEMAS["feature"],
        **SCHEMAS["view"],
    }
)
_ESSENTIAL = ("at", "target", "view", "feature", "verdict", "share_expired")


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class StalenessTrend:
    """The audits that were recorded in a file.

    Attributes
    ----------
    frame : polars.DataFrame
        In the order of ``at``, the `now` of each audit: one row per view, whose ``feature`` is
        null, and one per feature; the columns are those of `StalenessReport.to_polars`.
    """

    frame: pl.DataFrame

    @property
    def views(self) -> pl.DataFrame:
        """The rows about whole views."""
        return self.frame.filter(pl.col("feature").is_null())

    def to_polars(self) -> pl.DataFrame:
        """Return the audits as a polars frame."""
        return self.frame

    def to_pandas(self, *, dtype_backend: DtypeBackend = "numpy_nullable") -> pd.DataFrame:
        """Return the audits as a pandas frame."""
        import pandas as pd  # noqa: PLC0415 - half a second that users of polars do not pay

        from featkit.conversion import to_pandas  # noqa: PLC0415 - the same half second

        index = pd.RangeIndex(self.frame.height)
        return to_pandas(self.frame, index, dtype_backend=dtype_backend)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share of expired values as a strip of shades, for each view over time.

        Parameters
        ----------
        ax
            Where to draw; None: a new figure.
        """
        from featkit.reports import staleness_plots  # noqa: PLC0415 - only plots need it

        return staleness_plots.expired(self, ax)

    def plot_ages(self, ax: Axes | None = None) -> Axes:
        """Draw the age that 95 of 100 entities do not exceed, as a share of the ttl, over time.

        Parameters
        ----------
        ax
            Where to draw; None: a new figure.
        """
        from featkit.reports import staleness_plots  # noqa: PLC0415 - only plots need it

        return staleness_plots.ages_over_time(self, ax)

    def __str__(self) -> str:
        audits = self.frame["at"].n_unique()
        if not audits:
            return "no audits yet"
        first, *_, last = self.frame["at"].sort().to_list() * 2
        views = self.frame["view"].n_unique()
        return (
            f"{audits} audit{'s' * (audits != 1)} of {views} view{'s' * (views != 1)}, "
            f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        )

    def __repr__(self) -> str:
        return f"<StalenessTrend: {self}>"


def append(report: StalenessReport, path: Path) -> None:
    """Append a report to a file; other processes that append at the same time wait."""
    both = [frame_of(report, "view"), frame_of(report, "feature")]
    told = pl.lit(report.now, TIMESTAMP).alias("at"), pl.lit(report.target).alias("target")
    rows = pl.concat(
        [_completed(frame.with_columns(*told)) for frame in both if frame.height] or [_empty()]
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            before = read(path).frame if path.exists() else _empty()
            with replacing(path) as file:
                pl.concat([before, rows]).write_parquet(file)
    except OSError as error:
        msg = f"{path} cannot be written: {error}"
        raise InputError(msg) from error


def read(path: Path) -> StalenessTrend:
    """Read the audits of a file.

    Raises
    ------
    InputError
        There is no such file, or it is no record of audits.
    """
    try:
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except FileNotFoundError as error:
        msg = f"there is no {path}; report.record({str(path)!r}) begins it"
        raise InputError(msg) from error
    except FAILURES as error:
        msg = f"{path} is no record of audits: {reason_of(error)}"
        raise InputError(msg) from error
    if missing := [name for name in _ESSENTIAL if name not in frame.columns]:
        msg = f"{path} is no record of audits: it has no column {missing[0]!r}"
        raise InputError(msg)
    try:
        return StalenessTrend(_completed(frame).sort("at", maintain_order=True))
    except pl.exceptions.PolarsError as error:
        msg = f"{path} is no record of audits: {reason_of(error)}"
        raise InputError(msg) from error


def _completed(frame: pl.DataFrame) -> pl.DataFrame:
    """Give rows all columns, in order; other versions wrote fewer of them, or more."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in _SCHEMA.items()
    )


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=_SCHEMA)
