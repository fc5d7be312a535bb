"""What a lookup did, in numbers, as text and as HTML."""

import re

import html5lib

from featkit.columns import Status
from featkit.summary import LookupSummary, ViewSummary


def view(name="shops", **changes):
    facts = {
        "rows": 1200,
        "null_keys": 200,
        "unique": 50,
        "cached": 10,
        "fetched": 40,
        "calls": 2,
        "statuses": {Status.PRESENT: 900, Status.NOT_FOUND: 100},
    }
    return ViewSummary(view=name, **{**facts, **changes})


SUMMARY = LookupSummary(
    views=(
        view(),
        view("cities", null_keys=0, calls=1, statuses={Status.PRESENT: 1100, Status.NULL: 100}),
    ),
    rows=1200,
    seconds=1.234,
)


def test_sums_are_those_of_the_views():
    assert SUMMARY.keys == 1000 + 1200
    assert (SUMMARY.unique, SUMMARY.cached, SUMMARY.fetched, SUMMARY.calls) == (100, 20, 80, 3)
    assert SUMMARY.statuses == {
        Status.PRESENT: 2000,
        Status.NOT_FOUND: 100,
        Status.NULL: 100,
    }


def test_text_is_a_headline_and_a_table():
    assert str(SUMMARY) == repr(SUMMARY)
    headline, header, *rows = str(SUMMARY).splitlines()
    assert re.findall(r"[\d,.]*\d", headline) == ["1,200", "100", "20", "80", "3", "1.23"]
    assert header.split()[-3:] == ["NOT_FOUND", "NULL", "PRESENT"]
    assert [row.split() for row in rows] == [
        ["shops", "200", "50", "100", "0", "900"],
        ["cities", "0", "50", "0", "100", "1,100"],
    ]


def test_one_is_singular():
    single = view(rows=1, null_keys=0, unique=1, cached=0, fetched=1, calls=1)
    text = str(LookupSummary(views=(single,), rows=1))
    assert re.match(r"1 row, 1 distinct key: 0 .*, 1 fetched in 1 call, 0\.00 s", text)


def test_nothing_asked_is_a_summary_too():
    empty = LookupSummary(views=(), rows=0)
    assert (empty.keys, empty.calls, empty.statuses) == (0, 0, {})
    assert str(empty).startswith("0 rows, 0 distinct keys")
    assert empty._repr_html_().startswith("<table>")


def test_statuses_that_never_came_have_no_column():
    text = str(LookupSummary(views=(view(statuses={Status.PRESENT: 1, Status.STALE: 0}),), rows=1))
    assert "STALE" not in text


def test_html_is_the_same_table_with_names_escaped():
    evil = "<img src=x onerror=alert(1)>&\"'"
    html = LookupSummary(views=(view(evil),), rows=1200)._repr_html_()
    (found,) = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parseFragment(html)
    assert [each.text for each in found.iter("th")][-2:] == ["NOT_FOUND", "PRESENT"]
    assert [each.text for each in found.iter("td")] == [evil, "200", "50", "100", "900"]
    assert found.find("caption").text.startswith("1,200 rows")
    assert "img" not in {each.tag for each in found.iter()}
