"""HTML that is made here holds nothing but what was made here."""

import base64
import hashlib
import re

import html5lib
import pytest

from featkit.html import Markup, badge, element, facts, joined, page, table

EVIL = "<img src=x onerror=alert(1)>&\"'</td></script>"


def parsed(html):
    """Read HTML as a browser does, and refuse what it would have to mend."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parseFragment(html)


def test_text_is_escaped_and_markup_is_not():
    inner = element("b", EVIL)
    outer = element("p", inner, EVIL, 7, None)
    (paragraph,) = parsed(outer)
    assert paragraph.find("b").text == EVIL
    assert paragraph.find("b").tail == EVIL + "7"
    assert len(list(paragraph.iter())) == 2


def test_attributes_are_escaped_and_none_is_left_out():
    (span,) = parsed(element("span", attributes={"title": EVIL, "class": None}))
    assert span.attrib == {"title": EVIL}


def test_parts_are_joined_by_text():
    assert joined(["a", None, Markup("<br>"), "b"], " & ") == "a &amp; <br> &amp; b"


def test_table_has_header_body_and_caption():
    html = table(["name", "count"], [[EVIL, 1], [element("i", "x"), 2]], caption=EVIL)
    (found,) = parsed(html)
    assert found.find("caption").text == EVIL
    assert [each.text for each in found.iter("th")] == ["name", "count"]
    cells = list(found.iter("td"))
    assert cells[0].text == EVIL
    assert cells[2].find("i").text == "x"


def test_numbers_stand_to_the_right():
    (found,) = parsed(table(["name", "count"], [["a", 1]], numbers=["count"]))
    assert [each.get("style") for each in found.iter("td")] == [
        "text-align: left",
        "text-align: right",
    ]


def test_a_table_may_be_empty():
    (found,) = parsed(table([], []))
    assert list(found.iter("td")) == list(found.iter("thead")) == []


def test_empty_facts_are_left_out():
    (found,) = parsed(facts({"owner": "", "ttl": "3h", "source": None, "rows": 0}))
    assert [each.text for each in found.iter("b")] == ["ttl", "rows"]


def test_a_badge_says_it_in_words_and_by_a_sign():
    (span,) = parsed(badge("fresh", "good"))
    assert span.text == "✓ fresh"
    assert span.get("class") == "good"


def test_a_page_is_a_whole_document_that_asks_for_nothing():
    html = page(EVIL, element("h1", EVIL), style="p { margin: 0 }")
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)
    assert document.find("head/title").text == EVIL
    assert document.find("body/h1").text == EVIL
    assert not re.search(r"https?://|\bsrc=|\bhref=", html.replace("src=x", ""))
    assert "script-src &#x27;none&#x27;" in html


def test_a_page_allows_its_own_script_and_no_other():
    html = page("t", script="document.title = 'ran';")
    inside = re.search(r'<script type="module">(.*?)</script>', html)[1]
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}&#x27;" in html


@pytest.mark.parametrize("part", ["style", "script"])
def test_code_that_would_end_its_own_element_is_refused(part):
    with pytest.raises(ValueError, match="ends its own element"):
        page("t", **{part: "/* </ScRiPt></STYLE> */"})
