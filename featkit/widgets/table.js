// The table of feature views, as it answers: search, facets, sort, ticks, keys.

class Table extends TableView {
  constructor(model, el) {
    super();
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

function render({ model, el }) {
  const table = new Table(model, el);
  return () => table.close();
}

export default { render };
