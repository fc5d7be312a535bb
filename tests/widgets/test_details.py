"""The pane that shows one view in full, in a browser."""

import datetime as dt

import polars as pl
import pytest

from featkit.columns import STATUS, FeatureColumns, Status
from featkit.widgets import samples

NOW = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)


def taken(view, *, age=dt.timedelta(hours=2)):
    """Summarise a sample of four shops, of which one is unknown."""
    present, missing = Status.PRESENT, Status.NOT_FOUND
    statuses = pl.Series([present, present, present, missing], dtype=STATUS)
    names = view.feature_names
    columns = [
        pl.Series("visits", [1, 5, None, None], pl.Int64),
        pl.Series("rating", [1.5, float("nan"), 4.5, None]),
        pl.Series("title", ["a", "b", "a", None]),
    ]
    stamps = pl.Series([NOW - age, NOW - age * 2, None, None], dtype=pl.Datetime("us", "UTC"))
    found = FeatureColumns(
        pl.DataFrame(columns), dict.fromkeys(names, statuses), dict.fromkeys(names, stamps)
    )
    keys = pl.DataFrame({"shop": [1, 2, 3, 4]})
    return {
        "sample": samples.summary(view, keys, found),
        "freshness": samples.freshness(view, found, NOW),
    }


def test_nothing_chosen_says_what_to_do(details):
    assert details("").texts(".fk-details") == ["Choose a view to see what is in it."]


def test_a_view_tells_all_that_is_known(details):
    shown = details()
    assert shown.texts("h2") == ["shops"]
    facts = dict(zip(shown.texts("dt"), shown.texts("dd"), strict=True))
    assert facts.pop("schema version")
    assert facts == {
        "join keys": "shop (int64)",
        "ttl": "1d",
        "event timestamp": "at",
        "served": "online and offline",
        "owner": "retail",
        "tags": "gold, team=blue",
        "source": "warehouse.shops_daily",
    }
    rows = [row.inner_text().split("\t") for row in shown.find("tbody tr").all()]
    assert rows[0] == ["visits", "int64", "how many came"]
    assert rows[1][2].split("\n") == ["mean of the stars", "unit=stars"]
    assert shown.texts("pre")[0].splitlines()[1] == '    "shops:visits",'


def test_lineage_goes_from_source_to_service(details):
    drawn = details().find(".fk-lineage svg").first
    assert drawn.get_attribute("aria-label") == (
        "Lineage: source warehouse.shops_daily → feature view shops → feature service churn"
    )
    assert drawn.locator(".fk-node").count() == 3
    assert drawn.locator(".fk-line").count() == 2
    computed = details("pairs").find(".fk-lineage svg").first
    assert (
        computed.get_attribute("aria-label") == "Lineage: feature view shops → feature view pairs"
    )


def test_a_view_without_anything_is_shown_too(details):
    shown = details("bare")
    assert shown.texts("h2") == ["bare"]
    assert "The store names no features of it." in shown.texts(".fk-muted")


def test_values_are_asked_for_by_a_click(details):
    shown = details()
    assert "Nothing is read before you ask." in shown.texts(".fk-muted")
    shown.page.get_by_role("button", name="Sample values").click()
    assert shown.page.evaluate("() => window.sent") == [{"kind": "sample", "view": "shops"}]
    assert details(live=False).find(".fk-ask").count() == 0


def test_waiting_and_failing_are_told(details):
    assert details(changes={"sample": {"state": "asking"}}).texts("[role=status]") == [
        "Asking the store …"
    ]
    failed = details(changes={"sample": {"state": "failed", "reason": "it is down"}})
    assert failed.texts(".fk-bad") == ["it is down"]
    assert failed.page.get_by_role("button", name="Sample values").is_visible()


def test_a_sample_has_bars_ranges_nulls_and_rows(details, catalogue):
    shown = details(changes=taken(catalogue.views[0]))
    assert "Sample of 4 entities" in shown.texts(".fk-muted")
    figures = [figure.inner_text().split("\n") for figure in shown.find("figure").all()]
    assert figures == [
        ["visits", "1 to 5", "25% null, 25% not found"],
        ["rating", "1.5 to 4.5", "25% not found"],
        ["title", "2 distinct", "25% not found"],
    ]
    bars = shown.find("figure").nth(2).locator("svg").first.get_attribute("aria-label")
    assert bars == "title: a: 2; b: 1"
    assert shown.find("figure").first.locator(".fk-hist").count() == 12
    rows = [
        row.inner_text().split("\t") for row in shown.find("[aria-label=Sample] tbody tr").all()
    ]
    assert rows == [
        ["1", "1", "1.5", "a"],
        ["2", "5", "nan", "b"],
        ["3", "null", "4.5", "a"],
        ["4", "null", "null", "null"],
    ]


@pytest.mark.parametrize(
    ("age", "tone", "words"),
    [
        (
            dt.timedelta(hours=24),
            "good",
            "✓ Fresh: newest of the sample 2024-04-30 12:00 UTC, 1d old, ttl 1d",
        ),
        (
            dt.timedelta(hours=25),
            "bad",
            "✗ Stale: newest of the sample 2024-04-30 11:00 UTC, 1d1h old, ttl 1d",
        ),
        (
            -dt.timedelta(hours=1),
            "warn",
            "! In the future: newest of the sample 2024-05-01 14:00 UTC, after the store's now",
        ),
    ],
)
def test_freshness_is_told_in_words_and_colour(details, catalogue, age, tone, words):
    shown = details(changes=taken(catalogue.views[0], age=age))
    assert shown.texts(f".fk-fresh.fk-{tone}") == [words]


def test_a_new_view_takes_the_place_of_the_old(details):
    shown = details()
    shown.page.evaluate("() => window.model.set('view', {})")
    assert shown.texts(".fk-details") == ["Choose a view to see what is in it."]


@pytest.mark.parametrize("theme", ["true", "false"], ids=["light", "dark"])
def test_nothing_is_wrong_for_who_sees_less(details, catalogue, theme):
    scheme = "light" if theme == "true" else "dark"
    for age in (1, 48):
        shown = details(
            changes=taken(catalogue.views[0], age=dt.timedelta(hours=age)),
            theme=theme,
            scheme=scheme,
            height=1200,
        )
        assert shown.accessible() == []
    failed = details(changes={"sample": {"state": "failed", "reason": "down"}}, theme=theme)
    assert failed.accessible() == []
