// A staleness report to work with: which verdicts, in which order, and how the ages are spread.

const LISTED = 300; // views that have a row
const ORDER = ["failed", "error", "warn", "unknown", "pass"];
const LOOKS = { failed: ["✗", "bad"], error: ["✗", "bad"], warn: ["!", "warn"], unknown: ["?", "muted"], pass: ["✓", "good"] };
const HEADS = [["view", "View"], ["verdict", "Verdict"], ["newest", "Newest"], ["oldest", "Oldest"], ["ttl", "ttl"], ["", "Reason"]];
const TICKS = [[60, "1 min"], [3600, "1 h"], [86400, "1 d"], [864000, "10 d"], [8640000, "100 d"]];

const verdictOf = (verdict) => {
  const [sign, tone] = LOOKS[verdict];
  return h("span", { class: `fk-${tone}` }, `${sign} ${verdict}`);
};

function rank(view, column) {
  if (column === "view") return view.view;
  if (column === "verdict") return ORDER.indexOf(view.verdict);
  return view.seconds[column] ?? -1; // what is unknown has no age
}

function inOrder(views, sort) {
  const column = sort.replace("-", "");
  const sign = sort.startsWith("-") ? -1 : 1;
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en") : a - b);
  return [...views].sort((a, b) => sign * compare(rank(a, column), rank(b, column)));
}

/** The share of entities that are at most so old. */
function curve({ quantiles, limits }) {
  const wide = 420, tall = 150, left = 34, low = tall - 22;
  const most = Math.max(...quantiles, ...limits.map(([, seconds]) => seconds), 60);
  const place = (seconds) => left + (Math.log1p(Math.max(0, seconds)) / Math.log1p(most)) * (wide - left - 8);
  const level = (share) => 8 + (1 - share) * (low - 8);
  const steps = quantiles.map((seconds, n) => `H${place(seconds).toFixed(1)} V${level(n / (quantiles.length - 1)).toFixed(1)}`);
  const marks = limits.flatMap(([name, seconds, tone]) => [
    h("line", { class: `fk-limit fk-${tone}`, x1: place(seconds), x2: place(seconds), y1: 8, y2: low }),
    // what is warned of comes before what is an error: their words stand to either side
    h("text", { class: `fk-${tone}`, x: place(seconds) + (tone === "warn" ? -4 : 4), y: 18,
      "text-anchor": tone === "warn" ? "end" : "start" }, name),
  ]);
  const ticks = TICKS.filter(([seconds]) => seconds <= most).map(([seconds, words]) =>
    h("text", { class: "fk-tick", x: place(seconds), y: tall - 6, "text-anchor": "middle" }, words));
  const shares = [0, 0.5, 1].map((share) =>
    h("text", { class: "fk-tick", x: left - 6, y: level(share) + 4, "text-anchor": "end" }, `${share * 100}%`));
  return h("svg", { viewBox: `0 0 ${wide} ${tall}`, width: wide, height: tall, role: "img",
    "aria-label": "Share of entities by age" },
  h("line", { class: "fk-axis", x1: left, x2: wide - 8, y1: low, y2: low }), ...ticks, ...shares, ...marks,
  h("path", { class: "fk-curve", d: `M${left} ${level(0)} ${steps.join(" ")}` }));
}

class Panel {
  constructor(model, el) {
    this.model = model;
    this.root = h("div", { class: "fk fk-stale", keydown: (event) => event.stopPropagation() });
    this.redraw = () => this.draw();
    for (const name of ["content", "verdicts", "sort", "current", "asking"]) model.on(`change:${name}`, this.redraw);
    el.append(this.root);
    this.draw();
  }

  close() {
    for (const name of ["content", "verdicts", "sort", "current", "asking"]) this.model.off(`change:${name}`, this.redraw);
  }

  save(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  draw() {
    const { headline, problem, views } = this.model.get("content");
    const focused = document.activeElement?.dataset?.key;
    const chosen = this.model.get("verdicts");
    const shown = inOrder(views.filter((view) => !chosen.length || chosen.includes(view.verdict)), this.model.get("sort"));
    const current = views.find((view) => view.view === this.model.get("current"));
    this.root.replaceChildren(
      h("div", { class: "fk-bar" }, h("b", {}, said(headline)), h("span", { class: "fk-gap" }), this.refresher()),
      h("div", { class: "fk-bar", role: "group", "aria-label": "Verdicts" }, ...this.chips(views, chosen)),
      ...(problem ? [h("p", { class: "fk-bad", role: "status" }, said(problem))] : []),
      this.table(shown),
      ...(current ? [this.spread(current)] : [h("p", { class: "fk-muted" }, "Choose a view to see how its ages are spread.")]),
    );
    if (focused) this.root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  refresher() {
    if (!this.model.get("live")) return null;
    const asking = this.model.get("asking");
    return h("button", { type: "button", class: "fk-button", "data-key": "refresh", disabled: asking,
      click: () => this.model.send({ kind: "refresh" }) }, asking ? "Asking the store …" : "Refresh");
  }

  chips(views, chosen) {
    return ORDER.map((verdict) => [verdict, views.filter((view) => view.verdict === verdict).length])
      .filter(([verdict, n]) => n || chosen.includes(verdict))
      .map(([verdict, n]) => h("button", { type: "button", class: "fk-button fk-chip", "data-key": `chip ${verdict}`,
        "aria-pressed": String(chosen.includes(verdict)), click: () => this.save("verdicts",
          chosen.includes(verdict) ? chosen.filter((other) => other !== verdict) : [...chosen, verdict]) },
      verdictOf(verdict), ` ${n.toLocaleString("en")}`));
  }

  table(views) {
    const sort = this.model.get("sort");
    const heads = HEADS.map(([column, words]) => {
      if (!column) return h("th", { scope: "col" }, words);
      const way = sort === column ? "ascending" : sort === `-${column}` ? "descending" : "none";
      return h("th", { scope: "col", "aria-sort": way }, h("button", { type: "button", class: "fk-sort", "data-key": `sort ${column}`,
        click: () => this.save("sort", sort === `-${column}` ? column : `-${column}`) }, words));
    });
    const rows = views.slice(0, LISTED).map((view) => h("tr", { class: view.view === this.model.get("current") ? "fk-current" : null },
      h("td", {}, h("button", { type: "button", class: "fk-link", "data-key": `view ${view.view}`,
        click: () => this.save("current", view.view) }, said(view.view))),
      h("td", {}, verdictOf(view.verdict)), h("td", {}, view.newest), h("td", {}, view.oldest), h("td", {}, view.ttl),
      h("td", { class: "fk-muted" }, said(view.reason))));
    const left = views.length - rows.length;
    return h("div", { class: "fk-scroll", tabindex: 0, role: "region", "aria-label": "Views" },
      h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows)),
      left > 0 ? h("p", { class: "fk-muted" }, `and ${left.toLocaleString("en")} more: choose a verdict`) : null);
  }

  spread(view) {
    const title = h("h2", {}, said(view.view), ` · ${view.population}`);
    if (!view.quantiles.length) return h("div", {}, title, h("p", { class: "fk-muted" }, "No age of it is known."));
    return h("div", {}, title, h("p", { class: "fk-muted" }, "Share of entities that are at most so old"), curve(view));
  }
}

function render({ model, el }) {
  const panel = new Panel(model, el);
  return () => panel.close();
}

export default { render };
