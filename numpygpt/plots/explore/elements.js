// Pieces of the page. Text only ever becomes text: nothing here reads a string as HTML.

function find(id) {
  return document.getElementById(id);
}

function element(name, { text, style, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  for (const [key, value] of Object.entries(style ?? {})) made.style.setProperty(key, value);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

// A token in a sentence or a table. Right-to-left letters do not reorder the text around it.
function tokenElement(text) {
  return element("bdi", { class: "token prose", text });
}

// A table of bars. A row is {name: nodes, value, mean, numbers, actual, title}; `most` is a full bar, and a
// negative value has its own colour.
function fillBars(table, rows, most, headings) {
  const heading = (text, i) => element("th", { scope: "col", text, class: i > 1 ? "number" : "" });
  const head = element("tr", {}, ...headings.map(heading));
  const body = rows.map((row) => {
    const part = (value) => `${100 * Math.min(Math.abs(value) / (most || 1), 1)}%`;
    const fill = element("div", { class: row.value < 0 ? "fill negative" : "fill", style: { width: part(row.value) } });
    const track = element("div", { class: "track" }, fill);
    if (row.mean !== undefined) track.append(element("div", { class: "mean", style: { left: part(row.mean) } }));
    return element("tr", { class: row.actual ? "actual" : "", title: row.title ?? "" },
      element("th", { scope: "row", class: "label" }, ...row.name),
      element("td", { class: "bar" }, track),
      ...row.numbers.map((text) => element("td", { class: "number", text })));
  });
  table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
}

// The colours of a scale, with its values below.
function fillLegend(node, scale, title) {
  const { colour = cividis } = scale;
  const steps = Array.from({ length: 33 }, (_, i) => `rgb(${colour(i / 32).join(" ")})`);
  const ticks = scale.ticks.map(([value, text]) =>
    element("span", { text, style: { left: `${100 * scale.shade(value)}%` } }));
  node.replaceChildren(
    element("div", { text: title }),
    element("div", { class: "ramp", style: { background: `linear-gradient(to right, ${steps.join(", ")})` } }),
    element("div", { class: "ticks" }, ...ticks));
}

// Tab reaches one of the buttons; arrow keys, Home and End move among them. `move(key, index)` returns the new index.
// Enter and Space click, as with every button. `onFocus(index)` is called for the button under the pointer or focus.
function rove(container, buttons, move, onFocus) {
  container.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const to = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : move(event.key, at);
    if (to === null) return;
    event.preventDefault();
    const button = buttons[Math.min(Math.max(to, 0), buttons.length - 1)];
    settle(buttons, button);
    button.focus();
  });
  for (const kind of ["focusin", "mouseover"]) {
    container.addEventListener(kind, (event) => {
      const at = buttons.indexOf(event.target.closest("button"));
      if (at >= 0) onFocus(at);
    });
  }
}

function settle(buttons, current) {
  for (const button of buttons) button.tabIndex = button === current ? 0 : -1;
}

function select(buttons, current) {
  for (const button of buttons) button.setAttribute("aria-selected", String(button === current));
  settle(buttons, current);
}
