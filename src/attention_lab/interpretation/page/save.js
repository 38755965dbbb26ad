// A view as a drawing of its own, with its colours in it, as SVG or PNG.
"use strict";

const EDGE = 16; // pixels around a drawing
const PROPERTIES = ["fill", "fill-opacity", "text-anchor", "stroke", "stroke-dasharray", "stroke-width", "stroke-opacity", "opacity", "font-size", "font-weight", "font-family", "visibility"];

/** A colour of any notation as the rgb() that every program knows. */
function plainColour(text) {
  if (!text || text === "none" || text.startsWith("url")) return text;
  const canvas = made("canvas", { width: 1, height: 1 });
  const context = canvas.getContext("2d");
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
  return alpha ? `rgb(${red},${green},${blue})` : "none";
}

function inlined(svg) {
  const copy = svg.cloneNode(true);
  const own = [svg, ...svg.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((element, i) => {
    const style = getComputedStyle(own[i]);
    for (const name of PROPERTIES) {
      const value = style.getPropertyValue(name);
      element.setAttribute(name, name === "fill" || name === "stroke" ? plainColour(value) : value);
    }
    for (const name of ["class", "style", "tabindex", "role", "aria-label"]) element.removeAttribute(name);
  });
  return copy;
}

/** What a container shows: drawings as they are, and texts marked "ink" with the box around them. */
function drawing(container) {
  const box = container.getBoundingClientRect();
  const [width, height] = [Math.max(box.width, container.scrollWidth), Math.max(box.height, container.scrollHeight)].map(Math.ceil);
  const place = (element) => {
    const own = element.getBoundingClientRect();
    return { x: own.x - box.x + container.scrollLeft, y: own.y - box.y + container.scrollTop, width: own.width, height: own.height };
  };
  const whole = { x: -EDGE, y: -EDGE, width: width + 2 * EDGE, height: height + 2 * EDGE };
  const svg = drawn("svg", { width: whole.width, height: whole.height, viewBox: Object.values(whole).join(" ") });
  const page = getComputedStyle(container).getPropertyValue("background-color");
  svg.append(drawn("rect", { ...whole, fill: plainColour(page) }));
  for (const element of container.querySelectorAll(".ink, .bar, .split > span, h4, th, td:not(.rail), caption, .count, .legend span, .note")) {
    const style = getComputedStyle(element);
    const { x, y, width: wide, height: high } = place(element);
    const frame = element.classList.contains("now") ? plainColour(style.color) : "none";
    svg.append(drawn("rect", { x, y, width: wide, height: high, rx: 4, fill: plainColour(style.backgroundColor), stroke: frame }));
    const under = parseFloat(style.borderBottomWidth) && plainColour(style.borderBottomColor);
    if (under) svg.append(drawn("rect", { x, y: y + high - 3, width: wide, height: 3, fill: under }));
    const text = element.querySelector("bdi")?.textContent ?? element.textContent;
    const ends = ["end", "right"].includes(style.textAlign);
    const left = ends ? x + wide - parseFloat(style.paddingRight) : x + parseFloat(style.paddingLeft);
    const attributes = { x: left, y: y + high / 2 + 5, fill: plainColour(style.color), "text-anchor": ends ? "end" : "start" };
    const font = { "font-size": style.fontSize, "font-family": style.fontFamily, "font-weight": style.fontWeight };
    svg.append(drawn("text", { ...attributes, ...font }, text));
  }
  for (const inner of container.querySelectorAll("svg")) {
    const copy = inlined(inner);
    for (const [name, value] of Object.entries(place(inner))) copy.setAttribute(name, value);
    svg.append(copy);
  }
  return svg;
}

function offered(blob, name) {
  const link = made("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function svgText(container) {
  return new XMLSerializer().serializeToString(drawing(container));
}

function saveSvg(container, name) {
  offered(new Blob([svgText(container)], { type: "image/svg+xml" }), `${name}.svg`);
}

/** The PNG, twice as large as the screen shows it. */
async function pngOf(container) {
  const text = svgText(container);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = made("canvas", { width: 2 * image.width, height: 2 * image.height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

async function savePng(container, name) {
  offered(await pngOf(container), `${name}.png`);
}
