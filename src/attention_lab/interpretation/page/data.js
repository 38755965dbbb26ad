// What the page was given, decoded when it is looked at.
//
// An example has `source` and, in each of its traces, `target`: {tokens, words, owners}, where owners names the word of
// each token (null for <s>, </s> and marks). `maps` describes the weights whose bytes are in `blob` (see packing.py);
// `places` and `scores` of a trace say which map is which. A matrix is {rows, columns, values}, row after row.
"use strict";

const at = (id) => document.getElementById(id);
const index = JSON.parse(at("index").textContent);
const opened = new Map();

async function inflated(base64) {
  const text = atob(base64);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** An example with its bytes; what was opened once stays open. */
function open_(number) {
  if (!opened.has(number)) {
    const example = JSON.parse(at(`example-${number}`).textContent);
    opened.set(
      number,
      inflated(example.blob).then((bytes) => Object.assign(example, { bytes, number, blob: "" })),
    );
  }
  return opened.get(number);
}

/** The weights of one layer and head, counted from 0, of a described map. */
function decoded(described, bytes, layer, head) {
  const [layers, heads, rows, columns] = described.shape;
  const wide = described.kept ?? columns;
  const number = layer * heads + head;
  const [start, all] = [number * rows * wide, layers * heads * rows * wide];
  const scale = described.scales[number];
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < rows * wide; i++) {
    const byte = bytes[described.at + start + i];
    const value = described.signed ? (scale * (byte - 128)) / 127 : (scale * byte) / 255;
    const place = described.at + all + start + i;
    const column = described.kept ? bytes[place] | (bytes[place + all] << 8) : i % columns;
    values[Math.floor(i / wide) * columns + column] = value;
  }
  return { rows, columns, values };
}

/** Of one head (from 0) or, with null, the mean of all. */
function weightsOf(described, bytes, layer, head) {
  if (head !== null) return decoded(described, bytes, layer, head);
  const heads = described.shape[1];
  const mean = decoded(described, bytes, layer, 0);
  for (let other = 1; other < heads; other++)
    decoded(described, bytes, layer, other).values.forEach((value, i) => (mean.values[i] += value));
  mean.values.forEach((value, i) => (mean.values[i] = value / heads));
  return mean;
}

/** Between words: a word receives the sum of what its pieces receive and gives the mean of what they give. */
function merged(matrix, queries, keys, rows, columns) {
  const values = new Float32Array(rows * columns);
  const pieces = new Array(rows).fill(0);
  queries.forEach((word) => word !== null && pieces[word]++);
  queries.forEach((row, i) => {
    if (row === null) return;
    keys.forEach((column, j) => {
      if (column !== null) values[row * columns + column] += matrix.values[i * matrix.columns + j] / pieces[row];
    });
  });
  return { rows, columns, values };
}

function rowOf(matrix, row) {
  return matrix.values.slice(row * matrix.columns, (row + 1) * matrix.columns);
}

/** The mean of some rows, as a matrix of one. */
function meanOfRows(matrix, rows) {
  const values = new Float32Array(matrix.columns);
  for (const row of rows) rowOf(matrix, row).forEach((value, i) => (values[i] += value / rows.length));
  return { rows: 1, columns: matrix.columns, values };
}

function largest(values) {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

/** At most `size` cells each way, each the weight furthest from 0 of those it stands for. */
function shrunk(matrix, size) {
  const [rows, columns] = [Math.min(matrix.rows, size), Math.min(matrix.columns, size)];
  if (rows === matrix.rows && columns === matrix.columns) return matrix;
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < matrix.rows; i++) {
    const row = Math.floor((i * rows) / matrix.rows);
    for (let j = 0; j < matrix.columns; j++) {
      const cell = row * columns + Math.floor((j * columns) / matrix.columns);
      const value = matrix.values[i * matrix.columns + j];
      if (Math.abs(value) > Math.abs(values[cell])) values[cell] = value;
    }
  }
  return { rows, columns, values };
}

/** The sides of a map of weights: what looks and what is looked at, {names, owners, words} each. */
function sides(example, trace, place, row) {
  const side = (text, from, to) => ({
    names: text.tokens.slice(from, to),
    owners: text.owners.slice(from, to),
    words: text.words,
  });
  const source = example.source && side(example.source, 0, undefined);
  if (place === "encoder_self") return { queries: source, keys: source };
  const reads = side(trace.target, 0, -1);
  if (place === "decoder_self") return { queries: reads, keys: reads };
  return { queries: row === "input" ? reads : side(trace.target, 1, undefined), keys: source };
}

/** Whether a word of the output (any, with null) should look at a word of the input; null where nobody knows. */
function goldOf(trace, place) {
  if (!trace.gold || place === "decoder_self") return null;
  if (trace.gold.words) {
    const words = new Set(trace.gold.words);
    return (query, key) => words.has(key);
  }
  if (place === "encoder_self") return null;
  const links = new Set(trace.gold.links.map(([query, key]) => `${query} ${key}`));
  return (query, key) => links.has(`${query} ${key}`);
}
