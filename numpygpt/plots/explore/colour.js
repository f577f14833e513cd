// Colours of the maps: cividis, with even steps for every eye, also with colour blindness (Nunez et al. 2018).
const CIVIDIS = [
  "#00224d", "#00285b", "#002d69", "#043270", "#1a386f", "#273d6d", "#31436c", "#3a486b", "#434e6b", "#4b546c",
  "#52596c", "#595f6d", "#61646f", "#686a70", "#6e7073", "#757575", "#7c7b78", "#848178", "#8b8778", "#938d77",
  "#9b9376", "#a39a74", "#aba072", "#b3a66f", "#bbad6c", "#c4b468", "#ccbb63", "#d5c25e", "#dec957", "#e6d04f",
  "#efd846", "#f9df3a", "#fde737",
].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));

function cividis(shade) { // from 0 to 1 -> [red, green, blue]
  const place = Math.min(Math.max(shade, 0), 1) * (CIVIDIS.length - 1);
  const below = Math.min(Math.floor(place), CIVIDIS.length - 2);
  return CIVIDIS[below].map((dark, i) => Math.round(dark + (place - below) * (CIVIDIS[below + 1][i] - dark)));
}

// Colours of numbers with a sign: blue below 0, vermillion above, as in Okabe and Ito's palette; 0 is nearly white.
function blueToRed(shade) {
  const end = shade < 0.5 ? [0, 114, 178] : [213, 94, 0];
  const strength = Math.min(Math.abs(2 * shade - 1), 1);
  return end.map((part) => Math.round(247 + strength * (part - 247)));
}

// A scale turns a value into a shade from 0 to 1, or null for no colour, and has ticks for its legend.

// Weights: the square root, so that a weight of 0.1 still differs visibly from 0. The same scale in all heads.
const WEIGHTS = {
  shade: Math.sqrt,
  ticks: [[0, "0 %"], [0.05, "5 %"], [0.2, "20 %"], [0.5, "50 %"], [1, "100 %"]],
};

function linearScale(most) {
  return {
    shade: (value) => value / (most || 1),
    ticks: [0, 0.25, 0.5, 0.75, 1].map((part) => [part * most, size(part * most)]),
  };
}

// Four decades below the largest value. Smaller values have the lowest colour, and 0 has none.
function logScale(most) {
  const decades = 4;
  return {
    shade: (value) => (value > 0 ? 1 + Math.log10(value / most) / decades : null),
    ticks: most > 0 ? [4, 2, 0].map((n) => [most / 10 ** n, (n === 4 ? "≤ " : "") + size(most / 10 ** n)]) : [],
  };
}

// From -most to most, with 0 in the middle. The square root keeps small numbers visible.
function signedScale(most) {
  const shade = (value) => 0.5 + 0.5 * Math.sign(value) * Math.sqrt(Math.abs(value) / (most || 1));
  const ticks = most > 0 ? [-1, 0, 1].map((part) => [part * most, signed(part * most)]) : [[0, "0"]];
  return { shade, ticks, colour: blueToRed };
}

// A picture with a pixel for each value(row, column); null is transparent.
function picture(rows, columns, value, { shade, colour = cividis }) {
  const image = new ImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const found = value(row, column);
      const shaded = found === null ? null : shade(found);
      if (shaded !== null) image.data.set([...colour(shaded), 255], 4 * (row * columns + column));
    }
  }
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
