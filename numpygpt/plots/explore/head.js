// One head's attention, forward and backward, for the mean loss over the text. The page stores Q, K, V and dO of some
// layers, and everything else follows from them.
const BACK = DATA.backward;
const SCALE = 1 / Math.sqrt(BACK.d_k);
const stored = Object.fromEntries(["Q", "K", "V", "dO"].map((name) => [name, unpackFloats(BACK[name])]));
const backwardLayers = BACK.layers.map((name) => DATA.layers.indexOf(name));

// How a cell [i, j] of each array is made: a sum over n of left times right. A side is the array, and whether n runs
// along row or column i or j of it. P and dS are made of such a sum too, in their own way: see `cellOf`.
const MADE = {
  S: { left: ["Q", "row", "i"], right: ["K", "row", "j"], scaled: true, formula: "S = Q Kᵀ / √d_k + M",
    why: "A score says how well a query matches a key. The mask M removes the tokens that come later." },
  P: { left: ["S", "row", "i"], formula: "P = softmax(S)",
    why: "Softmax turns each row of scores into weights that sum to 1." },
  O: { left: ["P", "row", "i"], right: ["V", "column", "j"], formula: "O = P V",
    why: "A token's output is the average of the values, weighted by its row of P." },
  dV: { left: ["P", "column", "i"], right: ["dO", "column", "j"], formula: "dV = Pᵀ dO",
    why: "Every query from token i on used its value, with a weight of P. The gradient sums over these uses." },
  dP: { left: ["dO", "row", "i"], right: ["V", "row", "j"], formula: "dP = dO Vᵀ",
    why: "If weight [i, j] grows, more of value j enters output i. The loss changes by the dot product." },
  dS: { left: ["P", "row", "i"], right: ["dP", "row", "i"], formula: "dS = P (dP − Σ P dP), Σ over the row",
    why: "The weights of a row sum to 1, so only a difference from the average counts. Each row sums to 0." },
  dQ: { left: ["dS", "row", "i"], right: ["K", "column", "j"], scaled: true, formula: "dQ = dS K / √d_k",
    why: "Query i appears in row i of S. The row of dS says how much of each key its gradient contains." },
  dK: { left: ["dS", "column", "i"], right: ["Q", "column", "j"], scaled: true, formula: "dK = dSᵀ Q / √d_k",
    why: "Key i appears in column i of S. The column of dS says how much of each query its gradient contains." },
};
const ARRAYS = Object.keys(MADE);

let lastHead = { layer: -1, head: -1 };

// {Q, K, V, dO, S, P, O, dV, dP, dS, dQ, dK} of a head, or null if the page does not store its layer.
function headArrays(layer, head) {
  if (lastHead.layer === layer && lastHead.head === head) return lastHead.arrays;
  const place = backwardLayers.indexOf(layer);
  lastHead = { layer, head, arrays: place < 0 ? null : computeHead(place, head) };
  return lastHead.arrays;
}

function computeHead(place, head) {
  const group = Math.floor((head * BACK.kv_heads) / H); // heads may share keys and values
  const Q = load("Q", place * H + head, BACK.d_k);
  const dO = load("dO", place * H + head, BACK.d_v);
  const K = load("K", place * BACK.kv_heads + group, BACK.d_k);
  const V = load("V", place * BACK.kv_heads + group, BACK.d_v);
  const S = matrix(T, true, (i, j) => SCALE * sum(0, BACK.d_k, (c) => Q.at(i, c) * K.at(j, c)));
  const lse = rows((i) => logSumExp(i + 1, (j) => S.at(i, j)));
  const P = matrix(T, true, (i, j) => Math.exp(S.at(i, j) - lse[i]));
  const O = matrix(BACK.d_v, false, (i, c) => sum(0, i + 1, (j) => P.at(i, j) * V.at(j, c)));
  const dV = matrix(BACK.d_v, false, (j, c) => sum(j, T, (i) => P.at(i, j) * dO.at(i, c)));
  const dP = matrix(T, true, (i, j) => sum(0, BACK.d_v, (c) => dO.at(i, c) * V.at(j, c)));
  const average = rows((i) => sum(0, i + 1, (j) => P.at(i, j) * dP.at(i, j)));
  const dS = matrix(T, true, (i, j) => P.at(i, j) * (dP.at(i, j) - average[i]));
  const dQ = matrix(BACK.d_k, false, (i, c) => SCALE * sum(0, i + 1, (j) => dS.at(i, j) * K.at(j, c)));
  const dK = matrix(BACK.d_k, false, (j, c) => SCALE * sum(j, T, (i) => dS.at(i, j) * Q.at(i, c)));
  return { Q, K, V, dO, S, P, O, dV, dP, dS, dQ, dK };
}

// T rows of numbers. `at` gives null for a token that comes later, if the array is causal: over pairs of tokens.
function matrix(columns, causal, value) {
  const values = new Float64Array(T * columns);
  for (let i = 0; i < T; i++) {
    for (let j = 0; j < (causal ? i + 1 : columns); j++) values[i * columns + j] = value(i, j);
  }
  return { columns, causal, at: (i, j) => (causal && j > i ? null : values[i * columns + j]),
    most: values.reduce((most, one) => Math.max(most, Math.abs(one)), 0) };
}

function load(name, which, columns) {
  return matrix(columns, false, (i, j) => stored[name][(which * T + i) * columns + j]);
}

function rows(value) {
  return Array.from({ length: T }, (_, i) => value(i));
}

function sum(from, to, term) {
  let total = 0;
  for (let n = from; n < to; n++) total += term(n);
  return total;
}

function logSumExp(count, value) {
  let top = -Infinity;
  for (let n = 0; n < count; n++) top = Math.max(top, value(n));
  return top + Math.log(sum(0, count, (n) => Math.exp(value(n) - top)));
}

// The terms that make cell [i, j] of an array: [{n, left, right, a, b, product}] with left and right the cells [row,
// column] that a and b come from. In P there is only a, a score, and the product is its exponential, after the row's
// largest score is subtracted.
function terms(arrays, name, i, j) {
  const { left, right } = MADE[name];
  const cell = ([, line, index], n) => (line === "row" ? [index === "i" ? i : j, n] : [n, index === "i" ? i : j]);
  const array = arrays[left[0]];
  const found = [];
  for (let n = 0; n < (left[1] === "row" ? array.columns : T); n++) {
    const a = array.at(...cell(left, n));
    if (a === null) continue;
    const b = right ? arrays[right[0]].at(...cell(right, n)) : null;
    found.push({ n, left: cell(left, n), right: right && cell(right, n), a, b, product: a * b });
  }
  if (!right) {
    const top = Math.max(...found.map((term) => term.a));
    for (const term of found) term.product = Math.exp(term.a - top);
  }
  return found;
}
