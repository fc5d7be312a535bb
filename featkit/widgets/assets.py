"""The JavaScript and CSS of the widgets, as the notebook gets them, and as a page of its own."""

from __future__ import annotations

import gzip
from importlib.resources import files
from typing import Any

import msgspec

EXPORT = "export default { render };"
"""How the JavaScript of each widget ends."""


_PARTS = {"table": ("table_content", "table_view")}
"""What the JavaScript of a widget begins with: a notebook takes a module as one text."""


def script(name: str) -> str:
    """Return the ES module of a widget."""
    return "".join(_read(f"{part}.js") for part in ("dom", *_PARTS.get(name, ()), name))


def style(name: str) -> str:
    """Return the CSS of a widget."""
    return _read("tokens.css") + _read(f"{name}.css")


def inlined(name: str) -> str:
    """Return the widget's module as an expression, so that several stand in one script."""
    return f"(() => {{\n{script(name).replace(EXPORT, 'return { render };')}\n}})()"


def pack(content: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
    """Write gzipped JSON, the same bytes for the same content."""
    return gzip.compress(msgspec.json.encode(content), compresslevel=6, mtime=0)


def _read(name: str) -> str:
    return files("featkit.widgets").joinpath(name).read_text("utf-8")
