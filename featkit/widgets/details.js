// One feature view in full: what it is, how old, where it comes from, what its values look like.

const LISTED = 200; // features of the schema that are shown

function details(view, model) {
  const parts = [
    h("h2", {}, said(view.name)),
    view.description ? h("p", {}, said(view.description)) : null,
    freshness(view),
    facts(view.facts),
    h("h3", {}, `Schema: ${count(view.features.length, "feature")}`),
    schema(view),
    h("h3", {}, "Lineage"),
    lineage(view.lineage),
    h("h3", {}, "Values"),
    values(view, model),
    h("h3", {}, "Code"),
    code(view.code),
  ];
  return parts.filter(Boolean);
}

function freshness({ freshness: found }) {
  return found ? h("p", { class: `fk-fresh fk-${found.tone}` }, h("b", {}, found.sign), " ", found.words) : null;
}

function facts(pairs) {
  const rows = pairs.filter(([, value]) => value)
    .flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, said(value))]);
  return h("dl", {}, ...rows);
}

function schema({ features }) {
  if (!features.length) return h("p", { class: "fk-muted" }, "The store names no features of it.");
  const rows = features.slice(0, LISTED).map(([name, dtype, description, tags]) =>
    h("tr", {}, h("td", {}, said(name)), h("td", {}, h("code", {}, dtype)),
      h("td", {}, said(description), tags ? h("div", { class: "fk-muted" }, said(tags)) : null)));
  const left = features.length - rows.length;
  const more = left > 0
    ? h("p", { class: "fk-muted" }, `and ${left.toLocaleString("en")} more, in the table`)
    : null;
  return h("div", { class: "fk-scroll", tabindex: 0, role: "region", "aria-label": "Schema" },
    h("table", {}, head(["Feature", "Type", "Description"]), h("tbody", {}, ...rows)), more);
}

function head(names) {
  return h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, said(name)))));
}

// -- lineage -------------------------------------------------------------------------------------

const BOX = { width: 150, height: 40, gap: 10, between: 46 };

/** Draw columns of boxes: sources, the view, the services that use it. */
function lineage({ sources, view, services }) {
  const columns = [sources, [view], services].filter((column) => column.length);
  const tall = Math.max(...columns.map((column) => column.length));
  const height = tall * (BOX.height + BOX.gap) - BOX.gap + 4;
  const width = columns.length * (BOX.width + BOX.between) - BOX.between + 4;
  const places = columns.map((column, n) => column.map((_, row) => ({
    x: 2 + n * (BOX.width + BOX.between),
    y: 2 + (height - 4 - column.length * (BOX.height + BOX.gap) + BOX.gap) / 2 + row * (BOX.height + BOX.gap),
  })));
  const lines = columns.slice(1).flatMap((_, n) => places[n].flatMap((from) => places[n + 1].map(
    (to) => curve(from.x + BOX.width, from.y + BOX.height / 2, to.x, to.y + BOX.height / 2),
  )));
  const boxes = columns.flatMap((column, n) => column.map((item, row) => node(item, places[n][row])));
  const told = columns.map((column) => column.map((item) => `${item.kind} ${item.name}`).join(", ")).join(" → ");
  return h("div", { class: "fk-lineage" },
    h("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Lineage: ${told}` },
      ...lines, ...boxes));
}

function node({ kind, name }, { x, y }) {
  const short = [...name].length > 20 ? `${[...name].slice(0, 19).join("")}…` : name;
  return h("svg", { x, y, width: BOX.width, height: BOX.height, overflow: "hidden" },
    h("title", {}, `${kind} ${name}`),
    h("rect", { class: `fk-node fk-node-${kind.split(" ").pop()}`, x: 1, y: 1, rx: 5, width: BOX.width - 2, height: BOX.height - 2 }),
    h("text", { class: "fk-kind", x: 10, y: 15 }, kind),
    h("text", { x: 10, y: 31 }, short));
}

function curve(x1, y1, x2, y2) {
  const middle = (x1 + x2) / 2;
  return h("path", { class: "fk-line", d: `M${x1} ${y1} C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}` });
}

// -- values --------------------------------------------------------------------------------------

function values(view, model) {
  const { sample } = view;
  const ask = h("button", { type: "button", class: "fk-button fk-ask",
    click: () => model.send({ kind: "sample", view: view.name }) }, sample?.state === "there" ? "Sample again" : "Sample values");
  const live = model.get("live");
  if (sample?.state === "asking") return h("p", { class: "fk-muted", role: "status" }, "Asking the store …");
  const again = live ? ask : null;
  if (sample?.state === "failed") return h("div", {}, h("p", { class: "fk-bad" }, said(sample.reason)), again);
  if (sample?.state !== "there") {
    return h("div", {}, again, h("p", { class: "fk-muted" },
      live ? "Nothing is read before you ask." : "No values were sampled when this page was made."));
  }
  return h("div", {}, h("p", { class: "fk-muted" }, sample.words),
    h("div", { class: "fk-columns" }, ...sample.features.map(column)),
    h("div", { class: "fk-scroll", tabindex: 0, role: "region", "aria-label": "Sample" },
      h("table", {}, head(sample.header),
        h("tbody", {}, ...sample.rows.map((row) => h("tr", {}, ...row.map(value)))))),
    again);
}

function value(text) {
  return text === null ? h("td", { class: "fk-muted" }, "null") : h("td", {}, said(text));
}

/** One feature: its bars, its range, how much of it is null. */
function column({ name, bars, range, nulls }) {
  const most = Math.max(1, ...bars.map(([, n]) => n));
  const wide = 120 / Math.max(1, bars.length);
  const drawn = bars.map(([label, n], place) => {
    const tall = (n / most) * 32;
    return h("rect", { class: "fk-hist", x: place * wide + 0.5, y: 34 - tall, height: tall, width: Math.max(1, wide - 1) },
      h("title", {}, `${label}: ${n.toLocaleString("en")}`));
  });
  const told = bars.map(([label, n]) => `${label}: ${n}`).join("; ");
  return h("figure", {},
    h("figcaption", {}, said(name)),
    bars.length
      ? h("svg", { viewBox: "0 0 120 35", width: 120, height: 35, role: "img", "aria-label": `${name}: ${told}` },
        ...drawn, h("line", { class: "fk-axis", x1: 0, x2: 120, y1: 34.5, y2: 34.5 }))
      : null,
    h("div", { class: "fk-muted" }, said(range)),
    h("div", { class: nulls.share ? "fk-warn" : "fk-muted" }, nulls.words));
}

function code(text) {
  if (!text) return h("p", { class: "fk-muted" }, "There is nothing of it that a frame could get.");
  return h("div", {}, h("pre", { tabindex: 0, "aria-label": "Code" }, text), copyButton(() => text));
}

function render({ model, el }) {
  const root = h("div", { class: "fk fk-details", role: "region", "aria-label": "Feature view",
    keydown: (event) => event.stopPropagation() });
  let shown = null;
  const draw = () => {
    const view = model.get("view");
    const there = Boolean(view.name);
    const tops = [...root.querySelectorAll(".fk-scroll")].map((box) => box.scrollTop);
    root.replaceChildren(...(there ? details(view, model)
      : [h("p", { class: "fk-muted" }, "Choose a view to see what is in it.")]));
    if (view.name === shown) root.querySelectorAll(".fk-scroll").forEach((box, n) => (box.scrollTop = tops[n] ?? 0));
    else root.scrollTop = 0;
    shown = view.name;
  };
  model.on("change:view", draw);
  draw();
  el.append(root);
  return () => model.off("change:view", draw);
}

export default { render };
