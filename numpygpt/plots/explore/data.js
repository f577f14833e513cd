"use strict";
// The page's numbers, as numpygpt/inspection/explore.py packed them. Heads and tokens count from 0, as in numpygpt's
// names. A layer or a place is an index into the layers that the page shows; layerName and placeName name it.
const DATA = JSON.parse(document.getElementById("data").textContent);
const [T, L, H] = [DATA.ids.length, DATA.layers.length, DATA.heads];
const PAIRS = (T * (T + 1)) / 2; // each token with itself and those before it
const attentionCodes = unpack(DATA.attention); // (L, H, pairs)
const gradientCodes = unpack(DATA.gradients.codes); // (targets, L + 1, pairs)

function unpack(base64) { // 16 bits per number, the low byte first
  const bytes = atob(base64);
  const codes = new Uint16Array(bytes.length / 2);
  for (let i = 0; i < codes.length; i++) codes[i] = bytes.charCodeAt(2 * i) + 256 * bytes.charCodeAt(2 * i + 1);
  return codes;
}

function unpackFloats(base64) { // 32 bits per number, the low byte first
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

function pair(later, earlier) {
  return (later * (later + 1)) / 2 + earlier;
}

// The attention weight from token `from` to token `to`; null if `to` comes later, because of the causal mask.
function weight(layer, head, from, to) {
  return to > from ? null : attentionCodes[(layer * H + head) * PAIRS + pair(from, to)] / 65535;
}

// The norm of dL/d(residual stream) at a place (0 is the embedding, i + 1 the output of layer i) and a position, L
// being the loss of the k-th target of `token`.
function gradient(token, k, place, position) {
  if (position > token) return null;
  const code = gradientCodes[(k * (L + 1) + place) * PAIRS + pair(token, position)];
  return code === 0 ? 0 : Math.exp(DATA.gradients.low + (code - 1) * DATA.gradients.step);
}

function label(id) {
  return DATA.labels[id];
}

function tokenLabel(position) {
  return label(DATA.ids[position]);
}

function layerName(layer) {
  return `layer ${DATA.layers[layer]}`;
}

function placeName(place) {
  return place === 0 ? "embedding" : `block ${DATA.layers[place - 1]}`;
}

// -- numbers in words

function percent(p) { // of attention; the precision is 0.001 %
  return `${(100 * p).toFixed(2)} %`;
}

function probability(p) { // of a prediction; may be tiny
  const percent = 100 * p;
  if (p === 0) return "0 %";
  return `${percent >= 0.01 ? percent.toPrecision(3) : percent.toExponential(1)} %`;
}

function bits(p) { // the surprise of a token with probability p
  return p === 0 ? "∞ bits" : `${Math.abs(Math.log2(p)).toFixed(2)} bits`;
}

function size(value) { // of a norm
  if (value === 0) return "0";
  if (value < 0.001 || value >= 10000) return value.toExponential(2);
  return value < 100 ? value.toPrecision(3) : value.toFixed(0);
}

function signed(value) {
  return (value < 0 ? "−" : "") + size(Math.abs(value));
}
