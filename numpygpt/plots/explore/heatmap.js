// A map of coloured cells on a canvas: names on both axes, frames around the selection, and below it the value of
// the cell under the pointer or the keyboard focus.
const MIN_CELL = 9; // pixels of a cell with room for its name; with smaller cells only some names are written
const HINT = "Point at a cell, or use the arrow keys, to read its value.";
const MAX_NAME = 90; // pixels of a name
const TOP = 8; // pixels above the cells: half a line, for the name of the first row
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

class HeatMap {
  // `choose(row, column)` is called for a click, Enter or Space.
  constructor(canvas, readout, choose) {
    Object.assign(this, { canvas, readout, cell: null });
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "heat map");
    canvas.addEventListener("mousemove", (event) => this.point(this.under(event)));
    canvas.addEventListener("mouseleave", () => this.point(null));
    canvas.addEventListener("focus", () => this.point(this.cell ?? this.plan.start));
    canvas.addEventListener("blur", () => this.point(null));
    canvas.addEventListener("click", (event) => this.pick(this.under(event), choose));
    canvas.addEventListener("keydown", (event) => this.key(event, choose));
  }

  // The plan: name, rows, columns, value(row, column) or null, scale, rowName, columnName, rowTitle, columnTitle,
  // frames as [row, column, rows, columns], start as [row, column], say(row, column, value) as nodes, square or else
  // rowHeight in pixels, by default 24.
  show(plan) {
    this.plan = plan;
    this.image = picture(plan.rows, plan.columns, plan.value, plan.scale);
    this.canvas.setAttribute("aria-label", plan.name);
    if (document.activeElement !== this.canvas) this.cell = null;
    this.draw();
    this.tell();
  }

  point(cell) {
    this.cell = cell;
    this.draw();
    this.tell();
  }

  tell() {
    const value = this.cell && this.plan.value(...this.cell);
    this.readout.replaceChildren(...(value === null ? [HINT] : this.plan.say(...this.cell, value)));
  }

  pick(cell, choose) {
    if (cell && this.plan.value(...cell) !== null) choose(...cell);
  }

  key(event, choose) {
    const { rows, columns, start } = this.plan;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const [row, column] = this.cell ?? start;
    if (event.key === "Enter" || event.key === " ") this.pick([row, column], choose);
    else if (event.key === "Home") this.point([row, 0]);
    else if (STEPS[event.key]) {
      const [down, right] = STEPS[event.key];
      const to = [Math.min(Math.max(row + down, 0), rows - 1), Math.min(Math.max(column + right, 0), columns - 1)];
      if (this.plan.value(...to) !== null) this.point(to); // an empty cell stops the movement
    } else return;
    event.preventDefault();
  }

  under(event) { // the cell below the pointer, or null
    const { left, top, cell } = this.place;
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top - top) / cell[1]);
    const column = Math.floor((event.clientX - box.left - left) / cell[0]);
    return row >= 0 && row < this.plan.rows && column >= 0 && column < this.plan.columns ? [row, column] : null;
  }

  draw() {
    const { plan, canvas } = this;
    if (!plan || !canvas.clientWidth) return;
    const look = getComputedStyle(canvas);
    const colour = (name) => look.getPropertyValue(name);
    const pen = canvas.getContext("2d");
    pen.font = `12px ${look.fontFamily}`;
    this.arrange(pen, canvas.clientWidth);
    const { left, top, width, height, total } = this.place;
    const ratio = window.devicePixelRatio || 1;
    canvas.style.height = `${total}px`;
    [canvas.width, canvas.height] = [Math.round(canvas.clientWidth * ratio), Math.round(total * ratio)];
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.image, left, top, width, height);
    pen.strokeStyle = colour("--line");
    pen.strokeRect(left - 0.5, top - 0.5, width + 1, height + 1);
    pen.textBaseline = "middle";
    pen.fillStyle = colour("--ink");
    this.names(pen, look.fontFamily);
    pen.font = `12px ${look.fontFamily}`;
    pen.fillStyle = colour("--grey");
    write(pen, plan.columnTitle, left, total - 8, "left", 0);
    write(pen, plan.rowTitle, 8, top + height, "left", -Math.PI / 2);
    for (const frame of plan.frames) {
      if (plan.scale.colour) this.bold(pen, frame);
      else this.frame(pen, frame, colour("--mark"), 2);
    }
    if (this.cell) this.bold(pen, [...this.cell, 1, 1]);
  }

  bold(pen, frame) { // black on white, visible on every colour
    this.frame(pen, frame, "#ffffff", 4);
    this.frame(pen, frame, "#000000", 2);
  }

  names(pen, family) {
    const { left, top, cell, height, rows, columns, upright } = this.place;
    pen.font = `${rows.length === this.plan.rows ? Math.min(cell[1], 12) : 12}px ${family}`;
    for (const [row, text] of rows) write(pen, text, left - 5, top + (row + 0.5) * cell[1], "right", 0);
    pen.font = `${columns.length === this.plan.columns ? Math.min(cell[0], 12) : 12}px ${family}`;
    for (const [column, text] of columns) {
      const x = left + (column + 0.5) * cell[0];
      if (upright) write(pen, text, x, top + height + 5, "right", -Math.PI / 2);
      else write(pen, text, x, top + height + 10, "center", 0);
    }
  }

  // The layout: the room for names depends on the size of a cell, which depends on the room for names.
  arrange(pen, available) {
    const { rows, columns, rowName, columnName, square, rowHeight = 24 } = this.plan;
    const most = square ? 44 : Infinity;
    const rough = Math.min((available - 60) / columns, most);
    const named = names(rows, square ? rough : rowHeight, rowName);
    const left = 24 + Math.min(Math.max(...named.map(([, text]) => pen.measureText(text).width)), MAX_NAME);
    const wide = Math.min((available - left - 4) / columns, most);
    const below = names(columns, wide, columnName);
    const longest = Math.max(...below.map(([, text]) => pen.measureText(text).width));
    const upright = wide >= MIN_CELL && longest > 1.5 * wide;
    const cell = [wide, square ? wide : rowHeight];
    const height = rows * cell[1];
    const total = TOP + height + (upright ? Math.min(longest, MAX_NAME) + 8 : 20) + 18; // names and title
    this.place = { left, top: TOP, cell, width: columns * wide, height, total, rows: named, columns: below, upright };
  }

  frame(pen, [row, column, rows, columns], colour, thick) {
    const { left, top, cell } = this.place;
    pen.lineWidth = thick;
    pen.strokeStyle = colour;
    const [x, y] = [left + column * cell[0] - thick / 2, top + row * cell[1] - thick / 2];
    pen.strokeRect(x, y, columns * cell[0] + thick, rows * cell[1] + thick); // around the cells, which may be small
    pen.lineWidth = 1;
  }
}

// [index, text] of each tick of an axis with cells of this many pixels.
function names(count, pixels, name) {
  const step = pixels >= MIN_CELL ? 1 : [2, 5, 10, 20, 50, 100, 200].find((n) => n * pixels >= 30) ?? count;
  const ticks = Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);
  return ticks.map((i) => [i, step === 1 ? name(i) : String(i)]);
}

function write(pen, text, x, y, align, turn) {
  let shown = text;
  for (let n = text.length - 1; align !== "left" && n > 0 && pen.measureText(shown).width > MAX_NAME; n--) {
    shown = `${text.slice(0, n)}…`;
  }
  pen.save();
  pen.translate(x, y);
  pen.rotate(turn);
  pen.direction = "ltr";
  pen.textAlign = align;
  pen.fillText(shown, 0, 0);
  pen.restore();
}
