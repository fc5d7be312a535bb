// How the table of feature views looks: one row per view, its features below.

/** A cell of CSV that a spreadsheet does not take for a formula. */
function csvCell(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function cell(name, content) {
  const inner = typeof content === "string" ? said(content) : content;
  return h("span", { class: `fk-cell fk-${name}`, role: "gridcell" }, inner);
}

/** Text with the words that were searched for marked. */
function marked(text, words) {
  const whole = said(text, { class: "fk-text" });
  const low = text.toLowerCase();
  if (!words.length || low.length !== text.length) return whole; // other letters, other places
  const spans = words.map((word) => [low.indexOf(word), word.length]).filter(([at]) => at >= 0);
  if (!spans.length) return whole;
  whole.replaceChildren();
  let done = 0;
  for (const [at, length] of spans.sort(([a], [b]) => a - b)) {
    if (at < done) continue;
    whole.append(text.slice(done, at), h("mark", {}, text.slice(at, at + length)));
    done = at + length;
  }
  whole.append(text.slice(done));
  return whole;
}

class TableView {
  get words() {
    return fold(this.search.value).split(/\s+/).filter(Boolean);
  }

  // -- parts -------------------------------------------------------------------------------------

  build(el) {
    this.search = h("input", {
      type: "search", class: "fk-search", placeholder: "Search names, tags, owners, sources",
      "aria-label": "Search feature views and features", spellcheck: "false",
      value: this.model.get("search"),
    });
    this.facets = h("div", { class: "fk-facets", role: "group", "aria-label": "Filters" });
    this.status = h("span", { class: "fk-status fk-muted", role: "status" });
    this.head = h("div", { class: "fk-row fk-head", role: "row", "aria-rowindex": 1 });
    this.body = h("div", { class: "fk-body", role: "rowgroup" });
    this.pad = h("div", { class: "fk-pad", role: "presentation" }, this.body);
    this.grid = h("div", {
      class: "fk-grid", role: "treegrid", tabindex: 0, "aria-multiselectable": "true",
      "aria-label": "Feature views", "aria-describedby": `${this.id}help`,
    }, h("div", { role: "rowgroup", class: "fk-top" }, this.head), this.pad);
    this.empty = h("div", { class: "fk-empty fk-muted", hidden: true });
    this.code = h("pre", { class: "fk-code", tabindex: 0, "aria-label": "Code of the selection" });
    this.chosen = h("span", { class: "fk-chosen" });
    this.bar = h("div", { class: "fk-bar" }, this.chosen, h("span", { class: "fk-gap" }),
      copyButton(() => this.code.textContent, "Copy code"),
      h("button", { type: "button", class: "fk-button", click: () => this.tick([...this.ticked], false) },
        "Clear"));
    this.picked = h("div", { class: "fk-picked", hidden: true }, this.bar, this.code);
    const keys = [["↑ ↓", "move"], ["→ ←", "open, close"], ["space", "tick"], ["enter", "show"], ["/", "search"]];
    const help = keys.flatMap(([key, does]) => [h("kbd", {}, key), ` ${does}  `]);
    this.root = h("div", { class: "fk fk-table" },
      h("div", { class: "fk-bar" }, this.search, this.status, h("span", { class: "fk-gap" }),
        h("button", { type: "button", class: "fk-button", click: () => this.saveCsv(),
          title: "Save what is listed as a table" }, "CSV"),
        h("button", { type: "button", class: "fk-button fk-html", hidden: !this.model.get("live"),
          click: () => this.model.send({ kind: "html" }),
          title: "Save the browser as a page of one file" }, "HTML")),
      this.facets, this.grid, this.empty, this.picked,
      h("div", { id: `${this.id}help`, class: "fk-help fk-muted" }, ...help));
    el.append(this.root);
  }

  // -- what is seen ------------------------------------------------------------------------------

  /** Search, filter and sort anew. */
  refresh() {
    if (!this.catalogue) return;
    const { words } = this;
    if (this.search.value !== this.told) this.saveSearch();
    const found = this.catalogue.find(words, this.model.get("facets"));
    Object.assign(this, found);
    this.sequence = this.catalogue.order(this.model.get("sort"), words);
    this.lay();
    this.at = 0;
    this.grid.scrollTop = 0;
    this.drawFacets();
    this.drawHead();
    this.draw();
  }

  open(v) {
    return this.toggled.get(v) ?? this.part[v] === 1;
  }

  /** List the rows that there are to scroll through. */
  lay() {
    const { catalogue } = this;
    this.rows = [];
    let features = 0, views = 0;
    for (const v of this.sequence) {
      if (this.hits[v] < 0) continue;
      views += 1;
      features += this.hits[v];
      this.rows.push(v);
      if (!this.open(v)) continue;
      for (let f = catalogue.views.first[v]; f < catalogue.end(v); f++) {
        if (this.shown[f]) this.rows.push(~f);
      }
    }
    const all = catalogue.features.name.length;
    this.status.textContent = features === all && views === catalogue.height
      ? `${count(views, "view")}, ${count(all, "feature")}`
      : `${features.toLocaleString("en")} of ${count(all, "feature")}`;
    this.pad.style.height = `${this.rows.length * ROW}px`;
    this.grid.setAttribute("aria-rowcount", this.rows.length + 1);
    this.grid.hidden = !catalogue.height;
    this.empty.hidden = this.rows.length > 0;
    this.empty.textContent = catalogue.height
      ? "Nothing is like that. Try fewer words, or take a filter away."
      : "There is no feature view to show.";
  }

  draw() {
    if (!this.catalogue || !this.hits) return;
    const tall = this.grid.clientHeight;
    const first = Math.max(0, Math.min(Math.floor(this.grid.scrollTop / ROW) - 3,
      this.rows.length - Math.ceil(tall / ROW)));
    const last = Math.min(this.rows.length, first + Math.min(50, Math.ceil(tall / ROW) + 6));
    this.body.style.transform = `translateY(${first * ROW}px)`;
    const marked = this.words;
    const made = [];
    for (let place = first; place < last; place++) made.push(this.row(place, marked));
    this.body.replaceChildren(...made);
    this.grid.setAttribute("aria-activedescendant", this.rows.length ? this.rowId(this.at) : "");
  }

  rowId(place) {
    return `${this.id}r${place}`;
  }

  row(place, words) {
    const item = this.rows[place];
    const [row, reference] = item >= 0 ? this.viewRow(item, words) : this.featureRow(~item, words);
    row.id = this.rowId(place);
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", place + 2);
    row.classList.toggle("fk-at", place === this.at);
    row.title = reference;
    row.addEventListener("click", () => this.go(place));
    return row;
  }

  viewRow(v, words) {
    const { views } = this.catalogue;
    const empty = !this.catalogue.size(v);
    const twisty = h("span", {
      class: "fk-twisty", "aria-hidden": "true",
      click: (event) => (event.stopPropagation(), this.toggle(v)),
    }, empty ? "" : this.open(v) ? "▾" : "▸");
    const name = h("span", { class: "fk-cell fk-name", role: "gridcell" },
      twisty, this.box(this.ofView(v), views.name[v]), marked(views.name[v], words));
    const row = h("div", {
      class: "fk-row fk-view", "aria-level": 1, "aria-expanded": empty ? null : String(this.open(v)),
      dblclick: () => this.toggle(v),
    }, name,
    cell("keys", views.keys[v].join(", ")),
    cell("description", marked(views.description[v], words)),
    cell("owner", marked(views.owner[v], words)),
    cell("tags", views.tags[v].join(", ")),
    cell("ttl", views.ttl[v]),
    cell("features", String(this.catalogue.size(v))));
    row.classList.toggle("fk-current", views.name[v] === this.model.get("current"));
    row.setAttribute("aria-selected", String(this.state(this.ofView(v)) === "true"));
    return [row, views.name[v]];
  }

  featureRow(f, words) {
    const { features, dtypes } = this.catalogue;
    const name = h("span", { class: "fk-cell fk-name", role: "gridcell" },
      this.box([f], this.catalogue.reference(f)), marked(features.name[f], words));
    const row = h("div", { class: "fk-row fk-feature", "aria-level": 2 }, name,
      cell("keys", dtypes[features.dtype[f]]),
      cell("description", marked(features.description[f], words)),
      cell("owner", ""), cell("tags", features.tags[f] ?? ""), cell("ttl", ""), cell("features", ""));
    row.setAttribute("aria-selected", String(this.ticked.has(f)));
    return [row, this.catalogue.reference(f)];
  }

  /** The features of a view that are to be seen and can be named. */
  ofView(v) {
    const found = [];
    for (let f = this.catalogue.views.first[v]; f < this.catalogue.end(v); f++) {
      if (this.shown[f] && this.catalogue.nameable(f)) found.push(f);
    }
    return found;
  }

  state(features) {
    const there = features.filter((f) => this.ticked.has(f)).length;
    if (!there) return "false";
    return there === features.length ? "true" : "mixed";
  }

  box(features, name) {
    const usable = features.filter((f) => this.catalogue.nameable(f));
    return h("span", {
      class: "fk-box", role: "checkbox", "aria-checked": this.state(usable),
      "aria-label": `Select ${name}`, "aria-disabled": usable.length ? null : "true",
      title: usable.length || !features.length ? null : "No reference can name it: it has a colon",
      click: (event) => (event.stopPropagation(), this.tick(usable)),
    });
  }

  heading(name, words) {
    if (!SORTED.includes(name)) {
      return h("span", { class: `fk-cell fk-${name}`, role: "columnheader" }, words);
    }
    const button = h("button", { type: "button", class: "fk-sort", tabindex: -1,
      click: () => this.sortBy(name) }, words);
    return h("span", { class: `fk-cell fk-${name}`, role: "columnheader", "data-sort": name }, button);
  }

  drawHead() {
    const sort = this.model.get("sort");
    for (const cell of this.head.querySelectorAll("[data-sort]")) {
      const { sort: name } = cell.dataset;
      const way = sort === name ? "ascending" : sort === `-${name}` ? "descending" : "none";
      cell.setAttribute("aria-sort", way);
    }
  }

  drawSelection() {
    const references = Array.from(this.ticked, (f) => this.catalogue.reference(f));
    this.picked.hidden = !references.length;
    this.chosen.textContent = `${count(references.length, "feature")} selected`;
    this.code.textContent = enrichCode(references);
  }

  drawFacets() {
    const chosen = this.model.get("facets");
    const open = this.facets.querySelector("details[open]")?.dataset.facet;
    const made = FACETS.filter(([name]) => this.counts[name].size || chosen[name]?.length)
      .map(([name, words]) => this.facet(name, words, chosen[name] ?? []));
    const some = Object.values(chosen).some((values) => values.length);
    const clear = h("button", { type: "button", class: "fk-button", hidden: !some,
      click: () => this.filter({}) }, "Clear filters");
    const before = document.activeElement?.dataset?.value;
    this.facets.replaceChildren(...made, clear);
    if (open) {
      const again = this.facets.querySelector(`details[data-facet="${open}"]`);
      if (again) again.open = true;
      if (before) again?.querySelector(`[data-value="${CSS.escape(before)}"]`)?.focus();
    }
  }

  facet(name, words, chosen) {
    const label = chosen.length ? `${words}: ${chosen.length}` : words;
    const list = h("div", { class: "fk-values" });
    const narrow = h("input", { type: "search", class: "fk-search", "aria-label": `Find in ${words}`,
      placeholder: "Find", hidden: this.counts[name].size <= 12 });
    const fill = () => list.replaceChildren(...this.facetValues(name, chosen, fold(narrow.value)));
    narrow.addEventListener("input", fill);
    const box = h("details", { class: "fk-facet", "data-facet": name },
      h("summary", { class: chosen.length ? "fk-on" : null }, label),
      h("div", { class: "fk-menu" }, narrow, list));
    box.addEventListener("toggle", () => {
      if (!box.open) return;
      for (const other of this.facets.querySelectorAll("details")) if (other !== box) other.open = false;
      if (!list.childElementCount) fill();
    });
    return box;
  }

  facetValues(name, chosen, part) {
    const counts = this.counts[name];
    for (const value of chosen) if (!counts.has(value)) counts.set(value, 0);
    const there = [...counts].filter(([value]) => fold(value).includes(part))
      .sort(([a, n], [b, m]) => chosen.includes(b) - chosen.includes(a) || m - n || byText(a, b));
    const made = there.slice(0, MOST_VALUES).map(([value, n]) => h("label", {},
      h("input", { type: "checkbox", checked: chosen.includes(value), "data-value": value,
        change: () => this.choose(name, value) }),
      said(value, { class: "fk-value" }), h("span", { class: "fk-muted" }, n.toLocaleString("en"))));
    const left = there.length - made.length;
    if (left > 0) made.push(h("div", { class: "fk-muted" }, `and ${left.toLocaleString("en")} more: find them above`));
    return made;
  }
}
