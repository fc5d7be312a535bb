// What every widget uses. All text from a store becomes text nodes, never HTML.

const SVG = new Set(["svg", "g", "path", "rect", "text", "line", "title"]);
const FOCUSED = new Set(["button", "input", "summary"]);

/** Make an element: attributes by name, functions as listeners, strings as text. */
function h(tag, attributes = {}, ...children) {
  const node = SVG.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  // Notebook 7 sees keys before any element does, and leaves those alone whose target says so.
  if (FOCUSED.has(tag) || "tabindex" in attributes) node.setAttribute("data-lm-suppress-shortcuts", "true");
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Text of a store: shown in its own direction, whatever stands around it. */
function said(text, attributes = {}) {
  return h("span", { dir: "auto", ...attributes }, String(text));
}

/** Read the gzipped JSON of a trait. */
function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** Write the call that brings these features into a frame; Python writes the same. */
function enrichCode(references) {
  if (!references.length) return "";
  const lines = references.map((reference) => `    ${pythonText(reference)},\n`);
  return `frame.features.enrich([\n${lines.join("")}])`;
}

function pythonText(text) {
  const inner = text.replace(/[\\"]/g, "\\$&").replace(/[\x00-\x1f\x7f]/g, (sign) =>
    `\\x${sign.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${inner}"`;
}

/** A button that copies the text that is there when it is pressed. */
function copyButton(text, words = "Copy") {
  const button = h("button", { type: "button", class: "fk-button" }, words);
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      copied = false; // the page may not write to the clipboard: the text can be selected instead
    }
    button.textContent = copied ? "Copied" : "Select and copy";
    setTimeout(() => (button.textContent = words), 1500);
  });
  return button;
}

/** Let the browser save a file. */
function download(name, type, parts) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
