"""Health: what a report says, what a monitor remembers, and what a client does while it is down."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from datetime import UTC, datetime, timedelta

import pytest

import featkit
from featkit.clients.health import HealthCheck, HealthMonitor, HealthReport
from featkit.errors import DurationError, StoreUnavailable
from tests.faults.proxy import FaultProxy
from tests.faults.upstream import PROJECT, VIEW, Upstream, truth

SOON = timedelta(milliseconds=5)
PATIENCE = 10.0  # seconds


def report(problem="", seconds=0.25):
    checks = (HealthCheck(name="server", seconds=seconds, problem=problem, reason=problem),)
    return HealthReport(target="here", at=datetime(2026, 1, 1, tzinfo=UTC), checks=checks)


class Scripted:
    """Reports in turn; the last one for ever. `done` is set once all were given."""

    def __init__(self, *reports):
        self.reports = list(reports)
        self.done = threading.Event()

    def __call__(self):
        if len(self.reports) == 1:
            self.done.set()
            return self.reports[0]
        return self.reports.pop(0)


@pytest.fixture
def watch():
    monitors = []

    def make(*reports, **options):
        script = Scripted(*reports)
        monitors.append(HealthMonitor(script, SOON, **options))
        return monitors[-1], script

    yield make
    for monitor in monitors:
        monitor.stop()


# -- reports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "reachable", "authorized"),
    [("", True, True), ("unreachable", False, True), ("unauthorized", True, False)],
)
def test_a_report_tells_what_is_wrong(problem, reachable, authorized):
    told = report(problem)
    assert told.healthy == (not problem)
    assert (told.reachable, told.authorized) == (reachable, authorized)
    assert (problem in told.reason) if problem else (told.reason == "")


# -- the monitor -----------------------------------------------------------------------------------


def test_a_report_is_json(tmp_path):
    text = report("unreachable").to_json(tmp_path / "new" / "health.json")
    assert (tmp_path / "new" / "health.json").read_text("utf-8") == text
    assert json.loads(text) == {
        "target": "here",
        "at": "2026-01-01T00:00:00Z",
        "healthy": False,
        "seconds": 0.25,
        "checks": [
            {
                "name": "server",
                "seconds": 0.25,
                "found": "",
                "problem": "unreachable",
                "reason": "unreachable",
            }
        ],
    }


def test_changes_are_told_and_the_history_is_kept(watch):
    good, bad = report(), report("unreachable")
    changes = []
    monitor, script = watch(
        good, good, bad, bad, good, on_change=lambda *pair: changes.append(pair)
    )
    assert script.done.wait(PATIENCE)
    monitor.stop()
    assert changes == [(None, good), (good, bad), (bad, good)]
    assert monitor.history[:5] == (good, good, bad, bad, good)
    assert monitor.status == "healthy"
    assert not monitor.running


def test_latency_is_that_of_healthy_checks(watch):
    reports = [report(seconds=seconds / 100) for seconds in range(1, 101)]
    monitor, script = watch(report("unreachable", seconds=60.0), *reports)
    assert script.done.wait(PATIENCE)
    monitor.stop()
    quantiles = monitor.latency()
    assert quantiles["max"] == 1.0
    assert 0.4 < quantiles["p50"] < quantiles["p95"] <= 1.0


def test_it_is_waited_for_until_it_is_up_or_the_time_is(watch):
    monitor, _ = watch(report("unreachable"), report("unreachable"), report())
    assert monitor.wait(PATIENCE)
    down, _ = watch(report("unreachable"))
    assert not down.wait(0.05)
    assert down.status == "down"


def test_a_monitor_that_nobody_holds_ends():
    script = Scripted(report())
    monitor = HealthMonitor(script, SOON)
    thread, gone = monitor._thread, weakref.ref(monitor)  # noqa: SLF001 - nobody else knows it
    del monitor
    gc.collect()
    thread.join(PATIENCE)
    assert gone() is None
    assert not thread.is_alive()


def test_a_monitor_whose_thread_is_gone_does_not_run(watch):
    monitor, script = watch(report())
    assert monitor.running
    script.reports = []  # so that the next check ends the thread, as a fork does in the child
    threading.excepthook, told = (lambda _: None), threading.excepthook
    monitor._thread.join(PATIENCE)  # noqa: SLF001 - as above
    threading.excepthook = told
    assert not monitor.running


# -- the client ------------------------------------------------------------------------------------


@pytest.fixture
def proxy():
    with Upstream() as upstream, FaultProxy(upstream.url) as proxy:
        yield proxy


def connected(proxy, **options):
    return featkit.connect(
        f"feast+{proxy.url}", registry_url=proxy.url, project=PROJECT, timeout="20s", **options
    )


def test_calls_fail_at_once_while_the_store_is_known_to_be_down(proxy):
    with connected(proxy) as client, client.monitor_health("20ms") as monitor:
        assert monitor.wait(PATIENCE)
        proxy.down(drop=True)
        _until(lambda: monitor.status == "down")
        tried = len(proxy.seen)
        with pytest.raises(StoreUnavailable, match=r"known to be down .*wait="):
            client.lookup([1], [f"{VIEW}:trips"])
        assert len(proxy.seen) == tried
        proxy.up()
        assert monitor.wait(PATIENCE)
        assert client.lookup([1], [f"{VIEW}:trips"]).values["trips"].item() == truth("trips", 1)


def test_calls_of_a_client_that_waits_ride_out_what_the_monitor_sees(proxy):
    with connected(proxy, wait="15s") as client:
        monitor = client.monitor_health("1h")
        assert monitor.wait(PATIENCE)
        monitor.take(report("unreachable"))
        proxy.down(drop=True)
        threading.Timer(1.2, proxy.up).start()
        assert monitor.status == "down"
        assert client.lookup([1], [f"{VIEW}:trips"]).values["trips"].item() == truth("trips", 1)


def test_an_interval_must_be_a_duration(proxy):
    with connected(proxy) as client, pytest.raises(DurationError, match="interval"):
        client.monitor_health("soon")


def _until(true):
    ends = datetime.now(UTC) + timedelta(seconds=PATIENCE)
    while not true():
        assert datetime.now(UTC) < ends
        threading.Event().wait(0.01)
