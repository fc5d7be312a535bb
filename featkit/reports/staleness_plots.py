"""The plots of staleness. Each draws on the axes given, or on new ones, and returns them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit import figures
from featkit.durations import roughly
from featkit.errors import InputError
from featkit.staleness.measures import time_column

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from featkit.reports.history import StalenessTrend
    from featkit.reports.staleness import StalenessReport
    from featkit.staleness import ViewStaleness

_POINTS = 400  # of a curve; more cannot be seen
_WIDE = 100.0  # times the shortest age, from which on a logarithmic axis shows more


def ages(report: StalenessReport, ax: Axes | None) -> Axes:
    """Draw, for each view, which share of its entities is at most so old."""
    axes = figures.axes(ax)
    found = {view.view: _ages(view, report.now) for view in report.views}
    known = {view: seconds for view, seconds in found.items() if len(seconds)}
    ttls = {view.view: view.ttl for view in report.views if view.ttl and view.view in known}
    lengths = [float(seconds[-1]) for seconds in known.values()]
    lengths += [ttl.total_seconds() for ttl in ttls.values()]
    name, unit = figures.unit_of_time(max(lengths, default=0.0))
    for (view, seconds), (ink, dash) in zip(known.items(), figures.strokes(), strict=False):
        ttl = ttls.get(view)
        label = figures.label(f"{view} (ttl {roughly(ttl)})" if ttl else f"{view} (no ttl)")
        axes.step(*_curve(seconds / unit), where="post", color=ink, linestyle=dash, label=label)
        if ttl:
            place = ttl.total_seconds() / unit
            axes.axvline(place, color=ink, linestyle=":", linewidth=1.2)
            axes.plot([place], [1.0], marker="v", color=ink, clip_on=False, linestyle="none")
    axes.set_xlabel(f"age of the row ({name}); dotted with a mark: the ttl")
    axes.set_ylabel("share of entities at most so old (%)")
    axes.set_ylim(0, 1)
    axes.set_yticks(np.linspace(0, 1, 5), ["0", "25", "50", "75", "100"])
    axes.set_title(figures.label(f"Row ages, {report.target}, {report.now:%Y-%m-%d %H:%M} UTC"))
    _scale(axes, np.concatenate([*known.values(), np.zeros(0)]) / unit, ttls, unit)
    if known:
        axes.legend(loc="best", fontsize="small")
    else:
        _say(axes, "no view has event timestamps")
    return axes


def _ages(view: ViewStaleness, now: datetime) -> npt.NDArray[Any]:
    """Tell the ages in seconds, in order, without what lies in the future."""
    if not view.times.width or view.level == "view":
        return np.zeros(0)
    times = view.times[time_column(view.join_keys)].drop_nulls()
    lengths = pl.select(pl.lit(now) - times).to_series().dt.total_microseconds().to_numpy() / 1e6
    return np.sort(lengths[lengths >= 0])


def _curve(ordered: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Make the corners of the curve, fewer where there are too many to be seen."""
    ranks = np.unique(np.linspace(0, len(ordered) - 1, _POINTS).round().astype(int))
    places, shares = ordered[ranks], (ranks + 1) / len(ordered)
    return np.append(places[:1], places), np.append(0.0, shares)


def _scale(axes: Axes, places: npt.NDArray[Any], ttls: dict[str, timedelta], unit: float) -> None:
    ends = [ttl.total_seconds() / unit for ttl in ttls.values()]
    above = places[places > 0]
    if len(above) and above.max(initial=max(ends, default=0.0)) > _WIDE * np.quantile(above, 0.01):
        axes.set_xscale("log")
        axes.set_xlabel("age of the row; dotted with a mark: the ttl")
        figures.label_times(axes, unit)
    else:
        axes.set_xlim(left=0)


