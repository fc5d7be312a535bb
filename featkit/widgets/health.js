// The health of a store, as it changes.

const SIGNS = { healthy: ["✓", "good"], down: ["✗", "bad"], unknown: ["…", "muted"], stopped: ["–", "muted"] };

function render({ model, el }) {
  const status = h("span", { role: "status" });
  const reason = h("div", { class: "fk-bad" });
  const more = h("span", { class: "fk-muted" });
  const bars = h("svg", { viewBox: "0 0 180 20", width: 180, height: 20, role: "img" });
  const root = h("div", { class: "fk fk-health" }, h("div", { class: "fk-bar" }, status, bars, more), reason);
  const draw = () => {
    const { status: now, target, words, why, checks } = model.get("content");
    const [sign, tone] = SIGNS[now];
    status.className = `fk-${tone}`;
    status.replaceChildren(h("b", {}, `${sign} ${now}`), " ", said(target));
    more.textContent = words;
    reason.replaceChildren(why ? said(why) : "");
    const most = Math.max(0.001, ...checks.map(([, seconds]) => seconds));
    bars.setAttribute("aria-label", `${checks.length} checks, ${checks.filter(([well]) => !well).length} of them failed`);
    bars.replaceChildren(...checks.map(([well, seconds], n) => {
      const tall = well ? Math.max(2, (seconds / most) * 18) : 20;
      return h("rect", { class: well ? "fk-well" : "fk-ill", x: n * 3, width: 2, y: 20 - tall, height: tall });
    }));
  };
  model.on("change:content", draw);
  draw();
  el.append(root);
  return () => model.off("change:content", draw);
}

export default { render };
