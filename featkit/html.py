"""HTML that needs nothing else: elements, tables and pages of one file.

Whatever is shown comes from a store, so nothing of it may ever be read as HTML: text becomes
`Markup` only here, by way of `element`, which escapes it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Tone = Literal["good", "warn", "bad", "quiet"]

_VOID = {"br", "hr", "img", "input", "meta"}
_MARKS: dict[Tone, str] = {"good": "✓", "warn": "!", "bad": "✗", "quiet": "–"}  # noqa: RUF001 - a dash

_UNPRINTABLE = re.compile(  # controls, surrogates, and what Unicode says are no characters
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(end)}{chr(end + 1)}" for end in range(0xFFFE, 0x110000, 0x10000))
    + "]"
)

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d0d7de, #3a424b);
  --fg: light-dark(#1b1f24, #e6e8eb); --bg: light-dark(#fff, #16191d);
  --muted: light-dark(#57606a, #a3adb8); --good: light-dark(#116329, #6fdd8b);
  --warn: light-dark(#7d4e00, #f0b72f); --bad: light-dark(#a40e26, #ff9492); }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--bg); color: var(--fg);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: start; padding: .3rem 0; }
th, td { padding: .3rem .8rem .3rem 0; text-align: start; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; } .number { text-align: end; font-variant-numeric: tabular-nums; }
code, pre { font: .92em ui-monospace, monospace; }
.quiet { color: var(--muted); } .good { color: var(--good); } .warn { color: var(--warn); }
.bad { color: var(--bad); }
"""


UNBROKEN = """
td, th { overflow-wrap: normal; }
.number, .good, .warn, .bad, td .quiet { white-space: nowrap; }
table { display: block; width: fit-content; max-width: 100%; overflow-x: auto; }
"""
"""For pages of tables whose words and numbers stay in one piece, and that scroll on their own."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def printable(value: object) -> str:
    r"""Write what is no character of a text, such as NUL, as U+FFFD; HTML and XML have it not.

    Examples
    --------
    >>> printable("a\0b") == "a\ufffdb"
    True
    """
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


def element(name: str, *children: object, attributes: Mapping[str, object] | None = None) -> Markup:
    """Make an element.

    Parameters
    ----------
    name
        Of the element.
    *children
        `Markup` stays; everything else is escaped text; None is nothing.
    attributes
        By name; those that are None are left out.

    Examples
    --------
    >>> element("td", "a < b", attributes={"class": "number"})
    '<td class="number">a &lt; b</td>'
    """
    given = "".join(
        f' {key}="{escape(printable(value))}"'
        for key, value in (attributes or {}).items()
        if value is not None
    )
    content = joined(children)
    return Markup(f"<{name}{given}>" if name in _VOID else f"<{name}{given}>{content}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Markup:
    """Join markup, and text, which is escaped."""
    return Markup(
        escape(between).join(
            part if isinstance(part, Markup) else escape(printable(part))
            for part in parts
            if part is not None
        )
    )


def badge(words: object, tone: Tone) -> Markup:
    """Say how something is: in words, with a sign, and in a colour where the page has a style."""
    return element("span", f"{_MARKS[tone]} ", words, attributes={"class": tone})


def table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: object = None,
    numbers: Sequence[object] = (),
) -> Markup:
    """Make a table that reads well wherever HTML is shown, with or without a style of its own.

    Parameters
    ----------
    header
        Names of the columns; none: a table without header.
    rows
        The cells: markup, or anything else as text.
    caption
        Stands above the table.
    numbers
        Which of the columns stand to the right.

    Examples
    --------
    >>> table(["view", "rows"], [["shops", 3]], numbers=["rows"])[:49]
    '<table><thead><tr><th style="text-align: left">vi'
    """
    right = [name in numbers for name in header]
    head = element("tr", *map(_heading, header, right))
    body = joined(
        element("tr", *(_cell(cell, place < len(right) and right[place]) for place, cell in cells))
        for cells in map(enumerate, rows)
    )
    said = element("caption", caption, attributes={"style": "text-align: left"})
    return element(
        "table",
        said if caption is not None else None,
        element("thead", head) if header else None,
        element("tbody", body),
    )


def _heading(name: object, right: bool) -> Markup:  # noqa: FBT001 - mapped over
    return element("th", name, attributes=_side(right))


def _cell(value: object, right: bool) -> Markup:  # noqa: FBT001 - beside its twin
    return element("td", value, attributes=_side(right))


def _side(right: bool) -> dict[str, object]:  # noqa: FBT001 - beside its callers
    # notebooks put tables to the right, and some viewers drop classes
    return {"class": "number" if right else None, "style": f"text-align: {_SIDES[right]}"}


_SIDES = {True: "right", False: "left"}


def facts(pairs: Mapping[str, object]) -> Markup:
    """Make a table of names and what each is; empty ones are left out."""
    there = [
        (element("b", name), value) for name, value in pairs.items() if value not in ("", None)
    ]
    return table([], there)


def page(title: str, *body: object, style: str = "", script: str = "") -> str:
    """Make a page of one file, which asks no other address for anything.

    Parameters
    ----------
    title
        Of the page.
    *body
        `Markup`, or text.
    style
        CSS besides that of every page.
    script
        An ES module. The page's policy allows this one script by its hash, and no other.

    Returns
    -------
    str
        The document.
    """
    if "</script" in script.lower() or "</style" in style.lower():
        msg = "a script or style that ends its own element cannot stand in a page"
        raise ValueError(msg)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"'sha256-{digest}'" if script else "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {allowed}"
    head = [
        element("meta", attributes={"charset": "utf-8"}),
        element("meta", attributes={"http-equiv": "Content-Security-Policy", "content": policy}),
        element(
            "meta",
            attributes={"name": "viewport", "content": "width=device-width, initial-scale=1"},
        ),
        element("title", title),
        Markup(f"<style>{STYLE}{style}</style>"),
    ]
    code = Markup(f'<script type="module">{script}</script>') if script else None
    document = element(
        "html", element("head", *head), element("body", *body, code), attributes={"lang": "en"}
    )
    return f"<!doctype html>\n{document}\n"
