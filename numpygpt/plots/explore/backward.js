// The part of the page that takes one cell of an array of a head apart: which row and column it came from, and the sum.
const TERMS = 6; // products listed; the others are summed
const SIDES = {
  left: { part: find("left-part"), title: find("left-title") },
  right: { part: find("right-part"), title: find("right-title") },
};

// The cell that is shown: row `token`, and the column of the state, if the array has it.
function shownCell({ token, array, column }, arrays) {
  const { causal, columns } = arrays[ARRAYS[array]];
  return [token, Math.min(column, causal ? token : columns - 1)];
}

// The column with the largest number, of either sign, in the selected token's row of the selected array.
function strongestColumn({ token, layer, head, array }) {
  const arrays = headArrays(layer, head);
  return arrays ? strongest(arrays[ARRAYS[array]], token) : 0;
}

function strongest(array, token) {
  const row = Array.from({ length: array.causal ? token + 1 : array.columns }, (_, j) => Math.abs(array.at(token, j)));
  return row.indexOf(Math.max(...row));
}

function showBackward(maps, state) {
  const arrays = headArrays(state.layer, state.head);
  find("backward-parts").hidden = arrays === null;
  find("backward-note").textContent = backwardNote(state, arrays);
  if (arrays === null) return;
  const name = ARRAYS[state.array];
  const [i, j] = shownCell(state, arrays);
  const parts = terms(arrays, name, i, j);
  find("formula").replaceChildren(element("strong", { text: `${MADE[name].formula}.` }), ` ${MADE[name].why}`);
  find("made-title").textContent = `${name}, with the chosen cell`;
  maps.made.show(mapOf(arrays, name, [[i, j, 1, 1]], [i, j]));
  fillLegend(find("made-legend"), maps.made.plan.scale, `${name} (each map has its own scale)`);
  for (const side of Object.keys(SIDES)) showSide(maps[side], side, arrays, name, parts);
  find("sum-title").textContent = `${name}[${i}, ${j}]${parts.length > TERMS + 1 ? `, the largest of ${parts.length} terms`
    : ""}`;
  find("sum").replaceChildren(...inNumbers(arrays, name, i, j, parts));
  fillTerms(name, parts);
}

function backwardNote({ layer, head }, arrays) {
  if (arrays === null) {
    const has = BACK.layers.length ? `It has them for layers ${BACK.layers.join(", ")}.` : "A shorter text has room.";
    return `The page has no room for these numbers of ${layerName(layer)}. ${has}`;
  }
  const shared = H / BACK.kv_heads;
  const group = Math.floor(head / shared);
  return [`${capital(layerName(layer))}, head ${head}.`,
    `The loss is the mean over the text's ${T} tokens: ${BACK.loss.toFixed(3)} nats.`,
    BACK.rotary ? "Q and K are those after the rotation by position." : "",
    shared > 1 ? `Heads ${group * shared} to ${(group + 1) * shared - 1} share K and V, whose gradients are the sums of
      their dK and dV.` : ""].join(" ");
}

// One of the two arrays that the cell comes from, its row or column framed. A click on a computed one takes that apart.
function showSide(map, side, arrays, name, parts) {
  const from = MADE[name][side];
  SIDES[side].part.hidden = !from;
  if (!from) return;
  const [first, last] = [parts[0][side], parts[parts.length - 1][side]];
  SIDES[side].title.textContent = `${from[0]}, ${from[1]} ${from[1] === "row" ? first[0] : first[1]}`;
  const frame = [...first, last[0] - first[0] + 1, last[1] - first[1] + 1];
  map.show(mapOf(arrays, from[0], [frame], first));
}

function mapOf(arrays, name, frames, start) {
  const { columns, causal, at, most } = arrays[name];
  const column = (j) => (causal ? [" and key ", ...named(j)] : [`, component ${j}`]);
  return {
    array: name, name: `${name}: rows are ${causal ? "queries, columns are keys" : "tokens, columns are components"}`,
    rows: T, columns, rowHeight: Math.min(Math.max(380 / T, 4), 24), scale: name === "P" ? WEIGHTS : signedScale(most),
    value: at, rowName: tokenLabel, columnName: causal ? tokenLabel : everyFourth,
    rowTitle: causal ? "query" : "token", columnTitle: causal ? "key" : "component", frames, start,
    say: (i, j, value) => [`${name} of ${causal ? "query " : ""}`, ...named(i), ...column(j), `: ${signed(value)}`],
  };
}

function everyFourth(component) { // of the names of a map's columns: there is no room for more
  return component % 4 ? "" : String(component);
}

// The cell's number, from the sum of its terms.
function inNumbers(arrays, name, i, j, parts) {
  const total = sum(0, parts.length, (n) => parts[n].product);
  const value = element("strong", { text: signed(arrays[name].at(i, j)) });
  const at = `[${i}, ${j}]`;
  const { left, right, scaled } = MADE[name];
  if (name === "P") {
    return [`e to the power S${at}, divided by the sum over row ${i}: `,
      `${signed(parts[j].product)} / ${signed(total)} = `, value,
      ". The row's largest score is subtracted first, which changes no weight."];
  }
  if (name === "dS") {
    return [`P${at} (dP${at} − sum over row ${i} of P dP): `,
      `${signed(arrays.P.at(i, j))} × (${signed(arrays.dP.at(i, j))} − ${brackets(total)}) = `, value, "."];
  }
  const line = ([array, kind], cell) => `${kind} ${kind === "row" ? cell[0] : cell[1]} of ${array}`;
  const divided = scaled ? ` / √${BACK.d_k} = ${signed(total)} / ${size(1 / SCALE)}` : "";
  return [`${capital(line(left, parts[0].left))} times ${line(right, parts[0].right)}${divided} = `, value, "."];
}

function fillTerms(name, parts) {
  const { left, right } = MADE[name];
  const tokens = name !== "S" && name !== "dP"; // their sums run over components
  const order = [...parts].sort((a, b) => Math.abs(b.product) - Math.abs(a.product) || a.n - b.n);
  const shown = parts.length > TERMS + 1 ? order.slice(0, TERMS) : order;
  const at = (cell) => `[${cell.join(", ")}]`;
  const label = (n) => (tokens ? [`${n} `, tokenElement(tokenLabel(n))] : [`${n}`]);
  const row = ({ n, left, right, a, b, product }) => ({
    name: label(n), value: product, title: right ? `${at(left)}, ${at(right)}` : at(left),
    numbers: [signed(a), ...(right ? [signed(b)] : []), signed(product)],
  });
  const total = (name, some) => {
    const value = sum(0, some.length, (n) => some[n].product);
    return { name: [name], value, numbers: ["", ...(right ? [""] : []), signed(value)] };
  };
  const rest = order.slice(shown.length);
  const all = [...shown.map(row), ...(rest.length ? [total(`${rest.length} others`, rest)] : []),
    { ...total("sum", parts), actual: true }];
  const most = Math.max(...all.map((one) => Math.abs(one.value)));
  const products = right ? [left[0], right[0], "product"] : [left[0], "e to its power"];
  fillBars(find("terms"), all, most, [tokens ? "token" : "component", "", ...products]);
}

function brackets(value) {
  return value < 0 ? `(${signed(value)})` : signed(value);
}
