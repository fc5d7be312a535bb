// The table of feature views: search, facets, sort, ticks. One row per view, its features below.

const ROW = 30; // pixels; also in the style
const MOST_VALUES = 50; // of a facet that are listed at once
const FACETS = [
  ["owner", "Owner"],
  ["tag", "Tag"],
  ["entity", "Entity"],
  ["dtype", "Type"],
  ["served", "Served"],
  ["service", "Service"],
];
const COLUMNS = [
  ["name", "View or feature"],
  ["keys", "Keys, type"],
  ["description", "Description"],
  ["owner", "Owner"],
  ["tags", "Tags"],
  ["ttl", "ttl"],
  ["features", "Features"],
];
const SORTED = ["name", "owner", "ttl", "features"];

const fold = (text) => text.normalize("NFKC").toLowerCase();
const byText = new Intl.Collator("en", { numeric: true }).compare;

/** What a store holds, as columns, and what of it a search finds. */
class Catalogue {
  constructor({ views, features, dtypes, services, served }) {
    Object.assign(this, { views, features, dtypes, services });
    this.height = views.name.length;
    this.of = new Int32Array(features.name.length);
    views.first.forEach((first, v) => this.of.fill(v, first, this.end(v)));
    const uses = views.services.map((own) => own.map((s) => services[s]));
    this.values = {
      owner: views.owner.map((owner) => (owner ? [owner] : [])),
      tag: views.tags,
      entity: views.keys,
      served: views.served.map((way) => [served[way]]),
      service: uses,
    };
    this.viewText = views.name.map((name, v) =>
      fold([name, views.description[v], views.owner[v], views.source[v], ...views.keys[v],
        ...views.tags[v], ...uses[v]].join("\n")),
    );
    this.featureText = features.name.map((name, f) =>
      fold(`${name}\n${features.description[f]}\n${features.tags[f] ?? ""}`),
    );
  }

  end(v) {
    return v + 1 < this.height ? this.views.first[v + 1] : this.features.name.length;
  }

  size(v) {
    return this.end(v) - this.views.first[v];
  }

  reference(f) {
    return `${this.views.name[this.of[f]]}:${this.features.name[f]}`;
  }

  /** The reference can name the feature: none of its two names has a colon. */
  nameable(f) {
    return !this.views.name[this.of[f]].includes(":") && !this.features.name[f].includes(":");
  }

  /** The feature of a reference; the map is made when somebody asks. */
  feature(reference) {
    this.places ??= new Map(Array.from(this.features.name, (_, f) => [this.reference(f), f]));
    return this.places.get(reference);
  }

  /** Find the features that have all words, in themselves or in their view, and the facets. */
  find(words, chosen) {
    const { views, features } = this;
    const shown = new Uint8Array(features.name.length);
    const hits = new Int32Array(this.height).fill(-1); // features shown; -1: nor is the view
    const part = new Uint8Array(this.height); // the view is there for some of its features
    const counts = Object.fromEntries(FACETS.map(([name]) => [name, new Map()]));
    const add = (name, value, n) => counts[name].set(value, (counts[name].get(value) ?? 0) + n);
    const own = Object.keys(this.values);
    const dtypes = new Set((chosen.dtype ?? []).map((name) => this.dtypes.indexOf(name)));
    for (let v = 0; v < this.height; v++) {
      const text = this.viewText[v];
      const rest = words.filter((word) => !text.includes(word));
      const failing = own.filter(
        (name) => chosen[name]?.length && !this.values[name][v].some((x) => chosen[name].includes(x)),
      );
      if (failing.length > 1) continue;
      const wanted = !failing.length;
      let found = 0;
      for (let f = views.first[v]; f < this.end(v); f++) {
        if (rest.length && !rest.every((word) => this.featureText[f].includes(word))) continue;
        if (wanted) add("dtype", this.dtypes[features.dtype[f]], 1);
        if (dtypes.size && !dtypes.has(features.dtype[f])) continue;
        found += 1;
        if (wanted) shown[f] = 1;
      }
      for (const name of own) {
        if (wanted || failing[0] === name) for (const x of this.values[name][v]) add(name, x, found);
      }
      if (wanted && (found || (!rest.length && !dtypes.size && !this.size(v)))) hits[v] = found;
      part[v] = rest.length || dtypes.size ? 1 : 0;
    }
    return { shown, hits, part, counts };
  }

