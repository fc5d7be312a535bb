"""The panels of staleness and of health, in a browser and in Python."""

import datetime as dt
import json
import threading

import pytest

import featkit
from featkit.clients.health import HealthCheck, HealthMonitor, HealthReport
from featkit.errors import StoreUnavailable
from featkit.widgets.staleness import StalenessPanel

NOW = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
START = {"verdicts": [], "sort": "-oldest", "current": "", "asking": False, "live": True}


@pytest.fixture(scope="module")
def report():
    return featkit.connect("demo:flights").staleness()


@pytest.fixture
def panel(mount, report):
    """Put the panel of the demo's report on a bare page."""

    def mounted(*, state=None, changes=None, **options):
        content = json.loads(json.dumps(StalenessPanel(report).content)) | (changes or {})
        return mount("staleness", {**START, **(state or {}), "content": content}, **options)

    return mounted


def views_of(shown):
    return shown.texts("tbody .fk-link")


def test_the_oldest_comes_first(panel):
    shown = panel()
    assert views_of(shown)[:2] == ["tail_history", "route_history"]
    assert views_of(shown)[-1] == "aircraft"  # static: no age
    row = shown.find("tbody tr").first.locator("td").all_inner_texts()
    assert row[:5] == ["tail_history", "✗ error", "0s", "364d", "30d"]
    assert row[5] == "951 of 4,037 entities older than 30d; the oldest is 364d6h old"


def test_verdicts_filter_with_counts(panel):
    shown = panel()
    assert shown.texts(".fk-chip") == ["✗ error 4", "? unknown 1"]
    shown.find(".fk-chip").nth(1).click()
    assert views_of(shown) == ["aircraft"]
    assert shown.saved("verdicts") == ["unknown"]
    shown.find(".fk-chip").nth(1).click()
    assert len(views_of(shown)) == 5


def test_headings_sort_both_ways(panel):
    shown = panel()
    heading = shown.find("[data-key='sort view']")
    heading.click()
    assert views_of(shown)[0] == "tail_history"
    heading.click()
    assert views_of(shown)[0] == "aircraft"
    assert shown.saved("sort") == "view"


def test_a_click_shows_how_ages_are_spread(panel):
    shown = panel()
    shown.page.get_by_role("button", name="tail_history").click()
    assert shown.texts("h2") == ["tail_history · all 4,037 entities of the view"]
    assert shown.find(".fk-curve").count() == 1
    assert shown.find(".fk-limit").count() == 2
    shown.page.get_by_role("button", name="aircraft").click()
    assert "No age of it is known." in shown.texts(".fk-muted")


def test_refresh_is_asked_of_the_kernel(panel):
    shown = panel()
    shown.page.get_by_role("button", name="Refresh").click()
    assert shown.page.evaluate("() => window.sent") == [{"kind": "refresh"}]
    assert panel(state={"live": False}).page.get_by_role("button", name="Refresh").count() == 0
    asking = panel(state={"asking": True}).page.get_by_role("button", name="Asking the store")
    assert asking.is_disabled()


def test_what_a_report_says_is_text(panel):
    evil = "<img src=x onerror=window.hacked=1>"
    view = {
        "view": evil,
        "verdict": "warn",
        "reason": evil,
        "population": evil,
        "newest": "1h",
        "oldest": "2h",
        "ttl": "3h",
        "limits": [],
        "quantiles": [1.0, 2.0],
        "seconds": {"newest": 3600, "oldest": 7200, "ttl": 10800},
    }
    shown = panel(
        changes={"headline": evil, "problem": evil, "views": [view]}, state={"current": evil}
    )
    assert views_of(shown) == [evil]
    assert shown.page.evaluate("() => document.images.length + (window.hacked ?? 0)") == 0


@pytest.mark.parametrize("theme", ["true", "false"], ids=["light", "dark"])
def test_nothing_is_wrong_for_who_sees_less(panel, theme):
    shown = panel(
        state={"current": "tail_history", "verdicts": ["error", "unknown"]},
        changes={"problem": "it is down"},
        theme=theme,
        scheme="light" if theme == "true" else "dark",
    )
    assert shown.accessible() == []
    shown.shot(f"staleness-{'light' if theme == 'true' else 'dark'}")


def test_a_refresh_takes_the_new_report_or_keeps_the_old(report):
    answers = [report, StoreUnavailable("it is down")]

    def again():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    panel = report.browse(refresh=again)
    panel.refresh()
    assert panel.content["problem"] == ""
    done = threading.Event()
    panel.observe(lambda change: change["new"] or done.set(), "asking")
    panel.answer({"kind": "refresh"})
    assert done.wait(10)
    assert "it is down" in panel.content["problem"]
    assert len(panel.content["views"]) == 5
    panel.answer({"kind": "else"})


def test_a_panel_without_a_way_to_refresh_has_none(report):
    panel = report.browse()
    assert not panel.live
    panel.refresh()
    assert panel._repr_mimebundle_() is not None


# -- health ----------------------------------------------------------------------------------------


def health(*, well, why="the server <b>does not</b> answer"):
    check = HealthCheck(name="server", seconds=0.02, found="answers")
    if not well:
        check = HealthCheck(name="server", seconds=1.0, problem="unreachable", reason=why)
    return HealthReport(target="feast", at=NOW, checks=(check,))


@pytest.fixture
def monitor():
    """Make a monitor that checks once, and then only takes what it is given."""
    with HealthMonitor(lambda: health(well=True), dt.timedelta(hours=1)) as made:
        assert made.wait(10)
        yield made


def test_the_panel_follows_the_monitor(monitor):
    panel = monitor.browse()
    assert (panel.content["status"], panel.content["target"]) == ("healthy", "feast")
    monitor.take(health(well=False))
    assert panel.content["status"] == "down"
    assert [well for well, _ in panel.content["checks"]] == [True, False]
    monitor.stop()
    assert panel.content["status"] == "stopped"


@pytest.mark.parametrize("theme", ["true", "false"], ids=["light", "dark"])
def test_health_is_words_colours_and_bars(mount, monitor, theme):
    panel = monitor.browse()
    scheme = "light" if theme == "true" else "dark"
    shown = mount(
        "health", {"content": json.loads(json.dumps(panel.content))}, theme=theme, scheme=scheme
    )
    assert shown.texts("[role=status]") == ["✓ healthy feast"]
    assert shown.accessible() == []
    monitor.take(health(well=False))
    told = json.loads(json.dumps(panel.content))
    shown.page.evaluate("content => window.model.set('content', content)", told)
    assert shown.texts("[role=status]") == ["✗ down feast"]
    assert shown.texts(".fk-bad")[-1].endswith("the server <b>does not</b> answer")
    assert shown.find("rect").count() == 2
    assert shown.accessible() == []
