"""The health of a store as a small widget whose status changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from featkit.widgets.assets import script, style

if TYPE_CHECKING:
    from featkit.clients.health import HealthMonitor

_CHECKS = 60  # that have a bar


class HealthPanel(anywidget.AnyWidget):
    """The status of a monitor, its latency and its last checks; made by `browse` of a monitor."""

    _esm = script("health")
    _css = style("health")
    content = traitlets.Dict().tag(sync=True)

    def __init__(self, monitor: HealthMonitor) -> None:
        self.monitor = monitor
        super().__init__(content=_content(monitor))
        monitor.watch(self.update)

    def update(self) -> None:
        """Show what the monitor knows now."""
        self.content = _content(self.monitor)

    def __repr__(self) -> str:
        return f"<HealthPanel of {self.monitor!r}>"


def _content(monitor: HealthMonitor) -> dict[str, Any]:
    latest = monitor.latest
    quantiles = [f"{name} {seconds * 1000:.0f} ms" for name, seconds in monitor.latency().items()]
    return {
        "status": monitor.status if monitor.running else "stopped",
        "target": latest.target if latest else "",
        "words": ", ".join(quantiles),
        "why": latest.reason if latest else "",
        "checks": [(each.healthy, each.seconds) for each in monitor.history[-_CHECKS:]],
    }