  /** Order the views: as the table is sorted, else those whose names have the words first. */
  order(sort, words) {
    const { views } = this;
    const all = Array.from({ length: this.height }, (_, v) => v);
    const column = sort.replace("-", "");
    const by = {
      name: (a, b) => byText(views.name[a], views.name[b]),
      owner: (a, b) => byText(views.owner[a], views.owner[b]),
      ttl: (a, b) => (views.seconds[a] ?? Infinity) - (views.seconds[b] ?? Infinity) || 0,
      features: (a, b) => this.size(a) - this.size(b),
    }[column];
    if (by) return all.sort(sort.startsWith("-") ? (a, b) => by(b, a) : by);
    if (!words.length) return all;
    const named = (v) => words.every((word) => fold(views.name[v]).includes(word));
    return [...all.filter(named), ...all.filter((v) => !named(v))];
  }
}

class Table {
  constructor(model, el) {
    this.model = model;
    this.id = `fk${Math.random().toString(36).slice(2)}`;
    this.ticked = new Set();
    this.toggled = new Map(); // view -> open, where the user said so
    this.told = model.get("search"); // what the kernel knows of the search
    this.rows = []; // v: a view, ~f: a feature
    this.at = 0; // the row that the keyboard is at
    this.build(el);
    this.listen();
    this.load();
  }

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

  listen() {
    const { model } = this;
    this.search.addEventListener("input", () => this.soon("refresh"));
    this.grid.addEventListener("scroll", () => this.soon("draw"));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.sized = new ResizeObserver(() => this.soon("draw"));
    this.sized.observe(this.grid);
    this.observers = {
      "change:payload": () => this.load(),
      "change:selected": () => this.takeSelected(),
      "change:search": () => this.takeSearch(),
      "change:facets": () => this.refresh(),
      "change:sort": () => this.refresh(),
      "msg:custom": (message, buffers) => this.take(message, buffers),
    };
    for (const [name, run] of Object.entries(this.observers)) model.on(name, run);
  }

  close() {
    this.sized.disconnect();
    for (const [name, run] of Object.entries(this.observers)) this.model.off(name, run);
  }

  /** Do it before the next frame is painted, once, however often it is asked for. */
  soon(what) {
    this.due = this.due === "refresh" ? this.due : what;
    this.frame ??= requestAnimationFrame(() => {
      const due = this.due;
      this.frame = this.due = undefined;
      this[due]();
    });
  }

