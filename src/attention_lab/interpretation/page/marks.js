// Drawing: elements, shades, and numbers as people read them.
"use strict";

const SHADES = 24; // a shape for each, however many cells it has
const LETTERS = 22;

function made(tag, properties = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...inside);
  return element;
}

/** An element of a drawing; the page's own icon lends its name space. */
function drawn(tag, attributes = {}, ...inside) {
  const element = document.createElementNS(at("ink").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

function short(text, letters = LETTERS) {
  const signs = [...new Intl.Segmenter().segment(text.slice(0, 4 * letters))].map((one) => one.segment);
  return signs.length <= letters && text.length <= 4 * letters ? text : signs.slice(0, letters - 1).join("") + "…";
}

/** A word may be written from right to left, and is never longer than a line. */
function word(text, letters = 40) {
  return made("bdi", { textContent: short(text, letters), title: text.slice(0, 400) });
}

/** Of a text of these words, as dir=auto has it; in a list, that does not look into a <bdi>. */
function direction(words) {
  return made("p", { dir: "auto", textContent: words.join(" ") }).matches(":dir(rtl)") ? "rtl" : "ltr";
}

const ruler = made("canvas").getContext("2d");

/** How wide the widest of some texts is, in pixels. */
function widest(texts, size) {
  ruler.font = `600 ${size}px ${getComputedStyle(document.body).fontFamily}`;
  return Math.max(0, ...texts.map((text) => ruler.measureText(text).width));
}

/** Text on a shade is black or white, whichever contrasts more: see page.css. */
function inked(element, strength) {
  element.classList.toggle("half", strength > 0.55);
  element.classList.toggle("deep", strength > 0.71);
  return element;
}

/** Colour an element by how much it has, from −1 to 1. */
function shade(element, share) {
  const strength = Math.min(1, Math.abs(share));
  element.classList.add("shade");
  element.classList.toggle("negative", share < 0);
  inked(element, strength);
  element.style.setProperty("--k", Math.round(100 * strength));
  return element;
}

function sentence(text) {
  return text && `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

function number(value, percent) {
  if (percent) {
    const share = 100 * value;
    if (share > 0 && share < 0.05) return "< 0.1 %";
    return `${share !== 0 && Math.abs(share) < 1 ? share.toFixed(1) : Math.round(share)} %`;
  }
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2);
}

/** All cells of a matrix as one path for each shade. */
function cells(matrix, top, size, gap) {
  const paths = new Map();
  for (let row = 0; row < matrix.rows; row++) {
    for (let column = 0; column < matrix.columns; column++) {
      const level = Math.round((SHADES * matrix.values[row * matrix.columns + column]) / (top || 1));
      if (!level) continue;
      const step = `M${column * size.width} ${row * size.height}h${size.width - gap}v${size.height - gap}h${gap - size.width}z`;
      paths.set(level, (paths.get(level) ?? "") + step);
    }
  }
  return [...paths].map(([level, path]) => shade(drawn("path", { d: path }), level / SHADES));
}

const GOLD = { box: "M2 2h12v12h-12z", ring: "M3 8a5 5 0 1 0 10 0a5 5 0 1 0-10 0", under: "M1 11h14" };

/** What a shade means; top: the largest weight, null where each line of words has its own. gold: how it is shown. */
function legend(look, gold) {
  const scale = drawn("svg", { width: 6 * SHADES, height: 13, "aria-hidden": "true" });
  for (let level = 0; level < SHADES; level++) {
    const share = look.signed ? (2 * level) / (SHADES - 1) - 1 : level / (SHADES - 1);
    scale.append(shade(drawn("rect", { x: 6 * level, width: 6.5, height: 13 }), share));
  }
  const text = (textContent) => made("span", { textContent });
  const high = look.top === null ? "the largest" : number(look.top, look.percent);
  const found = made("p", { className: look.signed ? "legend signed" : "legend" });
  found.append(text(look.percent ? "weight" : "score"), text(look.signed ? (look.top === null ? "−the largest" : number(-look.top, look.percent)) : "0"), scale, text(high));
  if (look.gold) {
    const sign = drawn("svg", { width: 16, height: 16, "aria-hidden": "true" }, drawn("path", { d: GOLD[gold], class: "gold" }));
    found.append(sign, text(index.gold));
  }
  return found;
}
