// The page as a whole: the list of examples, one panel or two, the address, light and dark.
"use strict";

const SHORT = ["example", "trace", "method", "place", "layer", "head", "row", "reader", "unit", "view", "step", "query"];
const FIRST = { second: "b." }; // before the names of the second panel in an address
const panels = [];
let latest = 0; // the panel that was used last
let quiet = false; // while the address is being read
const TWO = index.models.length > 1; // each panel has a model of its own, and both the same text

function address() {
  const parts = panels.flatMap((panel, number) =>
    SHORT.filter((name) => needed(panel, name)).map((name) => {
      const value = name === "example" ? panel.state.example + 1 : panel.state[name];
      return `${number ? FIRST.second : ""}${name}=${encodeURIComponent(value)}`;
    }),
  );
  return `#${parts.join("&")}`;
}

function needed(panel, name) {
  const { state } = panel;
  if (state[name] === null || state[name] === undefined) return false;
  if (name === "reader") return panel.matters(name) && state.reader in (panel.example?.readers ?? {});
  if (name === "step") return state.view === "steps";
  if (name === "trace") return state.trace > 0;
  return !(name === "method" && state.method === "attention") && !(name === "row" && state.place !== "cross");
}

async function follow() {
  const given = new URLSearchParams(location.hash.slice(1));
  const of = (prefix) => {
    const found = Object.fromEntries(SHORT.filter((name) => given.has(prefix + name)).map((name) => [name, given.get(prefix + name)]));
    if ("example" in found) found.example -= 1;
    return found;
  };
  quiet = true;
  const second = of(FIRST.second);
  const wanted = Object.keys(second).length || (TWO && !location.hash.includes("="));
  if (wanted && panels.length < 2) add();
  await panels[0].set(of(""));
  if (panels[1]) await panels[1].set(TWO ? { ...second, example: panels[0].state.example } : second);
  quiet = false;
}

function changed(panel) {
  latest = panels.indexOf(panel);
  mark();
  if (!quiet) history.replaceState(null, "", address());
}

/** Show another example, or by another method; of two models, by both. */
function turn(panel, changes) {
  for (const one of TWO ? panels : [panel]) one.set(changes);
}

function add() {
  const panel = new Panel(panels.length, changed, turn);
  panel.root.addEventListener("pointerdown", () => (latest = panels.indexOf(panel)));
  panels.push(panel);
  at("panels").append(panel.root);
  at("panels").classList.toggle("two", panels.length > 1);
  at("compare").setAttribute("aria-pressed", String(panels.length > 1));
  return panel;
}

function compare() {
  if (panels.length > 1) {
    panels.pop().root.remove();
    at("panels").classList.remove("two");
    at("compare").setAttribute("aria-pressed", "false");
    latest = 0;
    history.replaceState(null, "", address());
    panels[0].draw();
  } else add().set({ ...panels[0].state });
}

// The list of examples.

function kept() {
  const { verdict, label, length, order } = Object.fromEntries([...at("filters").elements].map((one) => [one.name, one.value]));
  const [low, high] = (length || "0 Infinity").split(" ").map(Number);
  const found = [...index.examples.keys()].filter((i) => {
    const one = index.examples[i];
    return (!verdict || String(one.right) === verdict) && (!label || one.label === label) && one.words >= low && one.words <= high;
  });
  const by = { shortest: (one) => one.words, longest: (one) => -one.words, unsure: (one) => one.probability ?? 2 }[order];
  return by ? found.sort((a, b) => by(index.examples[a]) - by(index.examples[b])) : found;
}

function list() {
  const items = kept().map((i) => {
    const one = index.examples[i];
    const verdict = { true: "right", false: "wrong" }[one.right] ?? "";
    const mark_ = made("span", { className: `mark ${verdict}`, textContent: MARKS.get(one.right) });
    mark_.setAttribute("aria-label", verdict);
    const said = one.said.map((text) => made("span", { className: "said", dir: "auto", textContent: short(text, 90) || "(none)" }));
    const item = made("li", { role: "option", tabIndex: -1 }, mark_, made("span", { className: "asked", dir: "auto", textContent: short(one.title, 90) }), ...said);
    item.dataset.example = i;
    item.addEventListener("click", () => turn(panels[latest], { example: i }));
    return item;
  });
  at("list").replaceChildren(...items);
  at("list").classList.toggle("two", TWO);
  at("count").textContent = `${items.length} of ${index.examples.length} examples`;
  mark();
}

function mark() {
  const items = [...at("list").children];
  for (const item of items) {
    const here = panels.some((panel) => panel.state.example === Number(item.dataset.example));
    item.setAttribute("aria-selected", String(here));
    item.tabIndex = -1;
  }
  const first = items.find((item) => item.getAttribute("aria-selected") === "true") ?? items[0];
  if (first) first.tabIndex = 0;
}

function listKey(event) {
  const item = event.target.closest("li");
  const to = { ArrowDown: item?.nextElementSibling, ArrowUp: item?.previousElementSibling }[event.key];
  if (event.key === "Enter" || event.key === " ") item?.click();
  else if (to) to.focus();
  else return;
  event.preventDefault();
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const root = document.documentElement;
  const now = root.dataset.theme ?? (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
}

async function begin() {
  at("theme").addEventListener("click", theme);
  document.addEventListener("keydown", (event) => {
    if (event.key === "d" && !event.ctrlKey && !event.metaKey && !event.target.matches("select, input")) theme();
  });
  document.body.classList.add("alive");
  if (index.examples.length) {
    add();
    for (const filter of at("filters").elements) filter.addEventListener("change", list);
    at("list").addEventListener("keydown", listKey);
    at("compare").addEventListener("click", compare);
    addEventListener("hashchange", async () => {
      if (location.hash.includes("=")) {
        await follow();
        at("looked").scrollIntoView();
      }
      history.replaceState(null, "", address()); // it always leads to what is shown
    });
    list();
    await follow();
  }
  document.body.dataset.ready = "true";
}

begin();
