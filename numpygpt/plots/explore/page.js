// The page's state, and what changes it.
const state = { token: Math.floor((2 * (T - 1)) / 3), layer: 0, head: 0, target: 0,
  array: ARRAYS.indexOf("dK"), column: 0, step: 0 };
const BOUNDS = { token: T, layer: L, head: H, target: DATA.targets[0].length, array: ARRAYS.length,
  column: Math.max(T, BACK.d_k, BACK.d_v), step: backwardLayers.length ? TOUR.length + 1 : 1 };

const tokens = DATA.ids.map((id, i) => element("button", {
  type: "button", role: "option", class: "token", text: label(id), "aria-label": `token ${i}: ${label(id)}`,
}));
const heads = Array.from({ length: L * H }, (_, i) => headButton(Math.floor(i / H), i % H));
const maps = {
  attention: new HeatMap(find("attention-map"), find("attention-readout"), (row) => change({ token: row })),
  stream: new HeatMap(find("stream-map"), find("stream-readout"), (_, token) => change({ token })),
  gradient: new HeatMap(find("gradient-map"), find("gradient-readout"), (_, token) => change({ token })),
  made: new HeatMap(find("made-map"), find("made-readout"), (token, column) => change({ token, column })),
  left: new HeatMap(find("left-map"), find("left-readout"), (...cell) => takeApart(maps.left.plan.array, cell)),
  right: new HeatMap(find("right-map"), find("right-readout"), (...cell) => takeApart(maps.right.plan.array, cell)),
};
const arrayButtons = ARRAYS.map((name) => element("button", {
  type: "button", role: "option", text: name, "aria-label": `${name}: ${MADE[name].formula}`,
}));

// Show how a cell was made, if the page computed it: Q, K, V and dO it only knows.
function takeApart(name, [token, column]) {
  if (name in MADE) change({ array: ARRAYS.indexOf(name), token, column });
}

function headButton(layer, head) {
  const image = picture(T, T, (row, column) => weight(layer, head, row, column), WEIGHTS);
  if (T < 64) image.className = "crisp";
  const name = `${layerName(layer)}, head ${head}`;
  return element("button", { type: "button", role: "gridcell", "aria-label": name }, image);
}

// -- drawn once

function fillHead() {
  find("title").textContent = DATA.title;
  find("facts").textContent = DATA.facts.join(" · ");
  find("signs").textContent = `Signs: ${DATA.signs.join("   ")}`;
}

function fillTokens() {
  for (const [i, button] of tokens.entries()) {
    button.addEventListener("click", () => change({ token: i }));
    find("tokens").append(button);
    if (tokenLabel(i).endsWith("⏎")) find("tokens").append(element("span", { class: "break", role: "presentation" }));
  }
  rove(find("tokens"), tokens, (key, at) => {
    if (key === "ArrowLeft") return at - 1;
    if (key === "ArrowRight") return at + 1;
    return key === "ArrowUp" || key === "ArrowDown" ? lineBeside(at, key === "ArrowUp" ? -1 : 1) : null;
  }, (at) => tellToken(at, state));
}

// The token nearest to this one in the line above (-1) or below (1), or this one itself.
function lineBeside(at, way) {
  const middle = (button) => button.offsetLeft + button.offsetWidth / 2;
  const line = (i) => tokens[i].offsetTop;
  let to = at;
  while (tokens[to + way] && line(to) === line(at)) to += way;
  if (line(to) === line(at)) return at;
  const there = line(to);
  const away = (i) => Math.abs(middle(tokens[i]) - middle(tokens[at]));
  while (tokens[to + way] && line(to + way) === there && away(to + way) <= away(to)) to += way;
  return to;
}

function fillHeads() {
  const grid = find("heads");
  grid.style.gridTemplateColumns = `auto repeat(${H}, minmax(24px, 1fr))`;
  const row = (...cells) => element("div", { role: "row" }, ...cells);
  const name = (role, text) => element("span", { role, class: "name", text });
  const across = Array.from({ length: H }, (_, head) => name("columnheader", H > 6 ? head : `head ${head}`));
  grid.append(row(name("columnheader", ""), ...across));
  for (let layer = 0; layer < L; layer++) {
    grid.append(row(name("rowheader", layerName(layer)), ...heads.slice(layer * H, (layer + 1) * H)));
  }
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -H, ArrowDown: H };
  rove(grid, heads, (key, at) => (key in moves && heads[at + moves[key]] ? at + moves[key] : null),
    (at) => tellHead(Math.floor(at / H), at % H, state));
  for (const [i, button] of heads.entries()) {
    button.addEventListener("click", () => change({ layer: Math.floor(i / H), head: i % H }));
  }
}

function fillArrays() {
  for (const [array, button] of arrayButtons.entries()) {
    button.addEventListener("click", () => change({ array, column: strongestColumn({ ...state, array }) }));
    find("arrays").append(button);
  }
  const moves = { ArrowLeft: -1, ArrowRight: 1 };
  rove(find("arrays"), arrayButtons, (key, at) => (key in moves ? at + moves[key] : null), () => {});
}

// -- drawn again when the state changes

function change(to) {
  if ("token" in to && to.token !== state.token) state.target = 0;
  Object.assign(state, to);
  if ("token" in to && !("column" in to)) state.column = strongestColumn(state);
  show();
  const address = Object.entries(state).map(([name, at]) => `${name}=${at}`).join("&");
  history.replaceState(null, "", `#${address}`);
}

function show() {
  showSummary(state);
  showTokens(tokens, state);
  select(heads, heads[state.layer * H + state.head]);
  showAttention(maps.attention, state);
  showPredictions(state);
  showStream(maps.stream, state);
  showGradient(maps.gradient, state);
  select(arrayButtons, arrayButtons[state.array]);
  showBackward(maps, state);
  showTour(state);
}

// Read the selection from the address: #token=3&layer=1&head=2. Missing or invalid values change nothing.
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, bound] of Object.entries(BOUNDS)) {
    const at = Number(given.get(name));
    if (given.get(name) && Number.isInteger(at) && at >= 0 && at < bound) state[name] = at;
  }
  if (!given.get("column")) state.column = strongestColumn(state);
  if (state.step && !given.get("array")) goTo(state.step);
  show();
  scrollToStop();
}

function redraw() {
  for (const map of Object.values(maps)) map.draw();
}

fillHead();
fillTokens();
fillHeads();
fillArrays();
fillTour();
fillLegend(find("heads-legend"), WEIGHTS, "attention weight");
fillLegend(find("attention-legend"), WEIGHTS, "attention weight");
fillLegend(find("stream-legend"), linearScale(Math.max(...DATA.stream.flat())), "norm of the residual stream");
find("target").addEventListener("change", (event) => change({ target: Number(event.target.value) }));
addEventListener("resize", redraw);
addEventListener("hashchange", readAddress);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
readAddress();
