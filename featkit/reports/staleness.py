"""The staleness report: what was found about a store's values, to look at and to take along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from featkit import aligned
from featkit.durations import roughly
from featkit.errors import InputError, StalenessError, UnknownNameError, nearest
from featkit.report import Report, as_pandas, written
from featkit.reports import history, junit, staleness_page
from featkit.reports.rows import feature_row, frame_of, plain, rows_of, view_row
from featkit.staleness import worst
from featkit.staleness.measures import time_column

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from os import PathLike

    import pandas as pd
    from matplotlib.axes import Axes

    from featkit.html import Markup
    from featkit.reports.history import StalenessTrend
    from featkit.reports.rows import By
    from featkit.staleness import Verdict, ViewStaleness
    from featkit.types import DtypeBackend
    from featkit.widgets.staleness import StalenessPanel

FailOn = Literal["error", "warn", "unknown"]
FAILS: dict[FailOn, set[Verdict]] = {
    "error": {"error", "failed"},
    "warn": {"error", "failed", "warn"},
    "unknown": {"error", "failed", "warn", "unknown"},
}
"""Which verdicts fail an audit."""


@dataclass(frozen=True, eq=False, repr=False, slots=True, kw_only=True)
class StalenessReport(Report):
    """How old the values of a store are, and what to think of it.

    Made by `featkit.FeatureStoreClient.staleness` and by ``frame.features.staleness``.

    Attributes
    ----------
    target
        Which store.
    now
        The moment at which ages were taken, aware (UTC).
    views : tuple of ViewStaleness
        What was found, view by view; a view's ``features`` have the same feature by feature.

    Examples
    --------
    >>> import featkit
    >>> report = featkit.connect("demo:flights").staleness(["route_history:*"])
    >>> report.verdict, report["route_history"].n
    ('error', 223)
    >>> report.worst(1)["entity"].item(), str(report.worst(1)["age"].item())
    ('JFK,MEM', '333 days, 0:00:00')
    """

    target: str
    now: datetime
    views: tuple[ViewStaleness, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict on any view: pass, unknown, warn, error or failed."""
        return worst(view.verdict for view in self.views)

    def __getitem__(self, view: str) -> ViewStaleness:
        """Return what was found about one view."""
        for own in self.views:
            if own.view == view:
                return own
        near = nearest(view, [own.view for own in self.views])
        msg = f"the report has no feature view {view!r}; {near}"
        raise UnknownNameError(msg)

    def failures(self, fail_on: FailOn = "error") -> tuple[ViewStaleness, ...]:
        """Return the views that fail the audit.

        Parameters
        ----------
        fail_on
            ``"error"``: verdicts error and failed. ``"warn"``: also warn. ``"unknown"``: all but
            pass.
        """
        if fail_on not in FAILS:
            msg = f"fail_on={fail_on!r} is not an option; choose one of {', '.join(FAILS)}"
            raise InputError(msg)
        return tuple(view for view in self.views if view.verdict in FAILS[fail_on])

    @property
    def judged(self) -> bool:
        """Whether at least one view could be judged."""
        return any(view.verdict not in {"unknown", "failed"} for view in self.views)

    def assert_fresh(self, fail_on: FailOn = "error") -> None:
        """Raise where the audit fails; for tests.

        Parameters
        ----------
        fail_on
            As for `failures`.

        Raises
        ------
        StalenessError
            A view fails, or there is none that could be judged: nothing shows that it is fresh.
            The error is an `AssertionError`, too.
        """
        failing = self.failures(fail_on)
        if failing or not self.judged:
            listed = failing or self.views
            lines = [f"  {view.view}: {view.verdict}: {view.reason}" for view in listed]
            head = "is not fresh" if failing else "cannot be judged"
            lines = lines or ["  there are no views to look at"]
            raise StalenessError("\n".join([f"{self.target} {head} at {_time(self.now)}:", *lines]))

    def worst(self, n: int = 10) -> pl.DataFrame:
        """List the oldest entities of all views.

        Parameters
        ----------
        n
            How many.

        Returns
        -------
        polars.DataFrame
            ``view``, ``entity`` (its key as text; the parts of a composite key with commas between
            them), ``event_timestamp``, ``age`` and ``ttl``, the oldest first. The keys as they are
            stand in ``report[view].times``.
        """
        found = [_oldest(view, n) for view in self.views]
        listed = pl.concat([frame for frame in found if frame is not None] or [_NOBODY])
        aged = listed.sort("event_timestamp", "view", "entity").head(n)
        return aged.with_columns(age=pl.lit(self.now) - pl.col("event_timestamp")).select(
            "view", "entity", "event_timestamp", "age", "ttl"
        )

    # -- to take along

    def to_polars(self, by: By = "feature") -> pl.DataFrame:
        """Return the report as a polars frame.

        Parameters
        ----------
        by
            ``"feature"``: one row per feature. ``"view"``: one row per view, whose counts are
            those of its values, entities times features.
        """
        return frame_of(self, _by(by))

    def to_pandas(
        self, by: By = "feature", *, dtype_backend: DtypeBackend = "numpy_nullable"
    ) -> pd.DataFrame:
        """Return the report as a pandas frame; ages are ``timedelta64[us]``."""
        return as_pandas(self.to_polars(by), dtype_backend)

    def to_dicts(self, by: By = "feature") -> list[dict[str, Any]]:
        """Return the report as a list of dicts, one per feature or one per view."""
        return rows_of(self, _by(by))

    def _content(self) -> dict[str, object]:
        return {
            **plain({"target": self.target, "now": self.now, "verdict": self.verdict}),
            "views": [
                {
                    **plain(view_row(view, self.now)),
                    "join_keys": list(view.join_keys),
                    "features": [plain(feature_row(view, each)) for each in view.features],
                }
                for view in self.views
            ],
        }

    def _page(self) -> str:
        return staleness_page.page_of(self)

    def browse(self, refresh: Callable[[], StalenessReport] | None = None) -> StalenessPanel:
        """Show the report as a widget: filter by verdict, sort by age, see how ages are spread.

        Parameters
        ----------
        refresh
            Makes the report anew, such as ``store.staleness``; None: there is no such button.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> panel = store.staleness().browse(refresh=store.staleness)
        >>> panel.verdicts = ["error"]
        >>> panel.current = "tail_history"
        """
        from featkit.widgets.staleness import StalenessPanel  # noqa: PLC0415 - ipywidgets is heavy

        return StalenessPanel(self, refresh)

    def to_junit(
        self, path: str | PathLike[str] | None = None, *, fail_on: FailOn = "error"
    ) -> str:
        """Return the report as JUnit XML, and write it where a file is named.

        A view is a test suite and a feature a test case. What fails the audit by `fail_on` is a
        failure, what could not be looked at an error, what cannot be judged is skipped.
        """
        self.failures(fail_on)
        return written(junit.document(self, FAILS[fail_on]), path)

    # -- history

    def record(self, path: str | PathLike[str]) -> None:
        """Append the report to a Parquet file, which is made where there is none.

        Raises
        ------
        InputError
            The file is there, and is no record of audits.
        """
        history.append(self, Path(path))

    @staticmethod
    def trend(path: str | PathLike[str]) -> StalenessTrend:
        """Read the audits that `record` has written to a file.

        Returns
        -------
        StalenessTrend
            Its ``plot()`` shows the share of expired values by view over time.
        """
        return history.read(Path(path))

    # -- plots

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share of entities that are at most so old, with the ttl, for each view.

        Parameters
        ----------
        ax
            Where to draw; None: a new figure.
        """
        from featkit.reports import staleness_plots  # noqa: PLC0415 - only plots need it

        return staleness_plots.ages(self, ax)

    def plot_lag(self, ax: Axes | None = None) -> Axes:
        """Draw how far online is behind offline, for each view that was compared.

        Parameters
        ----------
        ax
            Where to draw; None: a new figure.

        Raises
        ------
        InputError
            Nothing was compared.
        """
        from featkit.reports import staleness_plots  # noqa: PLC0415 - only plots need it

        return staleness_plots.lag(self, ax)

    def __str__(self) -> str:
        return "\n".join([self.headline, *_lines(self.table()), *self.remarks()])

    __repr__ = __str__

    def _body(self) -> Markup:
        return staleness_page.fragment_of(self)

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        return f"staleness of {self.target} at {_time(self.now)}: {self.verdict}"

    def table(self) -> list[list[str]]:
        """Tell the views as cells of text, the header first."""
        header = ["view", "verdict", "entities", "newest", "p50", "p95", "oldest", "ttl"]
        header += ["expired", "arrives", "next due"]
        return [header, *(_cells(view, self.now) for view in self.views)]

    def remarks(self) -> list[str]:
        """Say what there is to say about each view."""
        said = []
        for view in self.views:
            said.append(f"{view.view}: {view.reason}")
            said += [f"{view.view}: {note}" for note in view.notes]
            if view.lag is not None:
                said.append(f"{view.view}: online against offline: {view.lag}")
        return said


_NOBODY = pl.DataFrame(
    schema={
        "view": pl.String(),
        "entity": pl.String(),
        "event_timestamp": pl.Datetime("us", "UTC"),
        "ttl": pl.Duration("us"),
    }
)


def _oldest(view: ViewStaleness, n: int) -> pl.DataFrame | None:
    if not view.times.width or n < 1:
        return None
    column = time_column(view.join_keys)
    # ties are broken by the keys, so that the order of the rows does not matter
    known = view.times.filter(pl.col(column).is_not_null())
    if known.height > n:
        known = known.filter(pl.col(column) <= known[column].bottom_k(n).max())
    keys = [_text(pl.col(key), known.schema[key]) for key in view.join_keys]
    entity = pl.concat_str(keys, separator=",") if keys else pl.lit("")
    return known.select(
        pl.lit(view.view).alias("view"),
        entity.alias("entity"),
        pl.col(column).alias("event_timestamp"),
        pl.lit(view.ttl, pl.Duration("us")).alias("ttl"),
    )


def _text(key: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return key.bin.encode("hex") if isinstance(dtype, pl.Binary) else key.cast(pl.String)


def _cells(view: ViewStaleness, now: datetime) -> list[str]:
    ages, cadence = view.ages, view.cadence
    share = view.share_expired
    static = view.level == "static"
    ttl = "static" if static else "none" if view.ttl is None else roughly(view.ttl)
    if not view.described:
        return [view.view, view.verdict, *[""] * 9]
    due = "" if cadence is None else _time(cadence.next).removesuffix(" UTC")
    late = ", overdue" if cadence is not None and cadence.is_overdue(now) else ""
    return [
        view.view,
        view.verdict,
        f"{view.n:,}",
        *("" if age is None else roughly(age) for age in (view.freshness, ages.p50, ages.p95)),
        "" if ages.max is None else roughly(ages.max),
        ttl,
        "" if share is None else f"{share:.1%}{_nulls(view)}",
        "" if cadence is None else str(cadence),
        due + late,
    ]


def _nulls(view: ViewStaleness) -> str:
    """Tell the share of nulls, which do not expire, beside that of expired values."""
    share = view.total("null") / view.total("n")
    return f", {share:.1%} null" if share else ""


def _lines(table: list[list[str]]) -> list[str]:
    header, *rows = table
    left = {"view", "verdict", "arrives", "next due"}
    return aligned.table(header, rows, numbers=[name for name in header if name not in left])


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _by(by: By) -> By:
    if by not in {"feature", "view"}:
        msg = f"by={by!r} is not an option; choose 'feature' or 'view'"
        raise InputError(msg)
    return by
