"""The browser as a page of one file, which needs neither Python nor a network."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from featkit.html import element, joined, page
from featkit.widgets.assets import inlined, pack, style
from featkit.widgets.content import columns_of, view_in_full

if TYPE_CHECKING:
    from collections.abc import Mapping

    from featkit.catalogue import Catalogue

_STYLE = """
body { max-width: none; }
.fk-shell { display: flex; flex-wrap: wrap; gap: 12px; }
.fk-shell > :first-child { flex: 3 1 480px; min-width: 0; }
.fk-shell > :last-child { flex: 2 1 340px; min-width: 0; }
.fk-shell .fk-details { max-height: none; }
"""

_BOOT = """
class Model {
  constructor(state) { this.state = state; this.listeners = {}; }
  get(name) { return this.state[name]; }
  set(name, value) {
    this.state[name] = value;
    for (const run of this.listeners[`change:${name}`] ?? []) run();
  }
  on(name, run) { (this.listeners[name] ??= []).push(run); }
  off() {}
  save_changes() {}
  send() {}
}

function bytes(id) {
  const text = atob(document.getElementById(id).content.textContent);
  return Uint8Array.from(text, (sign) => sign.charCodeAt(0));
}

const views = await unpack(bytes("views"));
const state = JSON.parse(document.getElementById("state").content.textContent);
const table = new Model({ ...state, payload: bytes("payload"), live: false });
const pane = new Model({ view: views[state.current] ?? {}, live: false });
table.on("change:current", () => pane.set("view", views[table.get("current")] ?? {}));
TABLE.render({ model: table, el: document.getElementById("table") });
PANE.render({ model: pane, el: document.getElementById("pane") });
document.getElementById("still").remove();
"""


def browser_page(
    catalogue: Catalogue, state: Mapping[str, Any], samples: Mapping[str, dict[str, Any]]
) -> str:
    """Write the page.

    Parameters
    ----------
    catalogue
        What to show.
    state
        Search, facets, sort, selection and so on, as the traits of the table.
    samples
        By view, what has been sampled of it: those of its entries that differ.
    """
    views = {
        view.name: view_in_full(catalogue, view) | samples.get(view.name, {})
        for view in catalogue.views
    }
    read = f"{catalogue.headline}, as of {catalogue.read_at:%Y-%m-%d %H:%M} UTC"
    places = [element("div", attributes={"id": name}) for name in ("table", "pane")]
    still = joined([catalogue._repr_html_()])
    body = [
        element("h1", "Feature views"),
        element("p", read),
        *(element("p", note) for note in catalogue.notes),
        element("div", *places, attributes={"class": "fk-shell"}),
        element("div", still, attributes={"id": "still"}),
        _stored("payload", base64.b64encode(pack(columns_of(catalogue))).decode()),
        _stored("views", base64.b64encode(pack(views)).decode()),
        _stored("state", msgspec.json.encode(state).decode()),
    ]
    modules = f"const TABLE = {inlined('table')};\nconst PANE = {inlined('details')};\n"
    code = f"const unpack = {_UNPACK};\n{modules}{_BOOT}"
    looks = f"{style('table')}{style('details')}{_STYLE}"
    return page(f"Feature views of {catalogue.target}", *body, style=looks, script=code)


_UNPACK = """(data) => new Response(
  new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"))).json()"""


def _stored(name: str, text: str) -> str:
    """Keep text where a script finds it and nobody sees it."""
    return element("template", text, attributes={"id": name})
