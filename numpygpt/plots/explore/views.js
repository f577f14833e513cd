// What each part of the page shows of the state {token, layer, head, target}, all counted from 0.
const SHOWN = 5; // rows of a table of tokens

function named(position) { // a token in a sentence, with its place in the text
  return [tokenElement(tokenLabel(position)), ` (token ${position})`];
}

function showSummary({ token, layer, head }) {
  const start = token < T - 1 ? "The next token is "
    : DATA.given ? "The given target is " : "Nothing follows; the most likely token is ";
  find("now").replaceChildren(
    `Token ${token} `, tokenElement(tokenLabel(token)), `, ${layerName(layer)}, head ${head}. `, start,
    ...nextWords(token));
}

// The next token, or its substitute after the last token, with its rank and probability.
function nextWords(token) {
  const { id, rank, probability: p } = DATA.next;
  const numbers = `probability ${probability(p[token])}, surprise ${bits(p[token])}.`;
  return [tokenElement(label(id[token])), `: rank ${rank[token]} of ${DATA.vocabulary}, ${numbers}`];
}

function showTokens(buttons, { token, layer, head }) {
  buttons.forEach((button, i) => {
    const found = i <= token ? weight(layer, head, token, i) : weight(layer, head, i, token);
    button.classList.toggle("later", i > token);
    button.style.setProperty("--weight", Math.sqrt(found));
  });
  select(buttons, buttons[token]);
}

function tellToken(i, { token, layer, head }) {
  const words = i > token
    ? [...named(i), ` attends to token ${token} with weight ${percent(weight(layer, head, i, token))}.`]
    : [`Token ${token} attends to ${i === token ? "itself, " : ""}`, ...named(i),
      `${i === token ? "," : ""} with weight ${percent(weight(layer, head, token, i))}.`];
  find("tokens-readout").replaceChildren(...words);
}

function tellHead(layer, head, { token }) {
  const [most] = largest(token + 1, (i) => weight(layer, head, token, i));
  find("heads-readout").replaceChildren(`${capital(layerName(layer))}, head ${head}: token ${token} attends most to `,
    ...named(most), `, ${percent(weight(layer, head, token, most))}.`);
}

function showAttention(map, { token, layer, head }) {
  find("attention-title").textContent = `Attention in ${layerName(layer)}, head ${head}`;
  map.show({
    name: `attention in ${layerName(layer)}, head ${head}: rows are queries, columns are keys`,
    rows: T, columns: T, square: true, scale: WEIGHTS,
    value: (row, column) => weight(layer, head, row, column),
    rowName: tokenLabel, columnName: tokenLabel, rowTitle: "from (query)", columnTitle: "to (key)",
    frames: [[token, 0, 1, token + 1], [token, token, T - token, 1]], start: [token, token],
    say: (row, column, value) =>
      [...named(row), " attends to ", ...named(column), ` with weight ${percent(value)}.`],
  });
  const paid = largest(token + 1, (i) => weight(layer, head, token, i));
  weights(find("paid"), paid, (i) => weight(layer, head, token, i));
  const received = largest(T - 1 - token, (i) => weight(layer, head, token + 1 + i, token)).map((i) => token + 1 + i);
  weights(find("received"), received, (i) => weight(layer, head, i, token), "there is no later token");
}

// The places from 0 on with the largest of `count` values, the largest first.
function largest(count, value) {
  const all = Array.from({ length: count }, (_, i) => i);
  return all.sort((a, b) => value(b) - value(a) || a - b).slice(0, SHOWN);
}

function weights(table, positions, value, none) {
  if (positions.length === 0) {
    table.replaceChildren(element("caption", { text: none }));
    return;
  }
  const rows = positions.map((i) => ({ name: named(i), value: value(i), numbers: [percent(value(i))] }));
  fillBars(table, rows, 1, ["token", "", "weight"]);
}