  /** Tell the kernel. */
  save(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  /** Tell the kernel of the search once the keys rest, and not before: what the kernel echoes of
      an earlier one must not take the place of what has been typed since. */
  saveSearch() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.told = this.search.value;
      this.save("search", this.told);
    }, 150);
  }

  // -- what comes in -----------------------------------------------------------------------------

  async load() {
    this.catalogue = new Catalogue(await unpack(this.model.get("payload")));
    const opened = new Set(this.model.get("opened"));
    this.toggled = new Map();
    this.catalogue.views.name.forEach((name, v) => opened.has(name) && this.toggled.set(v, true));
    if (this.catalogue.height === 1) this.toggled.set(0, true);
    this.head.replaceChildren(...COLUMNS.map((column) => this.heading(...column)));
    this.takeSelected();
    this.refresh();
  }

  takeSelected() {
    const found = this.model.get("selected").map((reference) => this.catalogue.feature(reference));
    this.ticked = new Set(found.filter((f) => f !== undefined));
    this.drawSelection();
    this.draw();
  }

  takeSearch() {
    const search = this.model.get("search");
    if (search === this.search.value || search === this.told) return;
    this.search.value = this.told = search;
    this.refresh();
  }

  take(message, buffers) {
    if (message.kind === "html") download("featkit-catalogue.html", "text/html", buffers);
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

  // -- what the user does ------------------------------------------------------------------------

  choose(name, value) {
    const chosen = this.model.get("facets");
    const before = chosen[name] ?? [];
    const after = before.includes(value) ? before.filter((x) => x !== value) : [...before, value];
    this.filter({ ...chosen, [name]: after });
  }

  filter(chosen) {
    const some = Object.entries(chosen).filter(([, values]) => values.length);
    this.save("facets", Object.fromEntries(some));
  }

  sortBy(name) {
    const sort = this.model.get("sort");
    this.save("sort", sort === name ? `-${name}` : sort === `-${name}` ? "" : name);
  }

  toggle(v) {
    this.toggled.set(v, !this.open(v));
    const names = [...this.toggled].filter(([, open]) => open).map(([u]) => this.catalogue.views.name[u]);
    this.save("opened", names);
    this.lay();
    this.at = this.rows.indexOf(v);
    this.draw();
  }

  tick(features, on) {
    const all = on ?? this.state(features) !== "true";
    for (const f of features) all ? this.ticked.add(f) : this.ticked.delete(f);
    this.save("selected", Array.from(this.ticked, (f) => this.catalogue.reference(f)));
    this.drawSelection();
    this.draw();
  }

  /** Go to a row, and show its view. */
  go(place, show = true) {
    this.at = Math.max(0, Math.min(this.rows.length - 1, place));
    const item = this.rows[this.at];
    if (show && item !== undefined) {
      const v = item >= 0 ? item : this.catalogue.of[~item];
      this.save("current", this.catalogue.views.name[v]);
    }
    const top = this.at * ROW, room = this.grid.clientHeight - this.head.offsetHeight;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top + ROW > this.grid.scrollTop + room) this.grid.scrollTop = top + ROW - room;
    this.draw();
  }

  /** Keys are for the table, not for the notebook around it. */
  key(event) {
    event.stopPropagation();
    if (event.key === "Escape") this.escape(event);
    if (event.target === this.search && event.key === "ArrowDown") {
      event.preventDefault();
      this.grid.focus();
    }
    if (event.target !== this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / ROW) - 2);
    const item = this.rows[this.at];
    const view = item >= 0;
    const run = {
      ArrowDown: () => this.go(this.at + 1, false),
      ArrowUp: () => this.go(this.at - 1, false),
      PageDown: () => this.go(this.at + page, false),
      PageUp: () => this.go(this.at - page, false),
      Home: () => this.go(0, false),
      End: () => this.go(this.rows.length - 1, false),
      ArrowRight: () => view && (this.open(item) ? this.go(this.at + 1, false) : this.toggle(item)),
      ArrowLeft: () => this.leave(item),
      Enter: () => this.go(this.at),
      " ": () => this.tick(view ? this.ofView(item) : [~item].filter((f) => this.catalogue.nameable(f))),
      "/": () => this.search.focus(),
    }[event.key];
    if (!run || item === undefined) return;
    event.preventDefault();
    run();
  }

  leave(item) {
    if (item >= 0) return this.open(item) && this.toggle(item);
    return this.go(this.rows.indexOf(this.catalogue.of[~item]), false);
  }

  escape(event) {
    const menu = this.facets.querySelector("details[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    } else if (event.target === this.search && this.search.value) {
      this.search.value = "";
      this.refresh();
    }
  }

  saveCsv() {
    const { views, features, dtypes } = this.catalogue;
    const lines = [["view", "feature", "dtype", "description", "join_keys", "ttl", "owner", "tags"]];
    for (const v of this.sequence) {
      if (this.hits[v] < 0) continue;
      for (let f = views.first[v]; f < this.catalogue.end(v); f++) {
        if (!this.shown[f]) continue;
        lines.push([views.name[v], features.name[f], dtypes[features.dtype[f]],
          features.description[f], views.keys[v].join(", "), views.ttl[v], views.owner[v],
          views.tags[v].join(", ")]);
      }
    }
    const text = lines.map((line) => line.map(csvCell).join(",")).join("\r\n");
    download("featkit-features.csv", "text/csv", ["\ufeff", text, "\r\n"]);
  }
}

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

function render({ model, el }) {
  const table = new Table(model, el);
  return () => table.close();
}

export default { render };
