"""The report as HTML: valid, escaped, legible in light and in dark, and in need of nothing."""

import re
from datetime import UTC, datetime, timedelta

import html5lib
import polars as pl
import pytest

import featkit
from featkit.html import STYLE
from featkit.testing import MemoryStore, described

SVG = "{http://www.w3.org/2000/svg}"
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def document(html):
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(html)


def words(element):
    return " ".join(" ".join(element.itertext()).split())


@pytest.mark.parametrize("kind", ["report", "evil"])
def test_page_and_fragment_are_valid(kind, request):
    report = request.getfixturevalue(kind)
    document(report.to_html())
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    parser.parseFragment(report._repr_html_())


def test_page_says_everything(report):
    body = document(report.to_html()).find("body")
    text = words(body)
    for view in report.views:
        assert view.view in text
        assert view.reason in text
    assert "2 of 4 behind, by 2h at most" in text
    assert "the store gives none" not in text
    rows = body.findall(".//table")
    header = [words(cell) for cell in rows[0].iter("th")]
    assert header[:4] == ["view", "verdict", "entities", "newest"]
    assert words(body.findall("details")[2].find("summary")) == "old ✗ error"
    oldest = [words(row) for row in rows[-1].iter("tr")][1]
    assert oldest == "old 2 2024-04-29 10:00:00 UTC 2d2h"


def test_verdicts_are_told_by_words_and_signs_not_by_colour_alone(report):
    body = document(report.to_html()).find("body")
    badges = {words(each): each.get("class") for each in body.iter("span")}
    assert badges == {
        "✓ pass": "good",
        "! warn": "warn",
        "✗ error": "bad",
        "✗ failed": "bad",
        "– unknown": "quiet",  # noqa: RUF001 - a dash
    }


def test_what_needs_a_look_is_open(report):
    body = document(report.to_html()).find("body")
    opened = {
        words(each.find("summary")).split()[0]: "open" in each.attrib
        for each in body.findall("details")
    }
    assert opened == {
        "good": False,
        "late": True,
        "old": True,
        "static": False,
        "lost": True,
        "endless": False,
    }


def test_names_that_mean_harm_stay_text(evil):
    for html in (evil.to_html(), evil._repr_html_()):
        assert "<img" not in html
        assert "<script" not in html
        assert "onerror" not in re.sub(r">[^<]*<", "><", html)  # in no tag
        assert "\0" not in html
        html.encode()  # no lone surrogates
    body = document(evil.to_html()).find("body")
    assert "<img src=x onerror=alert(1)>&\"'</script>" in words(body)


def test_page_asks_nobody_for_anything(report):
    html = report.to_html()
    assert not re.search(r"(?:https?:)?//|\bsrc=|\bhref=|@import|url\(", html)
    assert "default-src &#x27;none&#x27;" in html
    assert "<script" not in html


def test_page_is_written_as_it_is_returned(report, tmp_path):
    path = tmp_path / "pages" / "staleness.html"
    assert report.to_html(path) == path.read_text("utf-8")


def test_ages_are_drawn_with_words_for_who_cannot_see_them(report):
    drawings = list(document(report.to_html()).find("body").iter(f"{SVG}svg"))
    labels = [each.get("aria-label") for each in drawings]
    assert labels[2] == (
        "ages from 1h to 2d2h, half at most 1d6h; the dashed line is the ttl of 1d"
    )
    assert labels[3] == "ages from 7h to 8h, half at most 7h; there is no ttl"
    assert all(each.get("role") == "img" for each in drawings)
    numbers = [float(line.get("x2")) for line in drawings[2].iter(f"{SVG}line")]
    assert min(numbers) >= 20
    assert max(numbers) <= 660


def test_ages_of_nought_can_be_drawn():
    frame = pl.DataFrame({"shop": [1], "at": [NOON], "x": 1})
    view = described(frame, name="shops", join_keys="shop", timestamp="at", ttl=timedelta(0))
    html = featkit.connect(MemoryStore([view]), now=NOON).staleness().to_html()
    assert "ages from 0s to 0s" in html


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("name", ["fg", "muted", "good", "warn", "bad"])
def test_contrast_is_enough_in_both_themes(name, theme):
    pairs = dict(re.findall(r"--(\w+): light-dark\((#\w+, #\w+)\)", STYLE))
    ink, paper = (luminance(pairs[each].split(", ")[theme]) for each in (name, "bg"))
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5


def luminance(colour):
    """Compute the relative luminance of WCAG 2."""
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