function showPredictions({ token }) {
  const { id, rank, entropy } = DATA.next;
  const next = id[token];
  const mark = token < T - 1 ? " ← next" : DATA.given ? " ← target" : "";
  const likeliest = DATA.likeliest.id[token].map((found, i) => [i + 1, found, DATA.likeliest.probability[token][i]]);
  if (rank[token] > likeliest.length) likeliest.push([rank[token], next, DATA.next.probability[token]]);
  const rows = likeliest.map(([place, found, p]) => ({
    name: [`${place}. `, tokenElement(label(found)), found === next ? mark : ""],
    value: p, numbers: [probability(p)], actual: found === next && mark !== "",
  }));
  const came = token < T - 1 ? " the next token is " : DATA.given ? " the given target is "
    : ", the end of the text, the most likely token is ";
  find("next").replaceChildren("After ", ...named(token), came, ...nextWords(token),
    ` The entropy of the prediction is ${entropy[token].toFixed(2)} bits.`);
  fillBars(find("likeliest"), rows, 1, ["token", "", "probability"]);
}

function showStream(map, { token }) {
  const places = DATA.stream.map((norms, place) => ({
    name: [placeName(place)], value: norms[token], mean: norms.reduce((sum, norm) => sum + norm, 0) / T,
  }));
  const most = Math.max(...DATA.stream.flat());
  for (const row of places) row.numbers = [size(row.value), size(row.mean)];
  fillBars(find("norms"), places, most, ["place", "", `token ${token}`, "mean"]);
  map.show({
    name: "norm of the residual stream: rows are depths, columns tokens",
    rows: L + 1, columns: T, scale: linearScale(most), value: (place, i) => DATA.stream[place][i],
    rowName: placeName, columnName: tokenLabel, rowTitle: "", columnTitle: "token",
    frames: [[0, token, L + 1, 1]], start: [0, token],
    say: (place, i, value) => [`${capital(placeName(place))}, `, ...named(i), `: norm ${size(value)}.`],
  });
}

function showGradient(map, { token, target }) {
  const value = (place, i) => gradient(token, target, place, i);
  const all = Array.from({ length: (L + 1) * (token + 1) }, (_, at) => value(at % (L + 1), Math.floor(at / (L + 1))));
  const scale = logScale(Math.max(...all));
  map.show({
    name: "gradient of the residual stream: rows are depths, columns tokens",
    rows: L + 1, columns: T, scale, value,
    rowName: placeName, columnName: tokenLabel, rowTitle: "", columnTitle: "token",
    frames: [[0, token, L + 1, 1]], start: [0, token],
    say: (place, i, norm) =>
      [`${capital(placeName(place))}, `, ...named(i), `: gradient norm ${size(norm)} nats per unit of X.`],
  });
  const unit = "norm of dL/dX, nats per unit of X (logarithmic; no colour if it is exactly 0)";
  fillLegend(find("gradient-legend"), scale, unit);
  fillTargets(token, target);
  const reached = largest(token + 1, (i) => value(0, i));
  const rows = reached.map((i) => ({ name: named(i), value: value(0, i), numbers: [size(value(0, i))] }));
  fillBars(find("reached"), rows, rows[0].value, ["token", "", "norm"]);
}

// The targets to choose from, and the loss of the chosen one.
function fillTargets(token, target) {
  const last = token === T - 1;
  const first = !last ? "next token" : DATA.given ? "given with --target" : "most likely; nothing follows in the text";
  const why = (k) => (k === 0 ? first : k === 1 ? "most likely of the others" : `no. ${k} of the others`);
  const text = (id, k) => `${label(id)} (${why(k)})`;
  const options = DATA.targets[token].map((id, k) => element("option", { value: k, text: text(id, k) }));
  find("target").replaceChildren(...options);
  find("target").value = target;
  const p = targetProbability(token, DATA.targets[token][target]);
  const loss = p === 0 ? "very large" : `${size(Math.abs(Math.log(p)))} nats`;
  find("target-note").textContent = `Its probability is ${probability(p)}, so the loss is ${loss}.`;
}

// The probability of a target: of the next token, or of one of the likeliest.
function targetProbability(token, id) {
  const at = DATA.likeliest.id[token].indexOf(id);
  return at < 0 ? DATA.next.probability[token] : DATA.likeliest.probability[token][at];
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
