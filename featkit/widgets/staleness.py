"""A staleness report to work with: filter by verdict, sort by age, see how ages are spread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from featkit.durations import format_duration
from featkit.errors import FeatkitError
from featkit.staleness.measures import time_column
from featkit.widgets.assets import script, style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from featkit.reports.staleness import StalenessReport
    from featkit.staleness.measures import ViewStaleness

_POINTS = 60  # of a curve


class StalenessPanel(anywidget.AnyWidget):
    """The views of a report in a table, and the ages of one of them; made by `browse` of a report.

    Attributes
    ----------
    report : StalenessReport
        What it shows.
    verdicts
        Those to show; none: all.
    sort
        ``view verdict newest oldest ttl``, with a ``-`` before it from the end.
    current
        Name of the view whose ages are shown.
    """

    _esm = script("staleness")
    _css = style("staleness")
    content = traitlets.Dict().tag(sync=True)
    verdicts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sort = traitlets.Unicode("-oldest").tag(sync=True)
    current = traitlets.Unicode().tag(sync=True)
    asking = traitlets.Bool(default_value=False).tag(sync=True)
    live = traitlets.Bool(default_value=False).tag(sync=True)

    def __init__(
        self, report: StalenessReport, refresh: Callable[[], StalenessReport] | None = None
    ) -> None:
        self.report = report
        self._again = refresh
        super().__init__(content=_content(report), live=refresh is not None)
        self.on_msg(lambda _, message, __: self.answer(message))

    def refresh(self) -> None:
        """Make the report anew; when that fails, keep what is there and say so."""
        if self._again is None:
            return
        self.asking = True
        try:
            self.report = self._again()
        except FeatkitError as error:
            self.content = {**self.content, "problem": f"This is the report from before: {error}"}
        else:
            self.content = _content(self.report)
        finally:
            self.asking = False

    def answer(self, message: Mapping[str, Any]) -> None:
        """Do what JavaScript asks for, in a thread, so that the kernel stays free."""
        if message.get("kind") == "refresh":
            threading.Thread(target=self.refresh, name="featkit-staleness", daemon=True).start()

    def __repr__(self) -> str:
        return f"<StalenessPanel: {self.report.headline}>"

    def _repr_mimebundle_(self, **options: Any) -> Any:  # noqa: ANN401 - IPython's
        bundle = super()._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:  # for readers without a kernel
            data["text/plain"] = repr(self)
            data["text/html"] = self.report._repr_html_()
        return bundle


def _content(report: StalenessReport) -> dict[str, Any]:
    return {
        "headline": report.headline,
        "problem": "",
        "views": [_view(view, report.now) for view in report.views],
    }


def _view(view: ViewStaleness, now: datetime) -> dict[str, Any]:
    limits = view.thresholds
    marks = [("warn", limits.warn_after, "warn"), ("error", limits.error_after, "bad")]
    return {
        "view": view.view,
        "verdict": view.verdict,
        "reason": view.reason,
        "population": view.population,
        "newest": _age(view.freshness),
        "oldest": _age(view.ages.max),
        "ttl": "" if view.ttl is None else format_duration(view.ttl),
        "seconds": {
            "newest": _seconds(view.freshness),
            "oldest": _seconds(view.ages.max),
            "ttl": _seconds(view.ttl),
        },
        "limits": [
            (name, limit.total_seconds(), tone) for name, limit, tone in marks if limit is not None
        ],
        "quantiles": _quantiles(view, now),
    }


def _quantiles(view: ViewStaleness, now: datetime) -> list[float]:
    """Return ages, in seconds, at even steps through the entities."""
    name = time_column(view.join_keys)
    if name not in view.times.columns:
        return []
    ages = (now - view.times[name].drop_nulls()).dt.total_seconds().sort()
    if ages.is_empty():
        return []
    last = len(ages) - 1
    return [float(ages[round(last * point / _POINTS)]) for point in range(_POINTS + 1)]


def _seconds(age: timedelta | None) -> float | None:
    return None if age is None else age.total_seconds()


def _age(age: timedelta | None) -> str:
    if age is None:
        return ""
    whole = age - (age % type(age)(seconds=1))
    return format_duration(whole) if whole < type(age)(days=2) else f"{whole.days:,}d"
