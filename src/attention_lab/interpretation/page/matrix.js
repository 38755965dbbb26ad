// A map: who looks, from top to bottom, at whom, from left to right; and all heads of a place as small maps.
"use strict";

const ROOMY = 27; // pixels of a cell that has its number in it
const THUMBNAIL = 28; // cells of a small map each way

function matrixMap(look, width, say) {
  const { matrix } = look;
  const small = width < 520;
  const names = { rows: look.queries.map((text) => short(text, small ? 10 : 18)), columns: look.keys.map((text) => short(text, small ? 10 : 18)) };
  const axes = [`${look.keyName} →`, `${look.queryName} ↓`];
  const side = Math.ceil(Math.max(widest(names.rows, 13), widest(axes, 12.5))) + 14;
  const head = Math.max(44, Math.ceil(0.79 * widest(names.columns, 13)) + 24);
  const size = Math.max(4, Math.min(44, Math.floor((width - side - 60) / matrix.columns)));
  const wide = Math.max(width, side + matrix.columns * size + 60);
  const svg = drawn("svg", { width: wide, height: head + matrix.rows * size + 10, class: "matrix", tabindex: 0, role: "application" });
  svg.setAttribute("aria-label", `Map of weights, ${matrix.rows} rows and ${matrix.columns} columns; arrow keys move in it`);
  const body = drawn("g", { transform: `translate(${side} ${head})` });
  const gap = size > 8 ? 2 : 0;
  body.append(drawn("rect", { width: matrix.columns * size - gap, height: matrix.rows * size - gap, class: "ground" }));
  body.append(...cells(matrix, look.top, { width: size, height: size }, gap));
  if (size >= ROOMY) {
    matrix.values.forEach((value, i) => {
      const share = value / (look.top || 1);
      if (Math.abs(share) < 0.02) return;
      const x = (i % matrix.columns) * size + (size - gap) / 2;
      const text = look.percent ? Math.round(100 * value) : number(value);
      const y = Math.floor(i / matrix.columns) * size + size / 2 + 3;
      body.append(inked(drawn("text", { x, y, class: "cell" }, text), Math.abs(share)));
    });
  }
  if (look.gold) {
    let path = "";
    for (let i = 0; i < matrix.values.length; i++)
      if (look.gold(Math.floor(i / matrix.columns), i % matrix.columns))
        path += `M${(i % matrix.columns) * size} ${Math.floor(i / matrix.columns) * size}h${size - gap}v${size - gap}h${gap - size}z`;
    body.append(drawn("path", { d: path, class: "gold" }));
  }
  axes.forEach((text, line) => svg.append(drawn("text", { x: side - 8, y: head - 26 + 18 * line, "text-anchor": "end", class: "head" }, text)));
  const every = Math.ceil(11 / size); // labels that do not touch
  names.rows.forEach((text, row) => {
    if (row % every) return;
    const y = head + row * size + size / 2 + 4;
    svg.append(drawn("text", { x: side - 8, y, "text-anchor": "end", class: "label" }, text));
  });
  names.columns.forEach((text, column) => {
    if (column % every) return;
    const x = side + column * size + size / 2;
    const turned = `rotate(-52 ${x} ${head - 8})`;
    svg.append(drawn("text", { x, y: head - 8, transform: turned, class: "label" }, text));
  });
  const cursor = drawn("rect", { width: size - gap, height: size - gap, class: "cursor", visibility: "hidden" });
  body.append(cursor);
  svg.append(body);

  const place = { row: 0, column: 0 };
  function point(row, column) {
    if (row < 0 || column < 0 || row >= matrix.rows || column >= matrix.columns) return;
    Object.assign(place, { row, column });
    cursor.setAttribute("x", column * size);
    cursor.setAttribute("y", row * size);
    cursor.setAttribute("visibility", "visible");
    const value = number(matrix.values[row * matrix.columns + column], look.percent);
    const known = look.gold?.(row, column) ? `; ${index.gold}` : "";
    say(`“${short(look.queries[row])}” looks at “${short(look.keys[column])}”: ${value}${known}`);
  }
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    point(Math.floor((event.clientY - box.top - head) / size), Math.floor((event.clientX - box.left - side) / size));
  });
  svg.addEventListener("pointerleave", () => cursor.setAttribute("visibility", "hidden"));
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    point(place.row + move[0], place.column + move[1]);
  });
  return svg;
}

function thumbnail(matrix, pixels) {
  const few = shrunk(matrix, THUMBNAIL);
  const view = `0 0 ${few.columns} ${few.rows}`;
  const svg = drawn("svg", { width: pixels, height: pixels, viewBox: view, preserveAspectRatio: "none", class: "thumbnail" });
  svg.append(drawn("rect", { width: few.columns, height: few.rows, class: "ground" }));
  svg.append(...cells(few, largest(few.values), { width: 1, height: 1 }, 0));
  return svg;
}

/** All heads of a place: what each mostly looks at, and how much the model needs it. */
function allHeads(example, map, known, state, onChoose) {
  const [layers, heads] = map.shape;
  const facts = new Map(known.map((one) => [`${one.layer} ${one.head}`, one]));
  const needed = Math.max(...[...facts.values()].map((one) => Math.abs(one.importance ?? 0)), 1e-12);
  const grid = made("div", { className: "heads" });
  grid.style.setProperty("--columns", heads);
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < heads; head++) {
      const matrix = decoded(map.blocks ?? map, example.bytes, layer, head);
      const fact = facts.get(`${layer + 1} ${head + 1}`);
      const only = example.only === "mean";
      const name = only ? `layer ${layer + 1}, mean` : `layer ${layer + 1} · head ${head + 1}`;
      const tile = made("button", { type: "button", className: "head" }, thumbnail(matrix, 92));
      tile.append(made("span", { className: "name ink", textContent: name }));
      if (fact?.role) tile.append(made("span", { className: "role ink", textContent: fact.role }));
      if (fact && fact.importance !== null) {
        const bar = made("span", { className: "need" }, made("span"));
        bar.firstChild.style.setProperty("--k", Math.round((100 * Math.abs(fact.importance)) / needed));
        const text = `importance ${fact.importance.toPrecision(2)}`;
        tile.append(made("span", { className: "small ink", textContent: text }), bar);
      }
      tile.title = told(name, fact);
      tile.setAttribute("aria-label", tile.title);
      tile.setAttribute("aria-pressed", String(state.layer === layer + 1 && state.head === (only ? "mean" : head + 1)));
      tile.addEventListener("click", () => onChoose(layer + 1, only ? "mean" : head + 1));
      grid.append(tile);
    }
  }
  return grid;

  function told(name, fact) {
    const parts = [name];
    if (fact?.role) parts.push(`looks at ${fact.role}`);
    if (typeof fact?.entropy === "number") parts.push(`spread ${figure(fact, "entropy")} of 1`);
    if (typeof fact?.importance === "number") parts.push(`importance ${figure(fact, "importance")}`);
    if (typeof fact?.ablation === "number") parts.push(`without it the loss grows by ${figure(fact, "ablation")} nats`);
    return parts.join("; ");
  }

  /** With its 95 % interval over rows, where there is one. */
  function figure(fact, name) {
    const [low, high] = [fact[`${name}_low`], fact[`${name}_high`]];
    const between = typeof low === "number" && typeof high === "number" ? ` (${low.toPrecision(2)} to ${high.toPrecision(2)})` : "";
    return `${fact[name].toPrecision(2)}${between}`;
  }
}