def lag(report: StalenessReport, ax: Axes | None) -> Axes:
    """Draw, for each view, which share of its entities is at most so far behind."""
    lags = {
        view.view: np.sort(view.lag.lags.dt.total_microseconds().to_numpy() / 1e6)
        for view in report.views
        if view.lag is not None and view.lag.compared
    }
    if not lags:
        msg = (
            "nothing was compared; ask for it with staleness(compare_offline=True), and see the "
            "report's remarks() for what the store cannot tell"
        )
        raise InputError(msg)
    axes = figures.axes(ax)
    name, unit = figures.unit_of_time(max(float(np.abs(each).max()) for each in lags.values()))
    for (view, seconds), (ink, dash) in zip(lags.items(), figures.strokes(), strict=False):
        label = figures.label(f"{view} ({len(seconds):,} entities)")
        axes.step(*_curve(seconds / unit), where="post", color=ink, linestyle=dash, label=label)
    axes.axvline(0, color="0.5", linewidth=0.9)
    if not any(each.any() for each in lags.values()):  # all curves are one step at 0
        _say(axes, "online has the newest rows of all entities")
    axes.set_xlabel(f"newest offline minus online ({name}); right of 0: online is behind")
    axes.set_ylabel("share of entities at most so far behind (%)")
    axes.set_ylim(0, 1.02)
    axes.set_yticks(np.linspace(0, 1, 5), ["0", "25", "50", "75", "100"])
    axes.set_title(f"Online against offline, {report.now:%Y-%m-%d %H:%M} UTC")
    axes.legend(loc="best", fontsize="small")
    return axes


def expired(trend: StalenessTrend, ax: Axes | None) -> Axes:
    """Draw the share of expired values as a strip of shades, for each view over time."""
    views = trend.views
    names, moments = _names(views), views["at"].unique().sort()
    axes = figures.axes(ax, height=1.6 + 0.4 * len(names))
    axes.set_title("Expired values by view")
    if not len(moments):
        _say(axes, "no audits yet")
        return axes
    table = np.full((len(names), len(moments)), np.nan)
    last = views.unique(["view", "at"], keep="last", maintain_order=True)
    rows = last["view"].replace_strict(names, range(len(names)), return_dtype=pl.Int64)
    table[rows.to_numpy(), moments.search_sorted(last["at"]).to_numpy()] = (
        last["share_expired"].fill_null(float("nan")).to_numpy() * 100
    )
    edges: Any = _edges(moments)
    mesh = axes.pcolormesh(
        edges, np.arange(len(names) + 1), table, cmap=figures.SHADES, vmin=0, vmax=100
    )
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label("values expired (%)")
    axes.set_yticks(np.arange(len(names)) + 0.5, list(map(figures.label, names)))
    axes.invert_yaxis()
    axes.set_xlabel("time of the audit (UTC); blank: unknown", loc="left")
    figures.label_dates(axes)
    return axes


def ages_over_time(trend: StalenessTrend, ax: Axes | None) -> Axes:
    """Draw the age that 95 of 100 entities do not exceed, as a share of the ttl, over time."""
    axes = figures.axes(ax)
    views = trend.views.filter(pl.col("ttl") > pl.duration(), pl.col("age_p95").is_not_null())
    share = pl.col("age_p95").dt.total_microseconds() / pl.col("ttl").dt.total_microseconds()
    axes.axhline(100, color="0.5", linewidth=1.2)
    for view, (ink, dash) in zip(_names(views), figures.strokes(), strict=False):
        own = views.filter(pl.col("view") == view).select("at", share.alias("share") * 100)
        times: Any = own["at"].dt.replace_time_zone(None).to_numpy()
        axes.plot(times, own["share"].to_numpy(), color=ink, linestyle=dash, marker=".", label=view)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time of the audit (UTC)", loc="left")
    axes.set_ylabel("95th percentile of row ages (% of the ttl)")
    axes.set_title("Row ages against the ttl (100 %)")
    figures.label_dates(axes)
    if views.height:
        axes.legend(loc="best", fontsize="small")
    else:
        _say(axes, "no audit has ages and a ttl")
    return axes


def _names(views: pl.DataFrame) -> list[str]:
    return views["view"].unique(maintain_order=True).to_list()


def _edges(moments: pl.Series) -> npt.NDArray[Any]:
    """Tell where the strip of each audit begins and ends: half way to the next ones."""
    times = moments.dt.replace_time_zone(None).to_numpy()
    if len(times) == 1:
        half = np.timedelta64(12, "h")
        return np.array([times[0] - half, times[0] + half])
    gaps = np.diff(times)
    middle = times[:-1] + gaps // 2
    return np.concatenate([[times[0] - gaps[0] // 2], middle, [times[-1] + gaps[-1] // 2]])


def _say(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes)
