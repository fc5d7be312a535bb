"""Whether a store can be used right now, and how that changes."""

from __future__ import annotations

import statistics
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from featkit.durations import format_duration
from featkit.html import badge, table
from featkit.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    import polars as pl

    from featkit.html import Markup
    from featkit.widgets.health import HealthPanel

Problem = Literal["", "unreachable", "unauthorized", "refused", "unreadable"]

HealthListener: TypeAlias = "Callable[[HealthReport | None, HealthReport], object]"
"""Called with the report before, None at first, and the new one."""

_REMEMBERED = 1000  # reports that a monitor keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One thing that was tried.

    Attributes
    ----------
    name
        What was asked: the feature server, the registry.
    seconds
        How long it took.
    found
        What was found, in words; empty where there is a problem.
    problem
        ``""``, ``"unreachable"``, ``"unauthorized"``, ``"refused"`` or ``"unreadable"``.
    reason
        The problem in words.
    """

    name: str
    seconds: float
    found: str = ""
    problem: Problem = ""
    reason: str = ""

    def __str__(self) -> str:
        words = f"{self.problem}: {self.reason}" if self.problem else f"ok, {self.found}"
        return f"{self.name} ({self.seconds * 1000:.0f} ms): {words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport(Report):
    """What a health check found.

    Attributes
    ----------
    target
        Which store.
    at
        When, aware (UTC).
    checks
        What was tried, in order.
    """

    _title = "Health"

    target: str
    at: datetime
    checks: tuple[HealthCheck, ...]

    @property
    def healthy(self) -> bool:
        """Whether every check went well."""
        return not any(check.problem for check in self.checks)

    @property
    def reachable(self) -> bool:
        """Whether every part of the store answered, be it with a refusal."""
        return not any(check.problem == "unreachable" for check in self.checks)

    @property
    def authorized(self) -> bool:
        """Whether no part of the store refused the credentials."""
        return not any(check.problem == "unauthorized" for check in self.checks)

    @property
    def seconds(self) -> float:
        """How long the checks took together."""
        return sum(check.seconds for check in self.checks)

    @property
    def reason(self) -> str:
        """Why the store is not healthy; empty where it is."""
        return next((str(check) for check in self.checks if check.problem), "")

    def __str__(self) -> str:
        verdict = "healthy" if self.healthy else "NOT healthy"
        lines = [f"{self.target} is {verdict} ({self.at:%Y-%m-%d %H:%M:%S} UTC)"]
        return "\n".join([*lines, *(f"  {check}" for check in self.checks)])

    __repr__ = __str__

    def to_polars(self) -> pl.DataFrame:
        """Return one row per check: name, problem, seconds, found, reason."""
        import polars as pl  # noqa: PLC0415 - heavy

        names = ("name", "problem", "seconds", "found", "reason")
        schema = {name: pl.Float64 if name == "seconds" else pl.String for name in names}
        rows = [[getattr(check, name) for name in names] for check in self.checks]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _content(self) -> dict[str, object]:
        return {
            "target": self.target,
            "at": self.at,
            "healthy": self.healthy,
            "seconds": self.seconds,
            "checks": self.checks,
        }

    def _body(self) -> Markup:
        rows = [
            [
                badge(check.problem or "ok", "bad" if check.problem else "good"),
                check.name,
                f"{check.seconds * 1000:.0f} ms",
                check.reason if check.problem else check.found,
            ]
            for check in self.checks
        ]
        head = str(self).partition("\n")[0]
        return table(["", "checked", "took", "found"], rows, caption=head, numbers=["took"])


class HealthMonitor:
    """Checks a store again and again in the background, until it is stopped or forgotten.

    Made by `featkit.FeatureStoreClient.monitor_health`. While it knows that the store is down, the
    client's calls fail at once instead of waiting for the store.

    Parameters
    ----------
    check
        Makes a report.
    interval
        Time between two checks.
    on_change
        Called with the old report (None the first time) and the new one whenever the store
        becomes healthy or ceases to be.
    """

    def __init__(
        self,
        check: Callable[[], HealthReport],
        interval: timedelta,
        on_change: HealthListener | None = None,
    ) -> None:
        self.interval = interval
        self._on_change = on_change
        self._reports: deque[HealthReport] = deque(maxlen=_REMEMBERED)
        self._changed = threading.Condition()
        self._watchers: list[Callable[[], None]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=_watch,
            args=(weakref.ref(self), check, interval, self._stopped),
            name="featkit-health",
            daemon=True,
        )
        self._thread.start()

    @property
    def history(self) -> tuple[HealthReport, ...]:
        """The last 1,000 reports, the oldest first."""
        return tuple(self._reports)

    @property
    def latest(self) -> HealthReport | None:
        """The newest report; None before the first."""
        return self._reports[-1] if self._reports else None

    @property
    def status(self) -> Literal["unknown", "healthy", "down"]:
        """What the newest report says."""
        latest = self.latest
        if latest is None:
            return "unknown"
        return "healthy" if latest.healthy else "down"

    @property
    def running(self) -> bool:
        """Whether it still checks; a child of this process has no thread that does."""
        return self._thread.is_alive() and not self._stopped.is_set()

    def latency(self) -> dict[str, float]:
        """Return quantiles of the seconds that healthy checks took: ``p50``, ``p95``, ``max``."""
        seconds = [report.seconds for report in self.history if report.healthy]
        if not seconds:
            return {}
        cuts = statistics.quantiles([*seconds, seconds[-1]], n=20, method="inclusive")
        return {"p50": cuts[9], "p95": cuts[18], "max": max(seconds)}

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the store is healthy; False when `timeout` seconds have passed without."""
        with self._changed:
            return self._changed.wait_for(lambda: self.status == "healthy", timeout)

    def watch(self, look: Callable[[], None]) -> None:
        """Have a function called after each check, and when the checks end."""
        self._watchers.append(look)

    def browse(self) -> HealthPanel:
        """Show the status as a small widget that follows it.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> with store.monitor_health("10s") as monitor:
        ...     monitor.browse().content["target"] if monitor.wait(timeout=10) else None
        'demo:flights'
        """
        from featkit.widgets.health import HealthPanel  # noqa: PLC0415 - ipywidgets is heavy

        return HealthPanel(self)

    def stop(self) -> None:
        """End the checks; the history stays."""
        self._stopped.set()
        self._tell()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def take(self, report: HealthReport) -> None:
        """Add a report to the history, and tell who wants to know of a change."""
        before = self.latest
        with self._changed:
            self._reports.append(report)
            self._changed.notify_all()
        self._tell()
        changed = before is None or before.healthy != report.healthy
        if changed and self._on_change is not None:
            self._on_change(before, report)

    def _tell(self) -> None:
        for look in self._watchers:
            look()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        every = format_duration(self.interval)
        latest = self.latest
        target = latest.target if latest else "a store"
        quantiles = ", ".join(f"{name} {value:.3f} s" for name, value in self.latency().items())
        state = self.status if self.running else f"stopped, was {self.status}"
        known = f"; {quantiles}" if quantiles else ""
        return f"<HealthMonitor of {target} every {every}: {state}{known}>"


def _watch(
    monitor: weakref.ref[HealthMonitor],
    check: Callable[[], HealthReport],
    interval: timedelta,
    stopped: threading.Event,
) -> None:
    """Check until the monitor is stopped, or nobody holds it any more."""
    while not stopped.is_set():
        report = check()
        held = monitor()
        if held is None:
            return
        held.take(report)
        del held
        stopped.wait(interval.total_seconds())
